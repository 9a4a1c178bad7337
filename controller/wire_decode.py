"""Rules out of the bytes of multipart replies that were checked before (`controller.checking`).

Several times as fast as from the framework's objects, whose making is most of the work. Section numbers are those of
OpenFlow 1.3.5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from socket import inet_ntoa
from typing import Any, TypeAlias

from controller.framework import ofproto as ofp
from controller.strays import StrayFlow
from controller.wire_encode import METER_FLAGS, RATE_CAP_FLAGS
from dataplane.rules import (
    COOKIE_TAG,
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_LLDP,
    ETH_TYPE_MPLS,
    GROUP_ID_BASE,
    GROUP_ID_END,
    METER_ID_BASE,
    METER_ID_END,
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
    Table,
    ToGroup,
)

_ENTRIES_AT = 16
# Size, table, priority, idle and hard timeout, cookie; the match follows.
_FLOW = struct.Struct("!HBx8xHHH6xQ16x")
_GROUP = struct.Struct("!HBxI")
_BUCKET = struct.Struct("!HHI8x")
_METER = struct.Struct("!HHI")
_BAND = struct.Struct("!HHII4x")
_TYPE_SIZE = struct.Struct("!HH")
_OXM = struct.Struct("!I")
_ONE_WORD = struct.Struct("!4xI")
_GOTO = struct.Struct("!4xB")
_OUTPUT = struct.Struct("!4xIH")
_ETH_TYPE = struct.Struct("!4xH")
_SET_FIELD = struct.Struct("!4xII")

_CACHED = 4096
_LONGEST_CACHED = 128
"""Bytes of instructions: a switch that makes up long ones must not fill the memory with them."""

_Instructions: TypeAlias = tuple[int | None, tuple[Action, ...], Table | None]


class _NotOurs(Exception):
    """A construct that we never send."""


def flows_in(reply: bytes) -> Iterator[FlowRule | StrayFlow | None]:
    """The flows of a reply (section 7.3.5.2) one by one; None for each that has no cookie of ours."""
    offset = _ENTRIES_AT
    while offset < len(reply):
        entry = _FLOW.unpack_from(reply, offset)
        size, *said = entry
        if entry[5] >> 48 != COOKIE_TAG:
            yield None
        else:
            at = offset + _FLOW.size
            yield _flow(reply, at, offset + size, *said) or _stray(reply, at, said[0], said[1], said[4])
        offset += entry[0]


def groups_in(reply: bytes) -> Iterator[Group | int | None]:
    """The groups of a reply (section 7.3.5.10) one by one: its id where only that is ours, None where that is not."""
    offset = _ENTRIES_AT
    while offset < len(reply):
        size, kind, identifier = _GROUP.unpack_from(reply, offset)
        ours = GROUP_ID_BASE <= identifier < GROUP_ID_END
        yield (_group(reply, offset + _GROUP.size, offset + size, kind, identifier) or identifier) if ours else None
        offset += size


def meters_in(reply: bytes) -> Iterator[AnyMeter | int | None]:
    """The meters of a reply (section 7.3.5.13) one by one: its id where only that is ours, None where that is not."""
    offset = _ENTRIES_AT
    while offset < len(reply):
        size, flags, identifier = _METER.unpack_from(reply, offset)
        if not METER_ID_BASE <= identifier < METER_ID_END:
            yield None
        elif size == _METER.size + _BAND.size:
            yield _meter(flags, identifier, *_BAND.unpack_from(reply, offset + _METER.size)) or identifier
        else:
            yield identifier
        offset += size


def _stray(reply: bytes, offset: int, table: int, priority: int, cookie: int) -> StrayFlow:
    """A flow that says under our cookie what no rule of ours says."""
    _, size = _TYPE_SIZE.unpack_from(reply, offset)
    try:
        match = _match(reply, offset + _TYPE_SIZE.size, offset + size)
        key = (Table(table), priority, match)
    except (_NotOurs, ValueError):
        key = None
    return StrayFlow(table, priority, cookie, reply[offset : offset + (size + 7) // 8 * 8], key)


def _flow(
    reply: bytes, offset: int, end: int, table: int, priority: int, idle_s: int, hard_s: int, cookie: int
) -> FlowRule | None:
    if idle_s or hard_s:
        return None
    _, size = _TYPE_SIZE.unpack_from(reply, offset)
    instructions_at = offset + (size + 7) // 8 * 8
    read = _known_instructions if end - instructions_at <= _LONGEST_CACHED else _instructions
    try:
        match = _match(reply, offset + _TYPE_SIZE.size, offset + size)
        meter_id, actions, goto = read(reply[instructions_at:end])
        flow = FlowRule(Table(table), priority, match, actions, goto, meter_id, Role(cookie >> 40 & 0xFF))
    except (_NotOurs, ValueError):
        return None
    # The cookie holds a hash of the content: one that differs was changed by somebody else.
    return flow if flow.cookie == cookie else None


def _group(reply: bytes, offset: int, end: int, kind: int, identifier: int) -> Group | None:
    buckets = []
    try:
        type_ = GroupType(kind)
        while offset < end:
            size, weight, port = _BUCKET.unpack_from(reply, offset)
            actions = _actions(reply, offset + _BUCKET.size, offset + size)
            watched = None if port == ofp.OFPP_ANY else port
            buckets.append(Bucket(actions, watched, weight if type_ is GroupType.SELECT else 1))
            offset += size
    except (_NotOurs, ValueError):
        return None
    return Group(identifier, type_, tuple(buckets))


def _meter(flags: int, identifier: int, kind: int, _size: int, rate: int, burst: int) -> AnyMeter | None:
    units = flags & (METER_FLAGS | RATE_CAP_FLAGS)
    if kind != ofp.OFPMBT_DROP or units not in (METER_FLAGS, RATE_CAP_FLAGS):
        return None
    return Meter(identifier, rate, burst) if units == METER_FLAGS else RateCap(identifier, rate, burst)


# ── matches ──────────────────────────────────────────────────────────────────────────────────────


def _integer(data: bytes) -> int:
    return int.from_bytes(data)


def _mac(data: bytes) -> str:
    return data.hex(":")


def _prefix(data: bytes) -> str:
    """An address and a mask of leading ones; a switch may say a full mask where it was told none."""
    zeros = ~int.from_bytes(data[4:]) & 0xFFFF_FFFF
    if zeros & zeros + 1:
        raise _NotOurs
    address = inet_ntoa(data[:4])
    return f"{address}/{32 - zeros.bit_length()}" if zeros else address


def _masked(data: bytes) -> int | Masked:
    value, mask = _TYPE_SIZE.unpack(data)
    return value if mask == 0xFFFF else Masked(value, mask)


_FIELDS: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    0x8000_0004: ("in_port", _integer),
    0x8000_0606: ("eth_dst", _mac),
    0x8000_0806: ("eth_src", _mac),
    0x8000_0A02: ("eth_type", _integer),
    0x8000_1401: ("ip_proto", _integer),
    0x8000_1604: ("ipv4_src", inet_ntoa),
    0x8000_1708: ("ipv4_src", _prefix),
    0x8000_1804: ("ipv4_dst", inet_ntoa),
    0x8000_1908: ("ipv4_dst", _prefix),
    0x8000_1A02: ("tcp_src", _integer),
    0x8000_1B04: ("tcp_src", _masked),
    0x8000_1C02: ("tcp_dst", _integer),
    0x8000_1E02: ("udp_src", _integer),
    0x8000_1F04: ("udp_src", _masked),
    0x8000_2002: ("udp_dst", _integer),
    0x8000_2C04: ("arp_spa", inet_ntoa),
    0x8000_2D08: ("arp_spa", _prefix),
    0x8000_2E04: ("arp_tpa", inet_ntoa),
    0x8000_2F08: ("arp_tpa", _prefix),
    0x8000_3006: ("arp_sha", _mac),
    0x8000_4404: ("mpls_label", _integer),
}
"""By the header of a field, which says its length and whether it has a mask (sections 7.2.3.2 and 7.2.3.7)."""


def _match(reply: bytes, offset: int, end: int) -> Match:
    values = {}
    while offset < end:
        (header,) = _OXM.unpack_from(reply, offset)
        field = _FIELDS.get(header)
        if field is None:
            raise _NotOurs
        offset += _OXM.size
        size = header & 0xFF
        values[field[0]] = field[1](reply[offset : offset + size])
        offset += size
    return Match(**values)


# ── instructions and actions ─────────────────────────────────────────────────────────────────────


def _instructions(data: bytes) -> _Instructions:
    """Section 7.2.4."""
    meter_id: int | None = None
    actions: tuple[Action, ...] = ()
    goto: Table | None = None
    offset = 0
    while offset < len(data):
        kind, size = _TYPE_SIZE.unpack_from(data, offset)
        if kind == ofp.OFPIT_APPLY_ACTIONS:
            actions = _actions(data, offset + 8, offset + size)
        elif kind == ofp.OFPIT_GOTO_TABLE:
            goto = Table(_GOTO.unpack_from(data, offset)[0])
        elif kind == ofp.OFPIT_METER:
            (meter_id,) = _ONE_WORD.unpack_from(data, offset)
        else:
            raise _NotOurs
        offset += size
    return meter_id, actions, goto


_known_instructions = lru_cache(_CACHED)(_instructions)


def _actions(data: bytes, offset: int, end: int) -> tuple[Action, ...]:
    """Section 7.2.5."""
    actions: list[Action] = []
    pushed = False
    while offset < end:
        kind, size = _TYPE_SIZE.unpack_from(data, offset)
        action = _action(kind, data, offset)
        if pushed:
            if not isinstance(action, SetLabel):
                raise _NotOurs
            actions.append(PushLabel(action.label))
            pushed = False
        elif action is None:
            pushed = True
        else:
            actions.append(action)
        offset += size
    if pushed:
        raise _NotOurs
    return tuple(actions)


def _action(kind: int, data: bytes, offset: int) -> Action | None:
    """One action; None pushes a label that the next one sets (section 5.12)."""
    if kind == ofp.OFPAT_OUTPUT:
        port, longest = _OUTPUT.unpack_from(data, offset)
        if port == PORT_CONTROLLER and longest != ofp.OFPCML_NO_BUFFER:
            raise _NotOurs
        return Output(port)
    if kind == ofp.OFPAT_GROUP:
        return ToGroup(_ONE_WORD.unpack_from(data, offset)[0])
    if kind == ofp.OFPAT_SET_FIELD:
        header, label = _SET_FIELD.unpack_from(data, offset)
        if header == _MPLS_LABEL:
            return SetLabel(label)
    elif kind in (ofp.OFPAT_PUSH_MPLS, ofp.OFPAT_POP_MPLS):
        (eth_type,) = _ETH_TYPE.unpack_from(data, offset)
        if kind == ofp.OFPAT_PUSH_MPLS and eth_type == ETH_TYPE_MPLS:
            return None
        if kind == ofp.OFPAT_POP_MPLS and eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP, ETH_TYPE_LLDP):
            return PopLabel(eth_type)
    raise _NotOurs


_MPLS_LABEL = 0x8000_4404
