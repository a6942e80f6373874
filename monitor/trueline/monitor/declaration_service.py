"""The files of declarations at work in the monitor: read at the start, read again when they change."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from trueline.instrumentation.declarations.document import DeclarationsError, Problem
from trueline.instrumentation.declarations.model import Declarations
from trueline.instrumentation.declarations.place import FILE_NAME
from trueline.instrumentation.declarations.reading import load
from trueline.monitor.errors import SettingsError, StoreError
from trueline.monitor.store.client import Store
from trueline.monitor.store.declarations import StoredDeclarations, as_json

#: Pause between two looks at the files.
RELOAD_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class DeclarationSettings(Protocol):
    """The part of the monitor's settings that is needed here."""

    @property
    def config(self) -> tuple[Path, ...]:
        """Files that were named; empty for the working directory's."""


@dataclass(slots=True)
class _File:
    """One file: what was last read of it, and what is wrong with it now."""

    path: Path
    declared: Declarations | None = None
    signature: tuple[int, ...] = ()
    problem: str = ""
    #: Since when the store has it; None: to be written yet.
    since: datetime | None = None


class DeclarationService:
    """Keeps the store's declarations as the files are, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self, store: Store, settings: DeclarationSettings, reload_seconds: float = RELOAD_SECONDS
    ) -> None:
        """Read the files.

        Raise SettingsError for one that was named and cannot be used. The working directory's need not be
        there; a broken one only shows in :meth:`status` and in the log.
        """
        self._stored = StoredDeclarations(store)
        self._reload_seconds = reload_seconds
        self._files = [_File(path) for path in settings.config or (Path(FILE_NAME),)]
        self._named = bool(settings.config)
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._withdrawn = False
        self._trouble = ""
        for file in self._files:
            self._look(file, say=not self._named)
            if file.problem and self._named:
                end = "" if file.problem.endswith(("?", ")")) else "."
                raise SettingsError(f"The declarations cannot be used: {file.problem}{end}")

    def start(self) -> None:
        """Write what is new to the store and go on looking; returns when the first is done."""
        self.refresh()
        self._thread = threading.Thread(target=self._loop, name="trueline-declarations", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End. A second call does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def refresh(self) -> None:
        """Look at the files now and write what changed; what is wrong is logged, once, and never raised."""
        with self._guard:
            for file in self._files:
                self._look(file)
            try:
                self._write()
                self._trouble = ""
            except StoreError as error:
                if not self._trouble:
                    _log.warning("The declarations wait for the store: %s", error)
                self._trouble = f"The declarations wait for the store: {error}"

    def status(self) -> dict[str, Any]:
        """What is in force, as JSON values, and what is wrong in sentences."""
        with self._guard:
            problems = [file.problem for file in self._files if file.problem]
            items = [
                {
                    "application": file.declared.application,
                    "path": str(file.path),
                    "content_hash": file.declared.content_hash,
                    "valid_from": file.since.isoformat() if file.since else None,
                    "declarations": as_json(file.declared),
                }
                for file in self._files
                if file.declared is not None
            ]
            return {"items": items, "problems": problems + ([self._trouble] if self._trouble else [])}

    def _loop(self) -> None:
        while not self._stopping.wait(self._reload_seconds):
            try:
                self.refresh()
            except Exception:  # a thread that ends would leave the declarations behind without a word
                _log.exception("The declarations could not be read again")

    def _look(self, file: _File, *, say: bool = True) -> None:
        """Read a file if it changed. What cannot be used leaves what was read before."""
        try:
            status = file.path.stat()
        except OSError as error:
            if file.signature or self._named:
                self._complain(file, f"{file.path} cannot be read: {error.strerror}", say)
            file.signature = ()
            return
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
        if signature == file.signature:
            return
        file.signature = signature
        try:
            declared = load(file.path)
            self._require_alone(file, declared)
        except (DeclarationsError, FileNotFoundError) as error:
            self._complain(file, str(error), say)
            return
        file.problem = ""
        if file.declared is None or file.declared.content_hash != declared.content_hash:
            if file.declared is not None:
                _log.info("The declarations in %s have changed and are in force", file.path)
                if file.declared.application != declared.application:
                    self._withdrawn = False
            file.declared, file.since = declared, None

    def _require_alone(self, file: _File, declared: Declarations) -> None:
        for other in self._files:
            if other is not file and other.declared and other.declared.application == declared.application:
                about = f"application {declared.application}" if declared.application else "all applications"
                message = f"{other.path} is also about {about}: join both"
                raise DeclarationsError([Problem(str(file.path), 1, 1, message)])

    def _complain(self, file: _File, problem: str, say: bool) -> None:
        if say and problem != file.problem:
            stays = "; what was read before stays in force" if file.declared else ""
            _log.error("The declarations cannot be used: %s%s", problem, stays)
        file.problem = problem

    def _write(self) -> None:
        """Bring the store up to the files: new versions, and an end to those of files that are gone."""
        if self._withdrawn and all(file.since for file in self._files if file.declared):
            return
        stored = self._stored.in_force()
        for file in self._files:
            if file.declared is None or file.since is not None:
                continue
            digest, since = stored.get(file.declared.application, ("", None))
            file.since = since if digest == file.declared.content_hash else self._stored.add(file.declared)
        if all(not file.problem for file in self._files):
            current = {file.declared.application for file in self._files if file.declared}
            for application in stored.keys() - current:
                self._stored.withdraw(application)
            self._withdrawn = True
