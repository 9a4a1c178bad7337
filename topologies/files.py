"""Reads and writes fabrics as networkx node-link files, JSON or YAML."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
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


_Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
_Port = Annotated[int, Field(ge=1)]


class _NodeEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: _Name
    kind: NodeKind
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
        return Node(self.id, self.kind, self.tier, self.pod, self.rail, dpid, self.ip, self.mac)


class _LinkEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: _Name
    target: _Name
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


def read_fabric(path: str | Path) -> Fabric:
    """Read a fabric file; `fabric_from_json` says what it may hold.

    Raises
    ------
    InputError
        The file cannot be read, is not well-formed or breaks a rule; the message names file and object.
    """
    return fabric_from_json(read_document(path).content, str(path))


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

    Links stand under ``links`` or ``edges``; each link of an undirected graph gives both directions. A
    bare ``capacity`` is read as bit/s. Missing ports are numbered in file order with the lowest numbers
    that are free at their node; in a directed graph the n-th link from a to b without ports and the n-th
    from b to a are taken as the two directions of one cable.

    Parameters
    ----------
    data : parsed JSON or YAML
    where : str
        Name of the file or request, for messages.

    Raises
    ------
    InputError
        An unknown key, a missing or impossible value; the message names object and remedy.
    """
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        raise explain(error, where, data) from None
    entries = file.links if file.links is not None else file.edges or []
    ports = _numbered(entries, pair_directions=file.directed)
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


def _numbered(entries: Sequence[_LinkEntry], *, pair_directions: bool) -> list[tuple[int, int]]:
    """Source and target port of each link, missing ones numbered in file order."""
    taken: defaultdict[str, set[int]] = defaultdict(set)
    for entry in entries:
        taken[entry.source].update(port for port in (entry.source_port,) if port is not None)
        taken[entry.target].update(port for port in (entry.target_port,) if port is not None)
    waiting: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    ports: list[tuple[int, int]] = []
    for entry in entries:
        bare = entry.source_port is None and entry.target_port is None
        opposite = waiting[entry.target, entry.source]
        if pair_directions and bare and opposite:
            other_source_port, other_target_port = opposite.pop(0)
            ports.append((other_target_port, other_source_port))
            continue
        source_port = entry.source_port or _lowest_free(taken[entry.source])
        target_port = entry.target_port or _lowest_free(taken[entry.target])
        ports.append((source_port, target_port))
        if bare:
            waiting[entry.source, entry.target].append((source_port, target_port))
    return ports


def _lowest_free(taken: set[int]) -> int:
    port = next(number for number in range(1, len(taken) + 2) if number not in taken)
    taken.add(port)
    return port


def _without_none(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}
