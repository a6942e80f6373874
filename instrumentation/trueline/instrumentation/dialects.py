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


def _watched_executemany(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def do_executemany(self: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        begun = None if runtime.active is None or context is None else execution.begin(context)
        if begun is None:
            return original(self, cursor, statement, parameters, context)
        before = execution.changes_before(begun, context)
        try:
            result = original(self, cursor, statement, parameters, context)
        except BaseException as error:
            execution.failed(begun, context, statement, parameters, error, before)
            raise
        execution.ran(begun, context, cursor, statement, parameters)
        return result

    return do_executemany


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
        if state is None or state.deciding:
            return original(self, connection, *args, **kwargs)
        aborted = ending.will_be_refused(state, connection)
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
        if state is None or state.deciding:
            return original(self, connection, *args, **kwargs)
        # Before the call: an exception of the rollback's own would hide the one that caused it.
        why = ending.before_rollback(state, connection)
        try:
            result = original(self, connection, *args, **kwargs)
        except BaseException:
            ending.rolled_back(state, why, connection, raised=True)
            raise
        ending.rolled_back(state, why, connection)
        return result

    return do_rollback


def _watched_prepare(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def do_prepare_twophase(self: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = None if runtime.active is None else ending.state_in_transaction(connection)
        if state is None:
            return original(self, connection, *args, **kwargs)
        try:
            result = original(self, connection, *args, **kwargs)
        except BaseException as error:
            ending.commit_failed(self, state, connection, error)
            raise
        ending.prepared(state)
        return result

    return do_prepare_twophase


def _deciding(original: Callable[..., Any]) -> Callable[..., Any]:
    """Dialects end a two-phase transaction by statements, and by rolling the connection back after them."""

    @functools.wraps(original)
    def decide(self: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = None if runtime.active is None else ending.state_in_transaction(connection)
        if state is None:
            return original(self, connection, *args, **kwargs)
        state.deciding = True
        try:
            return original(self, connection, *args, **kwargs)
        finally:
            state.deciding = False

    return decide


def _watched_commit_twophase(original: Callable[..., Any]) -> Callable[..., Any]:
    return _watched_commit(_deciding(original))


def _watched_rollback_twophase(original: Callable[..., Any]) -> Callable[..., Any]:
    return _watched_rollback(_deciding(original))


_METHODS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "do_execute": _watched_execute,
    "do_executemany": _watched_executemany,
    "do_execute_no_params": _watched_execute_no_params,
    "do_commit": _watched_commit,
    "do_rollback": _watched_rollback,
    "do_prepare_twophase": _watched_prepare,
    "do_commit_twophase": _watched_commit_twophase,
    "do_rollback_twophase": _watched_rollback_twophase,
}
