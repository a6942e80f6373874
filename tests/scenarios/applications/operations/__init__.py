"""What the applications can do: plain SQLAlchemy code, a module a subject. Each decorates its functions."""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every module here, so that its operations are known."""
    for found in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(found.name)
