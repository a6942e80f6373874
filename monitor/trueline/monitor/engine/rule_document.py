"""A YAML file with the place of each of its parts, so that a mistake can be told with line and column."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError
from yaml.reader import ReaderError

from trueline.monitor.errors import TruelineError

#: Where a field is in a file: names and positions from the top.
Where = tuple[str | int, ...]
#: Nodes of a file, each time that an alias names one counted: ten aliases of ten aliases of ... are a bomb.
_MAX_NODES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one file; ``line`` and ``column`` count from 1."""

    path: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class RuleFileError(TruelineError):
    """A rule file cannot be used. The message tells the first problem; ``problems`` has all."""

    def __init__(self, problems: list[Problem]) -> None:
        more = f" (and {len(problems) - 1} more; see trueline rules check)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")
        self.problems = problems


def hint(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """``; did you mean least?`` where a known name is much alike, else ``otherwise``."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else otherwise


class Document:
    """The content of a file and where it stands. Raises RuleFileError for what is no YAML mapping."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines = text.splitlines()
        self._marks: dict[Where, yaml.Mark] = {}
        self._blocks: set[Where] = set()
        self._nodes = 0
        loader: Any = None
        try:
            loader, node = _composed(text)
            if not isinstance(node, yaml.MappingNode):
                line = node.start_mark.line + 1 if node is not None else 1
                raise RuleFileError([Problem(path, line, 1, "a rule file is a mapping of fields, not this")])
            self._walk(node, ())
            self.content: dict[str, Any] = loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise RuleFileError(
                [Problem(path, line, column, f"the file is not valid YAML: {error.problem}")]
            ) from None
        except ReaderError as error:
            said = f"the file is not text: it has the character {chr(int(error.character))!r}"
            raise RuleFileError([Problem(path, 1, 1, said)]) from None
        except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
            # A date as 2026-13-45 is a ValueError, a list for a key a TypeError.
            raise RuleFileError([Problem(path, 1, 1, f"the file is not valid YAML: {error}")]) from None
        finally:
            if loader is not None:
                loader.dispose()

    def _walk(self, node: yaml.Node, where: Where) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise RuleFileError([Problem(self.path, 1, 1, f"the file has more than {_MAX_NODES} values")])
        self._marks.setdefault(where, node.start_mark)
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            self._blocks.add(where)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, (*where, index))
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                if name in seen:
                    problem = Problem(
                        self.path,
                        key.start_mark.line + 1,
                        key.start_mark.column + 1,
                        f"{name} is there twice",
                    )
                    raise RuleFileError([problem])
                seen.add(name)
                self._marks[(*where, name, "")] = key.start_mark
                self._walk(value, (*where, name))

    def problem(self, where: Where, message: str, line: int = 0, column: int = 0) -> Problem:
        """A problem at a field, or at a line and column (from 1) of its text."""
        field = ".".join(str(part) for part in where)
        while where and where not in self._marks:
            where = where[:-1]
        mark = self._marks[where]
        if line and where in self._blocks:
            # The text of a block begins on the line after its indicator, indented as its first line is.
            first = next((row for row in self._lines[mark.line + 1 :] if row.strip()), "")
            indent = len(first) - len(first.lstrip())
            return Problem(self.path, mark.line + 1 + line, indent + max(column, 1), f"{field}: {message}")
        return Problem(self.path, mark.line + 1, mark.column + 1, f"{field}: {message}" if field else message)

    def at_name(self, where: Where, message: str) -> Problem:
        """A problem with the name of a field rather than with its value."""
        mark = self._marks.get((*where, ""), self._marks[()])
        return Problem(self.path, mark.line + 1, mark.column + 1, f"{'.'.join(map(str, where))}: {message}")

    def problems_of(self, error: ValidationError, model: type[BaseModel]) -> list[Problem]:
        """The problems in a validation error; those of the whole are lines that begin with a field's name."""
        found = []
        for detail in error.errors():
            if detail["loc"] or detail["type"] != "value_error":
                found.append(self._problem_of(detail, model))
                continue
            for line in str(detail["ctx"]["error"]).split("\n"):
                field, colon, message = line.partition(": ")
                found.append(self.problem((field,), message) if colon else self.problem((), line))
        return found

    def _problem_of(self, detail: Mapping[str, Any], model: type[BaseModel]) -> Problem:
        where = self._known_part(tuple(detail["loc"]))
        name = str(where[-1]) if where else ""
        if detail["type"] == "extra_forbidden":
            known = _fields(model, where[:-1])
            return self.at_name(where, f"unknown field{hint(name, known, '; there are ' + ', '.join(known))}")
        if detail["type"] == "missing":
            return self.problem(where, "this field is required and missing")
        message = str(detail["msg"]).removeprefix("Value error, ")
        return self.problem(where, message[:1].lower() + message[1:])

    def _known_part(self, where: Where) -> Where:
        """Without the names that pydantic puts in for the members of a union."""
        kept: Where = ()
        for part in where:
            if (*kept, part) in self._marks or part == where[-1]:
                kept = (*kept, part)
        return kept


def _composed(text: str) -> tuple[Any, yaml.Node | None]:
    """A loader and the tree of a text: by libyaml, ten times as fast; what is wrong, the other one says."""
    if yaml.__with_libyaml__:
        quick = yaml.CSafeLoader(text)
        try:
            return quick, quick.get_single_node()
        except (yaml.YAMLError, RecursionError, ValueError):
            quick.dispose()
    loader = yaml.SafeLoader(text)
    try:
        return loader, loader.get_single_node()
    except BaseException:
        loader.dispose()
        raise


def _fields(model: type[BaseModel], where: Where) -> list[str]:
    """Names of the fields at a place of the file."""
    for part in where:
        field = model.model_fields.get(str(part)) if isinstance(part, str) else None
        if field is None:
            continue
        nested = [
            kind for kind in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_model(kind)
        ]
        if nested:
            model = nested[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
