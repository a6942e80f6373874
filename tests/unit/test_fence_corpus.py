"""The fence: hostile and careless rule SQL, each refused by name; what is fine passes."""

from __future__ import annotations

import pytest

from trueline.monitor.engine.fence import FenceError, fence

#: Query, and what its refusal must name.
HOSTILE = [
    # More than one statement, or another kind of statement
    ("SELECT 1 FROM transactions; DROP TABLE transactions", "exactly one SELECT"),
    ("SELECT 1 FROM transactions; SELECT 1 FROM transactions", "exactly one SELECT"),
    ("DROP TABLE transactions", "exactly one SELECT"),
    ("INSERT INTO transactions SELECT * FROM transactions", "exactly one SELECT"),
    ("ALTER TABLE transactions DELETE WHERE 1", "exactly one SELECT"),
    ("TRUNCATE TABLE transactions", "exactly one SELECT"),
    ("CREATE TABLE x AS SELECT * FROM transactions", "exactly one SELECT"),
    ("EXPLAIN SELECT * FROM transactions", "exactly one SELECT"),
    ("DESCRIBE TABLE transactions", "exactly one SELECT"),
    ("SHOW TABLES", "exactly one SELECT"),
    ("SYSTEM SHUTDOWN", "exactly one SELECT"),
    ("SET readonly = 0", "exactly one SELECT"),
    ("USE system", "exactly one SELECT"),
    ("KILL QUERY WHERE 1", "parsed"),
    ("ATTACH TABLE x", "exactly one SELECT"),
    ("SELECT 1 FROM transactions UNION ALL SELECT 1 FROM entries", "exactly one SELECT"),
    ("", "exactly one SELECT"),
    ("-- nothing", "exactly one SELECT"),
    ("SELEC 1", "parsed"),
    ("SELECT FROM WHERE", "parsed"),
    ("SELECT 'unended FROM transactions", "read"),
    # Where it would write or what it would change
    ("SELECT * FROM transactions INTO OUTFILE '/tmp/x'", "parsed"),
    ("SELECT * FROM transactions INTO OUTFILE '/tmp/x' FORMAT CSV", "parsed"),
    ("SELECT * FROM transactions FORMAT CSV", "FORMAT"),
    ("SELECT * FROM transactions SETTINGS max_execution_time = 0", "SETTINGS"),
    ("SELECT * FROM (SELECT * FROM transactions SETTINGS readonly = 0)", "SETTINGS"),
    ("WITH a AS (SELECT * FROM transactions SETTINGS max_memory_usage = 0) SELECT * FROM a", "SETTINGS"),
    # Other tables, databases, and ways to name them
    ("SELECT * FROM system.tables", "names a database"),
    ("SELECT * FROM `system`.`users`", "names a database"),
    ('SELECT * FROM "information_schema"."tables"', "names a database"),
    ("SELECT * FROM default.transactions", "names a database"),
    ("SELECT * FROM a.b.c", "names a database"),
    ("SELECT * FROM statements", "statements_resolved"),
    ("SELECT * FROM otel_traces", "otel_traces is not a table for rules"),
    ("SELECT * FROM findings", "findings is not a table for rules"),
    ("SELECT * FROM schema_migrations", "not a table for rules"),
    ("SELECT * FROM transactions, system.users", "names a database"),
    ("SELECT * FROM transactions AS t JOIN findings AS f ON t.trace_id = f.id", "findings"),
    ("SELECT * FROM transactions LEFT ARRAY JOIN (SELECT groupArray(id) FROM findings) AS x", "findings"),
    ("SELECT * FROM transactions ARRAY JOIN (SELECT [1] FROM findings) AS x", "not a table"),
    ("SELECT transactions.in(trace_id, findings) FROM transactions", "in is not allowed"),
    ("SELECT (SELECT count() FROM findings) FROM transactions", "findings"),
    ("SELECT * FROM transactions WHERE trace_id IN (SELECT id FROM findings)", "findings"),
    ("SELECT * FROM transactions WHERE EXISTS (SELECT 1 FROM findings)", "findings"),
    ("SELECT * FROM transactions WHERE trace_id IN findings", "read as a table"),
    ("SELECT * FROM transactions WHERE trace_id IN (findings)", "read as a table"),
    ("SELECT * FROM transactions WHERE trace_id IN ((findings))", "read as a table"),
    ("SELECT * FROM transactions WHERE trace_id NOT IN system.users", "read as a table"),
    ("SELECT * FROM transactions WHERE trace_id GLOBAL IN findings", "read as a table"),
    ("SELECT * FROM transactions WHERE trace_id IN `findings`", "read as a table"),
    ("SELECT * FROM transactions WHERE trace_id IN numbers(10)", "read as a table"),
    ("SELECT * FROM transactions WHERE trace_id IN (file('/etc/passwd'))", "file"),
    ("SELECT in(trace_id, findings) FROM transactions", "in is not allowed"),
    ("SELECT `in`(trace_id, findings) FROM transactions", "in is not allowed"),
    ("SELECT notIn(trace_id, findings) FROM transactions", "notIn is not allowed"),
    ("SELECT globalNullIn(trace_id, findings) FROM transactions", "globalNullIn is not allowed"),
    # A name that the query defines elsewhere, or later, or as a value, means the real table
    ("WITH findings AS (SELECT * FROM findings) SELECT * FROM findings", "findings"),
    ("WITH a AS (SELECT * FROM findings), findings AS (SELECT 1 FROM entries) SELECT * FROM a", "findings"),
    ("SELECT * FROM (WITH findings AS (SELECT 1 FROM entries) SELECT * FROM findings), findings", "findings"),
    ("WITH (SELECT 1 FROM entries) AS findings SELECT * FROM findings", "findings"),
    ("WITH 1 AS findings SELECT * FROM findings", "findings"),
    ("WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a, entries", "RECURSIVE"),
    ("SELECT * FROM {t:Identifier}", "makes one"),
    ("SELECT {x:Identifier} FROM transactions", "type"),
    # Table functions
    ("SELECT * FROM file('/etc/passwd', 'LineAsString')", "file"),
    ("SELECT * FROM url('http://169.254.169.254/', 'LineAsString')", "makes one"),
    ("SELECT * FROM s3('http://x/y')", "makes one"),
    ("SELECT * FROM remote('127.0.0.1', system.one)", "makes one"),
    ("SELECT * FROM remoteSecure('h', db.t)", "makes one"),
    ("SELECT * FROM cluster('c', system.one)", "makes one"),
    ("SELECT * FROM merge('.*')", "makes one"),
    ("SELECT * FROM mysql('h', 'd', 't', 'u', 'p')", "makes one"),
    ("SELECT * FROM postgresql('h', 'd', 't', 'u', 'p')", "makes one"),
    ("SELECT * FROM sqlite('/x', 't')", "makes one"),
    ("SELECT * FROM executable('id', 'TSV', 'a String')", "executable"),
    ("SELECT * FROM numbers(1000000000000)", "makes one"),
    ("SELECT * FROM generateRandom('a String')", "makes one"),
    ("SELECT * FROM input('a String')", "makes one"),
    ("SELECT * FROM null('a String')", ""),
    ("SELECT * FROM view(SELECT * FROM system.users)", "makes one"),
    ("SELECT * FROM dictionary('d')", "dictionary"),
    ("SELECT * FROM loop(transactions)", "makes one"),
    ("SELECT * FROM python('x')", "makes one"),
    ("SELECT * FROM values('a String', 'x')", "VALUES"),
    ("SELECT * FROM (SELECT * FROM (SELECT * FROM url('http://x', 'CSV')))", "makes one"),
    ("SELECT * FROM transactions JOIN numbers(10) AS n ON 1", "makes one"),
    # Functions that reach outside
    ("SELECT file('/etc/passwd') FROM transactions", "file"),
    ("SELECT FILE('/etc/passwd') FROM transactions", "FILE"),
    ("SELECT `file`('/etc/passwd') FROM transactions", "file"),
    ("SELECT \"file\"('/etc/passwd') FROM transactions", "file"),
    ("SELECT file /* x */ ('/etc/passwd') FROM transactions", "file"),
    ("SELECT arrayMap(file, ['/etc/passwd']) FROM transactions", "file"),
    ("SELECT arrayMap(x -> file(x), ['/etc/passwd']) FROM transactions", "file"),
    ("SELECT * APPLY(file) FROM transactions", "file"),
    ("SELECT dictGet('d', 'a', 1) FROM transactions", "dictGet"),
    ("SELECT dictGetOrDefault('d', 'a', 1, 2) FROM transactions", "dictGetOrDefault"),
    ("SELECT joinGet('j', 'a', 1) FROM transactions", "joinGet"),
    ("SELECT hostName() FROM transactions", "hostName"),
    ("SELECT FQDN() FROM transactions", "FQDN"),
    ("SELECT getSetting('max_threads') FROM transactions", "getSetting"),
    ("SELECT getMacro('shard') FROM transactions", "getMacro"),
    ("SELECT getServerSetting('x') FROM transactions", "getServerSetting"),
    ("SELECT currentUser() FROM transactions", "currentUser"),
    ("SELECT sleep(3) FROM transactions", "sleep"),
    ("SELECT sleepEachRow(3) FROM transactions", "sleepEachRow"),
    ("SELECT throwIf(1) FROM transactions", "throwIf"),
    ("SELECT aiGenerate('x') FROM transactions", "aiGenerate"),
    ("SELECT filesystemAvailable() FROM transactions", "filesystemAvailable"),
    ("SELECT showCertificate() FROM transactions", "showCertificate"),
    ("SELECT hasColumnInTable('system', 'users', 'name') FROM transactions", "hasColumnInTable"),
    ("SELECT addressToLine(1) FROM transactions", "addressToLine"),
    ("SELECT catboostEvaluate('/m', 1) FROM transactions", "catboostEvaluate"),
    ("SELECT 1 FROM transactions WHERE 1 = (SELECT file('/etc/passwd'))", "file"),
    ("SELECT 1 FROM transactions ORDER BY file('/etc/passwd')", "file"),
    ("SELECT 1 FROM transactions LIMIT 1 BY file('/etc/passwd')", "file"),
    # Reads nothing
    ("SELECT 1", "reads no table"),
]

FINE = [
    "SELECT * FROM transactions",
    "SELECT t.trace_id FROM transactions AS t FINAL WHERE t.outcome IN ('rolled_back', 'unknown')",
    "SELECT 1 FROM entries WHERE (service, version) IN (('a', '1'), ('b', '2'))",
    "SELECT 1 FROM entries WHERE service IN {names:Array(String)} AND version IN ['1', '2']",
    "SELECT 1 FROM entries WHERE trace_id IN (SELECT trace_id FROM ai_calls)",
    "WITH calls AS (SELECT trace_id FROM ai_calls) SELECT 1 FROM entries WHERE trace_id IN calls",
    "WITH a AS (SELECT 1 AS n FROM entries), b AS (SELECT * FROM a) SELECT * FROM b JOIN a USING (n)",
    "WITH 5 AS least SELECT service FROM entries GROUP BY service HAVING count() > least",
    "SELECT * FROM (SELECT trace_id FROM entries UNION ALL SELECT trace_id FROM ai_calls)",
    "SELECT arrayFilter(v -> v IN ('a', 'b'), tables) FROM statements_resolved ARRAY JOIN tables AS t",
    "SELECT 'file(1) INTO OUTFILE ; DROP' AS said, database_url AS url FROM databases",
    "SELECT isNull(NULL), NULL IS NULL FROM entries WHERE status IS NOT NULL",
    "SELECT quantile(0.5)(n), argMax(a, b) FROM (SELECT count() AS n, 1 AS a, 2 AS b FROM entries)",
    "SELECT 1 FROM statements_resolved AS s ASOF JOIN transactions AS t "
    "ON s.trace_id = t.trace_id AND s.started_at >= t.started_at",
]


@pytest.mark.parametrize(("sql", "named"), HOSTILE)
def test_hostile_queries_are_refused_by_name(sql: str, named: str) -> None:
    with pytest.raises(FenceError) as refused:
        fence(sql)
    assert named in str(refused.value)


@pytest.mark.parametrize("sql", FINE)
def test_harmless_queries_pass(sql: str) -> None:
    assert fence(sql).tables


def test_what_runs_is_the_tree_written_out_again() -> None:
    query = fence("select /* ; drop */ count( ) n -- x\nfrom transactions where reads>{least:UInt32}")
    assert query.sql == "SELECT count() AS n FROM transactions WHERE reads > {least: UInt32}"
    assert (query.columns, query.parameters) == (("n",), {"least": "UInt32"})
    assert query.tables == {"transactions"}


def test_a_refusal_says_where() -> None:
    with pytest.raises(FenceError) as refused:
        fence("SELECT trace_id,\n  hostName()\nFROM entries")
    assert (refused.value.line, refused.value.column) == (2, 3)


def test_one_parameter_has_one_type() -> None:
    with pytest.raises(FenceError, match="least is declared as UInt32 and as String"):
        fence("SELECT 1 FROM entries WHERE http_status > {least:UInt32} OR service = {least:String}")


def test_a_star_hides_the_columns() -> None:
    assert fence("SELECT t.*, 1 AS one FROM transactions AS t").columns is None


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    with pytest.raises(FenceError):
        fence("SELECT " + "(" * 5000 + "1" + ")" * 5000 + " FROM entries")
