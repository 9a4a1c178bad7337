"""Which port leads where: a state machine fed with port events, probes that arrive, counters and time.

It sends nothing and reads no clock: `probes_due` says what to send, every call takes the time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.lldp import Probe, read_probe, write_probe
from controller.service import PortRole

PROBE_ROUNDS = 3
"""Rounds without an answer after which a port counts as an edge, or a silent link as lost."""
FIRST_INTERVAL_S = 0.3
STEADY_INTERVAL_S = 1.0
MAX_AGE_S = 2.0
"""A probe that took longer was held back or replayed."""


class PortId(NamedTuple):
    """A port of the fabric by numbers."""

    dpid: int
    port: int

    def __str__(self) -> str:
        return f"{self.dpid:016x}:{self.port}"


@dataclass(slots=True)
class _Port:
    up: bool
    role: PortRole = PortRole.UNKNOWN
    rounds: int = 0
    next_probe_s: float = 0.0
    nonces: dict[int, float] = field(default_factory=dict)
    # Where this port's probes arrive, and how many were sent since one last did.
    peer: PortId | None = None
    missed: int = 0
    rx_packets: int = 0
    rx_progress: bool = False
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What an input changed.

    Attributes
    ----------
    urgent : bool
        Something was lost, so tell readers at once.
    at : PortId or None
        The port whose peer brought it about; what one port can repeat at will is not said each time.
    """

    urgent: bool
    kind: str
    message: str
    at: PortId | None = None


class Discovery:
    """Ports, their roles, and the cables between them.

    Parameters
    ----------
    secret : bytes
        Key of the probes' signature.
    host_at : callable
        Says whether a host that still answers is known at a port: such a port becomes no link.
    """

    def __init__(self, secret: bytes, host_at: Callable[[PortId], bool]) -> None:
        self._secret = secret
        self._host_at = host_at
        self._ports: dict[PortId, _Port] = {}
        self.contested: set[PortId] = set()

    def port_up(self, port: PortId, now_s: float) -> list[Change]:
        """A port exists and has link, newly or still (a reconnecting switch lists all its ports)."""
        state = self._ports.get(port)
        if state is not None and state.up:
            state.connected = True
            state.missed = 0
            state.next_probe_s = now_s
            return []
        self._ports[port] = _Port(up=True, next_probe_s=now_s)
        return [Change(False, "port-up", f"port {port} is up")]

    def port_down(self, port: PortId) -> list[Change]:
        """A port lost link, or is gone: so is its cable, in both directions."""
        state = self._ports.get(port)
        if state is None or not state.up:
            return []
        self._forget_cable(port)
        self._ports[port] = _Port(up=False)
        self.contested.discard(port)
        return [Change(True, "port-down", f"port {port} is down")]

    def ports_of(self, dpid: int) -> frozenset[int]:
        """Numbers of a switch's known ports."""
        return frozenset(port.port for port in self._ports if port.dpid == dpid)

    def switch_gone(self, dpid: int) -> None:
        """The channel to a switch is lost; its data plane may live, so its cables stay."""
        for port, state in self._ports.items():
            if port.dpid == dpid:
                state.connected = False

    def probes_due(self, now_s: float) -> Iterator[tuple[PortId, bytes]]:
        """Probes to send now, each with the port that sends it."""
        for port, state in self._ports.items():
            if not (state.up and state.connected) or state.next_probe_s > now_s:
                continue
            nonce = secrets.randbits(64)
            state.nonces = {old: at for old, at in state.nonces.items() if now_s - at <= MAX_AGE_S}
            state.nonces[nonce] = now_s
            state.rounds += 1
            state.missed += 1
            state.next_probe_s = now_s + (FIRST_INTERVAL_S if state.rounds <= PROBE_ROUNDS else STEADY_INTERVAL_S)
            probe = Probe(port.dpid, port.port, nonce, int(now_s * 1e9))
            yield port, write_probe(probe, self._secret)

    def lldp_arrived(self, at: PortId, frame: bytes, now_s: float) -> list[Change]:
        """An LLDP frame came in at a port; the change's kind says what it was worth."""
        probe = read_probe(frame, self._secret)
        if probe is None:
            return [Change(False, "lldp-foreign", f"foreign LLDP at port {at} is ignored")]
        sender = PortId(probe.dpid, probe.port)
        sending, receiving = self._ports.get(sender), self._ports.get(at)
        if sending is None or receiving is None or not sending.up or not receiving.up or sender == at:
            return []
        sent_s = sending.nonces.pop(probe.nonce, None)
        if sent_s is None or now_s - sent_s > MAX_AGE_S:
            return [Change(False, "lldp-replayed", f"a probe of {sender} at {at} is old or was seen before")]
        if receiving.role is PortRole.EDGE and self._host_at(at):
            self.contested.add(at)
            return [Change(False, "port-conflict", f"port {at} has a host, and now a probe from {sender}")]
        self.contested.discard(at)
        sending.missed = 0
        known = sending.peer == at and receiving.role is PortRole.FABRIC
        if known:
            return []
        changes = []
        if sending.peer not in (None, at):
            changes.append(Change(True, "link-moved", f"port {sender} now leads to {at}"))
        sending.peer = at
        receiving.role = PortRole.FABRIC
        changes.append(Change(False, "link-seen", f"port {sender} leads to {at}"))
        return changes

    def counters_read(self, port: PortId, rx_packets: int) -> None:
        """The receive counter of a port; a link whose ends still receive is saturated, not lost."""
        state = self._ports.get(port)
        if state is not None:
            state.rx_progress = rx_packets > state.rx_packets
            state.rx_packets = rx_packets

    def tick(self) -> list[Change]:
        """Draw the conclusions that only time allows: edge ports and silent links."""
        changes = []
        for port, state in self._ports.items():
            # One round more than was missed: the last probe may still be on its way.
            if not state.up or state.missed <= PROBE_ROUNDS:
                continue
            if state.role is PortRole.UNKNOWN and state.peer is None:
                state.role = PortRole.EDGE
                changes.append(Change(False, "port-edge", f"port {port} is an edge port"))
            elif state.peer is not None and self._silent(state):
                peer = state.peer
                self._forget_cable(port)
                changes.append(
                    Change(
                        True,
                        "link-silent",
                        f"the link {port} → {peer} answers no probe and carries nothing",
                    )
                )
        return changes

    def _silent(self, state: _Port) -> bool:
        back = self._ports.get(state.peer) if state.peer is not None else None
        if back is None or not (state.connected and back.connected):
            return False
        return back.missed > PROBE_ROUNDS and not state.rx_progress and not back.rx_progress

    def _forget_cable(self, port: PortId) -> None:
        for other, state in self._ports.items():
            if state.peer == port or other == port:
                state.peer = None
                state.role = PortRole.UNKNOWN
                state.rounds = state.missed = 0

    def role(self, port: PortId) -> PortRole:
        """What is known of a port."""
        state = self._ports.get(port)
        return state.role if state is not None else PortRole.UNKNOWN

    def edge_ports(self) -> dict[int, frozenset[int]]:
        """Edge ports with link, by dpid."""
        found: dict[int, set[int]] = {}
        for port, state in self._ports.items():
            if state.up and state.role is PortRole.EDGE:
                found.setdefault(port.dpid, set()).add(port.port)
        return {dpid: frozenset(ports) for dpid, ports in found.items()}

    def cables(self) -> Iterator[tuple[PortId, PortId]]:
        """Directed links seen in both directions, each direction once, in the order of their ports."""
        for port in sorted(self._ports):
            peer = self._ports[port].peer
            if peer is not None and self._ports[peer].peer == port:
                yield port, peer
