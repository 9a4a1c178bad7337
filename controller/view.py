"""The live view: discovered switches, cables and hosts under their declared names, as `Fabric` snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.damping import Sifted
from controller.discovery import Change, PortId
from controller.hosts import Host
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind

HOST_PORT = 1
"""Port by which an undeclared host sends."""


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot and what was noticed while it was made.

    Attributes
    ----------
    assumed : frozenset of LinkId
        Links whose capacity is the port's speed, for want of a declared one.
    held : tuple of Link
        Links that are up but keep failing, and carry nothing until they have stayed up.
    needed : frozenset of LinkId
        Links that keep failing too, but are in the snapshot, as the fabric would fall apart without them.
    notices : tuple of Change
        Miscabling, assumed and missing capacities.
    """

    fabric: Fabric
    assumed: frozenset[LinkId]
    notices: tuple[Change, ...]
    held: tuple[Link, ...] = ()
    needed: frozenset[LinkId] = frozenset()


def switch_name(dpid: int, declared: Fabric | None) -> str:
    """The declared name of a switch, else ``s-<dpid>``."""
    if declared is not None:
        for node in declared.switches:
            if node.dpid == dpid:
                return node.id
    return f"s-{dpid:016x}"


def build_view(
    dpids: Iterable[int],
    cables: Iterable[tuple[PortId, PortId]] | Sifted,
    hosts: Iterable[Host],
    speeds_bps: Mapping[PortId, float],
    declared: Fabric | None,
    version: int,
) -> View:
    """Join what was discovered with what was declared.

    Parameters
    ----------
    dpids : iterable of int
        Switches seen.
    cables : iterable of (PortId, PortId), or Sifted
        Directed links between switches, those that keep failing told apart or not.
    hosts : iterable of Host
        Hosts whose place is a port of a switch seen.
    speeds_bps : mapping of PortId to float
        Speed that each port reports, bit/s.
    """
    declared_names = {node.dpid: node.id for node in declared.switches} if declared is not None else {}
    names = {dpid: declared_names.get(dpid) or switch_name(dpid, None) for dpid in sorted(dpids)}
    order = {node.id: index for index, node in enumerate(declared.nodes)} if declared is not None else {}
    builder = _Builder(names, speeds_bps, declared)
    nodes = [builder.switch(dpid) for dpid in names]
    sifted = cables if isinstance(cables, Sifted) else Sifted(tuple(cables))
    for source, target in sifted.used:
        builder.cable(source, target)
    unused = _Builder(names, speeds_bps, declared)
    for source, target in sifted.held:
        unused.cable(source, target)
    taken: dict[PortId, str] = {}
    for host in hosts:
        if host.at is None or host.at.dpid not in names:
            continue
        if taken.setdefault(host.at, host.name) == host.name:
            nodes.append(builder.host(host, host.at))
        else:
            builder.shared_port(host, taken[host.at])
    nodes.sort(key=lambda node: order.get(node.id, len(order)))
    builder.links.sort(key=lambda link: (order.get(link.source, len(order)), link.source, link.source_port))
    return View(
        Fabric(tuple(nodes), tuple(builder.links), version),
        frozenset(builder.assumed | unused.assumed),
        tuple(builder.notices + unused.notices),
        tuple(unused.links),
        frozenset(LinkId(names[source.dpid], source.port) for source, _ in sifted.needed if source.dpid in names),
    )


def missing_notices(fabric: Fabric, declared: Fabric) -> tuple[Change, ...]:
    """What was declared and is not there: a sentence for each switch, and for each cable of those that are."""
    there = fabric.node_by_id
    lost = [node.id for node in declared.switches if node.id not in there]
    sentences = [f"switch {name} is declared but has not connected" for name in lost]
    for link in declared.links:
        back = LinkId(link.target, link.target_port)
        known = link.id in fabric.link_by_id and back in fabric.link_by_id
        once = link.id < back or back not in declared.link_by_id
        if once and not known and not {link.source, link.target} & set(lost):
            sentences.append(f"the cable {link.id} – {back} is declared but was not found")
    return tuple(Change(False, "declared-missing", sentence) for sentence in sentences)


class _Builder:
    def __init__(self, names: dict[int, str], speeds_bps: Mapping[PortId, float], declared: Fabric | None) -> None:
        self._names = names
        self._speeds_bps = speeds_bps
        self._declared = declared
        self.links: list[Link] = []
        self.assumed: set[LinkId] = set()
        self.notices: list[Change] = []

    def switch(self, dpid: int) -> Node:
        name = self._names[dpid]
        known = self._declared.node_by_id.get(name) if self._declared is not None else None
        return known or Node(name, NodeKind.SWITCH, dpid=dpid)

    def host(self, host: Host, at: PortId) -> Node:
        known = self._declared.node_by_id.get(host.name) if self._declared is not None else None
        own_port = HOST_PORT
        access = self._declared.access_links.get(host.name) if self._declared is not None else None
        if access is not None:
            own_port = access.source_port
        switch = self._names[at.dpid]
        self._add(host.name, own_port, switch, at.port, at)
        self._add(switch, at.port, host.name, own_port, at)
        if known is not None:
            return Node(known.id, known.kind, known.tier, known.pod, known.rail, None, host.ip, host.mac)
        return Node(host.name, NodeKind.HOST, tier=0, ip=host.ip, mac=host.mac)

    def shared_port(self, host: Host, first: str) -> None:
        self.notices.append(
            Change(False, "port-shared", f"{host.name} shares a port with {first}; one host a port is routed")
        )

    def cable(self, source: PortId, target: PortId) -> None:
        if source.dpid in self._names and target.dpid in self._names:
            self._add(self._names[source.dpid], source.port, self._names[target.dpid], target.port, source)

    def _add(self, source: str, source_port: int, target: str, target_port: int, speed_of: PortId) -> None:
        declared = self._declared.link_by_id.get(LinkId(source, source_port)) if self._declared is not None else None
        if declared is not None and (declared.target, declared.target_port) != (target, target_port):
            self.notices.append(
                Change(
                    False,
                    "miscabled",
                    f"{declared.id} is declared to lead to {declared.target}:{declared.target_port} "
                    f"but leads to {target}:{target_port}",
                )
            )
            declared = None
        link = LinkId(source, source_port)
        capacity_bps = declared.capacity_bps if declared is not None else None
        if capacity_bps is None:
            capacity_bps = self._assume(link, speed_of)
        delay_s = declared.delay_s if declared is not None else None
        self.links.append(Link(source, source_port, target, target_port, capacity_bps, delay_s))

    def _assume(self, link: LinkId, speed_of: PortId) -> float | None:
        speed_bps = self._speeds_bps.get(speed_of, 0.0)
        if speed_bps > 0:
            self.assumed.add(link)
            self.notices.append(
                Change(
                    False, "capacity-assumed", f"{link} has no declared capacity; its port says {speed_bps:.6g} bit/s"
                )
            )
            return speed_bps
        self.notices.append(
            Change(False, "capacity-unknown", f"{link} has no capacity: declare capacity_bps for it in the fabric file")
        )
        return None
