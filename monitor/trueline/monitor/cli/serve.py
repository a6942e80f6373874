"""``trueline serve``: the monitor as one process."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trueline.monitor.app import Monitor
    from trueline.monitor.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the embedded store. [TRUELINE_DATA_DIR]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="Port, 4318 by default; 0 takes a free one. [TRUELINE_PORT]"),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST", help="Address to listen on; any but loopback needs a token. [TRUELINE_HOST]"
        ),
    ] = None,
    rules: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Rules beside the shipped ones; may be repeated. [TRUELINE_RULES]"),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="File of declarations; may be repeated. [TRUELINE_CONFIG]"),
    ] = None,
    clickhouse_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A ClickHouse server instead of the embedded store: http://host:8123/database. "
            "[TRUELINE_CLICKHOUSE_URL]",
        ),
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the database. [TRUELINE_DATABASE]")
    ] = None,
    external_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The monitor's URL as people see it. [TRUELINE_EXTERNAL_URL]"),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error. [TRUELINE_LOG_LEVEL]")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORM", help="console or json. [TRUELINE_LOG_FORMAT]")
    ] = None,
) -> None:
    """Receive telemetry (OTLP/HTTP), keep it, run the rules, answer.

    A token (TRUELINE_TOKEN) and passwords are read from the environment only, where others cannot see them.
    The command "trueline settings" lists all settings.
    """
    from trueline.monitor.logging import configure_logging
    from trueline.monitor.security import require_safe_binding
    from trueline.monitor.settings import load_settings

    settings = load_settings(
        {
            "data_dir": data_dir,
            "port": port,
            "host": host,
            "rules": tuple(rules) if rules else None,
            "config": tuple(config) if config else None,
            "clickhouse_url": clickhouse_url,
            "database": database,
            "external_url": external_url,
            "log_level": log_level,
            "log_format": log_format,
        }
    )
    require_safe_binding(settings)
    configure_logging(settings.log_level, settings.log_format)
    with closing(_listen(settings.host, settings.port)) as listener:
        _run(settings, listener)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is opened. Raise ServeError if that is not possible."""
    from trueline.monitor.errors import ServeError

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ServeError(
            f"The address {host!r} is not known here ({error.strerror}): check --host."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Another process may have bound the port too, with the same option, and not listen yet.
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            other = port + 1
            raise ServeError(
                f"Port {port} on {host} is in use, usually by an OpenTelemetry Collector: start with --port "
                f"{other} and give your services OTEL_EXPORTER_OTLP_ENDPOINT=http://{_in_url(host)}:{other}."
            ) from error
        raise ServeError(
            f"Cannot listen on {host} port {port} ({error.strerror}): check --host and --port."
        ) from error
    return listener


def _run(settings: Settings, listener: socket.socket) -> None:
    """Open the monitor and serve until SIGINT or SIGTERM, then stop cleanly."""
    import uvicorn

    from trueline.monitor.app import STOP_SECONDS, Monitor

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            _announce(monitor, listener)

    # Until the server runs, a signal ends the start; afterwards the server catches it itself, stops, and
    # raises it once more, which then must not end the process before the store is closed.
    with _signals(_leave):
        monitor = Monitor.open(settings)
        try:
            config = uvicorn.Config(
                monitor.app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                # Longer than exporters pause between batches, so that they do not meet a closing connection.
                timeout_keep_alive=75,
                timeout_graceful_shutdown=int(STOP_SECONDS),
            )
            with _signals(_ignore):
                Server(config).run(sockets=[listener])
        finally:
            monitor.close()


def _announce(monitor: Monitor, listener: socket.socket) -> None:
    """Say where the monitor is and how to send to it; a script can wait for the first line."""
    from importlib.metadata import version

    host, port = listener.getsockname()[:2]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    url = monitor.settings.external_url or f"http://{_in_url(here)}:{port}"
    typer.echo(f"trueline {version('trueline')} listens on {url} (Ctrl-C stops it)")
    typer.echo(f"  data:  {monitor.store.description}")
    typer.echo(f"  rules: {monitor.describe_rules()}")
    typer.echo(f"  send:  OTEL_EXPORTER_OTLP_ENDPOINT={url} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM in a block."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
