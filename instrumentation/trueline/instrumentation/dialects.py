"""The driver's own execute, commit and rollback, watched on SQLAlchemy's dialect classes.

SQLAlchemy's engine events cost more than everything else that is done here, its commit event fires before
the database commits, and pools roll back without any event. The dialect's ``do_execute``, ``do_commit``,
``do_rollback`` and relatives are where all of it really happens and where a failure shows. They are wrapped
on the classes, so that engines of before and after, held connections and thousands of short-lived engines
are all covered, and wrapped again nowhere.

A wrapper passes arguments, result and exception through unchanged; what it does around them is guarded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from trueline.instrumentation import ending, execution, runtime
from trueline.instrumentation.guard import report

#: (class, name, the function that was there, ours)
_wrapped: list[tuple[type, str, Any, Any]] = []
_known: set[type] = set()


def wrap_dialects() -> None:
    """Wrap the methods of every dialect class that is loaded."""
    pending: list[type] = [DefaultDialect]
    while pending:
        kind = pending.pop()
        wrap_class(kind)
        pending.extend(kind.__subclasses__())


def cover(dialect: Any) -> None:
    """Wrap what a dialect's classes bring of their own, if they were loaded since."""
    kind = type(dialect)
    if kind not in _known:
        for one in kind.__mro__:
            wrap_class(one)


def wrap_class(kind: type) -> None:
    """Wrap the methods that ``kind`` itself defines, once."""
    if kind in _known:
        return
    _known.add(kind)
    if not issubclass(kind, DefaultDialect):
        return  # interfaces and mixins outside of it define none of the real methods
    for name, wrap in _METHODS.items():
        original = kind.__dict__.get(name)
        if callable(original):
            wrapper = wrap(original)
            setattr(kind, name, wrapper)
            _wrapped.append((kind, name, original, wrapper))


def unwrap_dialects() -> None:
    """Give every class its own methods back; what somebody put over ours meanwhile stays."""
    while _wrapped:
        kind, name, original, wrapper = _wrapped.pop()
        try:
            if kind.__dict__.get(name) is wrapper:
                setattr(kind, name, original)
        except Exception as error:
            report("dialects.unwrap", error)
    _known.clear()


def _watched_execute(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def do_execute(self: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        begun = None if runtime.active is None or context is None else execution.begin(context)
        if begun is None:
            return original(self, cursor, statement, parameters, context)
        try:
            result = original(self, cursor, statement, parameters, context)
        except BaseException as error:
            execution.failed(begun, context, statement, parameters, error)
            raise
        execution.ran(begun, context, cursor, statement, parameters)
        return result

    return do_execute


def _watched_execute_no_params(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def do_execute_no_params(self: Any, cursor: Any, statement: Any, context: Any = None) -> Any:
        begun = None if runtime.active is None or context is None else execution.begin(context)
        if begun is None:
            return original(self, cursor, statement, context)
        try:
            result = original(self, cursor, statement, context)
        except BaseException as error:
            execution.failed(begun, context, statement, (), error)
            raise
        execution.ran(begun, context, cursor, statement, ())
        return result

    return do_execute_no_params


def _watched_commit(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def do_commit(self: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = None if runtime.active is None else ending.state_in_transaction(connection)
        if state is None:
            return original(self, connection, *args, **kwargs)
        aborted = ending.will_be_refused(state, connection) if state.tells_aborted else False
        try:
            result = original(self, connection, *args, **kwargs)
        except BaseException as error:
            ending.commit_failed(self, state, connection, error)
            raise
        ending.committed(state, aborted)
        return result

    return do_commit


def _watched_rollback(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def do_rollback(self: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = None if runtime.active is None else ending.state_in_transaction(connection)
        if state is None:
            return original(self, connection, *args, **kwargs)
        # Before the call: an exception of the rollback's own would hide the one that caused it.
        ending.rolled_back(state)
        try:
            return original(self, connection, *args, **kwargs)
        except BaseException:
            ending.rollback_failed(state)
            raise

    return do_rollback


_METHODS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "do_execute": _watched_execute,
    "do_executemany": _watched_execute,
    "do_execute_no_params": _watched_execute_no_params,
    "do_commit": _watched_commit,
    "do_rollback": _watched_rollback,
    "do_commit_twophase": _watched_commit,
    "do_rollback_twophase": _watched_rollback,
}
