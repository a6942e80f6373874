"""Switching telemetry on, as a service does it in its first lines."""

from __future__ import annotations

import os

#: OpenAI's client goes over httpx up to its release 2, and over httpx2 since.
HTTP_CLIENTS = ("HTTPXClientInstrumentor", "HTTPX2ClientInstrumentor")


def start() -> None:
    """Instrument this process; its settings are in the environment."""
    from trueline.instrumentation import instrument

    instrument(spans=os.environ.get("TRUELINE_SPANS") or None)
    if os.environ.get("AI_CLIENT") == "openai":
        from opentelemetry.instrumentation import httpx

        for name in HTTP_CLIENTS:
            # Older releases of this instrumentation know the older library only.
            if hasattr(httpx, name):
                getattr(httpx, name)().instrument()
