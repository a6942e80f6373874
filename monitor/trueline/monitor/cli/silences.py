"""``trueline silences``: for how long nobody is to be told of which findings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from trueline.monitor.cli.output import By, Json, ago, print_json, table

_ID = Annotated[str, typer.Argument(metavar="ID", help="The silence's id.")]
_MATCHERS = Annotated[
    list[str],
    typer.Argument(
        metavar="MATCHER...",
        help="All must fit: service=web, severity!=critical, table=~exp.* (a regular expression, RE2).",
    ),
]
_FOR = Annotated[
    str, typer.Option("--for", metavar="DURATION", help="How long from now: 30m, 2h, 7d; at most 90d.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    silences = typer.Typer(
        help="Whom not to call for a while. Findings under a silence are marked, and sent to nobody; lists "
        "still show them. Exit status: 0, 1 if there is no such silence, 2 if the monitor cannot be asked or "
        "refuses."
    )
    silences.callback(invoke_without_command=True)(list_silences)
    silences.command("list")(list_silences)
    silences.command("add")(add)
    silences.command("preview")(preview)
    silences.command("show")(show)
    silences.command("extend")(extend)
    silences.command("end")(end)
    app.add_typer(silences, name="silences")


def list_silences(
    context: typer.Context,
    expired: Annotated[bool, typer.Option("--expired", help="Those that are over, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
    as_json: Json = False,
) -> None:
    """List silences that hold now or will, newest first."""
    if context.invoked_subcommand is not None:
        return
    from trueline.monitor.cli.client import ask

    chosen: dict[str, Any] = {"limit": limit, "cursor": cursor}
    chosen["phase"] = None if expired else ["active", "pending"]
    answer = ask("GET", "/api/v1/silences", params={name: value for name, value in chosen.items() if value})
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        typer.echo("no silences" + ("" if expired else " hold now; --expired shows those that are over"))
        return
    table(
        ("id", "phase", "ends", "by", "hides now", "what and why"),
        (
            (
                one["id"],
                one["phase"],
                ago(one["ends_at"]),
                one["author"],
                str(one["hides"]),
                f"{_matchers(one)}: {one['reason']}",
            )
            for one in answer["items"]
        ),
    )
    if answer["next"]:
        typer.echo(f"\nthere are more: --limit, or --cursor {answer['next']}")


def add(
    matchers: _MATCHERS,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why: whoever is on call next will ask.")],
    duration: _FOR = "2h",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Make a silence from now on, and say what it hides."""
    from trueline.monitor.cli.client import ask

    made = ask("POST", "/api/v1/silences", body=_body(matchers, duration, by, why))
    if as_json:
        print_json(made)
        return
    typer.echo(f"silence {made['id']} holds until {_until(made)} and hides {_findings(made['hides'])} now")
    typer.echo(f"to end it: trueline silences end {made['id']}")


def preview(matchers: _MATCHERS, as_json: Json = False) -> None:
    """Say what a silence would hide, without making it."""
    from trueline.monitor.cli.client import ask

    answer = ask("POST", "/api/v1/silences/preview", body=_body(matchers, "1h", "preview", "preview"))
    if as_json:
        print_json(answer)
        return
    typer.echo(f"this silence would hide {_findings(answer['count'])} of those that are active")
    if answer["items"]:
        table(
            ("id", "severity", "what"),
            (
                (item["id"], item["severity"], f"{item['rule']}: {item['summary']}")
                for item in answer["items"]
            ),
        )


def show(silence_id: _ID, as_json: Json = False) -> None:
    """Print one silence with its history."""
    silence = _ask("GET", silence_id)
    if as_json:
        print_json(silence)
        return
    typer.echo(f"silence {silence['id']} is {silence['phase']}: {_matchers(silence)}")
    typer.echo(f"by {silence['author']}, until {_until(silence)}: {silence['reason']}")
    for event in silence["events"]:
        typer.echo(f"  {event['at'][:19].replace('T', ' ')}  {event['action']} by {event['who']}")


def extend(silence_id: _ID, duration: _FOR, by: By = "") -> None:
    """Let a silence end so long from now; one that is over stays over."""
    silence = _ask("PATCH", silence_id, {"ends_at": _end(duration), "who": by})
    typer.echo(f"silence {silence['id']} holds until {_until(silence)}")


def end(silence_id: _ID, by: By = "") -> None:
    """End a silence now."""
    silence = _ask("POST", f"{silence_id}/end", {"who": by})
    typer.echo(f"silence {silence['id']} is over")


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    from urllib.parse import quote

    from trueline.monitor.cli.client import NotThereError, ask

    try:
        answer: dict[str, Any] = ask(method, f"/api/v1/silences/{quote(path)}", body=body)
    except NotThereError as missing:
        typer.echo(f"trueline: {missing}", err=True)
        raise typer.Exit(1) from None
    return answer


def _body(matchers: list[str], duration: str, author: str, reason: str) -> dict[str, Any]:
    from trueline.monitor.engine.silence import matcher_fields, parse_matcher

    return {
        "matchers": [dict(matcher_fields(parse_matcher(text))) for text in matchers],
        "ends_at": _end(duration),
        "author": author or _user(),
        "reason": reason,
    }


def _user() -> str:
    """Who is logged in: USER is not set everywhere."""
    import getpass

    from trueline.monitor.errors import TruelineError

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise TruelineError("A silence needs its author: say who you are with --by NAME.") from None


def _end(duration: str) -> str:
    from trueline.monitor.engine.rule import parse_duration
    from trueline.monitor.errors import TruelineError

    try:
        return (datetime.now(UTC) + parse_duration(duration)).isoformat()
    except (ValueError, OverflowError) as error:
        raise TruelineError(f"--for: {error}.") from None


def _matchers(silence: dict[str, Any]) -> str:
    return ", ".join(f"{one['label']}{one['op']}{one['value']}" for one in silence["matchers"])


def _until(silence: dict[str, Any]) -> str:
    return f"{silence['ends_at'][:16].replace('T', ' ')} UTC ({ago(silence['ends_at'])})"


def _findings(number: int) -> str:
    return f"{number} finding{'' if number == 1 else 's'}"
