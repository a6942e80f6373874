"""The JSON Schema of rule files, for editors: ``python -m trueline.monitor.engine.rule_schema`` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from trueline.monitor.engine.rule import RuleDefinition

#: Where it is published, from the repository's root.
SCHEMA_FILE: Final = "docs/reference/rule.schema.json"


def render_schema() -> str:
    """The schema as the published text."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **RuleDefinition.model_json_schema(),
        "title": "Trueline rule",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(SCHEMA_FILE).write_text(render_schema(), encoding="utf-8")
