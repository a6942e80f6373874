"""The embedded engine (chDB): one folder, owned by one process, opened without a server."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trueline.monitor.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clickhouse_connect.driver.client import Client

LOCK_FILE = "trueline.lock"
ENGINE_FOLDER = "clickhouse"


class FolderLock:
    """An exclusive lock on a data folder, held until :meth:`release` or the end of the process.

    The engine locks its folder too, but says neither who has it nor what to do. The kernel frees this lock
    when its owner dies, however it dies: there are no stale locks. Several stores of one process may share
    the folder; the last release frees it.
    """

    _held: dict[Path, tuple[IO[str], int]] = {}  # noqa: RUF012 - shared by all instances on purpose
    _guard = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        with self._guard:
            file, count = self._held.get(self._folder, (None, 0))
            self._held[self._folder] = (file or self._acquire(), count + 1)

    def _acquire(self) -> IO[str]:
        path = self._folder / LOCK_FILE
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"The data folder {self._folder} cannot be written ({error.strerror}): "
                "give a folder of your own with --data-dir."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = _describe_owner(file.read())
            file.close()
            raise StoreError(
                f"The data folder {self._folder} is in use by {owner}: stop that process, talk to it over "
                "HTTP (TRUELINE_URL), or give another folder with --data-dir."
            ) from error
        file.truncate(0)
        record = {"pid": os.getpid(), "command": sys.argv, "since": datetime.now(UTC).isoformat()}
        file.write(json.dumps(record))
        file.flush()
        return file

    def release(self) -> None:
        """Give the folder back. To be called once for each instance."""
        with self._guard:
            file, count = self._held.get(self._folder, (None, 0))
            if file is None:
                return
            if count > 1:
                self._held[self._folder] = (file, count - 1)
                return
            del self._held[self._folder]
            file.close()


def _describe_owner(record: str) -> str:
    try:
        owner = json.loads(record)
        command = " ".join([Path(owner["command"][0]).name, *owner["command"][1:]])
        return f"process {owner['pid']} ({command})"
    except (ValueError, KeyError, IndexError, TypeError):
        return "another process"


@dataclass(slots=True)
class EmbeddedConnector:
    """Opens client handles on one data folder, which it creates (mode 0700) and locks."""

    folder: Path
    description: str = ""
    _lock: FolderLock | None = field(default=None, repr=False)
    _pid: int = field(default_factory=os.getpid, repr=False)

    def __post_init__(self) -> None:
        self.folder = self.folder.expanduser()
        self.description = str(self.folder)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The data folder {self.folder} cannot be made ({error.strerror}): "
                "give another one with --data-dir."
            ) from error
        self._lock = FolderLock(self.folder)

    def open(self, database: str | None, settings: Mapping[str, str]) -> Client:
        """Open one handle. ``settings`` are applied to it in order and hold for its life."""
        if os.getpid() != self._pid:
            # A child made by fork has the engine's memory but none of its threads: a query would hang.
            raise StoreError(
                "The embedded store was opened before this process was forked and cannot be used here: "
                "open it after the fork."
            )
        try:
            from clickhouse_connect import get_client
            from clickhouse_connect.driver.exceptions import ClickHouseError
        except ImportError as error:
            raise _missing(error) from error
        try:
            client = get_client(
                interface="chdb", path=str(self.folder / ENGINE_FOLDER), database=database, tz_mode="aware"
            )
            for name, value in settings.items():
                client.command(f"SET {name} = '{value}'")
        except ClickHouseError as error:
            reason = str(error).splitlines()[0]
            raise StoreError(f"The store in {self.folder} cannot be opened: {reason}") from error
        except ImportError as error:
            raise _missing(error) from error
        # The engine takes its time zone from the process; the session setting makes it UTC, and the client,
        # which asked before that, has to know.
        client.server_tz = UTC
        return client

    def close(self) -> None:
        """Release the folder. All handles must have been closed."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _missing(error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        f"The embedded store needs a library that is not installed ({error.name or 'chdb'}): "
        "pip install 'trueline[monitor]', or give a server with --clickhouse-url."
    )
