"""Switching on what needs no word of the application: Celery and RQ, where they are loaded or will be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trueline.instrumentation.frameworks import celery, rq
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.imported import when_imported

_MODULES: Final = ("celery.signals", "rq.job")
_on = False
_undo: dict[str, Callable[[], None]] = {}


@guarded("jobs.watch")
def watch_jobs() -> None:
    """From now on jobs take trace and binding along."""
    global _on
    _on = True
    for name in _MODULES:
        when_imported(name, _loaded)


@guarded("jobs.unwatch")
def unwatch_jobs() -> None:
    """Take it off again."""
    global _on
    _on = False
    for undo in _undo.values():
        undo()
    _undo.clear()


def watched() -> list[str]:
    """The libraries whose jobs take them along by now: ``celery``, ``rq``."""
    return sorted(name.partition(".")[0] for name in _undo)


@guarded("jobs.loaded")
def _loaded(module: Any) -> None:
    name = module.__name__
    if not _on or name in _undo:
        return
    if name == "celery.signals":
        celery.connect(module)
        _undo[name] = lambda: celery.disconnect(module)
    else:
        _undo[name] = rq.wrap(module)
