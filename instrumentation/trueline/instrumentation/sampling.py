"""Sampling by identity: writers and readers are kept together, or nothing can be compared.

At a ratio of 0.01 the same one per cent of identities is kept in every service that hashes with the same
secret. Beside them stays everything that did not commit, every violated constraint, every transaction with
an AI error, and the first transaction on each database. Work that names no identity is kept by trace, so
that a kept trace is whole.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from trueline.instrumentation.semconv import Outcome

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction

_RANGE: Final = 1 << 32
_MAX_CACHED: Final = 8192
_MAX_DATABASES: Final = 4096


class Sampler:
    """Decides which statements of a transaction leave the process. ``ratio``: 0 to 1.

    ``follow_trace``: what the trace's sampler dropped is dropped as well, unless it did not commit.
    Called by one thread at a time.
    """

    def __init__(self, ratio: float, *, follow_trace: bool = False) -> None:
        self.ratio = ratio
        self._below = int(ratio * _RANGE)
        self._follow_trace = follow_trace
        self._decided: dict[str, bool] = {}
        self._databases: set[str] = set()

    def keeps_identity(self, domain: str, value: str) -> bool:
        """Whether the identity with this exported ``value`` belongs to the sample, in every service alike."""
        key = f"{domain}:{value}"
        known = self._decided.get(key)
        if known is None:
            digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
            known = int.from_bytes(digest[:4], "big") < self._below
            if len(self._decided) >= _MAX_CACHED:
                self._decided.clear()
            self._decided[key] = known
        return known

    def select(
        self, transaction: Transaction[StatementRecord], statements: list[StatementRecord], settled: bool
    ) -> tuple[list[StatementRecord], bool]:
        """The statements to send, and whether the transaction's own span is wanted if it is settled."""
        if transaction.keep or self._must_stay(transaction, statements, settled):
            transaction.keep = True
        elif self._follow_trace and self._dropped_by_trace(statements):
            return [], False
        elif any(self._in_sample(record) for record in statements):
            transaction.keep = True
        if transaction.keep:
            return statements, settled
        if settled:
            return [], False
        # They leave as open. Writes may yet be undone: they stay, and so does what settles them.
        writes = [record for record in statements if record.writes]
        transaction.keep = bool(writes)
        return writes, False

    def _must_stay(
        self, transaction: Transaction[StatementRecord], statements: list[StatementRecord], settled: bool
    ) -> bool:
        tally = transaction.tally
        if tally.failures or tally.ai_errors:
            return True
        if settled and tally.writes and transaction.outcome is not Outcome.COMMITTED:
            return True
        if any(record.undone for record in statements):
            return True
        return bool(statements) and self._is_new_database(statements[0])

    def _is_new_database(self, record: StatementRecord) -> bool:
        facts = record.database.attributes
        key = f"{facts.get('trueline.database.fingerprint')} {facts.get('trueline.database.url')}"
        if key in self._databases or len(self._databases) >= _MAX_DATABASES:
            return False
        self._databases.add(key)
        return True

    def _dropped_by_trace(self, statements: list[StatementRecord]) -> bool:
        return any(
            record.parent is not None and not record.parent.trace_flags.sampled for record in statements
        )

    def _in_sample(self, record: StatementRecord) -> bool:
        identities = record.identities
        named = False
        for domain, value in zip(identities.domains, identities.values, strict=True):
            if value:
                named = True
                if self.keeps_identity(domain, value):
                    return True
        for domain, value in record.row_owners:
            if value:
                named = True
                if self.keeps_identity(domain, value):
                    return True
        for bound in record.bound:
            # A message is met once: sampling by it would cut the identity's life into pieces.
            if bound.value and bound.domain != "message":
                named = True
                if self.keeps_identity(bound.domain, bound.value):
                    return True
        return not named and self._by_trace(record)

    def _by_trace(self, record: StatementRecord) -> bool:
        # The lower bits, which W3C asks to be random. Work without a trace is its own.
        number = record.span_number if record.parent is None else record.parent.trace_id
        return (number & (_RANGE - 1)) < self._below
