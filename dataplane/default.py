"""Default routing: every known host reaches every other, by destination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    PORT_CONTROLLER,
    Action,
    FlowRule,
    Group,
    Match,
    Output,
    Role,
    Table,
    ToGroup,
)
from dataplane.spread import free_id, select_group
from topologies.fabric import Fabric, Node
from topologies.shortest import distances, next_hops

_KNOWN, _SEARCH, _MISS = 100, 10, 0


class DefaultRouting(StrEnum):
    """How traffic without a plan is routed."""

    ECMP = "ecmp"
    SHORTEST = "shortest"


class DefaultTables:
    """The default table of every switch, and the groups that it uses.

    Attributes
    ----------
    flows : dict of str to list of FlowRule
    groups : dict of str to dict of int to Group
    """

    def __init__(self, fabric: Fabric, routing: DefaultRouting) -> None:
        self._fabric = fabric
        self._routing = routing
        self.flows: dict[str, list[FlowRule]] = {node.id: list(_misses()) for node in fabric.switches}
        self.groups: dict[str, dict[int, Group]] = {node.id: {} for node in fabric.switches}
        # Hosts at the same switch share what leads to them: paths are searched once for each such switch.
        self._towards: dict[str, dict[str, tuple[tuple[int, ...], int]]] = {}
        for host in fabric.hosts:
            if host.ip is not None and host.id in fabric.access_links:
                self._add_host(host)

    def _add_host(self, host: Node) -> None:
        access = self._fabric.access_links[host.id]
        leaf, leaf_port = access.target, access.target_port
        for switch, (ports, hops) in self._ports_towards(leaf).items():
            action: Action = Output(leaf_port) if switch == leaf else self._spread(switch, ports, hops)
            self.flows[switch] += (
                FlowRule(Table.DEFAULT, _KNOWN, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst=host.ip), (action,)),
                FlowRule(Table.DEFAULT, _KNOWN, Match(eth_type=ETH_TYPE_ARP, arp_tpa=host.ip), (action,)),
            )

    def _ports_towards(self, leaf: str) -> dict[str, tuple[tuple[int, ...], int]]:
        """Ports on shortest paths to a switch and the distance, by switch."""
        if leaf not in self._towards:
            hops = distances(self._fabric, leaf)
            links = next_hops(self._fabric, leaf)
            switches = {node.id for node in self._fabric.switches}
            self._towards[leaf] = {
                switch: (tuple(link.port for link in links.get(switch, ())), hops[switch])
                for switch in hops
                if switch in switches
            }
        return self._towards[leaf]

    def _spread(self, switch: str, ports: tuple[int, ...], hops: int) -> Action:
        if self._routing is DefaultRouting.SHORTEST or len(ports) == 1:
            return Output(ports[0])
        group = select_group(ports, hops, self._fabric.node_by_id[switch].dpid or 0)
        groups = self.groups[switch]
        group_id = free_id(group.id, lambda known: groups.get(known, group).buckets != group.buckets)
        groups.setdefault(group_id, replace(group, id=group_id))
        return ToGroup(group_id)


def _misses() -> Iterator[FlowRule]:
    # All switches know the same hosts, so only an edge port can bring a question for an unknown one; the guard
    # has metered it.
    yield FlowRule(Table.DEFAULT, _SEARCH, Match(eth_type=ETH_TYPE_ARP), (Output(PORT_CONTROLLER),), role=Role.DEFAULT)
    yield FlowRule(Table.DEFAULT, _MISS, Match(), role=Role.DEFAULT)
