"""Why a request is refused: an HTTP status, the gRPC code that OTLP wants in the body, and one sentence."""

from __future__ import annotations

from typing import ClassVar


class RefusedError(Exception):
    """A request that is not taken. ``retry_after`` (seconds) is set where a later try may succeed."""

    status: ClassVar[int] = 400
    #: google.rpc.Code: INVALID_ARGUMENT.
    code: ClassVar[int] = 3

    def __init__(self, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class MalformedBodyError(RefusedError):
    """The body is not what its content type says."""


class BodyTimeoutError(RefusedError):
    """The body did not arrive in time."""

    status = 408
    code = 4  # DEADLINE_EXCEEDED


class TooLargeError(RefusedError):
    """The body, or what it would become, is too large. Sending it again does not help."""

    status = 413


class UnsupportedMediaError(RefusedError):
    """A content type or content encoding that is not spoken."""

    status = 415


class TooBusyError(RefusedError):
    """More requests at once than there is room for."""

    status = 429
    code = 8  # RESOURCE_EXHAUSTED


class NotNowError(RefusedError):
    """The store cannot take the rows at the moment."""

    status = 503
    code = 14  # UNAVAILABLE
