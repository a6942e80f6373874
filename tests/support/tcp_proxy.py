"""A TCP proxy before a real server that does something when it sees a text on its way there."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence


class Proxy:
    """Passes bytes on until a client sends ``trigger``; then ``action`` is done to that connection.

    ``kill``: both ends are closed, the server has not seen the request. ``die``: so they are, and nobody can
    connect any more. ``hang``: nothing is passed on until
    :attr:`release` is set.
    """

    def __init__(self, host: str, port: int, trigger: bytes, action: str) -> None:
        self.release = threading.Event()
        #: Set when the trigger was first seen.
        self.seen = threading.Event()
        #: How often the trigger was seen.
        self.triggered = 0
        #: Where connections go, one after the other; the last one stays.
        self.targets = [(host, port)]
        self._trigger = trigger
        self._action = action
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            target = self.targets.pop(0) if len(self.targets) > 1 else self.targets[0]
            server = socket.create_connection(target)
            self._sockets += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, watched: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if watched and self._trigger in data:
                    self.triggered += 1
                    self.seen.set()
                    if self._action == "die":
                        # close() alone leaves an accept() that is under way.
                        self._listener.shutdown(socket.SHUT_RDWR)
                        self._listener.close()
                    if self._action != "hang":
                        break
                    self.release.wait(60)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.release.set()
        self._listener.close()
        for one in self._sockets:
            one.close()


@contextlib.contextmanager
def proxy_to(host: str, port: int, trigger: bytes, action: str) -> Iterator[Proxy]:
    proxy = Proxy(host, port, trigger, action)
    try:
        yield proxy
    finally:
        proxy.close()


@contextlib.contextmanager
def switch_to(host: str, ports: Sequence[int]) -> Iterator[int]:
    """The port of a proxy whose connections go to each of ``ports`` in turn, as after a failover."""
    proxy = Proxy(host, ports[0], b"\0never\0", "hang")
    proxy.targets = [(host, port) for port in ports]
    try:
        yield proxy.port
    finally:
        proxy.close()
