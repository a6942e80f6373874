"""Trace, identities and message id from where a job is handed in to where it is done.

    ticket = carry()                      # in the request
    queue.put((ticket.headers(), work))   # JSON, a pickle, a message's headers: whatever the queue takes
    ...
    with Ticket.from_headers(headers).job("store"):   # in the worker
        ...

What travels are exported values of identities, never raw ones; in a worker with another secret they count
for nobody. Celery and RQ do this by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind

from trueline.instrumentation import bound, runtime, semconv
from trueline.instrumentation.frameworks.entry import Entry
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.identity import BoundIdentity
from trueline.instrumentation.propagation import arrived

#: The header with the identities: key id, then ``domain=value`` each, separated by semicolons.
HEADER = "trueline-bound"
_MAX_IDENTITIES = 16
_MAX_HEADER = 4096
#: Jobs of this process by how they ended.
outcomes: Counter[str] = Counter()


class Ticket:
    """What a job takes along. Plain strings: it can be pickled, and ``headers()`` is JSON."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def headers(self) -> dict[str, str]:
        """As headers of a message: ``traceparent`` and the like, and ``trueline-bound``."""
        return dict(self._headers)

    @classmethod
    def from_headers(cls, headers: Any) -> Ticket:
        """From what a message came with; anything else than text in it is ignored, and so is nonsense."""
        return cls(_texts(headers) or {})

    def job(self, name: str, *, message: Any = None) -> Job:
        """A block in which the job is done; ``message`` is the id of its delivery, where it has one."""
        return Job(self, name, message)


class Job:
    """One job being done: ``with`` and ``async with``. The exception that leaves it is its outcome."""

    def __init__(self, ticket: Ticket, name: str, message: Any = None) -> None:
        self._ticket = ticket
        self._name = name
        self._message = message
        self._entry = Entry()
        #: The exception that a queue tells of apart from the end.
        self.trouble: BaseException | None = None

    @guarded("jobs.begin")
    def begin(self) -> None:
        """The job starts."""
        headers = self._ticket.headers()
        self._entry.begin(self._name, "job", span_kind=SpanKind.CONSUMER, carrier=headers)
        self._entry.bind_all(identities_in(headers.get(HEADER, "")))
        self._entry.bind(self._message, "message")

    @guarded("jobs.end")
    def end(self, error: BaseException | None = None, *, outcome: str = "") -> None:
        """The job is over; ``outcome`` is one of ``trueline.job.outcome``, by default told by ``error``."""
        said = outcome or ("done" if error is None else "failed")
        outcomes[said] += 1
        self._entry.say(**{semconv.JOB_OUTCOME: said})
        self._entry.end(error, failed=said == "failed")

    def __enter__(self) -> Job:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)

    async def __aenter__(self) -> Job:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)


def carry() -> Ticket:
    """What the current task has to take along: its trace, and whom it works for."""
    return Ticket(_carried() or {})


@guarded("jobs.carry")
def _carried() -> dict[str, str]:
    current = runtime.current()
    if current is None:
        return {}
    headers: dict[str, str] = {}
    inject(headers)
    named = header_of(bound.current())
    if named:
        headers[HEADER] = named
    return headers


@guarded("jobs.header", default="")
def header_of(identities: bound.Bound) -> str:
    """The header for what a task is bound to; "" for nobody."""
    current = runtime.current()
    named = [one for one in identities.live() if one.value][-_MAX_IDENTITIES:]
    said = [f"{one.domain}={one.value}" for one in named if not {";", "="} & set(f"{one.domain}{one.value}")]
    return "" if current is None or not said else ";".join((current.key_id, *said))


@guarded("jobs.identities", default=())
def identities_in(header: str) -> Sequence[BoundIdentity]:
    """The identities that a header names, if they were made under this process's secret."""
    current = runtime.current()
    key_id, *named = header[:_MAX_HEADER].split(";")
    if current is None or key_id != current.key_id:
        return []
    pairs = [one.partition("=") for one in named[:_MAX_IDENTITIES]]
    return [arrived(domain, value, current) for domain, _, value in pairs if domain and value]


@guarded("jobs.headers")
def _texts(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        return {}
    return {
        name.lower(): value
        for name, value in headers.items()
        if isinstance(name, str) and isinstance(value, str)
    }
