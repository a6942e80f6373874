"""Switching telemetry on, as a service does it in its first lines."""

from __future__ import annotations

import os


def start() -> None:
    """Instrument this process; its settings are in the environment."""
    from trueline.instrumentation import instrument

    instrument(spans=os.environ.get("TRUELINE_SPANS") or None)
    if os.environ.get("AI_CLIENT") == "openai":
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        HTTPXClientInstrumentor().instrument()
