"""Which service talks to which database."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route


class Database(BaseModel):
    """One kind of process on one database, schema and URL."""

    environment: str
    application: str
    service: str
    process_kind: str
    database: str = Field(description="The fingerprint: the same wherever the same database answered.")
    database_rungs: list[str]
    database_schema: str
    database_role: str
    database_url: str
    database_url_variable: str
    db_system: str
    db_namespace: str
    versions: list[str]
    first_seen: datetime
    last_seen: datetime
    reads: int
    writes: int


class DatabaseList(BaseModel):
    """All of them, busiest environment first."""

    items: list[Database]


_COLUMNS = ", ".join(Database.model_fields)


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    @router.get("/databases")
    def list_databases(environment: str | None = None, service: str | None = None) -> DatabaseList:
        """Who was seen on which database."""
        rows = context.store.query(
            f"SELECT {_COLUMNS} FROM databases "  # noqa: S608 - column names of our own
            "WHERE ({environment:String} = '' OR environment = {environment:String}) "
            "AND ({service:String} = '' OR service = {service:String}) "
            "ORDER BY environment, application, database, database_schema, service LIMIT 1000",
            {"environment": environment or "", "service": service or ""},
        )
        return DatabaseList(items=[Database(**row) for row in rows.dicts()])

    return router
