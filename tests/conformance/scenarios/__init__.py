"""The rows of the matrix by theme; importing this registers all of them."""

from conformance.scenarios import (
    abandoned,
    autocommit,
    batches,
    cancelled,
    commits,
    exceptions,
    joined,
    lost,
    pools,
    raw,
    rollbacks,
    savepoints,
    streams,
    textual,
    transactions,
    twophase,
)

__all__ = [
    "abandoned",
    "autocommit",
    "batches",
    "cancelled",
    "commits",
    "exceptions",
    "joined",
    "lost",
    "pools",
    "raw",
    "rollbacks",
    "savepoints",
    "streams",
    "textual",
    "transactions",
    "twophase",
]
