"""Putting the parts of Trueline together for one process, before anything is switched on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import _logs, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from trueline.instrumentation import lifecycle, semconv
from trueline.instrumentation._version import __version__
from trueline.instrumentation.ai import AiWatch
from trueline.instrumentation.commit_event import announce_commit
from trueline.instrumentation.entry import EntryProcessor
from trueline.instrumentation.events import DeferredEvents
from trueline.instrumentation.holder import Holder
from trueline.instrumentation.identity import IdentityExtractor, IdentityHasher
from trueline.instrumentation.inventory_keeper import Keeper
from trueline.instrumentation.inventory_report import Hashes, Inventory
from trueline.instrumentation.last_export import patience
from trueline.instrumentation.late import importing
from trueline.instrumentation.logs import EventEmitter, LogWatch, Relay
from trueline.instrumentation.losses import Losses
from trueline.instrumentation.options import Options
from trueline.instrumentation.own_spans import Origin
from trueline.instrumentation.providers import (
    last_export,
    logger_provider,
    prepend_processor,
    sends_to_loopback_only,
    tracer_provider,
)
from trueline.instrumentation.runtime import Runtime
from trueline.instrumentation.sampling import Sampler
from trueline.instrumentation.spans import SpanBuilder
from trueline.instrumentation.statement import Later, Planner, load_parser

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction

logger = logging.getLogger("trueline")


@dataclass(slots=True)
class Installed:
    """What uninstrument() has to take away again."""

    runtime: Runtime
    provider: trace.TracerProvider
    loggers: _logs.LoggerProvider
    processor: EntryProcessor
    log_watch: LogWatch | None
    flush: Callable[[], None]
    contrib: bool
    samples: bool
    options: Options
    keeper: Keeper
    ai_watch: AiWatch


def assemble(
    options: Options, given_tracers: trace.TracerProvider | None, given_loggers: _logs.LoggerProvider | None
) -> Installed:
    """Make everything that ``options`` ask for. Spans and logs can flow; no hook is set yet."""
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
        if settled:
            announce_commit(emit_event, transaction, hasher.key_id)

    def idle(final: bool) -> None:
        if not final:
            with importing():
                load_parser()
        events.send()
        losses.report(emit_event, final=final)
        keeper.tick(emit_event, final=final)

    holder = keeper.holder = Holder(emit, options.hold, losses=losses, idle=idle)
    current = Runtime(
        tracer=tracer,
        planner=Planner(options.identities, later=Later()),
        extractor=extractor,
        holder=holder,
        key_id=hasher.key_id,
        emit_event=events,
        database_names=options.database_names,
    )

    def flush() -> None:
        holder.flush()
        events.send()

    ai_watch = AiWatch(options.ai_hosts)
    keeper.ai_calls = lambda: ai_watch.counts["calls"]
    processor = EntryProcessor(flush, ai_watch)
    prepend_processor(provider, processor)
    watch = None
    if options.logs:
        relay = Relay(
            loggers,
            options.identities,
            extractor,
            log_arguments=options.log_arguments,
            events=() if options.declarations is None else options.declarations.log_events,
        )
        watch = LogWatch(relay)
        watch.begin()
    last_export.between = functools.partial(losses.report, emit_event, final=True)
    # Registered after the providers' own handlers, so it runs before them: what is held still gets out.
    lifecycle.at_exit(holder.close)

    def last() -> None:
        # The process may be ended right after this, past atexit.
        holder.flush()
        _flush(provider)
        idle(True)  # and with it what of the spans could not be sent
        _flush(loggers)

    flush = lifecycle.bounded(last, lambda: patience(options.base_endpoint))
    lifecycle.at_flush(flush)
    return Installed(
        current,
        provider,
        loggers,
        processor,
        watch,
        flush,
        contrib=False,
        samples=builder.samples,
        options=options,
        keeper=keeper,
        ai_watch=ai_watch,
    )


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
