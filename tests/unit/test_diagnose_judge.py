"""The judgement of the diagnosis: from facts to a verdict, case by case. No store, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from trueline.monitor.diagnose.check import Status
from trueline.monitor.diagnose.facts import Access, Derived, Facts, Gaps, OthersRead, Place, Process, Writer
from trueline.monitor.diagnose.judge import Diagnosis, Verdict, diagnose

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MAIN = Place(
    "aa" * 8,
    ("system_identifier:" + "aa" * 8,),
    "public",
    "primary",
    "postgresql://db/main",
    "DATABASE_URL",
    "postgresql",
    "main",
)
OLD = replace(
    MAIN,
    database="bb" * 8,
    database_rungs=("system_identifier:" + "bb" * 8,),
    url="postgresql://db/old",
    name="old",
)
REPLICA = replace(MAIN, role="replica", url="postgresql://replica/main")
ID, HASH = ("expenses.user_id",), ("expenses.user_id_hash",)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def write(seconds: float, **changes: Any) -> Access:
    at = ago(seconds)
    base = Access(
        "write",
        "expenses",
        at,
        at + timedelta(milliseconds=5),
        ID,
        ("integer",),
        1,
        service="web",
        version="1.4",
        place=MAIN,
        environment="production",
        trace_id=f"{int(seconds * 1000):032x}",
    )
    return replace(base, **changes)


def read(seconds: float, **changes: Any) -> Access:
    at = ago(seconds)
    base = Access(
        "read",
        "expenses",
        at,
        at,
        ID,
        ("integer",),
        1,
        service="worker",
        version="1.4",
        place=MAIN,
        environment="production",
        trace_id=f"{int(seconds * 1000):032x}",
    )
    return replace(base, **changes)


def facts(*accesses: Access, **more: Any) -> Facts:
    ordered = sorted(accesses, key=lambda one: one.at, reverse=True)
    more.setdefault("gaps", Gaps(services=("web", "worker")))
    return Facts(NOW, ago(7 * 86400), ordered, **more)


def status(diagnosis: Diagnosis, name: str) -> Status:
    return next(check.status for check in diagnosis.checks if check.id == name)


LOST = {"outcome": "rolled_back", "reason": "exception"}
BY_HASH = {"columns": HASH, "encodings": ("sha256",)}
REFUSED = {**LOST, "failed": True, "constraint": "expenses_pkey", "constraint_kind": "unique"}
DERIVED = Derived("summaries", ("expenses",), timedelta(minutes=5))

CASES: list[tuple[str, Facts, str, str]] = [
    # -- healthy, and what looks like trouble
    (
        "written and read back",
        facts(write(9), read(5)),
        "healthy",
        "worker 1.4 reads expenses after the last write (1 row)",
    ),
    ("digits as text", facts(write(9), read(5, encodings=("raw",))), "healthy", ""),
    (
        "rows are not told",
        facts(write(9), read(5, rows=None)),
        "healthy",
        "the driver does not tell the rows",
    ),
    (
        "both keys written",
        facts(write(9, columns=ID + HASH, encodings=("integer", "sha256")), read(5, **BY_HASH)),
        "healthy",
        "",
    ),
    (
        "either key read",
        facts(write(9), read(5, columns=ID + HASH, encodings=("raw", "sha256"))),
        "healthy",
        "",
    ),
    ("read by another key, and found", facts(write(9), read(5, **BY_HASH, rows=3)), "healthy", ""),
    (
        "read by another key, which the last row was given afterwards",
        facts(
            write(90, **BY_HASH),
            write(9),
            write(8, **BY_HASH, operation="UPDATE"),
            read(5, **BY_HASH, rows=2),
        ),
        "healthy",
        "",
    ),
    (
        "the row was given the key afterwards, and rows are not told",
        facts(write(9), write(8, **BY_HASH, operation="UPDATE"), read(5, **BY_HASH, rows=None)),
        "healthy",
        "",
    ),
    (
        "another writer stopped before",
        facts(write(90, service="api", operation="INSERT", **BY_HASH), write(50), write(9), read(5)),
        "healthy",
        "",
    ),
    (
        "another writer's rows have both keys",
        facts(
            write(90),
            write(50, service="api", operation="INSERT", columns=ID + HASH, encodings=("raw", "sha256")),
            write(9),
            read(5),
        ),
        "healthy",
        "",
    ),
    (
        "read by a key of another meaning, and found",
        facts(
            write(90, columns=("expenses.payer_id",), encodings=("integer",)),
            write(9),
            read(5, columns=("expenses.payer_id",), encodings=("integer",), rows=1),
        ),
        "healthy",
        "",
    ),
    ("read by primary key", facts(write(9), read(5, columns=(), encodings=())), "healthy", ""),
    ("a physical replica", facts(write(9), read(5, place=REPLICA)), "healthy", ""),
    (
        "an alias of one database",
        facts(write(9), read(5, place=OLD), aliases=[frozenset({"db/main", "bb" * 8})]),
        "healthy",
        "",
    ),
    ("both sides moved", facts(write(90, place=OLD), read(80, place=OLD), write(9), read(5)), "healthy", ""),
    (
        "written in both places",
        facts(write(90), write(9, place=OLD), write(8), read(5, place=OLD)),
        "healthy",
        "",
    ),
    ("the retry landed", facts(write(20, **LOST), write(9), read(5)), "healthy", ""),
    (
        "the same message landed",
        facts(write(20, **LOST, messages=("m",)), write(9, messages=("m",)), read(5)),
        "healthy",
        "",
    ),
    ("a second delivery", facts(write(9), write(7, **REFUSED, repeated=True), read(5)), "healthy", ""),
    (
        "a savepoint was a probe",
        facts(write(9), write(8, outcome="rolled_back", reason="savepoint"), read(5)),
        "healthy",
        "",
    ),
    (
        "deleted",
        facts(write(90), write(9, operation="DELETE", columns=(), encodings=()), read(5, rows=0)),
        "healthy",
        "which deleted it",
    ),
    (
        "another environment",
        facts(write(9), read(5), read(4, place=OLD, environment="staging")),
        "healthy",
        "",
    ),
    (
        "an update without a key",
        facts(write(90), write(9, columns=(), encodings=(), operation="UPDATE"), read(5)),
        "healthy",
        "",
    ),
    (
        "the summary was rebuilt",
        facts(write(900), write(890, table="summaries"), read(5, table="summaries"), lineage=[DERIVED]),
        "healthy",
        "",
    ),
    (
        "the summary was made by a statement that names nobody",
        facts(
            write(900),
            write(2000, table="summaries"),
            read(5, table="summaries"),
            lineage=[replace(DERIVED, made_for_all=ago(600))],
        ),
        "healthy",
        "",
    ),
    (
        "found nothing, and made it",
        facts(read(9, rows=0, trace_id="t", service="web"), write(8, trace_id="t"), read(5)),
        "healthy",
        "",
    ),
    ("the reader came again", facts(write(9, accepted_at=ago(11)), read(10), read(5)), "healthy", ""),
    ("another table is not read", facts(write(9), read(5), write(9, table="messages")), "healthy", ""),
    ("another table has nothing", facts(write(9), read(5), read(4, table="budgets", rows=0)), "healthy", ""),
    (
        "another service's table of the same name",
        facts(
            write(9),
            read(5),
            read(4, service="ledger", place=OLD),
            writers=[Writer("expenses", "ledger", "production", OLD)],
        ),
        "healthy",
        "",
    ),
    # -- environment
    (
        "the writer's own old table",
        facts(write(9), read(5, place=OLD), writers=[Writer("expenses", "web", "production", OLD)]),
        "environment",
        "",
    ),
    (
        "another service writes it in staging",
        facts(write(9), read(5, place=OLD), writers=[Writer("expenses", "ledger", "staging", OLD)]),
        "environment",
        "",
    ),
    (
        "another database",
        facts(write(9), read(5, place=OLD, rows=0)),
        "environment",
        "expenses is written to main (postgresql://db/main) by web 1.4, but worker 1.4 reads it from old",
    ),
    ("another database with old rows", facts(write(9), read(5, place=OLD, rows=4)), "environment", ""),
    (
        "another schema",
        facts(write(9), read(5, place=replace(MAIN, database_schema="v2"))),
        "environment",
        "schema v2",
    ),
    (
        "the reader stayed behind",
        facts(write(90, place=OLD), write(9), read(5, place=OLD)),
        "environment",
        "",
    ),
    (
        "one of two readers",
        facts(write(9), read(5), read(4, service="cron", place=OLD)),
        "environment",
        "cron",
    ),
    ("wrong database and key", facts(write(9), read(5, place=OLD, **BY_HASH, rows=0)), "environment", ""),
    # -- keys
    (
        "another column",
        facts(write(9), read(5, **BY_HASH, rows=0)),
        "keys",
        "under user_id (integer) by web 1.4, but worker 1.4 reads it by user_id_hash (sha256)",
    ),
    (
        "another encoding",
        facts(write(9, **BY_HASH), read(5, columns=HASH, encodings=("sha256/32",), rows=0)),
        "keys",
        "",
    ),
    (
        "the key has changed, and old rows are found",
        facts(write(90, **BY_HASH), write(9, columns=HASH), read(5, **BY_HASH, rows=1)),
        "keys",
        "reads it by user_id_hash (sha256) and finds older rows only",
    ),
    (
        "two writers, and one's rows are found",
        facts(write(90, service="api", **BY_HASH), write(9), read(5, **BY_HASH, rows=1)),
        "keys",
        "finds older rows only",
    ),
    (
        "another writer in between",
        facts(write(90), write(50, service="api", operation="INSERT", **BY_HASH), write(9), read(5)),
        "keys",
        "by api 1.4 and under user_id (integer) by web 1.4; worker 1.4 reads it by user_id (integer)",
    ),
    (
        "another column, rows untold",
        facts(write(9), read(5, **BY_HASH, rows=None)),
        "keys",
        "how many rows it found is not known",
    ),
    # -- commit
    (
        "rolled back",
        facts(write(9, **LOST)),
        "commit",
        "to expenses by web 1.4 at 2026-11-20 11:59:51.000 UTC is not there",
    ),
    (
        "after an AI error",
        facts(write(9, **LOST, ai_error="ReadTimeout"), read(5, rows=0)),
        "commit",
        "the AI call failed with ReadTimeout",
    ),
    (
        "never committed",
        facts(write(9, outcome="rolled_back", reason="not_committed")),
        "commit",
        "nobody committed it",
    ),
    (
        "refused by a constraint",
        facts(write(90), write(9, **REFUSED), read(5)),
        "commit",
        "unique constraint expenses_pkey",
    ),
    (
        "another message landed",
        facts(write(9, **LOST, messages=("m",)), write(7, messages=("n",)), read(5)),
        "commit",
        "",
    ),
    ("an older one is there", facts(write(90), write(9, **LOST), read(5)), "commit", ""),
    ("lost, and read elsewhere", facts(write(90), write(9, **LOST), read(5, place=OLD)), "commit", ""),
    (
        "the statement alone failed",
        facts(write(9, failed=True, constraint="c")),
        "commit",
        "the rest was committed",
    ),
    (
        "lost, and losses beside it",
        facts(write(9, **LOST), gaps=Gaps({"web": 3}, services=("web",))),
        "commit",
        "a retry that landed may be among them",
    ),
    # -- timing
    (
        "read in the same trace before the commit",
        facts(write(9, ended=ago(8), trace_id="t"), read(8.5, rows=0, trace_id="t")),
        "timing",
        "500 ms before web 1.4 commits",
    ),
    (
        "read after the answer, before the commit",
        facts(write(5, accepted_at=ago(9)), read(7, rows=0)),
        "timing",
        "2.0 s before",
    ),
    (
        "read after an answer that came before the commit",
        facts(write(9, ended=ago(5), accepted_at=ago(8)), read(7, rows=0)),
        "timing",
        "2.0 s before",
    ),
    (
        "read before an answer that came before the commit",
        facts(write(9, ended=ago(5), accepted_at=ago(6)), read(7, rows=0)),
        "cannot_tell",
        "nobody had been told yet",
    ),
    (
        "read after the commit, in an older snapshot",
        facts(write(9, transaction_id="w"), read(5, rows=0, transaction_id="r", snapshot_at=ago(12))),
        "timing",
        "in a transaction that began before it",
    ),
    (
        "read after the commit, in an older snapshot, which shows older rows",
        facts(write(9, transaction_id="w"), read(5, transaction_id="r", snapshot_at=ago(12))),
        "timing",
        "sees only what was there then",
    ),
    (
        "read in a snapshot that was taken after the commit",
        facts(write(9, transaction_id="w"), read(5, transaction_id="r", snapshot_at=ago(6))),
        "healthy",
        "",
    ),
    (
        "written and read in one transaction with a snapshot",
        facts(write(9, ended=ago(8), transaction_id="x"), read(8.5, transaction_id="x", snapshot_at=ago(10))),
        "cannot_tell",
        "",
    ),
    (
        "a replica behind",
        facts(write(9), read(8, place=REPLICA, rows=0)),
        "timing",
        "the replica has not caught up",
    ),
    # -- cache
    (
        "the summary is old",
        facts(write(900), write(2000, table="summaries"), read(5, table="summaries"), lineage=[DERIVED]),
        "cache",
        "summaries was not rebuilt since",
    ),
    (
        "the summary was never built",
        facts(write(900), read(5, table="summaries"), lineage=[DERIVED]),
        "cache",
        "since before",
    ),
    (
        "the summary was made by a statement that names nobody, before the last write",
        facts(
            write(900),
            write(2000, table="summaries"),
            read(5, table="summaries"),
            lineage=[replace(DERIVED, made_for_all=ago(1000))],
        ),
        "cache",
        "",
    ),
    (
        "a lineage that was learned",
        facts(write(900), read(5, table="summaries"), lineage=[replace(DERIVED, learned=True)]),
        "cache",
        "which it is made from (learned)",
    ),
    # -- cannot tell
    (
        "the summary is filled out of sight",
        facts(write(900), read(5, table="summaries"), lineage=[replace(DERIVED, unseen_writer=True)]),
        "cannot_tell",
        "",
    ),
    ("nothing at all", facts(), "cannot_tell", "No statement touched this identity"),
    ("no telemetry", facts(gaps=Gaps()), "cannot_tell", "No service has sent any database statement"),
    ("another secret", facts(gaps=Gaps(services=("web",), key_ids=("k2",))), "cannot_tell", "key id k2"),
    (
        "not in the sample",
        facts(gaps=Gaps(services=("web",), sample_ratio=0.01)),
        "cannot_tell",
        "keep 0.01 of the identities",
    ),
    ("only written", facts(write(9)), "cannot_tell", "expenses was not read for it since"),
    ("only read", facts(read(9)), "cannot_tell", "no committed write of it was seen"),
    ("read earlier", facts(read(9), write(5)), "cannot_tell", "not read for it since"),
    (
        "read during the write",
        facts(write(9, ended=ago(8)), read(8.5)),
        "cannot_tell",
        "began while the write was under way",
    ),
    (
        "within the clocks' difference",
        facts(write(9, ended=ago(8), accepted_at=ago(10)), read(8.02)),
        "cannot_tell",
        "the clocks of two machines",
    ),
    (
        "no row under the same key",
        facts(write(9), read(5, rows=0, filters=("expenses.user_id", "expenses.deleted_at"))),
        "cannot_tell",
        "also filters on deleted_at",
    ),
    ("still open", facts(write(2, outcome="open")), "cannot_tell", "has not ended yet"),
    ("the connection was lost", facts(write(9, outcome="unknown")), "cannot_tell", "may be there or not"),
    (
        "lost, but spans are missing",
        facts(write(9, outcome="rolled_back", reason="abandoned"), gaps=Gaps({"web": 3}, services=("web",))),
        "cannot_tell",
        "3 spans of web were lost",
    ),
    (
        "lost, but sampled",
        facts(write(9, **LOST, sample_ratio=0.01)),
        "cannot_tell",
        "only 0.01 of the identities are kept",
    ),
    (
        "the summary may still come",
        facts(write(100), read(5, table="summaries"), lineage=[DERIVED]),
        "cannot_tell",
        "",
    ),
    ("old on a replica", facts(write(900), read(5, place=REPLICA, rows=0)), "cannot_tell", "finds no row"),
    ("updated nothing", facts(write(9, rows=0), read(5)), "cannot_tell", ""),
]


@pytest.mark.parametrize(
    ("known", "verdict", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_verdicts(known: Facts, verdict: str, said: str) -> None:
    diagnosis = diagnose(known)

    assert diagnosis.verdict == verdict, diagnosis.sentence
    assert said in diagnosis.sentence
    assert "\n" not in diagnosis.sentence


def combinations() -> Iterator[tuple[Access, ...]]:
    """Every pair of one write and one read out of all that each may be."""
    endings: list[dict[str, Any]] = [{}, LOST, {"outcome": "open"}, {"outcome": "unknown"}, REFUSED]
    keys: list[dict[str, Any]] = [{}, BY_HASH]
    writes = [write(9, place=place, **how, **key) for place, how, key in product((MAIN, OLD), endings, keys)]
    reads = [
        read(seconds, place=place, rows=rows, **key)
        for seconds, place, rows, key in product((20, 5), (MAIN, OLD, REPLICA), (0, 1, None), keys)
    ]
    yield from product(writes, reads)


def test_a_pair_is_healthy_only_if_the_read_proves_it() -> None:
    """The rules of the verdict, said once more in another way and held against every combination."""
    seen = set()
    for written, looked in combinations():
        diagnosis = diagnose(facts(written, looked))
        seen.add(diagnosis.verdict)
        apart = written.place.name != looked.place.name
        lost = written.outcome == "rolled_back"
        after = looked.at > written.ended
        same_key = written.columns == looked.columns
        if lost:
            expected = Verdict.COMMIT
        elif written.outcome != "committed" or not after:
            expected = Verdict.CANNOT_TELL
        elif apart:
            expected = Verdict.ENVIRONMENT
        elif not same_key and not looked.rows:
            expected = Verdict.KEYS
        elif looked.rows == 0:
            expected = Verdict.TIMING if looked.place.role == "replica" else Verdict.CANNOT_TELL
        else:
            expected = Verdict.HEALTHY
        assert diagnosis.verdict is expected, (written, looked, diagnosis.sentence)
    assert seen == set(Verdict) - {Verdict.CACHE}


def test_a_read_before_the_last_write_proves_nothing_of_it() -> None:
    stale = diagnose(facts(write(20), read(10, rows=1), write(5)))
    assert stale.verdict is Verdict.CANNOT_TELL
    assert "the last write to expenses is committed and was not read for it since" in stale.sentence.lower()
    # Somebody else's read is enough, and a last write that changed nothing needs none.
    assert diagnose(facts(write(20), read(10), write(5), read(2, service="api"))).verdict is Verdict.HEALTHY
    assert diagnose(facts(write(20), read(10, rows=1), write(5, rows=0))).verdict is Verdict.HEALTHY


def test_every_fault_shows_its_evidence_and_a_next_step() -> None:
    for name, known, verdict, _ in CASES:
        diagnosis = diagnose(known)
        if verdict in ("healthy", "cannot_tell"):
            continue
        check = next(check for check in diagnosis.checks if check.id == verdict)
        assert check.status is Status.FAULT, name
        assert all(one.trace_id and one.text for one in check.evidence), name
        assert diagnosis.next, name


def test_other_faults_are_told_too() -> None:
    diagnosis = diagnose(facts(write(90), write(9, **LOST), read(5, place=OLD)))

    assert diagnosis.verdict is Verdict.COMMIT
    (other,) = diagnosis.also
    assert other.startswith("environment: expenses is written to main")


def test_processes_behind_one_variable_are_compared() -> None:
    guards = [
        Process("web", "web", MAIN, ("1.4",), ago(9), ago(5)),
        Process("worker", "worker", OLD, ("1.5",), ago(9), ago(5)),
    ]
    apart = diagnose(facts(write(9), processes=guards))
    together = diagnose(facts(write(9), read(5), processes=[guards[0], replace(guards[1], place=REPLICA)]))

    (check,) = [check for check in apart.checks if check.id == "processes"]
    assert check.status is Status.UNKNOWN
    assert (
        "DATABASE_URL leads worker 1.5 (worker) to old" in check.sentence
        or "DATABASE_URL leads web" in check.sentence
    )
    assert status(together, "processes") is Status.OK
    assert together.verdict is Verdict.HEALTHY


def test_how_others_are_read_is_told_where_this_one_is_not() -> None:
    others = [OthersRead("expenses", "worker", HASH, ("sha256",), OLD, ago(5))]
    diagnosis = diagnose(facts(write(9), others=others))

    told = "For others worker reads it by user_id_hash (sha256) on old (postgresql://db/old)."
    assert told in diagnosis.sentence


def test_a_table_filled_by_a_trigger_is_not_judged() -> None:
    derived = replace(DERIVED, filled_by="trigger")
    diagnosis = diagnose(facts(write(900), read(5), lineage=[derived]))

    assert status(diagnosis, "cache") is Status.UNKNOWN
    assert diagnosis.verdict is Verdict.HEALTHY


def test_sides_stand_beside_each_other_by_table() -> None:
    diagnosis = diagnose(facts(write(90), write(9, **LOST), read(5)))

    (sides,) = diagnosis.tables
    assert sides.last_write and sides.last_write.outcome == "rolled_back"
    assert sides.last_committed_write and sides.last_committed_write.at == ago(90)
    assert sides.last_read and sides.last_read.at == ago(5)
