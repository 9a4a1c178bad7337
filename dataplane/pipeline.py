"""Executes rules in memory as a switch would, every choice of a select group included.

Packets, matching and actions follow OpenFlow 1.3.5, section 5, as far as our rules go. A table is looked up as in
Open vSwitch: rules with the same priority and fields share one hash table (tuple space search; Srinivasan, Suri
and Varghese, "Packet classification using tuple space search", SIGCOMM 1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, TypeAlias

from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    FlowRule,
    Match,
    Output,
    PopLabel,
    PushLabel,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)
from topologies.errors import HeddleError

_FIELDS = tuple(field.name for field in fields(Match))

_PREREQUISITES = {
    "ipv4_src": ETH_TYPE_IPV4,
    "ipv4_dst": ETH_TYPE_IPV4,
    "arp_spa": ETH_TYPE_ARP,
    "arp_sha": ETH_TYPE_ARP,
    "arp_tpa": ETH_TYPE_ARP,
    "mpls_label": ETH_TYPE_MPLS,
}
"""Ethernet type without which a field must not be matched on (OpenFlow 1.3.5, section 7.2.3)."""


class RuleError(HeddleError):
    """Rules that a switch would refuse, or whose meaning it may choose; the message names switch and rule."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The headers that rules can see. ``labels``: MPLS labels, outermost first; below them is IPv4."""

    eth_src: str
    eth_dst: str
    eth_type: int
    ipv4_src: str | None = None
    ipv4_dst: str | None = None
    arp_spa: str | None = None
    arp_sha: str | None = None
    arp_tpa: str | None = None
    labels: tuple[int, ...] = ()


def ipv4_packet(source: tuple[str, str], target: tuple[str, str]) -> Packet:
    """An IPv4 packet between two hosts, each given as MAC and address."""
    return Packet(source[0], target[0], ETH_TYPE_IPV4, ipv4_src=source[1], ipv4_dst=target[1])


def arp_packet(source: tuple[str, str], target_ip: str, eth_dst: str = "ff:ff:ff:ff:ff:ff") -> Packet:
    """An ARP packet from a host, given as MAC and address."""
    return Packet(source[0], eth_dst, ETH_TYPE_ARP, arp_spa=source[1], arp_sha=source[0], arp_tpa=target_ip)


@dataclass(frozen=True, slots=True)
class Emission:
    """A packet that leaves a switch by a port (`PORT_CONTROLLER`: to the controller)."""

    port: int
    packet: Packet


Alternative: TypeAlias = tuple[Emission, ...]
"""What one choice of all hashes sends out; empty: the packet is dropped."""


@dataclass(frozen=True, slots=True)
class _Headers:
    """A packet as the match fields see it."""

    in_port: int
    eth_src: str
    eth_dst: str
    eth_type: int
    ipv4_src: str | None
    ipv4_dst: str | None
    arp_spa: str | None
    arp_sha: str | None
    arp_tpa: str | None
    mpls_label: int | None


def _headers(packet: Packet, in_port: int) -> _Headers:
    label = packet.labels[0] if packet.labels else None
    plain = label is None
    return _Headers(
        in_port,
        packet.eth_src,
        packet.eth_dst,
        packet.eth_type if plain else ETH_TYPE_MPLS,
        packet.ipv4_src if plain else None,
        packet.ipv4_dst if plain else None,
        packet.arp_spa if plain else None,
        packet.arp_sha if plain else None,
        packet.arp_tpa if plain else None,
        label,
    )


class _Shape:
    """Rules of one table with the same priority that match on the same fields."""

    def __init__(self, priority: int, names: tuple[str, ...]) -> None:
        self.priority = priority
        self.names = names
        self.values = attrgetter(*names) if names else lambda _: ()
        self.rules: dict[Any, FlowRule] = {}


class SwitchPipeline:
    """The tables of one switch.

    Raises
    ------
    RuleError
        Two rules with one priority can match one packet, a rule names a group or meter that is not there, or it
        matches on a field without the Ethernet type that has it.
    """

    def __init__(self, name: str, rules: SwitchRules) -> None:
        self._name = name
        self._groups = {group.id: group for group in rules.groups}
        meters = {meter.id for meter in rules.meters}
        self._tables: dict[Table, list[_Shape]] = {table: [] for table in Table}
        shapes: dict[tuple[Table, int, tuple[str, ...]], _Shape] = {}
        for rule in rules.flows:
            self._check_references(rule, meters)
            names = tuple(name for name in _FIELDS if getattr(rule.match, name) is not None)
            key = (rule.table, rule.priority, names)
            if key not in shapes:
                shapes[key] = _Shape(rule.priority, names)
                self._tables[rule.table].append(shapes[key])
            clash = shapes[key].rules.setdefault(shapes[key].values(rule.match), rule)
            if clash is not rule:
                raise RuleError(f"{name} has two rules with one key: {clash} and {rule}")
        for table in self._tables.values():
            table.sort(key=lambda shape: -shape.priority)
            _refuse_ambiguity(name, table)

    def _check_references(self, rule: FlowRule, meters: AbstractSet[int]) -> None:
        if rule.meter_id is not None and rule.meter_id not in meters:
            raise RuleError(f"{self._name} has no meter {rule.meter_id:#x}, which {rule} names")
        for action in rule.actions:
            if isinstance(action, ToGroup) and action.group_id not in self._groups:
                raise RuleError(f"{self._name} has no group {action.group_id:#x}, which {rule} names")
        if rule.goto is not None and rule.goto <= rule.table:
            raise RuleError(f"{self._name} has a rule that goes back to an earlier table: {rule}")
        for name, eth_type in _PREREQUISITES.items():
            if getattr(rule.match, name) is not None and rule.match.eth_type != eth_type:
                raise RuleError(f"{self._name} refuses {rule}: {name} needs eth_type=0x{eth_type:04x}")

    def fields_seen(self, in_port: int) -> frozenset[str]:
        """Match fields that can decide over packets that come in by a port."""
        seen: set[str] = set()
        tables, reached = [Table.GUARD], {Table.GUARD}
        while tables:
            for shape in self._tables[tables.pop()]:
                for rule in shape.rules.values():
                    if rule.match.in_port not in (None, in_port):
                        continue
                    seen.update(shape.names)
                    if rule.goto is not None and rule.goto not in reached:
                        reached.add(rule.goto)
                        tables.append(rule.goto)
        return frozenset(seen)

    def admitting(self) -> Iterator[FlowRule]:
        """Rules of the guard table that let packets past it, other than to the controller."""
        for shape in self._tables[Table.GUARD]:
            for rule in shape.rules.values():
                if rule.goto is not None or any(action != Output(PORT_CONTROLLER) for action in rule.actions):
                    yield rule

    def decided_by(self, packet: Packet, in_port: int) -> str:
        """The last rule that a packet meets, in words."""
        table = Table.GUARD
        while True:
            rule = self._lookup(table, _headers(packet, in_port))
            if rule is None:
                return f"the {table.name.lower()} table, which has no rule for it"
            if rule.goto is None:
                return str(rule)
            # Groups work on copies, so every choice leaves the packet alike.
            packet = self._apply(rule.actions, packet, in_port, frozenset())[0][1]
            table = rule.goto

    def process(
        self, packet: Packet, in_port: int, dead_ports: AbstractSet[int] = frozenset()
    ) -> frozenset[Alternative]:
        """What may come out when a packet comes in.

        Parameters
        ----------
        dead_ports : set of int
            Ports without link: buckets that watch them are not chosen.

        Returns
        -------
        frozenset of Alternative
            One for each outcome that some hash can choose.
        """
        return frozenset(self._table(Table.GUARD, packet, in_port, dead_ports, ()))

    def _table(
        self, table: Table, packet: Packet, in_port: int, dead_ports: AbstractSet[int], sent: Alternative
    ) -> Iterator[Alternative]:
        rule = self._lookup(table, _headers(packet, in_port))
        if rule is None:
            yield sent
            return
        for emitted, changed in self._apply(rule.actions, packet, in_port, dead_ports):
            if rule.goto is None:
                yield sent + emitted
            else:
                yield from self._table(rule.goto, changed, in_port, dead_ports, sent + emitted)

    def _lookup(self, table: Table, headers: _Headers) -> FlowRule | None:
        for shape in self._tables[table]:
            rule = shape.rules.get(shape.values(headers))
            if rule is not None:
                return rule
        return None

    def _apply(
        self, actions: Iterable[Action], packet: Packet, in_port: int, dead_ports: AbstractSet[int]
    ) -> list[tuple[Alternative, Packet]]:
        """Each alternative's emissions, with the packet as the actions left it."""
        outcomes: list[tuple[Alternative, Packet]] = [((), packet)]
        for action in actions:
            match action:
                case Output(port):
                    outcomes = [(sent + _output(port, current, in_port), current) for sent, current in outcomes]
                case PushLabel(label):
                    outcomes = [(sent, replace(now, labels=(label, *now.labels))) for sent, now in outcomes]
                case SetLabel(label):
                    outcomes = [(sent, replace(now, labels=(label, *now.labels[1:]))) for sent, now in outcomes]
                case PopLabel():
                    outcomes = [(sent, replace(now, labels=now.labels[1:])) for sent, now in outcomes]
                case ToGroup(group_id):
                    # A group works on a copy: what its buckets change, the packet does not keep.
                    outcomes = [
                        (sent + chosen, now)
                        for sent, now in outcomes
                        for chosen in self._choices(group_id, now, in_port, dead_ports)
                    ]
        return outcomes

    def _choices(
        self, group_id: int, packet: Packet, in_port: int, dead_ports: AbstractSet[int]
    ) -> frozenset[Alternative]:
        live = [bucket for bucket in self._groups[group_id].buckets if bucket.watch_port not in dead_ports]
        distinct = {bucket.actions for bucket in live}
        chosen = {sent for actions in distinct for sent, _ in self._apply(actions, packet, in_port, dead_ports)}
        return frozenset(chosen or {()})


def _output(port: int, packet: Packet, in_port: int) -> Alternative:
    if port == in_port:
        return ()
    return (Emission(in_port if port == PORT_IN_PORT else port, packet),)


def is_punt(emission: Emission) -> bool:
    """Whether a packet went to the controller."""
    return emission.port == PORT_CONTROLLER


def _refuse_ambiguity(switch: str, table: list[_Shape]) -> None:
    """Two rules of one priority must not match one packet: a switch may choose either."""
    for index, shape in enumerate(table):
        for other in table[index + 1 :]:
            if other.priority != shape.priority:
                continue
            shared = tuple(name for name in shape.names if name in other.names)
            project = attrgetter(*shared) if shared else lambda _: ()
            seen = {project(rule.match): rule for rule in shape.rules.values()}
            for rule in other.rules.values():
                clash = seen.get(project(rule.match))
                if clash is not None:
                    raise RuleError(f"{switch} has two rules of one priority for one packet: {clash} and {rule}")
