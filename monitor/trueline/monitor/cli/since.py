"""``--since``: checked before anybody is asked, or a slip of the pen looks like a missing monitor."""

from __future__ import annotations

from datetime import UTC, datetime

import typer


def check_since(value: str | None) -> str | None:
    """Return ``value``; typer.BadParameter (exit status 2) where it is no time."""
    if value is not None:
        from trueline.monitor.moments import moment_of

        try:
            moment_of(value, datetime.now(UTC))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return value
