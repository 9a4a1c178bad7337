"""Rules straight to bytes, as the framework's classes would write them in five to ten times as long.

Section numbers are those of OpenFlow 1.3.5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from socket import inet_aton
from typing import Any

from controller.batches import Message
from controller.framework import ofproto as ofp
from controller.strays import Mend, RemoveStray, RestoreGroup, StrayFlow
from dataplane.rules import (
    ETH_TYPE_MPLS,
    Action,
    AnyMeter,
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
    SetLabel,
    Table,
    ToGroup,
)
from dataplane.update import AddFlow, AddGroup, AddMeter, ChangeMeter, Operation, RemoveFlow, RemoveGroup, RemoveMeter

METER_FLAGS: int = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST
RATE_CAP_FLAGS: int = ofp.OFPMF_KBPS | ofp.OFPMF_BURST

_EXACT_COOKIE = 0xFFFF_FFFF_FFFF_FFFF
_FLOW_MOD = struct.Struct("!QQBBHHH")
_ANY_FLOW = struct.pack("!IIIH2x", ofp.OFP_NO_BUFFER, ofp.OFPP_ANY, ofp.OFPG_ANY, 0)
"""What follows in a flow message before the match: no buffered packet, any port and group, no flags."""
_FLOW: int = ofp.OFPT_FLOW_MOD
_ADD: int = ofp.OFPFC_ADD
_OXM_MATCH: int = ofp.OFPMT_OXM
_GROUP_MOD = struct.Struct("!HBxI")
_BUCKET = struct.Struct("!HHII4x")
_METER_MOD = struct.Struct("!HHI")
_DROP_BAND = struct.Struct("!HHII4x")
_MATCH = struct.Struct("!HH")
_WITH_ACTIONS = struct.Struct("!HH4x")
_ONE_WORD = struct.Struct("!HHI")
_GOTO = struct.Struct("!HHB3x")
_OUTPUT = struct.Struct("!HHIH6x")
_ETH_TYPE = struct.Struct("!HHH2x")
_SET_FIELD = struct.Struct("!HHII4x")

_OXM_BASIC = 0x8000
_CACHED = 4096
"""Actions of a switch's rules are few, and the same again and again."""


def encode(operation: Operation | Mend) -> Message:
    """The message that carries out an operation."""
    match operation:
        case RestoreGroup(group):
            return Message(ofp.OFPT_GROUP_MOD, _group_mod(group, ofp.OFPGC_MODIFY))
        case RemoveStray(flow):
            return Message(_FLOW, _remove_stray(flow))
        case AddFlow(flow):
            return Message(_FLOW, _add_flow(flow))
        case RemoveFlow(flow):
            return Message(_FLOW, _remove_flow(flow))
        case AddGroup(group):
            return Message(ofp.OFPT_GROUP_MOD, _group_mod(group, ofp.OFPGC_ADD))
        case RemoveGroup(group):
            return Message(ofp.OFPT_GROUP_MOD, _group_mod(group, ofp.OFPGC_DELETE))
        case AddMeter(meter):
            return Message(ofp.OFPT_METER_MOD, _meter_mod(meter, ofp.OFPMC_ADD))
        case ChangeMeter(meter):
            return Message(ofp.OFPT_METER_MOD, _meter_mod(meter, ofp.OFPMC_MODIFY))
        case RemoveMeter(meter):
            return Message(ofp.OFPT_METER_MOD, _meter_mod(meter, ofp.OFPMC_DELETE))


def _add_flow(flow: FlowRule) -> bytes:
    """Section 7.3.4.1."""
    return (
        _FLOW_MOD.pack(flow.cookie, 0, flow.table, _ADD, 0, 0, flow.priority)
        + _ANY_FLOW
        + _match(flow.match)
        + _instructions(flow.meter_id, flow.actions, flow.goto)
    )


def _remove_flow(flow: FlowRule) -> bytes:
    """By its key and its cookie, so that no other flow can be hit."""
    head = _FLOW_MOD.pack(flow.cookie, _EXACT_COOKIE, flow.table, ofp.OFPFC_DELETE_STRICT, 0, 0, flow.priority)
    return head + _ANY_FLOW + _match(flow.match)


def _remove_stray(flow: StrayFlow) -> bytes:
    """By what the switch said of it, to the bit."""
    head = _FLOW_MOD.pack(flow.cookie, _EXACT_COOKIE, flow.table, ofp.OFPFC_DELETE_STRICT, 0, 0, flow.priority)
    return head + _ANY_FLOW + flow.match


def _group_mod(group: Group, command: int) -> bytes:
    """Section 7.3.4.2."""
    head = _GROUP_MOD.pack(command, group.type, group.id)
    if command == ofp.OFPGC_DELETE:
        return head
    weighted = group.type is GroupType.SELECT
    parts = [head]
    for bucket in group.buckets:
        actions = _actions(bucket.actions)
        port = ofp.OFPP_ANY if bucket.watch_port is None else bucket.watch_port
        weight = bucket.weight if weighted else 0
        parts += (_BUCKET.pack(_BUCKET.size + len(actions), weight, port, ofp.OFPG_ANY), actions)
    return b"".join(parts)


def _meter_mod(meter: AnyMeter, command: int) -> bytes:
    """Section 7.3.4.4."""
    match meter:
        case Meter():
            flags, rate, burst = METER_FLAGS, meter.rate_pps, meter.burst_packets
        case RateCap():
            flags, rate, burst = RATE_CAP_FLAGS, meter.rate_kbps, meter.burst_kbit
    head = _METER_MOD.pack(command, flags, meter.id)
    if command == ofp.OFPMC_DELETE:
        return head
    return head + _DROP_BAND.pack(ofp.OFPMBT_DROP, _DROP_BAND.size, rate, burst)


# ── matches ──────────────────────────────────────────────────────────────────────────────────────


def _oxm(number: int, size: int, *, masked: bool = False) -> bytes:
    """The header of a field (section 7.2.3.2)."""
    return struct.pack("!HBB", _OXM_BASIC, number << 1 | masked, size << masked)


def _integer(number: int, size: int) -> Callable[[int], bytes]:
    pack = struct.Struct(f"!4s{ {2: 'H', 4: 'I'}[size] }").pack
    header = _oxm(number, size)
    return lambda value: pack(header, value)


def _byte(number: int) -> Callable[[int], bytes]:
    header = _oxm(number, 1)
    return lambda value: header + bytes((value,))


def _mac(number: int) -> Callable[[str], bytes]:
    header = _oxm(number, 6)
    return lambda value: header + bytes.fromhex(value.replace(":", ""))


def _address(number: int) -> Callable[[str], bytes]:
    header, masked = _oxm(number, 4), _oxm(number, 4, masked=True)

    def encoded(value: str) -> bytes:
        address, _, bits = value.partition("/")
        if not bits:
            return header + inet_aton(value)
        return masked + inet_aton(address) + (0xFFFF_FFFF << 32 - int(bits) & 0xFFFF_FFFF).to_bytes(4)

    return encoded


def _masked_port(number: int) -> Callable[[int | Masked], bytes]:
    exact, header = _integer(number, 2), _oxm(number, 2, masked=True)
    pack = struct.Struct("!4sHH").pack
    return lambda value: pack(header, *value) if isinstance(value, Masked) else exact(value)


_FIELDS: dict[str, Callable[[Any], bytes]] = {
    "in_port": _integer(0, 4),
    "eth_dst": _mac(3),
    "eth_src": _mac(4),
    "eth_type": _integer(5, 2),
    "ip_proto": _byte(10),
    "ipv4_src": _address(11),
    "ipv4_dst": _address(12),
    "tcp_src": _masked_port(13),
    "tcp_dst": _integer(14, 2),
    "udp_src": _masked_port(15),
    "udp_dst": _integer(16, 2),
    "arp_spa": _address(22),
    "arp_tpa": _address(23),
    "arp_sha": _mac(24),
    "mpls_label": _integer(34, 4),
}
"""In rising order of their numbers (section 7.2.3.7): what a field depends on comes before it (section 7.2.3.6)."""
_ENCODERS = tuple(_FIELDS.values())
_values = attrgetter(*_FIELDS)


def _match(match: Match) -> bytes:
    """A match with its padding (section 7.2.3.1)."""
    fields = b"".join([
        encoded(value) for encoded, value in zip(_ENCODERS, _values(match), strict=True) if value is not None
    ])  # fmt: skip
    size = _MATCH.size + len(fields)
    return _MATCH.pack(_OXM_MATCH, size) + fields + bytes(-size % 8)


# ── instructions and actions ─────────────────────────────────────────────────────────────────────


@lru_cache(_CACHED)
def _instructions(meter_id: int | None, actions: tuple[Action, ...], goto: Table | None) -> bytes:
    """Section 7.2.4; in the order in which they are carried out."""
    parts = []
    if meter_id is not None:
        parts.append(_ONE_WORD.pack(ofp.OFPIT_METER, _ONE_WORD.size, meter_id))
    if actions:
        encoded = _actions(actions)
        parts += (_WITH_ACTIONS.pack(ofp.OFPIT_APPLY_ACTIONS, _WITH_ACTIONS.size + len(encoded)), encoded)
    if goto is not None:
        parts.append(_GOTO.pack(ofp.OFPIT_GOTO_TABLE, _GOTO.size, goto))
    return b"".join(parts)


@lru_cache(_CACHED)
def _actions(actions: tuple[Action, ...]) -> bytes:
    return b"".join(map(_action, actions))


def _action(action: Action) -> bytes:
    """Section 7.2.5; pushing a label is two actions (section 5.12)."""
    match action:
        case Output(port):
            return _OUTPUT.pack(ofp.OFPAT_OUTPUT, _OUTPUT.size, port, ofp.OFPCML_NO_BUFFER)
        case ToGroup(group_id):
            return _ONE_WORD.pack(ofp.OFPAT_GROUP, _ONE_WORD.size, group_id)
        case PushLabel(label):
            return _ETH_TYPE.pack(ofp.OFPAT_PUSH_MPLS, _ETH_TYPE.size, ETH_TYPE_MPLS) + _set_label(label)
        case SetLabel(label):
            return _set_label(label)
        case PopLabel(eth_type):
            return _ETH_TYPE.pack(ofp.OFPAT_POP_MPLS, _ETH_TYPE.size, eth_type)


_MPLS_LABEL = int.from_bytes(_oxm(34, 4))


def _set_label(label: int) -> bytes:
    return _SET_FIELD.pack(ofp.OFPAT_SET_FIELD, _SET_FIELD.size, _MPLS_LABEL, label)
