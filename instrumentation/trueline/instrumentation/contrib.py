"""Switching on contrib's SQLAlchemy instrumentation as the source of spans.

Its releases refuse SQLAlchemy 2.1 by a version bound, although they work there if greenlet is installed
(without it they stop halfway through wrapping). Where it cannot work, Trueline's own spans take over and
one log line says so.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec

from opentelemetry import trace

from trueline.instrumentation.guard import guarded

logger = logging.getLogger("trueline")


@guarded("contrib.activate", default=False)
def activate(provider: trace.TracerProvider) -> bool:
    """Switch contrib on; False if it was on already, or cannot be and our own spans have to do."""
    import sqlalchemy
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    instrumentor = SQLAlchemyInstrumentor()
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


@guarded("contrib.deactivate")
def deactivate() -> None:
    """Switch contrib off, if we had switched it on."""
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    instrumentor = SQLAlchemyInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
