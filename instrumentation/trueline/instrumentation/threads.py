"""Threads and thread pools that take the binding and the trace along, for those who ask for it.

Switched on by ``instrument(threads=True)`` or TRUELINE_THREADS=1. What OpenTelemetry's ThreadingInstrumentor
does for traces, with two differences. It works for subclasses of Thread that have a ``run`` of their own. And
threads that a library keeps for whoever comes next (the workers of a pool, an exporter, a scheduler) begin
with nothing: they would work for the first request's user for ever.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from trueline.instrumentation.guard import guarded
from trueline.instrumentation.propagation import Propagated, propagate

#: Top-level packages whose threads belong to nobody in particular.
_SHARED: Final = frozenset(
    {
        "aiokafka", "anyio", "apscheduler", "asgiref", "asyncio", "celery", "concurrent",
        "confluent_kafka", "datadog", "ddtrace", "elasticapm", "eventlet", "gevent", "grpc",
        "gunicorn", "huey", "kafka", "kombu", "logging", "multiprocessing", "newrelic",
        "opentelemetry", "pika", "posthog", "prometheus_client", "psycopg_pool", "pymongo", "queue",
        "redis", "sentry_sdk", "socketserver", "sqlalchemy", "statsd", "tornado", "trueline",
        "urllib3", "uvicorn", "waitress", "watchdog", "watchfiles", "werkzeug",
    }
)  # fmt: skip

_originals: dict[str, tuple[Any, Any]] = {}


def watch_threads() -> None:
    """Switch on; a second call does nothing."""
    _wrap(ThreadPoolExecutor, "submit", _submit)
    _wrap(threading.Thread, "start", _start)


def unwatch_threads() -> None:
    """Switch off, unless somebody else has wrapped the methods meanwhile: then they pass everything on."""
    for owner, name in ((ThreadPoolExecutor, "submit"), (threading.Thread, "start")):
        original, ours = _originals.pop(name, (None, None))
        if ours is None:
            continue
        if getattr(owner, name) is ours:
            setattr(owner, name, original)
        else:
            ours.trueline_off = True


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    if name not in _originals:
        original = getattr(owner, name)
        ours = make(original)
        _originals[name] = original, ours
        setattr(owner, name, ours)


def _submit(original: Any) -> Any:
    @functools.wraps(original)
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if getattr(submit, "trueline_off", False):
            return original(self, fn, *args, **kwargs)
        return original(self, propagate(fn), *args, **kwargs)

    return submit


def _start(original: Any) -> Any:
    @functools.wraps(original)
    def start(self: threading.Thread, *args: Any, **kwargs: Any) -> Any:
        if not getattr(start, "trueline_off", False):
            _prepare(self)
        return original(self, *args, **kwargs)

    return start


@guarded("threads.start")
def _prepare(thread: threading.Thread) -> None:
    """Let ``thread`` run under what its starter has, unless it serves whoever comes next."""
    if _package(type(thread).__module__) in _SHARED or _package(_module_of_target(thread)) in _SHARED:
        return
    run = thread.run
    carried: Any = propagate(run)
    if isinstance(carried, Propagated):
        # On the object, so that a subclass's own ``run`` counts; taken off again as soon as it runs.
        thread.run = functools.partial(_run, thread, carried)  # type: ignore[method-assign]


def _run(thread: threading.Thread, carried: Callable[[], None]) -> None:
    thread.__dict__.pop("run", None)
    carried()


def _module_of_target(thread: threading.Thread) -> str:
    target: Any = getattr(thread, "_target", None) or getattr(thread, "function", None)  # of a Timer
    while isinstance(target, functools.partial):
        target = target.func
    owner = getattr(target, "__self__", None)
    if owner is not None and not isinstance(owner, type):
        return type(owner).__module__
    return getattr(target, "__module__", None) or ""


def _package(module: str) -> str:
    return module.partition(".")[0]
