"""Reading rule files from disk: a mistake is told with file, line and column, and costs its own file only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.rule_document import Problem, RuleFileError
from trueline.monitor.engine.rule_file import OverrideFile, parse
from trueline.monitor.engine.ruleset import RuleBook, RuleSet

__all__ = ["Problem", "RuleFileError", "RuleSet", "load_rule", "load_rules", "read_files"]

#: A rule file beyond this size, in bytes, is not read; nor are more files than this.
MAX_FILE: Final = 1 << 20
MAX_FILES: Final = 1_000


def load_rules(paths: Iterable[Path], shipped: Path | None = None) -> RuleSet:
    """Load rule files, and all ``*.yaml``/``*.yml`` of folders; a bad file never takes the others down."""
    texts, problems = read_files(paths)
    return RuleBook().update(texts, problems, shipped)


def load_rule(path: Path) -> Rule:
    """Load one rule file; raises RuleFileError with every problem in it."""
    text = _read(path)
    if isinstance(text, Problem):
        raise RuleFileError([text])
    loaded = parse(path, text)
    if isinstance(loaded, OverrideFile):
        said = "this file overrides a rule and is none; give the rules' folder too"
        raise RuleFileError([loaded.document.problem(("override",), said)])
    return loaded


def read_files(paths: Iterable[Path]) -> tuple[dict[Path, str | Problem], list[Problem]]:
    """The texts of files and folders of rules, in order, and what is wrong with the paths themselves.

    A file that is there and cannot be read has a Problem in place of its text. Hidden files are left out, as
    are backups of editors: they do not end in .yaml or .yml.
    """
    files: list[Path] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            if path.is_dir():
                files += sorted(
                    file
                    for file in path.iterdir()
                    if file.suffix in (".yaml", ".yml")
                    and not file.name.startswith(".")
                    and not file.is_dir()
                )
            elif path.exists():
                files.append(path)
            else:
                problems.append(Problem(path, 1, 1, "there is no such file or folder of rules"))
        except OSError as error:
            problems.append(Problem(path, 1, 1, f"the folder cannot be read: {error.strerror}"))
    distinct = {file.resolve(): file for file in reversed(files)}
    kept = [file for file in dict.fromkeys(files) if distinct[file.resolve()] == file]
    if len(kept) > MAX_FILES:
        problems.append(Problem(kept[MAX_FILES], 1, 1, f"there are more than {MAX_FILES} files of rules"))
    return {file: _read(file) for file in kept[:MAX_FILES]}, problems


def _read(path: Path) -> str | Problem:
    try:
        # One read of what is there, whatever it grows to: never a device without an end.
        if path.exists() and not path.is_file():
            return Problem(path, 1, 1, "this is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        return Problem(path, 1, 1, f"the file cannot be read: {error.strerror}")
    if len(content) > MAX_FILE:
        return Problem(path, 1, 1, f"the file is longer than {MAX_FILE} bytes; that is no rule")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return Problem(path, 1, 1, "the file is not UTF-8 text")
