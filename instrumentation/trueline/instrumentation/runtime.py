"""What is switched on in this process: one object, or None while Trueline is off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import scope, semconv
from trueline.instrumentation.database_names import DatabaseNames

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from trueline.instrumentation.events import DeferredEvents
    from trueline.instrumentation.holder import Holder
    from trueline.instrumentation.identity import IdentityExtractor
    from trueline.instrumentation.statement import Planner


@dataclass(slots=True)
class Runtime:
    """The parts that hooks work with."""

    tracer: Tracer
    planner: Planner
    extractor: IdentityExtractor
    holder: Holder
    key_id: str
    #: Sends one of our own log events soon: event name, attributes.
    emit_event: DeferredEvents
    #: The operator's own names for databases, which then are their best rungs.
    database_names: DatabaseNames = field(default_factory=DatabaseNames)

    def context_attributes(self) -> dict[str, Any]:
        """Attributes of any span of ours from what the current task is bound to."""
        bound = tuple(f"{b.domain}:{b.value}" for b in scope.bound_identities.get() if b.value)
        return {semconv.IDENTITY_BOUND: bound, semconv.HASH_KEY_ID: self.key_id} if bound else {}


#: The runtime, or None while Trueline is off. Hooks on the hot path read it here.
active: Runtime | None = None


def current() -> Runtime | None:
    """The runtime, or None while Trueline is off."""
    return active


def install(runtime: Runtime | None) -> Runtime | None:
    """Switch on (or off, with None); returns what was there before."""
    global active
    before, active = active, runtime
    return before
