"""The binding and the trace in threads, executors, queues and other processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import get_current_span, get_tracer
from sqlalchemy import create_engine, text
from support.pool_work import written, written_by_child
from support.recorder import Recorder

from trueline.instrumentation import (
    Domain,
    IdentityConfig,
    bind_identity,
    bound,
    instrument,
    propagate,
    propagating,
    threads,
    uninstrument,
)


def whom(*_: Any) -> list[Any]:
    return [one.raw for one in bound.current()]


def whom_and_where() -> tuple[list[Any], int]:
    return whom(), get_current_span().get_span_context().trace_id


async def whom_later() -> list[Any]:
    await asyncio.sleep(0)
    return whom()


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    before = ThreadPoolExecutor.submit, threading.Thread.start
    yield
    assert whom() == []
    uninstrument()
    assert (ThreadPoolExecutor.submit, threading.Thread.start) == before


# -- one callable ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("recorder")
def test_a_callable_takes_them_along_and_the_worker_keeps_nothing() -> None:
    with ThreadPoolExecutor(1) as pool:
        with bind_identity("1", entry="job"):
            here = whom_and_where()
            carried = propagate(whom_and_where)
            assert pool.submit(whom_and_where).result() == ([], 0)
            assert pool.submit(carried).result() == here
        # Later too: it keeps what it was made under.
        assert pool.submit(carried).result() == here
        assert pool.submit(whom_and_where).result() == ([], 0)

        def fail() -> None:
            raise ValueError(whom())

        with bind_identity("2"):
            failing = propagate(fail)
        with pytest.raises(ValueError, match=r"\['2'\]"):
            pool.submit(failing).result()
        assert pool.submit(whom_and_where).result() == ([], 0)


@pytest.mark.usefixtures("recorder")
def test_one_callable_in_many_threads_at_once() -> None:
    ready = threading.Barrier(4, timeout=20)

    def wait() -> list[Any]:
        ready.wait()
        return whom()

    with bind_identity("1"):
        carried = propagate(wait)
    with ThreadPoolExecutor(4) as pool:
        assert [future.result() for future in [pool.submit(carried) for _ in range(4)]] == [["1"]] * 4


@pytest.mark.usefixtures("recorder")
def test_work_from_a_queue_is_its_senders() -> None:
    jobs: queue.Queue[Callable[[], list[Any]] | None] = queue.Queue()
    done: list[list[Any]] = []

    def work() -> None:
        while (job := jobs.get()) is not None:
            done.append(job())
            done.append(whom())

    worker = threading.Thread(target=work)
    worker.start()
    for user in ("1", "2"):
        with bind_identity(user):
            jobs.put(propagate(whom))
    jobs.put(None)
    worker.join()
    assert done == [["1"], [], ["2"], []]


@pytest.mark.usefixtures("recorder")
def test_a_coroutine_function_takes_them_along() -> None:
    async def main(carried: Callable[[], Any]) -> list[list[Any]]:
        return list(await asyncio.gather(carried(), whom_later(), carried()))

    with bind_identity("1"):
        carried = propagate(whom_later)
    assert asyncio.run(main(carried)) == [["1"], [], ["1"]]


@pytest.mark.usefixtures("recorder")
def test_without_anything_to_take_along_it_is_the_function_itself() -> None:
    assert propagate(whom) is whom
    with bind_identity("1"):
        once = propagate(whom)
        assert propagate(once) is once
        assert (once.__name__, once.__doc__) == ("whom", None)


def test_while_trueline_is_off_it_is_the_function_itself() -> None:
    with bind_identity("1"):
        assert propagate(whom) is whom


# -- executors -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("recorder")
def test_an_executor_takes_them_along() -> None:
    pool = ThreadPoolExecutor(2)
    assert propagating(propagating(pool)) is pool
    with pool:
        with bind_identity("1"):
            assert pool.submit(whom).result() == ["1"]
            assert list(pool.map(whom, range(3))) == [["1"]] * 3
        assert pool.submit(whom).result() == []


@pytest.mark.usefixtures("recorder")
def test_an_event_loops_executors_take_them_along() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with propagating(ThreadPoolExecutor(1)) as pool:
            with bind_identity("1"):
                assert await loop.run_in_executor(pool, whom) == ["1"]
            assert await loop.run_in_executor(pool, whom) == []
        loop.set_default_executor(propagating(ThreadPoolExecutor(1)))
        with bind_identity("2"):
            assert await loop.run_in_executor(None, whom) == ["2"]

    asyncio.run(main())


# -- other processes -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("recorder")
def test_what_is_pickled_holds_no_raw_value() -> None:
    with bind_identity("raw-4711", entry="job"):
        pickled = pickle.dumps(propagate(whom_and_where))
        (exported,) = [one.value for one in bound.current()]
        canonical = bound.current()[0].canonical
        trace_id = whom_and_where()[1]
    assert b"raw-4711" not in pickled
    assert canonical.encode() not in pickled
    assert exported.encode() in pickled

    arrived = pickle.loads(pickled)  # as in a process with the same secret
    again = pickle.loads(pickle.dumps(arrived))
    for one in (arrived, again):
        raw, found = one()
        assert found == trace_id
        assert "raw-4711" not in str(raw)


def test_a_plain_identity_travels_whole(record: Callable[..., Recorder]) -> None:
    record(identities=IdentityConfig(domains={"drop": Domain(plain=True)}))
    with bind_identity("D-17", domain="drop"):
        pickled = pickle.dumps(propagate(whom))
    assert pickle.loads(pickled)() == ["D-17"]


def test_under_another_secret_nothing_arrives(
    record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUELINE_HASH_SECRET", "one")
    record()
    with bind_identity("1", entry="job"):
        pickled = pickle.dumps(propagate(whom_and_where))
    uninstrument()
    monkeypatch.setenv("TRUELINE_HASH_SECRET", "another")
    instrument(service_name="other", logs=False)
    raw, trace_id = pickle.loads(pickled)()
    assert raw == []
    assert trace_id != 0


def test_an_identity_that_may_not_leave_stays(
    record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueline.instrumentation.assembly.sends_to_loopback_only", lambda *_: False)
    record()
    with bind_identity("1"):
        assert pickle.loads(pickle.dumps(propagate(whom)))() == []


def test_while_trueline_is_off_a_pickled_callable_still_runs(record: Callable[..., Recorder]) -> None:
    record()
    with bind_identity("1"):
        pickled = pickle.dumps(propagate(whom))
    uninstrument()
    assert pickle.loads(pickled)() == []


def test_a_pool_of_processes_writes_for_its_caller(
    record: Callable[..., Recorder], sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record()
    monkeypatch.setenv("TRUELINE_HASH_SECRET", "")
    engine = create_engine(f"sqlite:///{sqlite_path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE expenses (id integer primary key, user_id text, amount int)"))
    engine.dispose()
    with propagating(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))) as pool:
        assert pool.submit(instrument, "child", logs=False).result(60) is None
        with bind_identity("raw-4711"):
            there = pool.submit(written_by_child, str(sqlite_path), "raw-4711").result(60)
            here = written(str(sqlite_path), "raw-4711", recorder)
    assert there == here
    by_key, by_identity = there
    assert by_key[0].startswith("user:")
    assert by_identity == (by_key[0], by_key[0].removeprefix("user:"), "raw")


# -- all threads -----------------------------------------------------------------------------------------


class Subclass(threading.Thread):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def run(self) -> None:
        self.seen = whom()


def test_threads_and_pools_when_asked_for(record: Callable[..., Recorder]) -> None:
    record(threads=True)
    seen: list[list[Any]] = []
    pool = ThreadPoolExecutor(1)
    with bind_identity("1"):
        # Its worker starts here, and is nobody's.
        assert pool.submit(whom).result() == ["1"]
        assert list(pool.map(whom, range(2))) == [["1"], ["1"]]
        thread = threading.Thread(target=lambda: seen.append(whom()))
        timer = threading.Timer(0, lambda: seen.append(whom()))
        subclass = Subclass()
        daemon = threading.Thread(target=lambda: seen.append(whom()), daemon=True)
        for started in (thread, timer, subclass, daemon):
            started.start()
            started.join()
            assert "run" not in started.__dict__
    assert seen == [["1"]] * 3
    assert subclass.seen == ["1"]
    with bind_identity("2"):
        assert pool.submit(whom).result() == ["2"]
    assert pool.submit(whom).result() == []
    pool.shutdown()


def test_event_loops_default_executor_when_asked_for(record: Callable[..., Recorder]) -> None:
    record(threads=True)

    async def main() -> tuple[list[Any], list[Any]]:
        loop = asyncio.get_running_loop()
        with bind_identity("1"):
            inside = await loop.run_in_executor(None, whom)
        return inside, await loop.run_in_executor(None, whom)

    assert asyncio.run(main()) == (["1"], [])


def test_threads_that_serve_whoever_comes_next_begin_with_nothing(record: Callable[..., Recorder]) -> None:
    record(threads=True)

    class Worker(threading.Thread):
        seen: list[Any]

        def run(self) -> None:
            self.seen = whom()

    Worker.__module__ = "anyio._backends._asyncio"
    with bind_identity("1"):
        worker = Worker()
        worker.start()
        worker.join()
    assert worker.seen == []


def test_it_is_left_off_unless_asked_for(record: Callable[..., Recorder]) -> None:
    record()
    with bind_identity("1"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(whom).result() == []


def test_the_variable_asks_for_it(record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELINE_THREADS", "1")
    record()
    with bind_identity("1"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(whom).result() == ["1"]


def test_somebody_elses_wrapper_stays_when_trueline_goes(record: Callable[..., Recorder]) -> None:
    original: Any = ThreadPoolExecutor.submit
    record(threads=True)
    ours: Any = ThreadPoolExecutor.submit

    def theirs(self: Executor, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    owner: Any = ThreadPoolExecutor
    owner.submit = theirs
    try:
        uninstrument()
        assert owner.submit is theirs
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(whom).result() == []
    finally:
        owner.submit = original


def test_a_fault_of_ours_costs_the_binding_only(
    record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueline.instrumentation import guard

    record(threads=True)
    monkeypatch.setattr(guard, "raise_internal_errors", False)
    monkeypatch.setattr(bound.Carried, "taken", lambda: 1 / 0)
    with bind_identity("1"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(whom).result() == []
        thread = Subclass()
        thread.start()
        thread.join()
    assert guard.internal_errors.pop("propagate") >= 2


def test_the_packages_left_out_are_sorted_names() -> None:
    assert all(name.isidentifier() for name in threads._SHARED)


def test_the_trace_goes_along_without_a_binding(record: Callable[..., Recorder]) -> None:
    recorder = record(threads=True)
    tracer = get_tracer("test", tracer_provider=recorder.provider)
    with tracer.start_as_current_span("request"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(whom_and_where).result() == whom_and_where()
