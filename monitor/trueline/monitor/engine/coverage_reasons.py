"""Why a rule sees a service badly or not at all: one sentence and one way out for each cause."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """How well a rule sees a service."""

    OK = "ok"
    IDLE = "idle"
    DEGRADED = "degraded"
    BLIND = "blind"


class Cause(StrEnum):
    """Everything that can be in a rule's way."""

    # nothing to judge
    RULE_IS_OFF = "rule_is_off"
    ENVIRONMENT_IGNORED = "environment_ignored"
    TESTS_IGNORED = "tests_ignored"
    NO_STATEMENT = "no_statement"
    NO_AI_CALL = "no_ai_call"
    # nothing can be seen
    RULE_FAILS = "rule_fails"
    ONLY_LOGS = "only_logs"
    NO_DATABASE_SPANS = "no_database_spans"
    FOREIGN_SPANS = "foreign_spans"
    NOTHING_ARRIVED = "nothing_arrived"
    NO_ENTRY = "no_entry"
    NO_FINGERPRINT = "no_fingerprint"
    MEMORY_FINGERPRINT = "memory_fingerprint"
    HASHES_LEFT_OUT = "hashes_left_out"
    NO_IDENTITY = "no_identity"
    NO_IDENTITY_COLUMN = "no_identity_column"
    OTHER_KEY = "other_key"
    # something may be missed
    OTHERS_HAVE_ANOTHER_KEY = "others_have_another_key"
    TWO_KEYS = "two_keys"
    NO_ENTRY_NAMES = "no_entry_names"
    FEW_ENTRIES = "few_entries"
    WEAK_FINGERPRINT = "weak_fingerprint"
    FEW_IDENTITIES = "few_identities"
    UNPARSED = "unparsed"
    SAMPLED = "sampled"
    FOLLOWS_TRACE_SAMPLER = "follows_trace_sampler"
    RAW_CONNECTIONS = "raw_connections"
    IDLE_CHECKOUTS = "idle_checkouts"
    LOSSES = "losses"
    INTERNAL_ERRORS = "internal_errors"


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause with what it does to the rule, in a sentence, and the way out of it."""

    cause: Cause
    status: Status
    sentence: str
    way_out: str


def reason(cause: Cause, **said: str) -> Reason:
    """The reason for ``cause``; ``said`` fills in its sentence."""
    status, sentence, way_out = _TEXTS[cause]
    return Reason(cause, status, sentence.format(**said), way_out)


_ENTRY_WAY: Final = (
    "Put bind_identity() or bind_message() around the work, or switch on the OpenTelemetry instrumentation "
    "of the web framework or task queue."
)
_SECRET_WAY: Final = "Set TRUELINE_HASH_SECRET to the same value in every service."  # noqa: S105 - a sentence
_COLUMNS_WAY: Final = (
    "Name the columns with IdentityConfig(columns=...), or put bind_identity() around the work."
)
_NAME_WAY: Final = (
    "Name the database: TRUELINE_DATABASE_NAME, or TRUELINE_DATABASE_NAMES where there are several."
)
_INSTRUMENT_WAY: Final = (
    "Call trueline.instrumentation.instrument() in the service, beside what it has; spans are not doubled."
)

_TEXTS: Final[dict[Cause, tuple[Status, str, str]]] = {
    Cause.RULE_IS_OFF: (
        Status.IDLE,
        "The rule is experimental and off.",
        "Nothing to do.",
    ),
    Cause.ENVIRONMENT_IGNORED: (
        Status.IDLE,
        "The rule leaves the environment {environment} alone on purpose.",
        "Change ignored_environments in a copy of the rule if it should not.",
    ),
    Cause.TESTS_IGNORED: (
        Status.IDLE,
        "All processes are test runs, which the rule leaves alone.",
        "Set TRUELINE_PROCESS_KIND if they are not.",
    ),
    Cause.NO_STATEMENT: (
        Status.IDLE,
        "The service ran no statement in this time.",
        "Nothing to do if it has no database; otherwise see that its engine is SQLAlchemy's, 2.0 or 2.1.",
    ),
    Cause.NO_AI_CALL: (
        Status.IDLE,
        "No call of a model was seen.",
        "If the service calls models, put ai_call() around the calls or switch on a GenAI instrumentation.",
    ),
    Cause.RULE_FAILS: (
        Status.BLIND,
        "The rule itself fails just now: {error}",
        "See trueline rules list.",
    ),
    Cause.ONLY_LOGS: (
        Status.BLIND,
        "The service sends logs only, no spans.",
        _INSTRUMENT_WAY,
    ),
    Cause.NO_DATABASE_SPANS: (
        Status.BLIND,
        "The service sends spans, but none of a database.",
        _INSTRUMENT_WAY,
    ),
    Cause.FOREIGN_SPANS: (
        Status.BLIND,
        "Its database spans are another instrumentation's alone: they say neither whose rows a statement "
        "touches, nor which database answered, nor how the transaction ended.",
        _INSTRUMENT_WAY,
    ),
    Cause.NOTHING_ARRIVED: (
        Status.BLIND,
        "It counted {statements}, and none of them arrived here.",
        "See where its spans go: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_TRACES_EXPORTER, and its log.",
    ),
    Cause.NO_ENTRY: (
        Status.BLIND,
        "No statement ran inside of an entry span, which the rule judges.",
        _ENTRY_WAY,
    ),
    Cause.NO_ENTRY_NAMES: (
        Status.DEGRADED,
        "No statement ran inside of an entry span, so the code paths of the service cannot be told apart.",
        _ENTRY_WAY,
    ),
    Cause.FEW_ENTRIES: (
        Status.DEGRADED,
        "{outside} of statements ran outside of any entry span; their code paths cannot be told apart.",
        _ENTRY_WAY,
    ),
    Cause.NO_FINGERPRINT: (
        Status.BLIND,
        "Nothing says which database answered: the server could not be asked.",
        _NAME_WAY,
    ),
    Cause.MEMORY_FINGERPRINT: (
        Status.BLIND,
        "The databases live in the memory of one process, where nobody else can read them.",
        "Nothing to do in a test; otherwise use a database that others can reach.",
    ),
    Cause.WEAK_FINGERPRINT: (
        Status.DEGRADED,
        "{databases} can be told by address, port and name only, which a proxy or another name changes: they "
        "are compared only with databases of which no more is known.",
        _NAME_WAY,
    ),
    Cause.HASHES_LEFT_OUT: (
        Status.BLIND,
        "Identities are left out: there is no secret to hash them with, and telemetry leaves the machine.",
        _SECRET_WAY,
    ),
    Cause.NO_IDENTITY: (
        Status.BLIND,
        "No statement carries an identity, neither by a column nor by the identity that the work was bound "
        "to.",
        _COLUMNS_WAY,
    ),
    Cause.NO_IDENTITY_COLUMN: (
        Status.BLIND,
        "Statements carry a row's or the bound identity only; no column names one: keys cannot be compared.",
        "Name the columns with IdentityConfig(columns=...).",
    ),
    Cause.FEW_IDENTITIES: (
        Status.DEGRADED,
        "Only {share} of writes carry an identity{which}; the rest cannot be compared.",
        _COLUMNS_WAY,
    ),
    Cause.OTHER_KEY: (
        Status.BLIND,
        "Its identities are hashed {key}, unlike those of {others}: the ones cannot be compared with the "
        "others.",
        _SECRET_WAY,
    ),
    Cause.OTHERS_HAVE_ANOTHER_KEY: (
        Status.DEGRADED,
        "Its identities are hashed {key} and cannot be compared with those of {others}.",
        _SECRET_WAY,
    ),
    Cause.TWO_KEYS: (
        Status.DEGRADED,
        "Its own processes hash identities differently ({keys}): what one wrote cannot be compared with what "
        "the other read.",
        _SECRET_WAY,
    ),
    Cause.UNPARSED: (
        Status.DEGRADED,
        "{share} of statements are too odd to be parsed wholly; identities in them may be missed.",
        "Put bind_identity() around such work, and please report the statements.",
    ),
    Cause.SAMPLED: (
        Status.DEGRADED,
        "{share} of identities are kept: what strikes everybody is found, what strikes few may not be.",
        "Raise TRUELINE_SAMPLE, in every service alike.",
    ),
    Cause.FOLLOWS_TRACE_SAMPLER: (
        Status.DEGRADED,
        "Statements of traces that the trace sampler dropped are dropped too: the write or the read of an "
        "identity may be missing.",
        "Leave TRUELINE_FOLLOW_TRACE_SAMPLER unset, and use TRUELINE_SAMPLE to send less.",
    ),
    Cause.RAW_CONNECTIONS: (
        Status.DEGRADED,
        "{transactions} ran on connections taken past SQLAlchemy and could not be seen.",
        "Run them through SQLAlchemy: connection.exec_driver_sql() takes any SQL.",
    ),
    Cause.IDLE_CHECKOUTS: (
        Status.DEGRADED,
        "{times} a connection was taken and no statement of SQLAlchemy's ran on it: a health check, or work "
        "done past SQLAlchemy, which cannot be seen.",
        "Run such work through SQLAlchemy: connection.exec_driver_sql() takes any SQL.",
    ),
    Cause.LOSSES: (
        Status.DEGRADED,
        "{spans} got lost on the way here ({lost}); what is missing proves nothing for that time.",
        "See the service's log, and whether the receiver keeps up.",
    ),
    Cause.INTERNAL_ERRORS: (
        Status.DEGRADED,
        "Trueline itself failed {times} inside of the service, whose work went on with less telemetry.",
        "The service's logger trueline says where; please report it.",
    ),
}
