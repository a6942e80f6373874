"""What a database was a moment ago, for pools that connect anew each time.

Under NullPool every checkout is a connection, and to ask each of them would cost a round trip each.
PostgreSQL reports some of what it is to every client without being asked. Where that is enough to tell two
connections of one engine apart, the answer of a few seconds ago is taken again:

- the end that the driver reached, user and database: a re-pointed name, another host of several;
- `in_hot_standby` (14 and newer) and the server's version: a failover, another server;
- `search_path` (18 and newer; older servers do not report it, so they are always asked): the schema.

What none of these shows is a proxy at one address that changes the server behind it to a twin. It is noticed
after :data:`FRESH_SECONDS`. Connections of other pools live long, so each of them is asked.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from trueline.instrumentation.database import DatabaseFacts

#: For how long an answer is taken again.
FRESH_SECONDS = 10.0
#: Different connections of one engine (search paths of tenants, say) that are remembered.
_MAX_REMEMBERED: Final = 64
_REPORTED: Final = ("in_hot_standby", "search_path", "server_version", "session_authorization")

_answers: weakref.WeakKeyDictionary[Any, dict[tuple[str, ...], tuple[float, DatabaseFacts]]] = (
    weakref.WeakKeyDictionary()
)


def reported(pool: Any, dbapi_connection: Any) -> tuple[str, ...] | None:
    """What the server said of itself unasked; None where an answer must not be taken again."""
    if type(pool) is not NullPool:
        return None
    connection = getattr(dbapi_connection, "_connection", dbapi_connection)
    try:
        if hasattr(connection, "get_settings"):  # asyncpg
            settings = connection.get_settings()
            values = [getattr(settings, name, None) for name in _REPORTED]
            place = [repr(connection._addr), repr(connection._params.database)]
        else:
            info = connection.info
            status = getattr(info, "parameter_status", None) or connection.get_parameter_status
            values = [status(name) for name in _REPORTED]
            place = [str(getattr(info, "hostaddr", "")), str(info.host), str(info.port), str(info.dbname)]
    except Exception:  # a driver that does not tell
        return None
    told = [value for value in values if isinstance(value, str)]
    return (*told, *place) if len(told) == len(_REPORTED) else None


def recall(pool: Any, key: tuple[str, ...] | None) -> DatabaseFacts | None:
    """The answer that a connection with the same ``key`` gave lately."""
    if key is None:
        return None
    since, facts = _answers.get(pool, {}).get(key, (0.0, None))
    return facts if facts is not None and time.monotonic() - since < FRESH_SECONDS else None


def remember(pool: Any, key: tuple[str, ...] | None, facts: DatabaseFacts) -> None:
    """Keep an answer for the connections to come."""
    if key is None:
        return
    answers = _answers.setdefault(pool, {})
    if len(answers) >= _MAX_REMEMBERED:
        answers.clear()
    answers[key] = time.monotonic(), facts
