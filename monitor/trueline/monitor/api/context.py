"""What every route needs, and how routes say no."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from trueline.monitor import moments
from trueline.monitor.declaration_service import DeclarationService
from trueline.monitor.errors import QueryError, StoreError, StoreUnavailableError
from trueline.monitor.problem import WrongInput, problem
from trueline.monitor.rule_service import RuleService
from trueline.monitor.settings import Settings
from trueline.monitor.store.client import Store

#: Values that cannot be used and are named in one answer.
_MAX_WRONG: Final = 20


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the monitor that routes use."""

    store: Store
    rules: RuleService
    settings: Settings
    declarations: DeclarationService

    def now(self) -> datetime:
        """The time that answers refer to, UTC."""
        return datetime.now(UTC)


class Route(APIRoute):
    """A route whose refusals are one sentence each, and that takes no parameter it does not know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of FastAPI."""
        handle = super().get_route_handler()
        known = sorted(field.alias for field in self.dependant.query_params)

        async def guarded(request: Request) -> Response:
            unknown = [name for name in request.query_params if name not in known]
            if unknown and not self.takes_any_parameter:
                there = f"there are {', '.join(known)}" if known else "there are none here"
                raise HTTPException(400, f"There is no parameter {unknown[0][:60]!r}: {there}.")
            try:
                return await handle(request)
            except RequestValidationError as error:
                wrong = _wrong(error)
                said = "; ".join(f"{one.where}: {one.message}" for one in wrong[:3])
                return problem(request.url.path, 422, f"{said}.", errors=wrong)
            except StoreUnavailableError as error:
                raise HTTPException(503, str(error), {"Retry-After": "2"}) from None
            except QueryError as error:
                reached = f"reached its limit of {error.limit}" if error.limit else "failed"
                raise HTTPException(503, f"The query {reached}: {error}", {"Retry-After": "5"}) from None
            except StoreError as error:
                raise HTTPException(503, str(error), {"Retry-After": "5"}) from None

        return guarded

    @property
    def takes_any_parameter(self) -> bool:
        """Whether the route reads parameters by names that it cannot know beforehand."""
        return "any-parameter" in self.tags


def _wrong(error: RequestValidationError) -> list[WrongInput]:
    """Each value that cannot be used, by its name; never the value itself, which may be somebody's."""
    found = []
    for one in error.errors()[:_MAX_WRONG]:
        source, *path = one["loc"] or ("body",)
        # The place in a repeated parameter says nothing; in a body it does.
        where = ".".join(str(part) for part in path if source == "body" or isinstance(part, str))
        if one["type"] == "json_invalid":
            where, message = "", "this is no JSON"
        else:
            message = str(one["msg"]).removeprefix("Value error, ").rstrip(".")
        found.append(WrongInput(where=where or "the body", message=message[:1].lower() + message[1:]))
    return found


def moment_of(text: str, now: datetime, name: str = "since") -> datetime:
    """An ISO time, or a duration back from now (``24h``); HTTPException 400 about ``name`` otherwise."""
    try:
        return moments.moment_of(text, now)
    except ValueError as error:
        raise HTTPException(400, f"{name}={error}") from None
