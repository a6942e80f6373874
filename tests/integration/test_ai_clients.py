"""The real clients of two providers, watched by each instrumentation there is, in a writing transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import Engine, create_engine, insert
from support.matrix import Base, Expense
from support.model_server import ModelServer, model_server
from support.recorder import Recorder

from trueline.instrumentation import bind_identity, semconv

# OpenLLMetry's modules are written for an older pydantic.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

#: What watches the client: name, and where its instrumentor is.
WATCHERS = {
    "genai": ("opentelemetry.instrumentation.genai.{client}", "{Client}Instrumentor"),
    "openllmetry": ("opentelemetry.instrumentation.{client}", "{Client}Instrumentor"),
    "openinference": ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
}
COMBINATIONS = [
    (client, watcher)
    for client in ("openai", "anthropic")
    for watcher in WATCHERS
    if (client, watcher) != ("anthropic", "openinference")
]


@contextmanager
def watched(client: str, watcher: str, provider: TracerProvider) -> Iterator[None]:
    """The client is instrumented for the length of the block."""
    module, kind = (
        text.format(client=client, Client={"openai": "OpenAI", "anthropic": "Anthropic"}[client])
        for text in WATCHERS[watcher]
    )
    instrumentor = getattr(import_module(module), kind)()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        yield
    finally:
        instrumentor.uninstrument()


@pytest.fixture(scope="module")
def models() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/expenses.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def ask_openai(server: ModelServer, model: str, *, stream: bool = False, retries: int = 0) -> None:
    with openai.OpenAI(
        api_key="none", base_url=f"{server.url}/v1", timeout=0.3 if model == "is-silent" else 20,
        max_retries=retries,
    ) as client:  # fmt: skip
        answer: Any = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "lunch 12"}], stream=stream
        )
        if stream:
            for _ in answer:
                pass


def ask_anthropic(server: ModelServer, model: str, *, stream: bool = False, retries: int = 0) -> None:
    with anthropic.Anthropic(
        api_key="none", base_url=server.url, timeout=0.3 if model == "is-silent" else 20, max_retries=retries
    ) as client:
        answer: Any = client.messages.create(
            model=model, max_tokens=9, messages=[{"role": "user", "content": "lunch 12"}], stream=stream
        )
        if stream:
            for _ in answer:
                pass


ASK: dict[str, Callable[..., None]] = {"openai": ask_openai, "anthropic": ask_anthropic}


def store_and_ask(engine: Engine, ask: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """The mistake that rules look for: the model is asked while the row waits for its commit."""
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        ask(*args, **kwargs)


TROUBLE = [("is-silent", "timeout"), ("is-full", "rate_limited"), ("fails", "error")]


@pytest.mark.parametrize(("client", "watcher"), COMBINATIONS)
@pytest.mark.parametrize(("model", "problem"), TROUBLE)
def test_a_failing_call_is_counted_and_named_as_the_cause(
    engine: Engine,
    record: Callable[..., Recorder],
    models: ModelServer,
    client: str,
    watcher: str,
    model: str,
    problem: str,
) -> None:
    recorder = record(ai_hosts=[models.place])
    with watched(client, watcher, recorder.provider), pytest.raises((openai.APIError, anthropic.APIError)):
        store_and_ask(engine, ASK[client], models, model)
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_OUTCOME] == "rolled_back"
    assert transaction[semconv.TRANSACTION_ERROR_FROM_AI] is True
    assert transaction[semconv.TRANSACTION_AI_CALLS] == transaction[semconv.TRANSACTION_AI_ERRORS] == 1
    assert transaction[semconv.TRANSACTION_AI_PROBLEMS] == (problem,)
    assert transaction[semconv.TRANSACTION_AI_WAIT] > 0


@pytest.mark.parametrize(("client", "watcher"), COMBINATIONS)
def test_a_stream_that_is_cut(
    engine: Engine, record: Callable[..., Recorder], models: ModelServer, client: str, watcher: str
) -> None:
    recorder = record(ai_hosts=[models.place])
    with watched(client, watcher, recorder.provider), pytest.raises(Exception) as raised:  # noqa: PT011
        store_and_ask(engine, ASK[client], models, "is-cut", stream=True)
    assert type(raised.value).__name__ in ("RemoteProtocolError", "APIConnectionError")
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_OUTCOME] == "rolled_back"
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 1
    # Some instrumentations never end the span of a stream that breaks.
    unfinished = transaction.get(semconv.TRANSACTION_AI_UNFINISHED, 0)
    assert transaction[semconv.TRANSACTION_AI_ERRORS] + unfinished == 1


@pytest.mark.parametrize(("client", "watcher"), COMBINATIONS)
@pytest.mark.parametrize(
    ("model", "problem", "failed"), [("refuses", "refused", 1), ("is-truncated", "truncated", 0)]
)
def test_an_answer_that_is_none(
    engine: Engine,
    record: Callable[..., Recorder],
    models: ModelServer,
    client: str,
    watcher: str,
    model: str,
    problem: str,
    failed: int,
) -> None:
    recorder = record(ai_hosts=[models.place])
    with watched(client, watcher, recorder.provider):
        store_and_ask(engine, ASK[client], models, model)
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_OUTCOME] == "committed"
    assert transaction[semconv.TRANSACTION_AI_PROBLEMS] == (problem,)
    assert transaction[semconv.TRANSACTION_AI_ERRORS] == failed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "watcher"), COMBINATIONS)
def test_a_good_answer_is_no_trouble(
    engine: Engine,
    record: Callable[..., Recorder],
    models: ModelServer,
    client: str,
    watcher: str,
    stream: bool,
) -> None:
    recorder = record(ai_hosts=[models.place])
    with watched(client, watcher, recorder.provider), bind_identity("7"):
        store_and_ask(engine, ASK[client], models, "answers", stream=stream)
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 1
    assert transaction[semconv.TRANSACTION_AI_ERRORS] == 0
    assert semconv.TRANSACTION_AI_PROBLEMS not in transaction
    events = [log.log_record.event_name for log in recorder.log_exporter.get_finished_logs()]
    assert events.count(semconv.EVENT_AI_COMPLETED) == 1


@pytest.mark.parametrize("client", list(ASK))
def test_without_any_instrumentation_the_exceptions_still_tell(
    engine: Engine, record: Callable[..., Recorder], models: ModelServer, client: str
) -> None:
    recorder = record()
    with pytest.raises((openai.APIError, anthropic.APIError)):
        store_and_ask(engine, ASK[client], models, "fails")
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_ERROR_FROM_AI] is True


def test_calls_at_the_same_time_are_waited_for_once(
    engine: Engine, record: Callable[..., Recorder], models: ModelServer
) -> None:
    async def ask(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(
                model="is-silent", messages=[{"role": "user", "content": "lunch 12"}]
            )

    async def handle() -> None:
        async with openai.AsyncOpenAI(
            api_key="none", base_url=f"{models.url}/v1", timeout=0.3, max_retries=0
        ) as client:
            with engine.begin() as connection:
                connection.execute(insert(Expense).values(user_id="7"))
                await asyncio.gather(*[ask(client) for _ in range(4)])

    recorder = record(ai_hosts=[models.place])
    with watched("openai", "genai", recorder.provider):
        asyncio.run(handle())
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == transaction[semconv.TRANSACTION_AI_ERRORS] == 4
    calls = [s for s in recorder.spans() if (s.attributes or {}).get(semconv.AI_ROLE) == "call"]
    each = [(span.end_time or 0) - (span.start_time or 0) for span in calls]
    assert transaction[semconv.TRANSACTION_AI_WAIT] * 1e6 < sum(each)
    assert transaction[semconv.TRANSACTION_AI_WAIT] * 1e6 >= max(each)
