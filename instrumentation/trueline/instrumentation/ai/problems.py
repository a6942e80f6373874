"""What went wrong with the call of a model, read off its finished span.

Instrumentations differ: some set the status, some ``error.type``, some only record an exception; a refusal or
an answer cut at the token limit is a success to all of them, and shows in the finish reasons only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.trace import StatusCode

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import AiProblem

#: Finish reasons by what they mean, in lower case: OpenAI's, Anthropic's, Google's, Cohere's, Bedrock's.
_FINISHES: Final = {
    "content_filter": AiProblem.REFUSED,
    "content_filtered": AiProblem.REFUSED,
    "error_toxic": AiProblem.REFUSED,
    "guardrail_intervened": AiProblem.REFUSED,
    "prohibited_content": AiProblem.REFUSED,
    "refusal": AiProblem.REFUSED,
    "safety": AiProblem.REFUSED,
    "error": AiProblem.ERROR,
    "malformed_function_call": AiProblem.ERROR,
    "error_limit": AiProblem.TRUNCATED,
    "length": AiProblem.TRUNCATED,
    "max_tokens": AiProblem.TRUNCATED,
    "model_context_window_exceeded": AiProblem.TRUNCATED,
}
#: From the worst: a call has one problem.
_ORDER: Final = (AiProblem.ERROR, AiProblem.REFUSED, AiProblem.TRUNCATED)
#: Problems with which there was no usable answer. The others may have been good enough.
FAILURES: Final = frozenset(
    {AiProblem.ERROR, AiProblem.TIMEOUT, AiProblem.RATE_LIMITED, AiProblem.REFUSED, AiProblem.CUT}
)
_TOKENS: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
)
_ANSWERING: Final = frozenset({"chat", "generate_content", "text_completion", "completion"})
#: Where conventions older than ``gen_ai.response.finish_reasons`` have it.
_OLDER_FINISHES: Final = (
    "gen_ai.completion.0.finish_reason",
    "gen_ai.response.finish_reason",
    "gen_ai.response.stop_reason",
    "llm.finish_reason",
    "llm.response.finish_reason",
    "llm.response.stop_reason",
)
_STREAMING: Final = ("gen_ai.request.stream", "llm.is_streaming", "gen_ai.is_streaming")


def problem_of(span: Any) -> AiProblem | None:
    """What is wrong with the call that a span of the SDK stands for; None where nothing shows."""
    attributes: Mapping[str, Any] = span.attributes or {}
    status = _status(attributes)
    kinds = [str(attributes.get(semconv.ERROR_TYPE) or ""), *_exceptions(span.events)]
    if span.status.status_code is StatusCode.ERROR or any(kinds) or status >= 400:
        return _of_error(kinds, status, span.status.description or "")
    finishes = _finishes(attributes)
    found = {_FINISHES[reason] for reason in finishes if reason in _FINISHES}
    for problem in _ORDER:
        if problem in found:
            return problem
    return _of_answer(attributes, answered=bool(finishes))


def _of_error(kinds: Iterable[str], status: int, description: str) -> AiProblem:
    # Class names only; of a description its first word is one in some instrumentations.
    told = " ".join((*kinds, description.split(":", 1)[0][:80])).lower()
    if "timeout" in told or "timedout" in told or "deadline" in told or status in (408, 504):
        return AiProblem.TIMEOUT
    if "ratelimit" in told or "toomanyrequests" in told or "resourceexhausted" in told or "429" in told:
        return AiProblem.RATE_LIMITED
    return AiProblem.RATE_LIMITED if status == 429 else AiProblem.ERROR


def _of_answer(attributes: Mapping[str, Any], *, answered: bool) -> AiProblem | None:
    operation = attributes.get(semconv.GEN_AI_OPERATION_NAME, attributes.get("llm.request.type"))
    if operation not in _ANSWERING:
        return None
    # A stream that ends without saying why was cut; others simply may not say.
    if not answered and any(attributes.get(name) is True for name in _STREAMING):
        return AiProblem.CUT
    tokens = next((attributes[name] for name in _TOKENS if name in attributes), None)
    return AiProblem.EMPTY if tokens == 0 else None


def _status(attributes: Mapping[str, Any]) -> int:
    status = attributes.get(semconv.HTTP_RESPONSE_STATUS_CODE, attributes.get("http.status_code"))
    return status if isinstance(status, int) else 0


def _exceptions(events: Iterable[Any]) -> list[str]:
    return [
        str((event.attributes or {}).get("exception.type", "exception"))
        for event in events
        if event.name == "exception"
    ]


def _finishes(attributes: Mapping[str, Any]) -> list[str]:
    given = attributes.get(semconv.GEN_AI_RESPONSE_FINISH_REASONS)
    reasons: list[Any] = [given] if isinstance(given, str) else list(given or ())
    reasons += [attributes[name] for name in _OLDER_FINISHES if name in attributes]
    return [str(reason).rsplit(".", 1)[-1].lower() for reason in reasons if reason]
