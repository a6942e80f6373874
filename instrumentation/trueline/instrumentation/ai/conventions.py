"""Which spans stand for the call of a model, by any of the conventions in use.

OpenTelemetry's ``gen_ai.*`` (1.30 and later names), OpenLLMetry's ``traceloop.*`` and ``llm.*``,
OpenInference,
and plain HTTP client spans to hosts where models are served. An agent, a chain or a tool is none: it fails
for
reasons of its own, a refused INSERT for example, and the calls of models inside it have spans of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind

from trueline.instrumentation import semconv
from trueline.instrumentation.ai.hosts import ModelHosts

#: GenAI operations that are not calls of a model. A remote agent, called over the network, is one.
NOT_MODEL_CALLS: Final = ("create_agent", "invoke_agent", "execute_tool", "invoke_workflow")
#: OpenInference's kinds of spans that call a model.
OPENINFERENCE_MODEL_KINDS: Final = ("LLM", "EMBEDDING", "RERANKER")
OPENINFERENCE_KIND: Final = "openinference.span.kind"
#: Its presence makes a span a call.
_MARKS: Final = frozenset(
    {
        semconv.GEN_AI_OPERATION_NAME,
        semconv.GEN_AI_PROVIDER_NAME,
        "gen_ai.system",
        "llm.request.type",
    }
)
_METHODS: Final = ("http.request.method", "http.method")


def is_ai_span(attributes: Mapping[str, Any] | None, kind: SpanKind = SpanKind.INTERNAL) -> bool:
    """Whether a span stands for the call of a model, by what GenAI instrumentations say of it."""
    if not attributes:
        return False
    if _MARKS.isdisjoint(attributes):
        return attributes.get(OPENINFERENCE_KIND) in OPENINFERENCE_MODEL_KINDS
    operation = attributes.get(semconv.GEN_AI_OPERATION_NAME)
    return operation not in NOT_MODEL_CALLS or (operation == "invoke_agent" and kind is SpanKind.CLIENT)


def is_call_to(hosts: ModelHosts, attributes: Mapping[str, Any] | None, kind: SpanKind) -> bool:
    """Whether a span is an HTTP request to one of the ``hosts``, by old or new attribute names."""
    if kind is not SpanKind.CLIENT or not attributes:
        return False
    if _METHODS[0] not in attributes and _METHODS[1] not in attributes:
        return False
    host = attributes.get("server.address") or attributes.get("net.peer.name")
    port = attributes.get("server.port") or attributes.get("net.peer.port")
    if not host:
        host, port = _place(str(attributes.get("url.full") or attributes.get("http.url") or ""))
    return bool(host) and hosts.has(str(host).lower(), port)


def _place(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port
    except ValueError:  # not a URL after all
        return "", None
