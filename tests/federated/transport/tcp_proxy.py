"""A TCP proxy whose connections break off where a test wants them to."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal, Self

HOST = "127.0.0.1"
Direction = Literal["to the broker", "from the broker"]


class TcpProxy:
    """Passes bytes on to a port, until `break_after` so many; a context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._limits: dict[Direction, int] = {}
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.broken = 0
        """How many connections were broken off."""
        threading.Thread(target=self._accept, daemon=True).start()

    def break_after(self, length: int, direction: Direction) -> None:
        """Break the connection off that passes the next byte after so many, once."""
        with self._lock:
            self._limits[direction] = length

    def close(self) -> None:
        """Take no connections any more, and break off those that there are."""
        # shutdown wakes the thread that waits for a connection; close alone does not
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for end in self._open:
                _hang_up(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                broker = socket.create_connection((HOST, self._target))
            except OSError:
                return
            with self._lock:
                self._open |= {client, broker}
            directions: list[tuple[socket.socket, socket.socket, Direction]] = [
                (client, broker, "to the broker"),
                (broker, client, "from the broker"),
            ]
            for ends in directions:
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                allowed, breaks = self._allowed(len(data), direction)
                sink.sendall(data[:allowed])
                if breaks:
                    break
        _hang_up(source)
        _hang_up(sink)

    def _allowed(self, length: int, direction: Direction) -> tuple[int, bool]:
        with self._lock:
            limit = self._limits.get(direction)
            if limit is None:
                return length, False
            if length <= limit:
                self._limits[direction] = limit - length
                return length, False
            del self._limits[direction]
            self.broken += 1
            return limit, True


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
