"""The exported tree: what hangs under what, in requests and in scripts, with both sources of spans."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import get_tracer
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from support.matrix import Expense
from support.recorder import Recorder

from trueline.instrumentation import ai_call, bind_identity, bind_message, semconv

pytestmark = pytest.mark.sqlalchemy_matrix


def statements(recorder: Recorder) -> list[ReadableSpan]:
    return [s for s in recorder.spans() if semconv.STATEMENT_KIND in (s.attributes or {})]


def transactions(recorder: Recorder) -> list[ReadableSpan]:
    return [s for s in recorder.spans() if s.name.startswith("TRANSACTION")]


def named(recorder: Recorder, name: str) -> ReadableSpan:
    (span,) = [s for s in recorder.spans() if s.name == name]
    return span


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def trace(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id


def own(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def test_in_a_script_the_transaction_is_the_root(engine: Engine, source: Recorder) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        connection.execute(select(Expense.user_id)).all()
    (root,) = transactions(source)
    assert root.parent is None
    found = statements(source)
    assert len(found) == 2
    assert {parent(span) for span in found} == {own(root)}
    assert {trace(span) for span in found} == {trace(root)}


def test_a_root_is_emitted_though_it_only_read(engine: Engine, source: Recorder) -> None:
    with engine.connect() as connection:
        connection.execute(select(Expense.user_id)).all()
    (root,), (read,) = transactions(source), statements(source)
    assert parent(read) == own(root)
    assert trace(read) == trace(root)


def test_in_a_request_a_transaction_that_only_read_is_not(engine: Engine, source: Recorder) -> None:
    tracer = get_tracer("test", tracer_provider=source.provider)
    with tracer.start_as_current_span("request"), engine.connect() as connection:
        connection.execute(select(Expense.user_id)).all()
    (read,) = statements(source)
    assert transactions(source) == []
    assert parent(read) == own(named(source, "request"))


def test_under_a_span_statements_and_transaction_are_siblings(engine: Engine, source: Recorder) -> None:
    tracer = get_tracer("test", tracer_provider=source.provider)
    with tracer.start_as_current_span("request"), engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
    request = named(source, "request")
    (transaction,), (write,) = transactions(source), statements(source)
    assert parent(transaction) == parent(write) == own(request)
    assert trace(transaction) == trace(write) == trace(request)


@pytest.mark.parametrize("bind", [bind_identity, bind_message])
def test_a_bound_job_is_one_trace(engine: Engine, source: Recorder, bind: type[bind_identity]) -> None:
    with bind("7", entry="job"), engine.begin() as connection:
        with ai_call("chat"):
            pass
        connection.execute(insert(Expense).values(user_id="7"))
    entry = named(source, "job")
    assert entry.parent is None
    (transaction,), (write,) = transactions(source), statements(source)
    assert {trace(span) for span in source.spans() if span.name != "connect"} == {trace(entry)}
    for span in (transaction, write, named(source, "chat")):
        assert parent(span) == own(entry)
    for span in (transaction, write):
        assert (span.attributes or {})[semconv.ENTRY_NAME] == "job"


def test_two_transactions_of_a_script_are_two_traces(engine: Engine, source: Recorder) -> None:
    for user in ("7", "8"):
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id=user))
    assert len({trace(span) for span in transactions(source)}) == 2
    assert len({trace(span) for span in statements(source)}) == 2


def test_what_leaves_early_hangs_under_the_root_that_comes_later(engine: Engine, source: Recorder) -> None:
    from trueline.instrumentation import setup

    assert setup._installed is not None
    holder = setup._installed.runtime.holder
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        holder._expire(2**63)
        holder.flush()
        connection.execute(text("UPDATE expenses SET user_id = '8'"))
    (root,) = transactions(source)
    early, late = sorted(statements(source), key=lambda span: span.start_time or 0)
    assert (early.attributes or {})[semconv.TRANSACTION_OUTCOME] == "open"
    assert (late.attributes or {})[semconv.TRANSACTION_OUTCOME] == "committed"
    assert parent(early) == parent(late) == own(root)
    assert trace(early) == trace(late) == trace(root)


async def _write(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(Expense).values(user_id="7"))
    await engine.dispose()


def test_an_async_script_likewise(async_engine: AsyncEngine, source: Recorder) -> None:
    import asyncio

    asyncio.run(_write(async_engine))
    (root,), (write,) = transactions(source), statements(source)
    assert root.parent is None
    assert parent(write) == own(root)
    assert trace(write) == trace(root)
