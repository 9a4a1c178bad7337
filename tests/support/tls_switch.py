"""A switch's end of an OpenFlow connection by TLS, and what else may knock at that port."""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

from authority import Certificate

DEADLINE_S = 30.0
HEADER = struct.Struct("!BBHI")
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY, PACKET_IN = 0, 1, 2, 3, 5, 6, 10
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 18, 19, 20, 21
_NUMBERS = itertools.count(1)


def message(kind: int, body: bytes = b"", xid: int = 0) -> bytes:
    return HEADER.pack(4, kind, HEADER.size + len(body), xid) + body


def client_context(
    certificate: Certificate | None, version: ssl.TLSVersion | None = None, *, authority: Certificate | None = None
) -> ssl.SSLContext:
    """What a switch has: its certificate, and the authority that signed the daemon's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if version is not None:
        context.minimum_version = context.maximum_version = version
        if version < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("DEFAULT@SECLEVEL=0")
    trusted = authority or certificate
    if trusted is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(trusted.authority)
    if certificate is not None:
        context.load_cert_chain(certificate.file, certificate.key)
    return context


def knock(port: int) -> socket.socket:
    """A plain connection, from a loopback address of its own, as switches have one each."""
    number = next(_NUMBERS)
    return socket.create_connection(
        ("127.0.0.1", port), DEADLINE_S, source_address=(f"127.2.{number >> 8}.{number & 255}", 0)
    )


class TlsSwitch:
    """Shakes hands, then answers as a switch would, in a thread.

    One object for records that two threads share needs a lock, and none may be held while a thread waits.
    """

    def __init__(
        self, port: int, context: ssl.SSLContext, dpid: int = 1, session: ssl.SSLSession | None = None
    ) -> None:
        self.dpid = dpid
        self.received: queue.Queue[tuple[int, int, bytes]] = queue.Queue()
        self.over = threading.Event()
        self.error: OSError | None = None
        self.plain = knock(port)
        self._come, self._go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._come, self._go, server_side=False, session=session)
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._reading = threading.Event()
        self._reading.set()
        threading.Thread(target=self._serve, daemon=True).start()

    def send(self, data: bytes, record_bytes: int = 16_384) -> None:
        """Send in records of this length; a connection that is closed already is the other side's good right."""
        with contextlib.suppress(OSError), self._sending:
            for start in range(0, len(data), 64 * record_bytes):
                with self._lock:
                    for begin in range(start, min(start + 64 * record_bytes, len(data)), record_bytes):
                        self.tls.write(data[begin : begin + record_bytes])
                    records = self._go.read()
                self.plain.sendall(records)

    def packet_in(self, port: int, data: bytes) -> bytes:
        match = struct.pack("!HHI", 1, 12, 0x8000_0004) + struct.pack("!I4x", port)
        return message(PACKET_IN, struct.pack("!IHBBQ", 0xFFFF_FFFF, len(data), 1, 0, 0) + match + b"\0\0" + data)

    def say_goodbye(self) -> None:
        """Send close_notify and nothing else: the connection stays open below."""
        with contextlib.suppress(ssl.SSLError), self._lock:
            self.tls.unwrap()
        with self._sending:
            self.plain.sendall(self._go.read())

    def stop_reading(self) -> None:
        self._reading.clear()

    def close(self) -> None:
        self._reading.set()
        with contextlib.suppress(OSError):
            self.plain.shutdown(socket.SHUT_RDWR)
        self.plain.close()

    def expect(self, kind: int) -> tuple[int, bytes]:
        """Transaction id and body of the next message of this type; others are passed over."""
        while True:
            got, xid, body = self.received.get(timeout=DEADLINE_S)
            if got == kind:
                return xid, body

    def is_alive(self) -> bool:
        """Whether an echo request is answered."""
        self.send(message(ECHO_REQUEST, b"alive?", 77))
        return self.expect(ECHO_REPLY) == (77, b"alive?")

    def is_closed_by_controller(self) -> bool:
        return self.over.wait(DEADLINE_S)

    def _serve(self) -> None:
        buffer = b""
        try:
            self._pump(lambda: self.tls.do_handshake() or True)
            while self._reading.wait() and (chunk := self._pump(lambda: self.tls.read(65536))):
                buffer += chunk
                while len(buffer) >= HEADER.size and len(buffer) >= (length := HEADER.unpack_from(buffer)[2]):
                    _, kind, _, xid = HEADER.unpack_from(buffer)
                    body, buffer = buffer[HEADER.size : length], buffer[length:]
                    self.received.put((kind, xid, body))
                    self._answer(kind, xid, body)
        except OSError as error:
            self.error = error
        self.over.set()

    def _answer(self, kind: int, xid: int, body: bytes) -> None:
        if kind == HELLO:
            self.send(message(HELLO, struct.pack("!HHI", 1, 8, 1 << 4)))
        elif kind == ECHO_REQUEST:
            self.send(message(ECHO_REPLY, body, xid))
        elif kind == FEATURES_REQUEST:
            self.send(message(FEATURES_REPLY, struct.pack("!QIBB2xII", self.dpid, 0, 254, 0, 0x4F, 0), xid))
        elif kind == MULTIPART_REQUEST:
            port = struct.pack("!I4x6s2x16sIIIIIIII", 1, bytes(6), b"p1", 0, 0, 0, 0, 0, 0, 10_000_000, 0)
            self.send(message(MULTIPART_REPLY, struct.pack("!HH4x", 13, 0) + port, xid))
        elif kind == BARRIER_REQUEST:
            self.send(message(BARRIER_REPLY, b"", xid))

    def _pump(self, step: Callable[[], Any]) -> Any:
        """Do a step of TLS, fetching and sending what it needs."""
        while True:
            with self._lock:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    result = None
                except ssl.SSLError:
                    # What is said to the other side about it.
                    self.plain.sendall(self._go.read())
                    raise
                records = self._go.read()
            if records:
                with self._sending:
                    self.plain.sendall(records)
            if result is not None:
                return result
            data = self.plain.recv(65536)
            with self._lock:
                if data:
                    self._come.write(data)
                else:
                    self._come.write_eof()
