"""Standard logging: its records as lines, and a handler that passes them on.

structlog may hand its events to standard logging, rendered or not; they arrive here with their fields then.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from trueline.instrumentation.block import qualified_name
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.logs.line import Line
from trueline.instrumentation.logs.relay import Relay

# logging.captureWarnings(True): the text is formatted already, behind place and category.
_WARNINGS_LOGGER: Final = "py.warnings"
_WARNING: Final = re.compile(r"[^\n]*?:\d+: \w+(?=:)")
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_JSON: Final = 16_384
#: What structlog's and other JSON renderers call the text.
_TEXTS: Final = ("event", "message", "msg")

#: Event and fields of the structlog call that made a record in this thread, None for other records.
Pending = Callable[[logging.LogRecord], tuple[str, Mapping[str, Any]] | None]


class OtlpHandler(logging.Handler):
    """Passes records of standard logging on as OpenTelemetry log records; never raises, never blocks."""

    def __init__(self, relay: Relay, pending: Pending = lambda record: None) -> None:
        super().__init__()
        self._relay = relay
        self._pending = pending

    @guarded("logs.emit")
    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        if self._relay.wants(record.name, record.levelno):
            self._relay.send(line_of(record, self._pending(record)))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nothing: the guard has counted it, and stderr is the application's."""


def line_of(record: logging.LogRecord, structured: tuple[str, Mapping[str, Any]] | None = None) -> Line:
    """A record as a line; ``structured`` are event and fields, where a library above knows them."""
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
    template, text = _template(record), record.getMessage
    if structured is None:
        structured = _structure_of(record.msg)
    if structured is not None:
        event, said = structured
        fields = {**fields, **said}
        template, text = event, lambda: event
    arguments = record.args if isinstance(record.args, tuple) else (record.args,)
    return Line(
        logger=record.name,
        level=record.levelno,
        template=template,
        text=text,
        arguments=arguments,
        fields=fields,
        error=record.exc_info[1] if record.exc_info else None,
        at=int(record.created * 1e9),
        path=record.pathname,
        function=record.funcName or "",
        number=record.lineno,
    )


def _template(record: logging.LogRecord) -> str:
    """The text without the application's data: an object logged as it is leaves as its class."""
    if isinstance(record.msg, str):
        if record.name == _WARNINGS_LOGGER:
            found = _WARNING.match(record.msg)
            return found[0] if found is not None else "warning"
        return record.msg
    return qualified_name(type(record.msg))


def _structure_of(message: object) -> tuple[str, Mapping[str, Any]] | None:
    """Event and fields of a message that is a mapping, or the JSON of one."""
    said: Any = message
    if isinstance(message, str):
        if not message.startswith('{"') or len(message) > _MAX_JSON:
            return None
        try:
            said = json.loads(message)
        except ValueError:
            return None
    if not isinstance(said, Mapping):
        return None
    for name in _TEXTS:
        event = said.get(name)
        if isinstance(event, str):
            return event, {key: value for key, value in said.items() if isinstance(key, str) and key != name}
    return None


@guarded("logs.handlers", default=False)
def reaches_otel_handler(logger: logging.Logger, level: int) -> bool:
    """Whether another OpenTelemetry handler passes a record on, which goes from logger to logger up.

    A handler on the root does not see what a logger that does not propagate says, uvicorn's for example.
    """
    at: logging.Logger | None = logger
    while at is not None:
        for handler in at.handlers:
            if level >= handler.level and _is_otel_handler(type(handler)):  # type: ignore[arg-type]
                return True
        at = at.parent if at.propagate else None
    return False


@functools.lru_cache(maxsize=256)
def _is_otel_handler(kind: type) -> bool:
    return any(one.__module__.startswith("opentelemetry.") for one in kind.__mro__)
