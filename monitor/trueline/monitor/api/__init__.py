"""The HTTP interface for people and their tools: all of /api/v1 and /ops."""

from __future__ import annotations

from fastapi import APIRouter

from trueline.monitor.api import coverage, databases, findings, last_write, rules, status, traces
from trueline.monitor.api.context import Context
from trueline.monitor.rule_service import RuleService
from trueline.monitor.settings import Settings
from trueline.monitor.store.client import Store


def build_router(store: Store, rules_service: RuleService, settings: Settings) -> APIRouter:
    """Build all routes on a store and the rules at work on it."""
    context = Context(store, rules_service, settings)
    router = APIRouter()
    for module in (findings, rules, traces, databases, coverage, status):
        router.include_router(module.build(context), prefix="/api/v1")
    router.include_router(last_write.build(context), prefix="/ops")
    return router
