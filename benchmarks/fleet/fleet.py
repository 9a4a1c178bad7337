"""A fabric of fake switches at one controller: cables that carry probes, and everything that can happen to them.

It asks for no root and runs in one event loop. What stays the same while connections come and go, tables above all, is
in `benchmarks.fleet.switch.Datapath`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from types import TracebackType

from benchmarks.channel import messages as of
from benchmarks.channel.fleet import dial, sources
from benchmarks.fleet.decoding import decode
from benchmarks.fleet.switch import Datapath, Entry, FleetSwitch, HostAt
from dataplane.rules import RuleSet
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId, Node

JOURNAL_ENTRIES = 1 << 20


class Fleet:
    """The switches of a fabric.

    Parameters
    ----------
    fabric : Fabric
        Its switches have dpids; hosts without address or MAC are silent.
    controller : (str, int)
        Where it listens.
    second : int
        The switches connect from 127.`second`.0.0/16.
    journal_entries : int
        So much of what was done is remembered, the newest.
    redial_s : float, optional
        A switch whose connection ends without `cut` or `kill` dials again so much later, as switches do.

    Attributes
    ----------
    datapaths : dict of str to Datapath
        By the switch's name.
    journal : deque of Entry
        What all switches did, in order.
    redialled : list of str
        Switches that dialled again by themselves, each time.

    Raises
    ------
    InputError
        A switch has no dpid.
    """

    def __init__(
        self,
        fabric: Fabric,
        controller: tuple[str, int],
        second: int = 1,
        journal_entries: int = JOURNAL_ENTRIES,
        redial_s: float | None = None,
    ) -> None:
        self.fabric = fabric
        self.journal: deque[Entry] = deque(maxlen=journal_entries)
        self._controller = controller
        self._sources = sources(second)
        self.datapaths = {node.id: _datapath(fabric, node) for node in fabric.switches}
        self._names = {datapath.dpid: name for name, datapath in self.datapaths.items()}
        self._connections: dict[int, FleetSwitch] = {}
        self._far: dict[tuple[int, int], tuple[int, int]] = {}
        for link in fabric.links:
            if link.source in self.datapaths and link.target in self.datapaths:
                one, other = self.datapaths[link.source].dpid, self.datapaths[link.target].dpid
                self._far[one, link.source_port] = other, link.target_port
        # Ends of cables over which nothing comes, by the dpid and port that send.
        self._silent: set[tuple[int, int]] = set()
        self._dead: set[int] = set()
        # Switches whose connection a test has ended.
        self._away: set[str] = set()
        self.redialled: list[str] = []
        self._redial_s = redial_s
        self._redialling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Fleet:
        if self._redial_s is not None:
            self._redialling = asyncio.create_task(self._redial(self._redial_s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redialling is not None:
            self._redialling.cancel()
        for switch in self._connections.values():
            switch.close()
        # One turn of the loop, in which the sockets close.
        await asyncio.sleep(0)

    # ── connections ──────────────────────────────────────────────────────────────────────────────

    async def connect(self, names: Iterable[str] | None = None, *, small_buffers: bool = False) -> None:
        """Open the connections of some switches, or of all, at once; the handshakes then run by themselves.

        Parameters
        ----------
        small_buffers : bool
            Whether the kernel should keep little of what is not read.
        """
        wanted = [self.datapaths[name] for name in (self.datapaths if names is None else names)]
        self._away.difference_update(datapath.name for datapath in wanted)
        await asyncio.gather(*(self._dial(datapath, small_buffer=small_buffers) for datapath in wanted))

    async def _dial(self, datapath: Datapath, *, small_buffer: bool) -> None:
        switch = FleetSwitch(datapath, self._sent, self.journal)
        await dial(lambda: switch, self._controller, next(self._sources), small_buffer=small_buffer)
        self._connections[datapath.dpid] = switch

    async def _redial(self, after_s: float) -> None:
        while True:
            await asyncio.sleep(after_s)
            for name in self.lost():
                if name not in self._away:
                    self.redialled.append(name)
                    await self._dial(self.datapaths[name], small_buffer=False)

    def connection(self, name: str) -> FleetSwitch:
        """The latest connection of a switch."""
        return self._connections[self.datapaths[name].dpid]

    def cut(self, name: str) -> None:
        """A switch loses its control channel; its data plane lives. `connect` brings it back."""
        self._away.add(name)
        self.connection(name).abort()

    def kill(self, name: str) -> None:
        """A switch dies with its tables; its neighbours' ports keep link."""
        self._away.add(name)
        self._dead.add(self.datapaths[name].dpid)
        self.connection(name).abort()
        self.datapaths[name].tables.clear()

    async def revive(self, name: str) -> None:
        """A switch that died is back, and empty."""
        self._dead.discard(self.datapaths[name].dpid)
        await self.connect([name])

    def lost(self) -> list[str]:
        """Switches whose connection is over."""
        return [self._names[dpid] for dpid, switch in self._connections.items() if switch.is_over]

    # ── cables ───────────────────────────────────────────────────────────────────────────────────

    def fail(self, link: LinkId) -> None:
        """A cable, named by either direction, loses link: both ends say so, and nothing goes over it."""
        self._set_link(link, is_up=False)

    def repair(self, link: LinkId) -> None:
        """A cable has link again."""
        self._set_link(link, is_up=True)

    def silence(self, link: LinkId) -> None:
        """Nothing goes over a cable any more, in either direction, and nobody notices."""
        self._silent.update((self.datapaths[end.node].dpid, end.port) for end in self._ends(link))

    def restore(self, link: LinkId) -> None:
        """A silent cable carries again."""
        self._silent.difference_update((self.datapaths[end.node].dpid, end.port) for end in self._ends(link))

    def _set_link(self, link: LinkId, *, is_up: bool) -> None:
        for end in self._ends(link):
            datapath = self.datapaths[end.node]
            (datapath.down.discard if is_up else datapath.down.add)(end.port)
            if datapath.dpid in self._connections:
                self._connections[datapath.dpid].port_changed(end.port)

    def _ends(self, link: LinkId) -> list[LinkId]:
        """The ends of a cable that are switches' ports."""
        found = self.fabric.link_by_id.get(link)
        if found is None:
            raise InputError(f"the fleet has no link {link}")
        return [end for end in (found.id, found.reverse_id) if end.node in self.datapaths]

    def _sent(self, dpid: int, port: int, frame: bytes) -> None:
        """A switch sends a probe out of a port."""
        datapath = self.datapaths[self._names[dpid]]
        if port in datapath.down:
            return
        datapath.tx_packets[port] += 1
        far = self._far.get((dpid, port))
        if far is None or (dpid, port) in self._silent or far[0] in self._dead:
            return
        peer = self._connections.get(far[0])
        if peer is not None and far[1] not in peer.datapath.down:
            peer.arrived(far[1], frame)

    # ── hosts ────────────────────────────────────────────────────────────────────────────────────

    def announce(self) -> None:
        """Every host asks for its own address by ARP, which makes it known."""
        for datapath in self.datapaths.values():
            switch = self._connections.get(datapath.dpid)
            for address, host in datapath.hosts.items():
                if switch is not None and host.port not in datapath.down:
                    switch.arrived(host.port, of.arp_request(address, address, host.mac))

    # ── what the switches hold ───────────────────────────────────────────────────────────────────

    def rules(self) -> RuleSet:
        """What all switches do at this moment, as far as our values can say it; see `foreign`."""
        return {name: decode(datapath.tables).rules for name, datapath in self.datapaths.items()}

    def foreign(self) -> dict[str, tuple[str, ...]]:
        """By switch, the entries that no rule of ours can be; switches without such are left out."""
        found = {name: decode(datapath.tables).foreign for name, datapath in self.datapaths.items()}
        return {name: entries for name, entries in found.items() if entries}

    def received(self) -> Counter[int]:
        """Messages of the controller by type."""
        return sum((datapath.received for datapath in self.datapaths.values()), Counter())

    def since(self, at_s: float) -> Iterator[Entry]:
        """What was done since a moment, in order."""
        return (entry for entry in self.journal if entry.at_s >= at_s)


def _datapath(fabric: Fabric, node: Node) -> Datapath:
    if not node.dpid:
        raise InputError(f"switch {node.id} has no dpid; give it one in the fabric file")
    ports = sorted(link.source_port for link in fabric.links if link.source == node.id)
    hosts = {}
    for link in fabric.links:
        host = fabric.node_by_id[link.source]
        if link.target == node.id and host.ip is not None and host.mac is not None:
            hosts[int(IPv4Address(host.ip))] = HostAt(link.target_port, bytes.fromhex(host.mac.replace(":", "")))
    return Datapath(node.id, node.dpid, tuple(ports), hosts)
