"""Identities to other services, if asked to: ``OTEL_PROPAGATORS=tracecontext,baggage,trueline`` on both
sides.

The header ``trueline-bound`` then goes along with every request that an HTTP instrumentation sends,
wherever to:
exported values only (a plain domain's are the identities themselves), which only services under the same
secret
can compare. A service that reads it believes its callers.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context, set_value
from opentelemetry.propagators.textmap import (
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from trueline.instrumentation import bound
from trueline.instrumentation.bound import BOUND_KEY, Bound
from trueline.instrumentation.frameworks.jobs import HEADER, header_of, identities_in
from trueline.instrumentation.guard import guarded


class BoundPropagator(TextMapPropagator):
    """Writes and reads the header."""

    @property
    def fields(self) -> set[str]:
        """The header's name."""
        return {HEADER}

    @guarded("propagator.inject")
    def inject(
        self, carrier: Any, context: Context | None = None, setter: Setter[Any] = default_setter
    ) -> None:
        """Write what ``context`` (the current one) is bound to."""
        value = header_of(bound.current(context))
        if value:
            setter.set(carrier, HEADER, value)

    def extract(
        self, carrier: Any, context: Context | None = None, getter: Getter[Any] = default_getter
    ) -> Context:
        """A context that is bound to what the header names."""
        around = Context() if context is None else context
        return _bound_to(carrier, getter, around) or around


@guarded("propagator.extract")
def _bound_to(carrier: Any, getter: Getter[Any], context: Context) -> Context | None:
    values = getter.get(carrier, HEADER)
    identities = identities_in(values[0]) if values else None
    return set_value(BOUND_KEY, Bound.of(tuple(identities), ()), context) if identities else None
