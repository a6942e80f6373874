"""A transaction within a play: its statements, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from scenarios.noise.model import Database, Row

if TYPE_CHECKING:
    from scenarios.noise.play import Entry

#: Statements are held so long for their transaction's outcome, in milliseconds; then they leave as open.
HOLD: Final = 1000.0
_TOOK: Final = 3.0


class Work:
    """A transaction: a context, which commits unless it has ended otherwise."""

    def __init__(self, entry: Entry, database: Database, *, isolation: str = "read committed") -> None:
        self.entry, self.play, self.database, self.isolation = entry, entry.play, database, isolation
        self.id = self.play.number()
        self.began = self.play.now
        self.rows: list[Row] = []
        self.ai: dict[str, Any] = {}
        self.ended = False

    def __enter__(self) -> Self:
        self.began = self.play.now
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.ended:
            self.commit()

    def select(self, table: str, *ids: str, rows: int = 3, by: str = "", text: str = "", **more: Any) -> None:
        """Read rows, by identities or by another column; ``rows`` -1: the driver does not tell."""
        columns = [one.split()[0] for one in ids] + ([by] if by else [])
        where = " AND ".join(f"{column} = %({column})s" for column in columns)
        text = text or f"SELECT * FROM {table}" + (
            f" WHERE {where}" if where else " ORDER BY id DESC LIMIT 50"
        )
        self._add("read", "SELECT", table, ids, text, rows=rows, filters=columns, clause="where", **more)

    def insert(self, table: str, *ids: str, rows: int = 1, conflict: str = "", **more: Any) -> None:
        """Insert rows; ``conflict``: nothing or update."""
        named = ", ".join([one.split()[0] for one in ids] + ["payload"])
        blanks = ", ".join(f"%({name})s" for name in named.split(", "))
        clause = {
            "nothing": " ON CONFLICT DO NOTHING",
            "update": " ON CONFLICT (id) DO UPDATE SET payload = excluded.payload",
        }
        text = f"INSERT INTO {table} ({named}) VALUES ({blanks}){clause.get(conflict, '')}"
        more["on_conflict"] = conflict
        self._add("write", "INSERT", table, ids, text, rows=rows, clause="set", **more)

    def update(
        self,
        table: str,
        *ids: str,
        rows: int = 1,
        by: str = "",
        sets: Sequence[str] = (),
        text: str = "",
        **more: Any,
    ) -> None:
        """Update rows, found by identities or another column; ``sets`` are identities that are filled in."""
        columns = [one.split()[0] for one in ids] + ([by] if by else [])
        where = " AND ".join(f"{column} = %({column})s" for column in columns)
        given = ", ".join(f"{name} = %({name})s" for name in [one.split()[0] for one in sets] or ["status"])
        text = text or f"UPDATE {table} SET {given}" + (f" WHERE {where}" if where else "")
        self._add(
            "write", "UPDATE", table, ids, text, rows=rows, filters=columns, clause="where", sets=sets, **more
        )

    def delete(self, table: str, *ids: str, rows: int = 1, **more: Any) -> None:
        """Delete rows."""
        columns = [one.split()[0] for one in ids]
        text = f"DELETE FROM {table} WHERE " + " AND ".join(f"{column} = %({column})s" for column in columns)
        self._add("write", "DELETE", table, ids, text, rows=rows, filters=columns, clause="where", **more)

    def ddl(self, table: str, text: str) -> None:
        """Change a table."""
        self._add("ddl", text.split()[0], table, (), text, rows=-1)

    def refused(
        self, table: str, *ids: str, constraint: str = "", columns: Sequence[str] = (), code: str = "23505"
    ) -> None:
        """An INSERT that a constraint refuses (its SQLSTATE tells the kind), or another error without one."""
        kind = {"23505": "unique", "23503": "foreign_key", "23502": "not_null", "23514": "check"}.get(
            code, ""
        )
        self.insert(table, *ids, rows=-1)
        self.rows[-1].columns |= {
            "status": "error",
            "status_message": f"{kind} constraint violated" if kind else "could not serialize access",
            "error_type": code,
            "status_code": code,
            "constraint_name": constraint,
            "constraint_kind": kind,
            "constraint_table": table if kind else "",
            "constraint_columns": list(columns),
        }

    def undo(self, statements: int) -> None:
        """ROLLBACK TO SAVEPOINT: the last statements are undone, the transaction goes on."""
        for row in self.rows[-statements:]:
            row.columns |= {"outcome": "rolled_back", "reason": "savepoint"}

    def model_failed(self, error: str, *, unfinished: bool = False) -> None:
        """An AI call inside the transaction failed."""
        self.ai = {
            "ai_calls": 1,
            "ai_errors": 1,
            "ai_unfinished": int(unfinished),
            "ai_problems": ["timeout"],
        }
        self.ai |= {"error_chain": [error]} if error else {}

    def commit(self) -> None:
        """COMMIT."""
        self._end("committed", "", {})

    def rollback(self, reason: str = "exception", error: str = "", *, from_ai: bool = False) -> None:
        """End it without its writes: see docs/reference/outcomes.md for the reasons."""
        chain = {"error_chain": [error]} if error else {}
        self._end("rolled_back", reason, {"transaction_error_type": error, "error_from_ai": from_ai, **chain})

    def vanish(self) -> None:
        """Nothing more is heard of it: its process was killed."""
        self._end("", "", {})

    def _end(self, outcome: str, reason: str, said: dict[str, Any]) -> None:
        self.ended = True
        self.play.wait(2)
        now = self.play.now
        failed = any(row.columns["status"] == "error" for row in self.rows)
        written = [row for row in self.rows if row.columns["kind"] == "write"]
        whose = tuple(dict.fromkeys(
            who
            for row in self.rows
            for who in (*row.values, *row.owners, *row.bound)
            if who.split("+")[0] != "message"
        ))  # fmt: skip
        is_open = not outcome or any(now - row.ended > HOLD for row in written)
        # A script is a process of its own: it keeps its first transaction on each database.
        must = failed or is_open or (bool(written) and outcome != "committed") or bool(self.ai)
        must = must or self.entry.kind == "script"
        left = 0
        for row in self.rows:
            row.whose, row.must = whose, must
            row.leaves = min(now, row.ended + HOLD)
            row.columns.setdefault("transaction_error_type", said.get("transaction_error_type", ""))
            if "outcome" in row.columns:
                continue
            if not outcome or now - row.ended > HOLD:
                left += 1
                row.columns |= {"outcome": "open", "reason": ""}
            else:
                row.columns |= {"outcome": outcome, "reason": reason}
        self.play.rows += self.rows
        if not outcome or not (written or failed):
            return
        first = written[0].columns if written else self.rows[0].columns
        columns: dict[str, Any] = {
            "span_name": f"TRANSACTION {self.database.name}",
            "span_kind": "internal",
            "tables": list(dict.fromkeys(
                row.columns["tables"][0]
                for row in written
                if row.columns["status"] != "error" or outcome != "committed"
            )),
            "outcome": outcome,
            "reason": reason,
            "isolation_level": self.isolation,
            "writes": len(written),
            "reads": len(self.rows) - len(written),
            "open_statements": left,
            "entry_name": self.entry.name,
            "status": "error" if outcome != "committed" and said.get("transaction_error_type") else "unset",
            **{name: first[name] for name in ("db_system", "db_namespace")},
            **self.ai,
            **said,
        }  # fmt: skip
        self.play.rows.append(
            Row(
                *("transactions", self.entry.service, self.entry.trace, columns, self.began, now, now),
                span=self.play.number(),
                entry=self.entry.span,
                transaction=self.id,
                bound=self.entry.bound,
                whose=whose,
                must=must,
                version=self.play.version,
                database=self.database,
            )
        )

    def _add(
        self,
        kind: str,
        operation: str,
        table: str,
        ids: Sequence[str],
        text: str,
        *,
        rows: int,
        clause: str = "where",
        filters: Sequence[str] = (),
        sets: Sequence[str] = (),
        others: Sequence[str] = (),
        owner: str = "",
        same_row: int = 0,
        took: float = _TOOK,
        **columns: Any,
    ) -> None:
        """``others``: further tables; ``owner``: whose row it is, as the ORM session knows it."""
        began = self.play.now
        self.play.wait(took)
        parts = [(*one.split(), clause) for one in ids] + [(*one.split(), "set") for one in sets]
        service, database = self.entry.service, self.database
        columns |= {
            "kind": kind,
            "operation": operation,
            "span_name": f"{operation} {table}",
            "span_kind": "client",
            "status": "unset",
            "tables": [table, *others],
            "rows": rows,
            "filters": [f"{table}.{name}" for name in filters],
            "query_text": text,
            "query_summary": f"{operation} {table}",
            "entry_name": self.entry.name,
            "db_system": database.system,
            "db_namespace": database.name,
            "identity_columns": [f"{table}.{column}" for column, *_ in parts],
            "identity_encodings": [encoding for _, encoding, *_ in parts],
            "identity_clauses": [where for *_, where in parts],
            "identity_domains": [whose.split("+")[0] for _, _, whose, _ in parts],
        }
        self.rows.append(
            Row(
                *("statements", service, self.entry.trace, columns, began, self.play.now, self.play.now),
                span=self.play.number(),
                entry=self.entry.span,
                transaction=self.id,
                same_row=same_row,
                bound=self.entry.bound,
                values=tuple(whose for _, _, whose, _ in parts),
                owners=(owner,) if owner else (),
                version=self.play.version,
                database=database,
            )
        )
        self.play.wait(1)
