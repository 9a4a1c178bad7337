"""Packets on their way from the switches to the application: queued by port, served in turn, shed where too many.

Discovery's probes have a lane of their own, so that neither they nor other packets starve. Within a lane switches take
turns, and within a switch its ports do: what a port gets does not depend on what others send (Nagle, RFC 970, fair
queueing by source).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)

PER_PORT = 32
"""Packets of one port that wait; a switch's meter lets some hundred a second pass, and turns come each millisecond."""
PER_SWITCH_BYTES = 256 << 10
TOTAL_BYTES = 16 << 20


@dataclass(slots=True)
class _Waiting:
    """What waits of one switch."""

    ports: dict[int, deque[bytes]] = field(default_factory=dict)
    turns: deque[int] = field(default_factory=deque)
    bytes: int = 0


class _Lane(Generic[S]):
    """Switches in turn, and within each its ports."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._bytes = 0
        self._switches: dict[S, _Waiting] = {}
        self._turns: deque[S] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, switch: S, port: int, packet: bytes) -> bool:
        waiting = self._switches.get(switch)
        if waiting is None:
            waiting = self._switches[switch] = _Waiting()
            self._turns.append(switch)
        of_port = waiting.ports.get(port)
        room = PER_SWITCH_BYTES
        if self._bytes + len(packet) > self._total_bytes:
            room = min(room, self._total_bytes // len(self._turns))
        # The first packet of a port always finds the room that others' later ones may not take.
        if of_port is None:
            if waiting.bytes + len(packet) > room:
                return False
            of_port = waiting.ports[port] = deque()
            waiting.turns.append(port)
        elif len(of_port) >= PER_PORT or (waiting.bytes + len(packet)) * 2 > room:
            return False
        of_port.append(packet)
        waiting.bytes += len(packet)
        self._bytes += len(packet)
        return True

    def take(self) -> tuple[S, bytes]:
        switch = self._turns.popleft()
        waiting = self._switches[switch]
        port = waiting.turns.popleft()
        of_port = waiting.ports[port]
        packet = of_port.popleft()
        waiting.bytes -= len(packet)
        self._bytes -= len(packet)
        if of_port:
            waiting.turns.append(port)
        else:
            del waiting.ports[port]
        if waiting.turns:
            self._turns.append(switch)
        else:
            del self._switches[switch]
        return switch, packet

    def forget(self, switch: S) -> None:
        waiting = self._switches.pop(switch, None)
        if waiting is not None:
            self._turns.remove(switch)
            self._bytes -= waiting.bytes


class PacketQueue(Generic[S]):
    """Two lanes, served in turn: discovery's probes, and the rest.

    Bounded: `PER_PORT` packets of a port, `PER_SWITCH_BYTES` of a switch in each lane (the later packets of its ports
    may take half of that, the first of each port all of it), and in each lane `total_bytes`: beyond, every switch may
    still have an equal part of that, so that whoever came first keeps nobody out; twice as much is never exceeded.

    Parameters
    ----------
    total_bytes : int
        Of each lane.
    """

    def __init__(self, total_bytes: int = TOTAL_BYTES) -> None:
        self._probes: _Lane[S] = _Lane(total_bytes)
        self._rest: _Lane[S] = _Lane(total_bytes)
        self._probe_next = True

    def __bool__(self) -> bool:
        return bool(self._probes) or bool(self._rest)

    def add(self, switch: S, port: int, packet: bytes, *, probe: bool) -> bool:
        """Append a packet; False where it is one too many of its port or its switch, and is shed."""
        return (self._probes if probe else self._rest).add(switch, port, packet)

    def take(self) -> tuple[S, bytes]:
        """The next packet and its switch.

        Raises
        ------
        IndexError
            Nothing waits.
        """
        lane = self._probes if self._probes and (self._probe_next or not self._rest) else self._rest
        self._probe_next = lane is self._rest
        return lane.take()

    def forget(self, switch: S) -> None:
        """Drop what waits of a switch that is gone."""
        self._probes.forget(switch)
        self._rest.forget(switch)
