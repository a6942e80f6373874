"""The place for live looks at an application's own database.

A probe is handed to the judgement beside the stored facts. It asks the database read-only (does the column
exist, how many rows carry the key, what does the canary row say), and answers with a check of its own. None
is shipped yet.
"""

from __future__ import annotations

from typing import Protocol

from trueline.monitor.diagnose.check import Check
from trueline.monitor.diagnose.facts import Facts


class LiveProbe(Protocol):
    """Looks at one application database. Must not raise, block for long, or write."""

    def probe(self, facts: Facts) -> Check:
        """What the database itself says of the identity that ``facts`` are about."""
