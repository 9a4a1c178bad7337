"""Shortest ways between switches, and the ways round each link: what default routing and its protection are made of.

The way round a link is that of remote loop-free alternates (RFC 7490): out to the first switch whose own shortest
paths to the destination do not lead through the one that lost the link. What arrives there is safe on default routing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from topologies.fabric import Fabric, LinkId, Node, NodeKind

Detour: TypeAlias = tuple[LinkId, ...]
"""Links from a switch to the one where default routing takes over; a single one needs no label."""

_FAR = 1 << 20


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a switch sends what goes to a leaf.

    Attributes
    ----------
    ports : tuple of int
        On shortest paths, ascending.
    distance : int
        Hops to the leaf.
    detour : Detour
        The way round the only port; empty where there are several, or where there is no such way.
    """

    ports: tuple[int, ...]
    distance: int
    detour: Detour = ()


class Routes:
    """All shortest ways of a fabric between its switches.

    Attributes
    ----------
    names : tuple of str
        The switches; numbers below are places in it.
    number : dict of str to int
        The place of each.
    leaves : tuple of int
        Switches with known hosts.
    hosts : dict of int to list of (int, Node)
        By leaf, the port and the host.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.names = tuple(node.id for node in fabric.switches)
        self.number = {name: number for number, name in enumerate(self.names)}
        self._out: list[list[tuple[int, int]]] = [[] for _ in self.names]
        self.hosts: dict[int, list[tuple[int, Node]]] = {}
        for link in fabric.links:
            source, target = self.number.get(link.source), self.number.get(link.target)
            if source is not None and target is not None:
                self._out[source].append((link.source_port, target))
        for ports in self._out:
            ports.sort()
        for host, access in fabric.access_links.items():
            node = fabric.node_by_id[host]
            if node.ip is not None and access.target in self.number:
                self.hosts.setdefault(self.number[access.target], []).append((access.target_port, node))
        self.leaves = tuple(sorted(self.hosts))
        self.leaf_of_address = {
            int(IPv4Address(node.ip)): leaf for leaf, hosts in self.hosts.items() for _, node in hosts if node.ip
        }
        self._reverse = {
            LinkId(link.source, link.source_port): LinkId(link.target, link.target_port)
            for link in fabric.links
            if fabric.node_by_id[link.source].kind is NodeKind.SWITCH
        }
        self._ways: dict[tuple[int, int], dict[int, Detour]] = {}

    @cached_property
    def distance(self) -> NDArray[np.int32]:
        """Hops from each switch to each other, shape (switches, switches); `_FAR` where there is no way."""
        count = len(self.names)
        ends = [(source, target) for source, out in enumerate(self._out) for _, target in out]
        sources, targets = np.array(ends, dtype=np.int32).reshape(-1, 2).T
        adjacency = csr_array((np.ones(len(ends), dtype=np.int8), (sources, targets)), shape=(count, count))
        hops = shortest_path(adjacency, unweighted=True) if count else np.zeros((0, 0))
        return np.where(np.isinf(hops), _FAR, hops).astype(np.int32)

    def hops(self, switch: int) -> list[Hop | None]:
        """For each of `leaves` where a switch sends what goes there; None at the leaf itself and where no way leads."""
        out, leaves = self._out[switch], list(self.leaves)
        own = self.distance[switch, leaves]
        beyond = self.distance[np.ix_([target for _, target in out], leaves)] if out else np.zeros((0, len(leaves)))
        on_way = beyond + 1 == own
        found: dict[tuple[bytes, int], Hop | None] = {}
        hops: list[Hop | None] = []
        for place, leaf in enumerate(leaves):
            distance = int(own[place])
            if not 0 < distance < _FAR:
                hops.append(None)
                continue
            key = (on_way[:, place].tobytes(), distance)
            if key not in found:
                ports = tuple(port for (port, _), on in zip(out, on_way[:, place].tolist(), strict=True) if on)
                found[key] = Hop(ports, distance)
            hop = found[key]
            if hop is not None and len(hop.ports) == 1:
                detour = self.detour(switch, hop.ports[0], leaf)
                hop = Hop(hop.ports, distance, detour)
            hops.append(hop)
        return hops

    def detour(self, switch: int, port: int, leaf: int) -> Detour:
        """The way round a port, from its switch to the first one from which default routing avoids the switch.

        Of equally long ones it is that which begins next to the port, so that the ways of a switch are spread.
        """
        ways = self._ways.get((switch, port))
        if ways is None:
            ways = self._ways[switch, port] = self._find_detours(switch, port)
        return ways.get(leaf, ())

    def _find_detours(self, switch: int, port: int) -> dict[int, Detour]:
        """The way round a port for each leaf."""
        distance, leaves = self.distance, np.array(self.leaves)
        behind = distance[switch, leaves]
        missing = np.ones(len(leaves), dtype=bool)
        found: dict[int, Detour] = {}
        for node, way in self._around(switch, port):
            # A switch is safe for a leaf where none of its shortest paths leads through the one that lost the link.
            safe = missing & (distance[node, leaves] < distance[node, switch] + behind)
            for place in np.flatnonzero(safe).tolist():
                found[self.leaves[place]] = way
            missing &= ~safe
            if not missing.any():
                break
        return found

    def _around(self, switch: int, port: int) -> Iterator[tuple[int, Detour]]:
        """Switches in reach without the cable at a port, nearest first, each with the way to it."""
        cable = {LinkId(self.names[switch], port)}
        if (back := self._reverse.get(LinkId(self.names[switch], port))) is not None:
            cable.add(back)
        seen = {switch}
        level: list[tuple[int, int, Detour]] = [(switch, port, ())]
        while level:
            following: list[tuple[int, int, Detour]] = []
            for node, arrival, way in level:
                out = self._out[node]
                turned = [link for link in out if link[0] > arrival] + [link for link in out if link[0] <= arrival]
                for exit_port, target in turned:
                    link = LinkId(self.names[node], exit_port)
                    if target in seen or link in cable:
                        continue
                    seen.add(target)
                    longer = (*way, link)
                    yield target, longer
                    following.append((target, self._reverse[link].port, longer))
            level = following

    def arrival(self, link: LinkId) -> int | None:
        """The port by which what a link carries arrives at the other switch."""
        end = self._reverse.get(link)
        return end.port if end is not None else None

    def sends_through(self, neighbour_port: int, switch: int, leaf: int) -> bool:
        """Whether the switch behind a port sends what goes to a leaf through this one."""
        behind = next((target for port, target in self._out[switch] if port == neighbour_port), None)
        if behind is None:
            return False
        leads_back = any(target == switch for _, target in self._out[behind])
        return leads_back and bool(self.distance[behind, leaf] == self.distance[switch, leaf] + 1)
