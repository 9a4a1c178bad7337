"""Updates of larger fabrics: thousands of packets at random moments, each follows one plan whole and arrives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random

import pytest
from timelines import Timeline, Window, ways_of

from dataplane.compiler import DefaultRouting, LabelledPath, compile_tables
from dataplane.labels import label_paths
from dataplane.network import Network
from dataplane.pipeline import Packet, ipv4_packet
from dataplane.rules import IP_PROTO_TCP, IP_PROTO_UDP, Table, ToGroup
from dataplane.testing import cables, identity
from dataplane.update import AddFlow, StageKind, schedule
from solver.routing import Path
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree
from topologies.shortest import next_hops

SAMPLES = 300
"""Of each update; there are eight."""
SPLITS = (((1.0,), 1), ((0.5, 0.5), 16), ((0.25, 0.75), 4096), ((0.5, 0.5), 4096))
"""Shares and flows: one path, port ranges by mask, select groups."""


def leaf_spine(leaves: int, spines: int, hosts: int) -> Fabric:
    nodes = [Node(f"s{number}", NodeKind.SWITCH, dpid=100 + number) for number in range(1, spines + 1)]
    links = []
    for leaf in range(1, leaves + 1):
        nodes.append(Node(f"l{leaf}", NodeKind.SWITCH, dpid=leaf))
        ends = [(f"h{leaf}-{number}", 1) for number in range(1, hosts + 1)]
        for number, host in enumerate((end for end, _ in ends), 1):
            nodes.append(
                Node(host, NodeKind.HOST, ip=f"10.0.{leaf}.{number}", mac=f"02:00:00:00:{leaf:02x}:{number:02x}")
            )
        ends += [(f"s{spine}", leaf) for spine in range(1, spines + 1)]
        for port, (other, other_port) in enumerate(ends, 1):
            links.append(Link(f"l{leaf}", port, other, other_port, 1e9, 1e-6))
            links.append(Link(other, other_port, f"l{leaf}", port, 1e9, 1e-6))
    return Fabric(tuple(nodes), tuple(links))


FABRICS = {"fat-tree": fat_tree(4, capacity_bps=1e9, delay_s=1e-6), "leaf-spine": leaf_spine(4, 4, 4)}


class Scene:
    """Jobs as rings on a fabric, two plans for them, and what packets meet while one follows the other."""

    def __init__(self, whole: Fabric, random: Random) -> None:
        self.whole = whole
        cut = random.choice(list(cables(whole)))
        parts = [whole, whole.without_links(cut)]
        random.shuffle(parts)
        hosts = [host.id for host in whole.hosts]
        random.shuffle(hosts)
        jobs = [hosts[start : start + 5] for start in range(0, 15, 5)]
        self.pairs = [
            pair for job in jobs for a, b in zip(job, job[1:] + job[:1], strict=True) for pair in ((a, b), (b, a))
        ]
        first = list(_plan(parts[0], self.pairs, random))
        # A pair of which one path has lost its cable is planned anew.
        moving = {one[:2] for one in first if not all(link in parts[1].link_by_id for link in one[2])}
        moving |= {pair for pair in self.pairs if random.random() < 0.7}
        second = [one for one in first if one[:2] not in moving]
        second += _plan(parts[1], [pair for pair in self.pairs if pair in moving], random)
        before = _labelled(first, ())
        after = _labelled(second, before)
        old = compile_tables(parts[0], default=random.choice(list(DefaultRouting)), paths=before)
        new = compile_tables(
            parts[1],
            default=random.choice(list(DefaultRouting)),
            paths=after,
            detours=old.detours,
            taken=frozenset(path.label for path in before),
        )
        self.schedule = schedule(old.rules, new.rules, fabric=parts[1], before=parts[0])
        self.old = old.rules
        self.networks = Network(whole, old.rules), Network(whole, self.schedule.new)
        self.shares_labels = len({path.label for path in after}) < len(after)
        self.keeps_detours = any(new.detours.get(tunnel) == label for tunnel, label in old.detours.items())
        self.windows = [
            Window(stage.operations, drained=stage.kind is StageKind.CLEARING) for stage in self.schedule.stages
        ]
        self.timeline = Timeline(whole, old.rules, self.windows)
        self.hosts = hosts


Planned = tuple[str, str, Path, float, int]


def _plan(fabric: Fabric, pairs: Sequence[tuple[str, str]], random: Random) -> Iterator[Planned]:
    for source, target in pairs:
        shares, flows = random.choice(SPLITS)
        found = sorted({_way(fabric, source, target, random) for _ in range(8)})
        if len(found) < len(shares):
            shares, flows = (1.0,), 1
        for way, share in zip(random.sample(found, len(shares)), shares, strict=True):
            yield source, target, way, share, flows


def _way(fabric: Fabric, source: str, target: str, random: Random) -> Path:
    onward, at, way = next_hops(fabric, target), source, []
    while at != target:
        way.append(random.choice(onward[at]))
        at = fabric.link_by_id[way[-1]].target
    return tuple(way)


def _labelled(planned: Sequence[Planned], before: Sequence[LabelledPath]) -> list[LabelledPath]:
    in_force = {(path.source, path.target, path.links): path.label for path in before}
    labels = label_paths([one[:3] for one in planned], in_force)
    return [LabelledPath(*one[:3], label, *one[3:]) for one, label in zip(planned, labels, strict=True)]


@cache
def scene(kind: str, number: int) -> Scene:
    return Scene(FABRICS[kind], Random(f"{kind} {number}"))


def packet_of(fabric: Fabric, source: str, target: str, random: Random) -> Packet:
    ends = identity(fabric, source), identity(fabric, target)
    if random.random() < 0.2:
        return ipv4_packet(*ends)
    proto = random.choice((IP_PROTO_TCP, IP_PROTO_UDP))
    return ipv4_packet(*ends, ip_proto=proto, src_port=random.randrange(1024, 1040), dst_port=4791)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("kind", FABRICS)
def test_each_packet_at_a_random_moment_follows_one_plan_whole_and_arrives(kind: str, number: int) -> None:
    found = scene(kind, number)
    random = Random(f"packets {kind} {number}")
    for _ in range(SAMPLES):
        is_planned = random.random() < 0.7
        source, target = random.choice(found.pairs) if is_planned else random.sample(found.hosts, 2)
        packet = packet_of(found.whole, source, target, random)
        ways = ways_of([found.timeline.sample(source, target, packet, random)])
        if (source, target) in found.pairs:
            allowed = {way for network in found.networks for way in network.ways(source, packet, target)}
            assert ways <= allowed, f"{source} → {target} takes a way of neither plan"
    assert found.timeline.final == found.schedule.new


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("kind", FABRICS)
def test_no_switch_ever_has_more_than_twice_the_rules_of_the_larger_plan(kind: str, number: int) -> None:
    found = scene(kind, number)
    for switch, old in found.old.items():
        new = found.schedule.new[switch]
        steady = max(len(rules.flows) + len(rules.groups) for rules in (old, new))
        assert found.timeline.most_rules(switch) <= 2 * steady


def test_what_is_sampled_has_shared_labels_splits_of_both_kinds_and_detours_that_stay() -> None:
    scenes = [scene(kind, number) for kind in FABRICS for number in range(4)]
    assert all(one.shares_labels and one.keeps_detours for one in scenes)
    for one in scenes:
        classify = [flow for rules in one.old.values() for flow in rules.flows if flow.table is Table.CLASSIFY]
        assert any(isinstance(action, ToGroup) for flow in classify for action in flow.actions)
        assert any(flow.match.udp_src is not None for flow in classify)


def test_labels_that_come_too_late_are_found_out() -> None:
    found = scene("fat-tree", 0)
    late = {
        switch: tuple(one for one in operations if not (isinstance(one, AddFlow) and one.flow.table is Table.TRANSIT))
        for switch, operations in found.windows[0].operations.items()
    }
    timeline, random = Timeline(found.whole, found.old, [Window(late), *found.windows[1:-1]]), Random("late")
    chosen = [random.choice(found.pairs) for _ in range(SAMPLES)]
    fates = [timeline.sample(*pair, packet_of(found.whole, *pair, random), random) for pair in chosen]
    assert any(fate.end.startswith("dropped") for fate in fates)
