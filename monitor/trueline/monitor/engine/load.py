"""Reading rule files: every mistake is told with file, line and column, and costs its own file only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import TemplateSyntaxError
from pydantic import BaseModel, ValidationError

from trueline.monitor.engine.fence import FencedQuery, FenceError, fence
from trueline.monitor.engine.rule import ROW_COLUMNS, WINDOW_PARAMETERS, Rule, RuleDefinition
from trueline.monitor.engine.templates import Template
from trueline.monitor.errors import TruelineError

#: Where a field is in a file: names and positions from the top.
Where = tuple[str | int, ...]
#: What templates can use beside the row's columns: the finding's own counts and the rule's params.
_TEMPLATE_NAMES: Final = frozenset({"params", *ROW_COLUMNS})
_TEMPLATES: Final[tuple[Where, ...]] = (
    ("summary",),
    ("explanation",),
    ("remediation", "now"),
    ("remediation", "then"),
    ("remediation", "check"),
)
#: A rule file beyond this size, in bytes, is not read.
_MAX_FILE: Final = 1 << 20


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


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules that can run, ordered by id, and the problems of those that cannot."""

    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...]


def load_rules(paths: Iterable[Path]) -> RuleSet:
    """Load rule files, and all ``*.yaml``/``*.yml`` of folders; a bad file never takes the others down."""
    rules: dict[str, Rule] = {}
    problems: list[Problem] = []
    for path in _files(paths, problems):
        try:
            rule = load_rule(path)
        except RuleFileError as error:
            problems.extend(error.problems)
            continue
        first = rules.setdefault(rule.id, rule)
        if first is not rule:
            problems.append(
                Problem(path, 1, 1, f"rule {rule.id} is also in {first.path}; give one of them another id")
            )
    return RuleSet(tuple(sorted(rules.values(), key=lambda rule: rule.id)), tuple(problems))


def _files(paths: Iterable[Path], problems: list[Problem]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                file for file in path.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file()
            )
        elif path.exists():
            found.append(path)
        else:
            problems.append(Problem(path, 1, 1, "there is no such file or folder of rules"))
    return list(dict.fromkeys(found))


def load_rule(path: Path) -> Rule:
    """Load one rule file; raises RuleFileError with every problem in it."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise RuleFileError(
                [Problem(path, 1, 1, f"the file is longer than {_MAX_FILE} bytes; that is no rule")]
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RuleFileError([Problem(path, 1, 1, f"the file cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise RuleFileError([Problem(path, 1, 1, "the file is not UTF-8 text")]) from None
    document = _Document(path, text)
    try:
        definition = RuleDefinition.model_validate(document.content)
    except ValidationError as error:
        raise RuleFileError([document.problem_of(detail) for detail in error.errors()]) from None
    return _compile(document, definition)


def _compile(document: _Document, definition: RuleDefinition) -> Rule:
    query = _fenced(document, "query", definition.query)
    trigger = _fenced(document, "trigger", definition.trigger) if definition.trigger else None
    problems = _parameter_problems(document, definition, query, trigger)
    missing = set() if query.columns is None else {*ROW_COLUMNS, *definition.group_by} - set(query.columns)
    problems += [
        document.problem(("query",), f"the query has no result column {name}") for name in sorted(missing)
    ]
    templates: dict[str, Template] = {}
    for where in _TEMPLATES:
        source: Any = definition
        for part in where:
            source = getattr(source, str(part))
        try:
            template = templates[str(where[-1])] = Template(source)
        except TemplateSyntaxError as error:
            problems.append(document.problem(where, f"the template is wrong: {error.message}", error.lineno))
            continue
        if query.columns is not None:
            for name in sorted(template.variables - _TEMPLATE_NAMES - set(query.columns)):
                problems.append(
                    document.problem(where, f"the template uses {name}, which the query does not return")
                )
    if problems:
        raise RuleFileError(problems)
    return Rule(definition, document.path, query, trigger, templates)


def _fenced(document: _Document, field: str, sql: str) -> FencedQuery:
    try:
        return fence(sql)
    except FenceError as error:
        raise RuleFileError([document.problem((field,), str(error), error.line, error.column)]) from None


def _parameter_problems(
    document: _Document, definition: RuleDefinition, query: FencedQuery, trigger: FencedQuery | None
) -> list[Problem]:
    known = {name: param.type for name, param in definition.params.items()}
    known |= dict.fromkeys(WINDOW_PARAMETERS, "DateTime64(3)")
    problems = []
    for field, one in (("query", query), ("trigger", trigger)):
        for name, declared in one.parameters.items() if one else ():
            if name not in known:
                problems.append(document.problem((field,), f"parameter {name} is not in params"))
            elif known[name] != declared:
                said = f"parameter {name} is {declared} here and {known[name]} in params"
                problems.append(document.problem((field,), said))
    unread = {"start", "end", *definition.params} - set(query.parameters)
    problems += [
        document.problem(("query",), f"the query does not use parameter {name}") for name in sorted(unread)
    ]
    return problems


class _Document:
    """A YAML file with the place of each of its parts."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines = text.splitlines()
        self._marks: dict[Where, yaml.Mark] = {}
        self._blocks: set[Where] = set()
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
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
        except (yaml.YAMLError, RecursionError) as error:
            raise RuleFileError([Problem(path, 1, 1, f"the file is not valid YAML: {error}")]) from None
        finally:
            loader.dispose()

    def _walk(self, node: yaml.Node, where: Where) -> None:
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

    def problem_of(self, detail: Mapping[str, Any]) -> Problem:
        """The problem of one entry of pydantic's list."""
        where: Where = tuple(detail["loc"])
        name = str(where[-1]) if where else ""
        if detail["type"] == "extra_forbidden":
            mark = self._marks.get((*where, ""), self._marks[()])
            known = _fields(where[:-1])
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            return Problem(
                self.path,
                mark.line + 1,
                mark.column + 1,
                f"{'.'.join(map(str, where))}: unknown field; {hint}",
            )
        if detail["type"] == "missing":
            return self.problem(where, "this field is required and missing")
        message = str(detail["msg"]).removeprefix("Value error, ")
        return self.problem(where, message[:1].lower() + message[1:])


def _fields(where: Where) -> list[str]:
    """Names of the fields at a place of the file."""
    model: type[BaseModel] = RuleDefinition
    for part in where:
        field = model.model_fields.get(str(part)) if isinstance(part, str) else None
        if field is None:
            continue
        nested = [
            kind for kind in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_model(kind)
        ]
        if nested:
            model = nested[0]
    return list(model.model_fields)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
