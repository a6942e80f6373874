"""Where a connection ends: the rung of last resort, made to be the same for all who come to one server.

The server's own word counts first, because names, addresses and poolers in front of it differ from client
to client. A server that was reached by a Unix socket or on its loopback interface has no address to tell;
it is then the one on this machine.
"""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import Final, NamedTuple

#: Sockets in these folders are a machine's ordinary server; one in another folder is a server of its own.
_SOCKET_FOLDERS: Final = frozenset({"/tmp", "/run/postgresql", "/var/run/postgresql"})  # noqa: S108


class Endpoint(NamedTuple):
    """A host (name, address, or the folder of a Unix socket; "" where unknown) and a port."""

    host: str = ""
    port: int | None = None


NOWHERE: Final = Endpoint()


def endpoint_parts(told: Endpoint, reached: Endpoint) -> tuple[str, ...]:
    """What identifies the server's end, most telling first; empty if nothing does.

    ``told``: the server's own address and port, as far as it told them. ``reached``: where the driver
    connected to, else where the URL says.
    """
    if told.host and not _is_here(told.host):
        return (told.host, str(told.port or ""))
    port = str(told.port or reached.port or "")
    if reached.host and not _is_here(reached.host):
        return (reached.host.lower(), str(reached.port or ""))
    if not (told.port or reached.host):
        return ()
    folder = reached.host if reached.host.startswith(("/", "@")) else ""
    if folder and os.path.realpath(folder) not in {os.path.realpath(usual) for usual in _SOCKET_FOLDERS}:
        return ("local", socket.gethostname(), port, folder)
    return ("local", socket.gethostname(), port)


def _is_here(host: str) -> bool:
    """Whether ``host`` is this machine, by loopback or by a Unix socket."""
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
