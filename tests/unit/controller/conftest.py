"""Switches that are nothing but sockets, and a child process that has a channel for them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("channel_child.py")
ROOT = Path(__file__).parents[3]
DEADLINE_S = 30.0
HEADER = struct.Struct("!BBHI")
_NUMBERS = itertools.count(1)


class FakeSwitch:
    """A switch's end of an OpenFlow connection: a plain socket, and a thread that answers as a switch would.

    It can be made without some answers, they can be taken away later (``answers``), and it can stop reading. Each has a
    loopback address of its own, as switches have, unless it is given one.
    """

    HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FEATURES_REQUEST, FEATURES_REPLY = 0, 1, 2, 3, 4, 5, 6
    PACKET_IN, PORT_STATUS, FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = 10, 12, 14, 18, 19
    BARRIER_REQUEST, BARRIER_REPLY = 20, 21

    def __init__(
        self,
        port: int,
        dpid: int = 1,
        ports: tuple[int, ...] = (1, 2),
        *,
        without: Collection[str] = (),
        address: str | None = None,
    ) -> None:
        self.dpid = dpid
        self.ports = ports
        questions = ("HELLO", "ECHO_REQUEST", "FEATURES_REQUEST", "MULTIPART_REQUEST", "BARRIER_REQUEST")
        self.answers = {getattr(self, question) for question in questions if question not in without}
        self._sending = threading.Lock()
        self.refused_priorities: set[int] = set()
        self.on_experimenter: Callable[[int, bytes], None] = lambda _xid, _body: None
        self.received: queue.Queue[tuple[int, int, bytes]] = queue.Queue()
        self.over = threading.Event()
        self._reading = threading.Event()
        self._reading.set()
        self.address = address or f"127.1.{(number := next(_NUMBERS)) >> 8}.{number & 255}"
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S, source_address=(self.address, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @staticmethod
    def message(kind: int, body: bytes = b"", xid: int = 0, version: int = 4) -> bytes:
        return HEADER.pack(version, kind, HEADER.size + len(body), xid) + body

    @staticmethod
    def port_description(number: int, state: int = 0) -> bytes:
        mac = bytes((2, 0, 0, 0, number >> 8 & 255, number & 255))
        return struct.pack("!I4x6s2x16sIIIIIIII", number, mac, b"p%d" % number, 0, state, 0, 0, 0, 0, 10_000_000, 0)

    def packet_in(self, port: int, data: bytes) -> bytes:
        match = struct.pack("!HHI", 1, 12, 0x8000_0004) + struct.pack("!I4x", port)
        body = struct.pack("!IHBBQ", 0xFFFF_FFFF, len(data), 1, 0, 0) + match + b"\0\0" + data
        return self.message(self.PACKET_IN, body)

    def port_status(self, number: int, reason: int) -> bytes:
        return self.message(self.PORT_STATUS, struct.pack("!B7x", reason) + self.port_description(number))

    def send(self, data: bytes) -> None:
        """Send raw bytes; a connection that is closed already is the other side's good right."""
        with contextlib.suppress(OSError), self._sending:
            self.socket.sendall(data)

    def send_in_pieces(self, data: bytes) -> None:
        """Send raw bytes one by one."""
        with contextlib.suppress(OSError), self._sending:
            for byte in data:
                self.socket.sendall(bytes((byte,)))

    def hello(self) -> None:
        self.send(self.message(self.HELLO, struct.pack("!HHI", 1, 8, 1 << 4)))

    def stop_reading(self) -> None:
        self._reading.clear()

    def close(self) -> None:
        self._reading.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def expect(self, kind: int) -> tuple[int, bytes]:
        """Transaction id and body of the next message of this type; others are passed over."""
        while True:
            got, xid, body = self.received.get(timeout=DEADLINE_S)
            if got == kind:
                return xid, body

    def is_closed_by_controller(self) -> bool:
        return self.over.wait(DEADLINE_S)

    def _serve(self) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while self._reading.wait() and (chunk := self.socket.recv(65536)):
                buffer += chunk
                while len(buffer) >= HEADER.size and len(buffer) >= (length := HEADER.unpack_from(buffer)[2]):
                    _, kind, _, xid = HEADER.unpack_from(buffer)
                    body, buffer = buffer[HEADER.size : length], buffer[length:]
                    self.received.put((kind, xid, body))
                    self._answer(kind, xid, body)
        self.over.set()

    def _answer(self, kind: int, xid: int, body: bytes) -> None:
        if kind == self.FLOW_MOD:
            (priority,) = struct.unpack_from("!H", body, 22)
            if priority in self.refused_priorities:
                self.send(self.message(self.ERROR, struct.pack("!HH", 5, 1) + body[:56], xid))
        if kind == self.EXPERIMENTER:
            self.on_experimenter(xid, body)
        if kind not in self.answers:
            return
        if kind == self.HELLO:
            self.hello()
        elif kind == self.ECHO_REQUEST:
            self.send(self.message(self.ECHO_REPLY, body, xid))
        elif kind == self.FEATURES_REQUEST:
            self.send(self.message(self.FEATURES_REPLY, struct.pack("!QIBB2xII", self.dpid, 0, 254, 0, 0x4F, 0), xid))
        elif kind == self.MULTIPART_REQUEST:
            ports = b"".join(self.port_description(number) for number in self.ports)
            self.send(self.message(self.MULTIPART_REPLY, struct.pack("!HH4x", 13, 0) + ports, xid))
        elif kind == self.BARRIER_REQUEST:
            self.send(self.message(self.BARRIER_REPLY, b"", xid))


class ChannelDaemon:
    """A child process with a channel; its events are waited for, its commands are dictionaries."""

    def __init__(self, framework: str, limits: dict[str, float]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(limits)],
            env={**os.environ, "HEDDLE_FRAMEWORK": framework, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._untaken: list[dict[str, Any]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.port: int = self.expect("listening")["port"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def expect(self, event: str, **details: Any) -> dict[str, Any]:
        """The first event of this name with these details that was not taken yet."""
        while True:
            for index, said in enumerate(self._untaken):
                if said["event"] == event and details.items() <= said.items():
                    return self._untaken.pop(index)
            line = self._lines.get(timeout=DEADLINE_S)
            assert line is not None, f"the child ended before {event}; it had said {self._untaken[-5:]}"
            self._untaken.append(json.loads(line))

    def do(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def counts(self) -> dict[str, int]:
        self.do(do="counts")
        return self.expect("counts")["counts"]

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(DEADLINE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code


@pytest.fixture(scope="module", params=["ryu", "os-ken"])
def daemon(request: pytest.FixtureRequest) -> Iterator[ChannelDaemon]:
    """A channel with short limits, on either framework; tests of a module share it, each with its own dpids."""
    limits = {
        "handshake_timeout_s": 2.0,
        "echo_after_s": 0.5,
        "silent_after_s": 3.0,
        "max_echo_s": 4.0,
        "max_message_bytes": 32_768,
        "max_queued_bytes": 1 << 20,
        "max_half_open": 16,
        "max_connections": 24,
    }
    child = ChannelDaemon(request.param, limits)
    yield child
    assert child.stop() == 0


@pytest.fixture
def connect(daemon: ChannelDaemon) -> Iterator[Callable[..., FakeSwitch]]:
    """Makes fake switches that are connected to the daemon, and closes them after the test."""
    switches: list[FakeSwitch] = []

    def connect(**details: Any) -> FakeSwitch:
        switch = FakeSwitch(daemon.port, **details)
        switches.append(switch)
        return switch

    yield connect
    for switch in switches:
        switch.close()
