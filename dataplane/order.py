"""The order in which switches change hop-by-hop rules, so that no packet goes round or is lost between old and new.

A switch changes what it does with a destination only after every switch has that its packets meet from there on. So a
packet follows the old routing until it meets a switch that has changed, and from there on the new routing alone: as
both end at the destination, so does every mixture (ordered changes of routes: Francois and Bonaventure, "Avoiding
transient loops during the convergence of link-state routing protocols", IEEE/ACM ToN 2007; RFC 6976).

One rule can decide for several destinations. On one switch, more specific rules come before less specific ones, and go
after them: so each address passes from its old rule to its new one, and by no third. Where summed-up rules of several
switches would each have to wait for the other, rules for single hosts are put before them for as long as they change.

Where two neighbours used to send one way and now send the other, packets are still under way on their cable when the
second of them changes. They would have to leave by the port by which they come in, which needs a rule that says so: one
for each host, until they have arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import TypeAlias

from dataplane.clearing import BEFORE_ALL
from dataplane.forwarding import Destinations, Region, Regions, regions_of
from dataplane.operations import AddFlow, RemoveFlow, Rest, no_rest, resting
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    FlowRule,
    Match,
    Output,
    RuleSet,
    SwitchRules,
    ToGroup,
)
from topologies.fabric import Fabric

FlowChange: TypeAlias = AddFlow | RemoveFlow
Change: TypeAlias = tuple[str, FlowChange]
"""What one switch does."""


@dataclass(frozen=True, slots=True)
class Order:
    """Rounds of changes; every switch has answered its barrier before the next round begins.

    Attributes
    ----------
    rounds : tuple of dict of str to tuple of FlowChange
        By switch.
    needs : dict of Change to frozenset of Change
        What must have been done before a change; it must not be made where one of these failed.
    """

    rounds: tuple[dict[str, tuple[FlowChange, ...]], ...]
    needs: dict[Change, frozenset[Change]]


def in_turn(changes: Iterable[FlowChange]) -> list[FlowChange]:
    """Changes of one table of one switch such that no packet meets a rule that is neither its old nor its new one.

    Rules come from the highest priority down, then others go from the lowest up.
    """
    changes = list(changes)
    added = [change for change in changes if isinstance(change, AddFlow)]
    removed = [change for change in changes if isinstance(change, RemoveFlow)]
    added.sort(key=lambda change: (-change.flow.priority, change.flow.cookie))
    removed.sort(key=lambda change: (change.flow.priority, change.flow.cookie))
    return [*added, *removed]


def order_changes(
    old: RuleSet,
    new: RuleSet,
    changes: Mapping[str, Sequence[FlowChange]],
    fabric: Fabric | None = None,
    before: Fabric | None = None,
    rest: Rest = no_rest,
) -> Order:
    """Rounds for changes of the transit and default tables.

    Parameters
    ----------
    old, new : RuleSet
        What the switches have before and after; a switch in neither is not looked at.
    changes : mapping of str to sequence of FlowChange
        The difference of the two in these tables.
    fabric : Fabric, optional
        Where ports lead, for the new rules. Without it there is one round, and nothing is promised.
    before : Fabric, optional
        The same for the old rules, where it has links that are no more.
    rest : callable, optional
        Called now and then.
    """
    listed = {switch: in_turn(found) for switch, found in changes.items() if found}
    if fabric is None or not listed or not any(map(_forwards, old.values())):
        rounds = ({switch: tuple(found) for switch, found in listed.items()},) if listed else ()
        return Order(rounds, {})
    return _Ordering(old, new, listed, fabric, before or fabric, rest).order()


def _forwards(rules: SwitchRules) -> bool:
    """Whether a switch sends anything on: where none does, as at a start, nothing can be lost and any order will do."""
    ends = (PORT_CONTROLLER, PORT_IN_PORT)
    return any(
        isinstance(action, ToGroup) or (isinstance(action, Output) and action.port not in ends)
        for flow in rules.flows
        for action in flow.actions
    )


@dataclass(slots=True)
class _Graph:
    """What comes after what: ``weight`` 0 where one batch of one switch may hold both in that order, else 1."""

    after: dict[int, dict[int, int]] = field(default_factory=dict)
    needs: dict[int, set[int]] = field(default_factory=dict)

    def add(self, first: int, then: int, weight: int) -> None:
        known = self.after.setdefault(first, {})
        known[then] = max(known.get(then, 0), weight)
        self.needs.setdefault(then, set()).add(first)

    def levels(self, changes: Iterable[int]) -> dict[int, int]:
        """The earliest round of each; those on a circle, and behind one, are missing."""
        earliest = dict.fromkeys(changes, 0)
        waits = {change: len(self.needs.get(change, ())) for change in earliest}
        ready = [change for change, count in waits.items() if not count]
        levels: dict[int, int] = {}
        while ready:
            change = ready.pop()
            levels[change] = earliest[change]
            for then, weight in self.after.get(change, {}).items():
                earliest[then] = max(earliest[then], earliest[change] + weight)
                waits[then] -= 1
                if not waits[then]:
                    ready.append(then)
        return levels


class _Ordering:
    """The order of one update's changes, which are numbered: what comes earlier on a switch has a lower number."""

    def __init__(
        self,
        old: RuleSet,
        new: RuleSet,
        changes: Mapping[str, Sequence[FlowChange]],
        fabric: Fabric,
        before: Fabric,
        rest: Rest,
    ) -> None:
        self._fabric = fabric
        self._rest = rest
        self._destinations = Destinations(old, new, (*before.links, *fabric.links), rest)
        self._changes: list[Change] = [(switch, change) for switch, found in changes.items() for change in found]
        self._numbers: dict[str, list[int]] = {}
        self._touching: dict[Region, set[str]] = {}
        for number, (switch, change) in enumerate(self._changes):
            self._numbers.setdefault(switch, []).append(number)
            for region in regions_of(change.flow):
                self._touching.setdefault(region, set()).add(switch)
        self._by_key: dict[str, dict[tuple[bool, object], int]] = {}
        self._graph = _Graph()

    def order(self) -> Order:
        """Rounds for all changes."""
        regions, forwarded = self._all_regions()
        for region in resting(regions.own(), self._rest):
            around = regions.around(region)
            # Where nothing was forwarded before, nothing can be lost or go round.
            if not forwarded.isdisjoint(around) and not self._touching.keys().isdisjoint(around):
                self._wait_downstream(around)
        for switch in {self._changes[number][0] for number in self._graph.after.keys() | self._graph.needs.keys()}:
            self._wait_for_more_specific(switch, regions)
        levels = self._graph.levels(range(len(self._changes)))
        circling = frozenset(range(len(self._changes))) - levels.keys()
        rounds = self._rounds(levels)
        needs = self._named(self._graph)
        self._send_back(levels, regions, forwarded, rounds, needs)
        if circling:
            rounds += self._on_a_circle(circling, regions, needs)
        return Order(tuple(rounds), needs)

    def _all_regions(self) -> tuple[Regions, frozenset[Region]]:
        """All regions that may matter, and those in which packets were forwarded before."""
        regions = set(self._touching)
        forwarded = {region for region in regions if region.eth_type == ETH_TYPE_MPLS}
        if len(forwarded) < len(regions):
            for side in (0, 1):
                for region, forwards in self._destinations.addressed(side):
                    regions.add(region)
                    if forwards and side == 0:
                        forwarded.add(region)
        return Regions(regions), frozenset(forwarded)

    # ── one destination ──────────────────────────────────────────────────────────────────────────

    def _wait_downstream(self, around: tuple[Region, ...]) -> None:
        """Of all destinations that lie in just these regions: who changes after whom."""
        moved = self._moves(around)
        if len(moved) < 2:
            return
        look = self._destinations
        for switch, changes in moved.items():
            for downstream in look.next_among(1, switch, around, moved):
                self._wait(moved[downstream], changes)
        # A switch that leads nowhere any more does so only once nobody sends anything there.
        ends = {switch for switch in moved if not look.ports(1, switch, around)}
        for switch in moved.keys() - ends if ends else ():
            for end in look.next_among(0, switch, around, moved, ends):
                if end in ends:
                    self._wait(moved[switch], moved[end])

    def _wait(self, first: Iterable[int], then: Iterable[int]) -> None:
        """All of ``then`` come in a later round than all of ``first``."""
        for before in first:
            for after in then:
                self._graph.add(before, after, 1)

    def _moves(self, around: tuple[Region, ...]) -> dict[str, set[int]]:
        """The changes by which switches come to send the packets to one destination elsewhere."""
        moved: dict[str, set[int]] = {}
        for switch in set[str]().union(*(self._touching.get(region, ()) for region in around)):
            for was, becomes in self._destinations.turns(switch, around):
                if (moment := self._moment(switch, was, becomes)) is not None:
                    moved.setdefault(switch, set()).add(moment)
        return moved

    def _moment(self, switch: str, was: FlowRule | None, becomes: FlowRule | None) -> int | None:
        """The change with which packets pass from one rule to another, where all come in turn.

        There is none only on a switch of which two rules of one priority match one packet, as we make none.
        """
        if switch not in self._by_key:
            changes = ((number, self._changes[number][1]) for number in self._numbers[switch])
            self._by_key[switch] = {
                (isinstance(change, AddFlow), change.flow.key): number for number, change in changes
            }
        if becomes is not None and (was is None or becomes.priority >= was.priority):
            return self._by_key[switch].get((True, becomes.key))
        return self._by_key[switch].get((False, was.key)) if was is not None else None

    # ── one switch ───────────────────────────────────────────────────────────────────────────────

    def _wait_for_more_specific(self, switch: str, regions: Regions) -> None:
        """Changes of one switch that concern the same destinations keep their turn."""
        at: dict[Region, list[int]] = {}
        for number in self._numbers[switch]:
            for region in regions_of(self._changes[number][1].flow):
                at.setdefault(region, []).append(number)
        for region, found in at.items():
            for wide in regions.around(region):
                for one in found:
                    for other in at.get(wide, ()):
                        if one != other:
                            self._graph.add(min(one, other), max(one, other), 0)

    # ── circles ──────────────────────────────────────────────────────────────────────────────────

    def _on_a_circle(
        self, circling: frozenset[int], regions: Regions, needs: dict[Change, frozenset[Change]]
    ) -> list[dict[str, tuple[FlowChange, ...]]]:
        """Rounds for changes that wait for one another: rules for single hosts come before them and go after them."""
        stand_ins = _Graph()
        first = len(self._changes)
        for address, _, around in self._hosts(regions):
            self._stand_in(around, address, circling, stand_ins)
        made = range(first, len(self._changes))
        levels = stand_ins.levels(made)
        # Only a new routing that itself goes round leaves any out, and such a one is never installed.
        rounds = self._rounds({number: levels.get(number, 0) for number in made})
        rounds += self._rounds(dict.fromkeys(sorted(circling), 0))
        needs |= self._named(stand_ins)
        put, changed = (frozenset(self._changes[number] for number in numbers) for numbers in (made, circling))
        for number in circling:
            change = self._changes[number]
            needs[change] = needs.get(change, frozenset()) - changed | put
        last: dict[str, tuple[FlowChange, ...]] = {}
        for switch, stand_in in sorted(put, key=lambda change: (change[0], change[1].flow.priority)):
            gone = RemoveFlow(stand_in.flow)
            last[switch] = (*last.get(switch, ()), gone)
            needs[switch, gone] = changed
        return [*rounds, last]

    def _stand_in(self, around: tuple[Region, ...], address: str, circling: frozenset[int], graph: _Graph) -> None:
        """Rules for one host, with what decides over its packets in the end, at switches that change on a circle."""
        made: dict[str, list[int]] = {}
        for switch, changes in self._moves(around).items():
            if not changes.isdisjoint(circling):
                for rule in self._destinations.deciding(1, switch, around):
                    if rule.match.eth_type is not None:
                        made.setdefault(switch, []).append(len(self._changes))
                        self._changes.append((switch, AddFlow(_for_host(rule, address))))
        for switch, numbers in made.items():
            for downstream in self._destinations.next_among(1, switch, around, made):
                for first in made[downstream]:
                    for then in numbers:
                        graph.add(first, then, 1)

    # ── packets that come back ───────────────────────────────────────────────────────────────────

    def _send_back(
        self,
        levels: Mapping[int, int],
        regions: Regions,
        forwarded: frozenset[Region],
        rounds: list[dict[str, tuple[FlowChange, ...]]],
        needs: dict[Change, frozenset[Change]],
    ) -> None:
        """Put rules for packets that are under way towards a switch which will send them back before its changes."""
        for address, eth_type, around in self._hosts(regions):
            # Where nothing was forwarded before, nothing is under way.
            moved = self._moves(around) if not forwarded.isdisjoint(around) else {}
            for switch, changes in moved.items() if len(moved) > 1 else ():
                for rule, port in self._turning_back(switch, around):
                    moments = [number for number in changes if number in levels]
                    if not moments:
                        continue
                    first = min(moments, key=lambda number: (levels[number], number))
                    back = AddFlow(_sending_back(rule, eth_type, address, port))
                    found = rounds[levels[first]]
                    if back not in found[switch]:
                        found[switch] = (back, *found[switch])
                        needs[switch, back] = needs.get(self._changes[first], frozenset())

    def _turning_back(self, switch: str, around: tuple[Region, ...]) -> Iterator[tuple[FlowRule, int]]:
        """Rules by which a switch will send into ports by which it was sent to, and these ports."""
        look = self._destinations
        for rule in look.deciding(1, switch, around):
            if rule.match.in_port is None:
                for port in look.ports_of(1, switch, rule):
                    if look.was_sent_to(switch, port, around) and look.decided(1, switch, around, port) is rule:
                        yield rule, port

    def _hosts(self, regions: Regions) -> Iterator[tuple[str, int, tuple[Region, ...]]]:
        """Every host's address by every Ethernet type, and the regions that it is in."""
        for host in self._fabric.hosts:
            for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP) if host.ip is not None else ():
                address = host.ip or ""
                yield address, eth_type, regions.around(Region(eth_type, int(IPv4Address(address)), 32))

    # ── the result ───────────────────────────────────────────────────────────────────────────────

    def _rounds(self, levels: Mapping[int, int]) -> list[dict[str, tuple[FlowChange, ...]]]:
        rounds: list[dict[str, list[FlowChange]]] = [{} for _ in range(max(levels.values(), default=-1) + 1)]
        for number in sorted(levels):
            switch, change = self._changes[number]
            rounds[levels[number]].setdefault(switch, []).append(change)
        return [{switch: tuple(changes) for switch, changes in sorted(found.items())} for found in rounds]

    def _named(self, graph: _Graph) -> dict[Change, frozenset[Change]]:
        return {
            self._changes[number]: frozenset(self._changes[first] for first in firsts)
            for number, firsts in graph.needs.items()
        }


def _for_host(rule: FlowRule, address: str) -> FlowRule:
    if rule.match.eth_type == ETH_TYPE_IPV4:
        match = replace(rule.match, ipv4_dst=address)
    else:
        match = replace(rule.match, arp_tpa=address)
    return replace(rule, match=match, priority=rule.priority + BEFORE_ALL)


def _sending_back(rule: FlowRule, eth_type: int, address: str, port: int) -> FlowRule:
    """The rule for packets to one host that come by a port by which they are to leave."""
    if eth_type == ETH_TYPE_IPV4:
        match = Match(in_port=port, eth_type=eth_type, ipv4_dst=address)
    else:
        match = Match(in_port=port, eth_type=eth_type, arp_tpa=address)
    return replace(rule, match=match, priority=rule.priority + BEFORE_ALL, actions=(Output(PORT_IN_PORT),))
