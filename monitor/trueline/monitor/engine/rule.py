"""What a rule file holds. :mod:`.load` reads files into this; the fields' meanings are the reference."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from trueline.instrumentation.semconv.registry import ATTRIBUTES
from trueline.monitor.engine.exceptions import RuleException
from trueline.monitor.engine.fenced import RULE_TABLES, FencedQuery
from trueline.monitor.engine.parameters import PARAMETER_TYPES, is_parameter_type, value_problem
from trueline.monitor.engine.templates import Template

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: Columns that every result row must have beside those of ``group_by``.
ROW_COLUMNS: Final = ("first_seen", "last_seen", "count", "value", "trace_ids", "span_ids")
#: Query parameters that the engine binds. They cannot be names of ``params``.
WINDOW_PARAMETERS: Final = ("start", "end", "since")
#: The rows of the trigger, as tuples, for the query; with _ and a column's name, that column of them.
CANDIDATES: Final = "candidates"


class Severity(StrEnum):
    """How bad it is, worst first."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


def parse_duration(text: object) -> timedelta:
    """``"500ms"``, ``"30s"``, ``"5m"``, ``"24h"``, ``"7d"`` as a timedelta; ValueError says what is wrong."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration: write a number with its unit, as in 500ms, 30s, 5m, 24h or 7d"
        )
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "examples": ["2s", "5m", "24h"]}
    ),
]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Needs(_Part):
    """What the rule cannot see without. A service that never sends it is one that the rule is blind for."""

    tables: list[str] = Field(default=[], description="Tables and views that the query reads.")
    attributes: list[str] = Field(default=[], description="Attributes of the telemetry contract.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        for table in self.tables:
            if table not in RULE_TABLES:
                close = difflib.get_close_matches(table, RULE_TABLES, n=1)
                there = (
                    f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(RULE_TABLES))}"
                )
                raise ValueError(f"no table {table!r} for rules; {there}")
        for name in self.attributes:
            if name not in ATTRIBUTES:
                close = difflib.get_close_matches(name, ATTRIBUTES, n=1, cutoff=0.8)
                there = f"; did you mean {close[0]}?" if close else ""
                raise ValueError(f"{name!r} is not an attribute of the telemetry contract{there}")
        return self


class Param(_Part):
    """One number or text that an operator may want to set; the query has it as ``{name:type}``."""

    type: str = Field(
        description="ClickHouse type: " + ", ".join(sorted(PARAMETER_TYPES)) + " or an Array of one."
    )
    default: Any = Field(description="The value.")
    meaning: Text = Field(description="What it stands for, with its unit.")

    @model_validator(mode="after")
    def _safe_type(self) -> Self:
        if not is_parameter_type(self.type):
            raise ValueError(
                f"type {self.type!r} is none of {', '.join(sorted(PARAMETER_TYPES))} or Array(...) of one"
            )
        if problem := value_problem(self.type, self.default):
            raise ValueError(f"default {problem}")
        return self


class Resolve(_Part):
    """When a finding is taken for mended."""

    after: Duration = Field(
        description="Silence: no new occurrence for so long, while the rule was evaluated without a gap "
        "and its environment went on sending telemetry."
    )
    healthy: Text | None = Field(
        default=None,
        description="Proof of health: one SELECT with the query's parameters. It has some columns of "
        "`group_by`, and `healthy_at` (DateTime64, event time). A finding whose group agrees in those "
        "columns and which was last seen before `healthy_at` is resolved at once.",
    )


class Remediation(_Part):
    """What to do, as templates in Markdown. Three parts, because they are read at different hours."""

    now: Text = Field(description="What stops the damage, for whoever is on call.")
    then: Text = Field(description="What mends the cause and the data for good, with the SQL for it.")
    check: Text = Field(description="How to see that it is mended.")


class RuleTest(BaseModel):
    """Rows in, findings out. :mod:`.rule_tests` knows the form of the rows."""

    # `rows` is kept as it is written: repeated by YAML aliases, it would be copied for each.
    model_config = ConfigDict(extra="allow", frozen=True)

    name: Text
    expect: list[dict[str, Any]] = Field(description="One entry a finding; an empty list means silence.")


class RuleDefinition(_Part):
    """A rule file.

    The query is one SELECT. It has the columns of ``group_by`` and: ``first_seen`` and ``last_seen``
    (DateTime64, event time), ``count`` (occurrences in this row), ``value`` (a number of the rule's own),
    ``trace_ids`` and ``span_ids`` (Array(String), at most 50, most telling first: each of the first ``count``
    span ids stands for one occurrence, which is how the same one is never counted twice). Any further column
    can be used by name in the templates; ``versions`` (Array(String)) and ``services`` (Array(String)), where
    present, say which services and versions are concerned, ``absent_from`` and ``absent_until``
    (DateTime64) in which time a rule with ``absence`` did not see what it concludes from (else from
    ``first_seen`` to ``last_seen``).
    """

    id: str = Field(
        pattern=r"^[a-z][a-z0-9_]{2,63}$", description="Name for good; part of every finding's id."
    )
    version: int = Field(ge=1, description="Raised with each change of meaning.")
    title: Text = Field(max_length=120, description="What is wrong, in a line, without data.")
    why: Text | None = Field(
        default=None, description="Why it matters: what users and the business lose while it goes on."
    )
    decides: Text | None = Field(
        default=None,
        description="How it decides, in words that somebody on call reads once: what is compared with what, "
        "over which time, and what excuses a case. How the query does it belongs into comments.",
    )
    origins: list[Literal["A", "B", "C", "D", "E"]] = Field(
        default=[], description="Shipped rules: the incident write-ups that it comes from."
    )
    severity: Severity
    status: Literal["stable", "experimental"] = Field(
        default="stable", description="Stable rules are on; experimental ones only when asked for."
    )
    type: Literal["event", "aggregate"] = Field(
        description="event: each row stands for itself, and windows may overlap. aggregate: buckets of "
        "`window`, each evaluated once."
    )
    needs: Needs = Needs()
    interval: Duration = Field(description="How often it is evaluated.")
    window: Duration = Field(
        default=timedelta(minutes=10),
        description="aggregate: the bucket's length. event: the longest arrival window evaluated at once, "
        "when missed ones are caught up.",
    )
    delay: Duration = Field(default=timedelta(0), description="How long arrivals are left to settle.")
    lookback: Duration = Field(description="How far back of the window's end context is read.")
    revisit: list[Duration] = Field(
        default=[],
        max_length=3,
        description="Event rules: arrivals are looked at once more so long after, when what had to follow "
        "them has or has not. The query moves the window's bounds back by as much itself.",
    )
    absence: Literal["none", "identities", "anything"] = Field(
        default="none",
        description="What the rule concludes from not having seen it. identities: something among the "
        "statements of one identity, all or none of which are sampled; it does not judge times in which a "
        "service of the application lost spans. anything: neither does it judge services that sample.",
    )
    params: dict[str, Param] = Field(default={}, description="Named values of the query.")
    group_by: list[str] = Field(
        min_length=1,
        description="Result columns that make one finding: stable ones, never a version, instance or trace.",
    )
    resolve: Resolve
    trigger: Text | None = Field(
        default=None,
        description="The first stage: one cheap SELECT with the same parameters. Where it returns no row, "
        "the query is not run: so it must return one whenever the query would. The query may have its rows "
        "(at most 1000) as `{candidates:Array(Tuple(...))}`, or a column of them as "
        "`{candidates_NAME:Array(...)}`, and so read only what they point at.",
    )
    query: Text
    summary: Text = Field(description="Template: one sentence, what is wrong and where.")
    explanation: Text = Field(
        description="Template in Markdown: how it comes about, and what it does to whom."
    )
    remediation: Remediation
    false_positives: list[Text] = Field(default=[], description="What looks alike and is well.")
    exceptions: list[RuleException] = []
    tests: list[RuleTest] = []

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # All of them in one message, a line each, beginning with the field's name.
        wrong = []
        if self.interval < timedelta(seconds=1):
            wrong.append("interval: it is shorter than 1s")
        if self.window <= timedelta(0):
            wrong.append("window: it must be longer than 0s")
        if self.lookback < self.window:
            wrong.append("lookback: it is shorter than window, whose own events would be out of sight")
        if self.revisit and self.type == "aggregate":
            wrong.append("revisit: buckets are judged once; give them a longer delay")
        if any(not timedelta(0) < wait < self.lookback for wait in self.revisit):
            wrong.append("revisit: each must be longer than 0s and shorter than lookback")
        taken = sorted(set(self.params) & {*WINDOW_PARAMETERS, CANDIDATES})
        if taken:
            wrong.append(f"params: {taken[0]} is bound by the engine; choose another name")
        volatile = {"version", "instance", "trace_id", "span_id", "transaction_id"} & set(self.group_by)
        if volatile:
            wrong.append(f"group_by: {sorted(volatile)[0]} changes while the fault stays; leave it out")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self


class Override(_Part):
    """A file that changes another rule without a copy of it: what it leaves out stays as it is."""

    override: str = Field(description="The id of the rule that is changed.")
    enabled: bool | None = Field(
        default=None,
        description="Whether it runs: false switches a stable rule off, true an experimental one on.",
    )
    severity: Severity | None = None
    params: dict[str, Any] = Field(default={}, description="Values of the rule's params, by name.")
    exceptions: list[RuleException] = Field(default=[], description="Added to the rule's own.")
    reason: Text | None = Field(default=None, description="Why, for those who come after.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.enabled is None and self.severity is None and not self.params and not self.exceptions:
            raise ValueError("it changes nothing: give enabled, severity, params or exceptions")
        return self


@dataclass(frozen=True)
class Rule:
    """A rule that can run: its definition, with what a user's file overrides, and all that is made of it."""

    definition: RuleDefinition
    path: Path
    query: FencedQuery
    trigger: FencedQuery | None
    templates: Mapping[str, Template]
    healthy: FencedQuery | None = None
    override: Override | None = None
    override_path: Path | None = None

    @property
    def id(self) -> str:
        """The rule's name."""
        return self.definition.id

    @property
    def enabled(self) -> bool:
        """Whether it runs: as the user's file says, else as its status does."""
        if self.override is not None and self.override.enabled is not None:
            return self.override.enabled
        return self.definition.status == "stable"

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of ``params``."""
        return {name: param.default for name, param in self.definition.params.items()}

    @cached_property
    def revision(self) -> str:
        """12 hex digits over all that decides what is found, a user's override with it.

        Changes of wording and of severity leave it as it is: findings go on.
        """
        decisive = self.definition.model_dump(
            mode="json",
            include={
                "id",
                "version",
                "type",
                "window",
                "delay",
                "lookback",
                "absence",
                "params",
                "group_by",
                "query",
                "trigger",
                "exceptions",
            },
            by_alias=True,
        )
        if self.definition.revisit:
            # Only where it is used: rules from before it was there keep their findings.
            decisive["revisit"] = [wait.total_seconds() for wait in self.definition.revisit]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def edition(self) -> str:
        """12 hex digits over everything that can be changed, wording and severity too."""
        everything = [self.definition.model_dump(mode="json", exclude={"tests"}, by_alias=True), self.enabled]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]
