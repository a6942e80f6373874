"""The address of a ClickHouse server."""

from __future__ import annotations

import pytest

from trueline.monitor.errors import SettingsError
from trueline.monitor.store.server import parse_url


def test_a_full_url() -> None:
    address = parse_url("https://me:s%40crt@ch.example:9443/my_db")
    assert (address.secure, address.host, address.port) == (True, "ch.example", 9443)
    assert (address.user, address.password, address.database) == ("me", "s@crt", "my_db")
    assert address.description == "https://ch.example:9443"
    assert "crt" not in repr(address)


@pytest.mark.parametrize(
    ("url", "description"),
    [
        ("http://ch", "http://ch:8123"),
        ("https://ch/", "https://ch:8443"),
        ("http://[::1]:1/db", "http://[::1]:1"),
    ],
)
def test_the_usual_ports_are_filled_in(url: str, description: str) -> None:
    assert parse_url(url).description == description


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("clickhouse://localhost:9000", "has the scheme clickhouse"),
        ("localhost:8123", "has the scheme localhost"),
        ("ch", "has the scheme none"),
        ("http://", "names no host"),
        ("http://host:port/", "cannot be read"),
        ("http://host:99999/", "cannot be read"),
        ("http://host/a/b", "more than a database in its path"),
        ("http://host/db?user=x", "must not have a query"),
    ],
)
def test_anything_else_is_refused_with_an_example(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        parse_url(url)
    assert "http://host:8123/database" in str(caught.value)
