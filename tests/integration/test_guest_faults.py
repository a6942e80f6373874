"""Faults at every hook: whatever function of the instrumentation fails, the application sees no difference.

The functions are found by running the application and seeing which are called; those of the hooks' modules
that it does not call have to be named here with a reason. A new hook is thus either broken here or makes a
test fail.
"""

from __future__ import annotations

import ast
import contextvars
import inspect
import itertools
import textwrap
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from opentelemetry.context import attach, detach, get_current
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from support import faults
from support.guest_work import DRIVERS, Seen, work
from support.matrix import url_for

from trueline.instrumentation import guard, instrument, uninstrument
from trueline.instrumentation.exporter import OtlpExporter
from trueline.instrumentation.losses import Losses

pytestmark = pytest.mark.sqlalchemy_rest


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")

    __repr__ = __str__


KINDS: dict[str, Callable[[], Exception]] = {
    "RuntimeError": lambda: RuntimeError("injected"),
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "AttributeError": lambda: AttributeError("injected"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "injected"),
    "StopIteration": StopIteration,
    "Unprintable": UnprintableError,
}
MOMENTS = ("at the call", "after it")

#: Called by the application, SQLAlchemy or OpenTelemetry themselves: nothing of ours is around them. What
#: they call is broken here all the same; each only does what is guarded, or cannot fail.
IN_A_TRY = "all of it is in a try"

BOUNDARY = {
    "guard:guarded.<locals>.decorate.<locals>.wrapper": "the wall itself; see test_guard.py",
    "guard:guarded": "makes the wall, where an application is made",
    "guard:guarded.<locals>.decorate": "makes the wall, where an application is made",
    "guard:report": "the wall itself",
    "guard:swallow": "the wall itself",
    "dialects:_watched_execute.<locals>.do_execute": "passes the driver's call on",
    "dialects:_watched_execute_no_params.<locals>.do_execute_no_params": "passes the driver's call on",
    "dialects:_watched_commit.<locals>.do_commit": "passes the driver's call on",
    "dialects:_watched_rollback.<locals>.do_rollback": "passes the driver's call on",
    "dialects:_watched_prepare.<locals>.do_prepare_twophase": "passes the driver's call on",
    "dialects:_deciding.<locals>.decide": "passes the driver's call on",
    "ending:committed": IN_A_TRY,
    "ending:state_in_transaction": IN_A_TRY,
    "dialects:_watched_executemany.<locals>.do_executemany": "passes the driver's call on",
    "execution:begin": IN_A_TRY,
    "execution:changes_before": IN_A_TRY,
    "execution:ran": IN_A_TRY,
    "execution:failed": IN_A_TRY,
    "async_exit:_watched_exit.<locals>.wrapper": "passes SQLAlchemy's coroutine on",
    "async_exit:_watched_call.<locals>.wrapper": "passes SQLAlchemy's coroutine on",
    "holder:_run": "the thread itself: a loop of which each turn is in a try",
    "exporter:CountingBatchProcessor.on_end": IN_A_TRY,
    "entry:EntryProcessor.on_start": IN_A_TRY,
    "entry:EntryProcessor.on_end": "one comparison and a guarded call",
    "entry:EntryProcessor.force_flush": IN_A_TRY,
    "block:Block.__enter__": "calls a guarded method",
    "block:Block.__exit__": "calls a guarded method",
    "block:Block.__aenter__": "calls a guarded method",
    "block:Block.__aexit__": "calls a guarded method",
    "block:Block.__init__": "sets attributes",
    "binding:bind_identity.__init__": "sets attributes",
    "binding:bind_message.__init__": "sets attributes",
    "ai.calls:ai_call.__init__": "sets attributes",
    "ai.calls:ai_call.__call__": "a guarded method, or the application's own function",
    "ai.calls:_Decorated.__init__": "sets attributes",
    "connection:ConnectionState.__del__": IN_A_TRY,
    "binding:bind_identity.__call__": "a guarded method, or the application's own function",
    "decorating:decorate.<locals>.step": "a guarded method, or nothing",
    "decorating:_Nothing.begin": "does nothing",
    "decorating:_Nothing.pause": "does nothing",
    "decorating:_Nothing.end": "does nothing",
    "decorating:_plain.<locals>.wrapper": "passes the application's call on",
    "decorating:_coroutine.<locals>.wrapper": "passes the application's coroutine on",
    "propagation:propagate": "a guarded function, or the application's own",
    "propagation:propagating": "a guarded function",
    "propagation:_make_propagating.<locals>.propagating_submit": "passes the executor's call on",
    "propagation:Propagated.__call__": "passes the application's call on",
    "propagation:Propagated._awaited": "passes the application's coroutine on",
    "propagation:Propagated.__reduce__": "a guarded function",
    "propagation:_plainly": "returns its argument",
}


# Middleware, wrapped functions of other libraries, imports.
BOUNDARY |= {
    "frameworks.asgi:TruelineMiddleware.__init__": "sets attributes",
    "frameworks.asgi:TruelineMiddleware.__call__": "passes the application's coroutine on",
    "frameworks.asgi:_Exchange.read_body": "passes the server's coroutine on",
    "frameworks.asgi:_Exchange.receive": "passes the server's coroutine on",
    "frameworks.asgi:_Exchange.send": "passes the server's coroutine on",
    "frameworks.asgi:_Exchange._next": "passes the server's coroutine on",
    "frameworks.fastapi:bound_to": "makes a dependency",
    "frameworks.flask:init_app": "called once, where the application is made",
    "frameworks.jobs:Ticket.__init__": "sets an attribute",
    "frameworks.entry:Entry.__init__": "sets attributes",
    "frameworks.jobs:Job.__aenter__": "calls a guarded method",
    "frameworks.jobs:Job.__aexit__": "calls a guarded method",
    "frameworks.jobs:Job.__enter__": "calls a guarded method",
    "frameworks.jobs:Job.__exit__": "calls a guarded method",
    "frameworks.jobs:Job.__init__": "sets attributes",
    "frameworks.jobs:Ticket.from_headers": "a guarded function",
    "frameworks.jobs:Ticket.headers": "copies a dictionary",
    "frameworks.jobs:Ticket.job": "makes a block",
    "frameworks.jobs:carry": "a guarded function",
    "frameworks.propagator:BoundPropagator.extract": "a guarded function",
    "frameworks.propagator:BoundPropagator.fields": "a constant",
    "frameworks.rq:wrap.<locals>.created": "passes RQ's call on",
    "frameworks.rq:wrap.<locals>.performed": "passes RQ's call on",
    "frameworks.wsgi:TruelineMiddleware.__init__": "sets attributes",
    "frameworks.wsgi:TruelineMiddleware.__call__": "passes the application's call on",
    "frameworks.wsgi:TruelineMiddleware.__call__.<locals>.started": "passes the server's call on",
    "frameworks.wsgi:_Body.__init__": "calls the application's iterable",
    "frameworks.wsgi:_Body.__iter__": "returns itself",
    "frameworks.wsgi:_SizedBody.__len__": "passes the server's call on",
    "frameworks.wsgi:_Body.__next__": "passes the server's call on",
    "frameworks.wsgi:_Body.close": "passes the server's call on",
    "imported:_Finder.find_spec": "one look into a dictionary and a guarded function",
    "imported:_Loader.__getattr__": "the loader's own attribute",
    "imported:_Loader.__init__": "sets attributes",
    "imported:_Loader.create_module": "passes the import on",
    "imported:_Loader.exec_module": "passes the import on",
    "imported:when_imported": "called where Trueline is switched on, which is guarded",
    "logs.watching:LogWatch._logged.<locals>._log": "passes loguru's call on",
    "logs.watching:LogWatch._processed.<locals>._process_event": "passes structlog's call on",
    "logs.watching:LogWatch._standard.<locals>.callHandlers": "passes logging's call on",
    "logs.watching:LogWatch.counts": "read where the application asks for status()",
    "frameworks.watching:watched": "read where the application asks for status()",
}

# What instrument() and uninstrument() are called by is the application.
BOUNDARY |= {
    "setup:instrument": "an impossible setting is raised on purpose; else all of it is guarded",
    "setup:uninstrument": "a lock and a guarded call",
    "options:resolve": "an impossible setting is raised on purpose",
}


class Reading(SpanExporter):
    """Reads everything and encodes it. Its own errors are its processor's to bear, as with any exporter."""

    def __init__(self) -> None:
        self.failures = 0
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            for span in spans:
                span.to_json()
                self.spans += 1
            OtlpExporter(Losses(), endpoint="http://127.0.0.1:9").encode(spans)
        except Exception:
            self.failures += 1
        return SpanExportResult.SUCCESS


def guest(
    url: Any, driver: str, spans: str, at_work: AbstractContextManager[Any] | None = None
) -> tuple[Seen, int]:
    """The application with Trueline as in production, from switching on to switching off.

    What it saw, and how many internal errors were counted. ``at_work`` is entered when Trueline is on.
    """
    guard.internal_errors.clear()
    reading = Reading()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(reading))
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(InMemoryLogRecordExporter()))  # type: ignore[no-untyped-call]
    try:
        instrument(tracer_provider=provider, logger_provider=loggers, spans=spans, hold=0.01)
        with at_work or nullcontext():
            # In a context of its own: a fault where a block ends can leave its binding behind.
            seen = contextvars.copy_context().run(work, url, DRIVERS[driver])
            provider.force_flush()
    finally:
        uninstrument()
    failures = sum(guard.internal_errors.values()) + reading.failures
    guard.internal_errors.clear()
    return seen, failures


def fault(name: str, kind: str, moment: str, hits: set[str]) -> Callable[..., Any]:
    def behaviour(_: str, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if moment == "after it":
            original(*args, **kwargs)
        hits.add(name)
        raise KINDS[kind]()

    return behaviour


def breakable() -> dict[str, list[FunctionType]]:
    return {
        name: group
        for name, group in faults.functions().items()
        if name not in BOUNDARY and all(map(faults.can_be_replaced, group))
    }


@pytest.fixture(autouse=True)
def same_context_afterwards() -> Iterator[None]:
    """A block whose end is broken leaves its span current: for the application, not for other tests."""
    token = attach(get_current())
    yield
    detach(token)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in production: without one nothing is hashed, and jobs take nobody along."""
    monkeypatch.setenv("TRUELINE_HASH_SECRET", "guest")


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=("own", "contrib"))
def spans(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return url_for(driver, request, tmp_path)


@pytest.mark.parametrize("spans", ["own", pytest.param("contrib", marks=pytest.mark.nightly)])
def test_without_a_fault_the_application_sees_no_difference(driver: str, spans: str, url: Any) -> None:
    expected = work(url, DRIVERS[driver])
    assert guest(url, driver, spans) == (expected, 0)


TURNS = 8
#: One that blocks and one that awaits.
BY_DEFAULT = {("pysqlite", "own"), ("asyncpg", "own")}


@pytest.mark.parametrize(
    ("driver", "spans"),
    [
        pytest.param(*both, marks=() if both in BY_DEFAULT else pytest.mark.nightly)
        for both in itertools.product(DRIVERS, ("own", "contrib"))
    ],
)
def test_faults_everywhere(driver: str, spans: str, url: Any) -> None:
    """An eighth of all functions at a time fails, at every third call; kinds and moments take turns."""
    expected = work(url, DRIVERS[driver])
    everything = breakable()
    names = sorted(everything)
    combinations = list(itertools.product(KINDS, MOMENTS))
    hit: set[str] = set()
    for turn in range(TURNS):
        calls: Counter[str] = Counter()

        def every_third(
            name: str, original: Any, args: Any, kwargs: Any, calls: Counter[str] = calls, turn: int = turn
        ) -> Any:
            calls[name] += 1
            if calls[name] % 3 != 1:
                return original(*args, **kwargs)
            kind, moment = combinations[(turn + calls[name] + len(name)) % len(combinations)]
            return fault(name, kind, moment, hit)(name, original, args, kwargs)

        chosen = {name: everything[name] for name in names[turn::TURNS]}
        seen, failures = guest(url, driver, spans, faults.all_replaced(chosen, every_third))
        assert seen == expected
        assert failures
    assert len(hit) > 100, sorted(hit)


#: ``-k shard_3`` runs a sixteenth of the functions: a few minutes.
SHARDS = 16
PAIRS = tuple(itertools.product(DRIVERS, ("own", "contrib")))
COMBINATIONS = tuple(itertools.product(KINDS, MOMENTS))


def ways(name: str, reached: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Every kind and moment for one function, over the drivers and sources that reach it in turn."""
    start = zlib.crc32(name.encode())
    for number, combination in enumerate(COMBINATIONS):
        yield reached[(start + number) % len(reached)], combination


@pytest.mark.nightly
@pytest.mark.parametrize("shard", [f"shard_{number}" for number in range(SHARDS)])
def test_each_function_broken_for_good_in_each_way(
    shard: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    everything = breakable()
    names = sorted(everything)[int(shard.removeprefix("shard_")) :: SHARDS]
    urls = {driver: url_for(driver, request, tmp_path) for driver in DRIVERS}
    expected = {driver: work(urls[driver], DRIVERS[driver]) for driver in DRIVERS}
    chosen = {name: everything[name] for name in names}
    reaching: dict[str, list[tuple[str, str]]] = {}
    for pair in PAIRS:
        driver, spans = pair
        for name in faults.reached_by(lambda d=driver, s=spans: guest(urls[d], d, s), chosen):  # type: ignore[misc]
            reaching.setdefault(name, []).append(pair)
    assert len(reaching) > len(names) / 4, "the application reaches next to nothing"
    wrong: list[str] = []
    for name, pairs in sorted(reaching.items()):
        for (driver, spans), (kind, moment) in ways(name, pairs):
            hits: set[str] = set()
            with faults.all_replaced({name: everything[name]}, fault(name, kind, moment, hits)):
                seen, failures = guest(urls[driver], driver, spans)
            where = f"{kind} in {name}, {moment}, {driver} with {spans} spans"
            if seen != expected[driver]:
                wrong.append(f"{where}: the application saw it")
            # An AttributeError is also how another release of SQLAlchemy shows itself, and is then no error.
            if hits and not failures and kind != "AttributeError":
                wrong.append(f"{where}: not counted")
    assert wrong == []


#: Modules with hooks: each of their functions is broken above, or named here with the reason why it is not.
HOOK_MODULES = {
    *("ai.calls", "ai.conventions", "ai.hosts", "ai.problems", "ai.watching", "imported"),
    *("frameworks.asgi", "frameworks.celery", "frameworks.entry", "frameworks.fastapi", "frameworks.flask"),
    *("frameworks.jobs", "frameworks.propagator", "frameworks.request", "frameworks.rq"),
    *("frameworks.watching", "frameworks.wsgi"),
    *(
        "logs.database_text",
        "logs.emitter",
        "logs.enriching",
        "logs.line",
        "logs.relay",
        "logs.standard",
        "logs.watching",
    ),
    *("ambient", "async_exit", "binding", "block", "connection", "connections", "database"),
    *("database_errors", "dialects", "drivers", "ending", "entry", "execution", "fingerprint", "isolation"),
    "listeners",
    *("losses", "holder", "records", "runtime", "scope", "spans", "transaction"),
    *(
        "autocommit",
        "causes",
        "place",
        "statement_span",
        "transaction_span",
        "bound",
        "decorating",
        "propagation",
    ),
}
#: Answered from a cache once they were called in this process.
CACHED = {
    "transaction_span:_counts",
    "transaction_span:_encoded_level",
    "statement_span:_encoded_rows",
    "place:encoded_key_id",
    "logs.standard:_is_otel_handler",
}
#: Called if a statement leaves before its savepoint ends, or in our thread: it depends on the machine.
#: Or once a block of this process was left elsewhere, by another test.
BY_CHANCE = {"bound:tidied", "ambient:new_trace_id", "records:StatementRecord.span_id"}
NOT_CALLED = {
    "ai.conventions:_place": "of HTTP requests to models; see test_ai_http.py",
    "ai.hosts:ModelHosts._look": "of HTTP requests to models; see test_ai_http.py",
    "ai.hosts:ModelHosts.has": "of HTTP requests to models; see test_ai_http.py",
    "bound:Entered.revoke": "below guarded methods, where a block is left elsewhere; see test_binding.py",
    "decorating:Step.begin": "a protocol",
    "decorating:Step.end": "a protocol",
    "decorating:Step.pause": "a protocol",
    "propagation:_Elsewhere.__str__": "below the extractor; see test_propagation.py",
    "block:Block._begin": "abstract",
    "block:Block._end": "abstract",
    "connection:ConnectionState.fetch_failed": "below a guarded listener; see tests/conformance",
    "causes:session_rollback_is_running": "below a guarded hook; see test_outcomes_found.py",
    "connections:ConnectionDied.__init__": "where a server dies; see test_probe.py",
    "connections:_is_closed": "where a server dies; see test_probe.py",
    "database_errors:_mysql": "no MySQL here",
    "database_errors:_detached": "only where a log tells of a detached object; see test_log_lines.py",
    "drivers:_psycopg2": "as drivers:_psycopg; see the conformance matrix",
    "drivers:_psycopg_async": "as drivers:_psycopg; see the conformance matrix",
    "entry:EntryProcessor._with_events": "only of contrib's spans with events; guarded",
    "entry:EntryProcessor.shutdown": "force_flush under another name",
    "fingerprint:_memory_of": "below probe; see test_fingerprint_sqlite.py",
    "fingerprint:_mysql": "no MySQL here",
    "fingerprint:mysql_facts": "no MySQL here",
    "holder:Holder.after_fork": "in a forked child; see test_holder.py",
    "logs.enriching:Enricher.enabled": "a constant",
    "logs.enriching:Enricher.force_flush": "does nothing",
    "logs.enriching:Enricher.shutdown": "does nothing",
    "logs.standard:OtlpHandler.<lambda>": "where a handler is used alone",
    "logs.standard:OtlpHandler.handleError": "does nothing",
    "losses:Losses.add": "only where spans are lost",
    "losses:Losses.after_fork": "in a forked child",
    "spans:SpanBuilder._end_adopted": "in Trueline's thread, where the tracer provider is not the SDK's",
    "statement_span:AdoptedSpan.attributes_beside": "below SpanBuilder._end_adopted",
    "transaction:Transaction.is_empty": "one comparison, below guarded hooks",
    "transaction:Statement.many": "a protocol",
    "transaction:Statement.span_id": "a protocol",
}


def test_no_hook_is_forgotten(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    everything = {
        name: group for name, group in faults.functions().items() if all(map(faults.can_be_replaced, group))
    }
    reached: set[str] = set()
    for driver, spans in [*itertools.product(DRIVERS, ("own",)), ("pysqlite", "contrib")]:
        url = url_for(driver, request, tmp_path)
        reached |= faults.reached_by(lambda u=url, d=driver, s=spans: guest(u, d, s), everything)  # type: ignore[misc]
    hooks = {name for name in everything if name.split(":")[0] in HOOK_MODULES}
    forgotten = sorted(hooks - reached - CACHED - BY_CHANCE - NOT_CALLED.keys() - BOUNDARY.keys())
    assert forgotten == [], f"neither broken here nor named: {chr(10).join(forgotten)}"
    assert sorted(NOT_CALLED.keys() & reached) == [], "they are called: take them off the list"
    named = {name for name in NOT_CALLED.keys() | BOUNDARY.keys() if "<locals>" not in name}
    assert sorted(named - everything.keys()) == [], "they are gone"


@pytest.mark.parametrize("name", sorted(name for name, reason in BOUNDARY.items() if reason == IN_A_TRY))
def test_a_boundary_said_to_be_in_a_try_is(name: str) -> None:
    (function, *_) = faults.functions()[name]
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    body = [
        node
        for node in definition.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert isinstance(body[0], ast.Try)
    assert all(isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) for node in body[1:])
    caught = {ast.unparse(handler.type) for handler in body[0].handlers if handler.type is not None}
    assert "Exception" in caught
