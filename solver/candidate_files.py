"""Reads candidate paths: a list of ``{source, target, paths}``, where a path is a list of links like ``s1:3``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from solver.routing import Path
from topologies.documents import explain
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId
from topologies.files import NodeName
from topologies.located import read_document

Candidates: TypeAlias = dict[tuple[str, str], tuple[Path, ...]]
_Links: TypeAlias = dict[str, tuple[LinkId, str, str]]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: NodeName
    target: NodeName
    paths: Annotated[list[list[str]], Field(min_length=1)]


class _List(BaseModel):
    candidates: list[_Entry]


def read_candidates(path: str | FilePath, fabric: Fabric) -> Candidates:
    """Read the paths among which the traffic of each pair may choose, JSON or YAML.

    Returns
    -------
    dict of (source, target) to tuple of paths, each a tuple of LinkId
        In file order.

    Raises
    ------
    InputError
        The file cannot be read or is not well-formed, a pair stands twice or has no path, or a path has an
        unknown link, does not lead from source to target, visits a node twice or passes a host; the message
        names file, pair and path.
    """
    wrapped = {"candidates": read_document(path).content}
    try:
        entries = _List.model_validate(wrapped).candidates
    except ValidationError as error:
        raise explain(error, str(path), wrapped) from None
    # Made once: a link's id costs as much as its check.
    links = {str(link.id): (link.id, link.source, link.target) for link in fabric.links}
    hosts = frozenset(node.id for node in fabric.hosts)
    candidates: Candidates = {}
    for entry in entries:
        where = f"{path}: candidate '{entry.source} → {entry.target}'"
        for node in (entry.source, entry.target):
            if node not in fabric.node_by_id:
                raise InputError(f"{where}: {node!r} is not a node of the fabric; correct its name")
        if entry.source == entry.target:
            raise InputError(f"{where} starts where it ends; remove it")
        if (entry.source, entry.target) in candidates:
            raise InputError(f"{where} is here twice; put all its paths in one list")
        candidates[entry.source, entry.target] = tuple(
            _path(names, entry, links, hosts, f"{where}, path {number}")
            for number, names in enumerate(entry.paths, start=1)
        )
    return candidates


def _path(names: Sequence[str], entry: _Entry, links: _Links, hosts: frozenset[str], where: str) -> Path:
    if not names:
        raise InputError(f"{where} has no links; write them in order, as in ['h1:1', 's1:3']")
    at = entry.source
    visited = {at}
    path: list[LinkId] = []
    for name in names:
        found = links.get(name)
        if found is None:
            raise InputError(f"{where}: the fabric has no link {name!r}; links are written NODE:PORT, as in 's1:3'")
        link, source, target = found
        if source != at:
            raise InputError(f"{where}: link {name!r} starts at {source!r}, but the path is at {at!r}")
        if at in hosts and path:
            raise InputError(f"{where} passes the host {at!r}; hosts do not forward")
        if target in visited:
            raise InputError(f"{where} comes to {target!r} twice; leave out the loop")
        at = target
        visited.add(at)
        path.append(link)
    if at != entry.target:
        raise InputError(f"{where} ends at {at!r}; it must lead to {entry.target!r}")
    return tuple(path)
