"""Executes rules in memory as a switch would, every choice of a select group included.

Packets, matching and actions follow OpenFlow 1.3.5, section 5, as far as our rules go. A table is looked up as in
Open vSwitch: rules with the same priority, fields and masks share one hash table (tuple space search; Srinivasan, Suri
and Varghese, "Packet classification using tuple space search", SIGCOMM 1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias

from dataplane.matching import Headers, Masks, RuleError, Shape, masks_of, match_values, refuse_ambiguity
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_MPLS,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Output,
    PopLabel,
    PushLabel,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)

__all__ = [
    "Alternative",
    "Emission",
    "Packet",
    "RuleError",
    "SwitchPipeline",
    "arp_packet",
    "ipv4_packet",
    "is_punt",
]


@dataclass(frozen=True, slots=True)
class Packet:
    """The headers that rules can see.

    Attributes
    ----------
    eth_type : int
        Of what is below the labels.
    labels : tuple of int
        MPLS labels, outermost first.
    ip_proto, src_port, dst_port : int or None
        Of IPv4; the ports are those of TCP or UDP. A packet without them matches no rule that asks for them.
    """

    eth_src: str
    eth_dst: str
    eth_type: int
    ipv4_src: str | None = None
    ipv4_dst: str | None = None
    arp_spa: str | None = None
    arp_sha: str | None = None
    arp_tpa: str | None = None
    labels: tuple[int, ...] = ()
    ip_proto: int | None = None
    src_port: int | None = None
    dst_port: int | None = None


def ipv4_packet(
    source: tuple[str, str],
    target: tuple[str, str],
    *,
    ip_proto: int | None = None,
    src_port: int | None = None,
    dst_port: int | None = None,
) -> Packet:
    """An IPv4 packet between two hosts, each given as MAC and address."""
    (eth_src, ipv4_src), (eth_dst, ipv4_dst) = source, target
    return Packet(
        eth_src,
        eth_dst,
        ETH_TYPE_IPV4,
        ipv4_src=ipv4_src,
        ipv4_dst=ipv4_dst,
        ip_proto=ip_proto,
        src_port=src_port,
        dst_port=dst_port,
    )


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

_BELOW_LABEL = (None,) * 5

_ShapeKey: TypeAlias = tuple[Table, int, Masks]


def _headers(packet: Packet, in_port: int) -> Headers:
    """What a switch sees: of a labelled packet nothing below the outermost label."""
    arrival = (in_port, packet.eth_src, packet.eth_dst)
    if packet.labels:
        return (*arrival, ETH_TYPE_MPLS, *_BELOW_LABEL, packet.labels[0], *_BELOW_LABEL)
    ports = (packet.src_port, packet.dst_port)
    return (
        *arrival,
        packet.eth_type,
        packet.ipv4_src,
        packet.ipv4_dst,
        packet.arp_spa,
        packet.arp_sha,
        packet.arp_tpa,
        None,
        packet.ip_proto,
        *(ports if packet.ip_proto == IP_PROTO_TCP else (None, None)),
        *(ports if packet.ip_proto == IP_PROTO_UDP else (None, None)),
    )


class SwitchPipeline:
    """The tables of one switch.

    Parameters
    ----------
    before : SwitchPipeline, optional
        Of the same switch with other rules: what stays of them is not looked at again.

    Attributes
    ----------
    tables : dict of Table to list of Shape
        Highest priority first; a table in which nothing changed is the same list as before.

    Raises
    ------
    RuleError
        Two rules with one priority can match one packet, a rule names a group or meter that is not there, a group
        hands on to a group, or a rule matches on a field without what must go with it, or on a prefix or mask that is
        not written as switches report it.
    """

    def __init__(self, name: str, rules: SwitchRules, before: SwitchPipeline | None = None) -> None:
        self.name = name
        self.rules = rules
        self._groups = {group.id: group for group in rules.groups}
        self._distinct: dict[int, tuple[Bucket, ...]] = {}
        self._check_groups(rules.groups if before is None else rules.groups - before.rules.groups)
        if before is not None and not before.keeps_references(rules):
            before = None
        fresh = rules.flows if before is None else rules.flows - before.rules.flows
        gone = frozenset() if before is None else before.rules.flows - rules.flows
        self._check_references(fresh)
        self._shapes: dict[_ShapeKey, Shape] = {} if before is None else dict(before._shapes)
        self._exchange(gone, fresh)
        changed = {rule.table for rule in gone} | {rule.table for rule in fresh}
        self.tables: dict[Table, list[Shape]] = {
            table: [] if before is None or table in changed else before.tables[table] for table in Table
        }
        for (table, _, _), shape in self._shapes.items():
            if table in changed:
                self.tables[table].append(shape)
        for table in changed:
            self.tables[table].sort(key=lambda shape: -shape.priority)
            refuse_ambiguity(name, self.tables[table])

    def keeps_references(self, rules: SwitchRules) -> bool:
        """Whether no rule among others names a group or meter that only these have."""
        groups = self._groups.keys() - {group.id for group in rules.groups}
        meters = {meter.id for meter in self.rules.meters} - {meter.id for meter in rules.meters}
        if not groups and not meters:
            return True
        return not any(
            rule.meter_id in meters
            or any(isinstance(action, ToGroup) and action.group_id in groups for action in rule.actions)
            for rule in rules.flows
        )

    def _check_groups(self, groups: AbstractSet[Group]) -> None:
        for group in groups:
            if any(isinstance(action, ToGroup) for bucket in group.buckets for action in bucket.actions):
                raise RuleError(
                    f"{self.name} has a group {group.id:#x} that hands on to a group, which few switches can"
                )

    def _check_references(self, flows: AbstractSet[FlowRule]) -> None:
        meters = {meter.id for meter in self.rules.meters}
        for rule in flows:
            if rule.meter_id is not None and rule.meter_id not in meters:
                raise RuleError(f"{self.name} has no meter {rule.meter_id:#x}, which {rule} names")
            for action in rule.actions:
                if isinstance(action, ToGroup) and action.group_id not in self._groups:
                    raise RuleError(f"{self.name} has no group {action.group_id:#x}, which {rule} names")
            if rule.goto is not None and rule.goto <= rule.table:
                raise RuleError(f"{self.name} has a rule that goes back to an earlier table: {rule}")

    def _exchange(self, gone: AbstractSet[FlowRule], fresh: AbstractSet[FlowRule]) -> None:
        """Take rules out of the shapes and put others in; shapes may be those of another pipeline."""
        own: set[_ShapeKey] = set()

        def shape_of(key: _ShapeKey) -> Shape:
            if key not in own:
                own.add(key)
                known = self._shapes.get(key)
                self._shapes[key] = Shape(*key[1:]) if known is None else known.copy()
            return self._shapes[key]

        for rule in gone:
            key = (rule.table, rule.priority, masks_of(rule.match))
            shape = shape_of(key)
            del shape.rules[shape.key(match_values(rule.match))]
            if not shape.rules:
                own.discard(key)
                del self._shapes[key]
        for rule in fresh:
            try:
                masks = masks_of(rule.match)
            except ValueError as error:
                raise RuleError(f"{self.name} refuses {rule}: {error}") from None
            shape = shape_of((rule.table, rule.priority, masks))
            clash = shape.rules.setdefault(shape.key(match_values(rule.match)), rule)
            if clash is not rule:
                raise RuleError(f"{self.name} has two rules with one key: {clash} and {rule}")

    def admitting(self) -> Iterator[FlowRule]:
        """Rules of the guard table that let packets past it, other than to the controller."""
        for shape in self.tables[Table.GUARD]:
            for rule in shape.rules.values():
                if rule.goto is not None or any(action != Output(PORT_CONTROLLER) for action in rule.actions):
                    yield rule

    def decided_by(self, packet: Packet, in_port: int) -> str:
        """The last rule that a packet meets, in words."""
        table = Table.GUARD
        while True:
            rule = self.lookup(table, packet, in_port)
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

        Raises
        ------
        RuleError
            A rule sets or takes off a label that the packet does not have, or calls what is under it something else
            than it is.
        """
        return frozenset(self._table(Table.GUARD, packet, in_port, dead_ports, ()))

    def _table(
        self, table: Table, packet: Packet, in_port: int, dead_ports: AbstractSet[int], sent: Alternative
    ) -> Iterator[Alternative]:
        rule = self.lookup(table, packet, in_port)
        if rule is None:
            yield sent
            return
        for emitted, changed in self._apply(rule.actions, packet, in_port, dead_ports):
            if rule.goto is None:
                yield sent + emitted
            else:
                yield from self._table(rule.goto, changed, in_port, dead_ports, sent + emitted)

    def lookup(self, table: Table, packet: Packet, in_port: int) -> FlowRule | None:
        """The rule of a table that a packet meets."""
        return self._meets(table, _headers(packet, in_port))

    def lookup_label(self, label: int, in_port: int) -> FlowRule | None:
        """The rule of the transit table that packets with a label meet, whatever is under it."""
        return self._meets(Table.TRANSIT, (in_port, "", "", ETH_TYPE_MPLS, *_BELOW_LABEL, label, *_BELOW_LABEL))

    def _meets(self, table: Table, headers: Headers) -> FlowRule | None:
        for shape in self.tables[table]:
            rule = shape.rules.get(shape.key(headers))
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
                    outcomes = [(sent + _output(port, now, in_port), now) for sent, now in outcomes]
                case ToGroup(group_id):
                    # A group works on a copy: what its buckets change, the packet does not keep.
                    outcomes = [
                        (sent + chosen, now)
                        for sent, now in outcomes
                        for chosen in self._choices(self._groups[group_id], now, in_port, dead_ports)
                    ]
                case _:
                    outcomes = [(sent, self._relabelled(action, now)) for sent, now in outcomes]
        return outcomes

    def _relabelled(self, action: PushLabel | SetLabel | PopLabel, packet: Packet) -> Packet:
        match action:
            case PushLabel(label):
                return replace(packet, labels=(label, *packet.labels))
            case SetLabel(label) if packet.labels:
                return replace(packet, labels=(label, *packet.labels[1:]))
            case PopLabel(eth_type) if len(packet.labels) == 1 and eth_type == packet.eth_type:
                return replace(packet, labels=())
        raise RuleError(
            f"{self.name} does {action} to a packet of Ethernet type 0x{packet.eth_type:04x} "
            f"with the labels {list(packet.labels)}, which makes nonsense of it"
        )

    def _choices(
        self, group: Group, packet: Packet, in_port: int, dead_ports: AbstractSet[int]
    ) -> frozenset[Alternative]:
        live = [bucket for bucket in self._buckets(group) if bucket.watch_port not in dead_ports]
        possible = live[:1] if group.type is GroupType.FAST_FAILOVER else live
        chosen = {sent for bucket in possible for sent, _ in self._apply(bucket.actions, packet, in_port, dead_ports)}
        return frozenset(chosen or {()})

    def _buckets(self, group: Group) -> tuple[Bucket, ...]:
        """The buckets that differ, in order."""
        if group.id not in self._distinct:
            self._distinct[group.id] = tuple(dict.fromkeys(replace(bucket, weight=1) for bucket in group.buckets))
        return self._distinct[group.id]


def _output(port: int, packet: Packet, in_port: int) -> Alternative:
    """A packet does not leave by the port where it came in, unless that is said (OpenFlow 1.3.5, section 7.2.1)."""
    if port == in_port:
        return ()
    return (Emission(in_port if port == PORT_IN_PORT else port, packet),)


def is_punt(emission: Emission) -> bool:
    """Whether a packet went to the controller."""
    return emission.port == PORT_CONTROLLER
