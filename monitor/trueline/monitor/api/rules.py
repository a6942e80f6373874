"""Rules: which there are, how they do, and what one says in full."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route
from trueline.monitor.engine.rule import Rule, Severity
from trueline.monitor.rule_service import rule_state
from trueline.monitor.store.rule_cost import empty_tables


class RuleItem(BaseModel):
    """A rule as lists show it. ``state``: waiting, running, failing, or off for experimental ones."""

    id: str
    version: int
    title: str
    severity: Severity
    status: str
    type: str
    state: str
    error: str
    last_run: datetime | None
    covered_until: datetime | None = Field(description="Arrivals up to here have been judged.")
    milliseconds: float
    note: str = Field(description="What the last judgement could not be sure of.")
    excepted: int = Field(
        description="Groups that exceptions kept from being findings since the monitor began, "
        "1000 an exception at most."
    )
    active_findings: int
    overridden_in: str | None = Field(description="The user's file that changes the rule.")
    parameters: dict[str, Any] = Field(description="Values of its params, as they are now.")
    absent: list[str] = Field(description="Tables that it reads and in which nothing arrived for 24 hours.")


class Run(BaseModel):
    """One line of the coverage ledger."""

    version: int
    start: datetime
    end: datetime
    result: str = Field(
        description="ok, error (tried again), skipped (given up), clock (judged again from end)."
    )
    rows: int
    withheld: int = Field(default=0, description="Groups that rest on what may have been lost: not judged.")
    ms: float
    error: str
    note: str = Field(default="", description="What the judgement could not be sure of.")
    at: datetime


class RuleDetail(RuleItem):
    """A rule in full: its file's content and its last runs."""

    definition: dict[str, Any]
    runs: list[Run]


class RuleList(BaseModel):
    """All rules that could be loaded, and what is wrong with files that could not."""

    items: list[RuleItem]
    problems: list[str]


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    def item(rule: Rule, active: int, empty: set[str]) -> dict[str, Any]:
        state = context.rules.states.get(rule.id)
        definition = rule.definition
        return {
            "id": rule.id,
            "version": definition.version,
            "title": definition.title,
            "severity": definition.severity,
            "status": definition.status,
            "type": definition.type,
            "active_findings": active,
            "overridden_in": str(rule.override_path) if rule.override_path else None,
            "parameters": rule.parameters,
            "absent": sorted(empty & (rule.query.tables | set(rule.definition.needs.tables))),
            **(rule_state(state) if state else _OFF),
        }

    def active() -> dict[str, int]:
        rows = context.store.query(
            "SELECT rule, count() FROM findings FINAL WHERE state != 'resolved' GROUP BY rule"
        )
        return {str(row[0]): int(row[1]) for row in rows}

    @router.get("/rules")
    def list_rules() -> RuleList:
        """All rules."""
        numbers = active()
        loaded = context.rules.loaded
        empty = empty_tables(context.store, {table for rule in loaded.rules for table in _tables(rule)})
        return RuleList(
            items=[RuleItem(**item(rule, numbers.get(rule.id, 0), empty)) for rule in loaded.rules],
            problems=[str(problem) for problem in loaded.problems],
        )

    @router.get("/rules/{rule_id}")
    def get_rule(rule_id: str) -> RuleDetail:
        """One rule."""
        rule = next((one for one in context.rules.loaded.rules if one.id == rule_id), None)
        if rule is None:
            there = ", ".join(one.id for one in context.rules.loaded.rules)
            raise HTTPException(404, f"There is no rule {rule_id[:64]!r}; there are {there}.")
        return RuleDetail(
            **item(rule, active().get(rule.id, 0), empty_tables(context.store, _tables(rule))),
            definition=rule.definition.model_dump(mode="json", exclude={"tests"}, by_alias=True),
            runs=[Run(**run) for run in context.rules.ledger.last(rule.id)],
        )

    return router


def _tables(rule: Rule) -> set[str]:
    return set(rule.query.tables) | set(rule.definition.needs.tables)


_OFF: dict[str, Any] = {
    "state": "off",
    "error": "",
    "last_run": None,
    "covered_until": None,
    "milliseconds": 0.0,
    "note": "",
    "excepted": 0,
}
