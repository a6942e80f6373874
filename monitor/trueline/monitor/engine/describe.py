"""One line of plain English for a span or log record of a timeline: who did what, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from trueline.instrumentation import semconv

_REASONS: Final = {
    "explicit": "the code asked for it",
    "exception": "an exception left the transaction's block",
    "commit_failed": "the COMMIT failed",
    "commit_of_aborted": "the transaction had failed before, so its COMMIT rolled back",
    "savepoint": "its savepoint was rolled back",
    "not_committed": "nobody committed it",
    "abandoned": "it was never ended",
}


def outcome_text(outcome: str, reason: str = "") -> str:
    """``committed``, ``rolled back (nobody committed it)`` ..., empty for an empty outcome."""
    if outcome == "rolled_back":
        return f"rolled back ({_REASONS.get(reason, reason)})" if reason else "rolled back"
    return {"open": "not ended yet", "unknown": "outcome unknown (the connection was lost)"}.get(
        outcome, outcome
    )


def describe(item: Mapping[str, Any]) -> str:
    """What happened, without time and service.

    ``item`` has kind, name, status, status_message, outcome, reason and attributes, as kept in evidence.
    """
    attributes: Mapping[str, str] = item["attributes"]
    if item["kind"] == "log":
        return f"logs {item['status'] or 'a line'}: {item['status_message'] or item['name']}"
    outcome = outcome_text(item["outcome"], item["reason"])
    if semconv.STATEMENT_KIND in attributes:
        text = _statement(item, attributes)
        if attributes[semconv.STATEMENT_KIND] == "read":
            # How a transaction ends does not matter to what it read, and most drivers roll back idle ones.
            return text
    elif semconv.TRANSACTION_OUTCOME in attributes:
        cause = _because(item, attributes)
        return f"transaction{_where(attributes)} with {_writes(attributes)}: {outcome}{cause}"
    elif any(name.startswith("gen_ai.") for name in attributes):
        return _ai_call(item, attributes)
    else:
        return _other(item, attributes)
    return f"{text}: {outcome}" if outcome else text


def values(text: str | None) -> list[str]:
    """An array attribute, which the store keeps as JSON."""
    try:
        parsed = json.loads(text or "[]")
    except ValueError:
        return []
    return [str(value) for value in parsed] if isinstance(parsed, list) else []


def _statement(item: Mapping[str, Any], attributes: Mapping[str, str]) -> str:
    tables = values(attributes.get(semconv.STATEMENT_TABLES))
    kind = attributes[semconv.STATEMENT_KIND]
    verb = {"read": "reads", "write": "writes"}.get(kind, "runs")
    what = tables[0] if tables else attributes.get(semconv.DB_QUERY_SUMMARY) or item["name"]
    columns = values(attributes.get(semconv.IDENTITY_COLUMNS))
    encodings = values(attributes.get(semconv.IDENTITY_ENCODINGS))
    keys = [
        f"{column.rpartition('.')[2]} as {encoding}"
        for column, encoding in zip(columns, encodings, strict=False)
    ]
    parts = [f"{verb} {what}"]
    if keys:
        parts.append(f"{'by' if kind == 'read' else 'with'} {', '.join(dict.fromkeys(keys))}")
    parts.append(_where(attributes).strip())
    rows = attributes.get(semconv.STATEMENT_ROWS)
    if rows is not None and rows != "-1":
        parts.append(f"({rows} row{'' if rows == '1' else 's'})")
    constraint = attributes.get(semconv.CONSTRAINT_NAME)
    if constraint:
        parts.append(f"and violates {constraint}")
    elif item["status"] == "error":
        parts.append(f"and fails with {_error(item, attributes)}")
    return " ".join(part for part in parts if part)


def _writes(attributes: Mapping[str, str]) -> str:
    number = attributes.get(semconv.TRANSACTION_WRITES, "0")
    tables = values(attributes.get(semconv.STATEMENT_TABLES))
    return f"{number} write{'' if number == '1' else 's'}" + (f" ({', '.join(tables)})" if tables else "")


def _because(item: Mapping[str, Any], attributes: Mapping[str, str]) -> str:
    error = attributes.get(semconv.TRANSACTION_ERROR_TYPE)
    if item["outcome"] != "rolled_back" or not error:
        return ""
    from_ai = attributes.get(semconv.TRANSACTION_ERROR_FROM_AI) == "true"
    return f", by {error}" + (" out of the AI call" if from_ai else "")


def _where(attributes: Mapping[str, str]) -> str:
    namespace = attributes.get(semconv.DB_NAMESPACE) or attributes.get("db.name", "")
    schema = attributes.get(semconv.DATABASE_SCHEMA, "")
    if not namespace:
        return ""
    return f" on {namespace}" + (f", schema {schema}" if schema and schema != "public" else "")


def _ai_call(item: Mapping[str, Any], attributes: Mapping[str, str]) -> str:
    model = attributes.get(semconv.GEN_AI_REQUEST_MODEL) or "a model"
    provider = attributes.get(semconv.GEN_AI_PROVIDER_NAME) or attributes.get("gen_ai.system", "")
    text = f"AI call ({attributes.get(semconv.GEN_AI_OPERATION_NAME, 'call')}) to {model}"
    text += f" at {provider}" if provider else ""
    failed = item["status"] == "error" or semconv.ERROR_TYPE in attributes
    return f"{text}: failed with {_error(item, attributes)}" if failed else f"{text}: answered"


def _other(item: Mapping[str, Any], attributes: Mapping[str, str]) -> str:
    status = attributes.get(semconv.HTTP_RESPONSE_STATUS_CODE) or attributes.get("http.status_code")
    text = str(item["name"])
    if status:
        text += f": answers {status}"
    if item["status"] == "error":
        text += f", fails with {_error(item, attributes)}"
    return text


def _error(item: Mapping[str, Any], attributes: Mapping[str, str]) -> str:
    kind = attributes.get(semconv.ERROR_TYPE) or attributes.get("exception.type", "")
    message = (
        str(item["status_message"] or attributes.get("exception.message", "")).strip().partition("\n")[0]
    )
    if kind and message and kind not in message:
        return f"{kind}: {message}"
    return message or kind or "an error"
