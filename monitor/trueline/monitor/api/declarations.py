"""What owners of applications declared."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route


class DeclarationsInForce(BaseModel):
    """One file."""

    application: str = Field(description="Whom it is about; empty: all applications.")
    path: str
    content_hash: str = Field(description="SHA-256 of the file.")
    valid_from: datetime | None = Field(description="Since when it is in force; null: not stored yet.")
    declarations: dict[str, Any]


class DeclarationList(BaseModel):
    """All files, and what is wrong with them now; what was read before then stays in force."""

    items: list[DeclarationsInForce]
    problems: list[str]


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    @router.get("/declarations")
    def list_declarations() -> DeclarationList:
        """What is declared now, file by file."""
        return DeclarationList(**context.declarations.status())

    return router
