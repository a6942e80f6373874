"""Spans and log records of one or several traces as one timeline over services. Pure.

A transaction has a span of life: it begins, its statements stand inside, and it ends with its outcome. So has
an entry. Everything else is one step. What repeats is folded, long silences are said, and no more than so
many steps come out whatever goes in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from trueline.instrumentation import semconv
from trueline.monitor.engine.describe import describe, outcome_text, values
from trueline.monitor.engine.templates import plural

Item = Mapping[str, Any]
Kind = Literal["entry", "transaction", "statement", "ai", "log", "span", "gap"]
Phase = Literal["begins", "ends", ""]
#: Silence that is said, nanoseconds.
GAP_NS: Final = 1_000_000_000
#: Steps of a timeline unless more are asked for.
MAX_STEPS: Final = 300
#: Traces of a finding that are shown.
MAX_TRACES: Final = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One line. ``at`` is nanoseconds since 1970; ``count``: so many alike, one after the other.

    ``within``: begun and not ended transactions of its trace, so that a step stands inside or outside.
    ``bad``: an error, or a write that is not there. ``named``: the rule named it as its proof.
    """

    at: int
    kind: Kind
    phase: Phase
    trace: str
    text: str
    duration_ns: int = 0
    service: str = ""
    version: str = ""
    outcome: str = ""
    reason: str = ""
    within: int = 0
    bad: bool = False
    named: bool = False
    count: int = 1
    trace_id: str = ""
    span_id: str = ""


@dataclass(frozen=True, slots=True)
class Strand:
    """One trace in short. ``label`` is its letter in the timeline."""

    label: str
    trace_id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """``begin`` and ``end`` are nanoseconds since 1970. ``left_out``: items that would have been too many."""

    begin: int
    end: int
    services: tuple[str, ...]
    strands: tuple[Strand, ...]
    steps: tuple[Step, ...]
    left_out: int


def build_timeline(items: Sequence[Item], limit: int = MAX_STEPS) -> Timeline:
    """Put items (as evidence keeps them) in one order. Traces with what the rule named come first."""
    traces = _chosen(items)
    labels = {trace: _letter(number) for number, trace in enumerate(traces)}
    strands: list[Strand] = []
    steps: list[Step] = []
    for trace, label in labels.items():
        own = [item for item in items if item["trace_id"] == trace and not _is_noise(item)]
        strands.append(Strand(label, trace, _sentence(own)))
        steps += _inside(_steps(own, label))
    steps.sort(key=_order)
    steps = _folded(steps)
    left_out = sum(1 for item in items if item["trace_id"] not in labels)
    if len(steps) > limit:
        steps, cut = _shortened(steps, limit)
        left_out += cut
    steps = _with_gaps(steps)
    begin = min((step.at for step in steps), default=0)
    end = max((step.at for step in steps), default=0)
    services = dict.fromkeys(f"{step.service} {step.version}".strip() for step in steps if step.service)
    return Timeline(begin, end, tuple(services), tuple(strands), tuple(steps), left_out)


def _chosen(items: Sequence[Item]) -> list[str]:
    """Traces to show, in order of time."""
    named: dict[str, int] = {}
    first: dict[str, int] = {}
    for item in items:
        trace = item["trace_id"]
        named[trace] = named.get(trace, 0) + bool(item.get("named"))
        first[trace] = min(first.get(trace, item["at"]), item["at"])
    wanted = sorted(first, key=lambda trace: (not named[trace], first[trace]))[:MAX_TRACES]
    return sorted(wanted, key=lambda trace: first[trace])


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _is_noise(item: Item) -> bool:
    """A connection taken from the pool says nothing where it works."""
    return item["name"] == "connect" and item["status"] != "error" and not item.get("named")


def _steps(items: Sequence[Item], label: str) -> list[Step]:
    known = {item["span_id"] for item in items if item["kind"] == "span"}
    entries = {item["attributes"].get(semconv.ENTRY_SPAN_ID) for item in items}
    firsts: dict[str | None, list[int]] = {}
    for item in items:
        if semconv.STATEMENT_KIND in item["attributes"]:
            firsts.setdefault(item["attributes"].get(semconv.TRANSACTION_ID, ""), []).append(item["at"])
    steps: list[Step] = []
    for item in items:
        kind = _kind(item, entries, known)
        step = _step(item, kind, label)
        if kind == "transaction":
            place = _place(item["attributes"])
            # Its first statement is what began it, and may be a moment older than the span.
            own = item["attributes"].get(semconv.TRANSACTION_ID)
            begun = min([item["at"], *firsts.get(own, [])])
            ends = item["at"] + item["duration_ns"]
            begins = replace(step, text=f"transaction begins{place}", outcome="", reason="", bad=False)
            steps.append(replace(begins, at=begun, phase="begins", duration_ns=0))
            steps.append(replace(step, phase="ends", at=ends, text=_ending(item)))
        elif kind == "entry" and item["duration_ns"]:
            steps.append(
                replace(step, phase="begins", text=f"{item['name']} begins", bad=False, duration_ns=0)
            )
            steps.append(
                replace(step, phase="ends", at=item["at"] + item["duration_ns"], text=_answer(item, step))
            )
        else:
            steps.append(step)
    return steps


def _kind(item: Item, entries: Iterable[str | None], known: Iterable[str]) -> Kind:
    attributes = item["attributes"]
    if item["kind"] == "log":
        return "log"
    if semconv.STATEMENT_KIND in attributes:
        return "statement"
    if semconv.TRANSACTION_OUTCOME in attributes:
        return "transaction"
    if any(name.startswith("gen_ai.") for name in attributes):
        return "ai"
    if item["span_id"] in entries or item["parent_span_id"] not in known:
        return "entry"
    return "span"


def _step(item: Item, kind: Kind, label: str) -> Step:
    lost = item["outcome"] == "rolled_back" and item["attributes"].get(semconv.STATEMENT_KIND) != "read"
    return Step(
        at=item["at"],
        kind=kind,
        phase="",
        trace=label,
        text=describe(item),
        duration_ns=item["duration_ns"],
        service=item["service"],
        version=item["version"],
        outcome=item["outcome"] if kind in ("statement", "transaction") else "",
        reason=item["reason"] if kind in ("statement", "transaction") else "",
        bad=lost or item["status"] in ("error", "fatal", "critical"),
        named=bool(item.get("named")),
        trace_id=item["trace_id"],
        span_id=item["span_id"],
    )


def _place(attributes: Mapping[str, str]) -> str:
    name = attributes.get(semconv.DB_NAMESPACE) or attributes.get("db.name", "")
    return f" on {name}" if name else ""


def _ending(item: Item) -> str:
    text = describe(item)
    return text.replace("transaction", "transaction ends", 1)


def _answer(item: Item, step: Step) -> str:
    return step.text if ": " in step.text else f"{item['name']} ends"


def _order(step: Step) -> tuple[int, int]:
    """By time; what ends an outer thing comes after what is inside, what begins it before."""
    rank = {"begins": 0, "": 1, "ends": 2}[step.phase]
    outer = 0 if step.kind == "entry" else 1
    return step.at, rank * 2 + (outer if step.phase == "begins" else 1 - outer)


def _inside(steps: Sequence[Step]) -> list[Step]:
    """Steps of one trace with how many transactions are open around each; AI calls say so in words."""
    found: list[Step] = []
    open_now = 0
    for step in sorted(steps, key=_order):
        if step.kind == "transaction" and step.phase == "ends":
            open_now = max(0, open_now - 1)
        text = step.text
        if step.kind == "ai" and open_now:
            text += ", while the transaction is open"
        found.append(replace(step, within=open_now, text=text))
        if step.kind == "transaction" and step.phase == "begins":
            open_now += 1
    return found


def _folded(steps: Sequence[Step]) -> list[Step]:
    """Neighbours that say the same become one."""
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        if last is not None and not step.phase and _same(last) == _same(step):
            found[-1] = replace(
                last,
                count=last.count + 1,
                duration_ns=step.at + step.duration_ns - last.at,
                named=last.named or step.named,
            )
        else:
            found.append(step)
    return found


def _same(step: Step) -> tuple[object, ...]:
    return step.text, step.trace, step.service, step.within, step.phase


def _shortened(steps: Sequence[Step], limit: int) -> tuple[list[Step], int]:
    """The steps that matter most, in their order, and how many items are left out."""

    def weight(step: Step) -> int:
        return (
            8 * step.named
            + 4 * step.bad
            + 2 * (step.kind in ("transaction", "entry", "ai"))
            + (step.kind == "statement")
        )

    ranked = sorted(range(len(steps)), key=lambda place: (-weight(steps[place]), place))
    kept = sorted(ranked[:limit])
    cut = sum(steps[place].count for place in ranked[limit:])
    return [steps[place] for place in kept], cut


def _with_gaps(steps: Sequence[Step]) -> list[Step]:
    """Steps with a line for each second or more in which nothing happens, and what is waited for then."""
    found: list[Step] = []
    for step in steps:
        if found and step.at - found[-1].at >= GAP_NS:
            last = found[-1]
            waits = next(
                (
                    one
                    for one in reversed(found)
                    if one.kind in ("ai", "statement")
                    and one.at + one.duration_ns >= last.at + (step.at - last.at) * 9 // 10
                ),
                None,
            )
            if waits is None:
                length = _seconds(step.at - last.at)
                inside = last.within + (last.kind == "transaction" and last.phase == "begins")
                open_ = ", the transaction open" if inside and last.trace == step.trace else ""
                text = f"nothing for {length}{open_}"
                found.append(Step(last.at, "gap", "", "", text, duration_ns=step.at - last.at))
        found.append(step)
    return found


def _sentence(items: Sequence[Item]) -> str:
    """One trace in a line: what came in and how it was answered, what became of its transactions."""
    parts: list[str] = []
    known = {item["span_id"] for item in items if item["kind"] == "span"}
    entries = {item["attributes"].get(semconv.ENTRY_SPAN_ID) for item in items}
    kinds = [(item, _kind(item, entries, known)) for item in sorted(items, key=lambda item: item["at"])]
    entry = next((item for item, kind in kinds if kind == "entry"), None)
    if entry is not None:
        parts.append(f"{describe(entry)} after {_seconds(entry['duration_ns'])} ({entry['service']})")
    ends = Counter(
        describe(item)
        for item, kind in kinds
        if (kind == "ai" and item["status"] == "error") or kind == "transaction"
    )
    # A transaction that a worker tries again and again is said once, or nothing else would be read.
    parts += [f"{count} times: {text}" if count > 1 else text for text, count in ends.items()]
    reads = [
        item
        for item, kind in kinds
        if kind == "statement" and item["attributes"][semconv.STATEMENT_KIND] == "read"
    ]
    empty = [item for item in reads if item["attributes"].get(semconv.STATEMENT_ROWS) == "0"]
    if empty:
        tables = dict.fromkeys(
            table for item in empty for table in values(item["attributes"].get(semconv.STATEMENT_TABLES))[:1]
        )
        parts.append(f"{plural(len(empty), 'read')} of {', '.join(list(tables)[:4])} found no row")
    loose = [
        item for item, kind in kinds
        if kind == "statement" and item["attributes"][semconv.STATEMENT_KIND] == "write"
    ]  # fmt: skip
    if loose and not any(kind == "transaction" for _, kind in kinds):
        outcomes = dict.fromkeys(
            outcome_text(item["outcome"], item["reason"]) or "outcome unknown" for item in loose
        )
        parts.append(f"{plural(len(loose), 'write')}: {', '.join(outcomes)}")
    return "; ".join(parts[:6]) or plural(len(items), "span or log line", "spans and log lines")


def _seconds(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
