"""Renders docs/reference/store.md from the schema's files: tables, columns, keys, retention.

python -m trueline.monitor.store.reference > docs/reference/store.md
"""

from __future__ import annotations

import re
from typing import Final

from trueline.monitor.store.migrate import Migration, read_migrations
from trueline.monitor.store.retention import DEFAULT_DAYS, DEFAULT_FINDING_DAYS, FINDINGS, TELEMETRY

_COLUMN: Final = re.compile(
    r"^    (?P<name>\w+) (?P<type>.+?)(?: DEFAULT (?P<default>.+?))?(?: COMMENT '(?P<comment>[^']*)')?"
    r"(?:\s+CODEC\(.*\))?,?$"
)
_ADDED: Final = re.compile(r"ALTER TABLE (?P<table>\w+)\s+ADD COLUMN IF NOT EXISTS (?P<new>.*)", re.DOTALL)
_HEAD: Final = """# The store's tables

Made from the schema's files: `python -m trueline.monitor.store.reference`. Tables are read by these names on
a server, in the embedded store and on a cluster alike. [How to run it](../guide/store.md).
"""


def render() -> str:
    """The whole page."""
    tables, views, fillers = [], [], []
    migrations = read_migrations()
    added = [match for migration in migrations if (match := _ADDED.search(migration.sql))]
    for migration in migrations:
        if "CREATE TABLE" in migration.sql:
            tables.append(_table(migration, added))
        elif "MATERIALIZED VIEW" in migration.sql:
            match = re.search(r"EXISTS (\w+) TO (\w+)", migration.sql)
            source = re.search(r"\n\s*FROM (\w+)", migration.sql)
            assert match is not None, migration.label
            assert source is not None, migration.label
            fillers.append(f"| `{match[1]}` | `{source[1]}` | `{match[2]}` |")
        elif match := re.search(r"VIEW (\w+) AS", migration.sql):
            views.append(f"## {match[1]} (view)\n\n{_meaning(migration)}\n")
    filled = (
        "## What fills what\n\n| insert view | reads | fills |\n|---|---|---|\n" + "\n".join(fillers) + "\n"
    )
    return "\n".join([_HEAD, *views, *tables, filled])


def _meaning(migration: Migration) -> str:
    """The comment at the head of a file, without what is said to its editors."""
    lines = re.findall(r"^-- ?(.*)$", migration.sql, re.MULTILINE)
    return "\n".join(line for line in lines if "change that, not this file" not in line)


def _table(migration: Migration, added: list[re.Match[str]]) -> str:
    """The section of a table, with the columns that later files added."""
    sql = migration.sql
    name = re.search(r"EXISTS (\w+)", sql)
    assert name is not None, migration.label
    body = sql[sql.index("(\n") + 2 : sql.index("\n)\nENGINE")]
    later = [
        f"    {column}"
        for match in added
        if match["table"] == name[1]
        for column in re.split(r",\s+ADD COLUMN IF NOT EXISTS ", match["new"])
    ]
    rows = []
    for line in [*body.splitlines(), *later]:
        column = _COLUMN.match(line)
        if column is None or column["name"] in ("INDEX", "CODEC") or line.startswith("     "):
            continue
        kind = column["type"].split(" CODEC(")[0].rstrip(",")
        rows.append(f"| `{column['name']}` | `{kind}` | {column['comment'] or ''} |")
    key = re.search(r"ORDER BY (\((?:[^()]|\([^()]*\))*\)|\w+)", sql)
    partition = re.search(r"PARTITION BY (.+)", sql)
    facts = [f"Key: `{' '.join(key[1].split())}`." if key else ""]
    facts.append(f"Partitions: `{partition[1]}`." if partition else "Not partitioned.")
    facts.append(_kept(name[1], sql))
    return (
        f"## {name[1]}\n\n{_meaning(migration)}\n\n{' '.join(facts)}\n\n"
        "| column | type | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def _kept(table: str, sql: str) -> str:
    if table in TELEMETRY:
        return f"Kept for `TRUELINE_RETENTION_DAYS` ({DEFAULT_DAYS})."
    if table in FINDINGS:
        return f"Kept for `TRUELINE_RETENTION_FINDINGS_DAYS` ({DEFAULT_FINDING_DAYS})."
    days = re.search(r"^TTL .* INTERVAL (\d+) DAY", sql, re.MULTILINE)
    return f"Kept for {days[1]} days." if days else "Kept for ever."


if __name__ == "__main__":
    print(render(), end="")
