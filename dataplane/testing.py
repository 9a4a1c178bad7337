"""Checks and strategies that all tests of rules share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from typing import Any

from hypothesis import strategies as st

from dataplane.labels import FIRST_LABEL, LAST_LABEL
from dataplane.matching import prefix_range
from dataplane.network import Network
from dataplane.pipeline import Packet, arp_packet, ipv4_packet
from dataplane.planned import LabelledPath
from dataplane.rules import (
    ETH_TYPE_ARP,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Output,
    PushLabel,
    RuleSet,
    SetLabel,
    SwitchRules,
    Table,
)
from solver.routing import Path
from topologies.errors import HeddleError
from topologies.fabric import Fabric, LinkId
from topologies.shortest import distances, next_hops


def free_labels(count: int, in_use: AbstractSet[int]) -> tuple[int, ...]:
    """The lowest labels that are not in use, ascending."""
    return tuple(islice((label for label in range(FIRST_LABEL, LAST_LABEL + 1) if label not in in_use), count))


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
    for source, target in _connected(fabric):
        assert ways(fabric, rules, source, target), f"{source} does not reach {target}"  # noqa: S101


def cables(fabric: Fabric) -> Iterator[frozenset[LinkId]]:
    """The links between switches that fail together: both directions of each cable."""
    switches = {node.id for node in fabric.switches}
    for link in fabric.links:
        if {link.source, link.target} <= switches:
            both = frozenset({link.id, link.reverse_id} & fabric.link_by_id.keys())
            if link.id == min(both):
                yield both


def fault(
    fabric: Fabric, rules: RuleSet, paths: Sequence[LabelledPath] = (), *, failures: bool = False
) -> HeddleError | None:
    """What is wrong with rules, found by sending every packet in every state of the fabric; small fabrics only.

    Every pair's packets of all protocols and low ports, to known and unknown addresses, with every cable down in turn
    where ``failures`` are asked for. Guards are not looked at.
    """
    planned: dict[tuple[str, str], set[Path]] = {}
    for path in paths:
        planned.setdefault((path.source, path.target), set()).add(path.links)
    try:
        for failed in (frozenset[LinkId](), *(cables(fabric) if failures else ())):
            network = Network(fabric, rules, failed)
            for source, target in _connected(fabric.without_links(failed)):
                taken = set[Path]()
                for packet in _packets(fabric, source, target):
                    taken |= network.ways(source, packet, target)
                wanted = planned.get((source, target))
                if wanted is not None and not failed and taken != wanted:
                    return HeddleError(f"{source} → {target} takes {taken}, planned was {wanted}")
                arp = arp_packet(identity(fabric, source), identity(fabric, target)[1])
                network.ways(source, arp, target)
            for address in _addresses(rules):
                for host in fabric.access_links:
                    me = identity(fabric, host)
                    if address != me[1]:
                        network.end(host, ipv4_packet(me, ("", address)))
                        network.end(host, arp_packet(me, address))
    except HeddleError as error:
        return error
    return None


def _packets(fabric: Fabric, source: str, target: str) -> Iterator[Packet]:
    ends = identity(fabric, source), identity(fabric, target)
    yield ipv4_packet(*ends)
    for proto in (IP_PROTO_TCP, IP_PROTO_UDP):
        for port in range(8):
            yield ipv4_packet(*ends, ip_proto=proto, src_port=port, dst_port=4791)


def _addresses(rules: RuleSet) -> set[str]:
    """The addresses at the ends of all prefixes, and next to them."""
    prefixes = {flow.match.ipv4_dst or flow.match.arp_tpa for one in rules.values() for flow in one.flows} - {None}
    numbers = {
        start + offset
        for start, size in (prefix_range(prefix) for prefix in prefixes if prefix)
        for offset in (-1, 0, size - 1, size)
    }
    return {str(IPv4Address(number)) for number in numbers if 0 <= number < 1 << 32}


def _connected(fabric: Fabric) -> Iterator[tuple[str, str]]:
    hosts = [host.id for host in fabric.hosts if host.id in fabric.access_links]
    for target in hosts:
        reachable = distances(fabric, target)
        yield from ((source, target) for source in hosts if source != target and source in reachable)


@st.composite
def mutated(draw: st.DrawFn, rules: RuleSet) -> RuleSet:
    """Rules in which one thing is wrong: a rule or a bucket gone or elsewhere, a port, label or priority changed."""
    switch = draw(st.sampled_from(sorted(rules)))
    whole = rules[switch]
    flow = draw(st.sampled_from(sorted(whole.flows, key=str)))
    kind = draw(st.sampled_from(["drop", "priority", "actions", "match", "group", "group"]))
    flows, groups = whole.flows, whole.groups
    if kind == "group" and groups:
        group = draw(st.sampled_from(sorted(groups, key=lambda group: group.id)))
        groups = groups - {group} | {draw(_mutated_group(group))}
    elif kind == "priority":
        flows = flows - {flow} | {replace(flow, priority=draw(st.integers(0, 250)))}
    elif kind == "actions":
        flows = flows - {flow} | {replace(flow, actions=draw(_mutated_actions(flow.actions)))}
    elif kind == "match":
        flows = flows - {flow} | {draw(_mutated_match(flow))}
    else:
        flows = flows - {flow}
    return {**rules, switch: SwitchRules(flows, groups, whole.meters)}


def _mutated_actions(actions: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    changed = st.tuples(
        *(
            st.builds(Output, st.integers(1, 6))
            if isinstance(action, Output)
            else st.builds(type(action), st.sampled_from([action.label, 16, 17, 1 << 19]))
            if isinstance(action, PushLabel | SetLabel)
            else st.just(action)
            for action in actions
        )
    )
    return st.one_of(changed, st.just(actions[1:]), st.just(actions[:-1]), st.just((*actions, Output(1))))


@st.composite
def _mutated_group(draw: st.DrawFn, group: Group) -> Group:
    buckets = list(dict.fromkeys(group.buckets))
    place = draw(st.integers(0, len(buckets) - 1))
    match draw(st.sampled_from(["swap", "drop", "watch", "actions", "type"])):
        case "swap":
            buckets.reverse()
        case "drop":
            del buckets[place]
        case "watch":
            buckets[place] = replace(buckets[place], watch_port=draw(st.none() | st.integers(1, 6)))
        case "actions":
            actions = draw(_mutated_actions(buckets[place].actions))
            buckets[place] = Bucket(actions, buckets[place].watch_port)
        case _:
            return replace(group, type=draw(st.sampled_from(GroupType)))
    return replace(group, buckets=tuple(buckets))


@st.composite
def _mutated_match(draw: st.DrawFn, flow: FlowRule) -> FlowRule:
    match = flow.match
    if match.mpls_label is not None:
        match = replace(match, mpls_label=draw(st.sampled_from([16, 17, 1 << 19])))
    elif (prefix := match.ipv4_dst or match.arp_tpa) is not None and flow.table is Table.DEFAULT:
        wider = str(IPv4Network((prefix_range(prefix)[0], draw(st.integers(8, 31))), strict=False))
        match = replace(match, arp_tpa=wider) if match.eth_type == ETH_TYPE_ARP else replace(match, ipv4_dst=wider)
    else:
        match = replace(match, in_port=draw(st.none() | st.integers(1, 6)))
    return replace(flow, match=match)


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
    connected = list(_connected(fabric))
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
