"""The wall itself: it holds when memory or the stack runs out, and it keeps nothing of the application."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from trueline.instrumentation import guard


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(guard, "_last_logged", float("-inf"))
    yield
    guard.internal_errors.clear()


class Application:
    """Stands for a connection, a session, a parameter."""


def test_log_records_that_are_kept_keep_nothing_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    @guard.guarded("hook")
    def hook(given: Application) -> None:
        raise ValueError("broken")

    given = Application()
    reference = weakref.ref(given)
    with caplog.at_level(logging.WARNING, logger="trueline"):
        hook(given)
    assert "internal error in hook" in caplog.text
    assert "in hook" in caplog.text  # the place is there, as text
    assert "builtins.ValueError" in caplog.text
    del given
    assert reference() is None


def test_the_very_first_internal_error_is_logged_however_young_the_machine(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1.0)
    with caplog.at_level(logging.WARNING, logger="trueline"):
        guard.report("hook", ValueError())
        guard.report("hook", ValueError())
    assert len(caplog.records) == 1


def test_an_internal_error_inside_of_reporting_one_does_not_lock(caplog: pytest.LogCaptureFixture) -> None:
    """As when a garbage collection in there finalizes a connection."""

    class Reporting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            guard.report("inner", ValueError())

    handler = Reporting()
    guard.logger.addHandler(handler)
    try:
        thread = threading.Thread(target=guard.report, args=("outer", ValueError()), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    finally:
        guard.logger.removeHandler(handler)
    assert guard.internal_errors == {"outer": 1, "inner": 1}


def test_where_the_stack_runs_out_inside_a_hook_only_the_hook_is_hit() -> None:
    def nested() -> None:
        [len(str(n)) for n in range(2)]

    @guard.guarded("hook", default="kept away")
    def hook() -> str:
        nested()
        return "done"

    def plain() -> str:
        return "plain"

    def at(depth: int) -> list[str]:
        if depth:
            return at(depth - 1)
        try:
            # Twice as deep as the wrapper needs: where this works the hook may not raise.
            (lambda: (lambda: plain())())()
        except RecursionError:
            return []
        return [hook()]

    answers: set[str] = set()
    for depth in range(100, sys.getrecursionlimit()):
        try:
            answers.update(at(depth))
        except RecursionError as error:
            frames = []
            traceback = error.__traceback__
            while traceback is not None:
                frames.append(traceback.tb_frame.f_code.co_filename)
                traceback = traceback.tb_next
            assert guard.__file__ not in frames, "the guard let an exception through"
            break
    assert answers == {"done", "kept away"}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_not_an_exception_passes(kind: type[BaseException]) -> None:
    @guard.guarded("hook")
    def hook() -> None:
        raise kind

    with pytest.raises(kind):
        hook()
    assert not guard.internal_errors
    gc.collect()
