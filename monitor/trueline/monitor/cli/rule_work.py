"""``trueline rules backtest`` and ``explain``: what a rule would have found, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from trueline.monitor.cli.since import check_since

_RULE = Annotated[
    str,
    typer.Argument(metavar="RULE", help="The id of an installed rule, or a rule file that is not installed."),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]


def run_backtest(
    rule: _RULE,
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="A time as 2026-11-20T12:00:00Z, or back from now: 7d.", callback=check_since
        ),
    ] = "24h",
    seconds: Annotated[float, typer.Option(help="Longest time to work, at most 120.", min=1, max=120)] = 60.0,
    as_json: _JSON = False,
) -> None:
    """What a rule would have found since then, and what it took. Nothing is stored and nobody is notified."""
    from trueline.monitor.cli.client import ask

    body = {**_subject(rule), "since": since, "seconds": seconds}
    answer = ask("POST", "/api/v1/rules/backtest", body=body, timeout=seconds + 60)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print_backtest(answer)
    if not answer["complete"]:
        raise typer.Exit(3)


def run_explain(rule: _RULE, as_json: _JSON = False) -> None:
    """What one evaluation of a rule reads, by which indexes, and what a day of them costs."""
    from trueline.monitor.cli.client import ask

    answer = ask("POST", "/api/v1/rules/explain", body=_subject(rule), timeout=90)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print_explain(answer)


def _subject(rule: str) -> dict[str, str]:
    """The body that names a rule: a file's text where there is such a file."""
    path = Path(rule)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        from trueline.monitor.engine.load import MAX_FILE, Problem, RuleFileError

        try:
            if path.stat().st_size > MAX_FILE:
                raise RuleFileError([Problem(path, 1, 1, "the file is too long for a rule")])
            return {"text": path.read_text(encoding="utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise RuleFileError([Problem(path, 1, 1, f"the file cannot be read: {reason}")]) from None
    return {"rule": rule}


def _print_backtest(answer: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console
    from trueline.monitor.cli.rule_files import absent_notes

    console, total = make_console(), answer["total"]
    console.print(
        Text(
            f"{answer['rule']} would have raised {total} finding{'' if total == 1 else 's'} from "
            f"{_moment(answer['since'])} to {_moment(answer['until'])}."
        )
    )
    if answer["findings"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("last seen", "times"):
            table.add_column(title, no_wrap=True)
        table.add_column("finding", overflow="fold")
        for one in answer["findings"]:
            table.add_row(_moment(one["last_seen"]), str(one["count"]), Text(one["summary"]))
        console.print(table)
        if total > len(answer["findings"]):
            console.print(f"and {total - len(answer['findings'])} more")
    for one in answer["excepted"]:
        console.print(Text(f"{one['rows']} excepted: {one['reason']}"))
    if answer["windows"]:
        console.print(
            f"Cost: {answer['windows']} window{'' if answer['windows'] == 1 else 's'} with arrivals, "
            f"{answer['milliseconds'] / 1000:.1f} s in all, "
            f"{answer['median_milliseconds']:.0f} ms in the middle, "
            f"{answer['slowest_milliseconds']:.0f} ms at worst"
            + (f" ({_cost(answer['slowest'])})" if answer["slowest"] else "")
        )
    else:
        console.print("Nothing that it reads arrived in this time.")
    for note in absent_notes(answer["rule"], answer["absent"]):
        console.print(Text(note))
    for error in answer["errors"]:
        typer.echo(f"failed: {error}", err=True)
    if not answer["complete"]:
        until = _moment(answer["judged_until"])
        typer.echo(
            f"Not all was judged: it came to {until}. Give more --seconds, or a later --since.", err=True
        )


def _print_explain(answer: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console
    from trueline.monitor.cli.rule_files import absent_notes

    console = make_console()
    window = answer["window"]
    console.print(
        f"{answer['rule']} over the arrivals from {_moment(window['start'])} to {_moment(window['end'])}, "
        f"with context since {_moment(window['since'])}"
    )
    if answer["trigger"]:
        goes_on = "goes on to the query" if answer["trigger_fires"] else "leaves it at that"
        console.print(f"trigger: {_cost(answer['trigger'])}; {goes_on}")
    console.print(f"query:   {_cost(answer['query'])}")
    console.print(
        f"a day:   {answer['evaluations_a_day']:,} evaluations, {answer['rows_a_day']:,} rows, "
        f"{answer['seconds_a_day']:,.0f} s, if something arrives all the time"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("reads", "parts", "granules"):
        table.add_column(title, no_wrap=True)
    table.add_column("by", overflow="fold")
    for one in answer["readings"]:
        granules = f"{one['granules']} of {one['of_granules']}"
        table.add_row(one["table"], str(one["parts"]), granules, Text(", ".join(one["keys"]) or "no index"))
    console.print(table)
    for note in absent_notes(answer["rule"], answer["absent"]):
        console.print(Text(note))


def _cost(cost: dict[str, Any]) -> str:
    parts = [f"{cost['rows']:,} rows read"] if cost["rows"] is not None else []
    if cost["milliseconds"] is not None:
        parts.append(f"{cost['milliseconds']:.0f} ms")
    if cost["memory_bytes"] is not None:
        parts.append(f"{cost['memory_bytes'] / (1 << 20):.1f} MiB")
    return ", ".join(parts) or "not known"


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")
