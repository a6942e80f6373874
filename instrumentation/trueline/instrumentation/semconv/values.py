"""Closed sets of values in the contract, and which of them go together."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a statement does to data."""

    READ = "read"
    WRITE = "write"
    DDL = "ddl"
    OTHER = "other"


class Outcome(StrEnum):
    """How a transaction ended, as the database sees it."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    OPEN = "open"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a transaction was rolled back, strongest first: when several hold, the first is said."""

    COMMIT_FAILED = "commit_failed"
    COMMIT_OF_ABORTED = "commit_of_aborted"
    EXCEPTION = "exception"
    EXPLICIT = "explicit"
    NOT_COMMITTED = "not_committed"
    ABANDONED = "abandoned"
    # Of single statements only: undone by ROLLBACK TO SAVEPOINT while their transaction went on.
    SAVEPOINT = "savepoint"


#: The legal pairs. A reason exists for a rollback only, and every rollback has one.
LEGAL_REASONS: Final[dict[Outcome, frozenset[Reason]]] = {
    Outcome.COMMITTED: frozenset(),
    Outcome.ROLLED_BACK: frozenset(Reason),
    Outcome.OPEN: frozenset(),
    Outcome.UNKNOWN: frozenset(),
}


class Clause(StrEnum):
    """Where in a statement an identity stands."""

    WHERE = "where"
    SET = "set"


class ConstraintKind(StrEnum):
    """What kind of constraint a statement violated."""

    UNIQUE = "unique"
    FOREIGN_KEY = "foreign_key"
    NOT_NULL = "not_null"
    CHECK = "check"
    EXCLUSION = "exclusion"


class AiProblem(StrEnum):
    """What was wrong with the call of a model."""

    ERROR = "error"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    #: It answered that it will not answer.
    REFUSED = "refused"
    #: The stream of the answer ended without saying why.
    CUT = "cut"
    #: The answer reached its limit of tokens.
    TRUNCATED = "truncated"
    EMPTY = "empty"


class Role(StrEnum):
    """What the connected database node is."""

    PRIMARY = "primary"
    REPLICA = "replica"
    UNKNOWN = "unknown"


class Rung(StrEnum):
    """How a database was recognised, most trustworthy first. Two connections are compared on one rung."""

    CONFIGURED = "configured"
    SYSTEM_IDENTIFIER = "system_identifier"
    SERVER_UUID = "server_uuid"
    FILE = "file"
    ENDPOINT = "endpoint"
    MEMORY = "memory"


class ProcessKind(StrEnum):
    """What a process is there for."""

    WEB = "web"
    WORKER = "worker"
    SCRIPT = "script"
    TEST = "test"


#: The grammar of encodings: a form, then /upper, then /<length> for a cut value, then /int.
ENCODING_PATTERN: Final = re.compile(
    r"(raw|integer|uuid|email|sha256|sha1|md5|opaque|hmac:[\w.-]+|fn:[\w.-]+)(/upper)?(/\d+)?(/int)?"
)
