"""Switching on contrib's SQLAlchemy instrumentation as the source of spans.

Its releases refuse SQLAlchemy 2.1 by a version bound, although they work there if greenlet is installed
(without it they stop halfway through wrapping). Where it cannot work, or keeps its spans where we do not know
them, Trueline's own spans take over and one log line says so.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status

from trueline.instrumentation.descriptions import clean_description
from trueline.instrumentation.guard import guarded

logger = logging.getLogger("trueline")
_SCOPE = "opentelemetry.instrumentation.sqlalchemy"

#: Where contrib keeps the span of a statement, on SQLAlchemy's execution context, until it ends it.
SPAN_ATTRIBUTE: Final = "_otel_span"


@guarded("contrib.activate", default=False)
def activate(provider: trace.TracerProvider) -> bool:
    """Switch contrib on; False if our own spans have to do, or if it was on already."""
    import sqlalchemy

    if not fits():
        logger.warning(
            "trueline: spans='contrib': this release of opentelemetry-instrumentation-sqlalchemy keeps spans "
            "where Trueline cannot adopt them; Trueline's own spans are used"
        )
        return False
    instrumentor = _instrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        return False  # by the application, which will also switch it off
    if find_spec("greenlet") is None:
        logger.warning(
            "trueline: spans='contrib' needs the package greenlet beside SQLAlchemy %s; "
            "Trueline's own spans are used (pip install greenlet)",
            sqlalchemy.__version__,
        )
        return False
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    return True


@guarded("contrib.fits", default=False)
def fits() -> bool:
    """Whether the installed release keeps and ends its spans as we know it."""
    from opentelemetry.instrumentation.sqlalchemy import engine

    tracer: Any = engine.EngineTracer
    ends: Any = engine._after_cur_exec
    return (
        SPAN_ATTRIBUTE in tracer._before_cur_exec.__code__.co_names
        and SPAN_ATTRIBUTE in ends.__code__.co_consts
    )


@guarded("contrib.warn")
def warn_if_doubled() -> None:
    """Say it if contrib is on already, by zero-code for example, and its spans cannot be adopted."""
    if _instrumentor().is_instrumented_by_opentelemetry and not fits():
        logger.warning(
            "trueline: opentelemetry-instrumentation-sqlalchemy is active, and this release keeps its spans "
            "where Trueline cannot adopt them: each statement has two spans. Set "
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=sqlalchemy to have one"
        )


@guarded("contrib.deactivate")
def deactivate() -> None:
    """Switch contrib off, if we had switched it on."""
    instrumentor = _instrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def _instrumentor() -> Any:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    return SQLAlchemyInstrumentor()


def clean_errors(span: ReadableSpan) -> None:
    """Take values out of the errors of contrib's spans that Trueline does not adopt (``connect``).

    A finished span offers no way to change it; this is done before the processors behind ours see it.
    """
    scope = span.instrumentation_scope
    if scope is None or scope.name != _SCOPE:
        return
    for event in span.events:
        attributes = event.attributes or {}
        message = attributes.get("exception.message")
        if message is not None:
            # The stack trace ends with the message once more.
            kept = {name: value for name, value in attributes.items() if name != "exception.stacktrace"}
            event._attributes = {**kept, "exception.message": clean_description(str(message))}
    if span.status.description:
        span._status = Status(span.status.status_code, clean_description(span.status.description))
