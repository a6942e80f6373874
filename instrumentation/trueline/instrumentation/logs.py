"""Standard logging to OTLP with trace context, and our own log events.

The text of a record leaves as its template: arguments are the application's data (``log_arguments=True``
sends the formatted text). Fields given with ``extra`` leave as they are, identities among them as hashes.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from typing import Any

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context, get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from trueline.instrumentation import ambient, semconv
from trueline.instrumentation._version import __version__
from trueline.instrumentation.block import qualified_name
from trueline.instrumentation.database_errors import description_of
from trueline.instrumentation.descriptions import clean_description
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor

# Records of those who carry our own data would be answered by records about carrying them.
_OWN_LOGGERS = ("opentelemetry", "trueline", "urllib3", "requests")
# echo=True: whole statements with their literals, which their spans tell without.
_ECHO_LOGGER = "sqlalchemy.engine"
# logging.captureWarnings(True): the text is formatted already, behind place and category.
_WARNINGS_LOGGER = "py.warnings"
_WARNING = re.compile(r"[^\n]*?:\d+: \w+(?=:)")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_FIELDS = 64
_MAX_TEXT = 8192

_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
)


class OtlpHandler(logging.Handler):
    """Passes records of standard logging on as OpenTelemetry log records; never raises, never blocks."""

    def __init__(
        self,
        provider: _logs.LoggerProvider,
        identities: IdentityConfig,
        extractor: IdentityExtractor,
        *,
        log_arguments: bool = False,
    ) -> None:
        super().__init__()
        self._provider = provider
        self._identities = identities
        self._extractor = extractor
        self._log_arguments = log_arguments
        self._busy = threading.local()

    @guarded("logs.emit")
    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        if record.name.split(".", 1)[0] in _OWN_LOGGERS or not is_instrumentation_enabled():
            return
        if record.name.startswith(_ECHO_LOGGER) and record.levelno < logging.WARNING:
            return
        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            self._provider.get_logger(record.name).emit(self._translate(record))
        finally:
            self._busy.now = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nothing: the guard has counted it, and stderr is the application's."""

    def _translate(self, record: logging.LogRecord) -> LogRecord:
        number, text = SeverityNumber.TRACE, "TRACE"
        for level, candidate, name in _SEVERITIES:
            if record.levelno >= level:
                number, text = candidate, name
                break
        body = record.getMessage() if self._log_arguments else _template(record)
        return LogRecord(
            timestamp=int(record.created * 1e9),
            observed_timestamp=ambient.now_ns(),
            context=get_current(),
            severity_number=number,
            severity_text=text,
            body=body[:_MAX_TEXT],
            attributes=self._attributes(record),
        )

    def _attributes(self, record: logging.LogRecord) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "code.file.path": record.pathname,
            "code.function.name": record.funcName,
            "code.line.number": record.lineno,
        }
        for name, value in vars(record).items():
            if name in _STANDARD_FIELDS or len(attributes) >= _MAX_FIELDS:
                continue
            domain = self._identities.domain_of("", name)
            if domain is not None:
                attributes[name] = self._extractor.bind(value, domain).value
            elif isinstance(value, bool | int | float):
                attributes[name] = value
            elif isinstance(value, str):
                attributes[name] = value[:_MAX_TEXT]
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            attributes["exception.type"] = qualified_name(type(error))
            message = clean_description(str(error)) if self._log_arguments else description_of(error)
            if message:
                attributes["exception.message"] = message
            # Without the message, which stands at the end of a formatted exception.
            attributes["exception.stacktrace"] = "".join(traceback.format_tb(error.__traceback__))[
                -_MAX_TEXT:
            ]
        return attributes


class EventEmitter:
    """Sends our own log events."""

    def __init__(self, provider: _logs.LoggerProvider) -> None:
        self._logger = provider.get_logger(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)

    @guarded("logs.event")
    def __call__(
        self,
        name: str,
        attributes: dict[str, Any],
        *,
        context: Context | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Send the event ``name``, by default in the current trace and of now (ns)."""
        now = ambient.now_ns()
        self._logger.emit(
            LogRecord(
                timestamp=timestamp or now,
                observed_timestamp=now,
                context=get_current() if context is None else context,
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=semconv.EVENTS[name].meaning,
                attributes=attributes,
                event_name=name,
            )
        )


def _template(record: logging.LogRecord) -> str:
    """The text without the application's data: an object logged as it is leaves as its class."""
    if isinstance(record.msg, str):
        if record.name == _WARNINGS_LOGGER:
            found = _WARNING.match(record.msg)
            return found[0] if found is not None else "warning"
        return record.msg
    return qualified_name(type(record.msg))


def root_has_otel_handler() -> bool:
    """Whether another OpenTelemetry handler already passes the application's records on."""
    return any(
        type(handler).__module__.startswith("opentelemetry.") for handler in logging.getLogger().handlers
    )
