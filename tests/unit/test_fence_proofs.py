"""Shipped proofs: the fence's own, for these very texts, and nothing depends on them being there."""

from __future__ import annotations

from pathlib import Path

import pytest

from trueline.monitor.engine import proofs
from trueline.monitor.engine.fence import fence
from trueline.monitor.engine.fenced import FenceError
from trueline.monitor.engine.proofs import PROOFS_FILE, proof_key, proved, render_proofs, shipped_queries

QUERIES = shipped_queries()


def test_the_shipped_proofs_are_those_of_the_rules_and_of_the_fence() -> None:
    published = PROOFS_FILE.read_text(encoding="utf-8")
    assert published == render_proofs(QUERIES), "run: python -m trueline.monitor.engine.proofs"


def test_a_proof_is_for_one_text_and_one_set_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    text = QUERIES[0]
    assert proof_key(text) in proofs._shipped()
    assert proofs._shipped()[proof_key(text)] == fence(text)
    assert proof_key(text + " ") not in proofs._shipped()
    monkeypatch.setattr(proofs, "RULE_TABLES", frozenset({"statements_resolved"}))
    assert proof_key(text) not in proofs._shipped()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": {"sql": 1}}', None])
def test_without_its_proofs_a_rule_is_proved_when_it_is_read(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "proofs.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(proofs, "PROOFS_FILE", file)
    proofs._shipped.cache_clear()
    try:
        query = QUERIES[0]
        assert proved(query) == fence(query)
        with pytest.raises(FenceError, match="file is not allowed"):
            proved("SELECT file('/etc/passwd') FROM transactions")
    finally:
        proofs._shipped.cache_clear()
