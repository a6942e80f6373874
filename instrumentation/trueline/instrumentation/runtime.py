"""What is switched on in this process: one object, or None while Trueline is off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import bound, semconv
from trueline.instrumentation.database_names import DatabaseNames

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from trueline.instrumentation.events import DeferredEvents
    from trueline.instrumentation.holder import Holder
    from trueline.instrumentation.identity import BoundIdentity, IdentityExtractor
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
        return self.bound_attributes(bound.current())

    def bound_attributes(self, identities: Iterable[BoundIdentity]) -> dict[str, Any]:
        """The attributes that name these identities."""
        names = tuple(one.exported for one in identities if one.value)
        return {semconv.IDENTITY_BOUND: names, semconv.HASH_KEY_ID: self.key_id} if names else {}


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
