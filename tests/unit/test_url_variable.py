"""The environment variable that a database URL came from: only names leave, only database URLs are read."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import sqlalchemy.engine
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from trueline.instrumentation import url_variable as module
from trueline.instrumentation.database import DatabaseFacts, masked_url, with_url
from trueline.instrumentation.url_variable import url_variable, variable_of

SECRET = "s3cret-canary"
URL = f"postgresql+asyncpg://app:{SECRET}@db.internal:5432/orders"


@pytest.mark.parametrize(
    "value",
    [
        URL,
        f"postgres://app:{SECRET}@db.internal:5432/orders",
        f"postgresql://app:{SECRET}@db.internal/orders",
        f"postgresql+psycopg://app:{SECRET}@DB.internal:5432/orders?sslmode=require",
        "postgresql://app:another@db.internal:5432/orders",
        "postgresql://db.internal/orders",
        f"  {URL}\n",
    ],
)
def test_the_same_database_in_other_words(value: str) -> None:
    assert url_variable(make_url(URL), {"HOME": "/root", "DATABASE_URL": value}) == "DATABASE_URL"


@pytest.mark.parametrize(
    "value",
    [
        f"postgresql://app:{SECRET}@db.internal:5432/archive",
        f"postgresql://app:{SECRET}@db.internal:5433/orders",
        f"postgresql://app:{SECRET}@other.internal:5432/orders",
        f"postgresql://admin:{SECRET}@db.internal:5432/orders",
        f"mysql://app:{SECRET}@db.internal:5432/orders",
        f"https://app:{SECRET}@db.internal:5432/orders",
        f"amqp://app:{SECRET}@db.internal:5432/orders",
        "://",
        "postgresql://",
        "postgresql://app@db.internal:port/orders",
        "postgresql://[::1/orders",
        f"postgresql://app:{SECRET}@db.internal:5432/orders" + "x" * 3000,
        "",
    ],
)
def test_other_values(value: str) -> None:
    assert url_variable(make_url(URL), {"DATABASE_URL": value}) == ""


def test_of_several_the_one_that_agrees_on_more() -> None:
    environment = {
        "A_WITHOUT_USER": "postgresql://db.internal/orders",
        "B_OTHER_PASSWORD": "postgresql://app:old@db.internal/orders",
        "C_OTHER_DRIVER": f"postgresql://app:{SECRET}@db.internal/orders",
        "D_SAME": URL,
        "E_SAME": URL,
    }
    found = []
    while environment:
        found.append(url_variable(make_url(URL), environment))
        del environment[found[-1]]
    assert found == ["D_SAME", "E_SAME", "C_OTHER_DRIVER", "B_OTHER_PASSWORD", "A_WITHOUT_USER"]


def test_sqlite_and_mariadb() -> None:
    assert url_variable(make_url("sqlite+aiosqlite:///x.db"), {"DB": "sqlite:///x.db"}) == "DB"
    assert url_variable(make_url("sqlite:///x.db"), {"DB": "sqlite:///y.db"}) == ""
    mysql = make_url("mysql+pymysql://app@db/orders")
    assert url_variable(mysql, {"DB": "mariadb+mariadbconnector://app@db:3306/orders"}) == "DB"


def test_secrets_in_other_variables_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only values that begin like a URL of this kind of database reach the parser."""
    parsed: list[str] = []
    real = sqlalchemy.engine.make_url

    def watching(text: Any) -> Any:
        parsed.append(text)
        return real(text)

    monkeypatch.setattr(sqlalchemy.engine, "make_url", watching)
    environment = {
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "REDIS_URL": f"redis://:{SECRET}@cache:6379/0",
        "PROXY": f"http://user:{SECRET}@proxy:3128",
        "JSON": '{"url": "postgresql://app:x@db.internal/orders"}',
        "MYSQL_URL": f"mysql://app:{SECRET}@db/orders",
        "DATABASE_URL": URL,
    }
    assert url_variable(real(URL), environment) == "DATABASE_URL"
    assert parsed == [URL]


def test_a_secret_is_in_nothing_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    engine = create_engine(URL.replace("asyncpg", "psycopg"))
    variable = variable_of(engine.dialect, engine.url)
    facts = with_url(DatabaseFacts("postgresql"), engine.url, variable=variable)
    assert facts.url_variable == "DATABASE_URL"
    assert SECRET not in repr(facts)
    assert SECRET not in repr(list(module._found.items()))
    assert SECRET not in repr(facts.attributes())


def test_the_environment_is_read_once_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, other = create_engine("sqlite:///x.db"), create_engine("sqlite:///x.db")
    monkeypatch.setenv("ONE", "sqlite:///x.db")
    assert variable_of(engine.dialect, engine.url) == "ONE"
    monkeypatch.delenv("ONE")
    assert variable_of(engine.dialect, engine.url) == "ONE"
    assert variable_of(other.dialect, other.url) == ""


def test_the_cost_does_not_grow_with_what_others_keep_in_the_environment() -> None:
    """Counted in calls of functions, not in seconds: none for each variable but the look at its scheme."""
    environment = {f"VARIABLE_{number}": f"https://host-{number}/path" for number in range(5000)}
    calls = 0

    def count(frame: Any, happened: str, argument: Any) -> None:
        nonlocal calls
        calls += happened == "call"

    sys.setprofile(count)
    try:
        assert url_variable(make_url(URL), {**environment, "DATABASE_URL": URL}) == "DATABASE_URL"
    finally:
        sys.setprofile(None)
    assert calls < 5000 * 2 + 500


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            f"postgresql+psycopg://app:{SECRET}@db.internal:5433/orders?sslmode=require",
            "postgresql://db.internal:5433/orders",
        ),
        (f"postgresql://app:{SECRET}@[::1]:5432/orders", "postgresql://[::1]:5432/orders"),
        (f"postgresql://app:{SECRET}@/orders?host=/run/postgresql", "postgresql:///orders"),
        (f"mysql+pymysql://app:{SECRET}@db/orders?password={SECRET}", "mysql://db/orders"),
        (f"postgresql://app:{SECRET}%40x@db/orders", "postgresql://db/orders"),
        ("sqlite:///relative.db", "sqlite:///relative.db"),
    ],
)
def test_a_url_is_shown_without_credentials_and_options(url: str, shown: str) -> None:
    assert masked_url(make_url(url)) == shown
    assert SECRET not in str(with_url(DatabaseFacts("postgresql"), make_url(url)))
