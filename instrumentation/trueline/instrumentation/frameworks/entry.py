"""The entry of one request or job: a span where none is recording, whom it is for, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.propagate import extract
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from trueline.instrumentation import ambient, bound, runtime, semconv
from trueline.instrumentation.block import end_span
from trueline.instrumentation.bound import Entered, reset_context
from trueline.instrumentation.entry import entry_of
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.identity import BoundIdentity


class Entry:
    """From :meth:`begin` to :meth:`end`. Never raises; does nothing while Trueline is off."""

    def __init__(self) -> None:
        self._span: Span | None = None
        self._own = False
        self._blocks: list[Entered] = []
        self._left_open: list[Any] = []
        self._context: Context | None = None
        self._token: Any = None

    @guarded("entry.begin")
    def begin(
        self,
        name: str,
        kind: str,
        *,
        span_kind: SpanKind = SpanKind.SERVER,
        carrier: Mapping[str, str] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a span unless one is recording; ``carrier`` has the headers of a trace to go on with."""
        current = runtime.current()
        if current is None:
            return
        around = trace.get_current_span()
        if around.get_span_context().is_valid and around.is_recording():
            self._span = entry_of(around)
            return
        if carrier:
            self._context = extract(carrier)
            self._token = attach(self._context)
        self._own = True
        self._span = current.tracer.start_span(
            name,
            context=self._context,
            kind=span_kind,
            attributes={semconv.ENTRY_KIND: kind, **(attributes or {})},
            start_time=ambient.now_ns(),
        )
        self._install(Entered(self, None, self._span))

    @guarded("entry.bind")
    def bind(self, value: Any, domain: str) -> None:
        """Bind what follows to an identity; None binds nothing."""
        current = runtime.current()
        if current is not None and value is not None:
            self.bind_all((current.extractor.bind(value, domain),))

    @guarded("entry.bind_all")
    def bind_all(self, identities: Iterable[BoundIdentity]) -> None:
        """Bind what follows to identities that are known already."""
        current = runtime.current()
        if current is None:
            return
        for identity in identities:
            self._install(Entered(self, identity, None))
            if identity.domain == "message":
                # The id as the store knows it: a delivery's id can hold the sender's.
                self.say(**{semconv.MESSAGING_MESSAGE_ID: identity.value})
        self.say(**current.bound_attributes(bound.current()))

    @guarded("entry.say")
    def say(self, **attributes: Any) -> None:
        """Put attributes on the entry span, ours or another's."""
        if self._span is not None and self._span.is_recording():
            self._span.set_attributes(attributes)

    @guarded("entry.rename")
    def rename(self, name: str) -> None:
        """Name the span, if it is ours."""
        if self._own and self._span is not None:
            self._span.update_name(name)

    @guarded("entry.pause")
    def pause(self) -> None:
        """Other work comes next in this thread or task."""
        self._left_open = [block.pause() for block in reversed(self._blocks)]
        token, self._token = self._token, None
        if token is not None:
            reset_context(token)

    @guarded("entry.resume")
    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        if self._context is not None:
            self._token = attach(self._context)
        for block, left_open in zip(self._blocks, reversed(self._left_open), strict=True):
            block.resume(left_open)

    @guarded("entry.end")
    def end(self, error: BaseException | None = None, *, failed: bool = False) -> None:
        """Take everything back, and end the span if it is ours."""
        for block in reversed(self._blocks):
            block.remove()
        self._blocks.clear()
        span, self._span = self._span, None
        token, self._token = self._token, None
        if token is not None:
            reset_context(token)
        if not self._own or span is None:
            return
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        end_span(span, error)

    def _install(self, block: Entered) -> None:
        block.install()
        self._blocks.append(block)
