"""A plain script: one operation, its answer on standard output, and the end."""

from __future__ import annotations

import json
import sys

from scenarios.applications import operations, telemetry
from scenarios.applications.work import OPERATIONS, Work


def main() -> None:
    """Run ``script.py OPERATION BODY``."""
    from trueline.instrumentation import bind_identity

    telemetry.start()
    operations.load()
    name, body = sys.argv[1], json.loads(sys.argv[2])
    with bind_identity(body.get("user"), entry=name):
        answer = OPERATIONS[name](Work(), body)
    print(json.dumps(answer))
