"""HTTP to hosts that serve models is a call of a model; inside a call it is one of its attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import httpx2
import pytest
from openai import APITimeoutError, OpenAI
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from sqlalchemy import Engine, create_engine, insert
from support.matrix import Base, Expense
from support.model_server import ModelServer, model_server
from support.recorder import Recorder

from trueline.instrumentation import ConfigurationError, ai_call, instrument, semconv


@pytest.fixture
def models() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/expenses.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def recorder(record: Callable[..., Recorder], models: ModelServer) -> Iterator[Recorder]:
    recorder = record(ai_hosts=[models.place], logs=False)
    HTTPXClientInstrumentor().instrument(tracer_provider=recorder.provider)
    yield recorder
    HTTPXClientInstrumentor().uninstrument()


def ask(models: ModelServer, model: str, timeout: float = 20) -> httpx.Response:
    with httpx.Client(timeout=timeout) as client:
        return client.post(f"{models.url}/v1/chat/completions", json={"model": model})


@pytest.mark.parametrize(
    ("model", "problem"),
    [("answers", None), ("is-full", "rate_limited"), ("fails", "error"), ("is-silent", "timeout")],
)
def test_a_request_to_a_host_of_models_is_a_call(
    engine: Engine, recorder: Recorder, models: ModelServer, model: str, problem: str | None
) -> None:
    def handle() -> None:
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id="7"))
            ask(models, model, timeout=0.3 if model == "is-silent" else 20).raise_for_status()

    if problem is None:
        handle()
    else:
        with pytest.raises(httpx.HTTPError):
            handle()
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 1
    assert transaction[semconv.TRANSACTION_AI_ERRORS] == (problem is not None)
    assert transaction.get(semconv.TRANSACTION_AI_PROBLEMS) == (None if problem is None else (problem,))
    (call,) = [s.attributes or {} for s in recorder.spans() if semconv.AI_ROLE in (s.attributes or {})]
    assert call[semconv.AI_ROLE] == "call"
    assert call.get(semconv.AI_PROBLEM) == problem


def test_requests_elsewhere_are_no_calls(
    engine: Engine, record: Callable[..., Recorder], models: ModelServer
) -> None:
    recorder = record(logs=False)
    HTTPXClientInstrumentor().instrument(tracer_provider=recorder.provider)
    try:
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id="7"))
            ask(models, "answers")
    finally:
        HTTPXClientInstrumentor().uninstrument()
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 0
    assert not any(semconv.AI_ROLE in (span.attributes or {}) for span in recorder.spans())


def test_requests_inside_a_call_are_its_attempts(
    engine: Engine, recorder: Recorder, models: ModelServer
) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        with ai_call("chat", model="small") as call:
            assert ask(models, "is-full").status_code == 429
            assert ask(models, "fails").status_code == 500
            assert ask(models, "answers").status_code == 200
            call.finish_reasons("stop")
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 1
    assert transaction[semconv.TRANSACTION_AI_ERRORS] == 0, "the third attempt brought the answer"
    spans = [span.attributes or {} for span in recorder.spans()]
    (outer,) = [s for s in spans if s.get(semconv.AI_ROLE) == "call"]
    assert outer[semconv.AI_ATTEMPTS] == 3
    assert semconv.AI_PROBLEM not in outer
    attempts = [s.get(semconv.AI_PROBLEM) for s in spans if s.get(semconv.AI_ROLE) == "attempt"]
    assert attempts == ["rate_limited", "error", None]


def test_a_call_that_began_before_the_transaction_is_not_waited_for_but_its_attempts_are(
    engine: Engine, recorder: Recorder, models: ModelServer
) -> None:
    with ai_call("chat"), engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        ask(models, "answers")
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 1
    assert transaction[semconv.TRANSACTION_AI_WAIT] > 0


def test_a_call_that_outlives_the_transaction_is_told(engine: Engine, recorder: Recorder) -> None:
    call = ai_call("chat")
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        call.__enter__()
    call.__exit__(None, None, None)
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == transaction[semconv.TRANSACTION_AI_UNFINISHED] == 1
    assert transaction[semconv.TRANSACTION_AI_WAIT] > 0


def test_hosts_are_checked() -> None:
    with pytest.raises(ConfigurationError, match=r"ai_hosts.*'http://models' is no host: write host"):
        instrument(ai_hosts=["http://models"])


def test_the_library_that_openais_client_uses_now_is_seen(
    engine: Engine, recorder: Recorder, models: ModelServer
) -> None:
    """Its release 3 left httpx for httpx2, which has an instrumentation of its own."""
    client = OpenAI(base_url=f"{models.url}/v1", api_key="a key", timeout=0.3, max_retries=0)

    def handle() -> None:
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id="7"))
            client.chat.completions.create(model="is-silent", messages=[{"role": "user", "content": "x"}])

    assert isinstance(client._client, httpx2.Client), "the other instrumentation would be enough"
    HTTPX2ClientInstrumentor().instrument(tracer_provider=recorder.provider)
    try:
        with pytest.raises(APITimeoutError):
            handle()
    finally:
        HTTPX2ClientInstrumentor().uninstrument()
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 1
    assert transaction[semconv.TRANSACTION_AI_PROBLEMS] == ("timeout",)
    assert transaction[semconv.TRANSACTION_AI_WAIT] >= 250
