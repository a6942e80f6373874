"""All targets at work in one process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from trueline.monitor.engine.finding import Finding
from trueline.monitor.engine.silence import silenced_by
from trueline.monitor.notify.deliver import Delivery
from trueline.monitor.notify.messages import Told, alertmanager_alerts, webhook_message
from trueline.monitor.notify.plan import View
from trueline.monitor.notify.send import Answer, send
from trueline.monitor.notify.targets import Target, load_targets
from trueline.monitor.store.client import Store
from trueline.monitor.store.findings import StoredFindings
from trueline.monitor.store.notifications import StoredNotifications, change_mark
from trueline.monitor.store.silences import StoredSilences


class NotifySettings(Protocol):
    """The part of the monitor's settings that is needed here."""

    @property
    def notify(self) -> Path | None:
        """The file of targets; None: nobody is told anything."""

    @property
    def external_url(self) -> str | None:
        """The monitor's URL as people see it, for links."""


class Notifier:
    """Tells all targets from :meth:`start` to :meth:`stop`. Without a file of targets it does nothing."""

    def __init__(self, store: Store, findings: StoredFindings, settings: NotifySettings) -> None:
        """Read the targets; raises SettingsError with what is wrong in their file."""
        self.targets = load_targets(settings.notify)
        incidents = findings.incidents
        silences = StoredSilences(store)

        def view(now: datetime) -> View:
            holding = silences.unexpired(now)
            found = incidents.all()
            covered = {
                one.id for incident in found for one in incident.findings if silenced_by(one, holding, now)
            }
            return View(found, frozenset(covered))

        self.deliveries = [
            Delivery(
                target, StoredNotifications(store), view, lambda: change_mark(store), settings.external_url
            )
            for target in self.targets
        ]

    def start(self) -> None:
        """Begin to deliver, a thread for each target; returns at once."""
        for delivery in self.deliveries:
            delivery.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End. What was not delivered is written down, and delivered after the next start."""
        for delivery in self.deliveries:
            delivery.stop(timeout)


def trial(target: Target, external_url: str | None, example: Finding) -> tuple[Any, Sequence[Answer]]:
    """Send a target a message that says that it is a test, resolved at once; returns it and the answers."""
    now = datetime.now(UTC)
    told = [Told(example, "test", now)]
    message: Any = (
        alertmanager_alerts(told, now, external_url)
        if target.type == "alertmanager"
        else webhook_message("test", told, target.name, external_url)
    )
    token = target.token()
    answers = [
        send(url, message, token, timeout=target.timeout_seconds, allow_private=target.allow_private)
        for url in target.addresses()
    ]
    return message, answers
