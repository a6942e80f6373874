"""Delivers to one target: looks what is news, writes it down, sends it, and tries again where that fails."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from trueline.monitor.errors import TruelineError
from trueline.monitor.notify.messages import RESEND, alertmanager_alerts, webhook_message
from trueline.monitor.notify.plan import Group, Line, View, alert_lines, alerts, groups
from trueline.monitor.notify.send import Answer, send
from trueline.monitor.notify.targets import Target

_log = logging.getLogger(__name__)
#: Seconds between two looks at what is news.
POLL: Final = 2.0
#: Silences begin and end without any row being written: look at least so often.
LOOK_ANYWAY: Final = timedelta(seconds=15)
#: Longest pause between attempts, seconds.
MAX_BACKOFF: Final = 300.0
#: Alerts in one message to Alertmanager.
_BATCH: Final = 200


class Outbox(Protocol):
    """Remembers what was told. Survives restarts."""

    def lines(self, target: str) -> Mapping[str, Line]:
        """What a target was told, by key."""

    def save(self, target: str, lines: list[Line]) -> None:
        """Remember lines."""


@dataclass
class Health:
    """How a target does, for people."""

    sent: int = 0
    failures: int = 0
    error: str = ""
    last_sent_at: datetime | None = None


class Delivery:
    """One target's thread. Nothing waits for it: it reads how things stand when it is ready to."""

    def __init__(
        self,
        target: Target,
        outbox: Outbox,
        view: Callable[[datetime], View],
        mark: Callable[[], int],
        external_url: str | None,
    ) -> None:
        self.target = target
        self.health = Health()
        self._outbox = outbox
        self._view = view
        self._mark = mark
        self._external_url = external_url
        self._seen: int | None = None
        self._looked_at: datetime | None = None
        self._not_before: datetime | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"trueline-notify-{target.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver; returns at once."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End after the message under way, or after ``timeout`` seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _loop(self) -> None:
        while not self._stopping.wait(POLL):
            self.step(datetime.now(UTC))

    def step(self, now: datetime) -> None:
        """Deliver what is due now. Never raises: what goes wrong is the target's ``health``."""
        if self._not_before is not None and now < self._not_before:
            return
        try:
            mark = self._mark()
            if not self._is_due(mark, now):
                return
            work = self._alerts if self.target.type == "alertmanager" else self._webhooks
            done = work(self._view(now), now)
        except TruelineError as error:
            # The store is away, or a secret cannot be read: tried again like a failure of the target.
            self._failed(str(error), now)
            return
        except Exception as error:
            _log.exception("telling %s failed", self.target.name)
            self._failed(f"internal error: {type(error).__name__}", now)
            return
        if done:
            self._seen, self._looked_at = mark, now
            self._not_before = None
            self.health.failures, self.health.error = 0, ""

    def _is_due(self, mark: int, now: datetime) -> bool:
        return (
            self._looked_at is None
            or mark != self._seen
            or self.health.failures > 0
            or now - self._looked_at >= (RESEND if self.target.type == "alertmanager" else LOOK_ANYWAY)
        )

    def _webhooks(self, view: View, now: datetime) -> bool:
        lines = self._outbox.lines(self.target.name)
        done = True
        waiting = groups(self.target, view, lines, now)
        # All are written down before the first is sent: what resolves meanwhile is still told of afterwards.
        self._outbox.save(
            self.target.name, [one.line(now, "pending", before=lines.get(one.key)) for one in waiting]
        )
        for group in waiting:
            if self._stopping.is_set():
                return False
            answer = self._post(group)
            if answer.ok:
                self._remember(group, "sent", answer, now)
            elif answer.final:
                # The receiver will refuse the same again: remembered, and told anew when something changes.
                self._remember(group, "refused", answer, now)
                self.health.error = answer.sentence
                _log.warning("%s refuses a message: %s", self.target.name, answer.sentence)
            else:
                self._failed(answer.sentence, now)
                done = False
                break
        return done

    def _post(self, group: Group) -> Answer:
        (url,) = self.target.addresses()
        return self._send(url, webhook_message(group.key, group.told, self.target.name, self._external_url))

    def _remember(self, group: Group, result: Any, answer: Answer, now: datetime) -> None:
        self._outbox.save(self.target.name, [group.line(now, result, answer.sentence)])
        if answer.ok:
            self.health.sent += 1
            self.health.last_sent_at = now

    def _alerts(self, view: View, now: datetime) -> bool:
        lines = self._outbox.lines(self.target.name)
        told = alerts(self.target, view, lines, now)
        if not told:
            return True
        self._outbox.save(self.target.name, alert_lines(told, _sent(lines), now, "pending"))
        made = alertmanager_alerts(told, now, self._external_url)
        failed = []
        addresses = self.target.addresses()
        # Every peer is told: they agree among themselves who calls people.
        for url in addresses:
            for begin in range(0, len(made), _BATCH):
                answer = self._send(url, made[begin : begin + _BATCH])
                if not answer.ok:
                    failed.append(answer.sentence)
                    break
        if len(failed) == len(addresses):
            self._failed("; ".join(failed), now)
            return False
        self._outbox.save(
            self.target.name, alert_lines(told, self._outbox.lines(self.target.name), now, "sent")
        )
        self.health.sent += 1
        self.health.last_sent_at = now
        if failed:
            # One peer is enough to call people; the others are told again with the next message.
            _log.warning("%s: %s", self.target.name, "; ".join(failed))
        return True

    def _send(self, url: str, message: Any) -> Answer:
        return send(
            url,
            message,
            self.target.token(),
            timeout=self.target.timeout_seconds,
            allow_private=self.target.allow_private,
        )

    def _failed(self, why: str, now: datetime) -> None:
        self.health.failures += 1
        self.health.error = why
        pause = min(2.0 ** min(self.health.failures, 10), MAX_BACKOFF)
        # Not all monitors and targets at the same moment.
        self._not_before = now + timedelta(seconds=pause * random.uniform(0.8, 1.0))
        if self.health.failures in (1, 5, 25):
            _log.warning("%s cannot be told: %s", self.target.name, why)


def _sent(lines: Mapping[str, Line]) -> dict[str, Line]:
    """What is settled counts as remembered: nothing is written down anew only because it is sent again."""
    return {
        key: Line(line.key, line.at, line.status, line.digest, "pending", line.members)
        for key, line in lines.items()
    }
