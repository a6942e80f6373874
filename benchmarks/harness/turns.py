"""One variant of the service under load, turn by turn, and what its exporter delivered."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.figures import percentile
from harness.load import Load, Request, closed_loop, fixed_rate
from harness.postgres import USERS, database, refill
from harness.processes import Server, server

#: The variants that export a span for each statement.
EXPORTING = ("trueline", "adopted", "contrib")
#: What each span of a statement must say; a recorder that loses half of it would look fast.
REQUIRED = {
    "trueline": (
        "db.system.name",
        "db.namespace",
        "db.operation.name",
        "db.query.summary",
        "trueline.statement.kind",
        "trueline.statement.tables",
        "trueline.database.fingerprint",
        "trueline.transaction.id",
        "trueline.transaction.outcome",
        "trueline.orm.session_id",
        "trueline.identity.columns",
        "trueline.identity.values",
        "trueline.hash.key_id",
    ),
    "contrib": ("db.system", "db.name", "db.user"),
}
#: These need an identity column, which looking a user up by its primary key has not.
_WITH_IDENTITY = ("trueline.identity.columns", "trueline.identity.values", "trueline.hash.key_id")
#: Of the statements of REQUESTS: each write looks its user up first.
WRITES_SHARE = 0.4


def requests(seed: int = 7, count: int = 2000) -> list[Request]:
    """A mix of 40 % writes (two statements and a commit), 30 % summaries and 30 % lists (one each)."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        kind, user = chance.random(), chance.randint(1, USERS)
        if kind < WRITES_SHARE:
            body = json.dumps({"amount": chance.randint(1, 9999), "note": f"lunch {number}"}).encode()
            head = (
                b"POST /users/%d/expenses HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                % user
            )
            found.append(Request(head + b"Content-Length: %d\r\n\r\n" % len(body) + body, 2))
        else:
            what = b"summary" if kind < WRITES_SHARE + 0.3 else b"expenses"
            found.append(Request(b"GET /users/%d/%s HTTP/1.1\r\nHost: bench\r\n\r\n" % (user, what), 1))
    return found


@dataclass(slots=True)
class Arrived:
    """What a receiver got from one variant, and what it should have got."""

    expected: int = 0
    statements: int = 0
    spans: int = 0
    bytes: int = 0
    attributes: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, report: dict[str, Any]) -> None:
        self.statements += report["statements"]
        self.spans += report["spans"]
        self.bytes += report["bytes"]
        self.attributes.update(report["attributes"])
        self.outcomes.update(report["outcomes"])

    def complaints(self, variant: str) -> list[str]:
        """What is wrong, in words."""
        if variant not in EXPORTING:
            return [f"{variant}: {self.statements} statements arrived, of none"] if self.statements else []
        found = []
        if self.statements != self.expected:
            found.append(f"{variant}: {self.statements} statements arrived of {self.expected}")
        for name in REQUIRED["contrib" if variant == "contrib" else "trueline"]:
            if variant == "adopted" and name.startswith("db."):
                continue  # contrib's spans keep contrib's names
            # 40 % of the requests are writes: two of 1.4 statements, one of them without an identity.
            least = self.statements * (0.6 if name in _WITH_IDENTITY else 1.0)
            if self.attributes[name] < least:
                found.append(f"{variant}: {name} on {self.attributes[name]} of {self.statements} statements")
        if variant != "contrib" and self.outcomes["committed"] < self.statements * 0.5:
            found.append(f"{variant}: outcomes {dict(self.outcomes)}")
        return found


@dataclass(slots=True)
class Subject:
    """One running variant with everything measured on it; a list item for each round."""

    variant: str
    service: Server
    database: str
    receiver: Server
    latencies: list[list[float]] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    #: Seconds of CPU a request, of all threads and of those that serve no request.
    cpu: list[float] = field(default_factory=list)
    background_cpu: list[float] = field(default_factory=list)
    #: Seconds a request that the service's event loop waited for a core: how much else went on here.
    waited: list[float] = field(default_factory=list)
    #: Requests a second in a closed loop.
    throughput: list[float] = field(default_factory=list)
    #: Seconds by which the event loop was late at the worst; seconds of the service's own CPU in such a gap.
    longest_late: list[float] = field(default_factory=list)
    longest_hold: list[float] = field(default_factory=list)
    hold_p999: list[float] = field(default_factory=list)
    #: For each request, seconds of CPU that the service used while it was inside.
    inside: list[list[float]] = field(default_factory=list)
    #: (requests served so far, bytes of resident memory)
    memory: list[tuple[int, int]] = field(default_factory=list)
    threads: int = 0
    errors: int = 0
    served: int = 0
    #: At the fixed rate, and in the closed loop.
    arrived: Arrived = field(default_factory=Arrived)
    arrived_closed: Arrived = field(default_factory=Arrived)
    losses: Counter[str] = field(default_factory=Counter)

    def warm_up(self, mix: Sequence[Request], count: int) -> None:
        """Fill caches and pools."""
        self._count(closed_loop(self.service.port, mix, count=count), Arrived())
        if self.errors:
            raise RuntimeError(
                f"{self.variant}: {self.errors} of the first requests failed; see the errors above"
            )
        self._flush(Arrived())
        self._remember(self.service.ask("/bench/report"))

    def calibrate(self, mix: Sequence[Request], seconds: float, *, busy: float) -> float:
        """Requests a second that keep the service's core busy for a share ``busy``; kept out of the figures.

        Measured at a fixed rate: in a closed loop requests come in bunches and cost half as much.
        """
        load = closed_loop(self.service.port, mix, seconds=seconds)
        self._count(load, Arrived())
        before = self.service.ask("/bench/report")
        self.service.ask("/bench/begin", method="POST")
        steady = fixed_rate(
            self.service.port, mix, rate=load.requests / load.seconds / 4, seconds=seconds, seed=0
        )
        self.service.ask("/bench/end", method="POST")
        after = self.service.ask("/bench/report")
        self._count(steady, Arrived())
        self._flush(Arrived())
        cpu_seconds: float = after["cpu"] - before["cpu"]
        return busy * steady.requests / cpu_seconds

    def steady_turn(self, mix: Sequence[Request], *, rate: float, seconds: float, seed: int) -> None:
        """Load at a fixed rate, below what the service can do: latencies, CPU, holds."""
        refill(self.database)
        before = self.service.ask("/bench/report")
        self.service.ask("/bench/begin", method="POST")
        load = fixed_rate(self.service.port, mix, rate=rate, seconds=seconds, seed=seed)
        watched = self.service.ask("/bench/end", method="POST")
        self._count(load, self.arrived)
        # What is still waiting to be exported belongs to the price of these requests.
        self._flush(self.arrived)
        after = self.service.ask("/bench/report")
        self.latencies.append(load.latencies)
        self.lateness.extend(load.lateness)
        done = max(load.requests, 1)
        self.cpu.append((after["cpu"] - before["cpu"]) / done)
        self.background_cpu.append((after["background_cpu"] - before["background_cpu"]) / done)
        self.waited.append((after["waited"] - before["waited"]) / done)
        self.longest_late.append(max(watched["late"]))
        self.longest_hold.append(max(watched["used"]))
        self.hold_p999.append(percentile(watched["used"], 0.999))
        self.inside.append(watched["inside"])
        self._remember(after)

    def closed_turn(self, mix: Sequence[Request], *, seconds: float, seed: int) -> None:
        """As many requests as it answers."""
        refill(self.database)
        load = closed_loop(self.service.port, mix, seconds=seconds, seed=seed)
        self._count(load, self.arrived_closed)
        self._flush(self.arrived_closed)
        self.throughput.append(load.requests / load.seconds)
        self._remember(self.service.ask("/bench/report"))

    def _count(self, load: Load, arrived: Arrived) -> None:
        self.errors += load.errors
        self.served += load.requests
        arrived.expected += load.statements

    def _flush(self, arrived: Arrived) -> None:
        self.service.ask("/bench/flush", method="POST")
        report = self.receiver.ask("/report").get(self.variant)
        if report is not None:
            arrived.add(report)

    def _remember(self, report: dict[str, Any]) -> None:
        self.memory.append((self.served, report["rss"]))
        self.threads = max(self.threads, report["threads"])
        self.losses = Counter(report["losses"])


@contextmanager
def subjects(
    variants: Sequence[str], driver: str, postgres: str, *, bind: bool, on: set[int], others: set[int]
) -> Iterator[list[Subject]]:
    """A running service for each variant, each with a database of its own, and one receiver for all."""
    with ExitStack() as stack:
        receiver = stack.enter_context(server("receiver.py", on=others))
        found = []
        for variant in variants:
            url = stack.enter_context(database(postgres))
            service = stack.enter_context(
                server(
                    "service.py",
                    variant,
                    *("--driver", driver, "--url", url),
                    *("--endpoint", f"http://127.0.0.1:{receiver.port}/{variant}"),
                    *(["--bind"] if bind else []),
                    on=on,
                )
            )
            found.append(Subject(variant, service, url, receiver))
        for subject in found:
            subject.service.wait_until_ready("/bench/report")
        yield found
