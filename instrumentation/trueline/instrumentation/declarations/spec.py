"""What may stand in a file: descriptions that read it, and that tell editors the same as JSON Schema."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from trueline.instrumentation.declarations.document import Document, Where, kind_of, text_of

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = r"\d+(\.\d+)?(ms|s|m|h|d)"
#: Returned where a value could not be read; a problem has been noted.
WRONG: Final[Any] = object()


class Spec(Protocol):
    """One kind of value."""

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """The value of ``node``; notes a problem and returns WRONG where it has none."""

    def json_schema(self) -> dict[str, Any]:
        """The same for editors."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a form. ``what`` names it in messages; a ``hidden`` one is never repeated there."""

    what: str
    pattern: str = r"\S(.*\S)?"
    hidden: bool = False
    example: str = ""

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """The text without blanks around it."""
        text = text_of(node)
        if text is None:
            quote = ": put it in quotes" if kind_of(node) == "yes or no" else ""
            document.complain(where, f"here belongs {self.what}, not {kind_of(node)}{quote}", at=node)
            return WRONG
        if not re.fullmatch(self.pattern, text):
            shown = "this" if self.hidden else repr(text[:80])
            example = f", such as {self.example}" if self.example else ""
            document.complain(where, f"{shown} is not {self.what}{example}", at=node)
            return WRONG
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string of the form."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words; ``meanings`` has what each stands for."""

    meanings: Mapping[str, str]

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """The word."""
        text = text_of(node)
        if text in self.meanings:
            return text
        shown = kind_of(node) if text is None else repr(text[:80])
        document.complain(where, f"{shown} is not known here; {_nearest(text or '', self.meanings)}", at=node)
        return WRONG

    def json_schema(self) -> dict[str, Any]:
        """An enumeration."""
        meanings = "; ".join(f"{word}: {meaning}" for word, meaning in self.meanings.items())
        return {"enum": list(self.meanings), "description": meanings}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """The value."""
        if node.tag.endswith(":bool"):
            return str(node.value).lower() in ("true", "yes", "on")
        document.complain(where, f"here belongs true or false, not {kind_of(node)}", at=node)
        return WRONG

    def json_schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Duration:
    """A time span with its unit."""

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """Seconds."""
        text = text_of(node) or ""
        match = re.fullmatch(_DURATION, text)
        seconds = float(text.removesuffix(match[2])) * _SECONDS[match[2]] if match else 0.0
        if not 0 < seconds <= 366 * 86400:
            message = f"{text[:80]!r} is not a duration such as 500ms, 30s, 5m, 24h or 7d, of a year at most"
            document.complain(where, message, at=node)
            return WRONG
        return seconds

    def json_schema(self) -> dict[str, Any]:
        """A string such as ``5m``."""
        return {"type": "string", "pattern": f"^{_DURATION}$", "examples": ["500ms", "30s", "5m", "24h"]}


@dataclass(frozen=True, slots=True)
class Moment:
    """A point of time; without a zone it is UTC."""

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """A datetime with a zone."""
        text = text_of(node) or ""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            document.complain(where, f"{text[:80]!r} is not a time such as 2026-11-20T12:00:00Z", at=node)
            return WRONG
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "examples": ["2026-11-20T12:00:00Z"]}


@dataclass(frozen=True, slots=True)
class ListOf:
    """Several of a kind; where ``one`` is set, a single one may stand without the list."""

    item: Spec
    one: bool = False

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """A tuple."""
        if node.tag.endswith(":seq"):
            nodes = node.value
        elif self.one and not isinstance(node.value, list):
            nodes = [node]
        else:
            document.complain(where, f"here belongs a list, not {kind_of(node)}", at=node)
            return WRONG
        found = []
        for index, each in enumerate(nodes):
            place = (*where, index)
            document.seen(place, each)
            value = self.item.read(document, place, each)
            if value is not WRONG:
                found.append(value)
        return tuple(found)

    def json_schema(self) -> dict[str, Any]:
        """An array, or one."""
        item = self.item.json_schema()
        array = {"type": "array", "items": item}
        return {"anyOf": [item, array]} if self.one else array


@dataclass(frozen=True, slots=True)
class MapOf:
    """Values by names that the user chooses."""

    key: Text
    value: Spec

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """A dict."""
        found: dict[str, Any] = {}
        for key, each in pairs(document, where, node):
            name = self.key.read(document, where, key)
            if name is WRONG:
                continue
            place = (*where, name)
            document.seen(place, each, key)
            value = self.value.read(document, place, each)
            if value is not WRONG:
                found[name] = value
        return found

    def json_schema(self) -> dict[str, Any]:
        """An object."""
        names = {"pattern": self.key.json_schema()["pattern"]}
        return {"type": "object", "propertyNames": names, "additionalProperties": self.value.json_schema()}


@dataclass(frozen=True, slots=True)
class OneOrMap:
    """One value for everything, or one by name; the one is read as the name ""."""

    one: Text
    by_name: MapOf

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """A dict."""
        if isinstance(node.value, list):
            return self.by_name.read(document, where, node)
        value = self.one.read(document, where, node)
        return WRONG if value is WRONG else {"": value}

    def json_schema(self) -> dict[str, Any]:
        """Either."""
        return {"anyOf": [self.one.json_schema(), self.by_name.json_schema()]}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record."""

    spec: Spec
    meaning: str
    required: bool = False
    #: The name of the record's argument, where the file's is a word of Python.
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Fields with fixed names, made into an object by ``make``.

    A single value stands for the field ``short``. Where ``hidden`` is set, wrong names are not repeated.
    """

    make: Callable[..., Any]
    fields: Mapping[str, Field]
    short: str = ""
    hidden: bool = False

    def read(self, document: Document, where: Where, node: Any) -> Any:
        """The object."""
        if self.short and not isinstance(node.value, list) and node.tag.rpartition(":")[2] != "null":
            value = self.fields[self.short].spec.read(document, where, node)
            return WRONG if value is WRONG else self.make(**{self._argument(self.short): value})
        if not node.tag.endswith(":map"):
            if node.tag.endswith(":null") and not any(field.required for field in self.fields.values()):
                return self.make()
            names = ", ".join(self.fields)
            document.complain(where, f"here belong the fields {names}, not {kind_of(node)}", at=node)
            return WRONG
        arguments: dict[str, Any] = {}
        wrong = False
        for key, each in pairs(document, where, node):
            name = str(key.value)
            field = self.fields.get(name)
            if field is None:
                shown = "this field" if self.hidden else f"the field {name[:80]!r}"
                near = _nearest("" if self.hidden else name, self.fields)
                document.complain(where, f"{shown} is not known; {near}", at=key)
                wrong = True
                continue
            place = (*where, name)
            document.seen(place, each, key)
            value = field.spec.read(document, place, each)
            wrong = wrong or value is WRONG
            arguments[self._argument(name)] = value
        for name, field in self.fields.items():
            if field.required and self._argument(name) not in arguments:
                meaning = field.meaning[:1].lower() + field.meaning[1:].rstrip(".")
                document.complain(where, f"the field {name} is missing: {meaning}", at=node)
                wrong = True
        return WRONG if wrong else self.make(**arguments)

    def _argument(self, name: str) -> str:
        return self.fields[name].argument or name

    def json_schema(self) -> dict[str, Any]:
        """An object, or its short form."""
        properties = {}
        for name, field in self.fields.items():
            inner = field.spec.json_schema()
            said = inner.pop("description", "")
            properties[name] = {"description": f"{field.meaning} {said}".strip(), **inner}
        schema: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        required = [name for name, field in self.fields.items() if field.required]
        if required:
            schema["required"] = required
        if self.short:
            return {"anyOf": [self.fields[self.short].spec.json_schema(), schema]}
        return schema if required else {**schema, "type": ["object", "null"]}


def pairs(document: Document, where: Where, node: Any) -> list[tuple[Any, Any]]:
    """The keys and values of a mapping; doubled keys and other nodes are noted as problems."""
    if not node.tag.endswith(":map"):
        if not node.tag.endswith(":null"):
            document.complain(where, f"here belongs a mapping, not {kind_of(node)}", at=node)
        return []
    found: dict[str, tuple[Any, Any]] = {}
    for key, value in node.value:
        if isinstance(key.value, list):
            document.complain(where, f"a name is a text, not {kind_of(key)}", at=key)
        elif key.value in found:
            document.complain(where, "this name is there twice: join both", at=key)
        else:
            found[key.value] = (key, value)
    return list(found.values())


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
