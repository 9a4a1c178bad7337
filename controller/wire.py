"""The only place that builds or reads OpenFlow 1.3 messages: rules, frames, ports and counters.

Section numbers are those of OpenFlow 1.3.5. Every function that waits for a switch belongs into a task.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.channel import Connection
from controller.framework import Protocol13
from controller.framework import ofproto as ofp
from controller.framework import ofproto_parser as parser
from controller.rulebounds import RULE_BOUNDS, RuleBounds, RulesRead
from controller.wire_rules import (
    METER_FLAGS,
    RATE_CAP_FLAGS,
    decode_flow,
    decode_group,
    decode_meter,
    encode_actions,
    encode_match,
)
from dataplane.rules import COOKIE_TAG, AnyMeter, FlowRule, Group, Meter, RateCap, SwitchRules
from dataplane.update import AddFlow, AddGroup, AddMeter, ChangeMeter, Operation, RemoveFlow, RemoveGroup, RemoveMeter

_EXACT_COOKIE = 0xFFFF_FFFF_FFFF_FFFF
_TABLES_TIMEOUT_S = 30.0
# Header, buffer, port of arrival and bytes of actions; one output action.
_PACKET_OUT = struct.Struct("!BBHIIIH6xHHIH6x")
_OUTPUT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Port:
    """A switch's port; ``speed_bps`` is 0 where the switch does not say."""

    number: int
    name: str
    mac: str
    is_up: bool
    speed_bps: float


@dataclass(frozen=True, slots=True)
class PortChange:
    """A port appeared, changed, or is gone."""

    port: Port
    gone: bool


@dataclass(frozen=True, slots=True)
class PortCounters:
    """What went through a port since its switch started."""

    port: int
    rx_bytes: int
    tx_bytes: int
    rx_packets: int


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A frame that a switch sent up, and the port by which it came."""

    in_port: int
    data: bytes


# ── frames ───────────────────────────────────────────────────────────────────────────────────────


def packet_out(port: int, frame: bytes) -> bytes:
    """The message that sends a frame out of a port (sections 7.3.7 and 7.2.5), with transaction id 0.

    Written at once: through the framework's classes it takes 20 times as long, and probes are most of what is sent.
    """
    length = _PACKET_OUT.size + len(frame)
    return _PACKET_OUT.pack(
        ofp.OFP_VERSION, ofp.OFPT_PACKET_OUT, length, 0,
        ofp.OFP_NO_BUFFER, ofp.OFPP_CONTROLLER, _OUTPUT_BYTES,
        ofp.OFPAT_OUTPUT, _OUTPUT_BYTES, port, 0,
    ) + frame  # fmt: skip


def read_packet_in(message: Any) -> PacketIn:
    """A frame that came up (section 7.4.1)."""
    return PacketIn(int(message.match.get("in_port", 0)), bytes(message.data))


# ── ports ────────────────────────────────────────────────────────────────────────────────────────


def is_physical(port: Any) -> bool:
    """Whether a described port is one of the switch's own, not a reserved one (section 7.2.1)."""
    return bool(0 < port.port_no <= ofp.OFPP_MAX)


def read_port(port: Any) -> Port:
    """A port's description; its speed comes in kbit/s."""
    is_up = not (port.state & ofp.OFPPS_LINK_DOWN or port.config & ofp.OFPPC_PORT_DOWN)
    name = port.name.decode("ascii", "replace") if isinstance(port.name, bytes) else str(port.name)
    return Port(port.port_no, name, str(port.hw_addr), is_up, port.curr_speed * 1e3)


def read_port_status(message: Any) -> PortChange:
    """What a switch says of a port (section 7.4.3)."""
    return PortChange(read_port(message.desc), message.reason == ofp.OFPPR_DELETE)


def read_counters(connection: Connection, ports: Sequence[int] | None = None) -> list[PortCounters]:
    """Counters of all physical ports, or of a few (section 7.3.5.6).

    Parameters
    ----------
    ports : sequence of int, optional
        One is asked for by its number; more in one question, for all ports.

    Raises
    ------
    HeddleError
        The switch did not answer.
    """
    port = ports[0] if ports is not None and len(ports) == 1 else ofp.OFPP_ANY
    replies = connection.request(parser.OFPPortStatsRequest(connection, 0, port))
    return [
        PortCounters(
            stats.port_no, stats.rx_bytes, stats.tx_bytes, stats.rx_packets
        )
        for reply in replies
        for stats in reply.body
        if is_physical(stats)
    ]  # fmt: skip


# ── rules ────────────────────────────────────────────────────────────────────────────────────────


def encode(connection: Protocol13, operation: Operation) -> Any:
    """The message that carries out an operation."""
    match operation:
        case AddFlow(flow):
            return _flow_mod(connection, flow, ofp.OFPFC_ADD)
        case RemoveFlow(flow):
            return _flow_mod(connection, flow, ofp.OFPFC_DELETE_STRICT)
        case AddGroup(group):
            return _group_mod(connection, group, ofp.OFPGC_ADD)
        case RemoveGroup(group):
            return _group_mod(connection, group, ofp.OFPGC_DELETE)
        case AddMeter(meter):
            return _meter_mod(connection, meter, ofp.OFPMC_ADD)
        case ChangeMeter(meter):
            return _meter_mod(connection, meter, ofp.OFPMC_MODIFY)
        case RemoveMeter(meter):
            return _meter_mod(connection, meter, ofp.OFPMC_DELETE)


def _flow_mod(connection: Protocol13, flow: FlowRule, command: int) -> Any:
    """Section 7.3.4.1. A flow is removed by its key and its cookie, so that no other one can be hit."""
    adding = command == ofp.OFPFC_ADD
    instructions: list[Any] = []
    if adding:
        if flow.meter_id is not None:
            instructions.append(parser.OFPInstructionMeter(flow.meter_id, ofp.OFPIT_METER))
        if flow.actions:
            actions = encode_actions(flow.actions)
            instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions))
        if flow.goto is not None:
            instructions.append(parser.OFPInstructionGotoTable(int(flow.goto)))
    return parser.OFPFlowMod(
        connection,
        cookie=flow.cookie,
        cookie_mask=0 if adding else _EXACT_COOKIE,
        table_id=int(flow.table),
        command=command,
        priority=flow.priority,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
        match=encode_match(flow.match),
        instructions=instructions,
    )


def _group_mod(connection: Protocol13, group: Group, command: int) -> Any:
    """Section 7.3.4.2."""
    buckets = []
    if command == ofp.OFPGC_ADD:
        select = int(group.type) == ofp.OFPGT_SELECT
        buckets = [
            parser.OFPBucket(
                bucket.weight if select else 0,
                bucket.watch_port if bucket.watch_port is not None else ofp.OFPP_ANY,
                ofp.OFPG_ANY,
                encode_actions(bucket.actions),
            )
            for bucket in group.buckets
        ]
    return parser.OFPGroupMod(connection, command, int(group.type), group.id, buckets)


def _meter_mod(connection: Protocol13, meter: AnyMeter, command: int) -> Any:
    """Section 7.3.4.4."""
    match meter:
        case Meter():
            flags, band = METER_FLAGS, parser.OFPMeterBandDrop(meter.rate_pps, meter.burst_packets)
        case RateCap():
            flags, band = RATE_CAP_FLAGS, parser.OFPMeterBandDrop(meter.rate_kbps, meter.burst_kbit)
    return parser.OFPMeterMod(connection, command, flags, meter.id, [band] if command != ofp.OFPMC_DELETE else [])


def read_rules(connection: Connection, bounds: RuleBounds = RULE_BOUNDS) -> tuple[SwitchRules, int]:
    """Our rules in a switch's tables, and how many flows there are somebody else's.

    Every part of an answer is read and dropped as it comes. A switch that holds more rules of ours than the bounds
    (65,536 flows, 8,192 groups, 8,192 meters) is disconnected as one that breaks the rules of the channel.

    Raises
    ------
    HeddleError
        The switch did not answer, or held too many.
    """
    read = RulesRead(bounds, connection.rest)

    def take_flows(reply: Any) -> None:
        for stats in reply.body:
            read.flow(decode_flow(stats) if stats.cookie >> 48 == COOKIE_TAG else None)

    def take_groups(reply: Any) -> None:
        for stats in reply.body:
            read.group(decode_group(stats))

    def take_meters(reply: Any) -> None:
        for stats in reply.body:
            read.meter(decode_meter(stats))

    connection.request(parser.OFPFlowStatsRequest(connection), _TABLES_TIMEOUT_S, take_flows)
    connection.request(parser.OFPGroupDescStatsRequest(connection, 0), _TABLES_TIMEOUT_S, take_groups)
    connection.request(parser.OFPMeterConfigStatsRequest(connection, 0, ofp.OFPM_ALL), _TABLES_TIMEOUT_S, take_meters)
    return read.rules, read.foreign


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def describe_error(error: Any) -> str:
    """An error message's type and code by their names in section 7.4.4."""
    kind = next((name for name in dir(ofp) if name.startswith("OFPET_") and getattr(ofp, name) == error.type), None)
    if kind is None:
        return f"error type {error.type}, code {error.code}"
    prefix = _CODE_PREFIXES.get(kind)
    code = next(
        (name for name in dir(ofp) if prefix and name.startswith(prefix) and getattr(ofp, name) == error.code),
        f"code {error.code}",
    )
    return f"{kind} {code}"


_CODE_PREFIXES = {
    "OFPET_HELLO_FAILED": "OFPHFC_",
    "OFPET_BAD_REQUEST": "OFPBRC_",
    "OFPET_BAD_ACTION": "OFPBAC_",
    "OFPET_BAD_INSTRUCTION": "OFPBIC_",
    "OFPET_BAD_MATCH": "OFPBMC_",
    "OFPET_FLOW_MOD_FAILED": "OFPFMFC_",
    "OFPET_GROUP_MOD_FAILED": "OFPGMFC_",
    "OFPET_PORT_MOD_FAILED": "OFPPMFC_",
    "OFPET_TABLE_MOD_FAILED": "OFPTMFC_",
    "OFPET_QUEUE_OP_FAILED": "OFPQOFC_",
    "OFPET_METER_MOD_FAILED": "OFPMMFC_",
}
