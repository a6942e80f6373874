"""Proofs that were made before: the shipped rules' queries have passed the fence when the package was made.

To prove all of them takes seconds of CPU time at each start, more than everything else that a monitor starts
with. So their proofs are shipped beside the fence, as much code as the fence itself: by the hash of a text
and of the tables that it was allowed, what may run in its place. Any other text is proved when it is read.

    python -m trueline.monitor.engine.proofs        # after a change of a shipped rule or of the fence
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from trueline.monitor.engine.fenced import RULE_TABLES, FencedQuery

#: Where they are, beside this module.
PROOFS_FILE: Final = Path(__file__).with_name("proofs.json")


def proved(sql: str) -> FencedQuery:
    """The query as it may run, by a shipped proof or by one made now; raises FenceError if it is refused."""
    return _shipped().get(proof_key(sql)) or _proved_now(sql)


def proof_key(sql: str) -> str:
    """Under what a text's proof is kept."""
    return hashlib.sha256("\n".join([*sorted(RULE_TABLES), sql]).encode("utf-8", "surrogatepass")).hexdigest()


def render_proofs(queries: Iterable[str]) -> str:
    """The file's text: proofs of these queries, each made anew."""
    proofs: dict[str, Any] = {}
    for sql in queries:
        query = _proved_now(sql)
        proofs[proof_key(sql)] = {
            "sql": query.sql,
            "columns": query.columns,
            "parameters": query.parameters,
            "tables": sorted(query.tables),
        }
    return json.dumps(proofs, indent=0, sort_keys=True) + "\n"


def _proved_now(sql: str) -> FencedQuery:
    # With the fence comes a parser, which nobody loads who starts with the shipped rules only.
    from trueline.monitor.engine.fence import fence

    return fence(sql)


@cache
def _shipped() -> dict[str, FencedQuery]:
    """No proofs where the file is missing or is not what this module wrote: then every text is proved."""
    try:
        proofs = json.loads(PROOFS_FILE.read_text("utf-8"))
        return {
            key: FencedQuery(
                proof["sql"],
                None if proof["columns"] is None else tuple(proof["columns"]),
                proof["parameters"],
                frozenset(proof["tables"]),
            )
            for key, proof in proofs.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def shipped_queries() -> list[str]:
    """The texts to prove: those of the shipped rules."""
    from trueline.monitor.engine.load import load_rules
    from trueline.monitor.resources import shipped

    rules = load_rules([shipped("rules")]).rules
    texts = [
        text
        for rule in rules
        for text in (
            rule.definition.query,
            rule.definition.trigger,
            rule.definition.resolve.healthy,
        )
        if text
    ]
    return [text.rstrip() for text in texts]


if __name__ == "__main__":
    PROOFS_FILE.write_text(render_proofs(shipped_queries()), encoding="utf-8")
