"""Zero-code as one line: ``import trueline.instrumentation.auto``, before anything else of the application.

It does what ``opentelemetry-instrument`` does (distro, configurator, every instrumentor that is installed,
Trueline among them), in processes that the command does not reach. Under the command it does nothing.
"""

from __future__ import annotations

import logging

from trueline.instrumentation.setup import is_instrumented


def _begin() -> None:
    if is_instrumented():
        return
    try:
        from opentelemetry.instrumentation.auto_instrumentation import initialize

        initialize()
    except Exception:
        logging.getLogger("trueline").exception("trueline: zero-code could not be started; nothing is seen")


_begin()
