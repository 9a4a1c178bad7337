"""What rules make of packets by destination or label, and which destinations they cannot tell apart."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from dataplane.operations import Rest, resting
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    MATCH_FIELDS,
    PORT_CONTROLLER,
    Action,
    FlowRule,
    GroupType,
    Match,
    Output,
    RuleSet,
    SwitchRules,
    Table,
    ToGroup,
)
from topologies.fabric import Link, LinkId

_BY_DESTINATION = ("eth_type", "ipv4_dst", "arp_tpa", "mpls_label")
_OTHERS = tuple(name for name in MATCH_FIELDS if name not in _BY_DESTINATION)
_other_fields = attrgetter(*_OTHERS)
_ANY = _other_fields(Match())

Kind: TypeAlias = frozenset[tuple[str, object]]
"""What a rule asks of a packet beside its destination."""
_ALL: Kind = frozenset()
Candidate: TypeAlias = tuple[Kind, FlowRule]


class Region(NamedTuple):
    """Destinations of one Ethernet type: a prefix of addresses (32 bits) or labels (20 bits)."""

    eth_type: int
    value: int
    length: int

    def widened(self, length: int) -> Region:
        """The region of so many bits around this one."""
        unused = _width(self.eth_type) - length
        return Region(self.eth_type, self.value >> unused << unused, length)


def _width(eth_type: int) -> int:
    return 20 if eth_type == ETH_TYPE_MPLS else 32


def regions_of(rule: FlowRule) -> tuple[Region, ...]:
    """Which destinations a rule of the transit or default table is for."""
    match = rule.match
    if rule.table is Table.TRANSIT:
        label = match.mpls_label
        return (Region(ETH_TYPE_MPLS, 0, 0) if label is None else Region(ETH_TYPE_MPLS, label, 20),)
    return _addressed(match.eth_type, match.ipv4_dst if match.eth_type == ETH_TYPE_IPV4 else match.arp_tpa)


@lru_cache(maxsize=65_536)
def _addressed(eth_type: int | None, prefix: str | None) -> tuple[Region, ...]:
    if eth_type is None:
        return (Region(ETH_TYPE_IPV4, 0, 0), Region(ETH_TYPE_ARP, 0, 0))
    if prefix is None:
        return (Region(eth_type, 0, 0),)
    address, _, length = prefix.partition("/")
    return (Region(eth_type, int(IPv4Address(address)), int(length or 32)),)


class Regions:
    """All regions that some rules are for.

    Destinations that are in a region, and in none of those within it, are one to all of these rules.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        self._known = frozenset(regions)
        self._lengths: dict[int, list[int]] = {}
        for region in self._known:
            self._lengths.setdefault(region.eth_type, [])
        for eth_type in self._lengths:
            self._lengths[eth_type] = sorted({region.length for region in self._known if region.eth_type == eth_type})

    def around(self, region: Region) -> tuple[Region, ...]:
        """The regions that a region lies in, itself included, the widest first."""
        lengths = (length for length in self._lengths.get(region.eth_type, ()) if length <= region.length)
        return tuple(wide for length in lengths if (wide := region.widened(length)) in self._known)

    def own(self) -> Iterator[Region]:
        """Regions with destinations that are in no smaller one."""
        filled: dict[Region, int] = {}
        for region in sorted(self._known, key=lambda region: -region.length):
            size = 1 << (_width(region.eth_type) - region.length)
            if filled.get(region, 0) < size:
                yield region
            around = self.around(region)
            if len(around) > 1:
                filled[around[-2]] = filled.get(around[-2], 0) + size


class Forwarding:
    """The transit and default tables of one switch while all its ports live."""

    def __init__(self, rules: SwitchRules) -> None:
        self._groups = {group.id: group for group in rules.groups}
        self._ways: dict[tuple[Action, ...], frozenset[tuple[Action, ...]]] = {}
        self._ports: dict[tuple[Action, ...], frozenset[int]] = {}
        self._rules: dict[Region, list[FlowRule]] = {}
        for rule in rules.flows:
            if rule.table >= Table.TRANSIT:
                for region in regions_of(rule):
                    self._rules.setdefault(region, []).append(rule)

    def candidates(self, around: Iterable[Region]) -> tuple[Candidate, ...]:
        """The rules for one destination, the one that comes first in front.

        Parameters
        ----------
        around : iterable of Region
            All regions that it lies in.
        """
        found = [rule for region in around for rule in self._rules.get(region, ())]
        found.sort(key=lambda rule: -rule.priority)
        return tuple((kind_of(rule.match), rule) for rule in found)

    def ways(self, rule: FlowRule | None) -> frozenset[tuple[Action, ...]]:
        """What a rule may do with a packet: each choice of a select group, the first of a fast-failover group."""
        actions = rule.actions if rule is not None else ()
        known = self._ways.get(actions)
        if known is None:
            known = self._ways[actions] = frozenset(self._choices(actions))
        return known

    def _choices(self, actions: tuple[Action, ...]) -> list[tuple[Action, ...]]:
        ways: list[tuple[Action, ...]] = [()]
        for action in actions:
            if isinstance(action, ToGroup):
                # Rules that were read while somebody changed them may name a group that is not there.
                group = self._groups.get(action.group_id)
                buckets = group.buckets if group is not None else ()
                if group is not None and group.type is GroupType.FAST_FAILOVER:
                    buckets = buckets[:1]
                ways = [way + chosen for way in ways for chosen in {bucket.actions for bucket in buckets}]
            else:
                ways = [(*way, action) for way in ways]
        return ways

    def ports(self, rule: FlowRule) -> frozenset[int]:
        """Ports by which a rule may send a packet on."""
        known = self._ports.get(rule.actions)
        if known is None:
            sent = {action.port for way in self.ways(rule) for action in way if isinstance(action, Output)}
            known = self._ports[rule.actions] = frozenset(sent - {PORT_CONTROLLER})
        return known


def kind_of(match: Match) -> Kind:
    """What a match asks for beside the destination."""
    values = _other_fields(match)
    if values == _ANY:
        return _ALL
    return frozenset((name, value) for name, value in zip(_OTHERS, values, strict=True) if value is not None)


def deciding(candidates: Iterable[Candidate], kind: Kind) -> FlowRule | None:
    """The rule that decides over packets which are of a kind, and of no narrower one."""
    return next((rule for asked, rule in candidates if asked <= kind), None)


class Destinations:
    """What all switches do with packets to one destination, before (side 0) and after (side 1) an update."""

    def __init__(self, old: RuleSet, new: RuleSet, links: Iterable[Link], rest: Rest) -> None:
        self._rules = (old, new)
        self._rest = rest
        self._forwarding: tuple[dict[str, Forwarding], dict[str, Forwarding]] = {}, {}
        known = old.keys() | new.keys()
        ends = [link for link in links if link.target in known]
        self._neighbours = {link.id: link.target for link in ends}
        self._reverse = {link.id: link.reverse_id for link in ends}
        self._around: tuple[Region, ...] = ()
        self._found: dict[tuple[int, str], tuple[Candidate, ...]] = {}
        self._sent: dict[tuple[int, str], frozenset[int]] = {}

    def addressed(self, side: int) -> Iterator[tuple[Region, bool]]:
        """Regions of the rules of all default tables, and whether such a rule sends packets on."""
        seen: set[tuple[int | None, str | None, str | None, bool]] = set()
        for rules in self._rules[side].values():
            for flow in resting(rules.flows, self._rest):
                if flow.table is Table.DEFAULT:
                    sends = any(action != Output(PORT_CONTROLLER) for action in flow.actions)
                    mark = (flow.match.eth_type, flow.match.ipv4_dst, flow.match.arp_tpa, sends)
                    if mark not in seen:
                        seen.add(mark)
                        yield from ((region, sends) for region in regions_of(flow))

    def turns(self, switch: str, around: tuple[Region, ...]) -> Iterator[tuple[FlowRule | None, FlowRule | None]]:
        """The rules before and after, of each kind of packets that a switch comes to send elsewhere."""
        before, after = (self._candidates(side, switch, around) for side in (0, 1))
        for kind in {kind for kind, _ in (*before, *after)}:
            was, becomes = deciding(before, kind), deciding(after, kind)
            if was != becomes and self._side(0, switch).ways(was) != self._side(1, switch).ways(becomes):
                yield was, becomes

    def next_among(
        self, side: int, switch: str, around: tuple[Region, ...], chosen: Container[str], passed: Container[str] = ()
    ) -> Iterator[str]:
        """The first of the switches chosen on each of the ways from a switch, and those behind them that are passed."""
        seen, stack = {switch}, [switch]
        while stack:
            at = stack.pop()
            links = (LinkId(at, port) for port in self.ports(side, at, around))
            for neighbour in {self._neighbours[link] for link in links if link in self._neighbours} - seen:
                seen.add(neighbour)
                if neighbour in chosen:
                    yield neighbour
                if neighbour not in chosen or neighbour in passed:
                    stack.append(neighbour)

    def ports(self, side: int, switch: str, around: tuple[Region, ...]) -> frozenset[int]:
        """Ports by which a switch may send packets on."""
        self._look_at(around)
        if (side, switch) not in self._sent:
            forwarding = self._side(side, switch)
            ports = (forwarding.ports(rule) for rule in self.deciding(side, switch, around))
            self._sent[side, switch] = frozenset[int]().union(*ports)
        return self._sent[side, switch]

    def ports_of(self, side: int, switch: str, rule: FlowRule) -> frozenset[int]:
        """Ports by which one rule of a switch may send packets on."""
        return self._side(side, switch).ports(rule)

    def was_sent_to(self, switch: str, port: int, around: tuple[Region, ...]) -> bool:
        """Whether the switch behind a port used to send packets into that cable."""
        back = self._reverse.get(LinkId(switch, port))
        return back is not None and back.port in self.ports(0, back.node, around)

    def decided(self, side: int, switch: str, around: tuple[Region, ...], in_port: int) -> FlowRule | None:
        """The rule that decides over packets which come by a port, and of which no rule asks more."""
        return deciding(self._candidates(side, switch, around), frozenset({("in_port", in_port)}))

    def deciding(self, side: int, switch: str, around: tuple[Region, ...]) -> list[FlowRule]:
        """Rules that decide over some packets."""
        candidates = self._candidates(side, switch, around)
        if len(candidates) == 1:
            return [candidates[0][1]]
        return [rule for kind, rule in candidates if deciding(candidates, kind) is rule]

    def _candidates(self, side: int, switch: str, around: tuple[Region, ...]) -> tuple[Candidate, ...]:
        self._look_at(around)
        if (side, switch) not in self._found:
            self._found[side, switch] = self._side(side, switch).candidates(around)
        return self._found[side, switch]

    def _look_at(self, around: tuple[Region, ...]) -> None:
        if around != self._around:
            self._around = around
            self._found.clear()
            self._sent.clear()

    def _side(self, side: int, switch: str) -> Forwarding:
        if switch not in self._forwarding[side]:
            old, new = (rules.get(switch, SwitchRules()) for rules in self._rules)
            if old == new:
                self._forwarding[0][switch] = self._forwarding[1][switch] = Forwarding(new)
            else:
                self._forwarding[side][switch] = Forwarding((old, new)[side])
            self._rest()
        return self._forwarding[side][switch]
