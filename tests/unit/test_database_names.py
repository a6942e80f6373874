"""The operator's names for databases, and sentences for those that cannot be used."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import make_url

from trueline.instrumentation.database_names import DatabaseNames
from trueline.instrumentation.options import ConfigurationError, resolve

FINGERPRINT = "0123456789abcdef"


def options(environ: dict[str, str], **arguments: object) -> DatabaseNames:
    names = (
        "service_name service_version namespace environment process_kind spans identities endpoint logs"
        " log_arguments hold database_name"
    )
    given = dict.fromkeys(names.split()) | arguments
    return resolve(environ=environ, **given).database_names


def name(names: DatabaseNames, url: str, *fingerprints: str) -> str:
    return names.name_of(make_url(url), fingerprints)


def test_the_narrower_key_comes_first() -> None:
    names = DatabaseNames(
        "all", {"db:5432/orders": "place", "db/orders": "host", "/orders": "name", FINGERPRINT: "fingerprint"}
    )
    assert name(names, "postgresql://DB:5432/orders", FINGERPRINT) == "fingerprint"
    assert name(names, "postgresql://DB:5432/orders", "f" * 16) == "place"
    assert name(names, "postgresql://db:6432/orders") == "host"
    assert name(names, "postgresql://other/orders") == "name"
    assert name(names, "postgresql://db/archive") == "all"
    assert name(DatabaseNames(), "postgresql://db/archive") == ""


def test_places_of_all_kinds() -> None:
    names = DatabaseNames("", {"[::1]:5432/orders": "six", "//var/lib/app.db": "file", "/app.db": "relative"})
    assert name(names, "postgresql://[::1]:5432/orders") == "six"
    assert name(names, "sqlite:////var/lib/app.db") == "file"
    assert name(names, "sqlite:///app.db") == "relative"


def test_from_the_environment() -> None:
    names = options({"TRUELINE_DATABASE_NAMES": f" db/orders = orders ,, {FINGERPRINT}=crm,/a=b=c "})
    assert name(names, "postgresql://db/orders") == "orders"
    assert name(names, "postgresql://x/y", FINGERPRINT) == "crm"
    assert name(names, "postgresql://x/a=b") == "c"


def test_arguments_come_before_the_environment() -> None:
    environ = {"TRUELINE_DATABASE_NAMES": "/orders=theirs", "TRUELINE_DATABASE_NAME": "all"}
    names = options(environ, database_names={"/archive": "ours"})
    assert name(names, "postgresql://db/orders") == "all"
    assert name(names, "postgresql://db/archive") == "ours"
    assert name(options(environ, database_name="mine"), "postgresql://db/else") == "mine"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("orders", "'orders' is not key=name"),
        ("orders=x", "'orders' names no database: use host:port/database"),
        (":5432/orders=x", "names no database"),
        ("db:port/orders=x", "names no database"),
        ("db/orders=", "the name for 'db/orders' is not a text"),
        ("db/=x", "names no database"),
        ("/a=x,/a=y", "'/a' stands there twice"),
        ("0123456789abcde=x", "names no database"),
    ],
)
def test_what_cannot_be_used(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options({"TRUELINE_DATABASE_NAMES": text})
    assert str(caught.value).startswith("TRUELINE_DATABASE_NAMES: ")
    assert sentence in str(caught.value)


def test_a_whole_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        options({}, database_names={"postgresql://app:s3cret@db/orders": "orders"})
    assert str(caught.value).startswith("database_names: the key for 'orders' looks like a URL: use host")
    assert "s3cret" not in str(caught.value)


def test_other_types_are_refused() -> None:
    for wrong in ({"/a": None}, {1: "x"}, ["/a"], "x"):
        with pytest.raises(ConfigurationError):
            options({}, database_names=wrong)
