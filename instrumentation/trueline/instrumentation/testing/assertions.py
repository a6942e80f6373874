"""Assertions on a recording. Each failure says what was looked for, what came near, and shows everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from trueline.instrumentation.semconv import Outcome
from trueline.instrumentation.testing.model import AiCall, Identity, Recording, Statement, Transaction
from trueline.instrumentation.testing.timeline import (
    Names,
    describe,
    error_text,
    identity_text,
    render,
    wrapped,
)

_MAX_NEAR: Final = 8
_MAX_LINES: Final = 120


class TelemetryAssertionError(AssertionError):
    """What was recorded is not what the test expects."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which statements are looked for; what is None does not matter."""

    table: str | None = None
    kind: str | None = None
    operation: str | None = None
    column: str | None = None
    identity: object = None
    encoding: str | None = None
    clause: str | None = None
    fate: str | None = None

    def fits(self, statement: Statement) -> bool:
        """Whether ``statement`` is one of them."""
        return self.fits_action(statement) and self.fits_identity(statement) and self.fits_fate(statement)

    def fits_action(self, statement: Statement) -> bool:
        """Whether it is the right kind of statement on the right table."""
        return (
            (self.kind is None or statement.kind == self.kind)
            and (self.operation is None or statement.operation == self.operation.upper())
            and (self.table is None or any(_is_table(name, self.table) for name in _acted_on(statement)))
        )

    def fits_identity(self, statement: Statement) -> bool:
        """Whether one identity of it has everything that is wanted of an identity."""
        wanted = (self.column, self.identity, self.encoding, self.clause)
        if all(one is None for one in wanted):
            return True
        return any(
            (self.column is None or _is_table(identity.column, self.column))
            and (self.identity is None or identity.of(self.identity))
            and (self.encoding is None or identity.encoding == self.encoding)
            and (self.clause is None or identity.clause == self.clause)
            for identity in statement.identities
        )

    def fits_fate(self, statement: Statement) -> bool:
        """Whether that became of it."""
        return self.fate is None or statement.fate == self.fate

    def told(self, number: int) -> str:
        """In words, for a number of them."""
        what = f"{self.operation} statement" if self.operation else self.kind or "statement"
        text = what if number == 1 else f"{what}s"
        if self.table:
            text += f" of {self.table}"
        if self.column:
            text += f" under {self.column}"
        if self.identity is not None:
            text += f" of identity {self.identity}"
        if self.encoding:
            text += f" as {self.encoding}"
        return text


class Assertions:
    """The assertions of :class:`Telemetry`, on what :meth:`_recording` returns."""

    def _recording(self) -> Recording:
        raise NotImplementedError

    def _names(self) -> Names:
        raise NotImplementedError

    def _know(self, raw: object) -> None:
        raise NotImplementedError

    def find(
        self,
        table: str | None = None,
        *,
        kind: str | None = None,
        operation: str | None = None,
        column: str | None = None,
        identity: object = None,
        encoding: str | None = None,
        clause: str | None = None,
        fate: str | None = None,
    ) -> list[Statement]:
        """Statements that fit everything given.

        ``table`` and ``column`` may leave out what stands before a dot: ``user_id`` finds
        ``expenses.user_id``. ``kind`` is read, write, ddl or other. ``identity`` is a raw value, in any form
        that the application uses. ``column``, ``identity``, ``encoding`` and ``clause`` (set or where) must
        fit one and the same identity of the statement. ``fate`` is committed, rolled_back, open or unknown.
        """
        return self._found(Wanted(table, kind, operation, column, identity, encoding, clause, fate))

    def _found(self, wanted: Wanted) -> list[Statement]:
        if wanted.identity is not None:
            self._know(wanted.identity)
        return [one for one in self._recording().statements if not one.is_control and wanted.fits(one)]

    # -- what was written ----------------------------------------------------------------------------

    def assert_committed(
        self,
        table: str | None = None,
        *,
        operation: str | None = None,
        column: str | None = None,
        identity: object = None,
        encoding: str | None = None,
        times: int | None = None,
    ) -> list[Statement]:
        """The code under test wrote this and committed it, ``times`` times (default: at least once).

        Statements are counted, not rows. In a session that joined a test's outer transaction its own commit
        counts (see ``Transaction.fate``). Returns the statements found.
        """
        __tracebackhide__ = True
        wanted = Wanted(table, "write", operation, column, identity, encoding, fate=Outcome.COMMITTED)
        return self._counted(wanted, "committed", times)

    def assert_rolled_back(
        self,
        table: str | None = None,
        *,
        operation: str | None = None,
        column: str | None = None,
        identity: object = None,
        encoding: str | None = None,
        times: int | None = None,
    ) -> list[Statement]:
        """The code under test wrote this and it was undone, ``times`` times (default: at least once)."""
        __tracebackhide__ = True
        wanted = Wanted(table, "write", operation, column, identity, encoding, fate=Outcome.ROLLED_BACK)
        return self._counted(wanted, "rolled back", times)

    def assert_nothing_rolled_back(self) -> None:
        """Every write so far was committed or is open: none undone, refused, or of unknown outcome."""
        __tracebackhide__ = True
        lost = self._found(Wanted(kind="write", fate=Outcome.ROLLED_BACK))
        lost += self._found(Wanted(kind="write", fate=Outcome.UNKNOWN))
        if lost:
            self._fail(
                "expected no write to be rolled back", [f"{self._told(one)}: {_end_of(one)}" for one in lost]
            )

    def _counted(self, wanted: Wanted, ended: str, times: int | None) -> list[Statement]:
        __tracebackhide__ = True
        found = self._found(wanted)
        if len(found) == times or (times is None and found):
            return found
        number = "at least one" if times is None else "no" if times == 0 else str(times)
        expected = f"expected {number} {ended} {wanted.told(times or 1)}, found {len(found) or 'none'}"
        if len(found) > (times or 0):
            self._fail(expected, map(self._told, found))
        self._fail(expected, [*map(self._told, found), *self._near(wanted, found)])

    def _near(self, wanted: Wanted, found: Sequence[Statement]) -> list[str]:
        """What almost fits, and why it does not."""
        known = {id(one) for one in found}
        rest = [
            one for one in self._recording().statements if wanted.fits_action(one) and id(one) not in known
        ]
        near = []
        for one in sorted(rest, key=lambda one: not wanted.fits_identity(one)):
            why = []
            if not wanted.fits_identity(one):
                why.append("has no such identity")
            if not wanted.fits_fate(one):
                why.append(_end_of(one))
            near.append(f"{self._told(one)}: {'; '.join(why)}")
        columns = {i.column for one in self._recording().statements for i in one.identities}
        if wanted.column and not any(_is_table(name, wanted.column) for name in columns):
            near.append(
                f"{wanted.column} is not among the identity columns recorded: "
                f"{', '.join(sorted(columns)) or 'none'}; recorded(identities=...) names more"
            )
        return near

    # -- transactions --------------------------------------------------------------------------------

    def assert_one_transaction(self, *tables: str) -> Transaction:
        """Everything that was written (to ``tables``) was written in one transaction; returns it.

        Statements that only read do not matter.
        """
        __tracebackhide__ = True
        writers = [
            transaction
            for transaction in self._recording().transactions
            if any(Wanted(table).fits(one) for one in transaction.writes for table in tables or (None,))
        ]
        if len(writers) == 1:
            return writers[0]
        target = f" to {', '.join(tables)}" if tables else ""
        self._fail(
            f"expected all writes{target} in one transaction, found {len(writers) or 'none'} that wrote",
            [f"transaction {one.number} wrote {', '.join(one.tables)}: {describe(one)}" for one in writers],
        )

    def assert_no_open_transactions(self) -> None:
        """Every transaction has ended: no session and no connection was left with one.

        An outer transaction that a session joined does not count: it is the test's.
        """
        __tracebackhide__ = True
        left = [one for one in self._recording().transactions if one.fate is Outcome.OPEN]
        if left:
            self._fail(
                "expected every transaction to have ended, and some have not",
                [f"transaction {one.number} is open after {self._told(one.statements[-1])}" for one in left],
            )

    def assert_no_ai_call_inside_a_transaction(self) -> None:
        """No transaction was open in the task that called a model: locks and connection would wait for it."""
        __tracebackhide__ = True
        calls = [call for call in self._recording().ai_calls if call.inside]
        if calls:
            self._fail("expected no AI call inside a transaction", map(_told_call, calls))

    # -- written and read ----------------------------------------------------------------------------

    def assert_reads_what_it_writes(self, *tables: str) -> None:
        """Reads look for identities where and how they were written: same column, encoding and database.

        Looks at tables that were both written and read under identities of one domain; each of ``tables``
        must have been. ``integer`` and ``raw`` are one encoding, as databases compare them alike.
        """
        __tracebackhide__ = True
        written = self._identities("write", "set")
        looked_for = self._identities("read", "where")
        for table in tables:
            for done, uses in (("written", written), ("read", looked_for)):
                if not any(_is_table(name, table) for name, _ in uses):
                    self._fail(f"expected {table} to be written and read by identity; it was not {done}")
        problems = []
        for key in looked_for.keys() & written.keys():
            if tables and not any(_is_table(key[0], table) for table in tables):
                continue
            problems += self._unmet(key[0], looked_for[key], written[key])
        if problems:
            self._fail("expected reads to look for what was written", dict.fromkeys(sorted(problems)))

    def _identities(
        self, kind: str, clause: str
    ) -> dict[tuple[str, str], list[tuple[Statement, list[Identity]]]]:
        """(table, domain) to the statements that name identities there."""
        found: dict[tuple[str, str], list[tuple[Statement, list[Identity]]]] = {}
        for statement in self._recording().statements:
            if statement.kind != kind or (kind == "write" and statement.fate is Outcome.ROLLED_BACK):
                continue
            named: dict[tuple[str, str], list[Identity]] = {}
            for identity in statement.identities:
                if identity.clause == clause:
                    key = (identity.column.rpartition(".")[0], identity.domain)
                    named.setdefault(key, []).append(identity)
            for key, identities in named.items():
                found.setdefault(key, []).append((statement, identities))
        return found

    def _unmet(
        self,
        table: str,
        reads: Iterable[tuple[Statement, list[Identity]]],
        writes: Sequence[tuple[Statement, list[Identity]]],
    ) -> list[str]:
        forms = {_form(identity) for _, identities in writes for identity in identities}
        databases = {statement.database for statement, _ in writes}
        problems = []
        for statement, identities in reads:
            # One of several columns (user_id = ? OR user_id_hash = ?) is enough.
            if not any(_form(identity) in forms for identity in identities):
                problems.append(
                    f"{table} is read by {_forms(map(_form, identities))}, but written under {_forms(forms)}"
                )
            if statement.database not in databases:
                problems.append(
                    f"{table} is read from database {statement.database}, but written to database "
                    f"{', '.join(map(str, sorted(databases)))}"
                )
        return problems

    # -- failing -------------------------------------------------------------------------------------

    def _told(self, statement: Statement) -> str:
        identities = ", ".join(identity_text(one, self._names()) for one in statement.identities)
        return (
            f"{statement.summary} in transaction {statement.transaction.number}"
            f"{identities and f' ({identities})'}"
        )

    def _fail(self, expectation: str, details: Iterable[str] = ()) -> NoReturn:
        __tracebackhide__ = True
        told = list(details)
        if len(told) > _MAX_NEAR:
            told = [*told[:_MAX_NEAR], f"and {len(told) - _MAX_NEAR} more"]
        listed = [line for detail in told for line in wrapped("  ", f"- {detail}", deeper=4)]
        shown = render(self._recording(), self._names()).splitlines()
        if len(shown) > _MAX_LINES:
            half = _MAX_LINES // 2
            shown = [*shown[:half], f"  [{len(shown) - _MAX_LINES} lines left out]", *shown[-half:]]
        raise TelemetryAssertionError(
            "\n".join([expectation, *listed, "", "Recorded: " + shown[0], *shown[1:]])
        )


def _acted_on(statement: Statement) -> tuple[str, ...]:
    """The tables that a statement is about: of a write the written one."""
    return statement.tables[:1] if statement.kind == "write" else statement.tables


def _end_of(statement: Statement) -> str:
    """Why it is what it is: its own failure, a savepoint, or the end of its transaction."""
    if statement.error:
        return f"failed with {error_text(statement)}"
    return "undone by a savepoint" if statement.undone else describe(statement.transaction)


def _is_table(name: str, wanted: str) -> bool:
    """Whether a (qualified) name is meant by one that may leave out its beginning."""
    return name == wanted or name.endswith(f".{wanted}")


def _form(identity: Identity) -> tuple[str, str]:
    return identity.column, "raw" if identity.encoding == "integer" else identity.encoding


def _forms(forms: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{column} as {encoding}" for column, encoding in sorted(set(forms)))


def _told_call(call: AiCall) -> str:
    inside = ", ".join(f"transaction {one.number}" for one in call.inside)
    return f"{call.operation} {call.model}".rstrip() + f" inside {inside}"
