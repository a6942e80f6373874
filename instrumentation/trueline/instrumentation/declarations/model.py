"""What the owner of an application declares about it, as objects. Durations are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DomainDeclaration:
    """A kind of identity. ``plain`` values leave as they are: business numbers only."""

    plain: bool = False


@dataclass(frozen=True, slots=True)
class ColumnDeclaration:
    """A column that holds identities, and the encodings in which it does so by design (empty: any one)."""

    domain: str
    encodings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key is: the name of an environment variable, or a file. Never the key."""

    env: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class TableDeclaration:
    """Whose a table is, who writes it, and by which domain it is spread over databases."""

    owner: str = ""
    written_by: tuple[str, ...] = ()
    sharded_by: str = ""


@dataclass(frozen=True, slots=True)
class Lineage:
    """A table that is made from others, and how far behind them it may be."""

    derived: str
    sources: tuple[str, ...]
    within: float = 0.0
    filled_by: str = "application"


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A row in ``table`` has one of the same identity in ``counterpart`` within a time."""

    table: str
    counterpart: str
    within: float
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that something may take."""

    of: str
    at_most: float
    service: str = ""
    operation: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A log event of the application's own that says that something happened."""

    event: str
    means: str
    identity: str = ""
    domain: str = "user"
    table: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """An entry that is not like the others, and in what."""

    name: str
    roles: tuple[str, ...]
    reads: tuple[str, ...] = ()
    service: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """A planned move of tables from one database to another."""

    source: str
    target: str
    starts: datetime
    ends: datetime
    tables: tuple[str, ...] = ()
    service: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Declarations:
    """One file. ``content_hash`` is the SHA-256 of its text, 64 hex digits; ``path`` is where it was read."""

    version: str = "1"
    application: str = ""
    domains: Mapping[str, DomainDeclaration] = field(default_factory=dict)
    columns: Mapping[str, ColumnDeclaration] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    derivations: Mapping[str, str] = field(default_factory=dict)
    #: By domain; "" is for all.
    resolver: Mapping[str, str] = field(default_factory=dict)
    uuid_namespaces: Mapping[str, str] = field(default_factory=dict)
    hmac_keys: Mapping[str, KeySource] = field(default_factory=dict)
    databases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: Mapping[str, TableDeclaration] = field(default_factory=dict)
    lineage: tuple[Lineage, ...] = ()
    counterparts: tuple[Counterpart, ...] = ()
    budgets: tuple[Budget, ...] = ()
    log_events: tuple[LogEvent, ...] = ()
    operations: tuple[Operation, ...] = ()
    moves: tuple[Move, ...] = ()
    path: str = ""
    content_hash: str = ""
