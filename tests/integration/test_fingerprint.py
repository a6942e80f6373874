"""Which database answered, asked of real ones: clusters, replicas, restored copies, roles, search paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool
from support.clusters import Cluster, cluster_folder, new_cluster
from support.postgres import Postgres
from support.recorder import Recorder
from support.tcp_proxy import switch_to

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import Role, Rung

pytestmark = pytest.mark.sqlalchemy_matrix


def seen(
    recorder: Recorder, url: str | URL, listener: Callable[..., Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Attributes of one statement on ``url``; ``listener`` is the application's own on connect."""
    recorder.clear()
    engine = create_engine(url, poolclass=NullPool, **options)
    if listener is not None:
        event.listen(engine, "connect", listener)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    (statement,) = recorder.statements()
    return dict(statement)


def rungs(found: dict[str, Any]) -> dict[str, str]:
    return dict(rung.split(":") for rung in found[semconv.DATABASE_FINGERPRINTS])


@dataclass
class Clusters:
    """A primary, its streaming replica, a restored copy that was started alone, and one that was promoted."""

    primary: Cluster
    replica: Cluster
    copy: Cluster
    promoted: Cluster


@pytest.fixture(scope="module")
def clusters(postgres_server: URL) -> Iterator[Clusters]:
    started: list[Cluster] = []
    with cluster_folder() as folder:
        one, two, three, four = (
            new_cluster(folder, name) for name in ("primary", "replica", "copy", "promoted")
        )
        try:
            one.initdb()
            for cluster in (one, two, three, four):
                if cluster is not one:
                    cluster.copy_of(one, replica=cluster in (two, four))
                cluster.start()
                started.append(cluster)
            four.promote()
            yield Clusters(one, two, three, four)
        finally:
            for cluster in reversed(started):
                cluster.stop("immediate")


def test_a_primary_and_its_streaming_replica_are_one_database(recorder: Recorder, clusters: Clusters) -> None:
    with psycopg.connect(clusters.primary.dsn) as connection:
        streaming = connection.execute("SELECT count(*) FROM pg_stat_replication").fetchone()
    assert streaming == (1,), "not a streaming replica"

    primary, replica = seen(recorder, clusters.primary.tcp), seen(recorder, clusters.replica.tcp)

    assert primary[semconv.DATABASE_FINGERPRINT] == replica[semconv.DATABASE_FINGERPRINT]
    assert rungs(primary)[Rung.ENDPOINT] != rungs(replica)[Rung.ENDPOINT]
    assert (primary[semconv.DATABASE_ROLE], replica[semconv.DATABASE_ROLE]) == (Role.PRIMARY, Role.REPLICA)
    assert not clusters.replica.errors


@pytest.mark.parametrize("which", ["copy", "promoted"])
def test_a_restored_copy_shows_as_a_second_primary_elsewhere(
    recorder: Recorder, clusters: Clusters, which: str
) -> None:
    """What the monitor needs to call it a possible copy: one identifier, two primaries, two endpoints."""
    primary, copy = seen(recorder, clusters.primary.tcp), seen(recorder, getattr(clusters, which).tcp)

    one, other = rungs(primary), rungs(copy)
    assert one[Rung.SYSTEM_IDENTIFIER] == other[Rung.SYSTEM_IDENTIFIER]
    assert (primary[semconv.DATABASE_ROLE], copy[semconv.DATABASE_ROLE]) == (Role.PRIMARY, Role.PRIMARY)
    assert one[Rung.ENDPOINT] != other[Rung.ENDPOINT]


def test_a_copy_is_told_apart_over_sockets_too(recorder: Recorder, clusters: Clusters) -> None:
    one = rungs(seen(recorder, clusters.primary.socket))
    other = rungs(seen(recorder, clusters.copy.socket))
    assert one[Rung.SYSTEM_IDENTIFIER] == other[Rung.SYSTEM_IDENTIFIER]
    assert one[Rung.ENDPOINT] != other[Rung.ENDPOINT]


def test_two_clusters_differ(recorder: Recorder, clusters: Clusters, postgres_server: URL) -> None:
    one = rungs(seen(recorder, clusters.primary.tcp))
    other = rungs(seen(recorder, postgres_server.set(drivername="postgresql+psycopg")))
    assert one.keys() == other.keys() == {Rung.SYSTEM_IDENTIFIER, Rung.ENDPOINT}
    assert not set(one.values()) & set(other.values())


def test_a_failover_behind_one_address_is_noticed_without_a_pool_too(
    recorder: Recorder, clusters: Clusters
) -> None:
    """An answer of a moment ago is not taken again when the server says unasked that it is another one."""
    ports = [clusters.primary.port, clusters.replica.port, clusters.primary.port]
    with switch_to("127.0.0.1", ports) as switch:
        engine = create_engine(clusters.primary.tcp.set(port=switch), poolclass=NullPool)
        for _ in ports:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
    roles = [statement[semconv.DATABASE_ROLE] for statement in recorder.statements()]
    assert roles == [Role.PRIMARY, Role.REPLICA, Role.PRIMARY]


def test_databases_of_one_cluster_differ_a_copy_by_template_too(
    recorder: Recorder, postgres: Postgres
) -> None:
    copied = f"{postgres.base.database}_copied"
    admin = postgres.base.set(drivername="postgresql", database="postgres").render_as_string(False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{copied}" TEMPLATE "{postgres.base.database}"')
    try:
        found = [
            seen(recorder, postgres.url().set(database=name))
            for name in (postgres.base.database, "postgres", copied)
        ]
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{copied}" WITH (FORCE)')
    assert len({one[semconv.DATABASE_FINGERPRINT] for one in found}) == 3
    assert len({rungs(one)[Rung.ENDPOINT] for one in found}) == 3


def test_a_database_in_a_tablespace_is_still_itself(recorder: Recorder, clusters: Clusters) -> None:
    """The database's number is read from a path, which is another one there."""
    with psycopg.connect(clusters.primary.dsn, autocommit=True) as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE TABLESPACE aside LOCATION ''")
        connection.execute("CREATE DATABASE moving")
    before = seen(recorder, clusters.primary.tcp.set(database="moving"))
    with psycopg.connect(clusters.primary.dsn, autocommit=True) as connection:
        connection.execute("ALTER DATABASE moving SET TABLESPACE aside")
    after = seen(recorder, clusters.primary.tcp.set(database="moving"))
    assert rungs(after) == rungs(before)
    assert Rung.SYSTEM_IDENTIFIER in rungs(after)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_tcp_and_socket_lead_to_one_database(recorder: Recorder, clusters: Clusters, driver: str) -> None:
    drivername = f"postgresql+{driver}"
    tcp = seen(recorder, clusters.primary.tcp.set(drivername=drivername))
    local = seen(recorder, clusters.primary.socket.set(drivername=drivername))
    assert tcp[semconv.DATABASE_FINGERPRINT] == local[semconv.DATABASE_FINGERPRINT]
    assert tcp[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert tcp[semconv.SERVER_PORT] == clusters.primary.port


def test_of_several_hosts_the_one_that_answered_counts(recorder: Recorder, clusters: Clusters) -> None:
    """A URL with two hosts, of which libpq takes the one that may be written to."""
    several = URL.create(
        "postgresql+psycopg",
        "postgres",
        database="postgres",
        query={
            "host": tuple(f"127.0.0.1:{one.port}" for one in (clusters.replica, clusters.primary)),
            "target_session_attrs": "primary",
        },
    )
    found = seen(recorder, several)
    assert rungs(found) == rungs(seen(recorder, clusters.primary.tcp))
    assert found[semconv.DATABASE_ROLE] == Role.PRIMARY


@pytest.fixture
def limited(postgres: Postgres) -> Iterator[URL]:
    """A role that may not read the system identifier."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE limited LOGIN")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    yield postgres.url().set(username="limited")
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
        connection.execute("DROP OWNED BY limited")
        connection.execute("DROP ROLE limited")


def test_a_role_that_may_not_read_the_system_identifier(
    recorder: Recorder, postgres: Postgres, limited: URL
) -> None:
    found, full = seen(recorder, limited), seen(recorder, postgres.url())
    assert rungs(found).keys() == {Rung.ENDPOINT}
    # Comparable all the same, on the rung that both could read.
    assert rungs(found)[Rung.ENDPOINT] == rungs(full)[Rung.ENDPOINT]
    assert found[semconv.DATABASE_ROLE] == Role.PRIMARY
    assert found[semconv.DATABASE_VERSION] == full[semconv.DATABASE_VERSION]


def test_a_role_without_the_privilege_makes_no_error_in_the_servers_log(
    recorder: Recorder, clusters: Clusters
) -> None:
    with psycopg.connect(clusters.primary.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE nobody LOGIN")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        found = seen(recorder, clusters.primary.tcp.set(username="nobody"))
    finally:
        with psycopg.connect(clusters.primary.dsn, autocommit=True) as connection:
            connection.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
            connection.execute("DROP ROLE nobody")
    assert Rung.SYSTEM_IDENTIFIER not in rungs(found)
    assert not clusters.primary.errors


def test_all_rungs_and_facts_of_postgresql(recorder: Recorder, postgres: Postgres) -> None:
    found = seen(recorder, postgres.url())
    assert list(rungs(found)) == [Rung.SYSTEM_IDENTIFIER, Rung.ENDPOINT]
    assert found[semconv.DATABASE_FINGERPRINT] == rungs(found)[Rung.SYSTEM_IDENTIFIER]
    assert found[semconv.DATABASE_ROLE] == Role.PRIMARY
    assert found[semconv.DATABASE_SCHEMA] == "public"
    assert found[semconv.DB_NAMESPACE] == postgres.base.database
    assert str(found[semconv.DATABASE_VERSION]).startswith("18")


# -- the schema ------------------------------------------------------------------------------------------


@pytest.fixture
def tenant(postgres: Postgres) -> Iterator[str]:
    """A schema, and objects in it that would mislead a probe that trusts the search path."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA tenant")
        connection.execute(
            "CREATE FUNCTION tenant.current_database() RETURNS name LANGUAGE sql AS $$SELECT 'wrong'::name$$"
        )
        connection.execute("CREATE ROLE tenant_role LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA tenant TO tenant_role")
        connection.execute("ALTER ROLE tenant_role SET search_path = tenant")
    yield "tenant"
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("DROP OWNED BY tenant_role")
        connection.execute("DROP ROLE tenant_role")


def set_search_path(connection: Any, record: Any) -> None:
    """As SQLAlchemy's documentation writes it."""
    before, connection.autocommit = connection.autocommit, True
    cursor = connection.cursor()
    cursor.execute("SET SESSION search_path = tenant")
    cursor.close()
    connection.autocommit = before


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("way", ["options", "listener", "role", "misleading"])
def test_the_schema_that_the_application_will_use(
    recorder: Recorder, postgres: Postgres, tenant: str, way: str, driver: str
) -> None:
    url = postgres.url(driver)
    if way == "options":
        found = seen(recorder, url, connect_args={"options": "-c search_path=tenant"})
    elif way == "misleading":
        found = seen(recorder, url, connect_args={"options": "-c search_path=tenant,pg_catalog"})
    elif way == "listener":
        found = seen(recorder, url, set_search_path)
    else:
        found = seen(recorder, url.set(username="tenant_role"))
    assert found[semconv.DATABASE_SCHEMA] == "tenant"
    assert found[semconv.DB_NAMESPACE] == postgres.base.database
    assert Rung.SYSTEM_IDENTIFIER in rungs(found)


def test_an_empty_search_path_is_no_schema(recorder: Recorder, postgres: Postgres) -> None:
    found = seen(recorder, postgres.url(), connect_args={"options": "-c search_path="})
    assert semconv.DATABASE_SCHEMA not in found
    assert Rung.SYSTEM_IDENTIFIER in rungs(found)


# -- the operator's names --------------------------------------------------------------------------------


def test_the_operators_own_name_joins_what_the_servers_tell_apart(
    record: Callable[..., Recorder], postgres: Postgres, tmp_path: Any
) -> None:
    recorder = record(logs=False, database_name="orders")
    one = seen(recorder, postgres.url())
    other = seen(recorder, f"sqlite:///{tmp_path}/x.db")
    assert one[semconv.DATABASE_FINGERPRINT] == other[semconv.DATABASE_FINGERPRINT]
    assert list(rungs(one)) == [Rung.CONFIGURED, Rung.SYSTEM_IDENTIFIER, Rung.ENDPOINT]


def test_a_process_with_two_engines_names_each(
    record: Callable[..., Recorder], clusters: Clusters, tmp_path: Any
) -> None:
    place = f"127.0.0.1:{clusters.primary.port}/postgres"
    recorder = record(logs=False, database_names={place: "orders", f"/{tmp_path}/x.db": "archive"})
    configured = {
        rungs(seen(recorder, url)).get(Rung.CONFIGURED)
        for url in (clusters.primary.tcp, clusters.copy.tcp, f"sqlite:///{tmp_path}/x.db")
    }
    assert len(configured) == 3
    assert None in configured, "the copy's port is another one"


def test_a_fingerprint_can_be_named(record: Callable[..., Recorder], clusters: Clusters) -> None:
    recorder = record(logs=False)
    copy = rungs(seen(recorder, clusters.copy.tcp))[Rung.ENDPOINT]
    from trueline.instrumentation import uninstrument

    uninstrument()
    recorder = record(logs=False, database_names={copy: "staging"})
    primary, staging = seen(recorder, clusters.primary.tcp), seen(recorder, clusters.copy.tcp)
    assert Rung.CONFIGURED not in rungs(primary)
    assert staging[semconv.DATABASE_FINGERPRINT] == rungs(staging)[Rung.CONFIGURED]
