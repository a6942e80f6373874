"""The JSON Schema of trueline.yaml, for editors: ``python -m`` this module writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from trueline.instrumentation.declarations.schema import DECLARATIONS

#: Where it is published, from the repository's root.
SCHEMA_FILE: Final = "docs/reference/trueline.schema.json"


def render_schema() -> str:
    """The schema as the published text."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Trueline declarations",
        "description": "What the owner of an application declares, for services and monitor: trueline.yaml",
        **DECLARATIONS.json_schema(),
    }
    # YAML reads an unquoted 1 as a number.
    schema["properties"]["version"]["enum"] = [1, "1"]
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(SCHEMA_FILE).write_text(render_schema(), encoding="utf-8")
