"""The only place that builds or reads OpenFlow 1.3 messages: rules, frames, ports and counters.

Section numbers are those of OpenFlow 1.3.5. Every function that waits for a switch belongs into a task.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from controller.bundles import ONF
from controller.channel import Connection
from controller.framework import ofproto as ofp
from controller.framework import ofproto_parser as parser
from controller.rulebounds import RULE_BOUNDS, RuleBounds, RulesRead
from controller.strays import TablesRead
from controller.wire_decode import flows_in, groups_in, meters_in
from controller.wire_encode import encode

__all__ = [
    "PacketIn",
    "Port",
    "PortChange",
    "PortCounters",
    "describe_error",
    "encode",
    "is_physical",
    "packet_out",
    "read_counters",
    "read_packet_in",
    "read_port",
    "read_port_status",
    "read_rules",
]

_TABLES_TIMEOUT_S = 30.0

T = TypeVar("T")

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


def read_rules(connection: Connection, bounds: RuleBounds = RULE_BOUNDS) -> TablesRead:
    """What a switch's tables hold: our rules, what bears their mark, and how many flows are somebody else's.

    Every part of an answer is read and dropped as it comes. A switch that holds more rules of ours than the bounds
    (32,768 flows, 8,192 groups, 8,192 meters) is disconnected as one that breaks the rules of the channel.

    Raises
    ------
    HeddleError
        The switch did not answer, or held too many.
    """
    read = RulesRead(bounds, connection.rest)

    def ask(request: Any, rules_in: Callable[[bytes], Iterable[T]], take: Callable[[T], None]) -> None:
        def each(reply: bytes) -> None:
            for rule in rules_in(reply):
                take(rule)

        connection.request(request, _TABLES_TIMEOUT_S, each, as_bytes=True)

    ask(parser.OFPFlowStatsRequest(connection), flows_in, read.flow)
    ask(parser.OFPGroupDescStatsRequest(connection, 0), groups_in, read.group)
    ask(parser.OFPMeterConfigStatsRequest(connection, 0, ofp.OFPM_ALL), meters_in, read.meter)
    return read.tables


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def describe_error(error: Any) -> str:
    """An error message's type and code by their names in section 7.4.4; those about bundles by theirs."""
    if error.type == ofp.OFPET_EXPERIMENTER:
        known = (name for name in dir(ofp) if name.startswith("ONFERR_") and getattr(ofp, name) == error.exp_type)
        name = next(known, None) if error.experimenter == ONF else None
        return f"OFPET_EXPERIMENTER {name or f'0x{error.experimenter:08x} type {error.exp_type}'}"
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
