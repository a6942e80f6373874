"""How commands ask the running monitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trueline.monitor.errors import TruelineError

#: Seconds to wait for an answer: a query may take its ten.
TIMEOUT: Final = 15.0


class MonitorError(TruelineError):
    """The monitor cannot be asked, or refuses."""


class NotThereError(MonitorError):
    """The monitor does not know what was asked for."""


def ask(
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT,
) -> Any:
    """Ask the monitor of TRUELINE_URL (with TRUELINE_TOKEN, if set) and return its JSON.

    Raises MonitorError, or NotThereError for a 404, with one sentence.
    """
    import httpx

    from trueline.monitor.settings import load_settings

    settings = load_settings()
    headers = {}
    if settings.token is not None:
        headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
    try:
        response = httpx.request(
            method, f"{settings.url}{path}", params=params, json=body, headers=headers, timeout=timeout
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise MonitorError(
            f"No monitor answers at {settings.url} ({reason}): start one with trueline serve, or set "
            "TRUELINE_URL."
        ) from None
    try:
        answer = response.json()
    except ValueError:
        raise MonitorError(
            f"{settings.url} answered {response.status_code} without JSON, so it is no monitor: check "
            "TRUELINE_URL."
        ) from None
    if response.is_success:
        return answer
    said = answer.get("detail") if isinstance(answer, dict) else None
    kind = NotThereError if response.status_code == 404 else MonitorError
    raise kind(said or f"{settings.url} answered {response.status_code}: check TRUELINE_URL.")
