"""Which service, kind of process and version talks to which database, since when, by which URL variable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route, moment_of
from trueline.monitor.api.cursors import decode_cursor, encode_cursor
from trueline.monitor.engine.same_database import Known, Note, compare
from trueline.monitor.store.surroundings import read_declared

_COLUMNS = (
    "environment, application, service, process_kind, database, database_rungs, database_schema, "
    "database_role, database_url, database_url_variable, db_system, db_namespace, versions, first_seen, "
    "last_seen, reads, writes"
)
#: What makes a row one, and the order of the list.
_KEY = (
    "environment, application, database, database_schema, service, process_kind, database_role, "
    "database_url, database_url_variable, db_system, db_namespace"
)
_PARTS = 11


class Database(BaseModel):
    """One kind of process on one database, schema and URL."""

    environment: str
    application: str
    service: str
    process_kind: str
    database: str = Field(description="The fingerprint: the same wherever the same database answered.")
    database_name: str = Field(description="The operator's name for it, as declared; empty: none.")
    database_rungs: list[str]
    database_schema: str
    database_role: str
    database_url: str = Field(description="Without credentials and query string.")
    database_url_variable: str = Field(description="The environment variable that it came from.")
    db_system: str
    db_namespace: str
    versions: list[str]
    first_seen: datetime
    last_seen: datetime
    reads: int
    writes: int


class NoteItem(BaseModel):
    """Two of the listed databases that somebody should look at together."""

    kind: Literal["possible_copy", "one_variable_two_databases", "alias"]
    databases: list[str] = Field(description="Their fingerprints.")
    sentence: str


class DatabaseList(BaseModel):
    """One page, by environment, application and database; ``notes`` are about this page."""

    items: list[Database]
    notes: list[NoteItem]
    next: str | None


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    @router.get("/databases")
    def list_databases(
        environment: Annotated[str | None, Query(max_length=200)] = None,
        application: Annotated[str | None, Query(max_length=200)] = None,
        service: Annotated[str | None, Query(max_length=200)] = None,
        since: Annotated[
            str | None, Query(max_length=60, description="Seen since then: 24h, or a time.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 500,
        cursor: Annotated[str | None, Query(max_length=4000)] = None,
    ) -> DatabaseList:
        """Who was seen on which database."""
        conditions, values = ["1"], dict[str, object]()
        for name, chosen in (
            ("environment", environment),
            ("application", application),
            ("service", service),
        ):
            if chosen is not None:
                conditions.append(f"{name} = {{{name}:String}}")
                values[name] = chosen
        if since is not None:
            conditions.append("last_seen >= {since:DateTime64(3)}")
            values["since"] = moment_of(since, context.now()).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        if cursor is not None:
            values |= {f"k{place}": part for place, part in enumerate(decode_cursor(cursor, _PARTS))}
            conditions.append(f"({_KEY}) > ({', '.join(f'{{k{place}:String}}' for place in range(_PARTS))})")
        rows = context.store.query_read_only(
            f"SELECT {_COLUMNS} FROM databases WHERE {' AND '.join(conditions)} "  # noqa: S608 - our names
            f"ORDER BY {_KEY} LIMIT {limit + 1}",
            values,
        ).dicts()
        page = rows[:limit]
        declared = read_declared(context.store, sorted({row["application"] for row in page}))
        known = [_known(row) for row in page]
        names = {row["name"]: frozenset(row["words"]) for row in declared if row["kind"] == "database"}
        found = compare(known, names)
        return DatabaseList(
            items=[
                Database(
                    **{**row, "versions": sorted(row["versions"])}, database_name=found.names.get(one, "")
                )
                for row, one in zip(page, known, strict=True)
            ],
            notes=[_note(one) for one in found.notes],
            next=encode_cursor(*(str(page[-1][name.strip()]) for name in _KEY.split(",")))
            if len(rows) > limit
            else None,
        )

    return router


def _known(row: dict[str, object]) -> Known:
    rungs = row["database_rungs"]
    assert isinstance(rungs, Sequence)
    return Known(
        environment=str(row["environment"]),
        application=str(row["application"]),
        service=str(row["service"]),
        database=str(row["database"]),
        rungs=tuple(sorted(str(one) for one in rungs)),
        role=str(row["database_role"]),
        url=str(row["database_url"]),
        variable=str(row["database_url_variable"]),
        name=str(row["db_namespace"]),
    )


def _note(note: Note) -> NoteItem:
    return NoteItem(kind=note.kind, databases=list(note.databases), sentence=note.sentence)
