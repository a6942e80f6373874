"""Migrations: a column is renamed, another one added and filled in; and spans that were lost."""
# ruff: noqa: SIM117 - a transaction stands inside its request

from __future__ import annotations

from scenarios.noise.company import SHOP_WEB, SHOP_WORKER
from scenarios.noise.play import Play

#: Times, as parts of all.
RENAMED, ADDED, BACKFILLED = 0.45, 0.25, 0.35


def _address(name: str, key: str, since: float = 0.0, until: float = 1.0) -> list[Play]:
    written = Play(f"address written ({name})", 4, since=since, until=until)
    with written.request(SHOP_WEB, "POST /addresses", bound=("user",), status=201) as entry:
        with entry.transaction() as work:
            work.insert("addresses", f"{key} integer user")
    seen = Play(f"address read ({name})", 6, since=since, until=until)
    with seen.request(SHOP_WEB, "GET /addresses", bound=("user",)) as entry, entry.transaction() as work:
        work.select("addresses", f"{key} integer user", rows=-1)
        work.rollback("not_committed")
    return [written, seen]


def rename(environment: str) -> Play:
    """ALTER TABLE ... RENAME COLUMN: all readers and writers have moved."""
    play = Play("column renamed", environment=environment)
    with play.script(SHOP_WORKER, "alembic upgrade") as entry, entry.transaction() as work:
        work.ddl("addresses", "ALTER TABLE addresses RENAME COLUMN user_id TO customer_id")
    return play


def _invoice(name: str, *keys: str, since: float = 0.0, until: float = 1.0) -> Play:
    play = Play(f"invoice written ({name})", 4, since=since, until=until)
    with play.job(SHOP_WORKER, "write_invoice", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("invoices", *keys)
    return play


def _invoice_read(name: str, key: str, since: float = 0.0, until: float = 1.0) -> Play:
    play = Play(f"invoice read ({name})", 6, since=since, until=until)
    with play.request(SHOP_WEB, "GET /invoices", bound=("user",)) as entry, entry.transaction() as work:
        work.select("invoices", key, rows=3)
        work.rollback("not_committed")
    return play


def add_column(environment: str) -> Play:
    """A second key is added; writers fill both from now on."""
    play = Play("column added", environment=environment)
    with play.script(SHOP_WORKER, "alembic upgrade") as entry, entry.transaction() as work:
        work.ddl("invoices", "ALTER TABLE invoices ADD COLUMN user_id_hash text")
    return play


def backfill(environment: str) -> Play:
    """Older rows get their second key, by ranges of the primary key: whose they are, no statement tells."""
    play = Play("backfill", environment=environment)
    with play.script(SHOP_WORKER, "backfill invoices") as entry, entry.transaction() as work:
        work.update(
            *("invoices",),
            rows=5000,
            by="id",
            text="UPDATE invoices SET user_id_hash = encode(sha256(user_id::text::bytea), 'hex') "
            "WHERE id BETWEEN %(a)s AND %(b)s",
        )
    return play


def loss(environment: str) -> Play:
    """Spans were lost, and the service says so."""
    play = Play("export loss", environment=environment)
    with play.request(SHOP_WORKER, "GET /healthz") as entry:
        said = {
            "trueline.loss.reason": "queue_full",
            "trueline.loss.count": "40",
            "trueline.loss.seconds": "10",
        }
        entry.says("trueline.export.loss", "WARN", **said)
    return play


def migrated() -> list[Play]:
    """What is written and read before and after, wherever in time."""
    return [
        *_address("old", "user_id", until=RENAMED),
        *_address("renamed", "customer_id", since=RENAMED),
        _invoice("one key", "user_id integer user", until=ADDED),
        _invoice("both keys", "user_id integer user", "user_id_hash sha256 user", since=ADDED),
        _invoice_read("old key", "user_id integer user", until=BACKFILLED),
        _invoice_read("new key", "user_id_hash sha256 user", since=BACKFILLED),
    ]
