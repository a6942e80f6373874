"""The errors that a user can cause. Each message is one sentence: what is wrong, and the way out.

    TruelineError
    ├── SettingsError        a setting that cannot be used
    ├── MissingExtraError    a library of the extra is not installed
    ├── ServeError           the server cannot start (port taken, unsafe address)
    └── StoreError           the store cannot be opened or used
        ├── StoreUnavailableError   for the moment only: the same call may succeed later
        ├── DataRefusedError        the rows themselves are not acceptable
        ├── OddValueError           the engine's decoder cannot express a value, ours can
        ├── QueryError              a statement failed, or reached a limit
        └── MigrationError          schema and code do not fit

The command line prints the message of a TruelineError to standard error and exits with status 2.
"""

from __future__ import annotations

from typing import Literal

Limit = Literal["time", "memory", "rows"]


class TruelineError(Exception):
    """Base of all errors whose message is meant for the user."""


class SettingsError(TruelineError):
    """A setting has a value that cannot be used."""


class MissingExtraError(TruelineError):
    """A library that an extra brings is not installed."""


class ServeError(TruelineError):
    """The monitor cannot start serving."""


class StoreError(TruelineError):
    """The store cannot be opened or used."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached or has no room just now; the same call may succeed later."""


class DataRefusedError(StoreError):
    """The store refused the rows because of what they contain; the same rows will be refused again."""


class OddValueError(StoreError):
    """The engine's own decoder cannot express a value of a request. Nothing was stored."""


class QueryError(StoreError):
    """A statement failed.

    ``code`` is ClickHouse's error number where known. ``limit`` names the limit that a read-only query
    reached, or is None where it failed for another reason.
    """

    def __init__(self, message: str, *, code: int | None = None, limit: Limit | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.limit = limit


class MigrationError(StoreError):
    """The store's schema does not fit the code, or a migration failed."""
