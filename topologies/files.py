"""Reads fabrics from files of all formats, and writes them as networkx node-link files, JSON or YAML."""

from __future__ import annotations

import math
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from topologies.documents import explain, write_document
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.located import read_document

_DPID = re.compile(r"[0-9a-fA-F]{16}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _name(value: object) -> object:
    # networkx graphs often number their nodes.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


NodeName = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
"""The name of a node in our models of files; a number counts as its digits."""
_Port = Annotated[int, Field(ge=1)]


class _NodeEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: NodeName
    kind: NodeKind | None = None
    tier: int | None = None
    pod: int | None = None
    rail: int | None = None
    dpid: str | None = None
    ip: str | None = None
    mac: str | None = None

    @field_validator("dpid", mode="before")
    @classmethod
    def _check_dpid(cls, value: object) -> object:
        if value is None:
            return None
        if not isinstance(value, str) or not _DPID.fullmatch(value) or int(value, 16) == 0:
            raise ValueError("write it as 16 hexadecimal digits in quotes, not all 0")
        return value

    @field_validator("ip")
    @classmethod
    def _check_ip(cls, value: str | None) -> str | None:
        try:
            return None if value is None else str(IPv4Address(value))
        except AddressValueError:
            raise ValueError("write it as an IPv4 address, as in '10.0.0.1'") from None

    @field_validator("mac")
    @classmethod
    def _check_mac(cls, value: str | None) -> str | None:
        if value is not None and not _MAC.fullmatch(value.lower()):
            raise ValueError("write it as six pairs of hexadecimal digits with colons")
        return None if value is None else value.lower()

    def node(self) -> Node:
        dpid = None if self.dpid is None else int(self.dpid, 16)
        kind = self.kind or NodeKind.SWITCH
        return Node(self.id, kind, self.tier, self.pod, self.rail, dpid, self.ip, self.mac)


class _LinkEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: NodeName
    target: NodeName
    source_port: _Port | None = None
    target_port: _Port | None = None
    capacity_bps: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    capacity: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    delay_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    # networkx writes the edge key of a multigraph; the identity of a link is its source port.
    key: Any = None

    @model_validator(mode="after")
    def _one_capacity(self) -> _LinkEntry:
        if self.capacity is not None and self.capacity_bps is not None:
            raise ValueError("has both 'capacity' and 'capacity_bps'; keep 'capacity_bps'")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # A missing `directed` means what networkx takes it to mean.
    directed: bool = False
    multigraph: bool = True
    graph: dict[str, Any] = {}
    nodes: list[_NodeEntry]
    links: list[_LinkEntry] | None = None
    edges: list[_LinkEntry] | None = None

    @model_validator(mode="after")
    def _one_list_of_links(self) -> _File:
        if (self.links is None) == (self.edges is None):
            raise ValueError("needs either 'links' or 'edges'; write the links under 'links'")
        return self


def read_fabric(path: str | Path, *, capacity_bps: float | None = None) -> Fabric:
    """Read a fabric: a node-link file, a REPETITA file, or a network of the package topohub.

    Parameters
    ----------
    path : str or Path
        A file: REPETITA where the suffix is ``.graph`` (see `read_graph`), node-link JSON where it is
        ``.json``, else the same as YAML (see `fabric_from_json`); or ``topohub:NAME`` (see `read_topohub`).
    capacity_bps : float or None
        Capacity of every link for which the source states none, bit/s; None leaves them without.

    Raises
    ------
    InputError
        The file cannot be read, is not well-formed or breaks a rule, or a link leads from a node to itself;
        the message names file and object.
    """
    # They build on this module.
    from topologies.repetita import read_graph
    from topologies.topohub import PREFIX, read_topohub

    if capacity_bps is not None and not 0 < capacity_bps < math.inf:
        raise InputError(f"--capacity is {capacity_bps:g} bit/s; it must be above 0 and finite")
    where = str(path)
    if where.startswith(PREFIX):
        return read_topohub(where.removeprefix(PREFIX), capacity_bps)
    if Path(path).suffix.lower() == ".graph":
        fabric = read_graph(path)
    else:
        fabric = fabric_from_json(read_document(path).content, where)
    for link in fabric.links:
        if link.source == link.target:
            raise InputError(f"{where}: link {link.id} leads from {link.source!r} to itself; remove it")
    return fabric if capacity_bps is None else _with_capacity(fabric, capacity_bps)


def _with_capacity(fabric: Fabric, capacity_bps: float) -> Fabric:
    links = (
        link if link.capacity_bps is not None else replace(link, capacity_bps=capacity_bps) for link in fabric.links
    )
    return Fabric(fabric.nodes, tuple(links), fabric.version)


def write_fabric(fabric: Fabric, path: str | Path) -> None:
    """Write a fabric file: JSON, or YAML where the suffix says so.

    Raises
    ------
    HeddleError
        The file cannot be written.
    """
    write_document(fabric_to_json(fabric), path)


def fabric_to_json(fabric: Fabric) -> dict[str, Any]:
    """The fabric as node-link data (``networkx.node_link_graph(data, edges="links")`` reads it)."""
    nodes = [
        _without_none(
            id=node.id, kind=node.kind.value, tier=node.tier, pod=node.pod, rail=node.rail,
            dpid=None if node.dpid is None else f"{node.dpid:016x}", ip=node.ip, mac=node.mac,
        )
        for node in fabric.nodes
    ]  # fmt: skip
    links = [
        _without_none(
            source=link.source, target=link.target, source_port=link.source_port, target_port=link.target_port,
            capacity_bps=link.capacity_bps, delay_s=link.delay_s,
        )
        for link in fabric.links
    ]  # fmt: skip
    return {"directed": True, "multigraph": True, "graph": {}, "nodes": nodes, "links": links}


def fabric_from_json(data: Any, where: str) -> Fabric:
    """Build a fabric from node-link data.

    Nodes are switches where none has a ``kind`` or an address, as in graphs of wide-area networks. Links
    stand under ``links`` or ``edges``; each link of an undirected graph gives both directions. A bare
    ``capacity`` is read as bit/s. Missing ports are numbered in file order with the lowest numbers that are
    free at their node; in a directed graph the n-th link from a to b without ports and the n-th from b to a
    are taken as the two directions of one cable.

    Parameters
    ----------
    data : parsed JSON or YAML
    where : str
        Name of the file or request, for messages.

    Raises
    ------
    InputError
        An unknown key, a missing or impossible value, a kind on some nodes only; the message names object
        and remedy.
    """
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        raise explain(error, where, data) from None
    _refuse_missing_kinds(file.nodes, where)
    entries = file.links if file.links is not None else file.edges or []
    ports = number_ports(
        [(entry.source, entry.source_port, entry.target, entry.target_port) for entry in entries],
        pair_directions=file.directed,
    )
    links: list[Link] = []
    for entry, (source_port, target_port) in zip(entries, ports, strict=True):
        capacity = entry.capacity_bps if entry.capacity_bps is not None else entry.capacity
        links.append(Link(entry.source, source_port, entry.target, target_port, capacity, entry.delay_s))
        if not file.directed:
            links.append(Link(entry.target, target_port, entry.source, source_port, capacity, entry.delay_s))
    try:
        return Fabric(tuple(entry.node() for entry in file.nodes), tuple(links))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _refuse_missing_kinds(nodes: Sequence[_NodeEntry], where: str) -> None:
    no_kinds = all(node.kind is None for node in nodes)
    for node in nodes:
        # Only hosts have addresses, so a file with some is no graph of switches.
        if node.kind is None and not (no_kinds and node.ip is None and node.mac is None):
            raise InputError(
                f"{where}: node {node.id!r} lacks 'kind'; add it (where no node has a kind or an address, "
                "all are switches)"
            )


def number_ports(
    ends: Sequence[tuple[str, int | None, str, int | None]], *, pair_directions: bool
) -> list[tuple[int, int]]:
    """Number the ports of links that lack them, in order, with the lowest numbers free at their node.

    Parameters
    ----------
    ends : sequence of (source, source port, target, target port)
        Of each link.
    pair_directions : bool
        Take the n-th link from a to b without ports and the n-th from b to a as two directions of a cable.

    Returns
    -------
    list of (source port, target port), in the order of ``ends``
    """
    free = _FreePorts(ends)
    waiting: defaultdict[tuple[str, str], deque[tuple[int, int]]] = defaultdict(deque)
    ports: list[tuple[int, int]] = []
    for source, source_port, target, target_port in ends:
        bare = source_port is None and target_port is None
        if pair_directions and bare and (opposite := waiting[target, source]):
            ports.append(opposite.popleft()[::-1])
            continue
        numbered = (source_port or free.take(source), target_port or free.take(target))
        ports.append(numbered)
        if bare:
            waiting[source, target].append(numbered)
    return ports


class _FreePorts:
    """The lowest free port of each node; they only get fewer, so each node's search goes on where it stopped."""

    def __init__(self, ends: Iterable[tuple[str, int | None, str, int | None]]) -> None:
        self._given: defaultdict[str, set[int | None]] = defaultdict(set)
        self._last: defaultdict[str, int] = defaultdict(int)
        for source, source_port, target, target_port in ends:
            self._given[source].add(source_port)
            self._given[target].add(target_port)

    def take(self, node: str) -> int:
        port = self._last[node] + 1
        while port in self._given[node]:
            port += 1
        self._last[node] = port
        return port


def _without_none(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}
