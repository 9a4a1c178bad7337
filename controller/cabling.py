"""Which genuine probes make a link: cables are told from hosts that pass probes on.

What is trusted. Switches are: they say truly by which port a frame came. Hosts are not: they may send anything, pass
on what reaches them, do so together from several ports, be silent for any time, and take their own port down and up. A
host sees no probe but those that leave its own port, so what hosts can pass on are probes between ports that lead to
hosts; probes cannot be made up (signature), changed (signature), used again (nonce) or kept (age).

What follows, in this order; what is refused changes nothing and is told with both ports:

1. A cable that lives is not replaced: one port has one cable, and a copy of its probes elsewhere is no other one. It
   gives way once its own probes fail to arrive, never while the switch at its other end is out of reach, unless that
   one is dead.
2. A port declared to lead to a host is no end of a link. A cable declared to be there is one.
3. A cable that fell silent while both ports kept link is the same cable when it speaks again.
4. A port at which a host was seen is no end of a link until the port has lost link or a switch has connected since:
   putting a cable there does one or the other, a host's silence proves nothing. A host known from earlier, but not
   seen since, is first asked whether it is there.
5. A port that was an edge port for long, with its switch connected, has no cable to another such port, nor to one that
   has just come up at a switch that was connected already: a cable that is put there brings up both ends.

What remains. Without a declaration, hosts that behave like a cable are taken for one where the ports of both have just
come up, or a switch of theirs has just connected. A declaration closes that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.ports import Change, PortId, PortState, SwitchState
from controller.service import PortRole
from topologies.fabric import Fabric, NodeKind

MISSED_ROUNDS = 3
"""So many probes lost in a row may be bad luck; one more, since the last may be on its way, is not."""
SETTLED_S = 10.0
"""An edge port for so long did not become one because its first probes were lost on a busy machine."""

TOGETHER_S = 5.0
"""Ports that a switch has when it connects are told of within this time."""

Declared = Mapping[PortId, PortId | None]


def declared_cabling(fabric: Fabric | None) -> Declared:
    """Where each declared port of a switch leads: to another switch's port, or to a host (None)."""
    if fabric is None:
        return {}
    dpids = {node.id: node.dpid for node in fabric.switches}
    ends: dict[PortId, PortId | None] = {}
    for link in fabric.links:
        source, target = dpids.get(link.source), dpids.get(link.target)
        if source is None:
            continue
        if fabric.node_by_id[link.target].kind is NodeKind.HOST:
            ends[PortId(source, link.source_port)] = None
        elif target is not None:
            ends[PortId(source, link.source_port)] = PortId(target, link.target_port)
    return ends


class Cabling:
    """Judges probes that speak of a link not known yet.

    Parameters
    ----------
    ports, switches : mapping
        The live state of discovery.
    declared : mapping of PortId to PortId or None
        See `declared_cabling`.
    host_seen_s : callable
        When a host was last seen at a port; 0 where one is known but was not seen yet, None where none is known.

    Attributes
    ----------
    contested : set of PortId
        Ports whose hosts are to be asked whether they are there, since a probe came that would make them links.
    """

    def __init__(
        self,
        ports: Mapping[PortId, PortState],
        switches: Mapping[int, SwitchState],
        declared: Declared,
        host_seen_s: Callable[[PortId], float | None],
    ) -> None:
        self._ports = ports
        self._switches = switches
        self._declared = declared
        self._host_seen_s = host_seen_s
        self.contested: set[PortId] = set()

    def refusal(self, sender: PortId, at: PortId, now_s: float) -> Change | None:
        """Why a fresh probe of one port that came in at another makes no link; None where it makes one."""
        for end, claimed in ((sender, at), (at, sender)):
            if (holder := self._living(end, claimed)) is not None:
                return _relayed(sender, at, f"the cable between {end} and {holder} lives; somebody copies probes")
        for end in (sender, at):
            if end in self._declared and self._declared[end] is None:
                return _conflict(
                    sender, at, f"{end} is declared to lead to a host; correct the fabric file if a cable is there"
                )
        sending, receiving = self._ports[sender], self._ports[at]
        if self._declared.get(sender) == at or (sending.former == at and receiving.former == sender):
            return None
        for end in (sender, at):
            if (why := self._host_at(end, sender, at)) is not None:
                return _conflict(sender, at, why)
        for end, other in ((sender, at), (at, sender)):
            if self._settled(end, now_s) and (self._settled(other, now_s) or self._came_up_alone(other)):
                why = f"{end} has been an edge port for long; take both ports down and up if a cable was put there"
                return _relayed(sender, at, why)
        return None

    def _living(self, end: PortId, claimed: PortId) -> PortId | None:
        """The other end of the cable that a port has already, where that is another one than claimed and lives."""
        state = self._ports[end]
        for other, sender in ((state.peer, end), (state.heard_from, state.heard_from)):
            if other is None or sender is None or other == claimed:
                continue
            far = self._switches[other.dpid]
            if self._ports[sender].missed <= MISSED_ROUNDS or not (far.connected or far.dead):
                return other
        return None

    def _host_at(self, end: PortId, sender: PortId, at: PortId) -> str | None:
        """What speaks for a host at a port and against a link."""
        state = self._ports[end]
        seen_s = self._host_seen_s(end) if state.role is PortRole.EDGE else None
        if seen_s is None:
            return None
        changed_s = max(state.since_s, *(self._switches[port.dpid].connected_s for port in (sender, at)))
        if seen_s > 0 and seen_s >= changed_s:
            self.contested.discard(end)
            return f"{end} has a host; take that port down and up if a cable was put there instead"
        self.contested.add(end)
        return f"{end} has a host, which is asked whether it is still there"

    def _settled(self, port: PortId, now_s: float) -> bool:
        state = self._ports[port]
        if state.role is not PortRole.EDGE:
            return False
        return now_s - max(state.edge_since_s, self._switches[port.dpid].connected_s) > SETTLED_S

    def _came_up_alone(self, port: PortId) -> bool:
        """Whether a port came up while its switch was connected: a cable would have brought up its other end too."""
        return self._ports[port].since_s - self._switches[port.dpid].connected_s > TOGETHER_S


def _relayed(sender: PortId, at: PortId, why: str) -> Change:
    return Change(False, "lldp-relayed", f"a probe of port {sender} came in at port {at} and makes no link: {why}", at)


def _conflict(sender: PortId, at: PortId, why: str) -> Change:
    return Change(False, "port-conflict", f"a probe of port {sender} came in at port {at} and makes no link: {why}", at)
