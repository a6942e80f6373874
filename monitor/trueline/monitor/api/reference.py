"""The API's reference page, made from its OpenAPI document: ``python -m trueline.monitor.api.reference``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def reference(document: Mapping[str, Any]) -> str:
    """The page, as Markdown."""
    return "\n".join(_lines(document)).rstrip() + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    schemas = document["components"]["schemas"]
    yield "# The API\n"
    yield "Made from the OpenAPI document, which a running monitor serves at `/api/v1/openapi.json`;"
    yield "do not edit by hand."
    yield ""
    yield "Every refusal is a problem document (RFC 9457, `application/problem+json`): `status`, `title`, and"
    yield "a `detail` that names what is wrong and the way out. Lists answer `items` and `next`, an opaque"
    yield "cursor. Times are UTC."
    for path, operations in sorted(document["paths"].items()):
        for method, operation in operations.items():
            yield f"\n## {method.upper()} {path}\n"
            yield str(operation.get("description") or operation["summary"]).replace("\n\n", "\n")
            yield from _parameters(operation.get("parameters", []))
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "$ref" in body.get("schema", {}):
                yield f"\nThe body: {_type(body['schema'])}."
            answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
            if "$ref" in answer.get("schema", {}):
                yield f"\nThe answer: {_type(answer['schema'])}."
    yield "\n## Shapes"
    for name, schema in sorted(schemas.items()):
        yield f"\n### {name}\n"
        yield " ".join(str(schema.get("description", "")).split())
        if "enum" in schema:
            yield f"\nOne of {_type(schema)}."
        elif "properties" in schema:
            yield from _fields(schema)


def _parameters(parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    if parameters:
        yield "\n| parameter | in | type | default | meaning |\n|---|---|---|---|---|"
    for one in parameters:
        default = one["schema"].get("default", "")
        shown = f"`{json.dumps(default)}`" if default not in ("", None) else ""
        meaning = _cell(one.get("description", ""))
        yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {shown} | {meaning} |"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "\n| field | type | meaning |\n|---|---|---|"
    for name, field in schema.get("properties", {}).items():
        yield f"| `{name}` | {_type(field)} | {_cell(field.get('description', ''))} |"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    # python -m trueline.monitor.api.reference tests/data/openapi.json > docs/reference/api.md
    print(reference(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
