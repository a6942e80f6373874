"""Switching recording on in this process, and leaving the process as it was.

Recordings can be nested and can overlap: the first switches on what all of them need, the last switches
it off. Where Trueline is on already (the application under test calls ``instrument()`` itself), nothing of
it is changed: the recording listens in on its providers, and clock and identifiers stay real, since what
the application sends may be kept somewhere.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from trueline.instrumentation import guard, runtime
from trueline.instrumentation.ai import AiWatch, ModelHosts
from trueline.instrumentation.entry import EntryProcessor
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.options import ConfigurationError
from trueline.instrumentation.providers import prepend_processor, remove_processor
from trueline.instrumentation.runtime import Runtime
from trueline.instrumentation.setup import (
    installed_providers,
    instrument,
    is_instrumented,
    is_sampling,
    uninstrument,
)
from trueline.instrumentation.testing import providers
from trueline.instrumentation.testing.collector import Collector
from trueline.instrumentation.testing.fixed import FixedAmbient
from trueline.instrumentation.testing.joined import JoinWatcher

#: Seconds: an undecided statement waits for its transaction, or until the recording is asked.
_HOLD = 3600.0


class TelemetryWarning(UserWarning):
    """A recording that may lack something, through no fault of the code under test."""


class Installation:
    """What the recordings of this process share."""

    def __init__(self, identities: IdentityConfig | None, *, logs: bool) -> None:
        self.users = 0
        self.watcher = JoinWatcher()
        self._fixed: FixedAmbient | None = None
        self._entries: list[tuple[trace.TracerProvider, EntryProcessor]] = []
        self._tracers: list[TracerProvider] = []
        self._missed: object = None
        if is_instrumented():
            _check_what_is_on(identities)
        self.watcher.listen()
        try:
            if not is_instrumented():
                self._switch_on(identities, logs=logs)
            self.runtime, self._loggers = self._find()
        except BaseException:
            self.remove()
            raise

    def _find(self) -> tuple[Runtime, _logs.LoggerProvider]:
        current, installed = runtime.current(), installed_providers()
        if current is None or installed is None:
            raise RuntimeError("Trueline could not be switched on; its log records say why")
        tracers, loggers = installed
        if not isinstance(tracers, TracerProvider):
            raise RuntimeError(
                "Trueline sends through a tracer provider that is not OpenTelemetry's SDK "
                f"({type(tracers).__name__}): there is nothing to listen in on"
            )
        self._tracers.append(tracers)
        application = providers.global_tracers()
        if isinstance(application, TracerProvider) and application is not tracers:
            self._tracers.append(application)
        return current, loggers

    def _switch_on(self, identities: IdentityConfig | None, *, logs: bool) -> None:
        self._fixed = FixedAmbient()
        self._fixed.install()
        providers.ids.source = self._fixed
        application = providers.global_tracers()
        with providers.without_variables():
            instrument(
                process_kind="test",
                identities=identities,
                logs=logs,
                hold=_HOLD,
                tracer_provider=providers.own_tracers(),
                logger_provider=providers.own_loggers(),
            )
        if application is None:
            providers.fill_in()
        else:
            # The application's spans keep going where it sends them; entries and AI calls count here too.
            processor = EntryProcessor(lambda: None, AiWatch(ModelHosts()))
            prepend_processor(application, processor)
            self._entries.append((application, processor))

    def attach(self, collector: Collector) -> None:
        """Let ``collector`` take in everything from now on."""
        for provider in self._tracers:
            provider.add_span_processor(collector)
        if isinstance(self._loggers, LoggerProvider):
            self._loggers.add_log_record_processor(collector.log_processor)

    def detach(self, collector: Collector) -> None:
        """No more from now on."""
        for provider in self._tracers:
            remove_processor(provider, collector)
        active: Any = getattr(self._loggers, "_multi_log_record_processor", None)
        if active is not None:
            with active._lock:
                active._log_record_processors = tuple(
                    p for p in active._log_record_processors if p is not collector.log_processor
                )

    def flush(self) -> None:
        """Everything that happened becomes spans now; statements of open transactions leave as `open`.

        Only Trueline's own queue is emptied: flushing the application's provider would wait for its network.
        """
        self._let_go()
        application = providers.global_tracers()
        if application is not None and application not in self._tracers and application is not self._missed:
            self._missed = application
            warnings.warn(
                "the application set a global TracerProvider while a recording ran: its spans, AI calls of "
                "GenAI instrumentations among them, are not recorded; import the application before",
                TelemetryWarning,
                stacklevel=4,
            )

    @guarded("testing.flush")
    def _let_go(self) -> None:
        self.runtime.holder.flush(undecided=True)
        self.runtime.emit_event.send()

    def remove(self) -> None:
        """Leave the process as it was."""
        self.watcher.unlisten()
        if self._fixed is None:
            return
        for provider, processor in self._entries:
            remove_processor(provider, processor)
        providers.step_back()
        uninstrument()
        self._fixed.remove()


def _check_what_is_on(identities: IdentityConfig | None) -> None:
    if identities is not None:
        raise ConfigurationError(
            "recorded(identities=...) comes too late: Trueline is on already, with the identities given to "
            "instrument(); leave them out here"
        )
    if is_sampling():
        warnings.warn(
            "the application samples (sample=, TRUELINE_SAMPLE or follow_trace_sampler=): what it leaves out "
            "is not recorded either",
            TelemetryWarning,
            stacklevel=5,
        )


_lock = threading.RLock()
_current: Installation | None = None


@contextmanager
def installed(identities: IdentityConfig | None, *, logs: bool) -> Iterator[Installation]:
    """What recordings share, for as long as this one runs."""
    global _current
    with _lock:
        if _current is None:
            _current = Installation(identities, logs=logs)
        elif identities is not None:
            raise ConfigurationError(
                "recorded(identities=...) inside another recording: give them to the outer one"
            )
        installation = _current
        installation.users += 1
    try:
        yield installation
    finally:
        with _lock:
            installation.users -= 1
            if installation.users == 0:
                _current = None
                installation.remove()


@contextmanager
def own_faults_reported(installation: Installation) -> Iterator[None]:
    """Trueline's own errors and losses become a warning: they are no fault of the code under test."""
    errors, losses = Counter(guard.internal_errors), Counter(installation.runtime.holder.losses.total)
    yield
    errors = guard.internal_errors - errors
    losses = installation.runtime.holder.losses.total - losses
    if errors or losses:
        told = ", ".join(f"{count} in {where}" for where, count in (errors + losses).items())
        warnings.warn(
            f"Trueline had internal errors during the recording, which may lack something: {told}. "
            "Please report it; the logger 'trueline' has the traceback",
            TelemetryWarning,
            stacklevel=2,
        )
