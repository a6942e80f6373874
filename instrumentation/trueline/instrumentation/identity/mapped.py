"""Loaded rows, found by table and key in an ORM session's memory. Nothing is ever loaded or refreshed.

Only the dictionaries of instances are read, never an attribute, so that no loader, descriptor or property of
the application runs. No instance, class or session is kept.
"""

from __future__ import annotations

import sys
import uuid
import weakref
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from trueline.instrumentation.identity.defaults import snake_case
from trueline.instrumentation.identity.recognition import make_room

_MAX_REGISTRIES: Final = 64
_MAX_MAPPERS: Final = 5000
#: Objects that a flush inserts and that are looked at for a key: as many of the first and of the last ones.
_MAX_NEW: Final = 64
#: Rows that were not there, until somebody looks whether classes were mapped meanwhile.
_MISSES: Final = 64
_MISSING: Final = object()


class Attribute(NamedTuple):
    """Where a column's value is in an instance's dictionary, and the column itself, weakly."""

    key: str
    column: weakref.ref[Any]


class _Target:
    """The class by which rows of a table are known in an identity map."""

    __slots__ = ("decorated", "identity_class", "keys")

    def __init__(self, identity_class: type, keys: tuple[str, ...], column: Any) -> None:
        self.identity_class = weakref.ref(identity_class)
        #: Names of the primary key's attributes.
        self.keys = keys
        #: The one column of the primary key, weakly, where the application's own type makes its values.
        self.decorated = weakref.ref(column) if _is_decorated(column) else None


class MappedTables:
    """Which classes are mapped to which tables. Thread-safe: a race finds the same thing twice."""

    def __init__(self) -> None:
        self._targets: dict[str, tuple[_Target, ...]] = {}
        #: By the class's id: the class, and its attributes by table and column.
        self._attributes: dict[int, tuple[weakref.ref[type], dict[tuple[str, str], Attribute | None]]] = {}
        self._mapped = (-1, -1)
        self._misses = 0

    def find(self, session: Any, table: str, key: tuple[object, ...], dialect: Any) -> Any:
        """Return the ORM's state of the row of ``table`` (lower case, with its schema) with this key.

        None where it is neither loaded nor about to be inserted.
        """
        targets = self._targets.get(table)
        if targets is None:
            targets = self._look_again(table)
        identity_map = session.identity_map
        for target in targets:
            cls = target.identity_class()
            if cls is None or len(key) != len(target.keys):
                continue
            state = identity_map.fast_get_state((cls, key, None))
            if state is not None:
                return state
            forms = _other_forms(key)
            if target.decorated is not None:
                forms = (*forms, *_decorated_form(target.decorated(), key[0], dialect))
            for form in forms:
                state = identity_map.fast_get_state((cls, form, None))
                if state is not None:
                    return state
            if session._flushing:
                state = _among_new(session, cls, target.keys, (key, *forms))
                if state is not None:
                    return state
        self._misses += 1
        if self._misses >= _MISSES:
            self._misses = 0
            self._look_again(table)
        return None

    def value_of(self, state: Any, table: str, column: str) -> tuple[Any, Attribute | None]:
        """Return a column's value in a loaded row, and where it is; None where it is not loaded.

        Of a reference that is being taken away (a child whose parent is deleted) it is the value before.
        """
        cls = state.class_
        known = self._attributes.get(id(cls))
        if known is None or known[0]() is not cls:
            make_room(self._attributes)
            known = self._attributes[id(cls)] = (weakref.ref(cls), {})
        try:
            attribute = known[1][(table, column)]
        except KeyError:
            attribute = known[1][(table, column)] = _attribute_of(state.mapper, table, column)
        if attribute is None:
            return None, None
        value = state.dict.get(attribute.key)
        if value is None:
            before = state.committed_state.get(attribute.key)
            # SQLAlchemy's own marks (NO_VALUE, NEVER_SET) are of classes of its own
            value = None if type(before).__module__.startswith("sqlalchemy.") else before
        return value, attribute

    def _look_again(self, table: str) -> tuple[_Target, ...]:
        """Look at the mapped classes, if there are other ones than the last time."""
        # Its public relatives wait for a lock that a thread holds while it configures mappers.
        module = sys.modules.get("sqlalchemy.orm.mapper")
        registries = list(getattr(module, "_mapper_registries", ()))[:_MAX_REGISTRIES]
        mapped = (len(registries), sum(len(registry._managers) for registry in registries))
        if mapped != self._mapped:
            self._mapped = mapped
            self._targets = _targets_of(registries)
        # Of a table that no class is mapped to this is known as well, until the next look.
        if len(self._targets) >= _MAX_MAPPERS:
            return self._targets.get(table, ())
        return self._targets.setdefault(table, ())


def _among_new(session: Any, cls: type, names: tuple[str, ...], forms: tuple[tuple[object, ...], ...]) -> Any:
    """Return the state of an object that the flush that is under way inserts, or just has.

    ``forms``: what its key may look like.
    """
    new = session._new
    # A batch begins with the children of the first ones; what is inserted singly is the last one's mostly.
    for state in chain(
        islice(new, _MAX_NEW), islice(reversed(new), min(_MAX_NEW, max(0, len(new) - _MAX_NEW)))
    ):
        if issubclass(state.class_, cls):
            values = state.dict
            if tuple([values.get(name, _MISSING) for name in names]) in forms:
                return state
    return None


def _targets_of(registries: list[Any]) -> dict[str, tuple[_Target, ...]]:
    found: dict[str, dict[type, _Target]] = {}
    managers = [manager for registry in registries for manager in list(registry._managers)]
    for manager in managers[:_MAX_MAPPERS]:
        try:
            mapper = manager.mapper
            name = getattr(mapper.local_table, "fullname", None)
            if name is None:
                continue  # mapped to a join or a query
            keys = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
            column = mapper.primary_key[0] if len(keys) == 1 else None
            identity_class = mapper.identity_key_from_primary_key(())[0]
        except Exception:  # noqa: S112  # a class in the middle of being mapped
            continue
        found.setdefault(str(name).lower(), {}).setdefault(
            identity_class, _Target(identity_class, keys, column)
        )
    return {name: tuple(targets.values()) for name, targets in found.items()}


def _attribute_of(mapper: Any, table: str, column: str) -> Attribute | None:
    for one in mapper.tables:
        if str(one.fullname).lower() != table:
            continue
        for candidate in one.columns:
            if column in (str(candidate.key), snake_case(str(candidate.name))):
                try:
                    return Attribute(mapper.get_property_by_column(candidate).key, weakref.ref(candidate))
                except Exception:  # the class leaves the column out
                    return None
    return None


def _is_decorated(column: Any) -> bool:
    return hasattr(getattr(column, "type", None), "load_dialect_impl")  # a TypeDecorator


def _decorated_form(column: Any, value: object, dialect: Any) -> tuple[tuple[object, ...], ...]:
    """Return the key as the application has it, who made a type of its own for it."""
    try:
        process = column.type._cached_result_processor(dialect, None)
        return () if process is None else ((process(value),),)
    except Exception:  # the driver gives it another type than it takes
        return ()


def _other_forms(key: tuple[object, ...]) -> tuple[tuple[object, ...], ...]:
    """Return how else the application may hold a key that the driver was given."""
    value = key[0]
    if isinstance(value, int) or len(key) != 1:
        return ()
    if isinstance(value, uuid.UUID):
        return ((str(value),), (value.hex,))
    if isinstance(value, str):
        if len(value) in (32, 36):
            try:
                return ((uuid.UUID(value),),)
            except ValueError:
                return ()
        return ((int(value),),) if len(value) < 20 and value.isdecimal() else ()
    return ((uuid.UUID(bytes=value),),) if isinstance(value, bytes) and len(value) == 16 else ()
