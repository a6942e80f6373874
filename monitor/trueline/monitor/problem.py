"""How the HTTP interface says no: a problem document (RFC 9457), whatever went wrong and wherever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"


class WrongInput(BaseModel):
    """One value of a request that cannot be used."""

    where: str = Field(description="The parameter, or the member of the body: group.name, items.0 ...")
    message: str


class Problem(BaseModel):
    """RFC 9457. ``detail`` is one sentence that names what is wrong and the way out."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(default="about:blank", description="Always about:blank: the status tells the kind.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str
    instance: str = Field(description="The path that was asked.")
    errors: list[WrongInput] | None = Field(default=None, description="Each value that cannot be used.")


def problem(
    path: str,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[WrongInput] = (),
) -> JSONResponse:
    """An answer with a problem document. ``path`` carries no query string: values there may be secrets."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path[:200],
    }
    if errors:
        content["errors"] = [one.model_dump() for one in errors]
    return JSONResponse(content, status, dict(headers or {}), media_type=MEDIA_TYPE)
