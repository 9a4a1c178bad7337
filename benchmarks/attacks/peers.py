"""Peers of the controller over plain sockets: a switch with just enough OpenFlow 1.3, and ones that misbehave."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

HEADER = struct.Struct("!BBHI")
VERSION = 4
HELLO, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 2, 3, 5, 6
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 18, 19, 20, 21
_PORT_DESC = 13
_TIMEOUT_S = 10.0


def message(kind: int, body: bytes = b"", xid: int = 0) -> bytes:
    """A message of OpenFlow 1.3 (section 7.1)."""
    return HEADER.pack(VERSION, kind, HEADER.size + len(body), xid) + body


def connect(address: tuple[str, int], source: str) -> socket.socket:
    """A connection to the controller from a loopback address of the attacker's own."""
    return socket.create_connection(address, timeout=_TIMEOUT_S, source_address=(source, 0))


def read_message(sock: socket.socket) -> tuple[int, int, bytes] | None:
    """Type, transaction and whole bytes of the next message; None once the connection is over."""
    try:
        head = _read(sock, HEADER.size)
        _, kind, length, xid = HEADER.unpack(head)
        return kind, xid, head + _read(sock, length - HEADER.size)
    except (OSError, EOFError):
        return None


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


class FakeSwitch:
    """A switch without ports that answers whatever the controller asks, until it is told to fall silent.

    Parameters
    ----------
    source : str
        Loopback address from which it connects.
    before : bytes
        Sent as soon as the connection is made, ahead of HELLO.
    """

    def __init__(self, address: tuple[str, int], dpid: int, source: str, before: bytes = b"") -> None:
        self._dpid = dpid
        self.socket = connect(address, source)
        self.silent = threading.Event()
        self.up = threading.Event()
        self.closed = threading.Event()
        with contextlib.suppress(OSError):
            self.socket.sendall(before + message(HELLO))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        self.socket.settimeout(None)
        while (received := read_message(self.socket)) is not None:
            if self.silent.is_set():
                continue
            with contextlib.suppress(OSError):
                self.socket.sendall(self._answer(*received))
        self.closed.set()

    def _answer(self, kind: int, xid: int, data: bytes) -> bytes:
        if kind == ECHO_REQUEST:
            return message(ECHO_REPLY, data[HEADER.size :], xid)
        if kind == FEATURES_REQUEST:
            return message(FEATURES_REPLY, struct.pack("!QIBB2xII", self._dpid, 0, 254, 0, 0, 0), xid)
        if kind == MULTIPART_REQUEST:
            asked = int.from_bytes(data[8:10])
            if asked != _PORT_DESC:
                # What is asked after the handshake: the controller has taken it for a switch.
                self.up.set()
            return message(MULTIPART_REPLY, struct.pack("!HH4x", asked, 0), xid)
        if kind == BARRIER_REQUEST:
            self.up.set()
            return message(BARRIER_REPLY, b"", xid)
        return b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def repeat(function: Callable[[], object], interval_s: float, over: threading.Event) -> threading.Thread:
    """Call a function at a steady interval in a thread; what goes wrong with a connection is its own business."""

    def loop() -> None:
        while not over.wait(interval_s):
            with contextlib.suppress(OSError):
                function()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread
