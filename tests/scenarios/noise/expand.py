"""Makes rows of plays: the engine itself multiplies them, so that millions take seconds.

Each table that plays write to has a table beside it that holds their rows as they are described, blanks and
all. One INSERT SELECT for each joins that with the pieces of work that begin in some time, and fills in who,
when, and which ids.

Everything follows from the number of a piece of work and the seed: the same rows come out whatever the steps
in which they are asked for. Rows are asked for by arrival, as they would come in.

- Clocks: those of processes are up to 300 ms wrong.
- Arrival: processes export once a second, each at its own moment; now and then one cannot for up to 45
  seconds and sends it all then, in order.
- Deploys: every so often, process by process, so that two versions run side by side.
- People: some are far busier than others.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from scenarios.noise.blanks import BLANKS, FILLED, KEPT, MEANS, blanks_of, columns_of, nothing
from scenarios.noise.model import Row
from scenarios.noise.play import Play

from trueline.monitor.store.client import Store

#: Rows arrive so much after they could leave at most: an export each second, and one that cannot for a while.
ARRIVAL: Final = timedelta(seconds=48)
#: Pieces of work that take longer than this are numbered by themselves: they are looked for much further
#: back.
SHORT: Final = timedelta(seconds=30)
_SLOTS: Final = 4096
_TABLES: Final = ("statements", "transactions", "entries", "ai_calls", "exceptions", "otel_logs")
_PLAN: Final = {
    "odds": "stream UInt64, phase UInt32, odds Array(UInt16)",
    "happenings": "number UInt64, n_play UInt16, base Int64, until Int64",
}
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Happening:
    """One piece of work at a given time, instead of ever and again."""

    play: Play
    at: datetime


@dataclass(frozen=True)
class Span:
    """The simulated time, and how many statements it is to hold."""

    start: datetime
    end: datetime
    statements: int
    seed: int
    #: Keep this share of the identities in every service; 0: all, except where a service samples by itself.
    sample: float = 0.0

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def at(self, fraction: float) -> datetime:
        """The moment at this part of it, from 0 to 1."""
        return self.start + self.length * fraction


class Company:
    """Plays that come ever and again, and happenings, as rows in a store."""

    def __init__(
        self, store: Store, span: Span, plays: Sequence[Play], happenings: Sequence[Happening] = ()
    ) -> None:
        self._store, self._span = store, span
        self._plays = [*plays, *dict.fromkeys(one.play for one in happenings)]
        self._number = {play: number for number, play in enumerate(self._plays)}
        self._happenings = [(self._number[one.play], _micros(one.at)) for one in happenings]
        limit = SHORT / timedelta(milliseconds=1)
        self._streams = [
            _Stream(0, [one for one in plays if one.weight and one.reach <= limit]),
            _Stream(10**12, [one for one in plays if one.weight and one.reach > limit]),
        ]
        weight = sum(stream.weight for stream in self._streams)
        mean = sum(one.weight * (one.until - one.since) * one.statements for one in plays) / weight
        for stream in self._streams:
            stream.count = round(span.statements / mean * stream.weight / weight)
            stream.number(self._number)
        self._columns: dict[str, list[str]] = {}
        self._plan()
        self._describe()

    def arrive(self, start: datetime, end: datetime) -> None:
        """Insert what arrives from ``start`` until before ``end``."""
        works = " UNION ALL ".join(self._works(start, end))
        for table, columns in self._columns.items():
            filled = FILLED[table]
            chosen = [f"{filled.get(name, f'step.{name}')} AS {name}" for name in columns]
            self._store.command(
                f"INSERT INTO {table} ({', '.join(columns)}) "
                f"SELECT {', '.join(columns)} "
                f"FROM (WITH {self._with()} SELECT {', '.join(chosen)}, arrived AS n_arrived, "
                f"{KEPT if table in ('statements', 'transactions') else '1'} AS n_kept "
                f"FROM ({works}) AS work INNER JOIN noise_{table} AS step USING (n_play)) "
                f"WHERE n_arrived >= {_micros(start)} AND n_arrived < {_micros(end)} AND n_kept"
            )

    def close(self) -> None:
        """Remove the tables that describe the plays."""
        for table in (*self._columns, "odds", "happenings"):
            self._store.command(f"DROP TABLE noise_{table}")

    def _with(self) -> str:
        span = self._span
        deploy = max(_micros(span.end) - _micros(span.start), 1) * 2 // 5
        constants = {
            "seed": span.seed,
            "began": _micros(span.start),
            "moved": _micros(span.at(0.5)),
            "deploy": deploy,
            "people": max(1000, span.statements // 40),
            "sample": span.sample,
        }
        given = [f"{value} AS {name}_" for name, value in constants.items()]
        return ", ".join([*given, *(f"{expression} AS {name}" for name, expression in MEANS.items())])

    def _works(self, start: datetime, end: datetime) -> Iterator[str]:
        """Pieces of work of which something may arrive in that time, each as (i, base, h, n_play)."""
        span = self._span
        for stream in self._streams:
            if not stream.count:
                continue
            gap = span.length / stream.count
            earliest = max(start - stream.reach - ARRIVAL, span.start)
            first = max(0, (earliest - span.start) // gap)
            last = min(stream.count, -((span.start - end) // gap))
            for phase, (low, high, odds) in enumerate(stream.phases):
                begin, until = max(first, round(low * stream.count)), min(last, round(high * stream.count))
                if begin < until and odds:
                    yield (
                        f"SELECT toUInt64(number + {stream.offset}) AS i, cityHash64(i, {span.seed}) AS h, "
                        f"toInt64({_micros(span.start)} + (number + (h % 1000) / 1000) * "
                        f"{gap / _SECOND * 1e6!r}) AS base, "
                        f"(SELECT odds FROM noise_odds WHERE stream = {stream.offset} AND phase = {phase})"
                        f"[1 + intDiv(h, 1048576) % {_SLOTS}] AS n_play "
                        f"FROM numbers({begin}, {until - begin})"
                    )
        yield (
            f"SELECT toUInt64(number + {2 * 10**12}) AS i, cityHash64(i, {span.seed}) AS h, base, n_play "
            f"FROM noise_happenings WHERE base < {_micros(end)} AND until >= {_micros(start)}"
        )

    def _plan(self) -> None:
        """Make the tables that hold which play comes how often, and when others happen."""
        for table, columns in _PLAN.items():
            self._store.command(f"DROP TABLE IF EXISTS noise_{table}")
            self._store.command(f"CREATE TABLE noise_{table} ({columns}) ENGINE = Memory")
        odds = [
            (stream.offset, number, odds)
            for stream in self._streams
            for number, (_, _, odds) in enumerate(stream.phases)
        ]
        self._store.insert(
            "noise_odds", dict(zip(("stream", "phase", "odds"), zip(*odds, strict=True), strict=True))
        )
        if self._happenings:
            late = ARRIVAL // timedelta(microseconds=1)
            ends = [at + round(self._plays[play].reach * 1250) + late for play, at in self._happenings]
            plays, times = zip(*self._happenings, strict=True)
            numbers = list(range(len(ends)))
            happening = {"number": numbers, "n_play": plays, "base": times, "until": ends}
            self._store.insert("noise_happenings", happening)

    def _describe(self) -> None:
        """Make the tables that hold the plays' rows as they are described."""
        by_table: dict[str, list[tuple[int, Play, Row]]] = {table: [] for table in _TABLES}
        for number, play in enumerate(self._plays):
            for row in play.rows:
                by_table[row.table].append((number, play, row))
        for table, rows in by_table.items():
            if not rows:
                continue
            types = dict(
                self._store.query(
                    "SELECT name, type FROM system.columns WHERE database = currentDatabase() "
                    "AND table = {table:String} AND name NOT LIKE 'request_hash' AND default_kind != 'ALIAS'",
                    {"table": table},
                ).rows
            )
            named = {name for _, _, row in rows for name in columns_of(row)} | set(FILLED[table])
            self._columns[table] = [name for name in types if name in named]
            kept = [
                name for name in self._columns[table] if name not in ("received_at", "started_at", "ended_at")
            ]
            declared = [f"{name} {kind}" for name, kind in BLANKS.items()]
            declared += [f"`{name}` {types[name]}" for name in kept if name not in ("Timestamp", "at")]
            self._store.command(f"DROP TABLE IF EXISTS noise_{table}")
            self._store.command(f"CREATE TABLE noise_{table} ({', '.join(declared)}) ENGINE = Memory")
            full = [columns_of(row) | blanks_of(number, play, row) for number, play, row in rows]
            columns = [name for name in kept if any(name in one for one in full)] + list(BLANKS)
            all_types = {**types, **BLANKS}
            self._store.insert(
                f"noise_{table}",
                {name: [one.get(name, nothing(all_types[name])) for one in full] for name in columns},
            )


class _Stream:
    """Plays that are numbered together. ``reach``: how far back what arrives now can have begun."""

    def __init__(self, offset: int, plays: Sequence[Play]) -> None:
        self.offset, self.plays = offset, plays
        self.weight = sum(one.weight * (one.until - one.since) for one in plays)
        self.reach = timedelta(milliseconds=1.25 * max((one.reach for one in plays), default=0.0))
        self.count = 0
        #: From when to when (parts of all time) which plays come how often: the numbers of plays, by slot.
        self.phases: list[tuple[float, float, list[int]]] = []

    def number(self, numbers: Mapping[Play, int]) -> None:
        """Work out the phases."""
        edges = sorted({0.0, 1.0, *(one.since for one in self.plays), *(one.until for one in self.plays)})
        self.phases = []
        for low, high in itertools.pairwise(edges):
            active = [one for one in self.plays if one.since <= low and one.until >= high]
            ends: list[float] = []
            for one in active:
                ends.append((ends[-1] if ends else 0.0) + one.weight)
            places = [(slot + 0.5) / _SLOTS * ends[-1] for slot in range(_SLOTS)] if active else []
            odds = [numbers[active[bisect_right(ends, place)]] for place in places]
            self.phases.append((low, high, odds))


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
