"""One process's inventory: what is counted, joined with how Trueline was switched on and what it missed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from trueline.instrumentation.ai.hosts import loaded_clients
from trueline.instrumentation.guard import guarded, internal_errors
from trueline.instrumentation.inventory_collector import Collector
from trueline.instrumentation.inventory_event import Announcer, Emit
from trueline.instrumentation.inventory_report import Inventory

if TYPE_CHECKING:
    from trueline.instrumentation.holder import Holder
    from trueline.instrumentation.records import StatementRecord


class Keeper:
    """Counts, tells when asked, and announces. ``settings``: an inventory that has only these."""

    def __init__(self, settings: Inventory) -> None:
        self._settings = settings
        self._collector = Collector()
        self._announcer = Announcer(self._collector, self.take)
        #: Set where the holder is made, which calls back here.
        self.holder: Holder | None = None
        #: Tells how many calls of models were seen.
        self.ai_calls: Callable[[], int] = int

    @guarded("inventory.add")
    def add(self, statements: list[StatementRecord]) -> None:
        """Count statements that are about to become spans."""
        self._collector.add(statements)

    def tick(self, emit: Emit, *, final: bool = False) -> None:
        """Send the inventory if it is due."""
        self._announcer.tick(emit, final=final)

    def take(self) -> Inventory:
        """The inventory of now."""
        holder = self.holder
        return dataclasses.replace(
            self._settings,
            spans="contrib" if self._collector.adopts else self._settings.spans,
            unseen={} if holder is None else dict(holder.unseen),
            lost={} if holder is None else dict(holder.losses.total),
            internal_errors=dict(internal_errors),
            ai_calls=self.ai_calls(),
            ai_clients=loaded_clients(),
            **self._collector.read(),
        )
