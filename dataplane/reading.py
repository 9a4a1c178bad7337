"""What the rules of one switch do with whole classes of packets, read from them without sending one."""

from __future__ import annotations

from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

from dataplane.addresses import AddressSpace, cuts
from dataplane.fates import NOTHING, Fates, Unreadable
from dataplane.matching import prefix_range
from dataplane.pipeline import SwitchPipeline
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    PORT_CONTROLLER,
    Action,
    FlowRule,
    Match,
    Output,
    SwitchRules,
    Table,
)
from topologies.fabric import Node

_ROUTED = frozenset({"in_port", "eth_type", "ipv4_dst", "arp_tpa"})
_SWITCHED = frozenset({"in_port", "eth_type", "mpls_label"})
_OF_PAIRS = frozenset(
    {"eth_type", "ipv4_src", "ipv4_dst", "ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst"}
)  # fmt: skip


class Entry(NamedTuple):
    """What is done with some destinations.

    Attributes
    ----------
    doing : int
        The actions' number among the switch's `Fates`.
    """

    doing: int
    eth_type: int
    atoms: int


class Routes(NamedTuple):
    """The default table, for destinations in sets.

    Attributes
    ----------
    general : tuple of Entry
        They do not overlap, and leave out nothing.
    by_port : dict of int to tuple of Entry
        What is done otherwise with packets that come in by a port.
    """

    general: tuple[Entry, ...]
    by_port: dict[int, tuple[Entry, ...]]


_TO_CONTROLLER: tuple[Action, ...] = (Output(PORT_CONTROLLER),)

_READ_FROM: dict[Table, tuple[str, ...]] = {
    Table.GUARD: ("admitting", "_guard", "_admitted"),
    Table.CLASSIFY: ("targets", "_classify"),
    Table.TRANSIT: ("_switched", "_are_labels_readable"),
    Table.DEFAULT: ("default_cuts", "_default_rules", "_routes"),
}
"""What is read from each table alone."""


class SwitchReading:
    """The rules of one switch.

    Parameters
    ----------
    before : SwitchReading, optional
        Of the same switch with other rules: tables in which nothing changed need not be read again.

    Attributes
    ----------
    fates : Fates

    Raises
    ------
    RuleError
        As for `SwitchPipeline`.
    """

    def __init__(self, name: str, rules: SwitchRules, before: SwitchReading | None = None) -> None:
        self.rules = rules
        self.pipeline: SwitchPipeline = SwitchPipeline(name, rules, before.pipeline if before is not None else None)
        self.fates: Fates = Fates(name, rules.groups) if before is None else before.fates.after(rules.groups)
        self._routes: dict[AddressSpace, Routes] = {}
        self._switched: dict[tuple[int, int], int] = {}
        self._admitted: dict[tuple[int, int, Node | None], Table | None] = {}
        if before is not None and self.fates is before.fates:
            for table, names in _READ_FROM.items():
                if self.pipeline.tables[table] is before.pipeline.tables[table]:
                    self.__dict__.update({name: before.__dict__[name] for name in names if name in before.__dict__})

    @cached_property
    def admitting(self) -> tuple[tuple[Match, str], ...]:
        """What the rules match that let packets past the guard, and how they are called."""
        return tuple((rule.match, str(rule)) for rule in self.pipeline.admitting())

    def _by_priority(self, table: Table, readable: frozenset[str]) -> list[FlowRule]:
        """The rules of a table, highest first, where they look at nothing but some fields."""
        rules: list[FlowRule] = []
        for shape in self.pipeline.tables[table]:
            if not shape.names <= readable:
                rule = next(iter(shape.rules.values()))
                raise Unreadable(f"{self.pipeline.name} looks at {', '.join(sorted(shape.names - readable))} in {rule}")
            rules += shape.rules.values()
        return rules

    @cached_property
    def default_cuts(self) -> frozenset[int]:
        """Where the intervals of addresses begin that the default table tells apart."""
        prefixes = {rule.match.ipv4_dst or rule.match.arp_tpa for rule in self._default_rules}
        return frozenset(cut for prefix in prefixes if prefix is not None for cut in cuts(prefix))

    @cached_property
    def targets(self) -> frozenset[str]:
        """The addresses that pairs with rules of their own go to."""
        return frozenset().union(*self._classify[0].values())

    @cached_property
    def _default_rules(self) -> list[FlowRule]:
        rules = self._by_priority(Table.DEFAULT, _ROUTED)
        return [rule for rule in rules if rule.match.eth_type in (None, ETH_TYPE_IPV4, ETH_TYPE_ARP)]

    def routes(self, space: AddressSpace) -> Routes:
        """The default table over some address space."""
        if space not in self._routes:
            # Nobody asks for the one before again.
            self._routes = {space: self._read_routes(space)}
        return self._routes[space]

    def _read_routes(self, space: AddressSpace) -> Routes:
        ports = {rule.match.in_port for rule in self._default_rules} - {None}
        rules = [
            (rule.priority, rule.match.in_port, kind, self.fates.number(rule.actions), self._atoms(rule, kind, space))
            for rule in self._default_rules
            for kind in ([rule.match.eth_type] if rule.match.eth_type else [ETH_TYPE_IPV4, ETH_TYPE_ARP])
        ]
        general = [rule for rule in rules if rule[1] is None]
        rest = {eth_type: space.all_of(eth_type) for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP)}
        entries = _entries(general, rest)
        entries += [Entry(NOTHING, eth_type, atoms) for eth_type, atoms in rest.items() if atoms]
        own: dict[int | None, list[tuple[int, int | None, int, int, int]]] = {port: [] for port in ports}
        for rule in rules:
            if rule[1] is not None:
                own[rule[1]].append(rule)
        highest = max((rule[0] for rule in general), default=-1)
        by_port: dict[int, tuple[Entry, ...]] = {}
        for port, special in own.items():
            if port is None:
                continue
            rest = {eth_type: space.all_of(eth_type) for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP)}
            if special[-1][0] > highest:
                by_port[port] = tuple(_entries(special, rest))
            else:
                merged = sorted((*special, *general), key=itemgetter(0), reverse=True)
                by_port[port] = tuple(_entries(merged, rest))
        return Routes(tuple(entries), by_port)

    def _atoms(self, rule: FlowRule, eth_type: int, space: AddressSpace) -> int:
        if rule.goto is not None:
            raise Unreadable(f"{self.pipeline.name} goes on to another table by {rule}")
        prefix = rule.match.ipv4_dst or rule.match.arp_tpa
        return space.all_of(eth_type) if prefix is None else space.of(eth_type, prefix)

    @cached_property
    def _are_labels_readable(self) -> bool:
        self._by_priority(Table.TRANSIT, _SWITCHED)
        return True

    def switched(self, label: int, in_port: int) -> int:
        """What is done with a label that comes in by a port, by the actions' number."""
        doing = self._switched.get((label, in_port))
        if doing is None and self._are_labels_readable:
            rule = self.pipeline.lookup_label(label, in_port)
            if rule is not None and rule.goto is not None:
                raise Unreadable(f"{self.pipeline.name} goes on to another table by {rule}")
            doing = self._switched[label, in_port] = NOTHING if rule is None else self.fates.number(rule.actions)
        return NOTHING if doing is None else doing

    def labels_changed_since(self, before: SwitchReading) -> frozenset[int] | None:
        """The labels with which the switch does otherwise than it did, or may; None: all."""
        if self.fates is not before.fates:
            return None
        if self.pipeline.tables[Table.TRANSIT] is before.pipeline.tables[Table.TRANSIT]:
            return frozenset()
        changed = self.rules.flows ^ before.rules.flows
        labels = {rule.match.mpls_label for rule in changed if rule.table is Table.TRANSIT}
        return None if None in labels else frozenset(label for label in labels if label is not None)

    @cached_property
    def _guard(self) -> dict[int | None, list[FlowRule]]:
        found: dict[int | None, list[FlowRule]] = {}
        for shape in self.pipeline.tables[Table.GUARD]:
            for rule in shape.rules.values():
                found.setdefault(rule.match.in_port, []).append(rule)
        return found

    def admitted(self, in_port: int, eth_type: int, host: Node | None) -> Table | None:
        """The table to which packets of an Ethernet type go from a port; None where that is the end of them.

        Parameters
        ----------
        host : Node or None
            Whose addresses the packets come from; None: a switch passes them on, from whomever.
        """
        key = (in_port, eth_type, host)
        if key not in self._admitted:
            self._admitted[key] = self._admit(in_port, eth_type, host)
        return self._admitted[key]

    def _admit(self, in_port: int, eth_type: int, host: Node | None) -> Table | None:
        rules: list[FlowRule] = [*self._guard.get(in_port, ()), *self._guard.get(None, ())]
        for rule in sorted(rules, key=lambda rule: -rule.priority):
            if self._lets_in(rule, eth_type, host):
                if rule.actions and (rule.goto is not None or rule.actions != _TO_CONTROLLER):
                    raise Unreadable(f"{self.pipeline.name} sends packets out by {rule}")
                return rule.goto
        return None

    def _lets_in(self, rule: FlowRule, eth_type: int, host: Node | None) -> bool:
        match = rule.match
        if match.eth_type not in (None, eth_type):
            return False
        wanted = {name: getattr(match, name) for name in ("eth_src", "ipv4_src", "arp_spa", "arp_sha")}
        others = (match.eth_dst, match.ipv4_dst, match.arp_tpa, match.mpls_label, match.ip_proto)
        if any(value is not None for value in others) or (host is None and any(wanted.values())):
            raise Unreadable(f"{self.pipeline.name} tells packets apart by {rule}")
        if host is None:
            return True
        has = {"eth_src": host.mac, "ipv4_src": host.ip, "arp_spa": host.ip, "arp_sha": host.mac}
        for name, value in wanted.items():
            if value is not None and value != has[name] and not (name == "ipv4_src" and _within(host.ip, value)):
                return False
        return True

    @cached_property
    def _classify(self) -> tuple[dict[str, dict[str, list[FlowRule]]], list[FlowRule]]:
        """The rules of the classify table by source and target, and those for packets of any pair, highest first."""
        pairs: dict[str, dict[str, list[FlowRule]]] = {}
        others: list[FlowRule] = []
        for rule in self._by_priority(Table.CLASSIFY, _OF_PAIRS):
            source, target = rule.match.ipv4_src, rule.match.ipv4_dst
            if source is None and target is None and rule.match.ip_proto is None:
                if rule.actions or rule.goto not in (Table.DEFAULT, None):
                    raise Unreadable(f"{self.pipeline.name} does not only pass on by {rule}")
                others.append(rule)
            elif source is None or target is None or "/" in source or "/" in target or others:
                raise Unreadable(f"{self.pipeline.name} tells no pair of addresses apart by {rule}")
            else:
                pairs.setdefault(source, {}).setdefault(target, []).append(rule)
        return pairs, others

    def sent_by(self, address: str) -> tuple[object, ...]:
        """All of the classify table that packets of a host may meet."""
        return self.planned_from(address), self._classify[1]

    def is_passed_on(self, eth_type: int) -> bool:
        """Whether the classify table hands packets that no rule of a pair takes to the default table."""
        for rule in self._classify[1]:
            if rule.match.eth_type in (None, eth_type):
                return rule.goto is not None
        return False

    def planned_from(self, address: str) -> dict[str, list[FlowRule]]:
        """The classify rules for packets of a host, by where they go."""
        return self._classify[0].get(address, {})


def _entries(rules: list[tuple[int, int | None, int, int, int]], rest: dict[int, int]) -> list[Entry]:
    """What falls to each kind of action when rules take, one after another, what is left; ``rest`` shrinks."""
    taken: dict[tuple[int, int], int] = {}
    for _, _, eth_type, doing, atoms in rules:
        hit = atoms & rest[eth_type]
        if hit:
            rest[eth_type] ^= hit
            taken[doing, eth_type] = taken.get((doing, eth_type), 0) | hit
    return [Entry(doing, eth_type, atoms) for (doing, eth_type), atoms in taken.items()]


def _within(address: str | None, prefix: str) -> bool:
    start, size = prefix_range(prefix)
    return address is not None and start <= prefix_range(address)[0] < start + size
