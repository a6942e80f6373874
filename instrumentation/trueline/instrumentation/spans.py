"""From a settled transaction to spans: statement spans and the transaction span.

Our own spans are finished when they are made, so they go straight to the span processors' ``on_end``:
no sampler hides them and no ``on_start`` sees them. With a tracer provider that is not the SDK's they
take the long way through its tracer. Adopted spans of another instrumentation keep their ids, name and times
and get our attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, Status, StatusCode, set_span_in_context

from trueline.instrumentation import semconv
from trueline.instrumentation.own_spans import Origin, OwnSpan
from trueline.instrumentation.place import Place
from trueline.instrumentation.semconv import Outcome, Reason
from trueline.instrumentation.statement_span import AdoptedSpan, StatementSpan, clean_name
from trueline.instrumentation.transaction_span import TransactionSpan
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.sampling import Sampler
    from trueline.instrumentation.transaction import Transaction

#: Outcome, reason, autocommit, the exception's class: few of these occur in one process.
_EndingKey = tuple[Outcome, Reason | None, bool, str]
_MAX_ENDINGS = 1024


class SpanBuilder:
    """Builds the spans of one transaction at a time.

    ``finish`` takes each finished span of ours; ``tracer`` is used instead where there is no SDK provider.
    """

    def __init__(
        self,
        *,
        origin: Origin,
        finish: Callable[[ReadableSpan], None] | None,
        tracer: trace.Tracer,
        key_id: str,
        provider: TracerProvider | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self._origin = origin
        self._finish = finish
        self._tracer = tracer
        self._key_id = key_id
        self._provider = provider
        self._sampler = sampler
        self._endings: dict[_EndingKey, Part] = {}
        self.samples = sampler is not None

    def emit(
        self, transaction: Transaction[StatementRecord], statements: list[StatementRecord], settled: bool
    ) -> None:
        """Build and pass on the spans of ``statements``, and the transaction's own if it is settled."""
        if self._sampler is not None:
            statements, settled = self._sampler.select(transaction, statements, settled)
        if self._provider is not None and self._provider.resource is not self._origin.resource:
            # A fork gave the child's provider a resource of its own: another instance id.
            self._origin = Origin(self._provider.resource, self._origin.scope)
        place = transaction.place
        if place is None:
            if not statements:
                return
            place = transaction.place = Place(transaction.id, statements[0], self._origin, self._key_id)
        whole = self._ending(transaction, transaction.outcome, transaction.reason)
        for record in statements:
            ending = whole
            if record.failed or record.undone or record.left:
                ending = self._ending(transaction, *transaction.outcome_of(record))
            adopted = record.adopted
            if adopted is None:
                self._pass_on(StatementSpan(record, ending, place))
            elif adopted.span is None:
                adopted.finish(AdoptedSpan(record, adopted, ending, place))
            else:
                self._end_adopted(record, adopted.span, ending, place)
        if settled:
            tally = transaction.tally
            if tally.writes or tally.failures or tally.left_open or place.parent is None:
                self._pass_on(TransactionSpan(transaction, whole, place))

    def _end_adopted(self, record: StatementRecord, span: Any, ending: Part, place: Place) -> None:
        """The public way, which costs more than everything else that is done for the statement."""
        facts = AdoptedSpan(record, record.adopted, ending, place)  # type: ignore[arg-type]  # it is one
        span.set_attributes(facts.attributes_beside(getattr(span, "attributes", None) or {}))
        span.update_name(clean_name(getattr(span, "name", ""), record.plan.operation))
        if record.error is not None:
            span.set_status(Status(StatusCode.ERROR, record.error.description))
        span.end(record.ended_at)

    def _ending(
        self, transaction: Transaction[StatementRecord], outcome: Outcome, reason: Reason | None
    ) -> Part:
        """What all statements with one outcome say of it, whatever their transaction."""
        error_type = "" if reason is None else transaction.cause.error_type
        key = (outcome, reason, transaction.autocommit, error_type)
        known = self._endings.get(key)
        if known is not None:
            return known
        attributes: dict[str, Any] = {
            semconv.TRANSACTION_OUTCOME: outcome.value,
            semconv.TRANSACTION_AUTOCOMMIT: transaction.autocommit,
        }
        if reason is not None:
            attributes[semconv.TRANSACTION_REASON] = reason.value
            if error_type:
                attributes[semconv.TRANSACTION_ERROR_TYPE] = error_type
        if self._sampler is not None:
            attributes[semconv.SAMPLE_RATIO] = self._sampler.ratio
        if len(self._endings) >= _MAX_ENDINGS:
            self._endings.clear()
        ending = self._endings[key] = Part(attributes)
        return ending

    def _pass_on(self, span: OwnSpan) -> None:
        if self._finish is not None:
            self._finish(span)
            return
        parent = span.parent
        parent_context = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
        live = self._tracer.start_span(
            span.name,
            context=parent_context,
            kind=span.kind,
            attributes=span.attributes,
            start_time=span.start_time,
        )
        if span.status.status_code is StatusCode.ERROR:
            live.set_status(span.status)
        live.end(span.end_time)
