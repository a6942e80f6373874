"""Brings the store's schema up to the code's: numbered files, each one idempotent statement, applied once.

The files are ``schema/NNNN_name.sql``. What was applied is written down in the table ``schema_migrations``.
A statement is applied before it is written down, so a process that dies in between applies it again; that is
why each must be idempotent. For the same reason two processes may migrate one store at once: both apply what
the other has not written down yet.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trueline.monitor.errors import MigrationError, QueryError, StoreUnavailableError
from trueline.monitor.store import cluster
from trueline.monitor.store.client import Store
from trueline.monitor.store.collector import adopt

SCHEMA_FOLDER: Final = Path(__file__).parent / "schema"
_FILE_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
#: How often a statement is tried that fails because of somebody else's at the same time.
ATTEMPTS: Final = 5
#: TABLE_ALREADY_EXISTS, UNFINISHED, CANNOT_ASSIGN_ALTER: another process migrates at the same time.
_RACES: Final = frozenset({57, 341, 517})
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3) DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name without number and ending, and its statement."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the statement, 64 hex digits."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The file's name."""
        return f"{self.number:04}_{self.name}.sql"


def read_migrations(folder: Path = SCHEMA_FOLDER) -> list[Migration]:
    """Read a folder's migrations in order. Raise MigrationError for a bad name or a number used twice."""
    migrations: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} in the schema folder is not named NNNN_name.sql.")
        migration = Migration(int(match[1]), match[2], path.read_text(encoding="utf-8").strip().rstrip(";"))
        other = migrations.setdefault(migration.number, migration)
        if other is not migration:
            raise MigrationError(f"{other.label} and {migration.label} have the same number.")
    return [migrations[number] for number in sorted(migrations)]


def migrate(store: Store, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what the store does not have yet, in order, and return it.

    Raise MigrationError, before anything is changed, if the store was written by a newer release or an
    applied file has since been edited; and if a statement fails.
    """
    wanted = list(read_migrations() if migrations is None else migrations)
    store.command(cluster.ledger(_LEDGER, store.cluster, store.database) if store.cluster else _LEDGER)
    ledger = store.query(
        "SELECT number, any(name), argMax(checksum, applied_at) FROM schema_migrations GROUP BY number"
    )
    applied = {number: (name, checksum) for number, name, checksum in ledger}
    _require_fit(store, wanted, applied)
    if not store.cluster:
        adopt(store)
    done: list[Migration] = []
    try:
        for migration in wanted:
            if migration.number not in applied:
                _apply(store, migration)
                done.append(migration)
    finally:
        # At once: a line for each costs as much as the migration. A kill leaves none of these lines, and what
        # was applied is applied again, to no effect.
        store.insert(
            "schema_migrations",
            {
                "number": [migration.number for migration in done],
                "name": [migration.name for migration in done],
                "checksum": [migration.checksum for migration in done],
            },
        )
    return done


def _apply(store: Store, migration: Migration) -> None:
    """Run one statement; again where it fails because another process runs the same one at the same time."""
    statements = [migration.sql]
    if store.cluster:
        statements = cluster.render(migration.sql, store.cluster, store.database)
    for attempt in range(ATTEMPTS):
        try:
            for statement in statements:
                store.command(statement)
            return
        except StoreUnavailableError:
            if attempt == ATTEMPTS - 1:
                raise
        except QueryError as error:
            if error.code not in _RACES or attempt == ATTEMPTS - 1:
                raise MigrationError(f"The migration {migration.label} failed: {error}") from error
        time.sleep(0.2 * 2**attempt)


def _require_fit(store: Store, wanted: list[Migration], applied: dict[int, tuple[str, str]]) -> None:
    known = {migration.number: migration for migration in wanted}
    newer = sorted(set(applied) - set(known))
    if newer:
        number = newer[-1]
        raise MigrationError(
            f"The store at {store.description} was written by a newer release of trueline (its migration "
            f"{number:04}_{applied[number][0]} is not known here): upgrade trueline, or give another data "
            "folder."
        )
    for number, (_, checksum) in sorted(applied.items()):
        if known[number].checksum != checksum:
            raise MigrationError(
                f"The migration {known[number].label} is not the one that was applied to the store at "
                f"{store.description}: install the release that wrote the store, or give another data folder."
            )
