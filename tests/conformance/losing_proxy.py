"""A proxy before PostgreSQL that passes a COMMIT on and breaks the connection before the answer gets back."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"


class LosingProxy:
    """Listens on a Unix socket in :attr:`folder`, where drivers take it for the server's."""

    def __init__(self, server_folder: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tl-"))
        self._server = str(Path(server_folder) / _SOCKET)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / _SOCKET))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                committing = threading.Event()
                threading.Thread(
                    target=self._to_server, args=(client, server, committing), daemon=True
                ).start()
                threading.Thread(
                    target=self._to_client, args=(server, client, committing), daemon=True
                ).start()

    def _to_server(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data.upper():
                    committing.set()
                server.sendall(data)
        self._end(client, server)

    def _to_client(self, server: socket.socket, client: socket.socket, committing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if committing.is_set():
                    # The server answers a COMMIT when it is durable.
                    break
                client.sendall(data)
        self._end(client, server)

    @staticmethod
    def _end(*sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
