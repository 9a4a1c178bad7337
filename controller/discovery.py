"""Which port leads where: a state machine fed with port events, probes that arrive, counters and time.

It sends nothing and reads no clock: `probes_due` and `readings_due` say what to send and to ask, every call takes the
time. Which probes make links is `controller.cabling`'s to judge.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from controller.cabling import MISSED_ROUNDS, Cabling, Declared
from controller.damping import Cable, cable_between
from controller.echoes import Echoes
from controller.lldp import Probe, claims_to_be_a_probe, read_probe, sender_of, write_probe
from controller.ports import Change, PortId, PortState, SwitchState
from controller.probing import Pace, ProbeSchedule
from controller.service import PortRole, Probing
from controller.silence import SilenceWatch
from dataplane.echo import echo_frame

__all__ = ["MAX_AGE_S", "PROBE_ROUNDS", "Change", "Discovery", "PortId"]

PROBE_ROUNDS = MISSED_ROUNDS
"""Rounds without an answer after which a port counts as an edge, or a silent link as lost."""
MAX_AGE_S = 1.0
"""A probe that took longer was held back or replayed."""
ANSWER_S = 0.25
"""A port that is declared to lead to a host is presumed to be an edge port once its first probe has stayed without an
answer for so long; until its rounds are over, a probe of a switch takes that back."""
SUSPECT_ROUNDS = 2
"""So many probes lost in both directions make a link suspect: its counters are read."""
FOREIGN_QUIET_S = 3600.0
"""What a port's neighbour says of itself is told once in this time."""
_MAX_NONCES = 8
# Of one clock, but written in whole nanoseconds.
_CLOCK_GRAIN_S = 1e-6


class Discovery:
    """Ports, their roles, and the cables between them.

    Parameters
    ----------
    secret : bytes
        Key of the probes' signature.
    host_seen_s : callable
        When a host was last seen at a port; 0 where one is known but was not seen yet, None where none is known.
    declared : mapping of PortId to PortId or None, optional
        Where ports are declared to lead, see `controller.cabling.declared_cabling`.
    name : callable, optional
        Names a switch by its dpid.

    Attributes
    ----------
    contested : set of PortId
        Ports whose hosts are to be asked whether they are there.
    lost : list of Cable
        Cables that were known in both directions and are no more, in this order; whoever has read it empties it.
    """

    def __init__(
        self,
        secret: bytes,
        host_seen_s: Callable[[PortId], float | None],
        declared: Declared | None = None,
        name: Callable[[int], str] = "{:016x}".format,
    ) -> None:
        self._secret = secret
        self._ports: dict[PortId, PortState] = {}
        self._switches: dict[int, SwitchState] = {}
        self._schedule = ProbeSchedule()
        self._silence = SilenceWatch()
        self._echoes = Echoes(self._ports, self._switches, self._schedule, self._silence, name)
        self._name = name
        self._declared = declared or {}
        self._cabling = Cabling(self._ports, self._switches, self._declared, host_seen_s)
        self._host_seen_s = host_seen_s
        # By dpid, so that nobody has to look at all ports: those with a cable, and those that are edges.
        self._linked: dict[int, set[int]] = {}
        self._edges: dict[int, set[int]] = {}
        self._edges_out: dict[int, frozenset[int]] = {}
        # Ports that have missed enough for a conclusion.
        self._overdue: dict[PortId, None] = {}
        # Ports declared to lead to hosts whose first probe is out, and until when it may come in elsewhere; in order.
        self._answers_by_s: dict[PortId, float] = {}
        self.contested = self._cabling.contested
        self.lost: list[Cable] = []

    # ── ports and switches ───────────────────────────────────────────────────────────────────────

    def port_up(self, port: PortId, now_s: float) -> list[Change]:
        """A port exists and has link, newly or still (a reconnecting switch lists all its ports)."""
        switch = self._switches.setdefault(port.dpid, SwitchState())
        changes = []
        if not switch.connected:
            switch.connected, switch.connected_s = True, now_s
            changes = self._revived(port.dpid, switch, now_s)
        state = self._ports.get(port)
        if state is not None and state.up:
            if not state.listed:
                # What was lost while nobody could hear it is no evidence.
                state.listed, state.missed = True, 0
                self._overdue.pop(port, None)
                is_edge = state.role is PortRole.EDGE and state.peer is None
                self._schedule.put(port, Pace.EDGE if is_edge else Pace.FABRIC, now_s)
            return changes
        self._ports[port] = switch.ports[port.port] = PortState(True, since_s=now_s)
        self._schedule.put(port, Pace.FABRIC, now_s)
        return [*changes, Change(False, "port-up", f"port {port} is up")]

    def _revived(self, dpid: int, switch: SwitchState, now_s: float) -> list[Change]:
        """A switch is connected again: one that was dead may have come back with other cables."""
        if not switch.dead:
            return []
        switch.dead = False
        for port, peer in tuple(self._echoes.cables_of(dpid)):
            self._forget_cable(port)
            self._ports[port].former, self._ports[peer].former = peer, port
            # At once, not when it is its turn: the switch carries nothing before both ends were heard.
            if self._speaks(peer):
                self._schedule.drop(peer)
                self._schedule.put(peer, Pace.FABRIC, now_s)
        return [Change(False, "switch-alive", f"switch {self._name(dpid)} is back")]

    def port_down(self, port: PortId) -> list[Change]:
        """A port lost link, or is gone: so is its cable, in both directions."""
        state = self._ports.get(port)
        if state is None or not state.up:
            return []
        # Nobody misses a port behind which nothing was known.
        lost = self._forget_cable(port) or self._host_seen_s(port) is not None
        self._set_role(port, state, PortRole.UNKNOWN)
        self._ports[port] = self._switches[port.dpid].ports[port.port] = PortState(False)
        self._schedule.drop(port)
        self._overdue.pop(port, None)
        self._answers_by_s.pop(port, None)
        self.contested.discard(port)
        return [Change(lost, "port-down", f"port {port} is down")]

    def port_gone(self, port: PortId) -> list[Change]:
        """A port is no more: nothing is kept of it."""
        changes = self.port_down(port)
        if self._ports.pop(port, None) is not None:
            del self._switches[port.dpid].ports[port.port]
        return changes

    def forget_switch(self, dpid: int, most: int | None = None) -> list[PortId]:
        """A switch is gone for good, and its ports with it; which were forgotten.

        Parameters
        ----------
        most : int or None
            Ports to forget now; to be called again while `port_count` finds more.
        """
        switch = self._switches.get(dpid)
        if switch is None:
            return []
        ports = [PortId(dpid, number) for number in itertools.islice(switch.ports, most)]
        for port in ports:
            self.port_gone(port)
        if not switch.ports:
            del self._switches[dpid]
        return ports

    def is_linked_to_connected(self, dpid: int) -> bool:
        """Whether a cable is known between a switch and one whose channel lives, which would tell of its end."""
        for number in self._linked.get(dpid, ()):
            state = self._ports[PortId(dpid, number)]
            if any(end is not None and self._speaks(end) for end in (state.peer, state.heard_from)):
                return True
        return False

    def port_count(self, dpid: int) -> int:
        """How many ports of a switch are known."""
        switch = self._switches.get(dpid)
        return len(switch.ports) if switch is not None else 0

    def ports_of(self, dpid: int) -> frozenset[int]:
        """Numbers of a switch's known ports."""
        switch = self._switches.get(dpid)
        return frozenset(switch.ports) if switch is not None else frozenset()

    def switch_gone(self, dpid: int) -> None:
        """The channel to a switch is lost; its data plane may live, so its cables stay."""
        switch = self._switches.get(dpid)
        if switch is None:
            return
        switch.connected = False
        for number, state in switch.ports.items():
            port = PortId(dpid, number)
            state.listed = False
            self._trust(port, state)
            self._schedule.drop(port)
            self._answers_by_s.pop(port, None)

    def ask_neighbours(self, dpid: int, returning: AbstractSet[int], now_s: float) -> None:
        """See whether a switch whose channel is lost lives: at these ports its rules return what neighbours send."""
        if dpid in self._switches:
            self._echoes.watch(dpid, returning, now_s)

    # ── probes ───────────────────────────────────────────────────────────────────────────────────

    def probes_due(self, now_s: float) -> list[tuple[PortId, bytes]]:
        """Probes to send now, each with the port that sends it."""
        return [(port, self._probe(port, self._ports[port], now_s)) for port in self._schedule.take(now_s)]

    def _probe(self, port: PortId, state: PortState, now_s: float) -> bytes:
        nonce = secrets.randbits(64)
        state.nonces = {old: at_s for old, at_s in state.nonces.items() if now_s - at_s <= MAX_AGE_S}
        if len(state.nonces) >= _MAX_NONCES:
            del state.nonces[next(iter(state.nonces))]
        state.nonces[nonce] = now_s
        state.missed += 1
        if self._leads_to_host(port) and state.role is PortRole.UNKNOWN and not state.miscabled:
            self._answers_by_s.setdefault(port, now_s + ANSWER_S)
        if echo := self._echoes.is_asked(port):
            self._echoes.sent(port, now_s)
        elif state.peer is not None:
            self._silence.probed(state.peer, now_s)
            self._doubt(port, state, state.peer, now_s)
        if state.missed > PROBE_ROUNDS and (
            state.peer is not None or state.role is PortRole.UNKNOWN or state.presumed
        ):  # fmt: skip
            self._overdue[port] = None
        frame = write_probe(Probe(port.dpid, port.port, nonce, int(now_s * 1e9)), self._secret)
        return echo_frame(frame) if echo else frame

    def lldp_arrived(self, at: PortId, frame: bytes, now_s: float) -> list[Change]:
        """An LLDP frame came in at a port; the change's kind says what it was worth."""
        probe = read_probe(frame, self._secret)
        if probe is None:
            return [self._unsigned(at, frame, now_s)]
        sender = PortId(probe.dpid, probe.port)
        sent_s = probe.sent_ns / 1e9
        if not -_CLOCK_GRAIN_S <= now_s - sent_s <= MAX_AGE_S:
            message = f"a probe of port {sender} came in at port {at} more than {MAX_AGE_S:g} s after it was sent: "
            return [Change(False, "lldp-replayed", message + "somebody kept it, or this daemon was busy", at)]
        if sender == at:
            state = self._ports.get(at)
            if state is not None and probe.nonce in state.nonces and self._echoes.is_asked(at):
                self._confirm(at, state, probe.nonce)
                self._echoes.returned(at)
            return [Change(False, "lldp-returned", "", at)]
        sending, receiving = self._ports.get(sender), self._ports.get(at)
        if not (self._speaks(sender) and self._speaks(at)) or sending is None or receiving is None:
            return [Change(False, "lldp-stale", "", at)]
        if probe.nonce not in sending.nonces:
            if sent_s < sending.since_s:
                return [Change(False, "lldp-stale", "", at)]
            message = f"a probe of port {sender} came in at port {at} after it had been seen: somebody repeats it"
            return [Change(False, "lldp-replayed", message, at)]
        if sending.peer == at:
            self._confirm(sender, sending, probe.nonce)
            return []
        refusal = self._cabling.refusal(sender, at, now_s)
        if refusal is not None:
            # Its nonce stays good: the probe that this one is a copy of may be on its way to where it belongs.
            return [refusal, *self._doubt_declared(sender, at)]
        changes = []
        # Both, so no short cut.
        if self._forget_cable(sender, but=(sender, at)) | self._forget_cable(at, but=(sender, at)):
            changes.append(Change(True, "link-moved", f"port {sender} now leads to {at}", sender))
        sending.peer, receiving.heard_from = at, sender
        sending.former = receiving.former = None
        self._set_role(at, receiving, PortRole.FABRIC)
        for end in (sender, at):
            self._linked.setdefault(end.dpid, set()).add(end.port)
        self.contested -= {sender, at}
        for end in (sender, at):
            self._schedule.put(end, Pace.FABRIC, now_s)
        if receiving.peer is None:
            # What it sent before may have come too early for the other end; a link needs both.
            self._schedule.put_first(at, now_s)
        self._confirm(sender, sending, probe.nonce)
        changes.append(Change(False, "link-seen", f"port {sender} leads to {at}"))
        return changes

    def _leads_to_host(self, port: PortId) -> bool:
        return port in self._declared and self._declared[port] is None

    def _doubt_declared(self, sender: PortId, at: PortId) -> list[Change]:
        """Probes of a switch speak against ports that are presumed to lead to hosts: they are unknown, and told."""
        changes = []
        for port, other in ((sender, at), (at, sender)):
            state = self._ports[port]
            if not self._leads_to_host(port) or not (state.presumed or state.role is PortRole.UNKNOWN):
                continue
            self._answers_by_s.pop(port, None)
            self._overdue.pop(port, None)
            if not state.miscabled:
                message = f"port {port} is declared to lead to a host, and hears port {other} or is heard there"
                changes.append(Change(state.presumed, "miscabled", message, port))
            state.missed, state.miscabled, state.presumed = 0, True, False
            self._set_role(port, state, PortRole.UNKNOWN)
        return changes

    def _speaks(self, port: PortId) -> bool:
        state = self._ports.get(port)
        return state is not None and state.up and self._switches[port.dpid].connected

    def _confirm(self, sender: PortId, sending: PortState, nonce: int) -> None:
        del sending.nonces[nonce]
        sending.missed = 0
        self._overdue.pop(sender, None)
        self._trust(sender, sending)

    def _unsigned(self, at: PortId, frame: bytes, now_s: float) -> Change:
        if claims_to_be_a_probe(frame):
            message = f"LLDP that poses as a probe of this daemon came in at port {at} without its signature"
            return Change(False, "lldp-forged", message + ": it is forged, or another Heddle sends it", at)
        state, message = self._ports.get(at), ""
        if state is not None and state.role is PortRole.EDGE:
            said_s = state.foreign_said_s
            if said_s is None or now_s - said_s >= FOREIGN_QUIET_S:
                state.foreign_said_s = now_s
                name = sender_of(frame)
                message = f"port {at} receives LLDP of {repr(name) if name else 'somebody'}, which makes no link"
        return Change(False, "lldp-foreign", message, at)

    # ── silence ──────────────────────────────────────────────────────────────────────────────────

    def readings_due(self, now_s: float) -> Mapping[int, list[int]]:
        """Ports, by dpid, whose receive counters are to be read at once, since their links are suspect."""
        due: dict[int, list[int]] = {}
        for port in self._silence.readings_due(now_s):
            due.setdefault(port.dpid, []).append(port.port)
        return due

    def counters_read(self, port: PortId, rx_packets: int, asked_s: float, now_s: float) -> None:
        """The receive counter of a port, as its switch answered a question of `readings_due`."""
        self._silence.read(port, rx_packets, asked_s, now_s)

    def _doubt(self, port: PortId, state: PortState, peer: PortId, now_s: float) -> None:
        back = self._ports[peer]
        if min(state.missed, back.missed) < SUSPECT_ROUNDS or port in self._silence:
            return
        if self._switches[port.dpid].connected and self._switches[peer.dpid].connected:
            for end in (port, peer):
                self._silence.doubt(end, now_s)
                self._schedule.put(end, Pace.SUSPECT, now_s)

    def _trust(self, port: PortId, state: PortState) -> None:
        """A port's link is not suspect: a probe crossed it, or nobody can tell."""
        for end in (port, state.peer, state.heard_from):
            if end is not None and end in self._silence:
                self._silence.trust(end)
                self._schedule.set_pace(end, Pace.FABRIC)

    def _is_silent(self, port: PortId, state: PortState) -> bool:
        peer = state.peer
        if peer is None or min(state.missed, self._ports[peer].missed) <= PROBE_ROUNDS:
            return False
        return self._silence.is_still(port) and self._silence.is_still(peer)

    def tick(self, now_s: float) -> list[Change]:
        """Draw the conclusions that only time allows: edge ports and silent links."""
        changes = []
        while self._answers_by_s and now_s >= next(iter(self._answers_by_s.values())):
            port = next(iter(self._answers_by_s))
            del self._answers_by_s[port]
            self._ports[port].presumed = True
            changes.append(self._is_edge(port, self._ports[port], now_s))
        for port in tuple(self._overdue):
            state = self._ports[port]
            if port not in self._overdue:
                continue
            if state.presumed or (state.role is PortRole.UNKNOWN and state.peer is None):
                if not state.presumed:
                    changes.append(self._is_edge(port, state, now_s))
                state.presumed = state.miscabled = False
                self._schedule.set_pace(port, Pace.EDGE)
                del self._overdue[port]
            elif state.peer is not None and self._is_silent(port, state):
                peer = state.peer
                self._forget_cable(port)
                state.former, self._ports[peer].former = peer, port
                message = f"the link {port} → {peer} answers no probe and carries nothing"
                changes.append(Change(True, "link-silent", message))
        changes += self._echoes.tick()
        if (news := self._schedule.news(now_s)) is not None:
            changes.append(Change(False, "probing", news))
        return changes

    def _is_edge(self, port: PortId, state: PortState, now_s: float) -> Change:
        self._set_role(port, state, PortRole.EDGE)
        state.edge_since_s = now_s
        return Change(False, "port-edge", f"port {port} is an edge port")

    # ── cables ───────────────────────────────────────────────────────────────────────────────────

    def _forget_cable(self, port: PortId, but: tuple[PortId, ...] = ()) -> bool:
        """Forget where a port leads and what leads to it, but for one cable; whether there was something to forget."""
        state = self._ports[port]
        forgotten = False
        if state.peer is not None and state.peer not in but:
            self._unlink(port, state.peer)
            forgotten = True
        if state.heard_from is not None and state.heard_from not in but:
            self._unlink(state.heard_from, port)
            forgotten = True
        return forgotten

    def _unlink(self, sender: PortId, at: PortId) -> None:
        sending, receiving = self._ports[sender], self._ports[at]
        if receiving.peer == sender:
            self.lost.append(cable_between(sender, at))
        self._trust(sender, sending)
        sending.peer = receiving.heard_from = None
        self._set_role(at, receiving, PortRole.UNKNOWN)
        for end, state in ((sender, sending), (at, receiving)):
            if state.peer is None and state.heard_from is None:
                _discard(self._linked, end)
            state.missed = 0
            self._overdue.pop(end, None)
            self._schedule.set_pace(end, Pace.FABRIC)

    def _set_role(self, port: PortId, state: PortState, role: PortRole) -> None:
        if PortRole.EDGE in (state.role, role):
            self._edges_out.pop(port.dpid, None)
            if role is PortRole.EDGE:
                self._edges.setdefault(port.dpid, set()).add(port.port)
            else:
                _discard(self._edges, port)
        state.role = role

    def role(self, port: PortId) -> PortRole:
        """What is known of a port."""
        state = self._ports.get(port)
        return state.role if state is not None else PortRole.UNKNOWN

    def probing(self) -> Probing:
        """How often ports are probed, and how soon a silent link is noticed."""
        return self._schedule.probing()

    def edge_ports(self) -> dict[int, frozenset[int]]:
        """Edge ports with link, by dpid."""
        for dpid, ports in self._edges.items():
            if dpid not in self._edges_out:
                self._edges_out[dpid] = frozenset(ports)
        return dict(self._edges_out)

    def cables(self) -> Iterator[tuple[PortId, PortId]]:
        """Directed links seen in both directions, but those of dead switches; in the order of their ports."""
        for port in sorted(PortId(dpid, number) for dpid, ports in self._linked.items() for number in ports):
            peer = self._ports[port].peer
            dead = peer is not None and (self._switches[port.dpid].dead or self._switches[peer.dpid].dead)
            if peer is not None and self._ports[peer].peer == port and not dead:
                yield port, peer


def _discard(ports: dict[int, set[int]], port: PortId) -> None:
    of_switch = ports.get(port.dpid)
    if of_switch is not None:
        of_switch.discard(port.port)
        if not of_switch:
            del ports[port.dpid]
