"""Which releases of SQLAlchemy are supported; what is said where another one, or none, is installed."""

from __future__ import annotations

import logging
import re

logger = logging.getLogger("trueline")

#: (major, minor) of the releases that every outcome is tested on.
SUPPORTED = ((2, 0), (2, 1))
SUPPORTED_TEXT = "2.0 and 2.1"


def sqlalchemy_is_supported() -> bool:
    """Whether the installed SQLAlchemy can be instrumented; one log line says why not."""
    try:
        import sqlalchemy
    except ImportError:
        logger.error(
            "trueline: SQLAlchemy is not installed, nothing is instrumented; %s are supported", SUPPORTED_TEXT
        )
        return False
    version = tuple(int(part) for part in re.findall(r"\d+", sqlalchemy.__version__)[:2])
    if version in SUPPORTED:
        return True
    logger.error(
        "trueline: SQLAlchemy %s is not supported, nothing is instrumented; %s are. %s",
        sqlalchemy.__version__,
        SUPPORTED_TEXT,
        "Upgrade SQLAlchemy." if version < SUPPORTED[0] else "See whether a newer Trueline supports it.",
    )
    return False
