"""Whether a switch whose channel is lost is dead: its neighbours send it what its data plane returns.

A channel that is lost says nothing of the data plane, and nobody can ask the switch. So each neighbour's port that
leads to it sends its probes under a label that the switch returns by its own rules (`dataplane.echo`). It counts as
dead when all these ports have lost several in a row, two ports at least where there are so many, and none of them
received anything between two readings of its counter: a saturated link loses probes, but its counter moves, and what
returns one probe in five is alive. A cable for which the switch had no such rules when its channel was lost proves
nothing.

A dead switch carries nothing. It is alive again once its channel is back and its rules were read; until then it may
forward by rules of long ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from controller.ports import Change, PortId, PortState, SwitchState
from controller.probing import Pace, ProbeSchedule
from controller.silence import SilenceWatch

DOUBTED_ROUNDS = 2
LOST_ROUNDS = 4
"""So many lost in a row make a port's counter be read, and one more, since the last may be on its way, is evidence."""
LEAST_PORTS = 2


class Echoes:
    """Looks after the switches whose channel is lost.

    Parameters
    ----------
    ports, switches, schedule, silence
        The live state of discovery.
    name : callable
        Names a switch by its dpid.
    """

    def __init__(
        self,
        ports: Mapping[PortId, PortState],
        switches: Mapping[int, SwitchState],
        schedule: ProbeSchedule,
        silence: SilenceWatch,
        name: Callable[[int], str],
    ) -> None:
        self._ports = ports
        self._switches = switches
        self._schedule = schedule
        self._silence = silence
        self._name = name
        self._doubted: dict[int, None] = {}

    def watch(self, dpid: int, returning: AbstractSet[int], now_s: float) -> None:
        """A switch's channel is lost; at these ports its rules return what neighbours send."""
        self._switches[dpid].returning = frozenset(returning)
        for _, neighbour in self.cables_of(dpid):
            if self.is_asked(neighbour):
                # What was lost before is no evidence: the switch may have stalled.
                self._ports[neighbour].missed = 0
                self._schedule.put(neighbour, Pace.SUSPECT, now_s)

    def is_asked(self, port: PortId) -> bool:
        """Whether what a port sends is to be returned by the switch at its other end."""
        state = self._ports[port]
        if state.peer is None or not self._switches[port.dpid].connected:
            return False
        other = self._switches[state.peer.dpid]
        return not other.connected and state.peer.port in other.returning

    def returned(self, port: PortId) -> None:
        """What a port sent came back: no hurry."""
        self._schedule.set_pace(port, Pace.FABRIC)

    def sent(self, port: PortId, now_s: float) -> None:
        """A port has sent one more; with it ``missed`` have not come back."""
        state = self._ports[port]
        self._silence.probed(port, now_s)
        if state.missed < DOUBTED_ROUNDS or (state.peer is not None and self._switches[state.peer.dpid].dead):
            return
        if port not in self._silence:
            self._silence.doubt(port, now_s)
            self._schedule.put(port, Pace.SUSPECT, now_s)
        if state.peer is not None and state.missed > LOST_ROUNDS:
            self._doubted[state.peer.dpid] = None

    def tick(self) -> list[Change]:
        """Which switches are dead."""
        changes = []
        for dpid in tuple(self._doubted):
            switch = self._switches.get(dpid)
            if switch is None or switch.connected or switch.dead:
                del self._doubted[dpid]
                continue
            returning = [far for near, far in self.cables_of(dpid) if near.port in switch.returning]
            asked = [port for port in returning if self.is_asked(port)]
            lost = [port for port in asked if self._is_lost(port)]
            if asked and len(lost) == len(asked) >= min(LEAST_PORTS, len(returning)):
                switch.dead = True
                message = f"switch {self._name(dpid)} is dead: its channel is lost, and it returns nothing at "
                changes.append(Change(True, "switch-dead", message + ", ".join(map(str, lost[:8]))))
                for port in lost:
                    self._silence.trust(port)
                    self._schedule.set_pace(port, Pace.FABRIC)
        return changes

    def _is_lost(self, port: PortId) -> bool:
        return self._ports[port].missed > LOST_ROUNDS and self._silence.is_still(port)

    def cables_of(self, dpid: int) -> Iterator[tuple[PortId, PortId]]:
        """The ports of a switch that lead to others in both directions, each with the other end."""
        for number, state in self._switches[dpid].ports.items():
            port, peer = PortId(dpid, number), state.peer
            if peer is not None and self._ports[peer].peer == port:
                yield port, peer
