"""The service that is measured: FastAPI, the ORM and PostgreSQL, as people write them; one worker.

    python benchmarks/harness/service.py VARIANT --driver asyncpg --url postgresql://... --endpoint http://...

Prints one JSON line ``{"port": N}`` and serves until it is terminated. Nothing but :func:`switch_on` differs
between the variants. ``/bench/...`` is for the harness, which calls it only while there is no load.
"""

# No `from __future__ import annotations`: FastAPI could not look up the handlers' local names.
import argparse
import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import psutil  # type: ignore[import-untyped]
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import ForeignKey, Select, create_engine, func, select
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from starlette.types import Receive, Scope, Send

#: ``control`` is bare once more. ``traced`` has a TracerProvider with the stock exporter and no
#: instrumentation of the database: FastAPI makes spans as soon as there is a provider, at this price.
VARIANTS = ("bare", "control", "traced", "trueline", "adopted", "contrib")
#: Connections to PostgreSQL; those of all variants together must stay below its limit of a hundred.
POOL = 10
WATCH_SECONDS = 0.004


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Expense(Base):
    __tablename__ = "expenses"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    amount: Mapped[int]
    note: Mapped[str]


class NewExpense(BaseModel):
    amount: int
    note: str


class StoredExpense(NewExpense):
    id: int


class Summary(BaseModel):
    count: int
    total: int


Bind = Callable[[int], AbstractContextManager[object]]


def summary_of(user_id: int) -> "Select[int, int]":  # SQLAlchemy 2.1's, not to be evaluated on 2.0
    return select(func.count(Expense.id), func.coalesce(func.sum(Expense.amount), 0)).where(
        Expense.user_id == user_id
    )


def latest_of(user_id: int) -> "Select[Expense]":
    return select(Expense).where(Expense.user_id == user_id).order_by(Expense.id.desc()).limit(20)


def stored(expense: Expense) -> StoredExpense:
    return StoredExpense(id=expense.id, amount=expense.amount, note=expense.note)


def async_routes(app: FastAPI, engine: AsyncEngine, bind: Bind) -> None:
    """Handlers on the event loop."""

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            yield session

    Opened = Annotated[AsyncSession, Depends(open_session)]  # noqa: N806

    @app.post("/users/{user_id}/expenses", status_code=201)
    async def write(user_id: int, new: NewExpense, session: Opened) -> StoredExpense:
        with bind(user_id):
            if await session.get(User, user_id) is None:
                raise HTTPException(404)
            expense = Expense(user_id=user_id, amount=new.amount, note=new.note)
            session.add(expense)
            await session.commit()
            return stored(expense)

    @app.get("/users/{user_id}/summary")
    async def summary(user_id: int, session: Opened) -> Summary:
        with bind(user_id):
            count, total = (await session.execute(summary_of(user_id))).one()
            return Summary(count=count, total=total)

    @app.get("/users/{user_id}/expenses")
    async def latest(user_id: int, session: Opened) -> list[StoredExpense]:
        with bind(user_id):
            return [stored(expense) for expense in await session.scalars(latest_of(user_id))]


def sync_routes(app: FastAPI, engine: Engine, bind: Bind) -> None:
    """The same handlers in the thread pool."""

    def open_session() -> Iterator[Session]:
        with Session(engine, expire_on_commit=False) as session:
            yield session

    Opened = Annotated[Session, Depends(open_session)]  # noqa: N806

    @app.post("/users/{user_id}/expenses", status_code=201)
    def write(user_id: int, new: NewExpense, session: Opened) -> StoredExpense:
        with bind(user_id):
            if session.get(User, user_id) is None:
                raise HTTPException(404)
            expense = Expense(user_id=user_id, amount=new.amount, note=new.note)
            session.add(expense)
            session.commit()
            return stored(expense)

    @app.get("/users/{user_id}/summary")
    def summary(user_id: int, session: Opened) -> Summary:
        with bind(user_id):
            count, total = session.execute(summary_of(user_id)).one()
            return Summary(count=count, total=total)

    @app.get("/users/{user_id}/expenses")
    def latest(user_id: int, session: Opened) -> list[StoredExpense]:
        with bind(user_id):
            return [stored(expense) for expense in session.scalars(latest_of(user_id))]


class Watch:
    """What this process itself does to requests, whatever else the machine does.

    ``holds``: a task sleeps again and again; (seconds it came back late, seconds of CPU that
    this process used meanwhile). The second is time for which the loop was held by work of our own, the event
    loop's or another thread's, and not by another process on the same core.
    ``inside``: seconds of CPU that the process used, for whatever, while a request was inside.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.holds: list[tuple[float, float]] = []
        self.inside: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._task is None or scope["path"].startswith("/bench"):
            await self._app(scope, receive, send)
            return
        begun = time.process_time()
        await self._app(scope, receive, send)
        self.inside.append(time.process_time() - begun)

    def begin(self) -> None:
        self.holds.clear()
        self.inside.clear()
        self._task = asyncio.create_task(self._watch())

    def end(self) -> dict[str, list[Any]]:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        late, used = zip(*self.holds, strict=True)
        return {"late": list(late), "used": list(used), "inside": self.inside}

    async def _watch(self) -> None:
        while True:
            asleep, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(WATCH_SECONDS)
            late = time.perf_counter() - asleep - WATCH_SECONDS
            self.holds.append((late, time.process_time() - used))


def waited() -> float:
    """Seconds that the event loop was ready to run and had no core; 0 where the kernel does not tell."""
    told = Path("/proc/self/schedstat")
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


def bench_routes(app: FastAPI, watch: Watch, losses: Callable[[], dict[str, int]]) -> None:
    """What the harness asks."""
    process = psutil.Process()
    flushing = 0.0  # seconds of CPU that a flush took in a thread of the pool

    @app.post("/bench/begin")
    async def begin() -> None:
        watch.begin()

    @app.post("/bench/end")
    async def end() -> dict[str, list[float]]:
        return watch.end()

    @app.post("/bench/flush")
    def flush() -> None:
        from opentelemetry import trace

        nonlocal flushing
        provider = trace.get_tracer_provider()
        if hasattr(provider, "force_flush"):
            begun = time.thread_time()
            provider.force_flush()
            flushing += time.thread_time() - begun

    @app.get("/bench/report")
    async def report() -> dict[str, Any]:
        """Seconds since the start: CPU, the part of threads that serve no request, and waiting for a core."""
        background = sum(
            time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
            for thread in threading.enumerate()
            if thread.ident is not None
            and thread is not threading.main_thread()
            and not thread.name.startswith("AnyIO worker")
        )
        return {
            "cpu": time.process_time(),
            "waited": waited(),
            "background_cpu": background + flushing,
            "rss": process.memory_info().rss,
            "threads": process.num_threads(),
            "losses": losses(),
        }


def switch_on(variant: str, engine: Engine, endpoint: str) -> Callable[[], dict[str, int]]:
    """Instrument this process; returns what tells how much the instrumentation lost, by reason."""
    if variant in ("contrib", "adopted"):
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        # Given the engine: found through create_async_engine, each statement would be traced twice. The
        # provider, which is made below, is found when the first span begins.
        SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
    if variant in ("trueline", "adopted"):
        from trueline.instrumentation import instrument
        from trueline.instrumentation.setup import status

        instrument(
            service_name="guest",
            environment="benchmark",
            endpoint=endpoint,
            spans="own" if variant == "trueline" else "contrib",
        )

        def losses() -> dict[str, int]:
            now = status()
            return {**now["losses"], **now["internal_errors"]}

        return losses
    if variant in ("traced", "contrib"):
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": "guest"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
        trace.set_tracer_provider(provider)
    return dict


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--driver", choices=("asyncpg", "psycopg"), required=True)
    parser.add_argument("--url", required=True, help="the database, as a libpq URL")
    parser.add_argument("--endpoint", required=True, help="base URL for OTLP/HTTP")
    parser.add_argument("--bind", action="store_true", help="bind each request to its user")
    arguments = parser.parse_args()

    app = FastAPI(openapi_url=None)
    url = make_url(arguments.url).set(drivername=f"postgresql+{arguments.driver}")
    bind: Bind = lambda user_id: nullcontext()  # noqa: E731
    if arguments.bind and arguments.variant in ("trueline", "adopted"):
        from trueline.instrumentation import bind_identity

        bind = lambda user_id: bind_identity(str(user_id))  # noqa: E731
    if arguments.driver == "asyncpg":
        async_engine = create_async_engine(url, pool_size=POOL, max_overflow=0)
        losses = switch_on(arguments.variant, async_engine.sync_engine, arguments.endpoint)
        async_routes(app, async_engine, bind)
    else:
        engine = create_engine(url, pool_size=POOL, max_overflow=0)
        losses = switch_on(arguments.variant, engine, arguments.endpoint)
        sync_routes(app, engine, bind)
    watch = Watch(app)
    bench_routes(app, watch, losses)

    # The protocol is named as uvicorn itself would: asyncio switches Nagle's algorithm off only then.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
    config = uvicorn.Config(
        watch, loop="asyncio", http="httptools", access_log=False, log_level="warning", timeout_keep_alive=600
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
