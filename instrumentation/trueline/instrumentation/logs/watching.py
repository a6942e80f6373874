"""Seeing every log line, however logging is configured: before, after, and again while the process runs.

A handler on the root logger is lost with the next ``dictConfig``, and misses loggers that do not propagate.
So the one function is wrapped that every record of an enabled logger passes; likewise for structlog and
loguru, where they are loaded or will be. The application's own output comes first and is what it was. What
another OpenTelemetry handler passes on is not passed on twice: it is completed (``enriching``).
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from trueline.instrumentation.guard import guarded, swallow
from trueline.instrumentation.imported import when_imported
from trueline.instrumentation.logs.enriching import Enricher, prepend
from trueline.instrumentation.logs.line import Line
from trueline.instrumentation.logs.relay import Relay
from trueline.instrumentation.logs.standard import OtlpHandler, line_of, reaches_otel_handler

#: structlog's methods as standard logging's levels.
_LEVELS: Final = {
    "debug": 10, "info": 20, "msg": 20, "warning": 30, "warn": 30, "error": 40, "err": 40, "failure": 40,
    "exception": 40, "critical": 50, "fatal": 50,
}  # fmt: skip
_LOGGING_FILE: Final = logging.__file__
_MAX_FRAMES: Final = 24


_LIBRARIES: Final = ("structlog._base", "loguru._logger")
#: The watch that is on in this process.
_current: LogWatch | None = None


class LogWatch:
    """Passes lines on from :meth:`begin` to :meth:`end`."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._here = threading.local()
        self.handler = OtlpHandler(relay, self._pending)
        self._enricher = Enricher(relay, self._line)
        self._undo: list[Callable[[], None]] = []
        self._on = False

    def begin(self) -> None:
        """Wrap what is loaded; loguru and structlog once they are."""
        global _current
        _current = self
        self._on = True
        self._wrap(logging.Logger, "callHandlers", self._standard)
        self._undo.append(prepend(self._relay.provider, self._enricher))
        for module in _LIBRARIES:
            when_imported(module, _loaded)

    def end(self) -> None:
        """Take off what is still ours; what others wrapped since passes through."""
        global _current
        _current = None
        self._on = False
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def counts(self) -> dict[str, int]:
        """Lines that were passed on, and records of other handlers that were completed."""
        return {"passed_on": self._relay.sent, "completed": self._relay.completed}

    def _wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        wrapper = functools.wraps(original)(make(original))
        setattr(owner, name, wrapper)

        def undo() -> None:
            if getattr(owner, name) is wrapper:
                setattr(owner, name, original)

        self._undo.append(undo)

    @guarded("logs.loaded")
    def loaded(self, module: Any) -> None:
        """One of the other libraries is there."""
        if module.__name__ == "loguru._logger":
            self._wrap(module.Logger, "_log", self._logged)
        else:
            # Not what calls the logger: structlog finds its caller by the frames, and would find ours.
            self._wrap(module.BoundLoggerBase, "_process_event", self._processed)

    # -- standard logging -------------------------------------------------------------------------------

    def _standard(self, original: Any) -> Any:
        def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802
            here = self._here
            around = getattr(here, "record", None)
            here.record = record
            try:
                original(logger, record)
            finally:
                here.record = around
                if self._on and not reaches_otel_handler(logger, record.levelno):
                    self._handed_on(record)
                self._done_with(record)

        return callHandlers

    @guarded("logs.standard")
    def _done_with(self, record: logging.LogRecord) -> None:
        if self._pending(record) is not None:
            self._here.pending = None

    @guarded("logs.standard")
    def _handed_on(self, record: logging.LogRecord) -> None:
        of_loguru = getattr(self._here, "of_loguru", ())
        if of_loguru and of_loguru[-1]["message"] == record.msg:
            return  # a sink of loguru's hands the line to standard logging: it is passed on as loguru's
        self.handler.emit(record)

    def _line(self) -> Line | None:
        """The line that standard logging hands to its handlers in this thread just now."""
        record = getattr(self._here, "record", None)
        return None if record is None else line_of(record, self._pending(record))

    # -- structlog --------------------------------------------------------------------------------------

    def _processed(self, original: Any) -> Any:
        def _process_event(bound: Any, method_name: str, event: Any, event_kw: dict[str, Any]) -> Any:
            error = sys.exc_info()[1]
            result = original(bound, method_name, event, event_kw)
            if self._on:
                self._event_processed(bound, method_name, event, event_kw, error, result)
            return result

        return _process_event

    @guarded("logs.structlog")
    def _event_processed(
        self,
        bound: Any,
        method: str,
        event: Any,
        given: Mapping[str, Any],
        handled: BaseException | None,
        result: Any,
    ) -> None:
        fields = {**_context_of_structlog(), **bound._context, **given}
        raised = fields.pop("exc_info", None)
        text = event if isinstance(event, str) else type(event).__qualname__
        if isinstance(bound._logger, logging.Logger):
            # The record that standard logging makes of it now, if its level is on.
            self._here.pending = bound._logger.name, _message_of(result), text, fields
            return
        name = str(fields.pop("logger", "") or "structlog")
        level = _LEVELS.get(method, 20)
        if not self._relay.wants(name, level):
            return
        frame = _caller("structlog", _asynchronous_caller())
        self._relay.send(
            Line(
                logger=name,
                level=level,
                template=text,
                text=lambda: text,
                fields=fields,
                error=_error_of(raised, handled, always=method == "exception"),
                path=frame[0],
                function=frame[1],
                number=frame[2],
            )
        )

    def _pending(self, record: logging.LogRecord) -> tuple[str, Mapping[str, Any]] | None:
        pending = getattr(self._here, "pending", None)
        # Another's: a handler has something to say meanwhile.
        if pending is None or pending[0] != record.name or record.msg is not pending[1]:
            return None
        event, fields = pending[2:]
        return event, fields

    # -- loguru -----------------------------------------------------------------------------------------

    def _logged(self, original: Any) -> Any:
        def _log(
            logger: Any, level: Any, from_decorator: Any, options: Any, message: Any, args: Any, kwargs: Any
        ) -> None:
            seen: list[Any] = []
            around = getattr(self._here, "of_loguru", ())
            self._here.of_loguru = seen
            deeper = options
            try:
                # It looks two frames up for its caller: one more, for this one.
                deeper = (options[0], options[1] + 1, *options[2:])
            except Exception as unlike:
                swallow("logs.loguru", unlike)
            deeper = _watched(deeper, seen) or deeper
            try:
                original(logger, level, from_decorator, deeper, message, args, kwargs)
            finally:
                self._here.of_loguru = around
                if self._on and seen:
                    self._line_logged(seen[-1], message, args, kwargs)

        return _log

    @guarded("logs.loguru")
    def _line_logged(self, record: Any, message: Any, args: Any, kwargs: Any) -> None:
        name, number = str(record["name"] or "loguru"), int(record["level"].no)
        if _inside_of_standard_logging() or not self._relay.wants(name, number):
            return
        exception, said = record["exception"], str(record["message"])
        self._relay.send(
            Line(
                logger=name,
                level=number,
                template=message if isinstance(message, str) else type(message).__qualname__,
                text=lambda: said,
                # Under opt(lazy=True) functions, which are not called once more.
                arguments=(*args, *kwargs.values()),
                fields=record["extra"],
                error=None if exception is None else exception.value,
                at=int(record["time"].timestamp() * 1e9),
                path=record["file"].path,
                function=record["function"],
                number=record["line"],
            )
        )


@guarded("logs.loguru")
def _watched(options: Any, seen: list[Any]) -> Any:
    """loguru's options with a last patcher, which sees the record as the sinks will."""
    exception, depth, record, lazy, colors, raw, capture, patchers, extra = options
    return exception, depth, record, lazy, colors, raw, capture, [*patchers, seen.append], extra


def _error_of(raised: Any, handled: BaseException | None, *, always: bool) -> BaseException | None:
    """The exception that ``exc_info`` of structlog means: itself, a tuple of three, or true: the handled."""
    if isinstance(raised, tuple):
        raised = raised[1] if len(raised) == 3 else None
    if isinstance(raised, BaseException):
        return raised
    return handled if raised or always else None


def _message_of(result: Any) -> Any:
    """What structlog will hand to the logger as its message, of what its processors made."""
    if isinstance(result, tuple) and len(result) == 2:
        arguments, keywords = result
        return arguments[0] if arguments else keywords.get("msg")
    return result


def _context_of_structlog() -> Mapping[str, Any]:
    module = sys.modules.get("structlog.contextvars")
    return {} if module is None else dict(module.get_contextvars())


def _asynchronous_caller() -> Any:
    """The frame that awaits structlog's ``ainfo()``, which logs in another thread; else None."""
    calling = getattr(sys.modules.get("structlog.contextvars"), "_ASYNC_CALLING_STACK", None)
    return None if calling is None else calling.get(None)


def _caller(library: str, frame: Any = None) -> tuple[str, str, int, str]:
    """File, function, line and module of whoever called the library; ``frame``: where to look from."""
    frame = frame or sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if frame is None:
            break
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] != library and module != __name__ and "guard" not in module:
            return frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno, module
        frame = frame.f_back
    return "", "", 0, library


def _inside_of_standard_logging() -> bool:
    """Whether a handler of standard logging hands its record to loguru: the record was seen already."""
    frame: Any = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_name == "handle" and frame.f_code.co_filename == _LOGGING_FILE:
            return True
        frame = frame.f_back
    return False


def _loaded(module: Any) -> None:
    if _current is not None:
        _current.loaded(module)
