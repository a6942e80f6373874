"""``recorded()``: everything that happens inside, as objects to look at and assert on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.testing.assertions import Assertions
from trueline.instrumentation.testing.build import build
from trueline.instrumentation.testing.collector import Collector
from trueline.instrumentation.testing.installation import Installation, installed, own_faults_reported
from trueline.instrumentation.testing.model import (
    AiCall,
    Entry,
    Identity,
    Log,
    Recording,
    Statement,
    Transaction,
)
from trueline.instrumentation.testing.timeline import Names, as_data, render


class Telemetry(Assertions):
    """What happened inside ``with recorded()``; also readable afterwards. Thread-safe.

    Each look takes in everything that has happened by then. The objects of one look are not changed by the
    next, which makes new ones.
    """

    def __init__(self, installation: Installation, collector: Collector) -> None:
        self._installation = installation
        self._collector = collector
        self._extractor = installation.runtime.extractor
        self._finished = False
        self._raw: dict[str, object] = {}
        self._last: tuple[object, Recording] = (None, Recording())

    # -- what was recorded ---------------------------------------------------------------------------

    @property
    def transactions(self) -> list[Transaction]:
        """Transactions as the code under test sees them, in the order in which they began."""
        return self._recording().transactions

    @property
    def outer_transactions(self) -> list[Transaction]:
        """Transactions that sessions joined, such as one that a test rolls back in the end."""
        return self._recording().outer_transactions

    @property
    def statements(self) -> list[Statement]:
        """Every statement, SAVEPOINT and its like among them."""
        return self._recording().statements

    @property
    def reads(self) -> list[Statement]:
        """Statements that read."""
        return [one for one in self.statements if one.kind == "read"]

    @property
    def writes(self) -> list[Statement]:
        """Statements that wrote: INSERT, UPDATE, DELETE, MERGE."""
        return [one for one in self.statements if one.kind == "write"]

    @property
    def ai_calls(self) -> list[AiCall]:
        """Calls to models: ``ai_call()``, and those of GenAI instrumentations."""
        return self._recording().ai_calls

    @property
    def entries(self) -> list[Entry]:
        """Spans at which work entered: requests, and what ``bind_identity`` and ``bind_message`` opened."""
        return self._recording().entries

    @property
    def logs(self) -> list[Log]:
        """Records of standard logging, as they would leave the process."""
        return [one for one in self._recording().logs if not one.event]

    @property
    def events(self) -> list[Log]:
        """Trueline's own log events."""
        return [one for one in self._recording().logs if one.event]

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every finished span, as OpenTelemetry has it."""
        return self._recording().spans

    def identity(self, raw: object, domain: str = "user") -> str:
        """The canonical value that ``raw`` has in a domain, as in ``statement.identities[0].value``."""
        self._know(raw)
        return self._canonical(raw, domain)

    def clear(self) -> None:
        """Forget everything so far: what a test arranges is not what it is about."""
        self._flush()
        self._collector.clear()

    # -- to read and to compare ----------------------------------------------------------------------

    def timeline(self) -> str:
        """Everything as text, at most 100 columns wide; the same in every run.

        A raw identity is shown only where the test has named it; others are the start of their hash.
        """
        return render(self._recording(), self._names())

    def __str__(self) -> str:
        return self.timeline()

    def __repr__(self) -> str:
        return f"<Telemetry: {self.timeline().splitlines()[0]}>"

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data; the same in every run."""
        return as_data(self._recording())

    def as_json(self) -> str:
        """The same as indented JSON, for a snapshot."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    # -- inside --------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if not self._finished:
            self._installation.flush()

    def _recording(self) -> Recording:
        self._flush()
        joins = self._installation.watcher.joins
        version = (self._collector.version, [(id(one), one.ended_by, one.ended) for one in joins])
        if version != self._last[0]:
            seen, logs = self._collector.seen(), self._collector.logs()
            self._last = (version, build(seen, logs, joins, self._canonical))
        return self._last[1]

    def _canonical(self, raw: object, domain: str) -> str:
        return self._extractor.bind(raw, domain).value

    def _know(self, raw: object) -> None:
        self._raw.setdefault(str(raw), raw)

    def _names(self) -> Names:
        def name(identity: Identity) -> str | None:
            return next((text for text, raw in self._raw.items() if identity.of(raw)), None)

        return name

    def _finish(self) -> None:
        self._flush()
        self._finished = True


@contextmanager
def recorded(*, identities: IdentityConfig | None = None, logs: bool = True) -> Iterator[Telemetry]:
    """Record what the code inside does to databases, without any monitor and without sending anything::

        with recorded() as telemetry:
            handle(message)

        telemetry.assert_committed("expenses", column="user_id", identity="12345", times=1)
        telemetry.assert_no_ai_call_inside_a_transaction()

    Works with any test framework, sync and async, in all threads of this process, with engines made before
    or inside. Where Trueline is off it is switched on for the time of the recording, with a fixed clock,
    counting ids and a fixed secret for hashes, whatever TRUELINE_* and OTEL_* variables say (the kill switch
    included). Where the application has called ``instrument()`` already, it is listened in on and goes on as
    it was.

    Args:
        identities: as for ``instrument()``; not where Trueline is on already.
        logs: record standard logging too.

    Raises:
        ConfigurationError: ``identities`` come too late.
        RuntimeError: Trueline could not be switched on here.

    Warns:
        TelemetryWarning: Trueline itself had an error, or could not see everything.
    """
    with installed(identities, logs=logs) as installation, own_faults_reported(installation):
        collector = Collector()
        telemetry = Telemetry(installation, collector)
        # What ran before is not part of this recording.
        installation.flush()
        installation.attach(collector)
        try:
            yield telemetry
        finally:
            try:
                telemetry._finish()
            finally:
                installation.detach(collector)
