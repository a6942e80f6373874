"""Calls of models under way: which open transactions wait for them, and what became of them.

A span processor tells of every span that starts and ends. A call that runs inside another call is an
attempt of
it: a client's own retries show as HTTP requests within one GenAI span.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, get_current

from trueline.instrumentation import runtime, scope, semconv
from trueline.instrumentation.ai.conventions import is_ai_span, is_call_to
from trueline.instrumentation.ai.hosts import ModelHosts
from trueline.instrumentation.ai.problems import FAILURES, problem_of
from trueline.instrumentation.block import qualified_name
from trueline.instrumentation.semconv import AiProblem

#: Where a span object has the call that it stands for, or is inside of.
_CALL: Final = "_trueline_ai_call"
#: Spans under way at most; one that never ends stays until the bound pushes it out.
_MAX_UNDER_WAY: Final = 1024


class _Call:
    """One call under way, or one attempt of it."""

    __slots__ = ("attempts", "held", "outer")

    def __init__(self, held: list[Any], outer: _Call | None) -> None:
        #: The transactions that wait for it, and for nothing around it.
        self.held = held
        self.outer = outer
        self.attempts = 0

    def waits(self, transaction: Any) -> bool:
        return any(one is transaction for one in self.held) or (
            self.outer is not None and self.outer.waits(transaction)
        )


class AiWatch:
    """Counts calls of models into the transactions that the task holds open meanwhile."""

    def __init__(self, hosts: ModelHosts) -> None:
        self._hosts = hosts
        #: By span id.
        self.under_way: dict[int, _Call] = {}
        #: Calls and attempts that were seen, and what was wrong with those that have ended.
        self.counts: Counter[str] = Counter()

    def started(self, span: Any, around: Any, entry: Any) -> None:
        """A span started inside ``around`` (a span without parent: None). Called for every span."""
        outer: _Call | None = None if around is None else getattr(around, _CALL, None)
        # The SDK's inner dictionary: its public face copies and locks.
        inner = getattr(getattr(span, "_attributes", None), "_dict", None)
        attributes = span.attributes if inner is None else inner
        if is_ai_span(attributes, span.kind) or is_call_to(self._hosts, attributes, span.kind):
            self._call_started(span, outer, entry)
        elif outer is not None:
            setattr(span, _CALL, outer)

    def _call_started(self, span: Any, outer: _Call | None, entry: Any) -> None:
        waiting = [t for t in scope.open_transactions() if outer is None or not outer.waits(t)]
        call = _Call(waiting, outer)
        setattr(span, _CALL, call)
        started_at = span.start_time or 0
        for transaction in waiting:
            with transaction.lock:
                transaction.tally.ai_started(started_at)
        self.counts["calls" if outer is None else "attempts"] += 1
        if outer is not None:
            outer.attempts += 1
        if len(self.under_way) >= _MAX_UNDER_WAY:
            self.under_way.pop(next(iter(self.under_way)), None)
        self.under_way[span.get_span_context().span_id] = call
        facts: dict[str, Any] = {semconv.AI_ROLE: "call" if outer is None else "attempt"}
        if entry is not None and entry is not span:
            facts[semconv.ENTRY_NAME] = getattr(entry, "name", "")
            facts[semconv.ENTRY_SPAN_ID] = f"{entry.get_span_context().span_id:016x}"
        current = runtime.current()
        if current is not None:
            facts |= current.context_attributes()
        span.set_attributes(facts)

    def ended(self, span: Any, completed: Callable[[Any], None]) -> None:
        """A span ended; ``completed`` is told of a call (no attempt) that brought an answer."""
        call = self.under_way.pop(span.get_span_context().span_id, None)
        if call is None:
            return
        problem = problem_of(span)
        _tell(span, call, problem)
        if problem is not None and call.outer is None:
            self.counts[str(problem)] += 1
        failed = problem in FAILURES
        for transaction in call.held:
            with transaction.lock:
                # It may wait for its outcome to leave: what ends meanwhile was unfinished when it ended.
                if not transaction.ended:
                    transaction.tally.ai_ended(span.end_time or 0, problem, failed=failed)
        if failed:
            # Spans are ended where the exception passes: it is known by sight when a transaction is left
            # with it.
            error = sys.exc_info()[1]
            if error is not None and _is_told(error, span):
                scope.ai_call_failed(error)
        elif call.outer is None:
            completed(span)


def _tell(span: Any, call: _Call, problem: AiProblem | None) -> None:
    """Write on the span what was wrong with its call, before the processors behind ours see it.

    A finished span offers no way to change it: its attributes are put in place of those that it has.
    """
    facts: dict[str, Any] = {}
    if problem is not None:
        facts[semconv.AI_PROBLEM] = str(problem)
    if call.attempts > 1 and semconv.AI_ATTEMPTS not in (span.attributes or {}):
        facts[semconv.AI_ATTEMPTS] = call.attempts
    if facts:
        span._attributes = {**(span.attributes or {}), **facts}


def _is_told(error: BaseException, span: Any) -> bool:
    """Whether the exception that passes is the one that the span tells of, and not one handled around it."""
    told = [str((span.attributes or {}).get(semconv.ERROR_TYPE) or "")]
    told += [
        str((e.attributes or {}).get("exception.type", "")) for e in span.events if e.name == "exception"
    ]
    names = (qualified_name(type(error)), type(error).__qualname__)
    described = str(span.status.description or "")
    return any(name in told for name in names) or described.startswith(f"{names[1]}:")


def announce_completed(span: Any) -> None:
    """Send ``trueline.ai.completed`` for a call that brought an answer, if somebody is bound."""
    current = runtime.current()
    if current is None:
        return
    attributes = current.context_attributes()
    if not attributes:
        return
    said = span.attributes or {}
    for name in (semconv.GEN_AI_OPERATION_NAME, semconv.GEN_AI_PROVIDER_NAME, semconv.GEN_AI_REQUEST_MODEL):
        if said.get(name):
            attributes[name] = said[name]
    context: Context = trace.set_span_in_context(span, get_current())
    current.emit_event(semconv.EVENT_AI_COMPLETED, attributes, context)
