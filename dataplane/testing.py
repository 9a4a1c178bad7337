"""Checks and strategies that all tests of rules share."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from dataplane.pipeline import ipv4_packet
from dataplane.planned import LabelledPath
from dataplane.rules import RuleSet
from dataplane.verifier import Network
from solver.routing import Path
from topologies.fabric import Fabric, LinkId
from topologies.shortest import distances, next_hops


def identity(fabric: Fabric, host: str) -> tuple[str, str]:
    """MAC and address of a host."""
    node = fabric.node_by_id[host]
    return node.mac or "", node.ip or ""


def ways(
    fabric: Fabric, rules: RuleSet, source: str, target: str, failed: frozenset[LinkId] = frozenset()
) -> frozenset[Path]:
    """Every way that IPv4 packets between two hosts may take."""
    packet = ipv4_packet(identity(fabric, source), identity(fabric, target))
    return Network(fabric, rules, failed).ways(source, packet, target)


def assert_planned(fabric: Fabric, rules: RuleSet, paths: Sequence[LabelledPath]) -> None:
    """Every planned pair takes exactly its path."""
    for path in paths:
        taken = ways(fabric, rules, path.source, path.target)
        assert taken == {path.links}, f"{path.source} → {path.target} takes {taken}, planned was {path.links}"  # noqa: S101


def assert_delivers(fabric: Fabric, rules: RuleSet) -> None:
    """Every host reaches every other that the fabric connects it to."""
    hosts = [host.id for host in fabric.hosts if host.id in fabric.access_links]
    for target in hosts:
        reachable = distances(fabric, target)
        for source in hosts:
            if source != target and source in reachable:
                assert ways(fabric, rules, source, target), f"{source} does not reach {target}"  # noqa: S101


@st.composite
def labelled_paths(
    draw: st.DrawFn, fabric: Fabric, pairs: Sequence[tuple[str, str]] | None = None
) -> tuple[LabelledPath, ...]:
    """The host pairs given, or some, each with a random simple path (not always a shortest one) and its own label."""
    chosen = pairs if pairs is not None else draw(_pairs(fabric))
    labels = draw(st.lists(st.integers(16, 1 << 19), min_size=len(chosen), max_size=len(chosen), unique=True))
    return tuple(
        LabelledPath(a, b, draw(_walk(fabric, a, b)), label) for (a, b), label in zip(chosen, labels, strict=True)
    )


def _pairs(fabric: Fabric) -> st.SearchStrategy[list[tuple[str, str]]]:
    hosts = [host.id for host in fabric.hosts if host.id in fabric.access_links]
    connected = [(a, b) for a in hosts for b in hosts if a != b and a in distances(fabric, b)]
    return st.lists(st.sampled_from(connected), unique=True, max_size=6) if connected else st.just([])


@st.composite
def _walk(draw: st.DrawFn, fabric: Fabric, source: str, target: str) -> Path:
    """A simple path: random steps while they last, then the shortest way that avoids what was visited."""
    switches = {node.id for node in fabric.switches}
    access = fabric.access_link(source)
    last = fabric.access_link(target)
    at, way, seen = access.target, [access.id], {source, access.target}
    for _ in range(draw(st.integers(0, 4))):
        steps = [link for link in fabric.links if link.source == at and link.target in switches - seen]
        if at == last.target or not steps:
            break
        link = draw(st.sampled_from(steps))
        way.append(link.id)
        seen.add(link.target)
        at = link.target
    rest = fabric.without_links(link.id for link in fabric.links if link.target in seen and link.target != target)
    onward = next_hops(rest, target)
    if at not in onward:
        return draw(_walk(fabric, source, target)) if len(way) > 1 else _shortest(fabric, source, target)
    while at != target:
        link_id = draw(st.sampled_from(onward[at]))
        way.append(link_id)
        at = fabric.link_by_id[link_id].target
    return tuple(way)


def _shortest(fabric: Fabric, source: str, target: str) -> Path:
    onward, at, way = next_hops(fabric, target), source, []
    while at != target:
        way.append(onward[at][0])
        at = fabric.link_by_id[onward[at][0]].target
    return tuple(way)
