"""Jobs: on the trace of whoever handed them in, bound to whom they were handed in for, their outcome told."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, group
from celery.exceptions import Retry
from fakeredis import FakeStrictRedis
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from rq import Queue, SimpleWorker
from sqlalchemy import create_engine, insert
from support.matrix import Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import (
    Ticket,
    bind_identity,
    bind_message,
    carry,
    instrument,
    runtime,
    semconv,
    uninstrument,
)
from trueline.instrumentation.frameworks.propagator import BoundPropagator


def jobs(recorder: Recorder) -> list[ReadableSpan]:
    return [s for s in recorder.spans() if semconv.JOB_OUTCOME in (s.attributes or {})]


def request_of(recorder: Recorder) -> ReadableSpan:
    (span,) = [s for s in recorder.spans() if s.name == "webhook"]
    return span


def outcome(span: ReadableSpan) -> Any:
    return (span.attributes or {}).get(semconv.JOB_OUTCOME)


def is_of(span: ReadableSpan, request: ReadableSpan, *, identity: str = "12345") -> None:
    """The job is on the request's trace and works for the same person."""
    current = runtime.current()
    assert current is not None
    assert span.context.trace_id == request.context.trace_id
    assert span.parent is not None
    assert span.parent.span_id == request.context.span_id
    assert span.kind is SpanKind.CONSUMER
    bound: Any = (span.attributes or {})[semconv.IDENTITY_BOUND]
    assert current.extractor.bind(identity, "user").exported in bound


@pytest.mark.parametrize("transport", ["as it is", "json", "pickle"])
def test_a_ticket_over_any_queue(recorder: Recorder, transport: str) -> None:
    async def main() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def worker() -> None:
            item = await queue.get()
            if transport == "json":
                item = Ticket.from_headers(json.loads(item))
            elif transport == "pickle":
                item = pickle.loads(item)
            async with item.job("store", message="m-1"):
                pass
            with pytest.raises(ValueError, match="no"), item.job("break"):
                raise ValueError("no")

        running = asyncio.create_task(worker())
        with bind_identity("12345", entry="webhook"):
            ticket = carry()
            sent: Any = {"json": json.dumps(ticket.headers()), "pickle": pickle.dumps(ticket)}.get(
                transport, ticket
            )
            await queue.put(sent)
        await running

    asyncio.run(main())
    assert "12345" not in str(recorder.spans())
    stored, broken = jobs(recorder)
    for span in (stored, broken):
        is_of(span, request_of(recorder))
    assert (outcome(stored), outcome(broken)) == ("done", "failed")
    assert broken.status.status_code is StatusCode.ERROR
    assert semconv.MESSAGING_MESSAGE_ID in (stored.attributes or {})


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        {},
        {"traceparent": 3},
        {"traceparent": "x", "trueline-bound": ";;;=,="},
        {"trueline-bound": "x;a=b"},
    ],
)
def test_nonsense_in_headers_is_nobody(recorder: Recorder, headers: Any) -> None:
    with Ticket.from_headers(headers).job("store"):
        pass
    (span,) = jobs(recorder)
    assert span.parent is None
    assert semconv.IDENTITY_BOUND not in (span.attributes or {})


def test_a_ticket_while_switched_off(recorder: Recorder) -> None:
    uninstrument()
    with carry().job("store"):
        pass
    assert recorder.spans() == ()


# -- Celery ----------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("shop", set_as_current=False, broker="memory://", backend="cache+memory://") as app:
        yield app
        # The broker is the process's: what was put back stays there.
        app.control.purge()


def work(app: Celery) -> None:
    """Take one message off the broker and do what it says, as a worker of the solo pool does."""
    from celery.app.trace import build_tracer

    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        message = queue.get(timeout=10)
        message.ack()
        queue.close()
    (args, kwargs, embedded), headers = message.payload, message.headers
    name = headers["task"]
    tracer = build_tracer(name, app.tasks[name], app=app)
    tracer(
        headers["id"],
        args,
        kwargs,
        {**headers, **embedded, "headers": headers, "delivery_info": {}, "is_eager": False},
    )


def test_celery(recorder: Recorder, app: Celery, sqlite_path: Path) -> None:
    engine = create_engine(f"sqlite:///{sqlite_path}")
    Base.metadata.create_all(engine)
    recorder.clear()

    @app.task(shared=False)  # type: ignore[untyped-decorator]
    def store() -> None:
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id="kept elsewhere"))

    @app.task(shared=False)  # type: ignore[untyped-decorator]
    def fail() -> None:
        raise ValueError("12345 is unknown")

    @app.task(bind=True, shared=False)  # type: ignore[untyped-decorator]
    def later(self: Any) -> None:
        raise self.retry(countdown=0, exc=Retry())

    with bind_identity("12345", entry="webhook"), bind_message("m-1"):
        for task in (store, fail, later):
            task.delay()
    for _ in range(3):
        work(app)
    done = {span.name.rpartition(".")[2]: span for span in jobs(recorder)}
    assert {name: outcome(span) for name, span in done.items()} == {
        "store": "done",
        "fail": "failed",
        "later": "retried",
    }
    for span in done.values():
        is_of(span, request_of(recorder))
    assert (done["fail"].attributes or {})[semconv.ERROR_TYPE] == "ValueError"
    assert "unknown" not in str([(s.attributes, s.events, s.status.description) for s in recorder.spans()])
    (write,) = recorder.statements("write")
    assert write[semconv.ENTRY_SPAN_ID] == f"{done['store'].context.span_id:016x}"
    assert len(write[semconv.IDENTITY_BOUND]) == 3  # user, the request's message, the job's own


def test_celery_an_eager_task_is_part_of_its_caller(recorder: Recorder, app: Celery) -> None:
    @app.task(shared=False)  # type: ignore[untyped-decorator]
    def fail() -> None:
        raise ValueError("no")

    with bind_identity("12345", entry="webhook"):
        assert fail.apply().state == "FAILURE"
    request = request_of(recorder)
    assert semconv.JOB_OUTCOME not in (request.attributes or {}), "the request did not fail"
    assert semconv.MESSAGING_MESSAGE_ID not in (request.attributes or {})
    assert jobs(recorder) == []
    fail.apply()
    (alone,) = jobs(recorder)
    assert outcome(alone) == "failed"


def test_celery_a_chain_and_a_group_go_on_with_the_request(recorder: Recorder, app: Celery) -> None:
    @app.task(shared=False)  # type: ignore[untyped-decorator]
    def step(*_: Any) -> int:
        return 1

    with bind_identity("12345", entry="webhook"):
        (step.s() | step.s()).delay()
        group([step.s(), step.s()], app=app).delay()
    for _ in range(4):
        work(app)
    done = jobs(recorder)
    assert len(done) == 4
    request = request_of(recorder)
    current = runtime.current()
    assert current is not None
    for span in done:
        assert span.context.trace_id == request.context.trace_id
        bound: Any = (span.attributes or {})[semconv.IDENTITY_BOUND]
        assert current.extractor.bind("12345", "user").exported in bound


def test_celery_under_its_own_instrumentation_has_one_entry(recorder: Recorder, app: Celery) -> None:
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    uninstrument()
    instrumentor: Any = CeleryInstrumentor()  # type: ignore[no-untyped-call]
    instrumentor.instrument(tracer_provider=recorder.provider)
    instrument(tracer_provider=recorder.provider, logger_provider=recorder.loggers)
    try:

        @app.task(shared=False)  # type: ignore[untyped-decorator]
        def store() -> None:
            """Done."""

        with bind_identity("12345", entry="webhook"):
            store.delay()
        work(app)
    finally:
        instrumentor.uninstrument()
    (job,) = [span for span in recorder.spans() if span.kind is SpanKind.CONSUMER]
    assert job.name.startswith("run/")
    assert outcome(job) == "done"
    bound: Any = (job.attributes or {})[semconv.IDENTITY_BOUND]
    assert len(bound) == 2


# -- RQ --------------------------------------------------------------------------------------------------


def store_for_rq() -> str:
    return "stored"


def fail_for_rq() -> None:
    raise ValueError("no")


def test_rq(recorder: Recorder) -> None:
    connection = FakeStrictRedis()
    queue = Queue(connection=connection)
    with bind_identity("12345", entry="webhook"):
        queue.enqueue(store_for_rq)
        queue.enqueue(fail_for_rq)
    SimpleWorker([queue], connection=connection).work(burst=True, logging_level="CRITICAL")
    done = {span.name.rpartition(".")[2]: span for span in jobs(recorder)}
    assert {name: outcome(span) for name, span in done.items()} == {
        "store_for_rq": "done",
        "fail_for_rq": "failed",
    }
    for span in done.values():
        is_of(span, request_of(recorder))


def test_rq_the_application_s_own_notes_stay_its_own(recorder: Recorder) -> None:
    notes = {"shop": "north"}
    queue = Queue(connection=FakeStrictRedis())
    with bind_identity("12345", entry="webhook"):
        job = queue.enqueue(store_for_rq, meta=notes)
    assert notes == {"shop": "north"}
    kept = queue.fetch_job(job.id)
    assert kept is not None
    assert kept.meta["shop"] == "north"


# -- other services --------------------------------------------------------------------------------------


@pytest.fixture
def asked_to() -> Iterator[None]:
    before = get_global_textmap()
    set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), BoundPropagator()]))
    yield
    set_global_textmap(before)


def test_identities_do_not_leave_for_other_services_unasked(recorder: Recorder) -> None:
    from opentelemetry.propagate import inject

    headers: dict[str, str] = {}
    with bind_identity("12345"):
        inject(headers)
    assert list(headers) == ["traceparent"]


@pytest.mark.usefixtures("asked_to")
def test_identities_leave_for_other_services_as_exported_values(
    record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.context import attach, detach
    from opentelemetry.propagate import extract, inject

    from trueline.instrumentation import bound

    recorder = record(logs=False)
    headers: dict[str, str] = {}
    with bind_identity("12345"):
        inject(headers)
    assert "12345" not in headers["trueline-bound"]
    token = attach(extract(headers))
    try:
        (identity,) = bound.current()
        current = runtime.current()
        assert current is not None
        assert identity.exported == current.extractor.bind("12345", "user").exported
    finally:
        detach(token)
    uninstrument()
    monkeypatch.setenv("TRUELINE_HASH_SECRET", "another secret")
    del recorder
    instrument(logs=False)
    token = attach(extract(headers))
    try:
        assert tuple(bound.current()) == ()
    finally:
        detach(token)


def test_processes(recorder: Recorder) -> None:
    """What is in a ticket holds in another process."""
    with bind_identity("12345", entry="webhook"):
        headers = carry().headers()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(json.dumps, (headers,)) == json.dumps(headers)
