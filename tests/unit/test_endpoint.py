"""The rung of last resort: the same for all who come to one server, another for another server."""

from __future__ import annotations

import socket

import pytest
from sqlalchemy.engine import make_url

from trueline.instrumentation.database import DatabaseFacts, with_url
from trueline.instrumentation.endpoint import NOWHERE, Endpoint, endpoint_parts
from trueline.instrumentation.fingerprint import mysql_facts
from trueline.instrumentation.semconv import Role, Rung

HERE = ("local", socket.gethostname(), "5432")


@pytest.mark.parametrize(
    ("told", "reached", "parts"),
    [
        # The server's own word: whatever name, proxy or pooler the client took.
        (Endpoint("10.0.0.5", 5432), Endpoint("db.internal", 5432), ("10.0.0.5", "5432")),
        (Endpoint("10.0.0.5", 5432), Endpoint("127.0.0.1", 6432), ("10.0.0.5", "5432")),
        # The server on this machine, by socket and by loopback.
        (Endpoint("", 5432), Endpoint("/tmp", 5432), HERE),
        (Endpoint("", 5432), Endpoint("/var/run/postgresql", 5432), HERE),
        (Endpoint("127.0.0.1", 5432), Endpoint("localhost", 5432), HERE),
        (Endpoint("::1", 5432), Endpoint("::1", 5432), HERE),
        (Endpoint("", 5432), Endpoint("", None), HERE),
        # A socket in a folder of its own is a server of its own.
        (Endpoint("", 5432), Endpoint("/srv/copy", 5432), (*HERE, "/srv/copy")),
        # A pooler beside the server reaches it by socket; its clients are elsewhere.
        (Endpoint("", 5432), Endpoint("Pooler.internal", 6432), ("pooler.internal", "6432")),
        (Endpoint("127.0.0.1", 5432), Endpoint("10.0.0.9", 6432), ("10.0.0.9", "6432")),
        # A server that was not asked.
        (NOWHERE, Endpoint("db.internal", 1433), ("db.internal", "1433")),
        (NOWHERE, NOWHERE, ()),
    ],
)
def test_parts(told: Endpoint, reached: Endpoint, parts: tuple[str, ...]) -> None:
    assert endpoint_parts(told, reached) == parts


def test_the_url_has_to_do_where_nothing_was_told() -> None:
    one = with_url(DatabaseFacts("mssql"), make_url("mssql+pyodbc://u:p@db/orders"))
    other = with_url(DatabaseFacts("mssql"), make_url("mssql+pyodbc://u:p@db/archive"))
    none = with_url(DatabaseFacts("postgresql"), make_url("postgresql:///x?host=a:1&host=b:2"))
    assert one.rungs.keys() == other.rungs.keys() == {Rung.ENDPOINT}
    assert one.fingerprint != other.fingerprint
    assert none.rungs == {}


MYSQL = {
    "server_uuid": "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "hostname": "db-1",
    "port": "3306",
    "read_only": "OFF",
    "version": "8.4.3",
}


def test_mysql_by_its_variables() -> None:
    """No MySQL server here: variables as its manual lists them."""
    facts = mysql_facts(MYSQL, "orders")
    assert facts.rungs.keys() == {Rung.SERVER_UUID}
    assert (facts.role, facts.version, facts.namespace) == (Role.PRIMARY, "8.4.3", "orders")
    assert mysql_facts(MYSQL, "archive").rungs != facts.rungs
    assert facts.told == Endpoint("db-1", 3306)


def test_a_mysql_replica_has_no_identity_of_the_database() -> None:
    """Its UUID is its own: compared, it would make two databases of one."""
    facts = mysql_facts({**MYSQL, "read_only": "ON"}, "orders")
    assert (facts.rungs, facts.role) == ({}, Role.REPLICA)


def test_mariadb_of_before_and_after_server_uid() -> None:
    before = {"hostname": "db-1", "port": "3306", "read_only": "OFF", "version": "10.6.18-MariaDB"}
    assert mysql_facts(before, "orders").rungs == {}
    assert mysql_facts({**before, "server_uid": "x"}, "orders").rungs.keys() == {Rung.SERVER_UUID}
    assert mysql_facts({}, "").rungs == {}
