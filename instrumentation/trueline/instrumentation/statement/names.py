"""Names of tables and columns in a syntax tree."""

from __future__ import annotations

from sqlglot import exp


def identifier(node: object) -> str:
    """Return the name of an identifier: lower-case unless quoted."""
    if isinstance(node, exp.Identifier):
        name = str(node.this)
        return name if node.args.get("quoted") else name.lower()
    return ""


def table_name(table: exp.Table) -> str:
    """Return the name of a table with the schema in front where one is written, "" for table functions."""
    parts = [identifier(table.args.get(part)) for part in ("catalog", "db", "this")]
    if not parts[2]:
        return ""
    return ".".join(part for part in parts if part)


def alias_of(node: exp.Expression) -> str:
    """Return the alias of a source, "" where it has none."""
    alias = node.args.get("alias")
    return identifier(alias.this) if isinstance(alias, exp.TableAlias) else ""


def alias_columns(node: exp.Expression) -> list[str]:
    """Return the column names that an alias gives: ``AS t(a, b)``."""
    alias = node.args.get("alias")
    if not isinstance(alias, exp.TableAlias):
        return []
    return [identifier(column) for column in alias.args.get("columns") or ()]


def output_name(projection: exp.Expression) -> str:
    """Return the name under which a SELECT gives one of its expressions."""
    if isinstance(projection, exp.Alias):
        return identifier(projection.args.get("alias"))
    return identifier(projection.this) if isinstance(projection, exp.Column) else ""
