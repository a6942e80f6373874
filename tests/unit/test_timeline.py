"""One timeline out of spans and log records: order, spans of life, gaps, folding, bounds."""

from __future__ import annotations

import random
from typing import Any

from trueline.monitor.engine.timeline import MAX_TRACES, build_timeline

MS = 1_000_000
WRITE = {"trueline.statement.kind": "write", "trueline.statement.tables": '["expenses"]'}
ENDED = {"trueline.transaction.id": "t", "trueline.transaction.outcome": "committed"}


def item(number: int, at_ms: float, length_ms: float = 1, **more: Any) -> dict[str, Any]:
    return {
        "kind": "span",
        "named": False,
        "trace_id": "a" * 32,
        "span_id": f"{number:016x}",
        "parent_span_id": f"{1:016x}",
        "at": int(at_ms * MS),
        "duration_ns": int(length_ms * MS),
        "service": "web",
        "version": "1",
        "name": f"span {number}",
        "status": "unset",
        "status_message": "",
        "outcome": "",
        "reason": "",
        "attributes": {},
        **more,
    }


def root(length_ms: float = 100, **more: Any) -> dict[str, Any]:
    return item(1, 0, length_ms, parent_span_id="", name="POST /webhook", **more)


def test_a_transaction_has_a_span_of_life_and_its_first_statement_is_inside() -> None:
    # The statement's span began before the transaction's: both clocks are right, the statement came first.
    statement = item(2, 10, 2, attributes={**WRITE, **ENDED}, outcome="committed")
    transaction = item(3, 11, 20, attributes=ENDED, outcome="committed")
    steps = build_timeline([transaction, statement, root()]).steps

    assert [(step.kind, step.phase, step.within, step.at // MS) for step in steps] == [
        ("entry", "begins", 0, 0),
        ("transaction", "begins", 0, 10),
        ("statement", "", 1, 10),
        ("transaction", "ends", 0, 31),
        ("entry", "ends", 0, 100),
    ]


def test_the_order_of_arrival_changes_nothing() -> None:
    items = [
        root(),
        *(item(n, n, 1, attributes=WRITE, outcome="committed", name=f"{n}") for n in range(2, 30)),
    ]
    expected = build_timeline(items)
    for seed in range(5):
        mixed = list(items)
        random.Random(seed).shuffle(mixed)
        assert build_timeline(mixed) == expected


def test_silence_is_said_unless_something_is_waited_for() -> None:
    model = {"gen_ai.request.model": "m"}
    quiet = build_timeline([root(4500), item(2, 4000, attributes=WRITE)])
    waiting = build_timeline(
        [root(4500), item(2, 10, 3900, attributes=model), item(3, 4000, attributes=WRITE)]
    )

    assert [step.text for step in quiet.steps if step.kind == "gap"] == ["nothing for 4.0 s"]
    assert [step for step in waiting.steps if step.kind == "gap"] == []


def test_what_repeats_is_folded() -> None:
    same = [item(n, n, 1, attributes={**WRITE, "trueline.statement.kind": "read"}) for n in range(2, 39)]
    (read,) = [step for step in build_timeline([root(), *same]).steps if step.kind == "statement"]

    assert read.count == 37
    assert read.duration_ns == 37 * MS


def test_a_transaction_that_is_tried_again_and_again_is_said_once_in_short() -> None:
    tries = [
        item(n, 10 * n, 2, attributes={**ENDED, "trueline.transaction.id": f"t{n}"}, outcome="rolled_back")
        for n in range(2, 9)
    ]
    last = item(9, 95, 2, attributes={**ENDED, "trueline.transaction.id": "t9"}, outcome="committed")
    (strand,) = build_timeline([root(), *tries, last]).strands

    assert strand.sentence.count("rolled back") == 1
    assert "; 7 times: transaction" in strand.sentence
    assert strand.sentence.endswith("; transaction with 0 writes: committed")


def test_however_much_goes_in_the_steps_that_matter_come_out() -> None:
    many = [item(n, n, 1, name=f"work {n}") for n in range(2, 5000)]
    proof = item(6000, 2500, 1, attributes=WRITE, outcome="rolled_back", named=True)
    timeline = build_timeline([root(6000), *many, proof], limit=50)

    assert len([step for step in timeline.steps if step.kind != "gap"]) == 50
    assert [step for step in timeline.steps if step.named and step.bad]
    assert timeline.left_out == 5000 - 50 + 1


def test_traces_with_proof_come_first_and_are_not_more_than_so_many() -> None:
    items = [item(n, n, trace_id=f"{n:032x}", named=n > 50) for n in range(1, 61)]
    timeline = build_timeline(items)

    assert [strand.trace_id for strand in timeline.strands] == [
        f"{n:032x}" for n in range(51, 51 + MAX_TRACES)
    ]
    assert timeline.left_out == 60 - MAX_TRACES


def test_nothing_at_all_is_an_empty_timeline() -> None:
    timeline = build_timeline([])

    assert (timeline.steps, timeline.strands, timeline.left_out) == ((), (), 0)
