"""Plans of statements, made once a text and kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Final

from trueline.instrumentation.guard import report
from trueline.instrumentation.identity.columns import IdentityColumns
from trueline.instrumentation.identity.config import IdentityConfig
from trueline.instrumentation.semconv import Clause, Kind
from trueline.instrumentation.statement import keywords, plain
from trueline.instrumentation.statement.budget import Budget
from trueline.instrumentation.statement.later import Later
from trueline.instrumentation.statement.lexer import LARGE, Token
from trueline.instrumentation.statement.once import Cache
from trueline.instrumentation.statement.plan import Control, IdentityUse, Ownership, Plan, Way
from trueline.instrumentation.statement.scan import Scan, Slot, scan
from trueline.instrumentation.statement.templates import SlotOwnership, SlotUse, Template, template_of

#: db.query.text and db.query.summary are cut here, in characters.
MAX_TEXT: Final = 4096
MAX_SUMMARY: Final = 255
#: A longer text is kept under its hash, so that the cache stays small.
_MAX_KEY: Final = 4096
_KEY_START: Final = 64
#: A larger template is not parsed: by its tokens it takes microseconds a token, by the parser ten times that.
_MAX_PARSED_TOKENS: Final = 2000
#: What the application's thread reads itself, where there is another one: tokens in all, and for the parser.
_MAX_TOKENS_NOW: Final = 800
_MAX_PARSED_NOW: Final = 250
#: In SQLAlchemy's own inserts of many rows, which have ten tokens a column and are read at once all the same.
_OF_SQLALCHEMY: Final = " AS imp_sen("
_MAX_DEPTH: Final = 60
_MAX_ROW_COLUMNS: Final = 8
#: What is read of a text when there is no budget left.
_GLANCE_CHARACTERS: Final = 400
_GLANCE_TOKENS: Final = 40
_PlanKey = tuple[str, str] | tuple[str, int, int, str]
_TemplateKey = tuple[str, str] | tuple[str, int, int, str]
_RETURNING: Final = "RETURNING"
_NOTHING: Final = Plan(Kind.OTHER, "", (), "", "", complete=False)


@dataclass(slots=True)
class _Counts:
    """What was done with texts that were not seen before; not exact between threads."""

    made: int = 0
    plain: int = 0
    parsed: int = 0
    keywords: int = 0
    glances: int = 0
    later: int = 0
    met: int = 0


class _TooLongForNowError(Exception):
    """The parser would keep the application waiting."""


class Planner:
    """Makes the plan of a statement's text and keeps the last ``max_plans`` of them. Thread-safe.

    A plan costs a dictionary look-up when the text was seen before, a pass over its tokens when only its
    literals are new, and a reading of these or a parse otherwise. Beyond the ``budget`` a new text is glanced
    at: its first words tell kind and tables, nothing else. No thread waits for another that reads the same
    text: it reads a short one itself and glances at a long one. With ``later`` long texts are glanced at
    until another thread has read them.
    """

    def __init__(
        self,
        config: IdentityConfig,
        max_plans: int = 2048,
        budget: Budget | None = None,
        later: Later | None = None,
    ) -> None:
        #: Which columns hold identities: what statements show of foreign keys is learnt here.
        self.columns: Final = IdentityColumns(config)
        self._budget = budget or Budget()
        self._later = later
        self._counts = _Counts()
        self._cached: Cache[_PlanKey, Plan] = Cache(max_plans)
        self._plans = self._cached.values
        self._templates: Cache[_TemplateKey, Template | None] = Cache(max_plans)

    def plan(self, statement: str, dialect: str, context: Any = None) -> Plan:
        """Return the plan of a statement in SQLAlchemy's dialect of that name. Never raises.

        ``context`` is SQLAlchemy's execution context, where there is one: a new text's foreign keys are
        learnt from it before its plan is made.
        """
        try:
            return self._plans[(dialect, statement)]
        except KeyError:
            return self._plan(statement, dialect, context)
        except TypeError:  # not a text at all
            return _NOTHING

    def counts(self) -> dict[str, int]:
        """Tell how new texts were read since the start, and how many plans are kept."""
        counts = self._counts
        return {
            "plans": len(self._cached),
            "made": counts.made,
            "read_plainly": counts.plain,
            "parsed": counts.parsed,
            "by_keywords": counts.keywords,
            "over_budget": counts.glances,
            "read_later": counts.later,
            "read_meanwhile": counts.met,
        }

    def _learn(self, context: Any) -> None:
        """Learn of tables; plans that were made without knowing of them are made again when they are used."""
        tables = self.columns.learn(context)
        if tables:
            for plan_key, plan in list(self._plans.items()):
                if any(table.rpartition(".")[2].lower() in tables for table in plan.tables):
                    self._plans.pop(plan_key, None)
            templates = self._templates.values
            for key, template in list(templates.items()):
                if template is None or any(
                    table.rpartition(".")[2].lower() in tables for table in template.tables
                ):
                    templates.pop(key, None)

    def _plan(self, statement: str, dialect: str, context: Any) -> Plan:
        try:
            key: _PlanKey = (dialect, statement)
            if len(statement) > _MAX_KEY:
                # Its hash is known to the text itself once it was asked for, which the look-up before did.
                key = (dialect, len(statement), hash(statement), statement[:_KEY_START])
                found = self._plans.get(key)
                if found is not None:
                    return found
            return self._cached.get(
                key,
                lambda: self._within_budget(key, statement, dialect, context),
                lambda: self._meanwhile(key, statement, dialect, context),
            )
        except Exception:  # a text that nobody thought of must not reach the application
            return _NOTHING

    def _meanwhile(self, key: _PlanKey, statement: str, dialect: str, context: Any) -> Plan:
        """Another thread is reading the text: read it as well, or glance at a long one."""
        self._counts.met += 1
        if len(statement) <= _MAX_KEY:
            return self._within_budget(key, statement, dialect, context)[0]
        return _glance(statement, dialect)

    def _within_budget(self, key: _PlanKey, statement: str, dialect: str, context: Any) -> tuple[Plan, bool]:
        if not self._budget.is_left():
            self._counts.glances += 1
            return _glance(statement, dialect), False
        start = time.thread_time()
        try:
            if context is not None:
                self._learn(context)
            return self._now_or_later(key, statement, dialect)
        except Exception:  # known from now on, so that it is not tried again and again
            return _NOTHING, True
        finally:
            self._counts.made += 1
            self._budget.spend(time.thread_time() - start)

    def _now_or_later(self, key: _PlanKey, statement: str, dialect: str) -> tuple[Plan, bool]:
        if self._later is None or _OF_SQLALCHEMY in statement:
            return self._make(scan(statement, dialect), dialect), True
        scanned = scan(statement, dialect, now=_MAX_TOKENS_NOW)
        # Of a larger text no more is ever read.
        if scanned.whole or len(statement) > LARGE:
            try:
                return self._make(scanned, dialect, _MAX_PARSED_NOW), True
            except _TooLongForNowError:
                pass
        glance = _glance(statement, dialect)
        # Kept before: the other thread may be done before this one goes on.
        self._cached.keep(key, glance)
        if self._later.do(lambda: self._read_later(key, statement, dialect)):
            self._counts.later += 1
        else:
            self._plans.pop(key, None)
            self._counts.glances += 1
        return glance, False

    def _read_later(self, key: _PlanKey, statement: str, dialect: str) -> None:
        start = time.thread_time()
        try:  # where it fails, which its thread reports, what a glance told stays
            plan = self._make(scan(statement, dialect), dialect)
        finally:
            self._budget.spend(time.thread_time() - start)
        self._cached.keep(key, plan)

    def _make(self, scanned: Scan, dialect: str, max_parsed: int = _MAX_PARSED_TOKENS) -> Plan:
        text = scanned.display(MAX_TEXT)
        parts = _statements(scanned.tokens)
        template = self._template(scanned, parts, dialect, max_parsed)
        if template is None:
            self._counts.keywords += 1
            reading = keywords.read(parts[0] if parts else ())
            return _by_keywords(reading, parts, text, scanned.complete)
        return _bind(template, scanned, text, _last_control(parts))

    def _template(
        self, scanned: Scan, parts: list[list[Token]], dialect: str, max_parsed: int
    ) -> Template | None:
        if not scanned.whole:
            return None
        firsts = [part[0].text.upper() for part in parts]
        if not any(first in keywords.PARSED for first in firsts):
            return None
        texts = [
            text for first, text in zip(firsts, scanned.templates(), strict=True) if first in keywords.PARSED
        ]
        text = ";".join(texts)
        key: _TemplateKey = (dialect, text)
        if len(text) > _MAX_KEY:
            key = (dialect, len(text), hash(text), text[:_KEY_START])
        if key in self._templates.values:
            return self._templates.values[key]

        def read() -> Template | None:
            return self._read(scanned, texts, len(parts), dialect, max_parsed)

        # Two texts that differ in their literals may be read at once: nothing is lost but the time.
        return self._templates.get(key, lambda: (read(), True), read)

    def _read(
        self, scanned: Scan, texts: list[str], statements: int, dialect: str, max_parsed: int
    ) -> Template | None:
        try:
            facts = plain.read(scanned.pieces) if statements == 1 else None
            if facts is not None:
                self._counts.plain += 1
                return template_of(facts, self.columns, dialect)
            if len(scanned.pieces) > _MAX_PARSED_TOKENS or _depth(scanned) > _MAX_DEPTH:
                return None
            if len(scanned.pieces) > max_parsed:
                raise _TooLongForNowError
            self._counts.parsed += 1
            from trueline.instrumentation.statement.parse import analyse  # see load_parser

            return analyse(texts, dialect, self.columns)
        except _TooLongForNowError:
            raise
        except Exception:  # a tree that nobody thought of: its keywords are still true
            return None


def load_parser() -> None:
    """Import the parser, which takes a while: neither while a service starts, nor in a request."""
    try:
        import trueline.instrumentation.statement.parse  # noqa: F401
    except Exception as error:
        report("planner.load", error)


def _glance(statement: str, dialect: str) -> Plan:
    """Read the first words: what the transaction has to know, in a few microseconds."""
    scanned = scan(statement[:_GLANCE_CHARACTERS], dialect, limit=_GLANCE_TOKENS)
    parts = _statements(scanned.tokens)
    reading = keywords.read(parts[0] if parts else ())
    return replace(_by_keywords(reading, parts, scanned.display(MAX_TEXT), False), complete=False)


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
        ownership=None if template.ownership is None else _ownership(template.ownership, slots),
        created=None if template.created is None else _use(template.created, slots),
        complete=scanned.complete,
    )


def _ownership(one: SlotOwnership, slots: list[Slot]) -> Ownership:
    return Ownership(
        one.table,
        tuple(_use(key, slots) for key in one.keys),
        tuple(
            Way(
                tuple((step.rpartition(".")[0], step.rpartition(".")[2]) for step in path),
                IdentityUse(path[-1], domain, Clause.WHERE, ()),
                tuple(_use(link, slots) for link in links),
            )
            for path, domain, links in one.ways
        ),
        any(links for _, _, links in one.ways),
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
