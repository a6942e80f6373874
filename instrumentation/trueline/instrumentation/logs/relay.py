"""Log lines to OpenTelemetry's log records: what leaves of a line, and what stays.

The text leaves as its template: arguments are the application's data (``log_arguments=True`` sends the
formatted text). Structured fields leave as they are, identities among them as hashes.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import get_current

from trueline.instrumentation import ambient, runtime, semconv
from trueline.instrumentation.block import qualified_name
from trueline.instrumentation.database_errors import description_of
from trueline.instrumentation.declarations.model import LogEvent
from trueline.instrumentation.descriptions import clean_description
from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor
from trueline.instrumentation.logs.database_text import attributes_of, facts_of, masked
from trueline.instrumentation.logs.line import Line
from trueline.instrumentation.suppression import is_suppressed

# Lines of those who carry our own data would be answered by lines about carrying them.
_OWN_LOGGERS: Final = frozenset({"opentelemetry", "trueline", "urllib3", "requests"})
# echo=True: whole statements with their literals, which their spans tell without.
_ECHO_LOGGER: Final = "sqlalchemy.engine"
_WARNING: Final = 30
_MAX_FIELDS: Final = 64
_MAX_TEXT: Final = 8192
#: Where a structured line may name its event, beside its text.
_EVENT_FIELDS: Final = ("event_name", "event.name", "event")

_SEVERITIES: Final = (
    (50, SeverityNumber.FATAL, "FATAL"),
    (40, SeverityNumber.ERROR, "ERROR"),
    (30, SeverityNumber.WARN, "WARN"),
    (20, SeverityNumber.INFO, "INFO"),
    (10, SeverityNumber.DEBUG, "DEBUG"),
)


class Relay:
    """Passes lines on. Lines that the passing itself causes, in the same thread, are not passed on."""

    def __init__(
        self,
        provider: _logs.LoggerProvider,
        identities: IdentityConfig,
        extractor: IdentityExtractor,
        *,
        log_arguments: bool = False,
        events: Iterable[LogEvent] = (),
    ) -> None:
        self.provider = provider
        self._identities = identities
        self._extractor = extractor
        self._log_arguments = log_arguments
        self._events = {event.event: event for event in events}
        self._busy = threading.local()
        #: Lines passed on, by loggers of any kind, and other handlers' records that were completed.
        self.sent = 0
        self.completed = 0

    def wants(self, logger: str, level: int) -> bool:
        """Whether lines of a logger are passed on at all, just now."""
        if logger.partition(".")[0] in _OWN_LOGGERS or getattr(self._busy, "now", False):
            return False
        if level < _WARNING and logger.startswith(_ECHO_LOGGER):
            return False
        return not is_suppressed(get_current())

    def send(self, line: Line) -> None:
        """Pass one line on; it was asked for before whether it is wanted."""
        self._busy.now = True
        self.sent += 1
        try:
            self.provider.get_logger(line.logger).emit(self._record(line))
        finally:
            self._busy.now = False

    def _record(self, line: Line) -> LogRecord:
        number, text = SeverityNumber.TRACE, "TRACE"
        for level, candidate, name in _SEVERITIES:
            if line.level >= level:
                number, text = candidate, name
                break
        body = _text(line) if self._log_arguments else line.template
        attributes = self._attributes(line)
        event = self._event(line, attributes)
        return LogRecord(
            timestamp=line.at or ambient.now_ns(),
            observed_timestamp=ambient.now_ns(),
            context=get_current(),
            severity_number=number,
            severity_text=text,
            body=masked(body)[:_MAX_TEXT],
            attributes=attributes,
            event_name=event,
        )

    def complete(self, record: LogRecord, line: Line | None) -> None:
        """Add to another handler's record what ours would tell, and mask the rows that databases quote.

        Its text and its fields stay as the application said them; a declared event's identity is hashed.
        """
        attributes = record.attributes
        if getattr(self._busy, "now", False) or not isinstance(attributes, MutableMapping):
            return
        body = record.body if isinstance(record.body, str) else ""
        message = str(attributes.get("exception.message") or "")
        if line is None:
            line = Line("", _WARNING, body, lambda: body, fields=attributes)
        found: dict[str, Any] = {}
        if _severity(record) >= SeverityNumber.WARN.value and semconv.CONSTRAINT_KIND not in attributes:
            facts = facts_of(line.error, line.arguments, f"{body}\n{message}")
            if facts is not None:
                found |= attributes_of(facts)
        for name in ("exception.message", "exception.stacktrace"):
            quoted = attributes.get(name)
            if isinstance(quoted, str) and (text := masked(quoted)) != quoted:
                found[name] = text
        event = self._event(line, found)
        for name, value in found.items():
            attributes[name] = value
        if body and (text := masked(body)) != body:
            record.body = text
        if event is not None and not record.event_name:
            record.event_name = event
        self.completed += bool(found)

    def _attributes(self, line: Line) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "code.file.path": line.path,
            "code.function.name": line.function,
            "code.line.number": line.number,
        }
        self._add_fields(attributes, line.fields)
        if line.level >= _WARNING:
            facts = facts_of(line.error, line.arguments, _text(line))
            if facts is not None:
                attributes |= attributes_of(facts)
        error = line.error
        if error is not None:
            attributes["exception.type"] = qualified_name(type(error))
            message = clean_description(str(error)) if self._log_arguments else description_of(error)
            if message:
                attributes["exception.message"] = message
            # Without the message, which stands at the end of a formatted exception.
            attributes["exception.stacktrace"] = "".join(traceback.format_tb(error.__traceback__))[
                -_MAX_TEXT:
            ]
        return attributes

    def _add_fields(self, attributes: dict[str, Any], fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            if len(attributes) >= _MAX_FIELDS:
                return
            domain = self._identities.domain_of("", name)
            if domain is not None:
                attributes[name] = self._extractor.bind(value, domain).value
            elif isinstance(value, bool | int | float):
                attributes[name] = value
            elif isinstance(value, str):
                attributes[name] = value[:_MAX_TEXT]

    def _event(self, line: Line, attributes: dict[str, Any]) -> str | None:
        """The name of the declared event that the line is, with its identity among the attributes."""
        if not self._events:
            return None
        declared = self._events.get(line.template)
        for name in _EVENT_FIELDS if declared is None else ():
            declared = self._events.get(str(line.fields.get(name, "")))
            if declared is not None:
                break
        if declared is None:
            return None
        current = runtime.current()
        if current is not None:
            bound = current.context_attributes()
            value = line.fields.get(declared.identity) if declared.identity else None
            if value is not None:
                said = self._extractor.bind(value, declared.domain)
                if said.value:
                    # The innermost counts: what the line itself says.
                    names = (*bound.get(semconv.IDENTITY_BOUND, ()), said.exported)
                    bound = {semconv.IDENTITY_BOUND: names, semconv.HASH_KEY_ID: current.key_id}
                attributes[declared.identity] = said.value
            attributes |= bound
        return declared.event


def _text(line: Line) -> str:
    """The text with its arguments; without them where they do not fit, as the application's own may not."""
    try:
        return line.text()
    except Exception:
        return line.template


def _severity(record: LogRecord) -> int:
    return 0 if record.severity_number is None else record.severity_number.value
