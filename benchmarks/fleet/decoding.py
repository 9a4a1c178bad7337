"""From a switch's tables as bytes to `dataplane.rules`, with no code of the daemon's: what its encoder really said.

Whatever our values can say is a rule, whoever sent it; what they cannot is foreign, and named.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TypeVar

from benchmarks.fleet import matching as oxm
from benchmarks.fleet.matching import Field, read_match, split, split_buckets
from benchmarks.fleet.openflow import ANY, BAD_REQUEST, Refused
from benchmarks.fleet.tables import Flow, RawGroup, RawMeter, Tables
from dataplane.rules import (
    COOKIE_TAG,
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_LLDP,
    ETH_TYPE_MPLS,
    PORT_CONTROLLER,
    Action,
    AnyMeter,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Masked,
    Match,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    RateCap,
    Role,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)

Raw = TypeVar("Raw")
Value = TypeVar("Value")

_WHOLE_PACKET = 0xFFFF
_MALFORMED = Refused(BAD_REQUEST, 6)
_LABEL_FIELD = 0x8000_0000 | oxm.MPLS_LABEL << 9 | 4
_KBPS, _PKTPS, _BURST = 1, 2, 4
_DROP = 1
_BELOW_LABELS = (ETH_TYPE_IPV4, ETH_TYPE_ARP, ETH_TYPE_LLDP)
_ROLES = {
    Table.GUARD: Role.GUARD,
    Table.CLASSIFY: Role.CLASSIFY,
    Table.TRANSIT: Role.TRANSIT,
    Table.DEFAULT: Role.DEFAULT,
}


class NotSayable(Exception):
    """Something that `dataplane.rules` has no value for; the message says what."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The entries of one switch.

    Attributes
    ----------
    foreign : tuple of str
        What no value of ours can say, and why.
    """

    rules: SwitchRules
    foreign: tuple[str, ...]


def decode(tables: Tables) -> Decoded:
    """All entries of a switch."""
    foreign: list[str] = []
    flows = _said(tables.flows.values(), decode_flow, foreign)
    groups = _said(tables.groups.values(), decode_group, foreign)
    meters = _said(tables.meters.values(), decode_meter, foreign)
    return Decoded(SwitchRules(flows, groups, meters), tuple(foreign))


def _said(entries: Iterable[Raw], decode_one: Callable[[Raw], Value], foreign: list[str]) -> frozenset[Value]:
    said = []
    for entry in entries:
        try:
            said.append(decode_one(entry))
        except NotSayable as error:
            foreign.append(f"{entry}: {error}")
    return frozenset(said)


@lru_cache(1 << 17)
def decode_flow(flow: Flow) -> FlowRule:
    """A flow entry as a rule.

    Raises
    ------
    NotSayable
        It is none.
    """
    if flow.idle_s or flow.hard_s:
        raise NotSayable("it times out")
    try:
        table = Table(flow.table)
        role = Role(flow.cookie >> 40 & 0xFF) if flow.cookie >> 48 == COOKIE_TAG else _ROLES[table]
    except ValueError:
        raise NotSayable("we have no such table or role") from None
    actions, goto, meter_id = _instructions(flow.instructions)
    return FlowRule(table, flow.priority, decode_match(flow.match), actions, goto, meter_id, role)


# ── matches ──────────────────────────────────────────────────────────────────────────────────────


def _mac(value: int) -> str:
    return value.to_bytes(6).hex(":")


def _address(value: int) -> str:
    return str(IPv4Address(value))


_EXACT: dict[int, tuple[str, int, Callable[[int], object]]] = {
    oxm.IN_PORT: ("in_port", 32, int), oxm.ETH_SRC: ("eth_src", 48, _mac), oxm.ETH_DST: ("eth_dst", 48, _mac),
    oxm.ETH_TYPE: ("eth_type", 16, int), oxm.ARP_SPA: ("arp_spa", 32, _address), oxm.ARP_SHA: ("arp_sha", 48, _mac),
    oxm.MPLS_LABEL: ("mpls_label", 32, int), oxm.IP_PROTO: ("ip_proto", 8, int),
    oxm.TCP_DST: ("tcp_dst", 16, int), oxm.UDP_DST: ("udp_dst", 16, int),
}  # fmt: skip
"""Name, bits and type of the fields that we match on as a whole."""
_PREFIX = {oxm.IPV4_SRC: "ipv4_src", oxm.IPV4_DST: "ipv4_dst", oxm.ARP_TPA: "arp_tpa"}
_MASKED = {oxm.TCP_SRC: "tcp_src", oxm.UDP_SRC: "udp_src"}


@lru_cache(1 << 16)
def decode_match(match: bytes) -> Match:
    """A match as ours.

    Raises
    ------
    NotSayable
        It has another field, or a mask that we never use.
    """
    return Match(**dict(_field(field) for field in read_match(match)))  # type: ignore[arg-type]


def _field(field: Field) -> tuple[str, object]:
    if field.number in _EXACT:
        name, bits, read = _EXACT[field.number]
        if field.mask != (1 << bits) - 1:
            raise NotSayable(f"{name} has a mask")
        return name, read(field.value)
    if field.number in _PREFIX:
        hidden = field.mask ^ 0xFFFF_FFFF
        if hidden & hidden + 1:
            raise NotSayable(f"{_PREFIX[field.number]} has a mask that is no prefix")
        suffix = f"/{32 - hidden.bit_length()}" if hidden else ""
        return _PREFIX[field.number], _address(field.value) + suffix
    if field.number in _MASKED:
        return _MASKED[field.number], field.value if field.mask == 0xFFFF else Masked(field.value, field.mask)
    raise NotSayable(f"we do not match on field {field.number}")


# ── instructions and actions ─────────────────────────────────────────────────────────────────────


@lru_cache(1 << 16)
def _instructions(instructions: bytes) -> tuple[tuple[Action, ...], Table | None, int | None]:
    actions: tuple[Action, ...] = ()
    goto: Table | None = None
    meter_id: int | None = None
    for kind, content in split(instructions, _MALFORMED):
        if kind == oxm.APPLY_ACTIONS:
            actions = decode_actions(content[4:])
        elif kind == oxm.METER:
            meter_id = int.from_bytes(content[:4])
        elif kind == oxm.GOTO_TABLE and content[0] in set(Table):
            goto = Table(content[0])
        else:
            raise NotSayable(f"we have no instruction {kind} like this")
    return actions, goto, meter_id


@lru_cache(1 << 16)
def decode_actions(actions: bytes) -> tuple[Action, ...]:
    """Actions as ours; pushing a label is two of them (section 5.12).

    Raises
    ------
    NotSayable
        There is another one.
    """
    decoded: list[Action] = []
    pushed = False
    for kind, content in split(actions, _MALFORMED):
        action = _action(kind, content)
        if isinstance(action, SetLabel) and pushed:
            action = PushLabel(action.label)
        elif pushed:
            raise NotSayable("a label is pushed and not set")
        pushed = action is None
        if action is not None:
            decoded.append(action)
    if pushed:
        raise NotSayable("a label is pushed and not set")
    return tuple(decoded)


def _action(kind: int, content: bytes) -> Action | None:
    """One action; None for the push that a label must follow."""
    if kind == oxm.OUTPUT:
        port, most = struct.unpack_from("!IH", content)
        if port == PORT_CONTROLLER and most != _WHOLE_PACKET:
            raise NotSayable("packets go to the controller in part")
        return Output(port)
    if kind == oxm.GROUP:
        return ToGroup(int.from_bytes(content[:4]))
    if kind == oxm.PUSH_MPLS and int.from_bytes(content[:2]) == ETH_TYPE_MPLS:
        return None
    if kind == oxm.SET_FIELD and int.from_bytes(content[:4]) == _LABEL_FIELD:
        return SetLabel(int.from_bytes(content[4:8]))
    if kind == oxm.POP_MPLS and (eth_type := int.from_bytes(content[:2])) in _BELOW_LABELS:
        return PopLabel(eth_type)
    raise NotSayable(f"we have no action {kind} like this")


# ── groups and meters ────────────────────────────────────────────────────────────────────────────


@lru_cache(1 << 16)
def decode_group(group: RawGroup) -> Group:
    """A group entry as ours.

    Raises
    ------
    NotSayable
        It is none.
    """
    try:
        kind = GroupType(group.type)
    except ValueError:
        raise NotSayable(f"we have no groups of type {group.type}") from None
    buckets = tuple(
        Bucket(
            decode_actions(bucket.actions),
            None if bucket.watch_port == ANY else bucket.watch_port,
            bucket.weight if kind is GroupType.SELECT else 1,
        )
        for bucket in split_buckets(group.buckets)
    )
    return Group(group.id, kind, buckets)


def decode_meter(meter: RawMeter) -> AnyMeter:
    """A meter entry as ours.

    Raises
    ------
    NotSayable
        It is none.
    """
    kinds: dict[int, type[Meter | RateCap]] = {_PKTPS | _BURST: Meter, _KBPS | _BURST: RateCap}
    kind = kinds.get(meter.flags)
    if kind is None or len(meter.bands) != 16:
        raise NotSayable("we have no meters with such flags or bands")
    band, _, rate, burst = struct.unpack_from("!HHII", meter.bands)
    if band != _DROP:
        raise NotSayable("its band does not drop")
    return kind(meter.id, rate, burst)
