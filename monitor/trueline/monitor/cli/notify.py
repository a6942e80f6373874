"""``trueline notify``: whom the monitor tells, how that goes, and a test."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from trueline.monitor.cli.output import Json, ago, print_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    notify = typer.Typer(
        help="Whom the monitor tells: nobody, until TRUELINE_NOTIFY names a file of targets. "
        "Exit status: 0, 1 if there is no such target or the test did not arrive, 2 if the monitor cannot be "
        "asked."
    )
    notify.callback(invoke_without_command=True)(status)
    notify.command("status")(status)
    notify.command("test")(send_test)
    app.add_typer(notify, name="notify")


def status(context: typer.Context, as_json: Json = False) -> None:
    """List the targets and how the last message to each went."""
    if context.invoked_subcommand is not None:
        return
    from trueline.monitor.cli.client import ask

    answer = ask("GET", "/api/v1/notify")
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        typer.echo("nobody is told: set TRUELINE_NOTIFY of the monitor to a file of targets")
        return
    for item in answer["items"]:
        typer.echo(f"{item['name']} ({item['type']}): {', '.join(item['urls'])}")
        typer.echo(f"  {_how(item)}")
    for problem in answer["problems"]:
        typer.echo(f"note: {problem}")


def send_test(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The target's name.")],
    as_json: Json = False,
) -> None:
    """Let the monitor send one message that says that it is a test, and print it and what was answered."""
    from trueline.monitor.cli.client import NotThereError, ask

    try:
        trial = ask("POST", "/api/v1/notify/test", body={"target": target})
    except NotThereError as missing:
        typer.echo(f"trueline: {missing}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        print_json(trial)
    else:
        typer.echo("sent:")
        typer.echo(json.dumps(trial["sent"], indent=2))
        for one in trial["answers"]:
            to = f"{one['url']} ({one['address']})" if one["address"] else one["url"]
            said = f"answered {one['status']}" if one["status"] else "did not answer"
            text = f": {one['text']}" if one["text"] else ""
            typer.echo(
                f"{'ok' if one['ok'] else 'FAILED'}: {to} {said} in {one['milliseconds']:.0f} ms{text}"
            )
    if not trial["ok"]:
        raise typer.Exit(1)


def _how(item: dict[str, Any]) -> str:
    if item["problem"]:
        return f"cannot be used: {item['problem']}"
    last = item["last"]
    if last is None:
        return "nothing was sent yet"
    said = f"last message {last['result']} {ago(last['at'])} ({last['status']})"
    if last["result"] != "sent" and last["answer"]:
        said += f": {last['answer']}"
    return f"{said}; {item['waiting']} waiting" if item["waiting"] else said
