"""Readings that take too long for the application's thread: one thread of Trueline's does them.

The thread begins with the first of them and ends when there was nothing to do for a while, so that nobody has
to stop it. What waits are texts and nothing of the application's. After a fork the child begins anew.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Final

from trueline.instrumentation.guard import report

#: Readings that wait; further ones are refused.
_MAX_WAITING: Final = 256
#: Seconds without anything to do after which the thread ends.
_IDLE: Final = 5.0
_Job = Callable[[], None]


class Later:
    """Does jobs one after the other on a thread of its own. Thread-safe, waits for nobody."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, job: _Job) -> bool:
        """Have ``job`` done soon; False where too many wait already, or no thread can be had."""
        if self._process != os.getpid():
            self._begin()  # the other thread is the parent's
        if self._jobs.qsize() >= _MAX_WAITING:
            return False
        self._jobs.put(job)
        if self._thread is None:
            # Two threads that come here at once start two, which do no harm.
            thread = threading.Thread(target=self._work, name="trueline-plans", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._thread = None
                return False
        return True

    def _work(self) -> None:
        jobs = self._jobs
        while True:
            try:
                job = jobs.get(timeout=_IDLE)
            except queue.Empty:
                self._thread = None
                if jobs.empty():
                    return
                self._thread = threading.current_thread()  # one came in between
                continue
            try:
                job()
            except Exception as error:
                report("planner.later", error)
