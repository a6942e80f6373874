"""The baseline: what SQLAlchemy's events say of each write, taken at their word.

A write belongs to the transaction that is begun on its connection; a ``commit`` event makes it committed, a
``rollback`` event rolled back; a statement that raised is rolled back. ``with_savepoints`` is cleverer:
``rollback_savepoint`` undoes what came after the last ``savepoint`` (whose event does not say its name).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event


@dataclass(slots=True)
class _Begun:
    keys: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    savepoints: list[int] = field(default_factory=list)
    undone: set[str] = field(default_factory=set)


class Naive:
    """``outcome[key]`` after the programs; a write that no event settled is not in it."""

    def __init__(self, engine: Any) -> None:
        #: With begin, commit and rollback only; and with the savepoint events too.
        self.plain: dict[str, str] = {}
        self.with_savepoints: dict[str, str] = {}
        self._open: weakref.WeakKeyDictionary[Any, _Begun] = weakref.WeakKeyDictionary()
        for name in (
            "begin", "commit", "rollback", "savepoint", "rollback_savepoint", "release_savepoint",
            "after_cursor_execute", "handle_error",
        ):  # fmt: skip
            event.listen(engine, name, getattr(self, f"_{name}"))

    def _begin(self, connection: Any) -> None:
        self._open[connection] = _Begun()

    def _begun(self, connection: Any) -> _Begun:
        return self._open.setdefault(connection, _Begun())

    def _commit(self, connection: Any) -> None:
        self._end(connection, "committed")

    def _rollback(self, connection: Any) -> None:
        self._end(connection, "rolled_back")

    def _end(self, connection: Any, outcome: str) -> None:
        begun = self._open.pop(connection, None)
        for key in begun.keys if begun else ():
            assert begun is not None
            self.plain[key] = "rolled_back" if key in begun.failed else outcome
            lost = key in begun.failed or key in begun.undone
            self.with_savepoints[key] = "rolled_back" if lost else outcome

    def _savepoint(self, connection: Any, name: str) -> None:
        begun = self._begun(connection)
        begun.savepoints.append(len(begun.keys))

    def _release_savepoint(self, connection: Any, name: str, context: Any) -> None:
        savepoints = self._begun(connection).savepoints
        if savepoints:
            savepoints.pop()

    def _rollback_savepoint(self, connection: Any, name: str, context: Any) -> None:
        begun = self._begun(connection)
        if begun.savepoints:
            begun.undone.update(begun.keys[begun.savepoints.pop() :])

    def _after_cursor_execute(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        self._begun(connection).keys += _keys(parameters)

    def _handle_error(self, context: Any) -> None:
        if context.connection is not None and context.statement is not None:
            keys = list(_keys(context.parameters))
            begun = self._begun(context.connection)
            begun.keys += keys
            begun.failed.update(keys)


def _keys(parameters: Any) -> Iterator[str]:
    if isinstance(parameters, str):
        if parameters.startswith("k"):
            yield parameters
    elif isinstance(parameters, dict):
        for value in parameters.values():
            yield from _keys(value)
    elif isinstance(parameters, (list, tuple)):
        for value in parameters:
            yield from _keys(value)
