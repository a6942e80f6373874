"""Whom code works for: every kind of function and block, and nothing that outlives its block."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.trace import get_current_span, get_tracer
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from support.recorder import Recorder

from trueline.instrumentation import ai_call, bind_identity, bind_message, bound, semconv, uninstrument

pytestmark = [pytest.mark.usefixtures("recorder"), pytest.mark.sqlalchemy_matrix]


def whom() -> list[Any]:
    """The raw identities that the current task is bound to."""
    return [one.raw for one in bound.current()]


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    bound.revoking = False
    assert whom() == []
    yield
    assert whom() == []
    assert not get_current_span().get_span_context().is_valid
    bound.revoking = False
    otel_context.attach(otel_context.Context())


# -- blocks ----------------------------------------------------------------------------------------------


def test_blocks_nest_and_domains_add_up() -> None:
    with bind_identity("1"):
        with bind_message("m"), bind_identity("acme", domain="tenant"), bind_identity("2"):
            assert [(one.domain, one.raw) for one in bound.current()] == [
                ("user", "1"),
                ("message", "m"),
                ("tenant", "acme"),
                ("user", "2"),
            ]
        assert whom() == ["1"]


def test_one_object_is_entered_again_inside_itself() -> None:
    binding = bind_identity("1")
    with binding:
        with binding:
            assert whom() == ["1", "1"]
        assert whom() == ["1"]
    with binding:
        assert whom() == ["1"]


def test_one_object_in_many_threads_at_once() -> None:
    binding = bind_identity("1")
    ready = threading.Barrier(8, timeout=20)
    seen: list[tuple[list[Any], list[Any]]] = []

    def work() -> None:
        with binding:
            ready.wait()
            inside = whom()
            ready.wait()
        seen.append((inside, whom()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(["1"], [])] * 8
    assert binding._open == []
    assert bound.revoking is False


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_passes_and_leaves_nothing(error: type[BaseException], recorder: Recorder) -> None:
    with pytest.raises(error), bind_identity("1", entry="job"):
        raise error("secret")
    assert whom() == []
    (span,) = [span for span in recorder.spans() if span.name == "job"]
    assert "secret" not in span.to_json()


def test_blocks_that_end_in_the_wrong_order_leave_nothing() -> None:
    first, second = bind_identity("1"), bind_identity("2")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert whom() == ["2"]
    second.__exit__(None, None, None)
    assert whom() == []


def test_an_exit_without_an_entry_does_nothing() -> None:
    bind_identity("1").__exit__(None, None, None)
    with bind_identity("2"):
        bind_identity("3").__exit__(None, None, None)
        assert whom() == ["2"]


def test_a_block_that_outlives_the_instrumentation_ends_quietly() -> None:
    with bind_identity("1"):
        uninstrument()
    assert whom() == []


def test_nobody_is_bound_to_none() -> None:
    with bind_identity(None), bind_message(None):
        assert whom() == []


def test_tasks_inherit_and_keep_to_themselves() -> None:
    async def child() -> list[Any]:
        async with bind_identity("child"):
            await asyncio.sleep(0)
            return whom()

    async def main() -> None:
        async with bind_identity("1"):
            results = await asyncio.gather(*(child() for _ in range(3)))
            assert results == [["1", "child"]] * 3
            assert whom() == ["1"]
            assert await asyncio.to_thread(whom) == ["1"]
        assert whom() == []

    asyncio.run(main())


def test_a_late_task_keeps_what_it_began_with() -> None:
    async def late(gate: asyncio.Event) -> list[Any]:
        await gate.wait()
        return whom()

    async def main() -> None:
        gate = asyncio.Event()
        with bind_identity("1"):
            task = asyncio.create_task(late(gate))
        gate.set()
        assert whom() == []
        assert await task == ["1"]

    asyncio.run(main())


def test_a_cancelled_task_leaves_nothing() -> None:
    async def main() -> None:
        entered = asyncio.Event()

        async def work() -> None:
            async with bind_identity("1"):
                entered.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert whom() == []

    asyncio.run(main())


# -- left elsewhere --------------------------------------------------------------------------------------


def test_a_generator_closed_by_the_collector_in_another_thread(caplog: pytest.LogCaptureFixture) -> None:
    """A worker of a pool began it; the worker must not stay bound."""

    @contextmanager
    def session() -> Iterator[None]:
        with bind_identity("1", entry="half"), ai_call("chat"):
            yield

    with ThreadPoolExecutor(1) as pool:
        entered = session()

        def begin() -> list[Any]:
            entered.__enter__()
            return whom()

        assert pool.submit(begin).result() == ["1"]
        del entered.gen
        gc.collect()
        assert pool.submit(whom).result() == []
        with bind_identity("2"):
            assert whom() == ["2"]
    # An exporter that another test has left behind may have something to say.
    ours = [one for one in caplog.records if not one.name.startswith("opentelemetry.exporter")]
    assert ours == []


def test_two_halves_in_two_contexts() -> None:
    """As a web framework runs a dependency with ``yield`` in a pool of threads."""
    binding = bind_identity("1")
    first, second = contextvars.copy_context(), contextvars.copy_context()
    first.run(binding.__enter__)
    copied = first.copy()
    assert first.run(whom) == ["1"]
    second.run(binding.__exit__, None, None, None)
    assert first.run(whom) == second.run(whom) == copied.run(whom) == []


def test_an_async_generator_that_is_dropped_leaves_its_task_alone() -> None:
    async def stream() -> AsyncIterator[int]:
        with bind_identity("1", entry="stream"):
            yield 1
            yield 2

    async def main() -> None:
        async for _ in stream():
            break
        gc.collect()
        await asyncio.sleep(0.01)
        assert whom() == []

    asyncio.run(main())


def test_blocks_left_elsewhere_do_not_pile_up() -> None:
    def once(number: int) -> None:
        binding = bind_identity(str(number), entry="job")
        binding.__enter__()
        contextvars.copy_context().run(binding.__exit__, None, None, None)

    gc.collect()
    before = {id(one) for one in gc.get_objects() if isinstance(one, bound.Entered)}
    for number in range(50):
        once(number)
    assert whom() == []
    gc.collect()
    # What other tests of this process have left is theirs.
    kept = [one for one in gc.get_objects() if isinstance(one, bound.Entered) and id(one) not in before]
    assert len(kept) < 5


# -- decorators ------------------------------------------------------------------------------------------


def test_functions_of_all_kinds() -> None:
    seen: list[Any] = []

    class Handlers:
        @bind_identity("method")
        def method(self) -> list[Any]:
            return whom()

        @bind_identity("class")
        @classmethod
        def of_class(cls) -> tuple[type, list[Any]]:
            return cls, whom()

        @classmethod
        @bind_identity("class")
        def of_class_inside(cls) -> list[Any]:
            return whom()

        @bind_identity("static")
        @staticmethod
        def static() -> list[Any]:
            return whom()

        @bind_identity(lambda self, message: message["user"])
        async def handle(self, message: dict[str, str]) -> list[Any]:
            await asyncio.sleep(0)
            return whom()

        @bind_identity("called")
        async def __call__(self) -> list[Any]:
            return whom()

    handlers = Handlers()
    assert handlers.method() == ["method"]
    assert Handlers.of_class() == (Handlers, ["class"])
    assert Handlers.of_class_inside() == ["class"]
    assert Handlers.static() == handlers.static() == ["static"]
    assert inspect.iscoroutinefunction(handlers.handle)
    assert asyncio.run(handlers.handle({"user": "7"})) == ["7"]
    assert asyncio.run(bind_identity("object")(handlers)()) == ["object", "called"]
    assert handlers.method.__name__ == "method"
    assert seen == []


def test_a_decorator_makes_a_block_for_each_call() -> None:
    @bind_identity(lambda depth: depth)
    def down(depth: int) -> list[Any]:
        return whom() if depth == 1 else down(depth - 1)

    assert down(3) == [3, 2, 1]


@bind_identity("1")
def counted(limit: int) -> Generator[Any, Any, list[Any]]:
    got: list[Any] = []
    for _ in range(limit):
        sent = yield whom()
        got += [sent]
    return got


def test_a_generator_is_bound_and_its_consumer_is_not() -> None:
    assert inspect.isgeneratorfunction(counted)
    generator = counted(2)
    assert whom() == []
    assert next(generator) == ["1"]
    assert whom() == []
    with bind_identity("2"):
        assert generator.send("a") == ["2", "1"]
    with pytest.raises(StopIteration) as stop:
        generator.send("b")
    assert stop.value.value == ["a", "b"]


def test_a_generator_keeps_what_it_opened_itself(recorder: Recorder) -> None:
    tracer = get_tracer("test", tracer_provider=recorder.provider)

    @bind_identity("1", entry="rows")
    def rows() -> Iterator[tuple[list[Any], str]]:
        with tracer.start_as_current_span("inside"), bind_identity("2"):
            yield whom(), get_current_span().name  # type: ignore[attr-defined]
            yield whom(), get_current_span().name  # type: ignore[attr-defined]
        yield whom(), get_current_span().name  # type: ignore[attr-defined]

    with tracer.start_as_current_span("consumer"):
        found = []
        for row in rows():
            assert get_current_span().name == "consumer"  # type: ignore[attr-defined]
            assert whom() == []
            found.append(row)
    assert found == [(["1", "2"], "inside"), (["1", "2"], "inside"), (["1"], "consumer")]


def test_a_generator_takes_exceptions_and_its_end() -> None:
    log: list[Any] = []

    @bind_identity("1", entry="rows")
    def rows() -> Iterator[int]:
        try:
            yield 1
        except KeyError:
            log.append(("thrown", whom()))
        try:
            yield 2
        finally:
            log.append(("closed", whom()))

    generator = rows()
    next(generator)
    assert generator.throw(KeyError()) == 2  # type: ignore[attr-defined]
    generator.close()  # type: ignore[attr-defined]
    assert log == [("thrown", ["1"]), ("closed", ["1"])]

    abandoned = rows()
    assert [next(abandoned), next(abandoned)] == [1, 2]
    del abandoned
    gc.collect()
    assert log[2:] == [("closed", ["1"])]


def test_an_async_generator_is_bound_and_its_consumer_is_not(recorder: Recorder) -> None:
    log: list[Any] = []

    @bind_identity(lambda user: user, entry="rows")
    async def rows(user: str) -> Any:
        try:
            got = yield whom()
            await asyncio.sleep(0)
            try:
                yield got
            except KeyError:
                yield ("thrown", whom())
        finally:
            log.append(whom())

    async def main() -> None:
        generator = rows("1")
        assert await anext(generator) == ["1"]
        assert whom() == []
        assert await generator.asend("sent") == "sent"
        assert await generator.athrow(KeyError()) == ("thrown", ["1"])
        await generator.aclose()
        assert log == [["1"]]
        assert [item async for item in rows("2")] == [["2"], None]

        async for _ in rows("3"):
            break
        gc.collect()
        await asyncio.sleep(0.01)
        assert log[-1] == ["3"]
        assert whom() == []

    assert inspect.isasyncgenfunction(rows)
    asyncio.run(main())
    assert len([span for span in recorder.spans() if span.name == "rows"]) == 3


def test_context_managers_made_of_decorated_generators_end_well() -> None:
    @asynccontextmanager
    @bind_identity("1")
    async def resource() -> AsyncIterator[list[Any]]:
        yield whom()

    async def main() -> None:
        async with resource() as inside:
            assert inside == ["1"]
            assert whom() == []

    asyncio.run(main())


def test_what_cannot_be_computed_costs_the_binding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from trueline.instrumentation import guard

    monkeypatch.setattr(guard, "raise_internal_errors", False)

    @bind_identity(lambda message: message["user"])
    def handle(message: dict[str, str]) -> list[Any]:
        return whom()

    assert handle({}) == []
    assert guard.internal_errors.pop("bind_identity.value") == 1


# -- where it is read ------------------------------------------------------------------------------------


def test_a_fresh_opentelemetry_context_inside_does_not_hide_it() -> None:
    with bind_identity("1"):
        token = otel_context.attach(otel_context.Context())
        assert whom() == ["1"]
        otel_context.detach(token)


def test_who_carries_opentelemetrys_context_carries_the_binding(recorder: Recorder) -> None:
    """As OpenTelemetry's own instrumentation of threads does, and much code by hand."""
    engine = create_engine("sqlite://")

    def work(around: otel_context.Context) -> None:
        token = otel_context.attach(around)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        otel_context.detach(token)
        assert whom() == []

    with bind_identity("1"), ThreadPoolExecutor(1) as pool:
        pool.submit(work, otel_context.get_current()).result()
    engine.dispose()
    (statement,) = recorder.statements()
    assert str(statement[semconv.IDENTITY_BOUND]).startswith("('user:")


def test_a_greenlet_of_sqlalchemys_works_for_its_task(recorder: Recorder, sqlite_path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{sqlite_path}")

        async def one(user: str) -> None:
            async with bind_identity(user, entry=user), engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                await connection.run_sync(lambda sync: sync.execute(text("SELECT 2")))

        await asyncio.gather(one("1"), one("2"))
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 3"))
        await engine.dispose()

    asyncio.run(main())
    by_entry: dict[Any, set[Any]] = {}
    for statement in recorder.statements():
        found = by_entry.setdefault(statement.get(semconv.ENTRY_NAME), set())
        found.add(statement.get(semconv.IDENTITY_BOUND))
    assert len(by_entry["1"]) == len(by_entry["2"]) == 1
    assert by_entry["1"].isdisjoint(by_entry["2"])
    assert by_entry.pop(None, {None}) <= {None}


def test_the_raw_value_is_in_no_repr() -> None:
    with bind_identity("4711-raw"):
        shown: list[Callable[[], Any]] = [
            lambda: repr(bound.current()),
            lambda: repr(dict(otel_context.get_current())),
            lambda: repr(bound.own),
            lambda: repr(bind_identity("4711-raw")),
        ]
        assert all("4711-raw" not in show() for show in shown)
        with pytest.raises(Exception, match="pickle"):
            pickle.dumps(bound.current().blocks)
