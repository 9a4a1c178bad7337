"""The fabric as a frozen value: nodes, directed links, and the networkx view of both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from topologies.errors import InputError


class NodeKind(StrEnum):
    """What a node does with packets: forward them or end them."""

    SWITCH = "switch"
    HOST = "host"


class LinkId(NamedTuple):
    """Identity of a directed link: the node and port where it starts, written ``s1:3``.

    It is the key of the link's edge in the networkx view too. Ports are integers above 0.
    """

    node: str
    port: int

    def __str__(self) -> str:
        return f"{self.node}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> LinkId:
        """Read ``s1:3``.

        Raises
        ------
        InputError
            The text has no colon, no node, or a port that is not an integer above 0.
        """
        node, colon, port = text.rpartition(":")
        if not (colon and node and port.isdecimal() and int(port) > 0):
            raise InputError(f"{text!r} is not a link; write it NODE:PORT, as in 's1:3'")
        return cls(node, int(port))


@dataclass(frozen=True, slots=True)
class Node:
    """A switch or a host.

    Attributes
    ----------
    id : str
        Name, unique in the fabric.
    tier : int or None
        Height above the hosts: 0 host, 1 leaf (edge), 2 spine (aggregation), 3 core.
    pod, rail : int or None
        Where the node sits, for placement and for pictures.
    dpid : int or None
        OpenFlow datapath id of a switch, greater than 0.
    ip : str or None
        IPv4 address of a host, dotted.
    mac : str or None
        MAC address of a host, six hex pairs in lower case with colons.
    """

    id: str
    kind: NodeKind
    tier: int | None = None
    pod: int | None = None
    rail: int | None = None
    dpid: int | None = None
    ip: str | None = None
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a cable.

    Attributes
    ----------
    capacity_bps : float or None
        Bits per second at layer 2; None where nobody declared or measured it.
    delay_s : float or None
        Propagation delay in seconds; None where unknown.
    """

    source: str
    source_port: int
    target: str
    target_port: int
    capacity_bps: float | None = None
    delay_s: float | None = None

    @property
    def id(self) -> LinkId:
        return LinkId(self.source, self.source_port)

    @property
    def reverse_id(self) -> LinkId:
        """Identity that the same cable's other direction has, where it exists."""
        return LinkId(self.target, self.target_port)


@dataclass(frozen=True)
class Fabric:
    """A snapshot of the fabric: never changed, only replaced by one with a higher version.

    Attributes
    ----------
    nodes : tuple of Node
        In file or discovery order.
    links : tuple of Link
        Directed; arrays over links (loads, prices) use this order.
    version : int
        Grows with every snapshot of a live view; 0 for a fabric from a file.

    Raises
    ------
    InputError
        A name, a link, a dpid, an address or a MAC appears twice; a link ends at an unknown node, or
        has a port below 1, a capacity that is not above 0, or a negative delay.
    """

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    version: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        _refuse_duplicates("node", (node.id for node in self.nodes))
        _refuse_duplicates("dpid", (f"{node.dpid:016x}" for node in self.nodes if node.dpid is not None))
        _refuse_duplicates("address", (node.ip for node in self.nodes if node.ip is not None))
        _refuse_duplicates("MAC", (node.mac for node in self.nodes if node.mac is not None))
        _refuse_duplicates("link", (str(link.id) for link in self.links))
        names = {node.id for node in self.nodes}
        for link in self.links:
            for end in (link.source, link.target):
                if end not in names:
                    raise InputError(f"link {link.id} ends at {end!r}, which is not a node of the fabric")
            if link.source_port < 1 or link.target_port < 1:
                raise InputError(f"link {link.id} has a port below 1; ports are integers above 0")
            if link.capacity_bps is not None and not 0 < link.capacity_bps < np.inf:
                raise InputError(f"link {link.id} has capacity_bps {link.capacity_bps}; it must be above 0 and finite")
            if link.delay_s is not None and not 0 <= link.delay_s < np.inf:
                raise InputError(f"link {link.id} has delay_s {link.delay_s}; it must be finite and not negative")

    def __getstate__(self) -> dict[str, object]:
        # Only the fields: another thread may be adding a cached property while this one pickles.
        return {"nodes": self.nodes, "links": self.links, "version": self.version}

    @cached_property
    def node_by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def link_by_id(self) -> dict[LinkId, Link]:
        return {link.id: link for link in self.links}

    @cached_property
    def link_index(self) -> dict[LinkId, int]:
        """Position of each link in ``links`` and so in every array over links."""
        return {link: index for index, link in enumerate(self.link_ids)}

    @cached_property
    def link_ids(self) -> tuple[LinkId, ...]:
        return tuple(link.id for link in self.links)

    @cached_property
    def links_to(self) -> dict[str, list[Link]]:
        """The links that end at each node; nodes at which none ends are absent."""
        found: dict[str, list[Link]] = {}
        for link in self.links:
            found.setdefault(link.target, []).append(link)
        return found

    @cached_property
    def links_from(self) -> dict[str, list[Link]]:
        """The links that start at each node; nodes at which none starts are absent."""
        found: dict[str, list[Link]] = {}
        for link in self.links:
            found.setdefault(link.source, []).append(link)
        return found

    @cached_property
    def node_index(self) -> dict[str, int]:
        """Position of each node in ``nodes``."""
        return {node.id: index for index, node in enumerate(self.nodes)}

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """Position in ``nodes`` of the node where each link starts and where it ends, shape (2, links)."""
        at = self.node_index
        starts = [at[link.source] for link in self.links]
        return np.array([starts, [at[link.target] for link in self.links]], dtype=np.intp).reshape(2, -1)

    @cached_property
    def is_host(self) -> NDArray[np.bool_]:
        """Which of ``nodes`` are hosts, shape (nodes,)."""
        return np.array([node.kind is NodeKind.HOST for node in self.nodes], dtype=bool)

    @cached_property
    def hosts(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.kind is NodeKind.HOST)

    @cached_property
    def switches(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.kind is NodeKind.SWITCH)

    @cached_property
    def graph(self) -> nx.MultiDiGraph[str]:
        """The networkx view: node attributes as in `Node`, edge attributes as in `Link`, key `LinkId`.

        It is shared by all readers of the snapshot, hence frozen.
        """
        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        for node in self.nodes:
            graph.add_node(
                node.id, kind=node.kind, tier=node.tier, pod=node.pod, rail=node.rail,
                dpid=node.dpid, ip=node.ip, mac=node.mac,
            )  # fmt: skip
        for link in self.links:
            graph.add_edge(
                link.source, link.target, key=link.id,
                source_port=link.source_port, target_port=link.target_port,
                capacity_bps=link.capacity_bps, delay_s=link.delay_s,
            )  # fmt: skip
        frozen: nx.MultiDiGraph[str] = nx.freeze(graph)
        return frozen

    @cached_property
    def capacities_bps(self) -> NDArray[np.float64]:
        """Capacity of each link, shape (links,), bit/s.

        Raises
        ------
        InputError
            A link has no capacity; the message names it.
        """
        return self._declared("capacity_bps")

    @cached_property
    def delays_s(self) -> NDArray[np.float64]:
        """Delay of each link, shape (links,), seconds.

        Raises
        ------
        InputError
            A link has no delay; the message names it.
        """
        return self._declared("delay_s")

    def _declared(self, quantity: str) -> NDArray[np.float64]:
        values = [getattr(link, quantity) for link in self.links]
        if None in values:
            link = self.links[values.index(None)]
            raise InputError(f"link {link.id} has no {quantity}; declare it in the fabric file")
        return np.array(values, dtype=np.float64)

    def access_link(self, host: str) -> Link:
        """The link by which a host sends (hosts here have one).

        Raises
        ------
        InputError
            No such host, or it is attached nowhere.
        """
        try:
            return self.access_links[host]
        except KeyError:
            known = host in self.node_by_id and self.node_by_id[host].kind is NodeKind.HOST
            problem = "is attached to no switch" if known else "is not a host of the fabric"
            raise InputError(f"{host!r} {problem}; see 'heddle hosts'") from None

    @cached_property
    def access_links(self) -> dict[str, Link]:
        """The link by which each attached host sends."""
        hosts = {node.id for node in self.hosts}
        return {link.source: link for link in reversed(self.links) if link.source in hosts}

    @cached_property
    def delivery_links(self) -> dict[str, Link]:
        """The link by which each attached host receives: its access link's other direction, where that is there."""
        back = {host: self.link_by_id.get(link.reverse_id) for host, link in self.access_links.items()}
        return {host: link for host, link in back.items() if link is not None}

    def without_links(self, gone: Iterable[LinkId], *, version: int | None = None) -> Fabric:
        """The same fabric without some directed links, and with its own version if no other is given."""
        removed = frozenset(gone)
        kept = tuple(link for link in self.links if link.id not in removed) if removed else self.links
        rest = object.__new__(Fabric)
        # A part of what was checked needs no check.
        rest.__dict__.update(nodes=self.nodes, links=kept, version=self.version if version is None else version)
        return rest


def _refuse_duplicates(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{what} {name!r} appears twice in the fabric")
        seen.add(name)
