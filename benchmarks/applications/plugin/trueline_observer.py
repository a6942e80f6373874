"""A pytest plugin for the tests of somebody else's application: how they end, and what they write and read.

It runs in the application's own environment, beside its own plugins and outside its tree::

    PYTHONPATH=.../applications/plugin:.../instrumentation python -m pytest -p trueline_observer

TRUELINE_OBSERVER is a JSON object: ``run`` is ``bare`` (Trueline is not even imported), ``zero-code`` (it
was started before), ``default`` or ``configured``; ``out`` is the folder for the result, one file a process;
``identities`` are arguments of IdentityConfig; ``setup`` is a file of the recipe's that a user would have as
code, run before the tests.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
from collections import Counter
from typing import Any

import pytest

SETTINGS: dict[str, Any] = json.loads(os.environ.get("TRUELINE_OBSERVER", '{"run": "bare"}'))
#: Distinct statements kept; an application has some hundreds, with its IN lists some thousands.
MAX_STATEMENTS = 50_000
#: The entry that statements of Alembic's migrations are given: they change everybody's data at once.
MIGRATION = "alembic migration"
RANKS = {"passed": 0, "xfailed": 1, "xpassed": 1, "skipped": 1, "failed": 2, "error": 3}


class Observer:
    """Takes each finished statement span in at once, and each test's result."""

    def __init__(self) -> None:
        self.statements: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.outcomes: Counter[str] = Counter()
        self.tests: dict[str, str] = {}
        self.left_out = 0

    # -- a span processor ---------------------------------------------------------------------------------

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Nothing: Trueline's spans arrive when they have ended."""

    def _on_ending(self, span: Any) -> None:
        """Nothing likewise."""

    def on_end(self, span: Any) -> None:
        """Count a statement."""
        said = span.attributes or {}
        kind = said.get("trueline.statement.kind")
        if kind is None:
            return
        columns = tuple(said.get("trueline.identity.columns", ()))
        clauses = tuple(said.get("trueline.identity.clauses", ()))
        domains = tuple(said.get("trueline.identity.domains", ()))
        uses = tuple(sorted(set(zip(columns, domains, clauses, strict=True))))
        bound = bool(said.get("trueline.identity.bound"))
        row = bool(said.get("trueline.identity.row"))
        text = str(said.get("db.query.text", ""))
        migration = said.get("trueline.entry.name") == MIGRATION
        key = (kind, text, uses, row, bound, migration)
        known = self.statements.get(key)
        if known is None:
            if len(self.statements) >= MAX_STATEMENTS:
                self.left_out += 1
                return
            tables = list(said.get("trueline.statement.tables", ()))
            known = self.statements[key] = {
                "kind": kind,
                "operation": said.get("db.operation.name", ""),
                "tables": tables,
                "identities": [list(use) for use in uses],
                "row": row,
                "bound": bound,
                "migration": migration,
                "text": text,
                "count": 0,
                "rows": 0,
            }
        known["count"] += 1
        rows = said.get("trueline.statement.rows")
        known["rows"] += said.get("db.operation.batch.size", 1) if rows is None else rows
        if kind == "write":
            self.outcomes[str(said.get("trueline.transaction.outcome", ""))] += 1

    def shutdown(self) -> None:
        """Nothing: the file is written when pytest ends."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back here."""
        return True

    # -- a pytest plugin ----------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The worst of set-up, call and teardown is how a test ended."""
        result: str = report.outcome
        if hasattr(report, "wasxfail"):
            result = "xfailed" if report.skipped else "xpassed"
        elif report.failed and report.when != "call":
            result = "error"
        before = self.tests.get(report.nodeid)
        if before is None or RANKS[result] > RANKS[before]:
            self.tests[report.nodeid] = result

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported is a result too."""
        if report.outcome != "passed":
            self.tests[f"{report.nodeid} (collection)"] = "error" if report.failed else "skipped"

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Let go what is held, and write everything down."""
        faults: dict[str, int] = {}
        losses: dict[str, int] = {}
        if SETTINGS["run"] != "bare":
            from trueline.instrumentation import setup

            setup.uninstrument()
            faults = setup.status()["internal_errors"]
            losses = setup.status()["losses"]
        path = os.path.join(SETTINGS["out"], f"{SETTINGS['run']}-{os.getpid()}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(
                {
                    "tests": self.tests,
                    "statements": list(self.statements.values()),
                    "outcomes": self.outcomes,
                    "left_out": self.left_out,
                    "faults": faults,
                    "losses": losses,
                    "schema": schema(),
                },
                file,
            )


def schema() -> dict[str, dict[str, Any]]:
    """Every table that is declared in the process: its columns, and which tables they refer to.

    Asked of SQLAlchemy, not of Trueline: whose a table is must not depend on what is measured. Of several
    declarations (migrations make small ones) the one with the most columns counts.
    """
    try:
        from sqlalchemy import Table
    except ImportError:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for one in gc.get_objects():
        if isinstance(one, Table):
            name = str(one.fullname).lower()
            if name not in found or len(one.columns) > len(found[name]["columns"]):
                references: dict[str, list[str]] = {}
                for key in one.foreign_keys:
                    target = key.target_fullname.rpartition(".")[0].lower()
                    references.setdefault(key.parent.name.lower(), []).append(target)
                found[name] = {
                    "columns": sorted(column.name.lower() for column in one.columns),
                    "references": {column: sorted(of) for column, of in sorted(references.items())},
                }
    return dict(sorted(found.items()))


OBSERVER = Observer()


def _instrument() -> None:
    # A secret, so that identities leave the process whatever the exporter is.
    os.environ["TRUELINE_HASH_SECRET"] = "not a secret: the public tests of a public application"
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import TracerProvider

    from trueline.instrumentation import Domain, IdentityConfig, instrument

    provider = TracerProvider()
    provider.add_span_processor(OBSERVER)  # type: ignore[arg-type]  # the methods that it calls
    identities = dict(SETTINGS.get("identities") or {}) if SETTINGS["run"] == "configured" else {}
    if "domains" in identities:
        identities["domains"] = {name: Domain(**one) for name, one in identities["domains"].items()}
    instrument(
        service_name="application",
        tracer_provider=provider,
        logger_provider=LoggerProvider(),
        logs=False,
        identities=IdentityConfig(**identities),
    )
    _name_migrations(provider)
    if SETTINGS["run"] == "configured" and SETTINGS.get("setup"):
        runpy.run_path(SETTINGS["setup"])


def _name_migrations(provider: Any) -> None:
    """Each migration is an entry of its own, as a user's script would open one around it."""
    try:
        context: Any = importlib.import_module("alembic.runtime.migration").MigrationContext
    except ImportError:  # the application has none
        return
    from opentelemetry.context import Context

    run_migrations = context.run_migrations
    tracer = provider.get_tracer("trueline_observer")

    def named(self: Any, *args: Any, **kwargs: Any) -> Any:
        with tracer.start_as_current_span(MIGRATION, context=Context()):
            return run_migrations(self, *args, **kwargs)

    context.run_migrations = named


def pytest_configure(config: pytest.Config) -> None:
    """The observer sees every report."""
    config.pluginmanager.register(OBSERVER, "trueline_observer_reports")


# Now: this plugin is imported before the application and its conftest.
if SETTINGS["run"] in ("default", "configured"):
    _instrument()
