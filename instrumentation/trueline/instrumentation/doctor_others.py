"""What else would tell of this service: requests, calls of models; what zero-code needs to send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from typing import Final

#: Web frameworks: the instrumentations that open an entry for each of their requests.
_FRAMEWORKS: Final = {
    "fastapi": ("fastapi", "asgi"),
    "starlette": ("starlette", "fastapi", "asgi"),
    "flask": ("flask", "wsgi"),
    "django": ("django",),
    "aiohttp": ("aiohttp-server",),
}
_CLIENTS: Final = ("anthropic", "cohere", "google-genai", "groq", "litellm", "mistralai", "ollama", "openai")
_HTTP: Final = ("httpx", "requests", "urllib3", "aiohttp-client")
_CONTRIB: Final = "opentelemetry-instrumentation-"

Remarks = Iterator[tuple[int, str, str]]


def check_zero_code(environ: Mapping[str, str]) -> Remarks:
    """Whether ``opentelemetry-instrument`` could send what it sees."""
    installed = _installed()
    if "opentelemetry-distro" not in installed:
        return
    protocol = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() or "grpc"
    if protocol == "grpc" and "opentelemetry-exporter-otlp-proto-grpc" not in installed:
        # It may not be used here at all.
        yield (
            0,
            "Under opentelemetry-instrument OTLP goes by grpc unless told otherwise, its exporter is not "
            "installed, and nothing at all would be instrumented.",
            "Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf.",
        )
    else:
        yield 0, f"opentelemetry-instrument sends OTLP by {protocol}.", ""


def check_entries(environ: Mapping[str, str]) -> Remarks:
    """Whether the web framework that is installed has something that opens entries."""
    installed = _installed()
    for framework, names in _FRAMEWORKS.items():
        if framework not in installed or (framework == "starlette" and "fastapi" in installed):
            continue
        found = next((name for name in names if f"{_CONTRIB}{name}" in installed), "")
        if found:
            yield 0, f"Requests of {framework}: {_CONTRIB}{found}.", ""
        else:
            yield (
                0,
                f"No instrumentation of {framework} is installed: requests have an entry by Trueline's "
                "middleware, if the service adds it.",
                f"pip install {_CONTRIB}{names[0]}, or see docs/guide/requests.md.",
            )


def check_models(environ: Mapping[str, str]) -> Remarks:
    """Whether anything would tell of calls that the client libraries of models make."""
    installed = _installed()
    by_http = next((name for name in _HTTP if f"{_CONTRIB}{name}" in installed), "")
    for client in _CLIENTS:
        if client not in installed:
            continue
        known = sorted(
            name
            for name in installed
            if "instrumentation" in name and name.endswith((f"-{client}", f"-{client}-v2"))
        )
        if known or by_http:
            yield 0, f"Calls of {client}: {', '.join(known) or _CONTRIB + by_http}.", ""
        else:
            yield (
                1,
                f"{client} is installed, and nothing tells of its calls: a rollback after a model's "
                "error cannot be told from another one, unless ai_call() marks them.",
                f"pip install {_CONTRIB}genai-{client} where there is one, or {_CONTRIB}httpx.",
            )


def _installed() -> frozenset[str]:
    """Names of the distributions that are installed here."""
    found = (one.metadata["Name"] for one in distributions())
    return frozenset(name.lower().replace("_", "-") for name in found if name)
