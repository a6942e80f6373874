"""Celery: jobs on the trace of whoever handed them in, bound to whom they were handed in for.

Switched on with Trueline where Celery is loaded, or when it is. OpenTelemetry's instrumentation of Celery may
be on as well: its span is then the entry. For that a job begins last and ends first of all who listen.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import get_current_span

from trueline.instrumentation import runtime
from trueline.instrumentation.frameworks.jobs import Job, Ticket, carry
from trueline.instrumentation.guard import guarded

_UID = "trueline.jobs"
#: Where a message's own headers travel, apart from Celery's and from other people's.
_HEADER = "trueline"
_JOB = "_trueline_job"


def connect(signals: Any) -> None:
    """Listen to Celery's signals. A second call changes nothing."""
    for signal, listener in _listeners(signals):
        signal.connect(listener, weak=False, dispatch_uid=_UID)
    _to_the_front(signals.task_postrun)


def disconnect(signals: Any) -> None:
    """Take it back."""
    for signal, _ in _listeners(signals):
        signal.disconnect(dispatch_uid=_UID)


def _listeners(signals: Any) -> list[tuple[Any, Any]]:
    return [
        (signals.before_task_publish, _publish),
        (signals.task_prerun, _begin),
        (signals.task_failure, _failed),
        (signals.task_postrun, _end),
    ]


@guarded("celery.order")
def _to_the_front(signal: Any) -> None:
    """Let our listener, connected just now, be called first."""
    with signal.lock:
        key, _ = signal.receivers[-1]
        if key[0] == _UID:
            signal.receivers.insert(0, signal.receivers.pop())


@guarded("celery.publish")
def _publish(headers: Any = None, **_: Any) -> None:
    if runtime.current() is None or not isinstance(headers, dict):
        return
    taken = carry().headers()
    if taken:
        headers.setdefault(_HEADER, taken)


@guarded("celery.begin")
def _begin(task: Any = None, task_id: str = "", **_: Any) -> None:
    if runtime.current() is None or task is None:
        return
    request = task.request
    if getattr(request, "is_eager", False) and get_current_span().is_recording():
        return  # part of what calls it: no job of its own
    taken = getattr(request, _HEADER, None) or (getattr(request, "headers", None) or {}).get(_HEADER)
    job = Job(Ticket.from_headers(taken), str(task.name), task_id or None)
    job.begin()
    setattr(request, _JOB, job)


@guarded("celery.failed")
def _failed(sender: Any = None, exception: Any = None, **_: Any) -> None:
    job = getattr(getattr(sender, "request", None), _JOB, None)
    if job is not None:
        job.trouble = exception if isinstance(exception, BaseException) else None


@guarded("celery.end")
def _end(task: Any = None, state: Any = None, **_: Any) -> None:
    request = getattr(task, "request", None)
    job = getattr(request, _JOB, None)
    if job is None:
        return
    setattr(request, _JOB, None)
    outcomes = {
        "SUCCESS": "done",
        "FAILURE": "failed",
        "RETRY": "retried",
        "IGNORED": "ignored",
        "REVOKED": "revoked",
    }
    trouble, job.trouble = job.trouble, None
    job.end(trouble, outcome=outcomes.get(str(state), "failed"))
