"""Both fences on the real engine: what passes the first and asks for too much is stopped by the second."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlglot
import yaml
from sqlglot import exp

from trueline.monitor.engine.fence import RULE_TABLES, FenceError, fence
from trueline.monitor.engine.functions import AGGREGATE_FUNCTIONS, FUNCTIONS
from trueline.monitor.errors import QueryError
from trueline.monitor.store.client import Limits, Store

DATA = Path(__file__).parents[1] / "data" / "rules" / "fence"
#: Small, so that the tests are short; the ratio of what is asked for to what is given is what counts.
LIMITS = Limits(seconds=1, memory_bytes=200 << 20, rows=1000)
#: Names that are grammar and no functions of the engine.
GRAMMAR = {
    *(
        "date_add",
        "dateadd",
        "date_sub",
        "datesub",
        "timestamp_add",
        "timestampadd",
        "timestamp_sub",
        "timestampsub",
    ),
    "grouping",
}


def corpus(name: str) -> list[Any]:
    listed = yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(listed, list)
    return listed


@pytest.fixture(scope="module")
def many_entries(shared_store: Store) -> Store:
    shared_store.command("TRUNCATE TABLE entries")
    shared_store.command(
        "INSERT INTO entries (span_id, trace_id, http_status, service) "
        "SELECT toString(number), toString(number), number % 300, 'web' FROM numbers(200000)"
    )
    return shared_store


@pytest.mark.parametrize("case", corpus("stopped"), ids=lambda case: case["name"])
def test_the_store_stops_what_asks_for_too_much(many_entries: Store, case: dict[str, str]) -> None:
    with pytest.raises(QueryError) as stopped:
        many_entries.query_read_only(fence(case["sql"]).sql, limits=LIMITS)
    # Of "query tree is too big" the engine makes an error of its own; all else is a limit of ours.
    assert stopped.value.limit is not None or stopped.value.code in (36, 572)
    assert many_entries.query("SELECT count() FROM entries").scalar() == 200_000


@pytest.mark.parametrize("sql", corpus("passes"), ids=lambda sql: sql[:60])
def test_what_passes_is_read_alike_by_the_engine(store: Store, sql: str) -> None:
    """The engine's own reading of what would run: no table that the fence did not see."""
    passed = fence(sql)
    bound = {name: ["x"] if kind.startswith("Array") else 1 for name, kind in passed.parameters.items()}
    assert tables_of(store, passed.sql, bound) <= passed.tables


def tables_of(store: Store, sql: str, bound: dict[str, Any] | None = None) -> set[str]:
    """Tables that the engine's parser finds, and ``function:NAME`` for table functions."""
    found = set()
    for (line,) in store.query(f"EXPLAIN AST {sql}", bound):
        words = str(line).split()
        if words[:1] == ["TableIdentifier"]:
            found.add(words[1])
        if "TableExpression" not in words and words[:1] == ["TableFunction"]:
            found.add(f"function:{words[1]}")
    return found - aliases(sql)


def aliases(sql: str) -> set[str]:
    """Names of the query's own: WITH x AS (...)."""
    return {one.alias for one in sqlglot.parse_one(sql, dialect="clickhouse").find_all(exp.CTE)}


def test_allowed_functions_are_the_engines(store: Store) -> None:
    rows = store.query("SELECT name, case_insensitive, is_aggregate FROM system.functions")
    exact = {str(name) for name, _, _ in rows}
    folded = {str(name).lower() for name, insensitive, _ in rows if insensitive}
    combined = {"sumMap", "minMap", "maxMap"}
    missing = [
        name
        for name in sorted(FUNCTIONS - combined)
        if name not in exact and name.lower() not in folded and name.lower() not in GRAMMAR
    ]
    assert missing == [], "of these names the engine knows none, or another spelling"
    aggregates = {str(name).lower() for name, _, aggregate in rows if aggregate}
    assert {name for name in AGGREGATE_FUNCTIONS if name.lower() not in aggregates} <= combined


#: Pieces that hostile and harmless SQL is made of. Put together at random, most make no sense to anybody.
_PIECES = r"""
SELECT FROM WHERE GROUP BY ORDER BY LIMIT 1 entries transactions findings system . one ( ) ( ) , , *
AS a b c IN NOT AND UNION ALL WITH JOIN USING ON FINAL ARRAY -> 'x' "y" `z` $$q$$ -- /* */ # NEWLINE
;  file( url( numbers( count( arrayMap( has( if( CASE WHEN THEN END [ ] { } :String ? :: @@ FORMAT
CSV  SETTINGS readonly=0 INTO OUTFILE '\' '' \\ VALUES EXISTS EXCEPT PREWHERE SAMPLE QUALIFY WINDOW
OVER
"""
PIECES = [piece.replace("NEWLINE", "\n") for piece in _PIECES.split()]
SEEDS = (
    "SELECT a FROM entries",
    "WITH a AS (SELECT trace_id FROM entries) SELECT * FROM a",
    "SELECT count() FROM entries WHERE trace_id IN (SELECT trace_id FROM transactions)",
    "SELECT x FROM entries AS e JOIN transactions AS t USING (trace_id)",
    "SELECT arrayMap(x -> x, [1]) FROM entries ARRAY JOIN [1, 2] AS y",
)


def mutated(random: Random) -> str:
    words = random.choice(SEEDS).split(" ")
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(words) + 1)
        match random.randrange(3):
            case 0:
                words[at:at] = [random.choice(PIECES)]
            case 1:
                words[at : at + 1] = [random.choice(PIECES)]
            case _:
                del words[at : at + 1]
    return " ".join(words)


def passing(random: Random, number: int) -> list[str]:
    """What of ``number`` mutations passes the fence, as it would run."""
    passed = []
    for sql in (mutated(random) for _ in range(number)):
        try:
            passed.append(fence(sql).sql)
        except FenceError:
            continue
    return passed


def check_mutations(store: Store, number: int) -> None:
    passed = passing(Random(6), number)
    assert len(passed) > number // 100
    for sql in dict.fromkeys(passed):
        try:
            read = tables_of(store, sql)
        except QueryError:
            continue  # The engine takes it for nothing at all.
        assert read <= RULE_TABLES, sql


def test_parser_and_engine_agree_on_what_is_read(store: Store) -> None:
    check_mutations(store, 1_500)


@pytest.mark.nightly
def test_parser_and_engine_agree_on_what_is_read_of_very_many(store: Store) -> None:
    check_mutations(store, 100_000)


def test_functions_keep_their_meaning_when_written_out_again(store: Store) -> None:
    """The parser knows some functions and writes them in its own way: that must be a name the engine has."""
    arguments = (
        "",
        "'ab'",
        "1",
        "'ab', 'b'",
        "1, 1",
        "[1, 2]",
        "[1, 2], 1",
        "'ab', 1, 1",
        "[[1]]",
        "map('a', 1)",
    )
    known = set(sqlglot.Dialect.get_or_raise("clickhouse").parser_class.FUNCTIONS) - {
        name.upper() for name in GRAMMAR
    }
    unlike = []
    for name, given in itertools.product(sorted(FUNCTIONS - AGGREGATE_FUNCTIONS), arguments):
        if name in ("now", "now64", "today", "yesterday", "array") or name.upper() not in known:
            continue
        sql = f"SELECT {name}({given}) FROM (SELECT 1 AS one FROM entries)"
        try:
            written = fence(sql).sql
        except FenceError:
            continue
        if written == sql:
            continue
        table = "(SELECT 1 AS one FROM entries)"
        texts = [text.replace(table, "system.one") for text in (sql, written)]
        try:
            before = store.query(texts[0]).rows
        except Exception:  # no such arguments
            continue
        try:
            after = store.query(texts[1]).rows
        except Exception as error:
            unlike.append((texts, str(error)[:100]))
            continue
        if repr(before) != repr(after):
            unlike.append((texts, f"{before} and {after}"))
    assert unlike == []
