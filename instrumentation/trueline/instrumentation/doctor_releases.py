"""Whether what is installed fits: Python, SQLAlchemy, OpenTelemetry, contrib's instrumentation."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from trueline.instrumentation import contrib
from trueline.instrumentation._version import __version__
from trueline.instrumentation.support import SUPPORTED_TEXT, sqlalchemy_is_supported

_CONTRIB = "opentelemetry-instrumentation-sqlalchemy"


def check(environ: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """(level, sentence, way out) for each of them."""
    yield 0, f"Trueline {__version__} on Python {platform.python_version()}.", ""
    sqlalchemy = _version("sqlalchemy")
    if not sqlalchemy:
        yield 2, "SQLAlchemy is not installed here.", "Run this with the Python of the service."
    elif not _supported():
        yield (
            2,
            f"SQLAlchemy {sqlalchemy} is not supported: nothing is instrumented.",
            f"Use SQLAlchemy {SUPPORTED_TEXT}.",
        )
    else:
        yield 0, f"SQLAlchemy {sqlalchemy}.", ""
    yield 0, f"OpenTelemetry SDK {_version('opentelemetry-sdk') or 'not installed'}.", ""
    installed = _version(_CONTRIB)
    wanted = environ.get("TRUELINE_SPANS", "").strip() == "contrib"
    if installed and not contrib.fits():
        yield (
            1 if wanted else 0,
            f"{_CONTRIB} {installed} keeps its spans where Trueline cannot adopt them, and makes its own.",
            "Unset TRUELINE_SPANS." if wanted else "",
        )
    elif installed:
        yield 0, f"{_CONTRIB} {installed}, whose spans can be adopted.", ""
    if wanted and find_spec("greenlet") is None:
        yield 1, "TRUELINE_SPANS=contrib needs the package greenlet.", "pip install greenlet"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _supported() -> bool:
    # It says in the log what is said here better.
    logger = logging.getLogger("trueline")
    before, logger.disabled = logger.disabled, True
    try:
        return sqlalchemy_is_supported()
    finally:
        logger.disabled = before
