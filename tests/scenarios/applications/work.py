"""What an operation has at hand: its process's settings, databases, model provider and queue.

Settings are environment variables, as a deployment sets them:

    DATABASE_URL     the database; other variables name further ones (``work.database("RECEIPTS_URL")``)
    SHARDS           variables of the databases that users are spread over
    WRITE_KEYS       key columns that new rows get, and in which form; see ``tables.keys_of``
    READ_KEYS        key columns that reads filter by; several are alternatives
    AI               when the model is asked: off, first (before any statement), inline (before the commit),
                     best_effort (the same, but go on without an answer), after_commit
    AI_CLIENT        openai (real client, seen by its HTTP), bare (real client, seen by nobody), ai_call
    MODEL_URL        the provider; MODEL_TIMEOUT seconds to wait for it
    ACKNOWLEDGE      always: answer 200 whatever happens; on_success: let errors through
    QUEUE            host:port of the worker's queue
"""

from __future__ import annotations

import json
import os
import socket
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused(Exception):  # noqa: N818 - an answer, not an error of the program
    """The request is answered with this status."""

    status: int
    why: str


class Work:
    """One process's. ``carry`` gives the headers that go along with a job."""

    def __init__(self, carry: Callable[[], Mapping[str, str]] = dict) -> None:
        self._carry = carry
        self._engines: dict[str, Engine] = {}
        self._async_engines: dict[str, AsyncEngine] = {}
        self._clients: dict[str, Any] = {}

    @staticmethod
    def setting(name: str, default: str = "") -> str:
        """An environment variable."""
        return os.environ.get(name, default)

    def engine(self, variable: str = "DATABASE_URL") -> Engine:
        """The engine for the URL in a variable, made when it is first asked for."""
        if variable not in self._engines:
            self._engines[variable] = create_engine(os.environ[variable])
        return self._engines[variable]

    def session(self, variable: str = "DATABASE_URL") -> Session:
        """A new ORM session."""
        return sessionmaker(self.engine(variable), expire_on_commit=False)()

    def home(self, user: str) -> str:
        """The variable with the URL of the database that holds a user: one of SHARDS, or DATABASE_URL."""
        shards = self.setting("SHARDS", "DATABASE_URL").split(",")
        return shards[zlib.crc32(user.encode()) % len(shards)]

    def async_session(self, variable: str = "DATABASE_URL") -> AsyncSession:
        """A new ORM session of an async process."""
        if variable not in self._async_engines:
            self._async_engines[variable] = create_async_engine(os.environ[variable])
        return async_sessionmaker(self._async_engines[variable], expire_on_commit=False)()

    # -- the model provider --------------------------------------------------------------------------------

    def ask_model(self, note: str, model: str) -> str:
        """Which category an expense is of. Raises what the client raises."""
        if self.setting("AI_CLIENT") == "ai_call":
            from trueline.instrumentation import ai_call

            with ai_call("chat", model=model, provider="example"):
                return self._ask(note, model)
        return self._ask(note, model)

    def _ask(self, note: str, model: str) -> str:
        from openai import OpenAI

        client = self._clients.setdefault("sync", OpenAI(**self._provider()))
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": note}])
        return str(answer.choices[0].message.content)

    async def ask_model_async(self, note: str, model: str) -> str:
        """The same in an async process."""
        from openai import AsyncOpenAI

        client = self._clients.setdefault("async", AsyncOpenAI(**self._provider()))
        answer = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": note}]
        )
        return str(answer.choices[0].message.content)

    def _provider(self) -> dict[str, Any]:
        return {
            "base_url": f"{self.setting('MODEL_URL')}/v1",
            "api_key": "a key",
            "timeout": float(self.setting("MODEL_TIMEOUT", "0.4")),
            "max_retries": 0,
        }

    # -- the queue -----------------------------------------------------------------------------------------

    def enqueue(self, operation: str, body: Body, message: str | None = None) -> None:
        """Hand a job to the worker; it is done when the worker comes to it."""
        host, _, port = self.setting("QUEUE").partition(":")
        job = {"operation": operation, "body": dict(body), "message": message, "headers": dict(self._carry())}
        with socket.create_connection((host, int(port)), timeout=20) as queue:
            queue.sendall(json.dumps(job | {"wait": False}).encode() + b"\n")
            queue.makefile().readline()


Operation = Callable[[Work, Body], Any]
OPERATIONS: dict[str, Operation] = {}
ASYNC_OPERATIONS: dict[str, Callable[[Work, Body], Any]] = {}


def operation(function: Operation) -> Operation:
    """Decorate what a process can be asked to do; its name is the function's."""
    OPERATIONS[function.__name__] = function
    return function


def async_operation(function: Callable[[Work, Body], Any]) -> Callable[[Work, Body], Any]:
    """The same for async processes."""
    ASYNC_OPERATIONS[function.__name__] = function
    return function
