"""OpenFlow 1.3 as a switch writes and reads it: bytes alone, and nothing of the daemon's own code.

Section numbers are those of OpenFlow 1.3.5.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER = struct.Struct("!BBHI")
VERSION = 4

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER = 0, 1, 2, 3, 4
FEATURES_REQUEST, FEATURES_REPLY = 5, 6
PACKET_IN, FLOW_REMOVED, PORT_STATUS, PACKET_OUT, FLOW_MOD = 10, 11, 12, 13, 14
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 18, 19, 20, 21
FLOW_STATS, PORT_STATS, GROUP_DESC, METER_CONFIG, PORT_DESC = 1, 4, 7, 10, 13

_NO_BUFFER = 0xFFFF_FFFF
_SPEED_KBPS = 10_000_000
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_BROADCAST = b"\xff" * 6
_ARP_TYPE, LLDP_TYPE = 0x0806, 0x88CC


def message(kind: int, body: bytes = b"", xid: int = 0, version: int = VERSION) -> bytes:
    """A whole message (section 7.1.1)."""
    return HEADER.pack(version, kind, HEADER.size + len(body), xid) + body


def hello() -> bytes:
    """OpenFlow 1.3 alone is offered (section 7.5.1)."""
    return message(HELLO, struct.pack("!HHI", 1, 8, 1 << VERSION))


def features_reply(dpid: int, xid: int) -> bytes:
    """Section 7.3.1."""
    return message(FEATURES_REPLY, struct.pack("!QIBB2xII", dpid, 0, 254, 0, 0x4F, 0), xid)


def multipart_reply(kind: int, body: bytes, xid: int, flags: int = 0) -> bytes:
    """A part of an answer, by its flags the last one (section 7.3.5)."""
    return message(MULTIPART_REPLY, struct.pack("!HH4x", kind, flags) + body, xid)


def port_description(number: int, *, is_up: bool = True) -> bytes:
    """A port of 10 Gbit/s (section 7.2.1)."""
    mac, link_down = bytes((2, 0, 0, 0, number >> 8 & 255, number & 255)), 1
    state = 0 if is_up else link_down
    return struct.pack("!I4x6s2x16s8I", number, mac, b"p%d" % number, 0, state, 0, 0, 0, 0, _SPEED_KBPS, 0)


def port_counters(number: int, received: int, sent: int) -> bytes:
    """Counters of a port, given in packets (section 7.3.5.6)."""
    return struct.pack("!I4x12QII", number, received, sent, 64 * received, 64 * sent, *[0] * 8, 1, 0)


def packet_in(port: int, frame: bytes) -> bytes:
    """A frame that came up whole (section 7.4.1)."""
    match = struct.pack("!HHII4x", 1, 12, 0x8000_0004, port)
    return message(PACKET_IN, struct.pack("!IHBBQ", _NO_BUFFER, len(frame), 1, 0, 0) + match + b"\0\0" + frame)


def read_packet_out(whole: bytes) -> tuple[int, bytes]:
    """Port and frame of a packet-out with one output action (section 7.3.7)."""
    (actions_bytes,) = struct.unpack_from("!H", whole, 16)
    (port,) = struct.unpack_from("!I", whole, 28)
    return port, whole[24 + actions_bytes :]


def mac_of(ip: int) -> bytes:
    """The MAC of a host of the fleet."""
    return b"\x02\xfe" + ip.to_bytes(4)


def arp_request(sender_ip: int, target_ip: int, mac: bytes | None = None) -> bytes:
    """A host asks for another, or for itself, which makes it known (RFC 826); its MAC is `mac_of` it or one given."""
    sender = mac or mac_of(sender_ip)
    arp = _ARP.pack(1, 0x0800, 6, 4, 1, sender, sender_ip.to_bytes(4), bytes(6), target_ip.to_bytes(4))
    return _BROADCAST + sender + _ARP_TYPE.to_bytes(2) + arp + bytes(18)


class Arp(NamedTuple):
    """What an ARP packet says: who speaks, and of whom."""

    is_reply: bool
    sender_mac: bytes
    sender_ip: int
    target_ip: int


def read_arp(frame: bytes) -> Arp | None:
    """The ARP packet in a frame; None for another frame."""
    if len(frame) < 14 + _ARP.size or int.from_bytes(frame[12:14]) != _ARP_TYPE:
        return None
    _, _, _, _, operation, mac, ip, _, target_ip = _ARP.unpack_from(frame, 14)
    return Arp(operation == 2, mac, int.from_bytes(ip), int.from_bytes(target_ip))


def arp_reply(ip: int, asked: Arp, mac: bytes | None = None) -> bytes:
    """A host answers who asked for it; its MAC is `mac_of` it or one given."""
    sender, asker = mac or mac_of(ip), asked.sender_ip.to_bytes(4)
    arp = _ARP.pack(1, 0x0800, 6, 4, 2, sender, ip.to_bytes(4), asked.sender_mac, asker)
    return asked.sender_mac + sender + _ARP_TYPE.to_bytes(2) + arp + bytes(18)


def is_lldp(frame: bytes) -> bool:
    """Whether a frame is a probe of discovery's (IEEE 802.1AB)."""
    return frame[12:14] == LLDP_TYPE.to_bytes(2)


def foreign_lldp() -> bytes:
    """LLDP as network cards send it."""
    return (
        bytes.fromhex("0180c200000e")
        + mac_of(1)
        + LLDP_TYPE.to_bytes(2)
        + bytes.fromhex("0207040000000000010000")
        + bytes(40)
    )


def datagram() -> bytes:
    """A frame that nobody at the controller asked for: IPv4, UDP."""
    return mac_of(2) + mac_of(1) + b"\x08\x00" + bytes.fromhex("4500002e00000000401100000a0000010a000002") + bytes(26)
