"""A web process with FastAPI and asyncpg, behind OpenTelemetry's own instrumentation of FastAPI."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from scenarios.applications import operations, telemetry
from scenarios.applications.work import ASYNC_OPERATIONS, Refused, Work


def main() -> None:
    """Run it."""
    from trueline.instrumentation import bind_identity, bind_message

    telemetry.start()
    operations.load()
    import uvicorn
    from fastapi import FastAPI, HTTPException
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app = FastAPI()
    work = Work()

    def endpoint(operation: Callable[[Work, Any], Any]) -> Any:
        async def answer(body: dict[str, Any]) -> Any:
            try:
                with bind_identity(body.get("user")), bind_message(body.get("message")):
                    return await operation(work, body)
            except Refused as refused:
                raise HTTPException(refused.status, refused.why) from refused

        return answer

    for name, operation in ASYNC_OPERATIONS.items():
        app.post(f"/{name}")(endpoint(operation))
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
