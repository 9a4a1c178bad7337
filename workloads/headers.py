"""Reads the packet headers that the controller and its tools act on: bounded, and without ever raising."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from workloads.ip_header import Ip, ipv4_text, read_ip
from workloads.lldp_header import Lldp, read_lldp
from workloads.unreadable import Reason, Unreadable

__all__ = [
    "ARP_REPLY", "ARP_REQUEST", "ETHERNET_BYTES", "ETH_ARP", "ETH_IPV4", "ETH_IPV6", "ETH_LLDP", "MAX_LABELS",
    "MAX_TAGS", "Arp", "Headers", "Ip", "Lldp", "Reason", "Unreadable", "mac_bytes", "mac_text",
    "read_headers", "write_arp",
]  # fmt: skip

ETHERNET_BYTES = 14
ARP_REQUEST, ARP_REPLY = 1, 2
ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC

MAX_TAGS = 4
MAX_LABELS = 8

_VLAN = frozenset({0x8100, 0x88A8})
_MPLS = frozenset({0x8847, 0x8848})
_IP_VERSION = {ETH_IPV4: 4, ETH_IPV6: 6}
_LEAST_ETH_TYPE = 0x0600
"""What is less is a length, and a frame of IEEE 802.3 with LLC (IEEE 802.3, 3.2.6)."""
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_IPV4_OVER_ETHERNET = (1, 0x0800, 6, 4)


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP packet for IPv4 over Ethernet (RFC 826)."""

    operation: int
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of one frame, outermost first.

    Attributes
    ----------
    destination, source : str
        MAC addresses.
    eth_type : int
        The one after all VLAN tags.
    vlan_ids, mpls_labels : tuple of int
        Outermost first; empty in a frame that has none.
    arp : Arp or None
    lldp : Lldp or None
    ip : Ip or None
        Also that of the packet behind MPLS labels.
    payload_offset : int
        Where in the frame begins what was not read.
    """

    destination: str
    source: str
    eth_type: int
    vlan_ids: tuple[int, ...]
    mpls_labels: tuple[int, ...]
    arp: Arp | None
    lldp: Lldp | None
    ip: Ip | None
    payload_offset: int


def mac_text(raw: bytes) -> str:
    """Six bytes as lower-case hex pairs with colons."""
    return raw.hex(":")


def mac_bytes(text: str) -> bytes:
    """The reverse of `mac_text`."""
    return bytes.fromhex(text.replace(":", ""))


def write_arp(arp: Arp, destination_mac: str) -> bytes:
    """A whole frame that carries the ARP packet, padded to Ethernet's least size."""
    frame = mac_bytes(destination_mac) + mac_bytes(arp.sender_mac) + ETH_ARP.to_bytes(2)
    frame += _ARP.pack(
        *_ARP_IPV4_OVER_ETHERNET,
        arp.operation,
        mac_bytes(arp.sender_mac),
        IPv4Address(arp.sender_ip).packed,
        mac_bytes(arp.target_mac),
        IPv4Address(arp.target_ip).packed,
    )
    return frame.ljust(60, b"\0")


def read_headers(frame: bytes | memoryview) -> Headers | Unreadable:
    """All headers of a frame, down to the ports.

    Every loop has a limit on its rounds, and every round moves on. A frame may be cut short behind its headers, as
    captures and messages to the controller are; padding behind an IP packet is not taken for a part of it.

    Parameters
    ----------
    frame : bytes or memoryview
        From the destination address on, without preamble and check sequence.

    Notes
    -----
    VLAN tags: IEEE 802.1Q, 9.6. Labels: RFC 3032, section 2.1. IPv4: RFC 791, section 3.1. IPv6: RFC 8200, section 4.
    """
    frame = bytes(frame)
    if len(frame) < ETHERNET_BYTES:
        return Unreadable(Reason.SHORT)
    eth_type, at = int.from_bytes(frame[12:14]), ETHERNET_BYTES
    vlan_ids: tuple[int, ...] = ()
    while eth_type in _VLAN:
        if len(vlan_ids) == MAX_TAGS:
            return Unreadable(Reason.TOO_MANY_TAGS)
        if len(frame) < at + 4:
            return Unreadable(Reason.SHORT)
        vlan_ids += (int.from_bytes(frame[at : at + 2]) & 0xFFF,)
        eth_type, at = int.from_bytes(frame[at + 2 : at + 4]), at + 4
    if eth_type < _LEAST_ETH_TYPE:
        return Unreadable(Reason.NO_ETH_TYPE)
    if eth_type == ETH_ARP:
        arp = _arp(frame, at)
        return arp if isinstance(arp, Unreadable) else _headers(frame, eth_type, vlan_ids, at + _ARP.size, arp=arp)
    if eth_type == ETH_LLDP:
        read = read_lldp(frame, at)
        return read if isinstance(read, Unreadable) else _headers(frame, eth_type, vlan_ids, read[1], lldp=read[0])
    labels: tuple[int, ...] = ()
    version = _IP_VERSION.get(eth_type)
    if eth_type in _MPLS:
        stack = _labels(frame, at)
        if isinstance(stack, Unreadable):
            return stack
        labels, at = stack, at + 4 * len(stack)
        # No field names what follows the stack; its first four bits tell IP from a pseudowire (RFC 4928, section 3).
        version = frame[at] >> 4
    if version not in (4, 6):
        return _headers(frame, eth_type, vlan_ids, at, labels)
    packet = read_ip(frame, at, version)
    if isinstance(packet, Unreadable):
        return packet
    return _headers(frame, eth_type, vlan_ids, packet[1], labels, ip=packet[0])


def _headers(
    frame: bytes,
    eth_type: int,
    vlan_ids: tuple[int, ...],
    payload_offset: int,
    labels: tuple[int, ...] = (),
    *,
    arp: Arp | None = None,
    lldp: Lldp | None = None,
    ip: Ip | None = None,
) -> Headers:
    return Headers(
        mac_text(frame[0:6]), mac_text(frame[6:12]), eth_type, vlan_ids, labels, arp, lldp, ip, payload_offset
    )


def _arp(frame: bytes, at: int) -> Arp | Unreadable:
    if len(frame) < at + _ARP.size:
        return Unreadable(Reason.SHORT)
    *kind, operation, sender_mac, sender_ip, target_mac, target_ip = _ARP.unpack_from(frame, at)
    if tuple(kind) != _ARP_IPV4_OVER_ETHERNET:
        return Unreadable(Reason.BAD_ARP)
    return Arp(operation, mac_text(sender_mac), ipv4_text(sender_ip), mac_text(target_mac), ipv4_text(target_ip))


def _labels(frame: bytes, at: int) -> tuple[int, ...] | Unreadable:
    """The label stack; behind it there is at least one more byte."""
    labels: list[int] = []
    for _ in range(MAX_LABELS):
        if len(frame) < at + 4:
            return Unreadable(Reason.SHORT)
        entry, at = int.from_bytes(frame[at : at + 4]), at + 4
        labels.append(entry >> 12)
        if entry & 0x100:
            return tuple(labels) if at < len(frame) else Unreadable(Reason.SHORT)
    return Unreadable(Reason.TOO_MANY_LABELS)
