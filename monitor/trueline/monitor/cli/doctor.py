"""``trueline doctor``: what is not as it should be, of this installation or of one service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trueline.monitor.cli.since import check_since

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that a check found: a sentence, and the way out; ``well`` where there is nothing to mend."""

    sentence: str
    way_out: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing is to be done."""
        return not self.way_out


#: Looks at one thing and yields a remark for each of its aspects; raises nothing that a user can cause.
Check = Callable[[], Iterator[Remark]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    doctor = typer.Typer(
        help="What is not as it should be, with the way out. Exit status: 0, 1 for something to mend, "
        "2 where a service cannot be asked about. Inside of one: python -m trueline.instrumentation doctor.",
        invoke_without_command=True,
    )
    doctor.callback()(installation)
    doctor.command("service")(service)
    app.add_typer(doctor, name="doctor")


def installation(context: typer.Context) -> None:
    """Check this installation of the monitor."""
    if context.invoked_subcommand is not None:
        return
    mend = False
    for title, check in CHECKS.items():
        for remark in check():
            mend |= not remark.well
            typer.echo(f"{'ok  ' if remark.well else 'MEND'}  {title}: {remark.sentence}")
            if remark.way_out:
                typer.echo(f"      {remark.way_out}")
    raise typer.Exit(1 if mend else 0)


def _settings() -> Iterator[Remark]:
    from trueline.monitor.errors import SettingsError
    from trueline.monitor.settings import load_settings

    try:
        settings = load_settings()
    except SettingsError as error:
        yield Remark(str(error), "trueline settings lists every setting.")
        return
    yield Remark("all can be used.")
    if settings.hash_secret is None:
        yield Remark(
            "TRUELINE_HASH_SECRET is not set here: last-write finds nobody whose services have one.",
            "Set it to the services' secret.",
        )


def _rules() -> Iterator[Remark]:
    from trueline.monitor.engine.load import load_rules
    from trueline.monitor.errors import TruelineError
    from trueline.monitor.resources import rule_paths, shipped
    from trueline.monitor.settings import load_settings

    try:
        settings = load_settings()
        loaded = load_rules(rule_paths(settings.rules, settings.shipped_rules), shipped("rules"))
    except TruelineError as error:
        yield Remark(str(error), "trueline rules check says what is wrong where.")
        return
    for problem in loaded.problems:
        yield Remark(str(problem), "trueline rules check says what is wrong where.")
    if not loaded.problems:
        yield Remark(f"{len(loaded.rules)} can be used.")


def _folder() -> Iterator[Remark]:
    """The data folder and its disk: readable by this user, with room, nothing set aside."""
    import os

    from trueline.monitor.errors import SettingsError
    from trueline.monitor.settings import load_settings
    from trueline.monitor.store.disk import Level, measure_folder, parse_level
    from trueline.monitor.store.journal import ASIDE, FOLDER

    try:
        settings = load_settings()
        stop = Level() if settings.clickhouse_url else parse_level(settings.disk_reserve)
    except SettingsError:
        return  # the first check said it
    folder = settings.data_dir
    if not folder.exists():
        yield Remark(f"{folder} is not there yet: trueline serve makes it.")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Remark(
            f"{folder} cannot be written by this user.",
            "Start as its owner, or give another folder (TRUELINE_DATA_DIR).",
        )
        return
    space = measure_folder(folder)
    if stop.is_met(space):
        yield Remark(f"{folder} can be written, {space.free_percent:.0f} % of its disk is free.")
    else:
        yield Remark(
            f"the disk of {folder} is almost full: telemetry is refused below {settings.disk_reserve}.",
            "Free some, or lower TRUELINE_DISK_RESERVE.",
        )
    aside = list((folder / FOLDER / ASIDE).glob("*"))
    if aside:
        yield Remark(
            f"{len(aside)} groups of requests could not be stored and lie in {folder / FOLDER / ASIDE}.",
            "The log says why; remove them when they are of no use.",
        )


def _monitor() -> Iterator[Remark]:
    from trueline.monitor.cli.client import MonitorError, ask
    from trueline.monitor.errors import SettingsError

    try:
        status = ask("GET", "/api/v1/status")
    except (MonitorError, SettingsError) as error:
        yield Remark(str(error), "trueline serve starts one.")
        return
    for problem in status["problems"]:
        yield Remark(problem, "See the monitor's log.")
    if not status["problems"]:
        yield Remark(f"version {status['version']} runs and keeps its data in {status['data']}.")
    if status["spans_last_5_minutes"]:
        yield Remark(f"{status['spans_last_5_minutes']} spans arrived in the last 5 minutes.")
    else:
        yield Remark(
            "no span arrived in the last 5 minutes.",
            "In a service: python -m trueline.instrumentation doctor says whether it reaches the monitor.",
        )


#: What is looked at, in this order. Each is a sentence of its own.
CHECKS: Final[dict[str, Check]] = {
    "settings": _settings,
    "rules": _rules,
    "data folder": _folder,
    "monitor": _monitor,
}


def service(
    name: Annotated[str, typer.Argument(metavar="NAME", help="service.name, as the service sends it.")],
    environment: Annotated[str | None, typer.Option(help="Only there.")] = None,
    since: Annotated[
        str, typer.Option(help="A time, or how far back: 30m, 24h, at most 7d.", callback=check_since)
    ] = "1h",
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Say what is seen of one service, whose data its statements name, and which rules are blind for it.

    Exit status: 0, 1 if a rule is blind for it, 2 for trouble and where nothing was received of it.
    """
    from trueline.monitor.cli.console import make_console
    from trueline.monitor.cli.coverage import ask_coverage, is_blind

    answer = ask_coverage(service=name, environment=environment, since=since)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        console = make_console()
        for item in answer["items"]:
            _print(console, item)
        for problem in answer["problems"]:
            typer.echo(problem)
    raise typer.Exit(1 if is_blind(answer) else 0)


def _print(console: Console, item: Mapping[str, Any]) -> None:
    from rich.text import Text

    from trueline.monitor.cli.coverage import print_reasons

    version = f" {', '.join(item['versions'])}" if item["versions"] else ""
    head = f"{item['service'] or '(unnamed)'}{version} in {item['environment']}"
    console.print(Text(head, style="bold"), end=": ")
    console.print(Text(item["sentence"]), soft_wrap=True)
    if item["counted_by"] == "inventory":
        console.print(
            Text("It samples: counts are those of its processes, since they began."), soft_wrap=True
        )
    _databases(console, item["databases"])
    _tables(console, item)
    _columns(console, item["columns"])
    console.print(Text("\nRules", style="bold cyan"))
    well = [rule["rule"] for rule in item["rules"] if rule["status"] == "ok"]
    if well:
        console.print(Text(f"  ok {', '.join(well)}", style="green"), soft_wrap=True)
    print_reasons(console, item, idle=True)
    console.print()


def _databases(console: Console, databases: list[dict[str, Any]]) -> None:
    from rich.text import Text

    if databases:
        console.print(Text("\nDatabases", style="bold cyan"))
    for one in databases:
        schema = f", schema {one['database_schema']}" if one["database_schema"] not in ("", "public") else ""
        variable = f" (from {one['database_url_variable']})" if one["database_url_variable"] else ""
        rungs = ", ".join(sorted(rung.partition(":")[0].replace("_", " ") for rung in one["database_rungs"]))
        console.print(
            Text(
                f"  {one['db_namespace'] or one['db_system']}{schema}: {one['database_url']}{variable}, "
                f"{one['database_role']}, recognised by {rungs or 'nothing'}"
            ),
            soft_wrap=True,
        )


def _tables(console: Console, item: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not item["tables"]:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("  table", overflow="fold")
    for title in ("reads", "writes", "by column", "by row", "by bound identity", "by nothing"):
        table.add_column(title, justify="right")
    for one in item["tables"]:
        writes = one["writes"]
        nameless = one["table"] in item["tables_without_identity"]
        table.add_row(
            Text(f"  {one['table']}", style="yellow" if nameless else ""),
            *(Text(str(number)) for number in (one["reads"], writes["total"], writes["column"])),
            *(Text(str(number)) for number in (writes["row"], writes["bound"], writes["none"])),
        )
    console.print(Text("\nTables", style="bold cyan"))
    console.print(table)
    if item["tables_without_identity"]:
        console.print(
            Text(f"  No write names anybody in: {', '.join(item['tables_without_identity'])}."),
            soft_wrap=True,
        )


def _columns(console: Console, columns: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not columns:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("  identity column", "domain", "clause", "encoding", "statements"):
        table.add_column(title, overflow="fold")
    for one in columns:
        table.add_row(
            Text(f"  {one['column']}"),
            *(Text(one[name]) for name in ("domain", "clause", "encoding")),
            Text(str(one["statements"])),
        )
    console.print(Text("\nIdentity columns", style="bold cyan"))
    console.print(table)
