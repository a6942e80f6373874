"""Mistakes that one field alone does not show: names that are nowhere declared, parts that contradict."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from trueline.instrumentation.database_names import DatabaseNames
from trueline.instrumentation.declarations.document import Document, Where
from trueline.instrumentation.declarations.model import Declarations
from trueline.instrumentation.declarations.schema import DEFAULT_DOMAINS
from trueline.instrumentation.identity.config import IdentityConfig
from trueline.instrumentation.identity.forms import UUID_NAMESPACES

#: Forms that are recognised without being declared.
_FORMS: Final = ("padded", "recased", "lower", "sha256", "sha1", "md5")


def check(document: Document, declared: Declarations) -> None:
    """Note every contradiction in the document."""
    _domains(document, declared)
    _columns(document, declared)
    _keys(document, declared)
    _databases(document, declared)
    _tables(document, declared)


def _domains(document: Document, declared: Declarations) -> None:
    known = (*DEFAULT_DOMAINS, *declared.domains)
    uses: list[tuple[Where, str]] = [(("resolver", domain), domain) for domain in declared.resolver]
    for name, column in declared.columns.items():
        uses.append((("columns", name), column.domain))
    for name, table in declared.tables.items():
        uses.append((("tables", name, "sharded_by"), table.sharded_by))
    for index, counterpart in enumerate(declared.counterparts):
        uses.append((("counterparts", index, "domain"), counterpart.domain))
    for index, event in enumerate(declared.log_events):
        uses.append((("log_events", index, "domain"), event.domain))
    for where, domain in uses:
        if domain and domain not in known:
            near = difflib.get_close_matches(domain, known, n=1)
            hint = f"did you mean {near[0]}? Otherwise declare" if near else "declare"
            document.complain(where, f"there is no domain {domain!r}: {hint} it under domains")


def _columns(document: Document, declared: Declarations) -> None:
    for name in declared.columns:
        try:
            IdentityConfig(columns={name: "user"})
        except ValueError as error:
            document.complain(("columns", name), str(error), of_key=True)
    for index, name in enumerate(declared.exclude):
        try:
            IdentityConfig(exclude=[name])
        except ValueError as error:
            document.complain(("exclude", index), str(error))
    for name, column in declared.columns.items():
        for index, encoding in enumerate(column.encodings):
            missing = _undeclared(encoding, declared)
            if missing:
                document.complain(("columns", name, "encodings", index), missing)


def _undeclared(encoding: str, declared: Declarations) -> str:
    """Why an encoding's name is not known, "" if it is."""
    kind, separator, name = encoding.partition("/")[0].partition(":")
    if not separator:
        return ""
    if kind == "fn" and name.startswith(("hmac.", "uuid5.")):
        kind, _, name = name.partition(".")
    known = {
        "fn": tuple(declared.derivations),
        "hmac": tuple(declared.hmac_keys),
        "uuid5": (*UUID_NAMESPACES, *declared.uuid_namespaces),
    }[kind]
    # What follows the name says what was done to it: fn:short_id.mod10.
    if any(name == one or name.startswith(f"{one}.") for one in (*known, *(_FORMS if kind == "fn" else ()))):
        return ""
    section = {"fn": "derivations", "hmac": "hmac_keys", "uuid5": "uuid_namespaces"}[kind]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? Otherwise add" if near else "add"
    return f"{encoding} names nothing that is declared: {hint} {name} to {section}"


def _keys(document: Document, declared: Declarations) -> None:
    for name, source in declared.hmac_keys.items():
        if bool(source.env) == bool(source.file):
            message = "say where the key is kept, by env: VARIABLE or by file: PATH, and not the key itself"
            document.complain(("hmac_keys", name), message)


def _databases(document: Document, declared: Declarations) -> None:
    first: dict[str, str] = {}
    for name, places in declared.databases.items():
        for index, place in enumerate(places):
            where = ("databases", name, index)
            try:
                DatabaseNames(names={place: name})
            except ValueError as error:
                document.complain(where, str(error))
            other = first.setdefault(place, name)
            if other != name:
                document.complain(where, f"{place} is {other} already: one place has one name")
    for index, move in enumerate(declared.moves):
        if move.starts >= move.ends:
            document.complain(("moves", index, "ends"), "the move ends before it starts")
        if move.source == move.target:
            document.complain(("moves", index, "to"), f"the move leads from {move.source} to itself")
        for field, name in (("from", move.source), ("to", move.target)):
            if (
                declared.databases
                and name not in declared.databases
                and not re.fullmatch("[0-9a-f]{16}", name)
            ):
                near = difflib.get_close_matches(name, declared.databases, n=1)
                hint = f"did you mean {near[0]}?" if near else "add it there, or use its fingerprint"
                document.complain(("moves", index, field), f"{name!r} is not under databases: {hint}")


def _tables(document: Document, declared: Declarations) -> None:
    seen: set[str] = set()
    for index, lineage in enumerate(declared.lineage):
        if lineage.derived in lineage.sources:
            document.complain(("lineage", index, "sources"), f"{lineage.derived} cannot be made from itself")
        if not lineage.sources:
            document.complain(("lineage", index, "sources"), "name the tables that it is made from")
        if lineage.derived in seen:
            message = f"{lineage.derived} is there already: put all its sources in one place"
            document.complain(("lineage", index, "derived"), message)
        seen.add(lineage.derived)
    for index, one in enumerate(declared.counterparts):
        if one.table == one.counterpart:
            document.complain(("counterparts", index, "counterpart"), "a table is no counterpart of itself")
    _twice(document, "operations", [(each.service, each.name) for each in declared.operations])
    _twice(document, "log_events", [(each.service, each.event) for each in declared.log_events])


def _twice(document: Document, section: str, keys: Iterable[tuple[str, str]]) -> None:
    seen: set[tuple[str, str]] = set()
    for index, key in enumerate(keys):
        if key in seen:
            document.complain((section, index), f"{key[1]!r} is there twice: join both")
        seen.add(key)
