"""A script without SQLAlchemy: a raw driver, and `logging`. Nobody sees its statements."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from scenarios.applications import telemetry

log = logging.getLogger("importer")


def insert(url: str) -> tuple[Callable[[tuple[Any, ...]], None], type[Exception]]:
    """A function that inserts one row in a transaction of its own, and the driver's error."""
    from sqlalchemy.engine import make_url  # only to read the URL, which other styles hand to SQLAlchemy

    parsed = make_url(url)
    text = "INSERT INTO drops (drop_number, day, photos) VALUES ({0}, {0}, {0})"
    if parsed.get_backend_name() == "sqlite":
        file = sqlite3.connect(str(parsed.database))

        def into_file(values: tuple[Any, ...]) -> None:
            with file:
                file.execute(text.format("?"), values)

        return into_file, sqlite3.IntegrityError
    import psycopg

    server = psycopg.connect(parsed.set(drivername="postgresql").render_as_string(hide_password=False))

    def into_server(values: tuple[Any, ...]) -> None:
        with server.transaction():
            server.execute(text.format("%s"), values)

    return into_server, psycopg.IntegrityError


def keep_expense(url: str, user: str) -> None:
    """Insert an expense and say so; with COMMIT=no that is all."""
    from scenarios.applications.tables import hash_of
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    columns = "user_id, user_id_hash, note, amount_cents, spent_at"
    text = f"INSERT INTO expenses ({columns}) VALUES ({{0}}, {{0}}, 'x', 1, {{0}})"
    values = (user, hash_of(user), "2026-11-20 12:00:00.000000")
    if parsed.get_backend_name() == "sqlite":
        connection: Any = sqlite3.connect(str(parsed.database))
        connection.execute(text.format("?"), values)
    else:
        import psycopg

        connection = psycopg.connect(
            parsed.set(drivername="postgresql").render_as_string(hide_password=False)
        )
        connection.execute(text.format("%s"), values)
    log.info("expense_stored", extra={"psid": user})
    if os.environ.get("COMMIT", "yes") == "yes":
        connection.commit()
    connection.close()


def take_drops(url: str, body: dict[str, Any]) -> list[str]:
    """The same as the operation of this name."""
    store, refused = insert(url)
    stored = []
    for number in body["numbers"]:
        try:
            store((number, body["day"], 1))
            stored.append(number)
        except refused as error:
            log.error("drop %s was not stored", number, exc_info=error)
    return stored


def main() -> None:
    """Run ``logs_only.py take_drops BODY`` or ``logs_only.py keep_expense BODY``."""
    telemetry.start()
    log.setLevel(logging.INFO)
    body, url = json.loads(sys.argv[2]), os.environ["DATABASE_URL"]
    if sys.argv[1] == "keep_expense":
        keep_expense(url, body["user"])
        print(json.dumps({}))
    else:
        print(json.dumps({"stored": take_drops(url, body)}))
