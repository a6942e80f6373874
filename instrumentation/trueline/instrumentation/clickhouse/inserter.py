"""Inserts columns into one table of a ClickHouse server, tried again under one token, within a time limit.

ClickHouse stores what comes twice under one deduplication token once, in the table and in all that its views
fill: an insert whose fate is not known can be repeated. A forked process has a connection of its own.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from trueline.instrumentation.clickhouse.settings import (
    ClickHouseSettings,
    ClickHouseSettingsError,
    read_settings,
)
from trueline.instrumentation.late import Late

if TYPE_CHECKING:
    from trueline.instrumentation.clickhouse.rows import Columns

logger = logging.getLogger("trueline")

#: For one batch with all its tries, seconds: as long as OpenTelemetry's exporters take.
EXPORT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 3
#: Between two tries: doubled each time, seconds.
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 2.0
_LOG_INTERVAL: Final = 60.0
#: Who we are, what we may, and what there is: another try within seconds changes nothing. Error numbers of
#: ClickHouse: no such column, types that do not fit, wrong password and its kin, access denied.
_FINAL: Final = frozenset({16, 27, 53, 70, 192, 193, 194, 497, 516})
#: The table may have changed: its columns are asked for again.
_SCHEMA: Final = frozenset({16, 36, 53, 60, 81})


class Inserter:
    """One table's way in. Never raises; what could not be stored is the caller's to count."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._settings: ClickHouseSettings | None = None
        self._client: Any = None
        self._types: dict[str, Any] = {}
        self._pid = os.getpid()
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._logged = float("-inf")
        #: Connections of the process that forked this one: kept open, since closing would end them there.
        self._inherited: list[Any] = []
        self._load: Late[_Driver] = Late("exporter.load_clickhouse", _Driver)
        self._settings = self._read_settings()

    @property
    def endpoint(self) -> str:
        """The server's URL without credentials; empty if none can be used."""
        return "" if self._settings is None else self._settings.endpoint

    def _read_settings(self) -> ClickHouseSettings | None:
        if find_spec("clickhouse_connect") is None:
            self._warn("clickhouse-connect is not installed: pip install 'trueline[clickhouse]'")
            return None
        try:
            return read_settings()
        except ClickHouseSettingsError as error:
            self._warn(str(error))
            return None

    def insert(self, columns: Columns) -> bool:
        """Insert a batch. False if it is given up: after EXPORT_SECONDS, or later by one answer's wait."""
        if self._pid != os.getpid():
            self._after_fork()
        if self._settings is None:
            return False
        with self._guard:
            return self._insert(self._settings, columns)

    def _insert(self, settings: ClickHouseSettings, columns: Columns) -> bool:
        token = secrets.token_hex(16)
        deadline = time.monotonic() + EXPORT_SECONDS
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                self._try(settings, columns, token)
                return True
            except Exception as error:
                final = self._consider(error)
                remaining = deadline - time.monotonic()
                wait = pause * random.uniform(0.8, 1.2)
                if final or wait > remaining:
                    self._warn(f"rows of {self._table} were not stored ({_describe(error)})")
                    return False
            self._closing.wait(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return False

    def _try(self, settings: ClickHouseSettings, columns: Columns, token: str) -> None:
        client = self._client
        if client is None:
            client = self._client = self._connect(settings)
        types = self._types
        if not types:
            context = client.create_insert_context(self._table, "*")
            types = self._types = dict(zip(context.column_names, context.column_types, strict=True))
        # A table made by a Collector may lack columns that are newer than it.
        names = [name for name in columns if name in types]
        client.insert(
            self._table,
            [columns[name] for name in names],
            column_names=names,
            column_types=[types[name] for name in names],
            column_oriented=True,
            settings={"insert_deduplication_token": token},
        )

    def _connect(self, settings: ClickHouseSettings) -> Any:
        driver = self._load.get()
        if driver is None:
            raise ClickHouseSettingsError("clickhouse-connect cannot be loaded")
        return driver.get_client(
            pool_mgr=driver.pool(settings),
            interface="https" if settings.secure else "http",
            host=settings.host,
            port=settings.port,
            username=settings.user,
            password=settings.read_password(),
            database=settings.database,
            # The batching is ours. On a cluster an insert returns when every shard has its rows.
            settings={"async_insert": "0", "distributed_foreground_insert": "1"},
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=int(EXPORT_SECONDS),
            query_retries=0,
            autogenerate_session_id=False,
            client_name="trueline-exporter",
        )

    def _consider(self, error: Exception) -> bool:
        """What a failure means for the next try; True: there is none."""
        code = getattr(error, "code", None)
        if code in _SCHEMA:
            self._types = {}
        if code is None or code in _FINAL:
            # A new connection reads the password again, and finds the server where it is now.
            client, self._client = self._client, None
            if client is not None:
                client.close()
        return code in _FINAL or isinstance(error, ClickHouseSettingsError)

    def _after_fork(self) -> None:
        self._pid = os.getpid()
        self._guard = threading.Lock()
        self._closing = threading.Event()
        if self._client is not None:
            self._inherited.append(self._client)
            self._client = None

    def _warn(self, what: str) -> None:
        """Say it, at most once a minute."""
        now = time.monotonic()
        if now - self._logged >= _LOG_INTERVAL:
            self._logged = now
            where = f"ClickHouse {self.endpoint}".strip()
            logger.warning("trueline: export to %s: %s", where, what)

    def close(self) -> None:
        """No further try. A batch under way ends with the answer to its request."""
        self._closing.set()
        if self._guard.acquire(timeout=0.1):
            try:
                if self._client is not None and self._pid == os.getpid():
                    self._client.close()
                    self._client = None
            finally:
                self._guard.release()


class _Driver:
    """clickhouse-connect, loaded."""

    def __init__(self) -> None:
        from clickhouse_connect import get_client
        from clickhouse_connect.driver import options
        from clickhouse_connect.driver.httputil import get_pool_manager

        # Looked for by the first insert otherwise, where a fork amid the import would not be waited for.
        for name in ("pd", "np"):
            getattr(options, name, None)
        self.get_client: Any = get_client
        self._get_pool_manager: Any = get_pool_manager
        # It logs each failure with its traceback besides raising it.
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)

    def pool(self, settings: ClickHouseSettings) -> Any:
        """Connections that try once: urllib3 would log each further try, and the tries are ours."""
        pool = self._get_pool_manager(ca_cert=settings.ca_file, verify=settings.verify)
        request = pool.request

        def once(*arguments: Any, **named: Any) -> Any:
            return request(*arguments, **{**named, "retries": False})

        pool.request = once
        return pool


def _describe(error: Exception) -> str:
    """An error without its text, which can hold values of rows."""
    if isinstance(error, ClickHouseSettingsError):
        return str(error)
    name = getattr(error, "name", None) or type(error).__name__
    code = getattr(error, "code", None)
    if code is not None:
        return f"{name}, error {code} of the server"
    # A failed handshake tells of the certificate only, never of rows.
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not trusted: name its authority in TRUELINE_CLICKHOUSE_CA_FILE"
    return f"{name}: no answer"
