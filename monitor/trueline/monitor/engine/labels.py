"""What a finding can be told by: the labels that filters, silences and notifications know it under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from trueline.monitor.engine.finding import Finding

#: Labels that every finding has, beside the columns of its group.
COMMON: Final = ("rule", "severity", "environment", "application", "service", "table", "database", "identity")


def labels(finding: Finding) -> dict[str, tuple[str, ...]]:
    """Each label with its values: several where the finding concerns several services, tables or people."""
    found = {name: _texts([value]) for name, value in finding.group.items()}
    return {
        **found,
        "id": (finding.id,),
        "rule": (finding.rule,),
        "severity": (str(finding.severity),),
        "environment": (finding.environment or "unset",),
        "application": _texts([finding.application]),
        "service": _texts([finding.service, *finding.services]),
        "table": tables(finding),
        "database": databases(finding),
        "identity": identities(finding),
    }


def tables(finding: Finding) -> tuple[str, ...]:
    """Tables that the rule names, in its group first: columns ``table``, ``lost_tables`` and the like."""
    return _named(finding, ("table", "tables"))


def databases(finding: Finding) -> tuple[str, ...]:
    """Fingerprints of databases that the rule names: columns ``database``, ``write_database`` ..."""
    return _named(finding, ("database", "databases"))


def identities(finding: Finding) -> tuple[str, ...]:
    """Exported values of a few of the people concerned: the rule's column ``some_identities``."""
    listed = finding.facts.get("some_identities")
    values = listed if isinstance(listed, list) else []
    return _texts(str(value).rpartition(" ")[2] for value in values)


def _named(finding: Finding, endings: tuple[str, str]) -> tuple[str, ...]:
    found: list[Any] = []
    for columns in (finding.group, finding.facts):
        for name, value in columns.items():
            if name in endings or name.endswith((f"_{endings[0]}", f"_{endings[1]}")):
                found.extend(_flat(value))
    return _texts(found)


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return []
    if isinstance(value, str) and ", " in value:
        return value.split(", ")
    return value if isinstance(value, list | tuple) else [value]


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    """Distinct texts of plain values; nested ones and flags are no labels."""
    plain = (str(one) for one in values if isinstance(one, str | int | float) and not isinstance(one, bool))
    return tuple(dict.fromkeys(text for text in plain if text))
