"""RQ: jobs on the trace of whoever handed them in, bound to whom they were handed in for.

Switched on with Trueline where RQ is loaded, or when it is. A job runs in a forked process that ends without
any clean-up: what it has to send leaves before that.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from trueline.instrumentation import lifecycle, runtime
from trueline.instrumentation.frameworks.jobs import Job, Ticket, carry
from trueline.instrumentation.guard import guarded

_META = "trueline"


def wrap(module: Any) -> Callable[[], None]:
    """Wrap ``rq.job.Job`` of the module ``rq.job``; returns what takes it back."""
    job_class = module.Job
    create, perform = job_class.__dict__["create"], job_class.perform
    process = os.getpid()

    @functools.wraps(create.__func__)
    def created(cls: Any, *args: Any, **kwargs: Any) -> Any:
        job = create.__func__(cls, *args, **kwargs)
        _take_along(job)
        return job

    @functools.wraps(perform)
    def performed(job: Any) -> Any:
        held = _begun(job)
        try:
            result = perform(job)
        except BaseException as error:
            _ended(held, error, process)
            raise
        _ended(held, None, process)
        return result

    job_class.create, job_class.perform = classmethod(created), performed

    def unwrap() -> None:
        if job_class.perform is performed:
            job_class.create, job_class.perform = create, perform

    return unwrap


@guarded("rq.create")
def _take_along(job: Any) -> None:
    taken = carry().headers()
    if taken:
        # The dict can be the application's own, handed to many jobs.
        job.meta = {**job.meta, _META: taken}


@guarded("rq.begin")
def _begun(job: Any) -> Job | None:
    if runtime.current() is None:
        return None
    held = Job(Ticket.from_headers(job.meta.get(_META)), str(job.func_name), job.id)
    held.begin()
    return held


@guarded("rq.end")
def _ended(held: Job | None, error: BaseException | None, process: int) -> None:
    if held is None:
        return
    held.end(error)
    if os.getpid() != process:
        lifecycle.flush_now()
