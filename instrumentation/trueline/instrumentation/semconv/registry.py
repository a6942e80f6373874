"""The mechanism of the contract: what one attribute is, and the list of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

AttributeType = Literal["string", "string[]", "int", "int[]", "double", "boolean"]

#: Version of the telemetry contract. Minor: names were added. Major: a name changed its meaning.
CONTRACT_VERSION: Final = "0.1.0"
#: Sent as the schema URL of every scope and resource of ours; the monitor reads the version from it.
SCHEMA_URL: Final = f"https://trueline.dev/schemas/{CONTRACT_VERSION}"
#: Instrumentation scope of our own spans and log records.
SCOPE_NAME: Final = "trueline.instrumentation"


class Signal(StrEnum):
    """Where an attribute appears."""

    RESOURCE = "resource"
    STATEMENT = "statement span"
    TRANSACTION = "transaction span"
    ENTRY = "entry span"
    AI = "AI span"
    EVENT = "log event"


class Table(StrEnum):
    """The store's typed tables that take columns from attributes."""

    STATEMENTS = "statements"
    TRANSACTIONS = "transactions"
    ENTRIES = "entries"
    AI_CALLS = "ai_calls"


#: The typed table whose rows are made from spans of a kind. Resource attributes are columns of all four.
TABLE_OF: Final[dict[Signal, Table]] = {
    Signal.STATEMENT: Table.STATEMENTS,
    Signal.TRANSACTION: Table.TRANSACTIONS,
    Signal.ENTRY: Table.ENTRIES,
    Signal.AI: Table.AI_CALLS,
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One name of the contract.

    ``column`` is the column that carries it in the typed tables of its signals; None keeps it in the raw
    table's map only. ``values`` lists a closed set. ``older`` are former spellings that readers accept.
    """

    name: str
    type: AttributeType
    signals: tuple[Signal, ...]
    meaning: str
    column: str | None = None
    values: tuple[str, ...] = ()
    older: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """True for names of Trueline's own, False for OpenTelemetry's."""
        return self.name.startswith("trueline.")

    @property
    def tables(self) -> tuple[Table, ...]:
        """The typed tables that have ``column``."""
        if self.column is None:
            return ()
        if Signal.RESOURCE in self.signals:
            return tuple(Table)
        return tuple(TABLE_OF[signal] for signal in self.signals if signal in TABLE_OF)


@dataclass(frozen=True, slots=True)
class Event:
    """One log event of ours: a log record with this ``event_name``."""

    name: str
    meaning: str
    attributes: tuple[str, ...]


ATTRIBUTES: Final[dict[str, Attribute]] = {}
EVENTS: Final[dict[str, Event]] = {}


def attribute(
    name: str,
    type: AttributeType,
    *signals: Signal,
    meaning: str,
    column: str | None = None,
    values: tuple[str, ...] = (),
    older: tuple[str, ...] = (),
) -> str:
    """Enter an attribute into the registry and return its name, so that constant and entry are one line."""
    if name in ATTRIBUTES:
        raise ValueError(f"attribute {name!r} is registered twice")
    ATTRIBUTES[name] = Attribute(name, type, signals, meaning, column, values, older)
    return name


def event(name: str, *, meaning: str, attributes: tuple[str, ...]) -> str:
    """Enter a log event into the registry and return its name."""
    if name in EVENTS:
        raise ValueError(f"event {name!r} is registered twice")
    unknown = [key for key in attributes if key not in ATTRIBUTES]
    if unknown:
        raise ValueError(f"event {name!r} names unregistered attributes: {unknown}")
    EVENTS[name] = Event(name, meaning, attributes)
    return name
