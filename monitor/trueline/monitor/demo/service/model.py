"""A stand-in for a model provider: the same HTTP interface, and outages on request.

POST /v1/chat/completions    answers with a category, 500, or not in time
PUT  /outages/{key}          {"kind": "error" | "timeout" | null}: how calls with this key fare from now on
"""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Literal

import uvicorn
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel

CATEGORIES = {"coffee": "food", "lunch": "food", "taxi": "travel", "train": "travel", "book": "culture"}
#: Longer than any client waits.
HANG_SECONDS = 30.0

app = FastAPI()
outages: dict[str, str] = {}


class ChatMessage(BaseModel):
    """One message of the conversation."""

    role: str
    content: str


class ChatRequest(BaseModel):
    """What a client asks."""

    model: str
    messages: list[ChatMessage]


class Outage(BaseModel):
    """How calls are to fare; null ends the outage."""

    kind: Literal["error", "timeout"] | None


@app.put("/outages/{key}")
async def set_outage(key: str, outage: Outage) -> dict[str, str]:
    """Begin or end an outage for one API key."""
    if outage.kind is None:
        outages.pop(key, None)
    else:
        outages[key] = outage.kind
    return {"status": "ok"}


@app.post("/v1/chat/completions")
async def complete(request: ChatRequest, authorization: Annotated[str, Header()]) -> dict[str, object]:
    """Name the category of an expense."""
    outage = outages.get(authorization.removeprefix("Bearer "))
    if outage == "timeout":
        await asyncio.sleep(HANG_SECONDS)
    if outage is not None:
        raise HTTPException(500, "The server had an error while processing your request")
    word = request.messages[-1].content.split()[0].lower()
    message = ChatMessage(role="assistant", content=CATEGORIES.get(word, "other"))
    return {"model": request.model, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


if __name__ == "__main__":
    # Callers that gave up long ago are not waited for at the end.
    uvicorn.run(
        app,
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ["PORT"]),
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
