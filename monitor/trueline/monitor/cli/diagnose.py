"""``trueline diagnose``: keys, cache, environment, commit, timing or healthy, in one line with evidence."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from trueline.monitor.cli.since import check_since

#: Pause between two looks with --follow, seconds.
LOOK_SECONDS: Final = 1.0
#: A fault must be seen for so long before --follow ends with it: a retry may land, a reader may look again.
SETTLE_SECONDS: Final = 5.0
#: Exit status by verdict; every other verdict is a fault.
_STATUS: Final = {"healthy": 0, "cannot_tell": 3}
_MARKS: Final = {
    "ok": ("ok", "green"),
    "fault": ("FAULT", "bold red"),
    "unknown": ("?", "yellow"),
    "skipped": ("-", "dim"),
}
_COLOURS: Final = {"healthy": "bold green", "cannot_tell": "bold yellow"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diagnose")(diagnose)


def diagnose(
    identity: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The identity, as the application has it.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="A delivery's id instead.")] = None,
    service: Annotated[str | None, typer.Option(help="A service instead: whom it touched last.")] = None,
    domain: Annotated[str, typer.Option(help="What ID identifies: user, tenant, order ...")] = "user",
    environment: Annotated[str, typer.Option(help="Only there.")] = "",
    plain: Annotated[
        bool, typer.Option("--plain", help="The services declare the domain plain: send the value as it is.")
    ] = False,
    since: Annotated[
        str, typer.Option(help="How far back: 24h, 30d, or a time.", callback=check_since)
    ] = "7d",
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Watch while somebody tries again."),
    ] = False,
    patience: Annotated[int, typer.Option(min=1, max=86400, help="Seconds that --follow waits.")] = 600,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Say what is wrong with one person's data, from what is stored.

    The value is hashed here, with TRUELINE_HASH_SECRET as the services have it; only the hash is sent.
    Exit status: 0 healthy (with --follow: all four steps seen), 1 a fault, 3 it cannot tell, 2 for trouble.
    """
    from trueline.monitor.cli.client import MonitorError

    if [identity, message, service].count(None) != 2:
        raise MonitorError("Say whom to look at: an ID, or --message, or --service; exactly one of them.")
    question: dict[str, Any] = {"environment": environment, "since": since}
    if service is not None:
        question["service"] = service
    elif plain and identity is not None:
        question |= {"identity": identity, "domain": domain}
    else:
        from trueline.monitor.cli.hashing import exported

        kind = "message" if message is not None else domain
        value, key_id = exported(identity if identity is not None else message or "", kind)
        question |= {"hash": value, "domain": kind, "key_id": key_id}
    if follow:
        raise typer.Exit(_follow(question, patience, as_json))
    answer = _ask(question)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        show(answer)
    raise typer.Exit(_STATUS.get(answer["verdict"], 1))


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    from trueline.monitor.cli.client import ask

    answer: dict[str, Any] = ask("POST", "/api/v1/diagnose", body=question)
    return answer


def _follow(question: dict[str, Any], patience: int, as_json: bool) -> int:
    """Look again and again from now on, print each step as it is seen, end with the verdict."""
    begin = datetime.now(UTC)
    question["since"] = begin.isoformat()
    if not as_json:
        typer.echo(f"Watching since {begin:%H:%M:%S} UTC: try again now (Ctrl-C ends it).")
    told: dict[str, tuple[str, str]] = {}
    fault_since: float | None = None
    deadline = time.monotonic() + patience
    while True:
        answer = _ask(question)
        for step in answer["progress"]:
            now = (step["status"], step["sentence"])
            if (step["status"] == "unknown" and step["id"] not in told) or told.get(step["id"]) == now:
                continue
            told[step["id"]] = now
            if not as_json:
                _step(step)
        wrong = any(step["status"] == "fault" for step in answer["progress"])
        fault_since = (fault_since or time.monotonic()) if wrong else None
        ripe = fault_since is not None and time.monotonic() - fault_since >= SETTLE_SECONDS
        if answer["done"] or ripe or time.monotonic() > deadline:
            break
        time.sleep(LOOK_SECONDS)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        missing = [step["id"] for step in answer["progress"] if step["status"] == "unknown"]
        if not answer["done"] and not ripe:
            typer.echo(f"Nothing more within {timedelta(seconds=patience)}; not seen: {', '.join(missing)}.")
        typer.echo("")
        show(answer)
    if answer["done"]:
        return 0
    return 1 if ripe else 3


def _step(step: dict[str, Any]) -> None:
    from rich.text import Text

    from trueline.monitor.cli.console import make_console

    mark, colour = _MARKS[step["status"]]
    line = Text(f"{datetime.now(UTC):%H:%M:%S}  ", style="dim")
    line.append(f"{mark:<6}", style=colour)
    line.append(f"{step['id']:<10} {clean(step['sentence'])}", style="")
    make_console().print(line, soft_wrap=True)


def show(answer: dict[str, Any]) -> None:
    """Print a diagnosis for people: the verdict, what to do, the checks, both sides of each table."""
    from rich.text import Text

    from trueline.monitor.cli.console import make_console

    console = make_console()
    _hang(console, "", clean(answer["sentence"]), _COLOURS.get(answer["verdict"], "bold red"))
    for other in answer["also"]:
        _hang(console, "also ", clean(other), "red")
    if answer["verdicts"]:
        counts = ", ".join(f"{name} {number}" for name, number in answer["verdicts"].items())
        console.print(Text(f"Identities by verdict: {counts}", style="dim"))
    if answer["next"]:
        console.print(Text("\nNEXT", style="bold cyan"))
        for number, step in enumerate(answer["next"], 1):
            _hang(console, f"  {number}. ", clean(step), "")
    console.print(Text("\nCHECKS", style="bold cyan"))
    for check in answer["checks"]:
        mark, colour = _MARKS[check["status"]]
        question = check["question"]
        _hang(console, f"  {mark:<6}{check['id']:<12} ", f"{question[:1].upper()}{question[1:]}", colour)
        _hang(console, " " * 21, clean(check["sentence"]), "dim" if check["status"] == "skipped" else "")
        if check["status"] in ("fault", "unknown"):
            for seen in check["evidence"]:
                at = f"{_time(seen['at'])} " if seen["at"] else ""
                trace = f" [trace {seen['trace_id']}]" if seen["trace_id"] else ""
                _hang(console, " " * 21 + "· ", f"{at}{clean(seen['text'])}{trace}", "dim")
    show_tables(console, answer["tables"])


def show_tables(console: Any, tables: list[dict[str, Any]]) -> None:
    """The last write beside the last read of each table."""
    from rich.table import Table
    from rich.text import Text

    if not tables:
        return
    console.print(Text("\nLAST WRITE BESIDE LAST READ", style="bold cyan"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("  table", "", "when (UTC)", "service", "key", "database", "rows", "outcome"):
        table.add_column(title, overflow="fold")
    for one in tables:
        name = f"  {clean(one['table'])}"
        for title, side in (("write", one["last_write"]), ("committed", one["last_committed_write"]),
                            ("read", one["last_read"])):  # fmt: skip
            if side is None:
                table.add_row(name, title, "none seen", "", "", "", "", "")
            elif title != "committed" or side["span_id"] != (one["last_write"] or {}).get("span_id"):
                table.add_row(name, title, *(Text(clean(cell)) for cell in _cells(side)))
            name = ""
    console.print(table)


def _cells(side: dict[str, Any]) -> list[str]:
    from trueline.monitor.engine.describe import outcome_text

    keys = ", ".join(
        f"{column.rpartition('.')[2]} ({encoding})"
        for column, encoding in zip(side["columns"], side["encodings"], strict=True)
    )
    schema = side["database_schema"]
    place = side["database_name"] + (f", schema {schema}" if schema not in ("", "public") else "")
    outcome = outcome_text(side["outcome"], side["reason"]) if side["outcome"] else ""
    return [
        _time(side["at"]),
        f"{side['service']} {side['version']}".strip(),
        keys or "-",
        place or side["database"],
        "" if side["rows"] is None else str(side["rows"]),
        outcome,
    ]


def _hang(console: Any, head: str, text: str, style: str) -> None:
    """A line that goes on below where its text begins."""
    import textwrap

    from rich.text import Text

    first = head
    width = max(min(console.width, 110) - len(head), 40)
    for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]:
        shown = Text(head, style=style).append(line, style="" if first.strip() else style)
        console.print(shown, soft_wrap=True)
        head = " " * len(head)


def _time(text: str) -> str:
    return text[:23].replace("T", " ").rstrip("Z")


def clean(text: str) -> str:
    """What services say must not steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
