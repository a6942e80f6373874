"""The rules on disk, read again whenever somebody asks: what was changed, added or removed is seen."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from trueline.monitor.engine.load import read_files
from trueline.monitor.engine.rule_document import Problem
from trueline.monitor.engine.ruleset import RuleBook, RuleSet


class RuleFolder:
    """The shipped rules and those of the user's files and folders.

        folder = RuleFolder(rule_paths(settings.rules), shipped("rules"))
        rules = folder.refresh()          # every few seconds
        changes(old.enabled, rules.enabled)

    Files are read whole each time and told apart by content: times of files are coarse, and mounted
    configuration (Kubernetes) changes by moving a link. A hundred files take some milliseconds, since only a
    changed one is parsed. Safe to use from any thread.
    """

    def __init__(self, paths: Sequence[Path], shipped: Path | None = None) -> None:
        self._paths = list(paths)
        self._shipped = shipped
        self._book = RuleBook()
        self._texts: dict[Path, str | Problem] = {}
        self._guard = threading.Lock()
        self._current = RuleSet((), ())

    def read_ahead(self) -> threading.Thread:
        """Start the first refresh, most of a second of work, while something else is waited for."""
        thread = threading.Thread(target=self.refresh, name="trueline-read-ahead", daemon=True)
        thread.start()
        return thread

    @property
    def current(self) -> RuleSet:
        """What the last refresh found; nothing before the first."""
        return self._current

    def refresh(self) -> RuleSet:
        """Read the files again. Never raises: what cannot be used is among the problems.

        The same object as last time means that nothing has changed. A folder that is gone altogether (a mount
        that failed, a folder being replaced) is a problem, and its rules stay; a file that is gone from a
        folder that is there takes its rule along.
        """
        with self._guard:
            texts, problems = read_files(self._paths)
            gone = {problem.path for problem in problems}
            for path in self._texts:
                if path not in texts and (path in gone or path.parent in gone):
                    texts[path] = Problem(path, 1, 1, "the file cannot be read")
            self._texts = dict.fromkeys(texts, "")
            self._current = self._book.update(texts, problems, self._shipped)
            return self._current
