"""Fake switches: sockets that answer as a switch would, and on demand go silent, stop reading or ask much.

One event loop drives many. All times are of `time.perf_counter`, except where a name says ``wall``.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from benchmarks.channel import messages as of

PATIENCE_S = 30.0
_SETTLE_S = 2.0
_SMALL_BUFFER_BYTES = 4_096


def sources(second: int) -> Iterator[str]:
    """Loopback addresses in 127.`second`.0.0/16, so that peers are told apart by their address."""
    for third, fourth in itertools.cycle(itertools.product(range(256), range(1, 255))):
        yield f"127.{second}.{third}.{fourth}"


class FakeSwitch(asyncio.Protocol):
    """A switch's end of one connection.

    Parameters
    ----------
    dpid : int
    ports : sequence of int
        All of them are up.
    relay : callable, optional
        Given this switch, a port and the LLDP frame that was sent out of it.

    Attributes
    ----------
    silent : bool
        Set to stop answering: the connection stays open and is read.
    held : bool
        Set, in answering, to leave what comes after for later; `go_on` ends it.
    described, up : asyncio.Event
        The controller asked for the ports, which ends the handshake, and for the flows: the switch is connected.
    over : asyncio.Event
        The connection is closed, by whichever side; ``over_s`` says when.
    writable : asyncio.Event
        The controller takes what is sent: little of it waits on our side.
    hosts : dict of int to int
        Addresses of the hosts behind its ports, which answer ARP, and their ports.
    answer : callable or None
        Asked first for each message, with its kind, xid and bytes; True where it saw to it.
    """

    def __init__(
        self, dpid: int, ports: Sequence[int] = (1, 2), relay: Callable[[FakeSwitch, int, bytes], None] | None = None
    ) -> None:
        self.dpid = dpid
        self.ports = ports
        self.silent = self.held = False
        self.described, self.up, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.over_s: float | None = None
        self.answered_s = 0.0
        self.answer: Callable[[int, int, bytes], bool] | None = None
        self.packets_out = 0
        self.hosts: dict[int, int] = {}
        self.transport: asyncio.Transport | None = None
        self._relay = relay
        self._buffer = bytearray()
        self._xids = itertools.count(1)
        self._echoes: dict[int, float] = {}
        self._questions: dict[int, deque[float]] = defaultdict(deque)
        self.echo_s: list[float] = []
        self.arp_s: list[float] = []

    # ── what it does by itself ───────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection promises
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.ended()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def eof_received(self) -> bool:
        self.ended()
        return False

    def ended(self) -> None:
        if self.over_s is None:
            self.over_s = time.perf_counter()
        self.over.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._take()

    def go_on(self) -> None:
        """Take up what was left for later."""
        self.held = False
        self._take()

    def _take(self) -> None:
        buffer = self._buffer
        start = 0
        while not self.held and len(buffer) - start >= of.HEADER.size:
            _, kind, length, xid = of.HEADER.unpack_from(buffer, start)
            if len(buffer) - start < length:
                break
            self._received(kind, xid, bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]

    def _received(self, kind: int, xid: int, whole: bytes) -> None:
        if self.answer is not None and self.answer(kind, xid, whole):
            return
        if kind == of.PACKET_OUT:
            self._packet_out(whole)
        elif kind == of.ECHO_REPLY:
            sent_s = self._echoes.pop(xid, None)
            if sent_s is not None:
                self.echo_s.append(time.perf_counter() - sent_s)
        elif not self.silent and (reply := self.reply(kind, xid, whole)):
            self.send(reply)
            self.answered_s = time.perf_counter()

    def reply(self, kind: int, xid: int, whole: bytes) -> bytes:
        """What a switch answers; nothing to what asks for no answer."""
        if kind == of.HELLO:
            return of.hello()
        if kind == of.ECHO_REQUEST:
            return of.message(of.ECHO_REPLY, whole[of.HEADER.size :], xid)
        if kind == of.FEATURES_REQUEST:
            return of.features_reply(self.dpid, xid)
        if kind == of.BARRIER_REQUEST:
            return of.message(of.BARRIER_REPLY, b"", xid)
        if kind != of.MULTIPART_REQUEST:
            return b""
        (part,) = struct.unpack_from("!H", whole, of.HEADER.size)
        if part == of.FLOW_STATS:
            self.up.set()
        body = b""
        if part == of.PORT_DESC:
            self.described.set()
            body = b"".join(map(of.port_description, self.ports))
        elif part == of.PORT_STATS:
            body = b"".join(of.port_counters(port, self.packets_out, self.packets_out) for port in self.ports)
        return of.multipart_reply(part, body, xid)

    def _packet_out(self, whole: bytes) -> None:
        self.packets_out += 1
        port, frame = of.read_packet_out(whole)
        if (arp := of.read_arp(frame)) is not None:
            if not arp.is_reply:
                if self.hosts.get(arp.target_ip) == port:
                    self.packet_in(port, of.arp_reply(arp.target_ip, arp))
            elif asked := self._questions.get(arp.sender_ip):
                self.arp_s.append(time.perf_counter() - asked.popleft())
        elif self._relay is not None and of.is_lldp(frame):
            self._relay(self, port, frame)

    # ── on demand ────────────────────────────────────────────────────────────────────────────────

    @property
    def is_over(self) -> bool:
        return self.over.is_set()

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def packet_in(self, port: int, frame: bytes) -> None:
        self.send(of.packet_in(port, frame))

    def ask_echo(self) -> None:
        """Send an echo request; its round trip is appended to ``echo_s``."""
        xid = next(self._xids)
        self._echoes[xid] = time.perf_counter()
        self.send(of.message(of.ECHO_REQUEST, b"", xid))

    def ask_arp(self, port: int, sender_ip: int, target_ip: int) -> None:
        """A host asks for another one; the time to the reply is appended to ``arp_s``."""
        self._questions[target_ip].append(time.perf_counter())
        self.packet_in(port, of.arp_request(sender_ip, target_ip))

    def unanswered_echoes(self) -> int:
        """How many echo requests still wait for their answer."""
        return len(self._echoes)

    def unanswered_questions(self) -> int:
        """How many ARP requests still wait for their answer."""
        return sum(map(len, self._questions.values()))

    def unanswered(self) -> int:
        """How many questions of either kind still wait for their answer."""
        return self.unanswered_echoes() + self.unanswered_questions()

    def forget(self) -> None:
        """Begin a new measurement."""
        self._echoes.clear()
        self._questions.clear()
        self.echo_s, self.arp_s = [], []

    def stop_reading(self) -> None:
        """Leave what the controller sends in the socket."""
        if self.transport is not None:
            self.transport.pause_reading()

    def close(self) -> None:
        """Close it: the controller gets a FIN."""
        if self.transport is not None:
            self.transport.close()


class Fleet:
    """Switches at one controller, the cables between them, and the hosts behind them.

    Parameters
    ----------
    controller : (str, int)
        Where it listens.
    second : int
        Its switches connect from 127.`second`.0.0/16.
    """

    def __init__(self, controller: tuple[str, int], second: int = 1) -> None:
        self._controller = controller
        self._sources = sources(second)
        self.switches: list[FakeSwitch] = []
        self._cables: dict[tuple[int, int], tuple[int, int]] = {}
        self._by_dpid: dict[int, FakeSwitch] = {}

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for switch in self.switches:
            switch.close()
        await asyncio.sleep(0)

    def cable(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        """Join two ports, each a dpid and a number: probes sent out of one arrive at the other."""
        self._cables[one], self._cables[other] = other, one

    def _relayed(self, switch: FakeSwitch, port: int, frame: bytes) -> None:
        end = self._cables.get((switch.dpid, port))
        if end is not None and (peer := self._by_dpid.get(end[0])) is not None:
            peer.packet_in(end[1], frame)

    async def connect(
        self, dpid: int, ports: Sequence[int] = (1, 2), *, source: str | None = None, small_buffer: bool = False
    ) -> FakeSwitch:
        """Open a connection; the handshake then runs by itself.

        Parameters
        ----------
        source : str, optional
            Address to connect from; one of its own otherwise.
        small_buffer : bool
            Whether the kernel should keep little of what is not read.
        """
        switch = FakeSwitch(dpid, ports, self._relayed)
        await self.join(switch, source=source, small_buffer=small_buffer)
        return switch

    async def join(self, switch: FakeSwitch, *, source: str | None = None, small_buffer: bool = False) -> None:
        """Open the connection of a switch that was made elsewhere; see `connect`."""
        await dial(lambda: switch, self._controller, source or next(self._sources), small_buffer=small_buffer)
        self.switches.append(switch)
        self._by_dpid[switch.dpid] = switch

    def leave(self, switch: FakeSwitch) -> None:
        """Close a switch and forget it."""
        switch.close()
        self.switches.remove(switch)

    async def connect_all(self, dpids: Sequence[int], ports: Sequence[int] = (1, 2)) -> list[FakeSwitch]:
        """Connect many at once and return when each was asked for its flows."""
        switches = await asyncio.gather(*(self.connect(dpid, ports) for dpid in dpids))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(switch.up.wait() for switch in switches))
        return switches


async def dial(
    protocol: Callable[[], asyncio.Protocol], controller: tuple[str, int], source: str, *, small_buffer: bool = False
) -> None:
    """Connect from a given address."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if small_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
    try:
        sock.bind((source, 0))
        await loop.sock_connect(sock, controller)
        await loop.create_connection(protocol, sock=sock)
    except BaseException:
        sock.close()
        raise


async def first_of(*events: asyncio.Event, timeout_s: float = PATIENCE_S) -> bool:
    """Wait until one of the events happens; False where that takes too long."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    done, pending = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return bool(done)


# ── good switches with hosts ─────────────────────────────────────────────────────────────────────

ASKING, TARGETS = 1, 2
"""Ports of a good switch with hosts: one that asks, and those it asks for. Ports 3 and 4 lead to its neighbours."""
_HOSTS = 8


@dataclass(frozen=True, slots=True)
class Answers:
    """What good switches measured, in seconds.

    Attributes
    ----------
    echo_s, arp_s : array
        Round trips of echoes and of ARP; infinite where no answer came.
    own_s : array
        How late our own event loop was to ask: what the machine, not the daemon, added at least.
    """

    echo_s: NDArray[np.float64]
    arp_s: NDArray[np.float64]
    own_s: NDArray[np.float64]


class GoodSwitches:
    """A ring of well-behaved switches with hosts, by whose round trips others' doings are felt.

    Parameters
    ----------
    fleet : Fleet
    count : int
    """

    def __init__(self, fleet: Fleet, count: int = 4) -> None:
        self._fleet = fleet
        self._dpids = range(1, count + 1)
        self._own_s: list[float] = []
        self.switches: list[FakeSwitch] = []

    async def come(self) -> None:
        """Connect, and make the hosts known: return once a question for each is answered."""
        for dpid in self._dpids:
            self._fleet.cable((dpid, 3), (dpid % len(self._dpids) + 1, 4))
        self.switches = await self._fleet.connect_all(self._dpids, (ASKING, TARGETS, 3, 4))
        for switch in self.switches:
            switch.hosts = dict.fromkeys(self.targets(switch), TARGETS) | {self.asker(switch): ASKING}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for switch in self.switches:
                    switch.forget()
                    for target in self.targets(switch):
                        switch.packet_in(TARGETS, of.arp_request(target, target))
                        switch.ask_arp(ASKING, self.asker(switch), target)
                await asyncio.sleep(0.5)
                if not any(switch.unanswered() for switch in self.switches):
                    break
        self.forget()

    def asker(self, switch: FakeSwitch) -> int:
        """Address of the host that asks."""
        return 0x0A000000 + switch.dpid * 256 + 1

    def targets(self, switch: FakeSwitch) -> list[int]:
        """Addresses of the hosts it asks for."""
        return [0x0A000000 + switch.dpid * 256 + 100 + number for number in range(_HOSTS)]

    def forget(self) -> None:
        """Begin a new measurement."""
        self._own_s = []
        for switch in self.switches:
            switch.forget()

    def lost(self) -> int:
        """How many were disconnected."""
        return sum(switch.is_over for switch in self.switches)

    async def ask(
        self, rate_hz: float, seconds: float, *, arp: bool = True, until: asyncio.Event | None = None
    ) -> None:
        """Let every switch ask echoes, and its host ARP where wanted, at a steady rate.

        Questions go out on time whether or not earlier ones were answered, so that a stop is felt by all that
        it kept waiting.

        Parameters
        ----------
        until : asyncio.Event, optional
            Ends it before its time.
        """
        begun_s = time.perf_counter()
        for number in itertools.count():
            due_s = begun_s + number / rate_hz
            if due_s - begun_s >= seconds or (until is not None and until.is_set()):
                return
            # Spread over the interval, so that the switches do not wait for each other.
            for place, switch in enumerate(self.switches):
                turn_s = due_s + place / len(self.switches) / rate_hz
                if turn_s > time.perf_counter():
                    await asyncio.sleep(turn_s - time.perf_counter())
                self._own_s.append(time.perf_counter() - turn_s)
                switch.ask_echo()
                if arp:
                    switch.ask_arp(ASKING, self.asker(switch), self.targets(switch)[number % _HOSTS])

    async def answers(self) -> Answers:
        """What was measured since the last call."""
        deadline_s = time.perf_counter() + _SETTLE_S
        while any(switch.unanswered() for switch in self.switches) and time.perf_counter() < deadline_s:
            await asyncio.sleep(0.01)
        echo: list[float] = []
        arp: list[float] = []
        for switch in self.switches:
            echo += switch.echo_s + [float("inf")] * switch.unanswered_echoes()
            arp += switch.arp_s + [float("inf")] * switch.unanswered_questions()
        answers = Answers(np.array(echo), np.array(arp), np.array(self._own_s))
        self.forget()
        return answers


def p99_s(round_trips_s: NDArray[np.float64]) -> float:
    """The time within which 99 of 100 were answered."""
    if not len(round_trips_s):
        return float("inf")
    return float(np.percentile(round_trips_s, 99, method="higher"))
