"""The kit's own OpenTelemetry providers, and a global stand-in while the process has none.

Instrumentations of model clients and web frameworks ask OpenTelemetry for the global provider. A process
under test usually has none, and their spans would be lost: a recording could then say "no AI call" where
there was one. While recordings run, a stand-in takes the empty place. A tracer that somebody got from it
and kept stays usable: outside of recordings it leads to whatever provider is then the global one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from trueline.instrumentation import semconv
from trueline.instrumentation.testing.fixed import CountingIds

#: Hashes of a recording are the same on every machine and leave it never.
_HASH_SECRET: Final = "trueline.instrumentation.testing"  # noqa: S105 - public on purpose

#: One for the process, so that tracers which somebody kept lead to the next recording too.
ids: Final = CountingIds()


@contextmanager
def without_variables() -> Iterator[None]:
    """Neither TRUELINE_* nor OTEL_* variables decide what a recording is like."""
    kept = {name: os.environ[name] for name in os.environ if name.startswith(("TRUELINE_", "OTEL_"))}
    for name in kept:
        del os.environ[name]
    os.environ["TRUELINE_HASH_SECRET"] = _HASH_SECRET
    try:
        yield
    finally:
        del os.environ["TRUELINE_HASH_SECRET"]
        os.environ.update(kept)


@cache
def own_tracers() -> TracerProvider:
    """The kit's tracer provider: no exporter, whatever the environment says."""
    with without_variables():
        return TracerProvider(
            resource=_resource(), sampler=ALWAYS_ON, id_generator=ids, shutdown_on_exit=False
        )


@cache
def own_loggers() -> LoggerProvider:
    """Likewise for logs."""
    with without_variables():
        return LoggerProvider(resource=_resource(), shutdown_on_exit=False)


def _resource() -> Resource:
    return Resource({semconv.SERVICE_NAME: "test", semconv.PROCESS_KIND: "test"})


def global_tracers() -> trace.TracerProvider | None:
    """The process's tracer provider; None where there is none but ours."""
    # get_tracer_provider() would make one if OTEL_PYTHON_TRACER_PROVIDER asks for it.
    current = trace._TRACER_PROVIDER
    return None if current is _stand_in else current


def fill_in() -> None:
    """Take the place of the global provider if it is empty; the application may still set its own."""
    if trace._TRACER_PROVIDER is None:
        _stand_in.recording = True
        trace._TRACER_PROVIDER = _stand_in


def step_back() -> None:
    """Leave it again."""
    _stand_in.recording = False
    if trace._TRACER_PROVIDER is _stand_in:
        trace._TRACER_PROVIDER = None


class _StandIn(trace.TracerProvider):
    recording = False

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return _StandInTracer(*args, **kwargs)

    def target(self) -> trace.TracerProvider | None:
        application = global_tracers()
        return application or (own_tracers() if self.recording else None)


class _StandInTracer(trace.ProxyTracer):
    """Asks again at every span where it should go."""

    @property
    def _tracer(self) -> trace.Tracer:
        provider = _stand_in.target()
        if provider is None:
            return self._noop_tracer
        return provider.get_tracer(
            self._instrumenting_module_name,
            self._instrumenting_library_version,
            self._schema_url,
            self._attributes,
        )


_stand_in: Final = _StandIn()
