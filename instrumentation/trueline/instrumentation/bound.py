"""Whom the current task works for: which blocks it is inside of, kept so that nothing outlives its block.

Two places hold the same thing. OpenTelemetry's context is the first to be asked, because whatever carries
traces into other threads then carries the binding with them. A context variable of our own is the second:
who attaches a fresh context inside (an ASGI middleware that reads the headers of a request) loses the first.

A block that is not left where it was entered, or not as the innermost one, cannot be taken back there: a
generator that the collector closes in another thread, a dependency whose two halves run in two threads. It
is then marked as over, and whoever reads it leaves it out, wherever a context still names it.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context, attach, create_key, detach, get_current, set_value
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span, set_span_in_context

if TYPE_CHECKING:
    from trueline.instrumentation.identity import BoundIdentity

#: Where OpenTelemetry's context has it. No propagator reads it, so it stays in the process.
BOUND_KEY: Final = create_key("trueline-bound")

#: Whether any block of this process was ever left elsewhere: until then nobody has to look.
revoking = False


class Bound(tuple["BoundIdentity", ...]):
    """The identities that a task is bound to, outermost first, and the blocks that it is inside of."""

    blocks: tuple[Entered, ...]

    @classmethod
    def of(cls, identities: tuple[BoundIdentity, ...], blocks: tuple[Entered, ...]) -> Bound:
        """Both together."""
        bound = cls(identities)
        bound.blocks = blocks
        return bound

    def live(self) -> Bound:
        """Without what came from blocks that are over."""
        for block in self.blocks:
            if block.over:
                break
        else:
            return self
        over = [block for block in self.blocks if block.over]
        gone = [block.identity for block in over]
        return Bound.of(
            tuple(one for one in self if not any(one is other for other in gone)),
            tuple(block for block in self.blocks if not block.over),
        )


NOBODY: Final = Bound.of((), ())
own: Final[ContextVar[Bound]] = ContextVar("trueline.bound", default=NOBODY)


def current(around: Context | None = None) -> Bound:
    """What the current task is bound to now. The hot path does the same by itself."""
    if around is None:
        around = tidied() if revoking else get_current()
    bound: Any = around.get(BOUND_KEY)
    return own.get() if bound is None else bound


def tidied() -> Context:
    """OpenTelemetry's current context, after what blocks left elsewhere have left behind is cleaned away."""
    here = own.get()
    if here.live() is not here:
        own.set(here.live())
    context = get_current()
    bound: Any = context.get(BOUND_KEY)
    if bound is None or bound.live() is bound:
        return context
    spans = [block.span for block in bound.blocks if block.over and block.span is not None]
    context = Context({key: value for key, value in context.items() if key != BOUND_KEY})
    if bound.live().blocks:
        context = set_value(BOUND_KEY, bound.live(), context)
    if any(get_current_span(context) is span for span in spans):
        # A block opens a span only where there was none, and this one has ended.
        context = set_span_in_context(INVALID_SPAN, context)
    attach(context)
    return context


class Entered:
    """One block that was entered: what it installed, and how to take that back."""

    __slots__ = ("_bound", "_context", "_context_token", "_own_token", "identity", "over", "owner", "span")

    def __init__(self, owner: object, identity: BoundIdentity | None, span: Span | None) -> None:
        self.owner = owner
        self.identity = identity
        self.span = span
        self.over = False
        self._bound: Bound | None = None
        self._context: Context | None = None
        self._own_token: Token[Bound] | None = None
        self._context_token: Any = None

    def install(self) -> None:
        """Begin, on top of what the current task has."""
        around = tidied() if revoking else get_current()
        outer = current(around)
        identities = tuple(outer) if self.identity is None else (*outer, self.identity)
        bound = Bound.of(identities, (*outer.blocks, self))
        context = set_value(BOUND_KEY, bound, around)
        self._put(bound, context if self.span is None else set_span_in_context(self.span, context))

    def _put(self, bound: Bound, context: Context) -> None:
        self._bound, self._context = bound, context
        self._own_token, self._context_token = own.set(bound), attach(context)

    def remove(self) -> None:
        """End. What cannot be taken back here is marked as over everywhere."""
        in_place = own.get() is self._bound and get_current() is self._context
        if not in_place or not self._restore():
            self.revoke()
        self._forget()
        # A record that waits for its transaction keeps this object, and nothing else through it.
        self.owner = None
        if not self.over:
            self.span = None
        if revoking:
            tidied()

    def revoke(self) -> None:
        """Let no context that still names this block count."""
        global revoking
        self.over = revoking = True

    def pause(self) -> tuple[Bound, Context] | None:
        """Take back for a while; returns what the body left open on top, for :meth:`resume`."""
        bound, context = own.get(), get_current()
        untouched = bound is self._bound and context is self._context
        self._restore()
        self._forget()
        return None if untouched else (bound, context)

    def resume(self, left_open: tuple[Bound, Context] | None) -> None:
        """Go on after :meth:`pause`."""
        if left_open is None:
            self.install()
        else:
            self._put(*left_open)

    def _restore(self) -> bool:
        """Take both places back to what they held before; False where that is another context's."""
        restored = True
        if self._own_token is not None:
            try:
                own.reset(self._own_token)
            except ValueError:
                restored = False
        if self._context_token is not None:
            restored = reset_context(self._context_token) and restored
        return restored

    def _forget(self) -> None:
        # Tokens hold the values before them: a chain of blocks left elsewhere would never end.
        self._own_token = self._context_token = self._context = self._bound = None


class Carried:
    """What a task is bound to and its trace, to be had in another thread. Made by :meth:`taken`."""

    __slots__ = ("bound", "context")

    def __init__(self, bound: Bound, context: Context) -> None:
        self.bound = bound
        self.context = context

    @classmethod
    def taken(cls) -> Carried | None:
        """What the current task has; None where that is nothing at all."""
        context = tidied() if revoking else get_current()
        bound = current(context)
        return cls(bound, context) if bound or context else None

    def put(self) -> tuple[Token[Bound], Any]:
        """Begin, instead of what the current task has; what this returns goes to :meth:`take_back`."""
        return own.set(self.bound), attach(self.context)

    @staticmethod
    def take_back(tokens: tuple[Token[Bound], Any]) -> None:
        """End."""
        try:
            own.reset(tokens[0])
        except (ValueError, RuntimeError):
            pass  # a coroutine that was closed from another context
        reset_context(tokens[1])


def reset_context(token: Any) -> bool:
    """Detach from OpenTelemetry's context; False, and no word in the log, where it is another task's."""
    if not isinstance(token, Token):
        detach(token)
        return True
    try:
        token.var.reset(token)
    except (ValueError, RuntimeError):
        return False
    return True
