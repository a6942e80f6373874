"""``trueline rules check`` and ``test``: whether rule files are right. Both work without a monitor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trueline.monitor.engine.load import Problem
    from trueline.monitor.engine.rule import Rule
    from trueline.monitor.engine.rule_tests import RuleTestResult
    from trueline.monitor.store.client import Store

_PATHS = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Rule files or folders; the shipped rules if none is given."),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def check(
    paths: _PATHS = None,
    as_json: _JSON = False,
    monitor: Annotated[
        bool,
        typer.Option(
            "--monitor", help="Ask the running monitor too: is what the rules read known, does it arrive?"
        ),
    ] = False,
) -> None:
    """Read rule files and say all that is wrong with them, with file, line and column."""
    rules, problems = _load(paths)
    told = [
        {"path": str(one.path), "line": one.line, "column": one.column, "message": one.message}
        for one in problems
    ]
    notes: list[str] = []
    if monitor:
        for rule in rules:
            said, seen = _ask_monitor(rule)
            told += [{"path": str(rule.path), "line": 1, "column": 1, "message": message} for message in said]
            notes += seen
    if as_json:
        typer.echo(
            json.dumps({"rules": [rule.id for rule in rules], "problems": told, "notes": notes}, indent=2)
        )
    else:
        for one in told:
            typer.echo(f"trueline: {one['path']}:{one['line']}:{one['column']}: {one['message']}", err=True)
        for note in notes:
            typer.echo(note)
        if not told:
            typer.echo(f"{len(rules)} rule{'' if len(rules) == 1 else 's'}: all can be used")
    if told:
        raise typer.Exit(2)


def _ask_monitor(rule: Rule) -> tuple[list[str], list[str]]:
    """Problems that only the store knows, and remarks on what never arrives."""
    from trueline.monitor.cli.client import ask

    answer = ask("POST", "/api/v1/rules/check", body={"text": rule.path.read_text(encoding="utf-8")})
    return list(answer["problems"]), absent_notes(rule.id, answer["absent"])


def absent_notes(rule: str, absent: Mapping[str, Any] | None) -> list[str]:
    """Sentences on what a rule reads and of which nothing arrived."""
    notes = []
    if absent and absent["tables"]:
        tables = ", ".join(absent["tables"])
        notes.append(f"{rule} cannot fire: nothing arrived in {tables} in the last 24 hours.")
    elif absent and absent["attributes"]:
        names = ", ".join(absent["attributes"])
        notes.append(
            f"{rule} has not seen {names} in the last 24 hours; if services should send that, it is blind "
            "for them (trueline coverage)."
        )
    return notes


def run_tests(
    paths: _PATHS = None,
    only: Annotated[list[str] | None, typer.Option("--rule", help="Only the rule with this id.")] = None,
    as_json: _JSON = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every test with its time.")] = False,
) -> None:
    """Run the tests in rule files on an engine of their own, in a temporary folder."""
    import tempfile

    from trueline.monitor.engine.load import RuleFileError
    from trueline.monitor.settings import StoreSettings
    from trueline.monitor.store.client import open_store
    from trueline.monitor.store.migrate import migrate

    loaded, problems = _load(paths)
    if problems:
        for problem in problems[1:]:
            typer.echo(f"trueline: {problem}", err=True)
        raise RuleFileError(list(problems[:1]))
    rules = [rule for rule in loaded if not only or rule.id in only]
    unknown = sorted(set(only or ()) - {rule.id for rule in rules})
    if unknown:
        raise typer.BadParameter(f"there is no rule {unknown[0]}", param_hint="--rule")
    results: dict[str, list[RuleTestResult]] = {}
    with tempfile.TemporaryDirectory(prefix="trueline-rules-") as folder:
        store = open_store(StoreSettings(data_dir=Path(folder)))
        try:
            migrate(store)
            for rule in rules:
                results[rule.id] = _test(rule, store)
                if not as_json:
                    _print(rule, results[rule.id], verbose)
        finally:
            store.close()
    failed = sum(not result.passed for listed in results.values() for result in listed)
    if as_json:
        listed = [
            {
                "rule": rule_id,
                "name": one.name,
                "passed": one.passed,
                "milliseconds": round(one.milliseconds, 1),
                "problems": list(one.problems),
            }
            for rule_id, of_rule in results.items()
            for one in of_rule
        ]
        typer.echo(json.dumps({"tests": listed, "failed": failed}, indent=2))
    elif failed:
        typer.echo(f"{failed} failed", err=True)
    if failed:
        raise typer.Exit(1)


def _load(paths: list[Path] | None) -> tuple[list[Rule], list[Problem]]:
    """The rules in the files, and what is wrong there; overrides in them are fitted to the shipped rules."""
    from trueline.monitor.engine.load import load_rules, read_files
    from trueline.monitor.resources import shipped

    folder = shipped("rules")
    asked = set(read_files(paths)[0]) if paths else set()
    loaded = load_rules([folder, *(paths or [])], folder)
    if not paths:
        return list(loaded.rules), list(loaded.problems)
    theirs = {file.resolve() for file in asked}
    return (
        [rule for rule in loaded.rules if {rule.path.resolve(), _override(rule)} & theirs],
        [
            one
            for one in loaded.problems
            if not one.path.is_relative_to(folder) or one.path.resolve() in theirs
        ],
    )


def _override(rule: Rule) -> Path | None:
    return rule.override_path.resolve() if rule.override_path else None


def _test(rule: Rule, store: Store) -> list[RuleTestResult]:
    """Run one rule's tests."""
    from datetime import UTC, datetime

    from trueline.monitor.engine.rule_rows import TOUCHED_TABLES
    from trueline.monitor.engine.rule_tests import run_rule_tests

    def query(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return store.query_read_only(sql, parameters).dicts()

    def clear() -> None:
        for table in TOUCHED_TABLES:
            store.command(f"TRUNCATE TABLE {table}")

    return run_rule_tests(
        rule,
        query=query,
        insert=store.insert,
        clear=clear,
        now=datetime.now(UTC),
    )


def _print(rule: Rule, results: list[RuleTestResult], verbose: bool) -> None:
    """One line a rule, and what failed."""
    passed = sum(result.passed for result in results)
    took = sum(result.milliseconds for result in results)
    typer.echo(f"{rule.id}: {passed} of {len(results)} tests pass ({took:.0f} ms)")
    if not results:
        typer.echo("  it has none: say with rows what it finds, and what it leaves alone", err=True)
    for result in results:
        if not result.passed:
            typer.echo(f"  FAILED {result.name}", err=True)
        elif verbose:
            typer.echo(f"  {result.milliseconds:6.0f} ms  {result.name}")
        for problem in result.problems:
            typer.echo(f"    {problem}", err=True)
