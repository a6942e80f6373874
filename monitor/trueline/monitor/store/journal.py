"""What is being inserted, on disk until it is: the same INSERT can be repeated after a crash.

An INSERT into a raw table fills a dozen derived tables, one after the other, and a process that is killed in
between leaves some of them short. Repeated with the same deduplication token and the same rows, it fills what
is missing and nothing twice, sums included. So each group of requests is a file here before it is inserted,
named after its token, and goes when it is stored.

A file is complete or not there (it is renamed into place). It survives the process, not the machine's power:
the engine does not force its own files to the disk either.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from trueline.monitor.errors import StoreError, StoreUnavailableError

_log = logging.getLogger(__name__)

FOLDER: Final = "intake"
#: Groups that the store refused for what they contain, for people to look at.
ASIDE: Final = "refused"
_ENDING: Final = ".otlp"

Decoder = Literal["engine", "python"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One group of requests on disk: the token of its INSERT, its table, and who decodes it."""

    path: Path
    token: str
    table: str
    decoder: Decoder


class Journal:
    """The groups that are being inserted. Used by the writer's thread only."""

    def __init__(self, folder: Path) -> None:
        """Create the folder. Raise StoreError if that is not possible."""
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for unfinished in folder.glob("*.tmp"):
                unfinished.unlink()
        except OSError as error:
            raise StoreError(
                f"The folder {folder} cannot be written ({error.strerror}): "
                "make it writable for this user, or give another folder with --data-dir."
            ) from error

    def write(self, table: str, decoder: Decoder, parts: Sequence[bytes], token: str = "") -> Entry:
        """Keep a group. Raise StoreUnavailableError if there is no room."""
        token = token or secrets.token_hex(8)
        path = self._folder / f"{token}-{table}-{decoder}{_ENDING}"
        self._put(path, parts)
        return Entry(path, token, table, decoder)

    def remove(self, entry: Entry) -> None:
        """Forget a group: it is stored, or nothing of it was."""
        entry.path.unlink(missing_ok=True)

    def set_aside(self, entry: Entry) -> None:
        """Keep a group that cannot be stored where it is not tried again."""
        aside = self._folder / ASIDE
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            entry.path.replace(aside / entry.path.name)
        except OSError:
            _log.exception("a group that cannot be stored could not be set aside: %s", entry.path)

    def entries(self) -> list[Entry]:
        """What an earlier process was inserting when it ended, oldest first."""
        found = []
        for path in sorted(self._folder.glob(f"*{_ENDING}"), key=lambda path: path.stat().st_mtime_ns):
            token, _, rest = path.name.removesuffix(_ENDING).partition("-")
            table, _, decoder = rest.rpartition("-")
            if decoder in ("engine", "python"):
                found.append(Entry(path, token, table, "engine" if decoder == "engine" else "python"))
        return found

    def _put(self, path: Path, parts: Sequence[bytes]) -> None:
        unfinished = path.with_suffix(".tmp")
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.writelines(parts)
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise StoreUnavailableError(
                f"The folder {self._folder} cannot be written ({error.strerror})."
            ) from error
