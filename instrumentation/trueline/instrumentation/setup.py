"""Switching Trueline on and off in this process."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry import _logs, trace

from trueline.instrumentation import contrib, lifecycle, runtime
from trueline.instrumentation.assembly import Installed, assemble
from trueline.instrumentation.async_exit import unwrap_async, wrap_async
from trueline.instrumentation.frameworks.jobs import outcomes
from trueline.instrumentation.frameworks.watching import unwatch_jobs, watch_jobs, watched
from trueline.instrumentation.guard import guarded, swallow
from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.inventory_report import Inventory
from trueline.instrumentation.options import ConfigurationError, Options, disabled, resolve
from trueline.instrumentation.providers import remove_processor
from trueline.instrumentation.support import sqlalchemy_is_supported
from trueline.instrumentation.threads import unwatch_threads, watch_threads

logger = logging.getLogger("trueline")


_installed: Installed | None = None
_lock = threading.Lock()


def _after_fork() -> None:
    # Another thread may have held it at the fork.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def instrument(
    service_name: str | None = None,
    *,
    service_version: str | None = None,
    namespace: str | None = None,
    environment: str | None = None,
    process_kind: str | None = None,
    spans: str | None = None,
    identities: IdentityConfig | None = None,
    endpoint: str | None = None,
    logs: bool | None = None,
    log_arguments: bool | None = None,
    hold: float | None = None,
    database_name: str | None = None,
    database_names: Mapping[str, str] | None = None,
    sample: float | None = None,
    follow_trace_sampler: bool | None = None,
    threads: bool | None = None,
    jobs: bool | None = None,
    ai_hosts: Iterable[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    logger_provider: _logs.LoggerProvider | None = None,
) -> None:
    """Instrument SQLAlchemy in this process; a second call does nothing.

    Works before or after engines are made, sync and async. Call it once at import time, after your own
    ``trace.set_tracer_provider()`` if you have one: an existing provider is used, otherwise one is made
    that sends OTLP/HTTP to ``endpoint`` (OTEL_EXPORTER_OTLP_ENDPOINT, http://127.0.0.1:4318).

    Args:
        service_name: ``service.name``; also ``service_version``, ``namespace`` (the application that
            several services form) and ``environment``. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
            are read where they are not given, and an existing provider's resource is left as it is.
        process_kind: web, worker, script or test; guessed by default.
        spans: ``"own"`` (default) or ``"contrib"`` for the spans of opentelemetry-instrumentation-sqlalchemy.
        identities: which columns hold identities, in which domains.
        logs: pass records of standard logging on, with trace context. Default True.
        log_arguments: send formatted log text instead of its template. Default False.
        hold: seconds for which statements wait for the outcome of their transaction. Default 1.
        sample: share of identities whose statements are sent, the same ones in every service; what did not
            commit is sent whatever the share. Default 1.
        follow_trace_sampler: drop statements of traces that the trace sampler dropped, unless they did not
            commit. Default False: rules need every write and read of an identity.
        config: a file of declarations; TRUELINE_CONFIG, else trueline.yaml in the working directory, if it is
            there. Arguments and variables go before what it says. One that cannot be used is left out, and
            one log sentence says why.
        threads: let threads and thread pools work under the binding and in the trace of whoever started them
            or handed the work in. Default False.
        jobs: let jobs of Celery and RQ take along the trace and the binding of whoever hands them in:
        exported
            values of identities in the message's headers. Default True; TRUELINE_JOBS.
        ai_hosts: hosts that serve models beside the well-known ones, each as ``host``, ``host:port`` or
            ``*.domain``: HTTP requests to them are AI calls. TRUELINE_AI_HOSTS, separated by commas.
        database_name: the operator's own name for the database, stronger than any fingerprint.
        database_names: for several databases, names by ``host:port/database`` or by fingerprint.

    Raises:
        ConfigurationError: an argument or a TRUELINE_* variable has an impossible value.
    """
    try:
        if disabled():
            return
        options = resolve(
            service_name=service_name,
            service_version=service_version,
            namespace=namespace,
            environment=environment,
            process_kind=process_kind,
            spans=spans,
            identities=identities,
            endpoint=endpoint,
            logs=logs,
            log_arguments=log_arguments,
            hold=hold,
            database_name=database_name,
            database_names=database_names,
            sample=sample,
            follow_trace_sampler=follow_trace_sampler,
            threads=threads,
            jobs=jobs,
            ai_hosts=ai_hosts,
            config=config,
        )
    except ConfigurationError:
        raise
    except Exception as error:
        swallow("instrument.options", error)
        return
    with _lock:
        _instrument(options, tracer_provider, logger_provider)


@guarded("instrument")
def _instrument(
    options: Options, given_tracers: trace.TracerProvider | None, given_loggers: _logs.LoggerProvider | None
) -> None:
    global _installed
    if _installed is not None:
        return
    if not sqlalchemy_is_supported():
        return
    # Imported here: they need a SQLAlchemy that is supported.
    from trueline.instrumentation.dialects import wrap_dialects
    from trueline.instrumentation.listeners import listen

    _installed = assemble(options, given_tracers, given_loggers)
    try:
        runtime.install(_installed.runtime)
        wrap_dialects()
        listen()
        wrap_async()
        if options.threads:
            watch_threads()
        if options.jobs:
            watch_jobs()
        _installed.contrib = options.spans == "contrib" and contrib.activate(_installed.provider)
        if options.spans == "own" and "opentelemetry.instrumentation.sqlalchemy" in sys.modules:
            contrib.warn_if_doubled()
    except Exception:
        _uninstrument()  # all or nothing
        raise


def uninstrument() -> None:
    """Take everything off again and let held spans go; a second call does nothing."""
    with _lock:
        _uninstrument()


@guarded("uninstrument")
def _uninstrument() -> None:
    global _installed
    installed, _installed = _installed, None
    if installed is None:
        return
    from trueline.instrumentation.announcements import forget
    from trueline.instrumentation.dialects import unwrap_dialects
    from trueline.instrumentation.listeners import unlisten

    runtime.install(None)
    holder, watch = installed.runtime.holder, installed.log_watch
    steps: list[Callable[[], object]] = [
        unlisten,
        unwrap_dialects,
        forget,
        unwrap_async,
        unwatch_threads,
        unwatch_jobs,
    ]
    if installed.contrib:
        steps.append(contrib.deactivate)
    steps += [
        holder.close,
        lambda: lifecycle.forget(holder.close),
        lambda: lifecycle.forget(installed.flush),
        lambda: remove_processor(installed.provider, installed.processor),
    ]
    if watch is not None:
        steps.append(watch.end)
    for step in steps:
        # Each by itself: whatever one of them meets, the others are done.
        guarded("uninstrument.step")(step)()


def is_instrumented() -> bool:
    """Whether Trueline is on in this process."""
    return _installed is not None


def installed_providers() -> tuple[trace.TracerProvider, _logs.LoggerProvider] | None:
    """The providers that Trueline sends through, None while it is off."""
    installed = _installed
    return None if installed is None else (installed.provider, installed.loggers)


def is_sampling() -> bool:
    """Whether a part of what happens is left out on purpose."""
    return _installed is not None and _installed.samples


def inventory() -> Inventory:
    """Which databases, tables and identity columns this process was seen to use, and what cannot be seen.

    Statements count when they leave: up to ``hold`` seconds after they ran. ``inventory().describe()`` is
    the same in sentences. Empty while Trueline is off; never raises.
    """
    installed = _installed
    if installed is None:
        return Inventory()
    return _take(installed) or Inventory()


@guarded("inventory.take")
def _take(installed: Installed) -> Inventory:
    return installed.keeper.take()


def status() -> dict[str, Any]:
    """What Trueline did in this process: internal errors, losses by reason, and work that it could not see.

    ``unseen`` counts ``checkouts`` of connections on which no statement of SQLAlchemy's ran, and
    ``transactions`` that the driver had open when such a connection was given back. ``statements`` tells how
    new texts were read; those ``over_budget`` were only glanced at. ``watched`` tells what else is looked
    at: ``logs`` (lines ``passed_on``, other handlers' records ``completed``), ``jobs`` (``libraries``,
    how many ended how), ``ai`` (``calls``, ``attempts`` inside them, and their problems). ``inventory`` is
    :func:`inventory` as plain values.
    """
    from trueline.instrumentation.guard import internal_errors

    return {
        "instrumented": _installed is not None,
        "internal_errors": dict(internal_errors),
        "losses": dict(_installed.runtime.holder.losses.total) if _installed is not None else {},
        "unseen": dict(_installed.runtime.holder.unseen) if _installed is not None else {},
        "declarations": {} if _installed is None else _declarations(_installed.options),
        "statements": _installed.runtime.planner.counts() if _installed is not None else {},
        "watched": _watched(_installed) or {},
        "inventory": dataclasses.asdict(inventory()),
    }


@guarded("status.watched")
def _watched(installed: Installed | None) -> dict[str, Any]:
    if installed is None:
        return {}
    watch = installed.log_watch
    return {
        "logs": {} if watch is None else watch.counts(),
        "jobs": {"libraries": watched(), **outcomes} if installed.options.jobs else {},
        "ai": dict(installed.ai_watch.counts),
    }


def _declarations(options: Options) -> dict[str, str]:
    declared = options.declarations
    if declared is not None:
        return {"path": declared.path, "sha256": declared.content_hash}
    return {"problem": options.declarations_problem} if options.declarations_problem else {}
