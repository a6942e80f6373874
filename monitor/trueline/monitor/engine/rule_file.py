"""One rule file: from its text to a rule that can run, or to all that is wrong with it, in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import TemplateSyntaxError
from pydantic import ValidationError

from trueline.monitor.engine.fenced import FencedQuery, FenceError
from trueline.monitor.engine.parameters import is_parameter_type, value_problem
from trueline.monitor.engine.proofs import proved
from trueline.monitor.engine.rule import (
    CANDIDATES,
    ROW_COLUMNS,
    WINDOW_PARAMETERS,
    Override,
    Rule,
    RuleDefinition,
)
from trueline.monitor.engine.rule_document import Document, Problem, RuleFileError, Where, hint
from trueline.monitor.engine.rule_rows import RuleTestError, span_rows
from trueline.monitor.engine.templates import Template

#: Names that templates can use beside the row's columns: the finding's own counts and the rule's params.
_TEMPLATE_NAMES: Final = frozenset({"params", *ROW_COLUMNS})
_TEMPLATES: Final[tuple[Where, ...]] = (
    ("summary",),
    ("explanation",),
    ("remediation", "now"),
    ("remediation", "then"),
    ("remediation", "check"),
)
#: What ``expect`` of a test may name beside columns.
_TEST_TEXTS: Final = ("summary", "explanation", "remediation")
_QUERIES: Final[tuple[Where, ...]] = (("query",), ("trigger",), ("resolve", "healthy"))
#: The column that tells since when a group is well.
HEALTHY_AT: Final = "healthy_at"


@dataclass(frozen=True, slots=True)
class OverrideFile:
    """A file that changes another rule, with the places of its fields."""

    path: Path
    override: Override
    document: Document


def parse(path: Path, text: str) -> Rule | OverrideFile:
    """Read a file's text; raises RuleFileError with every problem in it."""
    document = Document(path, text)
    if "override" in document.content:
        return _parse_override(document)
    return _Parser(document).rule()


def _parse_override(document: Document) -> OverrideFile:
    try:
        override = Override.model_validate(document.content)
    except ValidationError as error:
        raise RuleFileError(document.problems_of(error, Override)) from None
    return OverrideFile(document.path, override, document)


def overridden(rule: Rule, file: OverrideFile) -> Rule:
    """The rule as the file changes it; raises RuleFileError where it does not fit this rule."""
    override, document = file.override, file.document
    definition, problems = rule.definition, []
    params = dict(definition.params)
    for name, value in override.params.items():
        if name not in params:
            there = f"; it has {', '.join(params)}" if params else "; it has none"
            said = f"rule {rule.id} has no such parameter{hint(name, params, there)}"
            problems.append(document.at_name(("params", name), said))
        elif problem := value_problem(params[name].type, value):
            problems.append(document.problem(("params", name), problem))
        else:
            params[name] = params[name].model_copy(update={"default": value})
    problems += list(_exception_problems(document, override.exceptions, rule.query.columns))
    if problems:
        raise RuleFileError(problems)
    changed = definition.model_copy(
        update={
            "params": params,
            "severity": override.severity or definition.severity,
            "exceptions": [*definition.exceptions, *override.exceptions],
        }
    )
    return replace(rule, definition=changed, override=override, override_path=file.path)


class _Parser:
    """Checks as much of a rule file as can be checked, whatever else is wrong with it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._problems: list[Problem] = []

    def rule(self) -> Rule:
        document = self._document
        definition: RuleDefinition | None = None
        try:
            definition = RuleDefinition.model_validate(document.content)
        except ValidationError as error:
            self._problems += document.problems_of(error, RuleDefinition)
        queries = {where[-1]: query for where in _QUERIES if (query := self._fenced(where)) is not None}
        self._parameters(queries)
        query = queries.get("query")
        columns = query.columns if query is not None else None
        if columns is not None:
            self._columns(columns)
        if "healthy" in queries:
            self._healthy(queries["healthy"])
        self._needs(queries)
        templates = self._templates(columns)
        if definition is not None:
            self._problems += _exception_problems(document, definition.exceptions, columns)
        self._tests(columns)
        if self._problems or definition is None or query is None:
            found = set(self._problems)
            raise RuleFileError(sorted(found, key=lambda one: (one.line, one.column, one.message)))
        return Rule(
            definition, document.path, query, queries.get("trigger"), templates, queries.get("healthy")
        )

    def _raw(self, where: Where) -> Any:
        """What the file has at a place, None where it has nothing."""
        value: Any = self._document.content
        for part in where:
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def _fenced(self, where: Where) -> FencedQuery | None:
        text = self._raw(where)
        if not isinstance(text, str) or not text.strip():
            return None
        try:
            return proved(text.rstrip())
        except FenceError as error:
            self._problems.append(self._document.problem(where, str(error), error.line, error.column))
            return None

    def _parameters(self, queries: Mapping[Any, FencedQuery]) -> None:
        given = self._raw(("params",))
        declared: dict[str, Any] = {
            str(name): param.get("type") if isinstance(param, Mapping) else None
            for name, param in (given.items() if isinstance(given, Mapping) else ())
        }
        declared = {name: kind for name, kind in declared.items() if name not in WINDOW_PARAMETERS}
        known = declared | dict.fromkeys(WINDOW_PARAMETERS, "DateTime64(3)")
        for where in _QUERIES:
            for name, kind in queries[where[-1]].parameters.items() if where[-1] in queries else ():
                if name.startswith(CANDIDATES) and where == ("query",) and "trigger" in queries:
                    continue
                if name not in known:
                    said = f"parameter {name} is not in params{hint(name, known)}"
                    self._problems.append(self._document.problem(where, said))
                elif known[name] != kind and is_parameter_type(str(known[name])):
                    said = f"parameter {name} is {kind} here and {known[name]} in params"
                    self._problems.append(self._document.problem(where, said))
        if "query" not in queries:
            return
        used = {name for query in queries.values() for name in query.parameters}
        for name in ("start", "end"):
            if not any(name in queries[part].parameters for part in ("query", "trigger") if part in queries):
                said = f"the query does not use parameter {name}: bound arrivals by {{{name}:DateTime64(3)}}"
                self._problems.append(self._document.problem(("query",), said))
        for name in sorted(set(declared) - used):
            said = f"the query does not use parameter {name}{hint(name, used - set(known))}"
            self._problems.append(self._document.at_name(("params", name), said))

    def _columns(self, columns: tuple[str, ...]) -> None:
        for name in ROW_COLUMNS:
            if name not in columns:
                said = f"the query has no result column {name}{hint(name, columns)}"
                self._problems.append(self._document.problem(("query",), said))
        group = self._raw(("group_by",))
        for at, name in enumerate(group if isinstance(group, list) else ()):
            if isinstance(name, str) and name not in columns:
                said = f"the query has no result column {name}{hint(name, set(columns) - set(ROW_COLUMNS))}"
                self._problems.append(self._document.problem(("group_by", at), said))

    def _healthy(self, query: FencedQuery) -> None:
        columns, group = query.columns, self._raw(("group_by",))
        if columns is None or not isinstance(group, list):
            return
        where: Where = ("resolve", "healthy")
        if HEALTHY_AT not in columns:
            said = f"the query has no result column {HEALTHY_AT}{hint(HEALTHY_AT, columns)}"
            self._problems.append(self._document.problem(where, said))
        if not set(columns) & set(map(str, group)):
            said = f"the query has no column of group_by: at least one of {', '.join(map(str, group))}"
            self._problems.append(self._document.problem(where, said))

    def _needs(self, queries: Mapping[Any, FencedQuery]) -> None:
        tables = self._raw(("needs", "tables"))
        if "query" not in queries or not isinstance(tables, list):
            return
        read = frozenset().union(*(query.tables for query in queries.values()))
        for at, table in enumerate(tables):
            if isinstance(table, str) and table not in read:
                said = f"nothing in this rule reads {table}; it reads {', '.join(sorted(read))}"
                self._problems.append(self._document.problem(("needs", "tables", at), said))

    def _templates(self, columns: tuple[str, ...] | None) -> dict[str, Template]:
        templates: dict[str, Template] = {}
        for where in _TEMPLATES:
            source = self._raw(where)
            if not isinstance(source, str):
                continue
            try:
                template = templates[str(where[-1])] = Template(source.strip())
            except TemplateSyntaxError as error:
                said = f"the template is wrong: {error.message}"
                self._problems.append(self._document.problem(where, said, error.lineno))
                continue
            known = _TEMPLATE_NAMES | set(columns or ())
            for name in sorted(template.variables - known) if columns is not None else ():
                said = f"the template uses {name}, which the query does not return{hint(name, known)}"
                self._problems.append(self._document.problem(where, said))
        return templates

    def _tests(self, columns: tuple[str, ...] | None) -> None:
        tests = self._raw(("tests",))
        for at, test in enumerate(tests if isinstance(tests, list) else ()):
            if not isinstance(test, Mapping):
                continue
            for problem in _test_problems(test):
                self._problems.append(self._document.problem(("tests", at, *problem[0]), problem[1]))
            expected = test.get("expect")
            for number, row in enumerate(expected if isinstance(expected, list) else ()):
                for name in row if isinstance(row, Mapping) and columns is not None else ():
                    if name not in (known := (*(columns or ()), *_TEST_TEXTS)):
                        where: Where = ("tests", at, "expect", number, str(name))
                        said = f"the query has no result column {name}{hint(str(name), known)}"
                        self._problems.append(self._document.problem(where, said))


def _test_problems(test: Mapping[str, Any]) -> Iterator[tuple[Where, str]]:
    """Mistakes in a test's rows, which :mod:`.rule_tests` would fail on."""
    known = ("name", "rows", "expect")
    for name in test:
        if name not in known:
            yield (str(name),), f"unknown field{hint(str(name), known, '; a test has name, rows and expect')}"
    rows = test.get("rows")
    if not isinstance(rows, Mapping) or not any(rows.values()):
        yield (
            ("rows",) if "rows" in test else (),
            "rows is missing, empty or not a mapping from tables to lists",
        )
        return
    for table, listed in rows.items():
        if not isinstance(listed, list) or not all(isinstance(row, Mapping) for row in listed):
            yield ("rows", str(table)), "this is not a list of rows"
            continue
        for number, row in enumerate(listed):
            try:
                span_rows(str(table), [row], now=datetime(2026, 1, 1, tzinfo=UTC))
            except RuleTestError as error:
                yield ("rows", str(table), number), str(error)
            except (TypeError, ValueError, OverflowError) as error:
                yield ("rows", str(table), number), f"the row cannot be understood: {error}"


def _exception_problems(
    document: Document, exceptions: Any, columns: tuple[str, ...] | None
) -> Iterator[Problem]:
    # An override's exceptions are at the same place of its own file.
    for at, exception in enumerate(exceptions):
        for name in exception.match:
            if columns is not None and name not in columns:
                said = f"the query has no result column {name}{hint(name, columns)}"
                yield document.at_name(("exceptions", at, "match", name), said)
