"""Switching Trueline on and off in this process."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from trueline.instrumentation import contrib, lifecycle, runtime, semconv
from trueline.instrumentation._version import __version__
from trueline.instrumentation.async_exit import unwrap_async, wrap_async
from trueline.instrumentation.entry import EntryProcessor
from trueline.instrumentation.events import DeferredEvents
from trueline.instrumentation.guard import guarded, swallow
from trueline.instrumentation.holder import Holder
from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.inventory_keeper import Keeper
from trueline.instrumentation.inventory_report import Hashes, Inventory
from trueline.instrumentation.last_export import patience
from trueline.instrumentation.logs import EventEmitter, OtlpHandler, root_has_otel_handler
from trueline.instrumentation.losses import Losses
from trueline.instrumentation.options import ConfigurationError, Options, disabled, resolve
from trueline.instrumentation.own_spans import Origin
from trueline.instrumentation.providers import (
    logger_provider,
    prepend_processor,
    remove_processor,
    sends_to_loopback_only,
    tracer_provider,
)
from trueline.instrumentation.runtime import Runtime
from trueline.instrumentation.sampling import Sampler
from trueline.instrumentation.spans import SpanBuilder
from trueline.instrumentation.statement import Planner, load_parser
from trueline.instrumentation.support import sqlalchemy_is_supported
from trueline.instrumentation.threads import unwatch_threads, watch_threads

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction

logger = logging.getLogger("trueline")


@dataclass(slots=True)
class _Installed:
    """What uninstrument() has to take away again."""

    runtime: Runtime
    provider: trace.TracerProvider
    loggers: _logs.LoggerProvider
    processor: EntryProcessor
    log_handler: OtlpHandler | None
    flush: Callable[[], None]
    contrib: bool
    samples: bool
    options: Options
    keeper: Keeper


_installed: _Installed | None = None
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

    for mistake in options.identities.mistakes():
        logger.warning("trueline: %s", mistake)
    losses = Losses()
    provider = tracer_provider(options, given_tracers, losses)
    loggers = logger_provider(options, given_loggers)
    hasher = IdentityHasher(options.hash_secret or None)
    export_hashes = _may_export_hashes(options, provider, loggers)
    extractor = IdentityExtractor(options.identities, hasher, export_hashes=export_hashes)
    tracer = provider.get_tracer(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)
    sdk = provider if isinstance(provider, TracerProvider) else None
    builder = SpanBuilder(
        origin=Origin(
            None if sdk is None else sdk.resource,
            InstrumentationScope(semconv.SCOPE_NAME, __version__, semconv.SCHEMA_URL),
        ),
        provider=sdk,
        finish=None if sdk is None else sdk._active_span_processor.on_end,
        tracer=tracer,
        key_id=hasher.key_id,
        sampler=(
            Sampler(options.sample, follow_trace=options.follow_trace_sampler)
            if options.sample < 1 or options.follow_trace_sampler
            else None
        ),
    )
    emit_event = EventEmitter(loggers)
    events = DeferredEvents(emit_event)

    keeper = Keeper(_settings(options, hasher.key_id, export_hashes=export_hashes))

    def emit(
        transaction: Transaction[StatementRecord], statements: list[StatementRecord], settled: bool
    ) -> None:
        # Before sampling: its shares are those of all statements.
        keeper.add(statements)
        builder.emit(transaction, statements, settled)

    def idle(final: bool) -> None:
        if not final:
            load_parser()
        events.send()
        losses.report(emit_event, final=final)
        keeper.tick(emit_event, final=final)

    holder = keeper.holder = Holder(emit, options.hold, losses=losses, idle=idle)
    current = Runtime(
        tracer=tracer,
        planner=Planner(options.identities),
        extractor=extractor,
        holder=holder,
        key_id=hasher.key_id,
        emit_event=events,
        database_names=options.database_names,
    )

    def flush() -> None:
        holder.flush()
        events.send()

    processor = EntryProcessor(flush)
    prepend_processor(provider, processor)
    handler = None
    if options.logs and not root_has_otel_handler():
        handler = OtlpHandler(loggers, options.identities, extractor, log_arguments=options.log_arguments)
        logging.getLogger().addHandler(handler)
    # Registered after the providers' own handlers, so it runs before them: what is held still gets out.
    lifecycle.at_exit(holder.close)

    def last() -> None:
        # The process may be ended right after this, past atexit.
        holder.flush()
        idle(True)
        _flush(provider, loggers)

    flush = lifecycle.bounded(last, lambda: patience(options.base_endpoint))
    lifecycle.at_flush(flush)
    _installed = _Installed(
        current,
        provider,
        loggers,
        processor,
        handler,
        flush,
        contrib=False,
        samples=builder.samples,
        options=options,
        keeper=keeper,
    )
    try:
        runtime.install(current)
        wrap_dialects()
        listen()
        wrap_async()
        if options.threads:
            watch_threads()
        _installed.contrib = options.spans == "contrib" and contrib.activate(provider)
        if options.spans == "own" and "opentelemetry.instrumentation.sqlalchemy" in sys.modules:
            contrib.warn_if_doubled()
    except Exception:
        _uninstrument()  # all or nothing
        raise


def _settings(options: Options, key_id: str, *, export_hashes: bool) -> Inventory:
    """What an inventory says of how Trueline was switched on."""
    hashes: Hashes = "left_out" if not export_hashes else "keyed" if options.hash_secret else "unkeyed"
    return Inventory(
        process_kind=str(options.process_kind),
        spans=options.spans,
        key_id=key_id,
        hashes=hashes,
        sample=options.sample,
        follows_trace_sampler=options.follow_trace_sampler,
    )


def _flush(*providers: object) -> None:
    for provider in providers:
        force_flush = getattr(provider, "force_flush", None)
        if force_flush is not None:
            force_flush()


def _may_export_hashes(
    options: Options, tracers: trace.TracerProvider, loggers: _logs.LoggerProvider
) -> bool:
    """Without a secret a hash of a short identity can be guessed: it then stays on this machine."""
    if options.hash_secret:
        return True
    if sends_to_loopback_only(tracers, loggers):
        logger.info(
            "trueline: TRUELINE_HASH_SECRET is not set; identities leave as unkeyed hashes, to loopback only"
        )
        return True
    logger.warning(
        "trueline: TRUELINE_HASH_SECRET is not set and telemetry leaves this machine: identities are left "
        "out, and rules that compare them are blind for this service"
    )
    return False


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
    holder, handler = installed.runtime.holder, installed.log_handler
    steps: list[Callable[[], object]] = [unlisten, unwrap_dialects, forget, unwrap_async, unwatch_threads]
    if installed.contrib:
        steps.append(contrib.deactivate)
    steps += [
        holder.close,
        lambda: lifecycle.forget(holder.close),
        lambda: lifecycle.forget(installed.flush),
        lambda: remove_processor(installed.provider, installed.processor),
    ]
    if handler is not None:
        steps.append(lambda: logging.getLogger().removeHandler(handler))
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
def _take(installed: _Installed) -> Inventory:
    return installed.keeper.take()


def status() -> dict[str, Any]:
    """What Trueline did in this process: internal errors, losses by reason, and work that it could not see.

    ``unseen`` counts ``checkouts`` of connections on which no statement of SQLAlchemy's ran, and
    ``transactions`` that the driver had open when such a connection was given back. ``statements`` tells how
    new texts were read; those ``over_budget`` were only glanced at. ``inventory`` is :func:`inventory` as
    plain values.
    """
    from trueline.instrumentation.guard import internal_errors

    return {
        "instrumented": _installed is not None,
        "internal_errors": dict(internal_errors),
        "losses": dict(_installed.runtime.holder.losses.total) if _installed is not None else {},
        "unseen": dict(_installed.runtime.holder.unseen) if _installed is not None else {},
        "declarations": {} if _installed is None else _declarations(_installed.options),
        "statements": _installed.runtime.planner.counts() if _installed is not None else {},
        "inventory": dataclasses.asdict(inventory()),
    }


def _declarations(options: Options) -> dict[str, str]:
    declared = options.declarations
    if declared is not None:
        return {"path": declared.path, "sha256": declared.content_hash}
    return {"problem": options.declarations_problem} if options.declarations_problem else {}
