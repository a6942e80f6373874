"""Examples of the API's description: what routes really answer, kept as files and compared as text."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Final

from trueline.monitor.api.openapi import EXAMPLES, operation_name

#: Set REWRITE_GOLDEN to write the files anew; then look at the difference.
REWRITE: Final = bool(os.environ.get("REWRITE_GOLDEN"))
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def check_example(method: str, route: str, body: Any, answer: Any) -> None:
    """Compare an answer with its file. As text: scripts and people rely on the order of fields too."""
    file = EXAMPLES / f"{operation_name(method, route)}.json"
    shown = {"response": answer} if body is None else {"request": body, "response": answer}
    text = json.dumps(shown, indent=1) + "\n"
    if REWRITE:
        EXAMPLES.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text, f"{file.name}: names and order are promised to scripts"


def settled(answer: Any, **values: Any) -> Any:
    """An answer without what differs from run to run: fields get ``values``, the clock's times become one."""
    if isinstance(answer, dict):
        return {
            name: values[name] if name in values and value is not None else settled(value, **values)
            for name, value in answer.items()
        }
    if isinstance(answer, list):
        return [settled(one, **values) for one in answer]
    if isinstance(answer, str) and _TIME.fullmatch(answer) and not answer.startswith("2026-11-20"):
        return "2026-11-20T12:10:00Z"
    return answer
