"""What every route needs, and how routes say no."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from trueline.monitor.declaration_service import DeclarationService
from trueline.monitor.engine.rule import parse_duration
from trueline.monitor.errors import QueryError, StoreError, StoreUnavailableError
from trueline.monitor.rule_service import RuleService
from trueline.monitor.settings import Settings
from trueline.monitor.store.client import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the monitor that routes use."""

    store: Store
    rules: RuleService
    settings: Settings
    declarations: DeclarationService


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
                raise HTTPException(422, _sentence(error)) from None
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


def _sentence(error: RequestValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(
        part for part in first["loc"] if isinstance(part, str) and part not in ("query", "path", "body")
    )
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{where or 'The body'}: {message[:1].lower()}{message[1:]}."


def moment_of(text: str, now: datetime) -> datetime:
    """An ISO time, or a duration back from now (``24h``); HTTPException 400 otherwise."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        try:
            return now - parse_duration(text)
        except (ValueError, OverflowError):
            raise HTTPException(
                400, f"since={text[:40]!r} is neither a time as 2026-11-20T12:00:00Z nor a duration as 24h."
            ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
