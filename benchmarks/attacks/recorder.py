"""Stands between switches and the controller: keeps every message that goes up, and can fall silent for one switch."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from benchmarks.attacks.peers import FEATURES_REPLY, read_message

_CHUNK_BYTES = 1 << 16


class Recorder:
    """A proxy of threads.

    Attributes
    ----------
    messages : list of bytes
        What switches sent, whole messages in order of arrival.
    """

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self._frozen: set[int] = set()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._target = ("127.0.0.1", 0)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _shut(self._listener)
        for sock in self._open:
            _shut(sock)

    def stand_before(self, target: tuple[str, int]) -> tuple[str, int]:
        """Begin to accept for a controller; returns where to connect instead."""
        self._target = target
        threading.Thread(target=self._accept, daemon=True).start()
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def freeze(self, dpid: int) -> None:
        """Pass nothing on any more, in either direction, of the connections that a switch has now."""
        self._frozen.add(dpid)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                self._open += (near, far)
                dpid: list[int] = []
                threading.Thread(target=self._up, args=(near, far, dpid), daemon=True).start()
                threading.Thread(target=self._down, args=(far, near, dpid), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket, dpid: list[int]) -> None:
        while (received := read_message(near)) is not None:
            kind, _, data = received
            if kind == FEATURES_REPLY:
                dpid[:] = [int.from_bytes(data[8:16])]
            self.messages.append(data)
            self._pass_on(data, far, dpid)
        _shut(far)

    def _down(self, far: socket.socket, near: socket.socket, dpid: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(_CHUNK_BYTES):
                self._pass_on(data, near, dpid)
        _shut(near)

    def _pass_on(self, data: bytes, to: socket.socket, dpid: list[int]) -> None:
        if not self._frozen.intersection(dpid):
            with contextlib.suppress(OSError):
                to.sendall(data)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
