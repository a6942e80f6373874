"""The result of an application's runs, for people and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from applications.belonging import belonging
from applications.count import NAMED, SOURCES, Count, count, share
from applications.recipe import Recipe, declared_rows
from applications.run import Run

_SHOWN_TEXTS = 25
_TEXT_WIDTH = 180


def results(tests: dict[str, str]) -> str:
    """How many tests ended how."""
    return ", ".join(f"{number} {how}" for how, number in sorted(Counter(tests.values()).items()))


def show(recipe: Recipe, run: Run) -> None:
    """Print what one run with Trueline counted."""
    writes, reads = count(run.statements, "write"), count(run.statements, "read")
    migrations = count(run.statements, "write", migrations=True)
    print(f"\n== {recipe.title}, {run.name}: {words(run)}")
    print(
        f"{'':<22}{'all':>10}" + "".join(f"{source:>20}" for source in SOURCES) + f"{'with an identity':>20}"
    )
    for title, counts in (
        ("writes", writes.executions),
        ("  rows written", writes.rows),
        ("  distinct statements", writes.texts),
        ("reads", reads.executions),
        ("writes of migrations", migrations.executions),
    ):
        cells = "".join(f"{counts[source]:>11} {share(counts, (source,)):>8.1%}" for source in SOURCES)
        print(f"{title:<22}{counts.total():>10}{cells}{share(counts, NAMED):>20.2%}")
    somebodys = somebodys_of(recipe, run)
    print(
        "writes to tables that belong to somebody, without those at large: "
        f"{writes.share_of_somebodys(somebodys, run.schema):.2%}; at large (UPDATE and DELETE that say of no "
        f"row which): {writes.at_large}; to tables of nobody: {writes.of_nobody(somebodys, run.schema)}"
    )
    print(f"operations: {_counter(writes.operations)}; domains: {_counter(writes.domains)}")
    print(f"outcomes of writes: {_counter(Counter(run.outcomes))}")
    _tables(writes, somebodys, run.schema)
    _missing(recipe, writes)


def somebodys_of(recipe: Recipe, run: Run) -> dict[str, str]:
    """The tables that belong to somebody. What the configuration declares counts where it was in force."""
    rows = declared_rows(recipe) if run.name == "configured" else []
    people = dict.fromkeys([*recipe.people, *(table for table in rows if table in run.schema)])
    return belonging(run.schema, people, recipe.holding, recipe.unowned)


def words(run: Run) -> str:
    """How a run went, in a line."""
    tests = f"{len(run.tests)} tests ({results(run.tests)})"
    return f"{tests} in {run.seconds:.0f} s ({run.cpu_seconds:.0f} s of CPU)"


def _counter(counter: Counter[str]) -> str:
    return ", ".join(f"{name or '(none)'} {number}" for name, number in counter.most_common()) or "none"


def _tables(writes: Count, somebodys: Mapping[str, str], declared: Collection[str]) -> None:
    print(
        f"\n{'table':<36}{'writes':>8}{'rows':>8}"
        + "".join(f"{source:>8}" for source in SOURCES)
        + "  identity columns, or why it belongs to whom"
    )
    for table in sorted(writes.tables.values(), key=lambda one: (-one.without, -one.writes)):
        sources = table.sources
        columns = ", ".join(name for name, _ in table.columns.most_common(4))
        print(
            f"{table.name:<36}{table.writes:>8}{table.rows:>8}"
            + "".join(f"{sources[source]:>8}" for source in SOURCES)
            + f"  {columns or somebodys.get(table.name.lower(), _nobodys(table.name, declared))}"
        )


def _nobodys(table: str, declared: Collection[str]) -> str:
    return "nobody's" if table.lower() in declared else "not declared"


def _missing(recipe: Recipe, writes: Count) -> None:
    if not writes.missing:
        return
    print("\nwrites without an identity, by table, with the recipe's reason:")
    for table in sorted(writes.tables.values(), key=lambda one: -one.without):
        if table.without:
            print(f"  {table.without:>6}  {table.name:<34} {recipe.rest.get(table.name, '(see the texts)')}")
    print("and their texts:")
    for (_, text), times in writes.missing.most_common(_SHOWN_TEXTS):
        reason = f"  -- {recipe.rest[text]}" if text in recipe.rest else ""
        print(f"  {times:>6}  {text[:_TEXT_WIDTH]}{reason}")
    if len(writes.missing) > _SHOWN_TEXTS:
        print(f"  and {len(writes.missing) - _SHOWN_TEXTS} more texts")


def as_data(recipe: Recipe, runs: dict[str, Run], versions: dict[str, str]) -> dict[str, Any]:
    """Everything that the reference's table is made from."""
    data: dict[str, Any] = {"application": recipe.title, "commit": recipe.commit, "versions": versions}
    for name, run in runs.items():
        one: dict[str, Any] = {
            "tests": dict(Counter(run.tests.values())),
            "seconds": round(run.seconds, 1),
            "cpu_seconds": round(run.cpu_seconds, 1),
            "faults": run.faults,
        }
        if name != "bare":
            writes, reads = count(run.statements, "write"), count(run.statements, "read")
            one |= {
                "writes": dict(writes.executions),
                "rows": dict(writes.rows),
                "texts": dict(writes.texts),
                "reads": dict(reads.executions),
                "migrations": dict(count(run.statements, "write", migrations=True).executions),
                "share_of_writes": round(writes.share(), 4),
                "share_of_rows": round(share(writes.rows, NAMED), 4),
                "share_of_texts": round(share(writes.texts, NAMED), 4),
                "share_of_reads": round(reads.share(), 4),
                "at_large": writes.at_large,
                "of_nobody": writes.of_nobody(somebodys_of(recipe, run), run.schema),
                "somebodys": somebodys_of(recipe, run),
                "share_of_somebodys": round(
                    writes.share_of_somebodys(somebodys_of(recipe, run), run.schema), 4
                ),
                "without": {t.name: t.without for t in writes.tables.values() if t.without},
                "tables": {
                    t.name: {"writes": t.writes, **t.sources, "columns": dict(t.columns)}
                    for t in writes.tables.values()
                },
            }
        data[name] = one
    return data
