"""One message to one URL: addresses checked and pinned, no redirects, no proxy, bounded in time and size.

The name is resolved once, every address it has is checked, and the connection goes to one that was checked: a
name that changes its address in between (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from trueline.monitor.notify.targets import masked

#: What is read of an answer, bytes; the rest is not waited for.
MAX_ANSWER: Final = 4096
#: Largest message, bytes: receivers refuse larger ones anyway.
MAX_MESSAGE: Final = 4 << 20
#: Where clouds answer with a machine's credentials; link-local, but also outside of that range.
_METADATA: Final = frozenset(
    ipaddress.ip_address(one)
    for one in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefusedAddressError(Exception):
    """The target has an address that nothing may be sent to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a message. ``url`` is masked; ``status`` is 0 where no answer came."""

    url: str
    status: int
    text: str
    milliseconds: float
    address: str = ""

    @property
    def ok(self) -> bool:
        """It was taken."""
        return 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """Sending the same again cannot help: it was taken, or refused for what it is."""
        return self.ok or (400 <= self.status < 500 and self.status not in (401, 403, 404, 408, 425, 429))

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.status:
            return f"{self.url}: {self.text}"
        return f"{self.url} answered {self.status}" + (f": {self.text}" if self.text and not self.ok else "")


def send(url: str, message: Any, token: str, *, timeout: float, allow_private: bool) -> Answer:
    """POST a message as JSON. Never raises for what network or receiver do; takes ``timeout`` seconds at
    most, whatever they do.
    """
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE:
        return Answer(masked(url), 0, f"the message of {len(body)} bytes is larger than can be sent", 0.0)
    return asyncio.run(_send(url, body, token, timeout, allow_private))


async def _send(url: str, body: bytes, token: str, seconds: float, allow_private: bool) -> Answer:
    loop = asyncio.get_running_loop()
    began = loop.time()
    status, text, address = 0, "", ""
    try:
        async with asyncio.timeout(seconds):
            address = await _resolve(url, allow_private)
            status, text = await _post(url, address, body, token)
    except TimeoutError:
        text = f"no complete answer within {seconds:g} s"
    except RefusedAddressError as error:
        text = str(error)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
        text = _reason(error, url)
    return Answer(masked(url), status, text, (loop.time() - began) * 1000, address)


async def _resolve(url: str, allow_private: bool) -> str:
    """The address to connect to, after all of them were checked."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise RefusedAddressError(f"the name {host} cannot be resolved") from None
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    if not addresses:
        raise RefusedAddressError(f"the name {host} has no address")
    for address in addresses:
        check_address(address, allow_private=allow_private)
    return str(addresses[0])


def check_address(address: Address, *, allow_private: bool) -> None:
    """Raise RefusedAddressError for an address that nothing may be sent to."""
    real = _unwrapped(address)
    if real in _METADATA or real.is_link_local:
        raise RefusedAddressError(f"{address} is a link-local or metadata address: never sent to")
    if real.is_multicast or real.is_unspecified:
        raise RefusedAddressError(f"{address} is no address of a receiver")
    if not real.is_global and not allow_private:
        raise RefusedAddressError(
            f"{address} is a private address: set allow_private: true for this target if that is right"
        )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside of an IPv6 one, by whichever way it is carried."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return inner
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


async def _post(url: str, address: str, body: bytes, token: str) -> tuple[int, str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    pinned = parts._replace(netloc=f"{shown}{port}").geturl()
    named = f"[{host}]" if ":" in host else host
    headers: Mapping[str, str] = {
        "Host": f"{named}{port}",
        "Content-Type": "application/json",
        "User-Agent": "trueline",
        # A small answer in a compressed form could be a huge one.
        "Accept-Encoding": "identity",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    # The certificate is checked against the name, not against the address that is connected to.
    extensions = {"sni_hostname": host} if parts.scheme == "https" else {}
    # The whole is timed by the caller: a time-out of each step would let a receiver drip for ever.
    async with (
        httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False) as client,  # noqa: S113
        client.stream("POST", pinned, content=body, headers=headers, extensions=extensions) as response,
    ):
        read = b""
        async for chunk in response.aiter_raw():
            read += chunk
            if len(read) >= MAX_ANSWER:
                break
        text = read[:MAX_ANSWER].decode(errors="replace").strip()
        if response.is_redirect:
            text = "it redirects, and redirects are not followed: configure where it leads to"
        return response.status_code, _clean(text)


def _reason(error: Exception, url: str) -> str:
    """What the network said, without the URL, which may be a secret."""
    said = str(error) or type(error).__name__
    return _clean(said.replace(url, masked(url)))


def _clean(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)[:500]
