"""One message to one URL: whatever the receiver does, it ends in time and says what happened."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.receiver import Receiver

from trueline.monitor.notify.send import Answer, RefusedAddressError, check_address, send


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def tell(url: str, timeout: float = 30, allow_private: bool = True) -> Answer:
    return send(url, {"hello": "wörld"}, "s3cret", timeout=timeout, allow_private=allow_private)


def test_a_message_arrives_with_its_token(receiver: Receiver) -> None:
    answer = tell(f"{receiver.url}/hook/secret-path?key=1")
    assert (answer.ok, answer.status, answer.address) == (True, 200, "127.0.0.1")
    assert receiver.received == [{"hello": "wörld"}]
    (headers,) = receiver.headers
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["path"] == "/hook/secret-path?key=1"
    assert headers["Host"] == receiver.url.removeprefix("http://")
    assert "secret-path" not in answer.sentence, "a webhook's path is often its secret"
    assert "s3cret" not in answer.sentence


def test_the_name_is_kept_while_the_connection_goes_to_the_address(receiver: Receiver) -> None:
    answer = tell(receiver.url.replace("127.0.0.1", "localhost"))
    assert answer.ok
    assert receiver.headers[0]["Host"].startswith("localhost:")


def test_what_receivers_say_is_told_and_decides_about_another_attempt(receiver: Receiver) -> None:
    for mode, status, final in (("refuse", 400, True), ("fail", 503, False)):
        receiver.mode = mode
        answer = tell(receiver.url)
        assert (answer.status, answer.ok, answer.final) == (status, False, final)
        assert answer.sentence == f"{receiver.url} answered {status}: no  [31mroom", "nothing for a terminal"
    for status in (401, 403, 404, 408, 429):
        assert not Answer("u", status, "", 0).final, "somebody may mend that without a change here"


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.mode = "redirect"
    answer = tell(receiver.url)
    assert (answer.status, answer.ok, answer.final) == (307, False, False)
    assert "redirects are not followed" in answer.text
    assert len(receiver.received) == 1


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_a_receiver_that_takes_for_ever_is_left_in_time(receiver: Receiver, mode: str) -> None:
    receiver.mode = mode
    began = time.monotonic()
    answer = tell(receiver.url, timeout=1)
    assert answer.text == "no complete answer within 1 s"
    assert time.monotonic() - began < 20
    assert (answer.status, answer.final) == (0, False)


def test_of_an_endless_answer_only_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.mode = "huge"
    answer = tell(receiver.url)
    assert (answer.ok, len(answer.text)) == (True, 500)


def test_nobody_there_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = tell(f"http://127.0.0.1:{port}")
    assert (answer.status, answer.final) == (0, False)
    assert answer.text
    assert tell("http://no-such-host.invalid").text == "the name no-such-host.invalid cannot be resolved"


def test_a_private_address_is_refused_unless_allowed(receiver: Receiver) -> None:
    answer = tell(receiver.url, allow_private=False)
    assert answer.text == (
        "127.0.0.1 is a private address: set allow_private: true for this target if that is right"
    )
    assert receiver.received == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "100.64.0.1", "0.0.0.1", "::1", "fc00::1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:0a00:0001::",
    ],
)  # fmt: skip
def test_private_addresses_in_all_their_forms(address: str) -> None:
    with pytest.raises(RefusedAddressError):
        check_address(ipaddress.ip_address(address), allow_private=False)
    if address not in ("0.0.0.1",):
        check_address(ipaddress.ip_address(address), allow_private=True)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "100.100.100.200",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "0.0.0.0", "::", "224.0.0.1",
    ],
)  # fmt: skip
def test_metadata_and_link_local_are_refused_even_where_private_is_allowed(address: str) -> None:
    for allowed in (False, True):
        with pytest.raises(RefusedAddressError):
            check_address(ipaddress.ip_address(address), allow_private=allowed)


def test_public_addresses_are_fine() -> None:
    for address in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"):
        check_address(ipaddress.ip_address(address), allow_private=False)


def test_a_name_that_changes_its_address_leads_nowhere(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: resolved once, checked, connected to by address. One bad one of several is enough."""
    asked = []

    async def resolve(self: Any, host: Any, port: Any, **_: Any) -> list[Any]:
        asked.append(host)
        addresses = ["93.184.216.34", "127.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    url = receiver.url.replace("127.0.0.1", "rebind.example")
    assert "127.0.0.1 is a private address" in tell(url, allow_private=False).text
    assert receiver.received == []
    asked.clear()
    asked.append("before")
    assert tell(url).ok
    assert asked == ["before", "rebind.example"], "the name is asked for once; the connection has an address"


def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert tell(receiver.url).ok
