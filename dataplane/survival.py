"""What becomes of packets while one cable is down, looked at from the switches that lose it.

Packets that do not meet the cable go as before, so only those are followed that would take it, from the switch where
their fallback begins: until they come to where default routing was proved and does not lead to the cable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from dataplane.fates import IN_PORT, SAME_LABEL, Fate, Unreadable
from dataplane.reading import Entry, SwitchReading
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_MPLS, Table
from dataplane.unlabelled import Unlabelled
from dataplane.wiring import Cable


class Crossing(NamedTuple):
    """Packets that some actions of a switch send into a link.

    Attributes
    ----------
    doing : int
        The actions' number among the switch's `Fates`.
    label : int or None
        That the packets come with.
    """

    switch: int
    in_port: int
    doing: int
    label: int | None


class LabelGuard:
    """Which links lead to switches that forward labelled packets from there."""

    def __init__(self, default: Unlabelled, readings: Sequence[SwitchReading]) -> None:
        self._default = default
        self._readings = readings
        self._admitted: dict[int, bool] = {}

    def admits(self, link: int) -> bool:
        """Whether labelled packets that a link carries are looked up by their label."""
        if link not in self._admitted:
            wiring = self._default.wiring
            reading = self._readings[wiring.target[link]]
            table = reading.admitted(wiring.in_port[link], ETH_TYPE_MPLS, None)
            if table not in (Table.TRANSIT, None):
                raise Unreadable(f"{reading.pipeline.name} looks up labels in table {table.name}")
            self._admitted[link] = table is Table.TRANSIT
        return self._admitted[link]


class Outage:
    """One cable that is down.

    Attributes
    ----------
    doubtful : int
        Destinations for which something was found that is not proved to be right.
    labels : set of int
        That were looked up under way: what was found holds while switches do the same with them.
    """

    def __init__(self, default: Unlabelled, readings: Sequence[SwitchReading], guard: LabelGuard, cable: Cable) -> None:
        wiring = default.wiring
        self._default = default
        self._wiring = wiring
        self._readings = readings
        self._guard = guard
        self._cable = cable
        self._dead = {wiring.source[link]: wiring.port[link] for link in cable}
        self._done: dict[tuple[int, int | None], int] = {}
        self._on_way: dict[tuple[int, int | None], int] = {}
        self._entering: Sequence[Mapping[int, int]] | None = None
        self._crossed: dict[Crossing, int] = {}
        self.doubtful = 0
        self.labels: set[int] = set()

    def fall_back_unlabelled(self, entering: Sequence[Mapping[int, int]]) -> None:
        """Follow what default routing sends into the cable.

        Parameters
        ----------
        entering : sequence of mapping of int to int
            By switch and port, the destinations of packets that come in.
        """
        if entering is self._entering:
            return
        self._entering = entering
        for switch, dead in self._dead.items():
            used = self._default.uses[switch].get(dead, 0)
            special = self._default.special[switch]
            routes = self._default.routes[switch]
            general = [entry for entry in routes.general if entry.atoms & used]
            for port, atoms in entering[switch].items():
                own = special.get(port, 0)
                if own & used & atoms:
                    for entry in routes.by_port[port]:
                        self._fall_back(switch, port, entry, entry.atoms & atoms, dead)
            together = 0
            back: dict[int, int] = {}
            for port, atoms in entering[switch].items():
                part = atoms & used & ~special.get(port, 0)
                if part:
                    back[port] = part
                    together |= part
            for entry in general:
                hit = entry.atoms & together
                if hit:
                    self._fall_back(switch, IN_PORT, entry, hit, dead, back)

    def _fall_back(
        self, switch: int, in_port: int, entry: Entry, atoms: int, dead: int, back: Mapping[int, int] | None = None
    ) -> None:
        if not atoms:
            return
        reading = self._readings[switch]
        if all(port != dead for port, _ in reading.fates.of(entry.doing, entry.eth_type, labelled=False).outs):
            return
        fate = reading.fates.of(entry.doing, entry.eth_type, labelled=False, dead=dead)
        for port, _ in fate.outs:
            # A switch does not send out of the port by which a packet came in.
            if back is not None and back.get(port, 0) & atoms:
                self._doubt(switch, back[port] & atoms)
        self._go_on(switch, in_port, fate, None, atoms)

    def fall_back_labelled(self, crossings: Iterable[tuple[Crossing, int]]) -> None:
        """Follow what planned paths send into the cable."""
        for crossing, atoms in crossings:
            atoms &= ~self._crossed.get(crossing, 0)
            if not atoms:
                continue
            self._crossed[crossing] = self._crossed.get(crossing, 0) | atoms
            switch, in_port, doing, label = crossing
            dead = self._dead.get(switch, 0)
            fate = self._readings[switch].fates.of(doing, ETH_TYPE_IPV4, labelled=label is not None, dead=dead)
            self._go_on(switch, in_port, fate, label, atoms)

    def _go_on(self, switch: int, in_port: int, fate: Fate, label: int | None, atoms: int) -> None:
        """Follow everything that some actions may do with packets for some destinations."""
        if not fate.makes_sense:
            self.doubtful |= atoms
        if not fate.is_one:
            self._doubt(switch, atoms)
        for out, new_label in fate.outs:
            port = in_port if out == IN_PORT else out
            link = self._wiring.link_at[switch].get(port)
            leads_nowhere = link is None and port not in self._wiring.host_at[switch]
            if leads_nowhere or self._dead.get(switch) == port or (out == in_port and out != IN_PORT):
                self._doubt(switch, atoms)
            elif link is not None:
                self._arrive(link, label if new_label == SAME_LABEL else new_label, atoms)
            else:
                right = self._default.of_host.get(self._wiring.host_at[switch][port], 0)
                self._doubt(switch, atoms if new_label is not None else atoms & ~right)

    def _arrive(self, link: int, label: int | None, atoms: int) -> None:
        if label is None:
            atoms &= ~self._untouched(link, atoms)
        key = (link, label)
        atoms &= ~self._done.get(key, 0)
        looping = atoms & self._on_way.get(key, 0)
        if looping:
            self.doubtful |= self._connected_part(self._wiring.target[link], looping)
            self.doubtful |= looping & ~self._default.must[self._wiring.target[link]]
            atoms ^= looping
        if not atoms:
            return
        self._on_way[key] = self._on_way.get(key, 0) | atoms
        if label is None:
            self._look_up_address(link, atoms)
        else:
            self._look_up_label(link, label, atoms)
        self._on_way[key] ^= atoms
        self._done[key] = self._done.get(key, 0) | atoms

    def _look_up_address(self, link: int, atoms: int) -> None:
        switch, in_port = self._wiring.target[link], self._wiring.in_port[link]
        admitted = self._default.admitted[link]
        self._doubt(switch, atoms & ~admitted)
        atoms &= admitted
        routes, own = self._default.routes[switch], self._default.special[switch].get(in_port, 0)
        for entries, part in ((routes.by_port.get(in_port, ()), atoms & own), (routes.general, atoms & ~own)):
            for entry in entries if part else ():
                if entry.atoms & part:
                    dead = self._dead.get(switch, 0)
                    fate = self._readings[switch].fates.of(entry.doing, entry.eth_type, labelled=False, dead=dead)
                    self._go_on(switch, in_port, fate, None, entry.atoms & part)

    def _look_up_label(self, link: int, label: int, atoms: int) -> None:
        switch, in_port = self._wiring.target[link], self._wiring.in_port[link]
        if not self._guard.admits(link):
            self._doubt(switch, atoms)
            return
        self.labels.add(label)
        reading = self._readings[switch]
        doing = reading.switched(label, in_port)
        for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP):
            part = atoms & self._default.space.all_of(eth_type)
            if part:
                fate = reading.fates.of(doing, eth_type, labelled=True, dead=self._dead.get(switch, 0))
                self._go_on(switch, in_port, fate, label, part)

    def _untouched(self, link: int, atoms: int) -> int:
        """What goes on as if nothing had failed, since from there it never comes to the cable.

        Whatever is proved in some round goes only to switches where it was proved in an earlier one.
        """
        default, here = self._default, self._wiring.target[link]
        atoms &= default.arrives[link]
        for switch, dead in self._dead.items():
            risky = atoms & default.uses[switch].get(dead, 0)
            if not risky:
                continue
            if here == switch or default.is_uneven[here] or default.is_uneven[switch]:
                atoms ^= risky
                continue
            for proved in default.rounds:
                atoms &= ~(risky & proved[switch] & ~proved[here])
        return atoms

    def _doubt(self, switch: int, atoms: int) -> None:
        """Packets are lost, which is wrong where the fabric still connects the switch with the host that they mean."""
        wanted = atoms & self._default.must[switch]
        if wanted:
            self.doubtful |= self._connected_part(switch, wanted)

    def _connected_part(self, switch: int, atoms: int) -> int:
        return atoms & self.connected[switch]

    @cached_property
    def connected(self) -> list[int]:
        """By switch, the hosts that it still reaches."""
        return self._default.connected(self._wiring.reached_without(frozenset(self._cable)))

    @property
    def has_lost(self) -> bool:
        """Whether any packets were lost, so that it had to be known who is still connected."""
        return "connected" in self.__dict__
