"""Log lines of the monitor's own process: standard error, for people or as JSON."""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal

import structlog

#: Libraries that tell more than is of use here: each start, each retry, each statement that is rendered.
_QUIETER: Final = {
    "uvicorn.error": logging.WARNING,
    "urllib3.connectionpool": logging.ERROR,
    "sqlglot": logging.WARNING,
    "httpx": logging.WARNING,
}


def configure_logging(level: str = "info", form: Literal["console", "json"] = "console") -> None:
    """Send every record of ``level`` and above to standard error, one line each, times in UTC."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    renderer: list[structlog.typing.Processor]
    if form == "json":
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        colors = sys.stderr.isatty()
        plain = structlog.dev.plain_traceback
        renderer = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(least)
