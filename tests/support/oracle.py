"""The core rules once more, in plain Python over all rows at once: slow and obvious, to hold the SQL against.

Rows are those of :func:`trueline.monitor.engine.rule_rows.span_rows`. Each function returns the groups of
the findings that must be there, as a set of tuples in the order of the rule's ``group_by``.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]
Groups = set[tuple[Any, ...]]
CUTOVER: Final = timedelta(seconds=300)
RUNGS: Final = ("configured:", "system_identifier:", "server_uuid:", "file:", "endpoint:")
TEST_ENVIRONMENTS: Final = ("test", "testing", "ci")


#: Cases of the rules' own tests that go beyond the oracle: it knows no sampling, no answers to callers, no
#: end of the lookback, and not which of several tables, services or applications a pardon is about.
BEYOND: Final = frozenset(
    {
        ("key_mismatch", "the right key and a renamed column, but elsewhere"),
        ("key_mismatch", "others use the right key, these two do not"),
        (
            "constraint_violation_burst",
            "a service that samples, second deliveries of which the first is not kept",
        ),
        ("constraint_violation_burst", "names that are taken, and the callers are told"),
        ("constraint_violation_burst", "two rows, of which one is delivered twice"),
        ("constraint_violation_burst", "three in a week, and one before it that arrived late"),
        (
            "rollback_after_ai_error",
            "a service that samples, an identity outside of the sample, whose retry nobody would see",
        ),
        ("rollback_after_ai_error", "the rows of nobody are not stored later in the trace, other things are"),
        ("key_mismatch", "a backfill through an ORM, which names the rows by their number"),
        ("key_mismatch", "a column was renamed, but elsewhere"),
        (
            "rollback_after_ai_error",
            "an AI call of the trace failed in another environment, and one in another application",
        ),
        (
            "rollback_after_ai_error",
            "rows of nobody, and the trace commits them in another environment and in another application",
        ),
    }
)


def settled(tables: Tables) -> list[Row]:
    """The statements with the outcomes of their transactions."""
    ends = {row["transaction_id"]: row for row in tables.get("transactions", ())}
    statements = []
    for row in tables.get("statements", ()):
        end = ends.get(row.get("transaction_id"))
        if row["outcome"] == "open" and end is not None:
            undone = row["span_id"] in end.get("rolled_back_statements", [])
            row = {**row, "outcome": "rolled_back" if undone else end["outcome"]}
        statements.append(row)
    return statements


def uses(statements: Iterable[Row]) -> list[Row]:
    """One row for each identity in each table that a statement touches."""
    found = []
    for row in statements:
        touched = row.get("tables", [])
        domains = row.get("identity_domains", [])
        parts = []
        for column, clause, encoding, domain, value in zip(
            *(row.get(f"identity_{name}", []) for name in ("columns", "clauses", "encodings")),
            domains,
            row.get("identity_values", []),
            strict=True,
        ):
            parts.append((column.rpartition(".")[0] or touched[0], column, clause, encoding, domain, value))
        owners = [text.partition(":")[::2] for text in row.get("identity_row", [])]
        bound = [text.partition(":")[::2] for text in row.get("identity_bound", [])]
        written = row.get("kind") == "write"
        for table in touched[:1] if written else touched:
            parts += [(table, "", "row", "", *owner) for owner in owners if table == touched[0]]
            parts += [
                (table, "", "bound", "", domain, value)
                for domain, value in bound
                if domain not in domains and domain not in [one for one, _ in owners]
            ]
        sets = [
            f"{column} {encoding}"
            for column, clause, encoding in zip(
                *(row.get(f"identity_{name}", []) for name in ("columns", "clauses", "encodings")),
                strict=True,
            )
            if clause == "set"
        ]
        for table, column, clause, encoding, domain, value in parts:
            if row.get("kind") in ("read", "write") and value:
                found.append(
                    {
                        **row,
                        "table": table,
                        "column": column,
                        "clause": clause,
                        "encoding": encoding,
                        "domain": domain,
                        "identity": value,
                        "set_keys": sets,
                        "access": "write" if written and table == touched[0] else "read",
                    }
                )
    return found


def place(row: Row) -> tuple[str, str]:
    return row.get("database", ""), row.get("database_schema", "")


def where(row: Row) -> tuple[str, str]:
    return row["environment"], row.get("application", "")


def landed(row: Row) -> bool:
    """Whether a use is a committed write of something, or a read that worked."""
    if row["status"] == "error":
        return False
    return bool(row["access"] == "read" or (row["outcome"] == "committed" and row.get("rows", -1) != 0))


def reached_at(row: Row) -> Any:
    return min(row["ended_at"] if row["access"] == "write" else row["started_at"], row["received_at"])


def by(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def different(write: Row, read: Row, table: str) -> bool:
    """Whether two places are surely not one: by the best rung that both know, or by the schema."""
    mine, yours = write.get("database_rungs", []), read.get("database_rungs", [])
    compared = next(
        (
            rung
            for rung in RUNGS
            if any(one.startswith(rung) for one in mine) and any(one.startswith(rung) for one in yours)
        ),
        "",
    )
    same_rung = compared and set(yours) & {one for one in mine if one.startswith(compared)}
    if place(write)[0] == place(read)[0] or same_rung:
        schemas = place(write)[1], place(read)[1]
        return all(schemas) and schemas[0] != schemas[1] and "." not in table
    if not compared:
        return False
    better = any(not one.startswith("endpoint:") for one in [*mine, *yours])
    replica = "replica" in (write.get("database_role"), read.get("database_role"))
    return compared != "endpoint:" or not (better or replica)


def same_place(one: Row, other: Row, unlike: Row) -> bool:
    """Whether ``one`` went where ``other`` did, given that ``unlike`` went elsewhere."""
    databases = one.get("database") == other.get("database") or (
        one.get("database") != unlike.get("database")
        and bool(set(one.get("database_rungs", [])) & set(other.get("database_rungs", [])))
    )
    schemas = place(one)[1], place(other)[1]
    return databases and (schemas[0] == schemas[1] or "" in schemas)


def env_split(tables: Tables) -> Groups:
    found: Groups = set()
    statements = [
        row for row in settled(tables) if row["status"] != "error" and row.get("kind") in ("read", "write")
    ]
    alive = [
        row
        for row in uses(settled(tables))
        if landed(row)
        and row.get("database")
        and row.get("process_kind") != "test"
        and row["environment"] not in TEST_ENVIRONMENTS
    ]
    people = by(
        alive, lambda row: (*where(row), row["table"], row["domain"], row.get("hash_key_id"), row["identity"])
    )
    for (environment, application, table, *_), rows in people.items():
        writes = [row for row in rows if row["access"] == "write"]
        if not writes:
            continue
        write = max(writes, key=reached_at)
        others = [
            row
            for row in statements
            if where(row) == (environment, application) and table in row.get("tables", [])
        ]
        writers = [
            row
            for row in others
            if row["kind"] == "write"
            and row["tables"][0] == table
            and row["outcome"] == "committed"
            and row.get("rows", -1) != 0
        ]
        readers = [row for row in others if row["kind"] == "read"]
        reads = by(
            [row for row in rows if row["access"] == "read"],
            lambda row: (row["service"], row.get("process_kind", "")),
        )
        for latest in reads.values():
            read = max(latest, key=reached_at)
            if reached_at(read) <= reached_at(write) or not different(write, read, table):
                continue
            lately = reached_at(read) - CUTOVER
            if any(
                same_place(one, read, write)
                and (one["service"] != write["service"] or one["ended_at"] >= lately)
                for one in writers
            ):
                continue
            own = [
                row
                for row in readers
                if (row["service"], row.get("process_kind")) == (read["service"], read.get("process_kind"))
            ]
            meeting = [row for row in own if same_place(row, write, read)]
            missing = [row for row in own if same_place(row, read, write)]
            turns = any(
                one["ended_at"] > other["started_at"]
                for one in meeting
                for other in missing
                if one.get("instance") == other.get("instance")
            )
            if turns or any(one["ended_at"] >= lately for one in meeting):
                continue
            found.add((environment, application, table, *place(write), *place(read)))
    return found


def key_of(column: str, encoding: str) -> str:
    return f"{column} {'integer' if encoding == 'raw' else encoding}"


def key_mismatch(tables: Tables) -> Groups:
    found: Groups = set()
    alive = [
        row
        for row in uses(settled(tables))
        if landed(row) and row["column"] and row.get("process_kind") != "test"
    ]
    alive = [row for row in alive if row["access"] == "write" or row["clause"] == "where"]
    renames = [
        row
        for row in settled(tables)
        if row.get("kind") == "ddl"
        and row.get("operation") == "ALTER"
        and row["outcome"] != "rolled_back"
        and row["status"] != "error"
        and (not row.get("query_text") or re.search(r"(?i)\b(rename|change)\b", row["query_text"]))
    ]
    scope = ("table", "domain")
    every = by(alive, lambda row: (*where(row), row.get("database"), *(row[name] for name in scope)))
    for (environment, application, database, table, domain), there in every.items():
        for rows in by(there, lambda row: (row.get("hash_key_id"), row["identity"])).values():
            acts = by(
                rows,
                lambda row: (
                    row["access"],
                    row["service"],
                    row.get("entry_name", ""),
                    row["transaction_id"] if row["access"] == "write" else row["span_id"],
                ),
            )
            writes = [
                act
                for (access, *_), act in acts.items()
                if access == "write" and any(row["clause"] == "set" for row in act)
            ]
            if not writes:
                continue
            write = max(writes, key=lambda act: max(map(reached_at, act)))
            written_at = max(map(reached_at, write))
            filled = {key_of(row["column"], row["encoding"]) for row in write}
            filled |= {key_of(*key.split(" ", 1)) for row in write for key in row["set_keys"]}
            if any(
                row["ended_at"] >= written_at
                and table in row["tables"]
                and where(row) == (environment, application)
                for row in renames
            ):
                continue
            paths = by(
                [row for row in rows if row["access"] == "read"],
                lambda row: (row["service"], row.get("entry_name", "")),
            )
            for path, reads in paths.items():
                last = max(reads, key=reached_at)
                read = [row for row in reads if row["span_id"] == last["span_id"]]
                filtered = {key_of(row["column"], row["encoding"]) for row in read}
                if reached_at(last) <= written_at or filled & filtered or not came_back_empty(last):
                    continue
                if any(key.endswith(" opaque") for key in filled | filtered):
                    continue
                if being_deployed(there, write[0], path, filled, filtered, last):
                    continue
                shown = {
                    side: ", ".join(
                        sorted({f"{row['column'].rpartition('.')[2]} ({row['encoding']})" for row in chosen})
                    )
                    for side, chosen in (
                        ("write", [row for row in write if row["clause"] == "set"]),
                        ("read", read),
                    )
                }
                found.add((environment, application, database, table, domain, shown["write"], shown["read"]))
    return found


def came_back_empty(read: Row) -> bool:
    rows, text = read.get("rows", -1), read.get("query_text", "")
    one_row = re.search(r"(?i)\b(count|sum|avg|min|max|total|exists|\w+_agg|group_concat)\s*\(", text)
    return rows <= 0 or bool(rows == 1 and one_row and not re.search(r"(?i)\bgroup\s+by\b", text))


def being_deployed(
    there: Sequence[Row], write: Row, path: tuple[str, str], filled: set[str], filtered: set[str], read: Row
) -> bool:
    """Whether one of the two code paths used the other one's key lately, for whomever."""
    for row in there:
        if row["started_at"] < read["started_at"] - CUTOVER:
            continue
        key = key_of(row["column"], row["encoding"])
        side = (row["service"], row.get("entry_name", ""))
        wrote = row["access"] == "write" and row["clause"] == "set"
        if wrote and side == (write["service"], write.get("entry_name", "")) and key in filtered:
            return True
        if row["access"] == "read" and side == path and key in filled:
            return True
    return False


def people_of(row: Row) -> set[str]:
    domains = row.get("identity_domains", [])
    whom = {
        f"{domain}:{value}"
        for domain, value in zip(domains, row.get("identity_values", []), strict=True)
        if value
    }
    return whom | {one for one in row.get("identity_bound", []) if one.partition(":")[0] not in domains}


def commits(tables: Tables, row: Row, table: str) -> list[tuple[set[str], Any]]:
    """Whose rows were committed to the table by each statement, and when."""
    return [
        ({f"{use['domain']}:{use['identity']}" for use in group}, max(use["ended_at"] for use in group))
        for group in by(
            [
                use
                for use in uses(settled(tables))
                if use["access"] == "write"
                and landed(use)
                and use["table"] == table
                and where(use) == where(row)
            ],
            lambda use: use["span_id"],
        ).values()
    ]


def told_by_logs(tables: Tables) -> list[Row]:
    """What the log says of refused rows, as if statements had said it."""
    names = ("name", "kind", "table", "columns")
    rows = []
    for record in tables.get("logs", ()):
        resource, said = record["ResourceAttributes"], record["LogAttributes"]
        row = {f"constraint_{name}": said.get(f"trueline.constraint.{name}", "") for name in names}
        row["constraint_columns"] = json.loads(row["constraint_columns"] or "[]")
        rows.append(
            row
            | {
                "status": "error",
                "status_code": said.get("db.response.status_code", ""),
                "environment": resource["deployment.environment.name"],
                "application": resource["service.namespace"],
                "process_kind": resource["trueline.process.kind"],
                "service": record["ServiceName"],
                "started_at": record["Timestamp"],
                "tables": [row["constraint_table"]],
            }
        )
    return rows


def is_violation(row: Row) -> bool:
    said = row.get("constraint_name") or row.get("constraint_kind")
    return row["status"] == "error" and bool(said or row.get("status_code", "").startswith("23"))


def was_there(tables: Tables, row: Row) -> bool:
    """Whether the trace then finds or changes the very row that the unique constraint had guarded."""
    columns = row.get("constraint_columns", [])
    if row.get("constraint_kind") != "unique" or not columns:
        return False
    people = people_of(row)
    later = [
        use
        for use in uses(settled(tables))
        if landed(use)
        and use.get("rows", -1) > 0
        and (use["table"], use["trace_id"]) == (row["tables"][0], row["trace_id"])
        and where(use) == where(row)
        and use["ended_at"] >= row["ended_at"]
        and f"{use['domain']}:{use['identity']}" in people
    ]
    filtered = by([use for use in later if use["clause"] == "where"], lambda use: use["span_id"]).values()
    guarded = {f"{row['tables'][0]}.{column}" for column in columns}
    return any(guarded <= {use["column"] for use in group} for group in filtered)


def constraint_violation_burst(tables: Tables) -> Groups:
    counted: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    by_spans = [row for row in settled(tables) if is_violation(row)]
    telling = {(*where(row), row["service"]) for row in by_spans}
    by_logs = [row for row in told_by_logs(tables) if (*where(row), row["service"]) not in telling]
    for row in by_spans + [row for row in by_logs if is_violation(row)]:
        kind, columns = row.get("constraint_kind", ""), row.get("constraint_columns", [])
        code = row.get("status_code", "")
        named = row.get("constraint_name") or (f"{kind} ({', '.join(columns)})" if columns else kind) or code
        if row.get("process_kind") == "test" or row["environment"] in TEST_ENVIRONMENTS:
            continue
        whom = people_of(row)
        again = any(one.startswith("message:") for one in whom) and any(
            whom <= done for done, _ in commits(tables, row, row["tables"][0])
        )
        if not again and not was_there(tables, row):
            table = row.get("constraint_table") or row["tables"][0]
            counted[(*where(row), row["service"], table, named)].append(row["started_at"])
    return {
        group
        for group, times in counted.items()
        if len(times) >= 4 or sum(time > max(times) - CUTOVER for time in times) >= 3
    }


def rollback_after_ai_error(tables: Tables) -> Groups:
    found: Groups = set()
    for row in tables.get("transactions", ()):
        if row["outcome"] != "rolled_back" or not row.get("writes") or row.get("process_kind") == "test":
            continue
        if row["reason"] in ("commit_failed", "commit_of_aborted") or not caused_by_ai(tables, row):
            continue
        if not all(made_good(tables, row, table) for table in row.get("tables", [])):
            lost = ", ".join(sorted(set(row.get("tables", []))))
            found.add((*where(row), row["service"], row.get("entry_name", ""), lost))
    return found


def caused_by_ai(tables: Tables, row: Row) -> bool:
    calls = sorted(
        (
            call
            for call in tables.get("ai_calls", ())
            if call["trace_id"] == row["trace_id"]
            and row["started_at"] <= call["ended_at"] <= row["ended_at"]
        ),
        key=lambda call: call["ended_at"],
    )
    failures = [call for call in calls if call["failed"]]
    own = [
        one
        for one in settled(tables)
        if (one["trace_id"], one["transaction_id"]) == (row["trace_id"], row["transaction_id"])
    ]
    errors = [
        one["ended_at"] for one in own if one["status"] == "error" and one["ended_at"] > row["started_at"]
    ]
    if errors and (not failures or max(errors) >= failures[-1]["ended_at"]):
        return False
    if row.get("error_from_ai"):
        return True
    classes = {name.rpartition(".")[2] for name in row.get("error_chain", [])}
    if row.get("ai_unfinished"):
        return not classes or bool(classes & {"CancelledError", "TimeoutError"})
    if classes & {error_of(call) for call in failures}:
        return True
    last_statement = max((one["started_at"] for one in own), default=None)
    last = calls[-1] if calls else None
    failed_last = bool(
        last and last["failed"] and (last_statement is None or last_statement <= last["ended_at"])
    )
    if classes:
        unusable = last and last.get("problem") in ("refused", "cut") and not last.get("exception_type")
        return bool(failed_last and unusable)
    if not [call for call in tables.get("ai_calls", ()) if call["trace_id"] == row["trace_id"]]:
        return bool(row.get("ai_problems")) and row["reason"] != "explicit"
    return failed_last


def error_of(call: Row) -> str:
    said = call.get("exception_type") or call.get("error_type")
    return str(said or "error").rpartition(".")[2]


def made_good(tables: Tables, row: Row, table: str) -> bool:
    """Whether all that the transaction wrote to the table was committed later."""
    lost = by(
        [
            use
            for use in uses(settled(tables))
            if use["transaction_id"] == row["transaction_id"]
            and use["access"] == "write"
            and use["outcome"] == "rolled_back"
            and use["table"] == table
        ],
        lambda use: use["span_id"],
    )
    if not lost:
        return any(
            other["trace_id"] == row["trace_id"]
            and other["outcome"] == "committed"
            and other.get("writes")
            and other["started_at"] >= row["ended_at"]
            and table in other.get("tables", [])
            for other in tables["transactions"]
        )
    later = [whom for whom, at in commits(tables, row, table) if at > row["ended_at"]]
    return all(
        any({f"{use['domain']}:{use['identity']}" for use in group} <= whom for whom in later)
        for group in lost.values()
    )


ORACLES: Final[dict[str, Callable[[Tables], Groups]]] = {
    "env_split": env_split,
    "key_mismatch": key_mismatch,
    "constraint_violation_burst": constraint_violation_burst,
    "rollback_after_ai_error": rollback_after_ai_error,
}
