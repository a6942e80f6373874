"""Databases that somebody should look at together: possible copies, aliases, one variable with two. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Literal

#: Notes of one list; more are no help to anybody.
MAX_NOTES: Final = 50
Kind = Literal["possible_copy", "one_variable_two_databases", "alias"]


@dataclass(frozen=True, slots=True)
class Known:
    """One process on one database, as far as databases are compared."""

    environment: str
    application: str
    service: str
    database: str
    rungs: tuple[str, ...]
    role: str
    url: str
    variable: str
    name: str

    def rung(self, name: str) -> str:
        """The value of one rung, empty where it could not be read."""
        found = (one.partition(":")[2] for one in self.rungs if one.partition(":")[0] == name)
        return next(found, "")

    @property
    def words(self) -> frozenset[str]:
        """What an alias may call it by: fingerprints, its address."""
        values = (one.partition(":")[2] for one in self.rungs)
        return frozenset({self.database, self.url.partition("://")[2], *values} - {""})


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be said about two databases."""

    kind: Kind
    databases: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Notes, and the operator's names of the databases that have one."""

    notes: tuple[Note, ...] = ()
    names: Mapping[Known, str] = field(default_factory=dict)


def compare(known: Sequence[Known], aliases: Mapping[str, frozenset[str]]) -> Compared:
    """``aliases``: by the operator's name, the places and fingerprints that it stands for."""
    names = {one: name for one in known for name, words in aliases.items() if words & one.words}
    notes = [*_copies(known), *_variables(known, names), *_aliases(known, names)]
    return Compared(tuple(notes[:MAX_NOTES]), names)


def _copies(known: Sequence[Known]) -> Iterator[Note]:
    """One system identifier, two primaries, two endpoints: a restored backup goes on under the same name."""
    groups: dict[str, list[Known]] = defaultdict(list)
    for one in known:
        if one.rung("system_identifier") and one.role == "primary":
            groups[one.rung("system_identifier")].append(one)
    for group in groups.values():
        by_endpoint = {one.rung("endpoint"): one for one in reversed(group) if one.rung("endpoint")}
        for first, second in combinations(by_endpoint.values(), 2):
            yield Note(
                "possible_copy",
                (first.database, second.database),
                f"{first.url} and {second.url} have one system identifier, are both primary and answer at "
                "different endpoints: one may be a copy of the other (a restored backup, or a clone).",
            )


def _variables(known: Sequence[Known], names: Mapping[Known, str]) -> Iterator[Note]:
    groups: dict[tuple[str, str, str], dict[str, Known]] = defaultdict(dict)
    for one in known:
        if one.variable:
            mark = names.get(one) or one.database
            groups[(one.environment, one.application, one.variable)].setdefault(mark, one)
    for (_, _, variable), group in groups.items():
        for first, second in list(combinations(group.values(), 2))[:3]:
            yield Note(
                "one_variable_two_databases",
                (first.database, second.database),
                f"{variable} leads {first.service} to {first.url} and {second.service} to {second.url}: two "
                "databases. That is right only for shards, tenants or a service's own database.",
            )


def _aliases(known: Sequence[Known], names: Mapping[Known, str]) -> Iterator[Note]:
    groups: dict[str, dict[str, Known]] = defaultdict(dict)
    for one in known:
        if one in names:
            groups[names[one]].setdefault(one.database, one)
    for name, group in groups.items():
        if len(group) > 1:
            urls = dict.fromkeys(one.url for one in group.values())
            yield Note(
                "alias",
                tuple(group),
                f"{', '.join(urls)} are declared to be one database, {name}, and are compared as one.",
            )
