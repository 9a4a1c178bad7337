"""Default routing without failure, proved for all destinations at once.

Each round proves of a switch the destinations of which all that it may do was proved in the round before; so what is
proved in a later round only ever goes to what was proved in an earlier one, and nothing that is proved can loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dataplane.addresses import AddressSpace
from dataplane.fates import IN_PORT, Fate, Unreadable
from dataplane.reading import Entry, SwitchReading
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4, Table
from dataplane.wiring import Wiring


class _Step(NamedTuple):
    """Destinations that a switch sends into some links, and is right to."""

    atoms: int
    links: tuple[int, ...]


class Unlabelled:
    """What becomes of unlabelled packets, by switches and links.

    Attributes
    ----------
    of_host : dict of str to int
        The destinations that mean each attached host.
    must : list of int
        By switch: what has to arrive from there, since it means a host that the fabric connects it to.
    admitted : list of int
        By link: what the switch behind it looks up in its default table.
    routes : list of Routes
        By switch.
    special : list of dict of int to int
        By switch and port: destinations that have entries of their own there.
    uses : list of dict of int to int
        By switch and port: what may leave by it.
    arrives : list of int
        By link: what is proved to arrive once it is on it, or to end without a loop if nothing has to become of it.
    rounds : list of list of int
        By round and switch: what was proved by then, whatever port it comes in by.
    is_uneven : list of bool
        By switch: whether where packets come in decides where they go, failures aside.
    """

    def __init__(self, wiring: Wiring, readings: Sequence[SwitchReading], space: AddressSpace) -> None:
        self.wiring = wiring
        self.space = space
        self.of_host = {one.host.id: space.both(one.host.ip or "") for one in wiring.attached}
        self._readings = readings
        self.must = self.connected(wiring.reached)
        self.routes = [reading.routes(space) for reading in readings]
        self.special = [{port: _union(entries) for port, entries in routes.by_port.items()} for routes in self.routes]
        self.admitted = [self.admits(link) for link in range(len(wiring.links))]
        count = len(readings)
        self._general: list[dict[int, int]] = [{} for _ in range(count)]
        self._only: list[dict[int, int]] = [{} for _ in range(count)]
        self._steps = [self._steps_of(switch) for switch in range(count)]
        self.uses = [dict(uses) for uses in self._general]
        self._own: dict[tuple[int, int], tuple[int, list[_Step]]] = {}
        self._find_own_steps()
        self.is_uneven = [False] * count
        for switch, _ in self._own:
            self.is_uneven[switch] = True
        self._prove()

    def connected(self, reached: Sequence[int]) -> list[int]:
        """By switch, the destinations that mean hosts which it reaches."""
        at = [0] * len(reached)
        for switch, hosts in enumerate(self.wiring.host_at):
            for host in hosts.values():
                at[switch] |= self.of_host.get(host, 0)
        known: dict[int, int] = {}
        for switches in reached:
            if switches not in known:
                known[switches] = 0
                for switch, atoms in enumerate(at):
                    if switches >> switch & 1:
                        known[switches] |= atoms
        return [known[switches] for switches in reached]

    def admits(self, link: int) -> int:
        """What the switch behind a link looks up in its default table."""
        reading, in_port = self._readings[self.wiring.target[link]], self.wiring.in_port[link]
        admitted = 0
        for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP):
            table = reading.admitted(in_port, eth_type, None)
            if table is Table.DEFAULT:
                admitted |= self.space.all_of(eth_type)
            elif table is not None:
                raise Unreadable(f"{reading.pipeline.name} looks up what comes from switches in table {table.name}")
        return admitted

    def _steps_of(self, switch: int) -> list[_Step]:
        steps = []
        for entry in self.routes[switch].general:
            fate = self._readings[switch].fates.of(entry.doing, entry.eth_type, labelled=False)
            if any(port == IN_PORT for port, _ in fate.outs):
                raise Unreadable(f"{self.wiring.names[switch]} sends back by default, wherever packets come from")
            steps.append(self._step(switch, entry, fate))
            for port, _ in fate.outs:
                self._general[switch][port] = self._general[switch].get(port, 0) | entry.atoms
            if len(fate.outs) == 1:
                port = fate.outs[0][0]
                self._only[switch][port] = self._only[switch].get(port, 0) | entry.atoms
        return steps

    def _step(self, switch: int, entry: Entry, fate: Fate) -> _Step:
        """What is right of an entry, and the links that it takes; what may be lost is right for nobody's addresses."""
        loose = ~self.must[switch]
        right = entry.atoms if fate.is_one else entry.atoms & loose if fate.makes_sense else 0
        links = []
        for port, label in fate.outs:
            if label is not None:
                raise Unreadable(f"{self.wiring.names[switch]} labels packets by default while nothing has failed")
            if port in self.wiring.link_at[switch]:
                links.append(self.wiring.link_at[switch][port])
            else:
                right &= self.of_host.get(self.wiring.host_at[switch].get(port, ""), 0) | loose
        return _Step(right, tuple(links))

    def _find_own_steps(self) -> None:
        """Entries for one port that do otherwise than the general ones while nothing has failed."""
        for switch, routes in enumerate(self.routes):
            reading = self._readings[switch]
            for port, entries in routes.by_port.items():
                steps, other = [], 0
                for entry in entries:
                    fate = _seen_from(port, reading.fates.of(entry.doing, entry.eth_type, labelled=False))
                    alike = 0
                    for one in routes.general:
                        if one.atoms & entry.atoms and one.eth_type == entry.eth_type:
                            general = reading.fates.of(one.doing, one.eth_type, labelled=False)
                            turns_back = any(out == port for out, _ in general.outs)
                            if not turns_back and _seen_from(port, general) == fate:
                                alike |= one.atoms
                    differs = entry.atoms & ~alike
                    if differs:
                        steps.append(self._step(switch, entry._replace(atoms=differs), fate))
                        other |= differs
                    for out, _ in fate.outs:
                        self.uses[switch][out] = self.uses[switch].get(out, 0) | entry.atoms
                if other:
                    self._own[switch, port] = (other, steps)

    def turned_back(self, switch: int, port: int) -> tuple[int, int]:
        """What would leave by the port by which it came in, and the part of it that has no other way; it is dropped."""
        general = ~self.special[switch].get(port, 0)
        return self._general[switch].get(port, 0) & general, self._only[switch].get(port, 0) & general

    def _prove(self) -> None:
        wiring = self.wiring
        everything = self.space.everything
        passes, ends = [], []
        for link, target in enumerate(wiring.target):
            back, only = self.turned_back(target, wiring.in_port[link])
            passes.append(self.admitted[link] & ~back)
            ends.append((~self.admitted[link] | only) & everything & ~self.must[target])
        self.passes = passes
        proved = [0] * len(wiring.names)
        own = dict.fromkeys(self._own, 0)
        self.arrives = list(ends)
        self.rounds: list[list[int]] = []
        stale = set(range(len(wiring.names)))
        while stale:
            following, following_own = list(proved), dict(own)
            for switch in stale:
                following[switch] = self._proved_by(self._steps[switch])
            for key, (_, steps) in self._own.items():
                if key[0] in stale:
                    following_own[key] = self._proved_by(steps)
            changed = {switch for switch in stale if following[switch] != proved[switch]}
            changed |= {key[0] for key in own if following_own[key] != own[key]}
            proved, own = following, following_own
            self.rounds.append(proved)
            stale = set()
            for switch in changed:
                for link in wiring.arriving[switch]:
                    self.arrives[link] = self._seen(link, proved, own) & passes[link] | ends[link]
                    stale.add(wiring.source[link])
        self._proved_own = own

    def _proved_by(self, steps: Sequence[_Step]) -> int:
        proved = 0
        for atoms, links in steps:
            for link in links:
                atoms &= self.arrives[link]
            proved |= atoms
        return proved

    def _seen(self, link: int, proved: Sequence[int], own: Mapping[tuple[int, int], int]) -> int:
        switch = self.wiring.target[link]
        key = (switch, self.wiring.in_port[link])
        if key not in own:
            return proved[switch]
        return proved[switch] & ~self._own[key][0] | own[key]

    def from_host(self, switch: int, port: int) -> int:
        """What is proved to arrive, or to end, when a host at a port sends it and it comes to the default table."""
        back, only = self.turned_back(switch, port)
        proved = self.rounds[-1][switch]
        if (switch, port) in self._own:
            proved = proved & ~self._own[switch, port][0] | self._proved_own[switch, port]
        return proved & ~back | only & ~self.must[switch]

    def entering(self, sent: Sequence[tuple[int, int, int]]) -> list[dict[int, int]]:
        """By switch and port, what comes in to the default table when hosts send: switch, port and destinations."""
        entering: list[dict[int, int]] = [{} for _ in self.wiring.names]
        for switch, port, atoms in sent:
            entering[switch][port] = atoms
        for link, atoms in enumerate(self.carried(sent)):
            entering[self.wiring.target[link]][self.wiring.in_port[link]] = atoms & self.passes[link]
        return entering

    def carried(self, entering: Sequence[tuple[int, int, int]]) -> list[int]:
        """By link, what it carries when packets enter, each at a switch and a port with some destinations."""
        carried = [0] * len(self.wiring.links)
        waiting: dict[tuple[int, int], int] = {}

        def enter(switch: int, port: int, atoms: int) -> None:
            other = self._own.get((switch, port), (0, []))[0]
            for key, part in (((switch, IN_PORT), atoms & ~other), ((switch, port), atoms & other)):
                if part:
                    waiting[key] = waiting.get(key, 0) | part

        for switch, port, atoms in entering:
            enter(switch, port, atoms)
        while waiting:
            key = next(iter(waiting))
            atoms = waiting.pop(key)
            steps = self._steps[key[0]] if key[1] == IN_PORT else self._own[key][1]
            for step in steps:
                hit = atoms & step.atoms
                if not hit:
                    continue
                for link in step.links:
                    fresh = hit & ~carried[link]
                    if fresh:
                        carried[link] |= fresh
                        enter(self.wiring.target[link], self.wiring.in_port[link], fresh & self.passes[link])
        return carried


def _union(entries: Sequence[Entry]) -> int:
    atoms = 0
    for entry in entries:
        atoms |= entry.atoms
    return atoms


def _seen_from(port: int, fate: Fate) -> Fate:
    """A fate of packets that come in by a port: what would leave by it unasked is dropped."""
    outs = tuple(sorted((port if out == IN_PORT else out, label or 0) for out, label in fate.outs if out != port))
    dropped = any(out == port for out, _ in fate.outs)
    return Fate(tuple((out, label or None) for out, label in outs), fate.is_one and not dropped, fate.makes_sense)
