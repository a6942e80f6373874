"""Plans of statements, made once a text and kept."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from typing import Any, Final, TypeVar

from trueline.instrumentation.identity.columns import IdentityColumns
from trueline.instrumentation.identity.config import IdentityConfig
from trueline.instrumentation.semconv import Kind
from trueline.instrumentation.statement import keywords
from trueline.instrumentation.statement.lexer import Token
from trueline.instrumentation.statement.parse import SlotUse, Template, analyse
from trueline.instrumentation.statement.plan import Control, IdentityUse, Plan
from trueline.instrumentation.statement.scan import Scan, Slot, scan

#: db.query.text and db.query.summary are cut here, in characters.
MAX_TEXT: Final = 4096
MAX_SUMMARY: Final = 255
#: A longer text is kept under its digest, so that the cache stays small.
_MAX_KEY: Final = 4096
#: No more of a text is read.
_MAX_READ: Final = 1_000_000
#: A larger template is not parsed: by keywords it takes microseconds a token, by the parser ten times that.
_MAX_PARSED_TOKENS: Final = 5000
_MAX_DEPTH: Final = 60
_MAX_ROW_COLUMNS: Final = 8
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_RETURNING: Final = "RETURNING"
_NOTHING: Final = Plan(Kind.OTHER, "", (), "", "", complete=False)


class Planner:
    """Makes the plan of a statement's text and keeps the last ``max_plans`` of them. Thread-safe.

    A plan costs a dictionary look-up when the text was seen before, a pass over its tokens when only its
    literals are new, and a parse otherwise.
    """

    def __init__(self, config: IdentityConfig, max_plans: int = 2048) -> None:
        #: Which columns hold identities: what statements show of foreign keys is learnt here.
        self.columns: Final = IdentityColumns(config)
        self._max_plans = max(1, max_plans)
        self._plans: dict[tuple[str, str | bytes], Plan] = {}
        self._templates: dict[tuple[str, str], Template | None] = {}

    def plan(self, statement: str, dialect: str, context: Any = None) -> Plan:
        """Return the plan of a statement in SQLAlchemy's dialect of that name. Never raises.

        ``context`` is SQLAlchemy's execution context, where there is one: a new text's foreign keys are
        learnt from it before its plan is made.
        """
        try:
            return self._plans[(dialect, statement)]
        except KeyError:
            if context is not None:
                self._learn(context)
            return self._plan(statement, dialect)
        except TypeError:  # not a text at all
            return _NOTHING

    def _learn(self, context: Any) -> None:
        """Learn of tables; plans that were made without knowing of them are made again when they are used."""
        tables = self.columns.learn(context)
        if tables:
            for plan_key, plan in list(self._plans.items()):
                if any(table.rpartition(".")[2].lower() in tables for table in plan.tables):
                    self._plans.pop(plan_key, None)
            for key, template in list(self._templates.items()):
                if template is None or any(
                    table.rpartition(".")[2].lower() in tables for table in template.tables
                ):
                    self._templates.pop(key, None)

    def _plan(self, statement: str, dialect: str) -> Plan:
        try:
            key: tuple[str, str | bytes] = (dialect, statement)
            if len(statement) > _MAX_KEY:
                data = statement.encode("utf-8", "surrogatepass")
                key = (dialect, hashlib.blake2b(data, digest_size=16).digest())
                found = self._plans.get(key)
                if found is not None:
                    return found
            plan = self._make(statement, dialect)
        except Exception:  # a text that nobody thought of must not reach the application
            return _NOTHING
        _make_room(self._plans, self._max_plans)
        self._plans[key] = plan
        return plan

    def _make(self, statement: str, dialect: str) -> Plan:
        scanned = scan(statement[:_MAX_READ], dialect)
        if len(statement) > _MAX_READ:
            scanned.complete = False
        text = scanned.display(MAX_TEXT)
        parts = _statements(scanned.tokens)
        template = self._template(scanned, parts, dialect)
        if template is None:
            reading = keywords.read(parts[0] if parts else ())
            return _by_keywords(reading, parts, text, scanned.complete)
        return _bind(template, scanned, text, _last_control(parts))

    def _template(self, scanned: Scan, parts: list[list[Token]], dialect: str) -> Template | None:
        firsts = [part[0].text.upper() for part in parts]
        if not any(first in keywords.PARSED for first in firsts):
            return None
        if len(scanned.pieces) > _MAX_PARSED_TOKENS or _depth(scanned) > _MAX_DEPTH:
            return None
        texts = [
            text for first, text in zip(firsts, scanned.templates(), strict=True) if first in keywords.PARSED
        ]
        text = ";".join(texts)
        key = (dialect, text)
        try:
            return self._templates[key]
        except KeyError:
            pass
        try:
            template = analyse(texts, dialect, self.columns)
        except Exception:  # a tree that nobody thought of: its keywords are still true
            template = None
        if len(text) <= 4 * _MAX_KEY:
            _make_room(self._templates, self._max_plans)
            self._templates[key] = template
        return template


def _make_room(cache: MutableMapping[_Key, _Value], size: int) -> None:
    """Drop the oldest eighth of a full cache: what is used often is made again at once.

    Without a lock, which a fork could copy while another thread holds it: each step is atomic.
    """
    if len(cache) >= size:
        for key in list(cache)[: max(1, size // 8)]:
            cache.pop(key, None)


def _statements(tokens: list[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == ";" and token.kind == "op":
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _depth(scanned: Scan) -> int:
    depth = deepest = 0
    for piece in scanned.pieces:
        if piece.template == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif piece.template == ")":
            depth -= 1
    return deepest


def _last_control(parts: list[list[Token]]) -> Control | None:
    """A script that ends with COMMIT or ROLLBACK has settled what it did."""
    if len(parts) < 2:
        return None
    control = keywords.read(parts[-1]).control
    return control if control in (Control.COMMIT, Control.ROLLBACK) else None


def _by_keywords(reading: keywords.Reading, parts: list[list[Token]], text: str, complete: bool) -> Plan:
    parsed = reading.operation in keywords.PARSED
    return Plan(
        kind=reading.kind,
        operation=reading.operation,
        tables=reading.tables,
        summary=_summary(reading.operation, reading.tables),
        text=text,
        control=reading.control or _last_control(parts),
        control_name=reading.control_name,
        complete=complete and not parsed,
    )


def _summary(operation: str, tables: tuple[str, ...]) -> str:
    return " ".join((operation, *tables)).strip()[:MAX_SUMMARY]


def _bind(template: Template, scanned: Scan, text: str, control: Control | None) -> Plan:
    """Make the plan of one text from the template that it shares with others."""
    slots = scanned.slots
    return Plan(
        kind=template.kind,
        operation=template.operation,
        tables=template.tables,
        summary=_summary(template.operation, template.tables),
        text=text,
        filters=template.filters,
        lock=template.lock,
        self_update=template.self_update,
        on_conflict=template.on_conflict,
        returning=_RETURNING in text.upper(),
        control=control,
        identities=tuple(use for one in template.identities if (use := _use(one, slots)).sources),
        row_filter=tuple(_use(one, slots) for one in template.row_filter[:_MAX_ROW_COLUMNS]),
        complete=scanned.complete,
    )


def _use(one: SlotUse, slots: list[Slot]) -> IdentityUse:
    sources = tuple(source for slot in one.slots for source in slots[slot].sources)
    only = sources[0] if len(sources) == 1 else None
    return IdentityUse(
        column=one.column,
        domain=one.domain,
        clause=one.clause,
        sources=sources,
        key=only if isinstance(only, int | str) and not one.transform else None,
        transform=one.transform,
        more=sum(slots[slot].more for slot in one.slots),
    )
