"""The entry point for ``opentelemetry-instrument`` and for code that handles all instrumentors alike."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from trueline.instrumentation.options import ConfigurationError
from trueline.instrumentation.setup import instrument, is_instrumented, uninstrument

logger = logging.getLogger("trueline")


class TruelineInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Instruments SQLAlchemy; takes the arguments of :func:`instrument`.

    Arguments of other instrumentors are accepted and ignored. ``engine`` and ``engines`` are among them:
    every engine of the process is covered, made before or after, and naming one restricts nothing.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """The releases of SQLAlchemy that are supported."""
        return ("sqlalchemy >= 2.0, < 2.2",)

    @property
    def _is_instrumented_by_opentelemetry(self) -> bool:
        # Not kept a second time: instrument() may have been called by itself, or may have refused.
        return is_instrumented()

    @_is_instrumented_by_opentelemetry.setter
    def _is_instrumented_by_opentelemetry(self, value: bool) -> None:
        pass

    def _instrument(self, **kwargs: Any) -> None:
        ours = {name: value for name, value in kwargs.items() if name in _ARGUMENTS}
        try:
            instrument(**ours)
        except ConfigurationError as error:
            if ours.keys() - {"tracer_provider", "logger_provider"}:
                raise
            # A variable is wrong. Raised here, it would keep zero-code from loading all other instrumentors.
            logger.error("trueline: nothing is instrumented: %s", error)

    def _uninstrument(self, **kwargs: Any) -> None:
        uninstrument()


_ARGUMENTS = frozenset(instrument.__kwdefaults__ or ()) | {"service_name"}
