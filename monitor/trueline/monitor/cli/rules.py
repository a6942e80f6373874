"""``trueline rules``: which rules there are, whether files are right, and whether their tests pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trueline.monitor.engine.rule import Rule
    from trueline.monitor.store.client import Store

_PATHS = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Rule files or folders; the shipped rules if none is given."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    rules = typer.Typer(
        help="The rules. Exit status: 0, 1 if a rule's test fails, 2 for a file that cannot be used and for "
        "a monitor that cannot be asked.",
        no_args_is_help=True,
    )
    rules.command("list")(list_rules)
    rules.command("check")(check)
    rules.command("test")(run_tests)
    app.add_typer(rules, name="rules")


def list_rules(
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """List the rules of the running monitor and how they do."""
    from trueline.monitor.cli.client import ask

    answer = ask("GET", "/api/v1/rules")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("rule", "version", "severity", "state", "active findings"):
        table.add_column(title, no_wrap=True)
    table.add_column("title", overflow="fold")
    for rule in answer["items"]:
        said = Text(f"{rule['title']}" + (f" ({rule['error']})" if rule["error"] else ""))
        number = str(rule["active_findings"])
        table.add_row(rule["id"], str(rule["version"]), rule["severity"], rule["state"], number, said)
    make_console().print(table)
    for problem in answer["problems"]:
        typer.echo(f"cannot be used: {problem}", err=True)


def check(paths: _PATHS = None) -> None:
    """Read rule files and say what is wrong with them, with file, line and column."""
    rules = _load(paths)
    typer.echo(f"{len(rules)} rule{'' if len(rules) == 1 else 's'}: all can be used")


def run_tests(
    paths: _PATHS = None,
    only: Annotated[list[str] | None, typer.Option("--rule", help="Only the rule with this id.")] = None,
) -> None:
    """Run the tests in rule files on a store of their own, in a temporary folder."""
    import tempfile

    from trueline.monitor.settings import StoreSettings
    from trueline.monitor.store.client import open_store
    from trueline.monitor.store.migrate import migrate

    rules = [rule for rule in _load(paths) if not only or rule.id in only]
    unknown = sorted(set(only or ()) - {rule.id for rule in rules})
    if unknown:
        raise typer.BadParameter(f"there is no rule {unknown[0]}", param_hint="--rule")
    with tempfile.TemporaryDirectory(prefix="trueline-rules-") as folder:
        store = open_store(StoreSettings(data_dir=Path(folder)))
        try:
            migrate(store)
            failed = sum(_test(rule, store) for rule in rules)
        finally:
            store.close()
    if failed:
        typer.echo(f"{failed} failed", err=True)
        raise typer.Exit(1)


def _load(paths: list[Path] | None) -> list[Rule]:
    """The rules; RuleFileError, after all problems have been printed, where a file cannot be used."""
    from trueline.monitor.engine.load import RuleFileError, load_rules
    from trueline.monitor.resources import rule_paths

    loaded = load_rules(rule_paths(paths or []))
    if loaded.problems:
        for problem in loaded.problems[1:]:
            typer.echo(f"trueline: {problem}", err=True)
        raise RuleFileError(list(loaded.problems[:1]))
    return list(loaded.rules)


def _test(rule: Rule, store: Store) -> int:
    """Run one rule's tests, print how they went, and return how many failed."""
    from datetime import UTC, datetime

    from trueline.monitor.engine.evaluate import select
    from trueline.monitor.engine.rule_rows import TOUCHED_TABLES
    from trueline.monitor.engine.rule_tests import run_rule_tests

    def query(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return store.query_read_only(sql, parameters).dicts()

    def clear() -> None:
        for table in TOUCHED_TABLES:
            store.command(f"TRUNCATE TABLE {table}")

    results = run_rule_tests(
        rule,
        query=lambda _, parameters: select(rule, parameters, query),
        insert=store.insert,
        clear=clear,
        now=datetime.now(UTC),
    )
    failed = [result for result in results if not result.passed]
    typer.echo(f"{rule.id}: {len(results) - len(failed)} of {len(results)} tests pass")
    for result in failed:
        typer.echo(f"  FAILED {result.name}", err=True)
        for problem in result.problems:
            typer.echo(f"    {problem}", err=True)
    return len(failed)
