"""The entry point for ``opentelemetry-instrument`` and for code that handles all instrumentors alike."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from trueline.instrumentation.setup import instrument, uninstrument


class TruelineInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Instruments SQLAlchemy; takes the arguments of :func:`instrument`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The releases of SQLAlchemy that are supported."""
        return ("sqlalchemy >= 2.0, < 2.2",)

    def _instrument(self, **kwargs: Any) -> None:
        # Zero-code passes arguments that are not ours (exception_on_conflict and relatives).
        instrument(**{name: value for name, value in kwargs.items() if name in _ARGUMENTS})

    def _uninstrument(self, **kwargs: Any) -> None:
        uninstrument()


_ARGUMENTS = frozenset(instrument.__kwdefaults__ or ()) | {"service_name"}
