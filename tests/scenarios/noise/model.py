"""Who sends telemetry, of which database, and the rows that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Database:
    """A logical database. ``spread``: tenants each have their own of it ("shard") or a schema in it
    ("schema").
    """

    name: str
    schema: str = "public"
    role: str = "primary"
    #: Names where connections go; a physical replica shares everything else with its primary.
    endpoint: str = ""
    system: str = "postgresql"
    spread: str = ""
    variable: str = "DATABASE_URL"

    @property
    def rungs(self) -> list[str]:
        """How it is recognised."""
        return [f"system_identifier:{self.name}", f"endpoint:{self.endpoint or self.name}"]


@dataclass(frozen=True)
class Service:
    """Processes of one kind. ``ratio``: it keeps that share of the identities, as TRUELINE_SAMPLE says."""

    name: str
    application: str
    database: Database
    kind: str = "web"
    instances: int = 3
    ratio: float = 0.0


@dataclass
class Row:
    """One row of a typed table, with times in milliseconds and ids as numbers that count within the play.

    ``leaves`` is when it can be exported; ``whose`` all identities of its transaction, by which it is
    sampled, and ``must`` whether it is kept all the same.
    """

    table: str
    service: Service
    trace: int
    columns: dict[str, Any]
    at: float
    ended: float
    leaves: float
    span: int = 0
    entry: int = 0
    transaction: int = 0
    same_row: int = 0
    bound: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    whose: tuple[str, ...] = ()
    must: bool = True
    version: str = ""
    database: Database | None = None
    attributes: dict[str, str] = field(default_factory=dict)
