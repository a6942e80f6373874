"""The OpenAPI document: FastAPI's, with every refusal as a problem document and an example for every answer.

Examples are files beside this one, ``examples/<operation>.json``: what the routes really answered in the test
that keeps them so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI

from trueline.monitor.problem import MEDIA_TYPE, Problem

EXAMPLES: Final = Path(__file__).parent / "examples"
_REFUSALS: Final = {
    "400": "A parameter makes no sense.",
    "401": "A token is needed.",
    "404": "There is no such thing.",
    "422": "A value cannot be used; `errors` names each.",
    "503": "The store cannot answer just now; Retry-After says when to ask again.",
}


def operation_name(method: str, path: str) -> str:
    """``get_api_v1_traces_trace_id`` for GET /api/v1/traces/{trace_id}."""
    words = path.strip("/").replace("{", "").replace("}", "").replace("-", "_").replace("/", "_")
    return f"{method.lower()}_{words}"


def describe_api(app: FastAPI) -> None:
    """Let ``app`` describe itself so."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(made())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, schema in problem.pop("$defs", {}).items():
        schemas[name] = schema
    schemas["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = operation_name(method, path)
            operation["operationId"] = name
            responses = operation["responses"]
            for status, meaning in _REFUSALS.items():
                if status != "404" or "{" in path:
                    reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
                    responses[status] = {"description": meaning, "content": {MEDIA_TYPE: reference}}
            example = EXAMPLES / f"{name}.json"
            if example.exists():
                shown = json.loads(example.read_text(encoding="utf-8"))
                done = next(status for status in sorted(responses) if status.startswith("2"))
                content = responses[done]["content"]["application/json"]
                content["example"] = shown["response"]
                if "request" in shown and "requestBody" in operation:
                    operation["requestBody"]["content"]["application/json"]["example"] = shown["request"]
