"""Rules as values: what a switch is told, with no word of how it is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple, TypeAlias

COOKIE_TAG = 0x4844
"""Upper 16 bits of every cookie of ours; flows without it are somebody else's."""

GROUP_ID_BASE, GROUP_ID_END = 0x4800_0000, 0x4900_0000
"""Group ids from here to below the end are ours."""
METER_ID_BASE, METER_ID_END = 0x4800, 0x2_4800
"""Meter ids from here to below the end are ours (base: LLDP of ports not known yet; base + port: one port)."""
RATE_CAP_ID_BASE = 0x1_4800
"""Meter ids from here on cap planned pairs."""

ETH_TYPE_IPV4 = 0x0800
ETH_TYPE_ARP = 0x0806
ETH_TYPE_MPLS = 0x8847
ETH_TYPE_LLDP = 0x88CC

IP_PROTO_TCP, IP_PROTO_UDP = 6, 17

PORT_CONTROLLER = 0xFFFF_FFFD
PORT_IN_PORT = 0xFFFF_FFF8


class Table(IntEnum):
    """The tables of the pipeline, in the order in which a packet meets them."""

    GUARD = 0
    CLASSIFY = 1
    TRANSIT = 2
    DEFAULT = 3


class Role(IntEnum):
    """What a rule is for; part of its cookie."""

    GUARD = 1
    CLASSIFY = 2
    TRANSIT = 3
    DEFAULT = 4
    DETOUR = 5


class Masked(NamedTuple):
    """A value of which only the bits set in the mask count; all others are 0 in the value."""

    value: int
    mask: int

    def __str__(self) -> str:
        return f"0x{self.value:04x}/0x{self.mask:04x}"


@dataclass(frozen=True, slots=True)
class Match:
    """Fields that a packet must have; None matches anything.

    Attributes
    ----------
    ipv4_src, ipv4_dst, arp_tpa : str or None
        An address, or a prefix of 1 to 31 bits as in ``10.1.0.0/16`` with all bits behind it 0.
    tcp_src, udp_src : int, Masked or None
        A port, or the ports that agree with a value in the bits of a mask.
    """

    in_port: int | None = None
    eth_src: str | None = None
    eth_dst: str | None = None
    eth_type: int | None = None
    ipv4_src: str | None = None
    ipv4_dst: str | None = None
    arp_spa: str | None = None
    arp_sha: str | None = None
    arp_tpa: str | None = None
    mpls_label: int | None = None
    ip_proto: int | None = None
    tcp_src: int | Masked | None = None
    tcp_dst: int | None = None
    udp_src: int | Masked | None = None
    udp_dst: int | None = None
    _hash: int | None = field(default=None, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return _remembered_hash(self, _match_content)

    def __reduce__(self) -> tuple[type[Match], tuple[object, ...]]:
        return Match, _match_content(self)

    def __str__(self) -> str:
        wanted = dict(zip(MATCH_FIELDS, _match_content(self), strict=True))
        if self.eth_type is not None:
            wanted["eth_type"] = f"0x{self.eth_type:04x}"
        return " ".join(f"{name}={value}" for name, value in wanted.items() if value is not None) or "any packet"


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of a port (`PORT_CONTROLLER`: to the controller, whole)."""

    port: int


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand the packet to a group."""

    group_id: int


@dataclass(frozen=True, slots=True)
class PushLabel:
    """Push an MPLS header (Ethernet type 0x8847) and set its 20-bit label."""

    label: int


@dataclass(frozen=True, slots=True)
class SetLabel:
    """Give the outermost MPLS header another label."""

    label: int


@dataclass(frozen=True, slots=True)
class PopLabel:
    """Pop the only MPLS header; the packet below is IPv4, or of the Ethernet type named."""

    eth_type: int = ETH_TYPE_IPV4


Action: TypeAlias = Output | ToGroup | PushLabel | SetLabel | PopLabel


@dataclass(frozen=True, slots=True)
class FlowRule:
    """One flow entry; ``cookie`` is computed: tag, role and a hash of the content.

    Actions are applied in order, then the packet goes on to ``goto`` where given. No action and no
    ``goto`` drops it. A ``meter_id`` is applied first.
    """

    table: Table
    priority: int
    match: Match
    actions: tuple[Action, ...] = ()
    goto: Table | None = None
    meter_id: int | None = None
    role: Role = Role.DEFAULT
    _hash: int | None = field(default=None, init=False, repr=False, compare=False)
    _cookie: int | None = field(default=None, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return _remembered_hash(self, _flow_content)

    def __reduce__(self) -> tuple[type[FlowRule], tuple[object, ...]]:
        return FlowRule, _flow_content(self)

    @property
    def cookie(self) -> int:
        if self._cookie is not None:
            return self._cookie
        content = repr((self.table.value, self.priority, self.match, self.actions, self.goto, self.meter_id))
        digest = hashlib.blake2b(content.encode(), digest_size=5).digest()
        cookie = COOKIE_TAG << 48 | self.role << 40 | int.from_bytes(digest)
        object.__setattr__(self, "_cookie", cookie)
        return cookie

    @property
    def key(self) -> tuple[Table, int, Match]:
        """What a switch tells flows apart by (OpenFlow 1.3.5, section 6.4)."""
        return (self.table, self.priority, self.match)

    def __str__(self) -> str:
        return f"the {self.table.name.lower()} rule of priority {self.priority} for {self.match}"


MATCH_FIELDS = tuple(each.name for each in fields(Match) if each.init)
"""All that a match can ask for."""
_match_content = attrgetter(*MATCH_FIELDS)
_flow_content = attrgetter(*(each.name for each in fields(FlowRule) if each.init))


def _remembered_hash(value: Match | FlowRule, content: Callable[[Match | FlowRule], tuple[object, ...]]) -> int:
    """The hash of something that never changes, computed once: rules are compared very often.

    It is never pickled: strings have other hashes in other processes.
    """
    known = value._hash
    if known is None:
        known = hash(content(value))
        object.__setattr__(value, "_hash", known)
    return known


class GroupType(IntEnum):
    """Group types with their numbers in OpenFlow 1.3.5, section 7.3.4.2."""

    SELECT = 1
    FAST_FAILOVER = 3


@dataclass(frozen=True, slots=True)
class Bucket:
    """One choice of a group; a bucket whose watched port is down is not chosen.

    A select group chooses by a hash and the weights, a fast-failover group takes the first that lives. ``weight`` is 1
    in fast-failover groups.
    """

    actions: tuple[Action, ...]
    watch_port: int | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """A group entry. Ids follow content; who finds an id taken takes a free one, so a group is never modified."""

    id: int
    type: GroupType
    buckets: tuple[Bucket, ...]

    def __hash__(self) -> int:
        # It follows the content, which may be long.
        return hash(self.id)


@dataclass(frozen=True, slots=True)
class Meter:
    """A drop meter in packets per second."""

    id: int
    rate_pps: int
    burst_packets: int


@dataclass(frozen=True, slots=True)
class RateCap:
    """A drop meter in kilobits (1,000 bits) per second."""

    id: int
    rate_kbps: int
    burst_kbit: int


AnyMeter: TypeAlias = Meter | RateCap


@dataclass(frozen=True, slots=True)
class SwitchRules:
    """All that one switch is told."""

    flows: frozenset[FlowRule] = frozenset()
    groups: frozenset[Group] = frozenset()
    meters: frozenset[AnyMeter] = frozenset()


RuleSet: TypeAlias = Mapping[str, SwitchRules]
"""Rules per switch, by node name."""
