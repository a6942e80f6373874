"""One client for the store, whether the engine is embedded or a server. Everything else talks to this.

    store = open_store(StoreSettings(data_dir=Path("data")))
    store.query("SELECT count() AS n FROM otel_traces WHERE TraceId = {id:String}", {"id": trace_id}).scalar()

Parameters are bound by the server (``{name:Type}``). Times go in and come out as timezone-aware datetimes
in UTC, with microseconds; where nanoseconds matter, ask for ``toUnixTimestamp64Nano(column)``.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from trueline.monitor.errors import (
    DataRefusedError,
    Limit,
    QueryError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from clickhouse_connect.datatypes.base import ClickHouseType
    from clickhouse_connect.driver.client import Client

    from trueline.monitor.settings import StoreSettings

T = TypeVar("T")

#: Calls under way at once; a further one waits for its turn.
MAX_CLIENTS: Final = 8
_PARAMETER: Final = re.compile(r"\{([A-Za-z_]\w*)\s*:")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

_NOISE: Final = re.compile(
    r"^.*server response: |\(version [^()]*\)\.?|\(for url [^()]*\)|Code: \d+\. |DB::Exception: "
)
_ERROR_NAME: Final = re.compile(r"(?:[. ]*\(([A-Z][A-Z_]+)\)[ .]*)+$")

# Set for every client. The batching is ours: async_insert would add its own wait to each insert.
# How large a join's side was the last time says nothing of a window of another width.
_SESSION: Final = {
    "session_timezone": "UTC",
    "async_insert": "0",
    "use_hash_table_stats_for_join_reordering": "0",
}
#: On a cluster: an insert returns when every shard has its rows, not while they wait here to be sent.
_DISTRIBUTED: Final = {"distributed_foreground_insert": "1"}
#: For clients that may write, too. Each insert plans the select of every insert view anew, and with some two
#: hundred look-ups in maps in them, rewriting each was a good part of an insert's fixed cost (decision 029).
_WRITING: Final = {"optimize_functions_to_subcolumns": "0", "compile_expressions": "0"}

# ClickHouse's error numbers, by what they mean for the caller.
_LIMIT_OF_CODE: Final[dict[int, Limit]] = {159: "time", 160: "time", 241: "memory", 396: "rows"}
#: Memory, too many parts, no space, read-only replica, timeouts, network, too many simultaneous queries ...
_TRANSIENT_CODES: Final = frozenset({3, 159, 202, 203, 209, 210, 236, 241, 242, 243, 252, 319, 499, 999})
#: Cannot parse, type mismatch, value out of range, too many partitions in one block, incorrect data ...
_DATA_CODES: Final = frozenset({6, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 407})


@dataclass(frozen=True, slots=True)
class Rows:
    """A query's result. ``columns`` is empty where the embedded engine returned no row at all."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def dicts(self) -> list[dict[str, Any]]:
        """Return each row as a mapping from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def scalar(self) -> Any:
        """Return the first value of the first row, None where there is no row."""
        return self.rows[0][0] if self.rows else None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one read-only query may use; reaching a limit is an error, never a shortened result."""

    seconds: float = 10
    memory_bytes: int = 1 << 30
    rows: int = 10_000
    #: Cores that it may keep busy; 0: all.
    threads: int = 0


class Connector(Protocol):
    """How clients are opened: the only difference between the embedded engine and a server."""

    @property
    def description(self) -> str:
        """Where the data is, for people."""

    def open(self, database: str | None, settings: Mapping[str, str]) -> Client:
        """Open one client with settings for its whole life."""

    def close(self) -> None:
        """Release what all clients share."""


class Store:
    """A pool of clients on one database; safe to use from any thread. Made by :func:`open_store`.

    All methods raise StoreUnavailableError where the same call may succeed later, and StoreError after
    :meth:`close`.
    """

    def __init__(self, connector: Connector, database: str, cluster: str = "") -> None:
        self.database: Final = database
        self.cluster: Final = cluster
        self._connector = connector
        self._idle: dict[Limits | None, list[Client]] = defaultdict(list)
        self._turns = threading.BoundedSemaphore(MAX_CLIENTS)
        self._guard = threading.Lock()
        self._closed = False
        self._types: dict[str, dict[str, ClickHouseType]] = {}

    @property
    def description(self) -> str:
        """Where the data is, for people: a folder, or a URL without credentials."""
        return self._connector.description

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Run a query of our own and return all its rows. Raise QueryError if the engine refuses it."""
        return self._select(None, sql, parameters)

    def query_read_only(
        self, sql: str, parameters: Mapping[str, Any] | None = None, limits: Limits = Limits()
    ) -> Rows:
        """Run a query that somebody else wrote, on a connection that can only read, within ``limits``.

        This is the second fence. The first has to have proved that ``sql`` is one SELECT without INTO
        OUTFILE, since the embedded engine runs several statements and writes files even on such a connection.
        Raise QueryError, whose ``limit`` says which limit was reached, if any.
        """
        return self._select(limits, sql, parameters)

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], *, token: str = "") -> None:
        """Insert rows given as columns of equal length; columns left out take their defaults.

        The times of a column are all nanoseconds since 1970 (int, for DateTime64(9)) or all timezone-aware
        datetimes. When this returns the rows are in the table. The same rows under the same ``token`` are
        stored once, in the table and in all that its views fill; if an INSERT broke off, a second one with
        its token stores what is missing. Raise DataRefusedError if they cannot be stored.
        """
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of unequal length for {table}: {sorted(lengths)}")
        if not lengths or lengths == {0}:
            return

        def run(client: Client) -> None:
            types = self._column_types(client, table)
            unknown = [name for name in columns if name not in types]
            if unknown:
                raise DataRefusedError(f"The table {table} has no column {unknown[0]}.")
            client.insert(
                table,
                list(columns.values()),
                column_names=list(columns),
                column_types=[types[name] for name in columns],
                column_oriented=True,
                settings={"insert_deduplication_token": token} if token else None,
            )

        self._call(None, run, inserting=True)

    def insert_select(self, sql: str) -> None:
        """Run an INSERT ... SELECT of our own; when this returns the rows are in the table.

        Raise DataRefusedError if they cannot be stored, QueryError if the statement fails otherwise.
        """
        self._call(None, lambda client: client.command(sql), inserting=True)

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing: DDL, INSERT ... SELECT, ALTER."""
        self._types.clear()
        try:
            self._call(None, lambda client: client.command(sql, parameters=_named(sql, parameters)))
        finally:
            self._types.clear()

    def close(self) -> None:
        """Wait for the calls under way, then close. A second call does nothing."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        for _ in range(MAX_CLIENTS):
            self._turns.acquire()
        for clients in self._idle.values():
            for client in clients:
                client.close()
        self._idle.clear()
        self._connector.close()
        for _ in range(MAX_CLIENTS):
            self._turns.release()

    def _select(self, limits: Limits | None, sql: str, parameters: Mapping[str, Any] | None) -> Rows:
        bound = _named(sql, parameters)
        result = self._call(limits, lambda client: client.query(sql, parameters=bound))
        return Rows(tuple(result.column_names), [tuple(row) for row in result.result_rows])

    def _column_types(self, client: Client, table: str) -> dict[str, ClickHouseType]:
        """The types of a table's columns, asked for once: a DESCRIBE costs as much as a small insert."""
        types = self._types.get(table)
        if types is None:
            context = client.create_insert_context(table, "*")
            types = dict(zip(context.column_names, context.column_types, strict=True))
            self._types[table] = types
        return types

    def _call(self, limits: Limits | None, work: Callable[[Client], T], *, inserting: bool = False) -> T:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        with self._client(limits) as client:
            try:
                return work(client)
            except ClickHouseError as error:
                raise _explain(error, inserting=inserting) from error
            except (TypeError, ValueError, OverflowError, AttributeError) as error:
                # The driver's own conversions fail with whatever they meet.
                if inserting:
                    raise DataRefusedError(f"The rows cannot be stored: {_first_line(error)}") from error
                raise QueryError(f"The query cannot be sent: {_first_line(error)}") from error

    @contextmanager
    def _client(self, limits: Limits | None) -> Iterator[Client]:
        """A client for one call: an idle one, else a new one. ``limits`` make it read-only."""
        with self._turns:
            if self._closed:
                raise StoreError("The store has been closed.")
            with self._guard:
                idle = self._idle[limits]
                client = idle.pop() if idle else None
            if client is None:
                shared = _DISTRIBUTED if self.cluster else {}
                client = self._connector.open(self.database, {**_SESSION, **shared, **_restrictions(limits)})
            try:
                yield client
            finally:
                with self._guard:
                    self._idle[limits].append(client)


def open_store(settings: StoreSettings) -> Store:
    """Open the store that the settings name, creating folder and database where missing.

    Raise StoreError (in use, unreachable, wrong password ...) or SettingsError (a URL or a database name
    that cannot be one), each with one sentence for the user.
    """
    from trueline.monitor.store.cluster import require_cluster_name
    from trueline.monitor.store.embedded import EmbeddedConnector
    from trueline.monitor.store.server import ServerConnector, parse_url

    # The driver logs each failure with its traceback besides raising it; what is raised is enough.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    database = settings.database
    connector: Connector
    if settings.clickhouse_url:
        address = parse_url(settings.clickhouse_url)
        database = address.database or database
        _require_identifier(database)
        user = address.user or settings.clickhouse_user
        if settings.clickhouse_cluster:
            require_cluster_name(settings.clickhouse_cluster)
        connector = ServerConnector(
            address,
            user,
            address.password or settings.clickhouse_password,
            ca_file=settings.clickhouse_ca_file,
            verify=settings.clickhouse_verify,
        )
    else:
        _require_identifier(database)
        if settings.clickhouse_cluster:
            raise SettingsError("The embedded store has no cluster: give a server with --clickhouse-url.")
        connector = EmbeddedConnector(settings.data_dir)
    try:
        client = connector.open(None, _SESSION)
        try:
            on = f" ON CLUSTER '{settings.clickhouse_cluster}'" if settings.clickhouse_cluster else ""
            client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`{on}")
        except Exception as error:
            raise StoreError(
                f"The database {database} in {connector.description} cannot be made: {_first_line(error)}"
            ) from error
        finally:
            client.close()
    except BaseException:
        connector.close()
        raise
    return Store(connector, database, settings.clickhouse_cluster)


def _require_identifier(database: str) -> None:
    if not _IDENTIFIER.fullmatch(database):
        raise SettingsError(
            f"{database!r} cannot be a database's name: use letters, digits and underscores, at most 63, "
            "not starting with a digit."
        )


def _restrictions(limits: Limits | None) -> dict[str, str]:
    if limits is None:
        return _WRITING
    return {
        "max_execution_time": str(limits.seconds),
        "timeout_overflow_mode": "throw",
        "max_memory_usage": str(limits.memory_bytes),
        "max_result_rows": str(limits.rows),
        "result_overflow_mode": "throw",
        **({"max_threads": str(limits.threads)} if limits.threads else {}),
        # Last: nothing can be set after it.
        "readonly": "1",
    }


def _named(sql: str, parameters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Those parameters that the statement names. With none named there must be no mapping at all, since
    the driver would then format the text with ``%``.
    """
    if not parameters:
        return None
    named = set(_PARAMETER.findall(sql))
    return {name: value for name, value in parameters.items() if name in named} or None


def _explain(error: Exception, *, inserting: bool) -> StoreError:
    code: int | None = getattr(error, "code", None)
    text = _first_line(error)
    if inserting:
        if code in _DATA_CODES:
            return DataRefusedError(f"The rows cannot be stored: {text}")
        if code is None and type(error).__name__ in ("DataError", "ProgrammingError", "NotSupportedError"):
            return DataRefusedError(f"The rows cannot be stored: {text}")
    elif code in _LIMIT_OF_CODE:
        limit = _LIMIT_OF_CODE[code]
        return QueryError(f"The query reached its limit of {limit}: {text}", code=code, limit=limit)
    if code in _TRANSIENT_CODES or (code is None and type(error).__name__ == "OperationalError"):
        return StoreUnavailableError(f"The store cannot do this now: {text}")
    return QueryError(text, code=code)


def _first_line(error: BaseException) -> str:
    """The engine's own sentence, without its number, stack and version."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = _NOISE.sub("", line).strip()
    name = _ERROR_NAME.search(line)
    if name:
        # A nested error repeats its name for each level.
        line = line[: name.start()].rstrip(" .") + f" ({name[1]})"
    return line[:600]
