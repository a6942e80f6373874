"""Times as people give them: an ISO time, or how far back from now."""

from __future__ import annotations

from datetime import UTC, datetime

from trueline.monitor.engine.rule import parse_duration


def moment_of(text: str, now: datetime) -> datetime:
    """Return what ``2026-11-20T12:00:00Z`` or ``24h`` (ago) stands for; ValueError says what is wrong."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        try:
            return now - parse_duration(text)
        except (ValueError, OverflowError):
            raise ValueError(
                f"{text[:40]!r} is neither a time as 2026-11-20T12:00:00Z nor a duration as 24h."
            ) from None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"{text[:40]!r} is outside of the calendar.") from None
