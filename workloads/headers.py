"""Reads the few packet headers that the controller acts on, bounded and without ever raising."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ETHERNET_BYTES = 14
ARP_REQUEST, ARP_REPLY = 1, 2
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_IPV4_OVER_ETHERNET = (1, 0x0800, 6, 4)


@dataclass(frozen=True, slots=True)
class Ethernet:
    """An untagged Ethernet header; ``payload`` is the rest of the frame."""

    destination: str
    source: str
    eth_type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP packet for IPv4 over Ethernet (RFC 826)."""

    operation: int
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str


def mac_text(raw: bytes) -> str:
    """Six bytes as lower-case hex pairs with colons."""
    return raw.hex(":")


def mac_bytes(text: str) -> bytes:
    """The reverse of `mac_text`."""
    return bytes.fromhex(text.replace(":", ""))


def read_ethernet(frame: bytes) -> Ethernet | None:
    """The Ethernet header, or None where the frame is too short to have one."""
    if len(frame) < ETHERNET_BYTES:
        return None
    return Ethernet(
        mac_text(frame[0:6]), mac_text(frame[6:12]), int.from_bytes(frame[12:14]), bytes(frame[ETHERNET_BYTES:])
    )


def read_arp(payload: bytes) -> Arp | None:
    """The ARP packet, or None where it is short or not IPv4 over Ethernet."""
    if len(payload) < _ARP.size:
        return None
    *kind, operation, sender_mac, sender_ip, target_mac, target_ip = _ARP.unpack_from(payload)
    if tuple(kind) != _ARP_IPV4_OVER_ETHERNET:
        return None
    return Arp(
        operation, mac_text(sender_mac), str(IPv4Address(sender_ip)), mac_text(target_mac), str(IPv4Address(target_ip))
    )


def write_arp(arp: Arp, destination_mac: str) -> bytes:
    """A whole frame that carries the ARP packet, padded to Ethernet's least size."""
    frame = mac_bytes(destination_mac) + mac_bytes(arp.sender_mac) + (0x0806).to_bytes(2)
    frame += _ARP.pack(
        *_ARP_IPV4_OVER_ETHERNET,
        arp.operation,
        mac_bytes(arp.sender_mac),
        IPv4Address(arp.sender_ip).packed,
        mac_bytes(arp.target_mac),
        IPv4Address(arp.target_ip).packed,
    )
    return frame.ljust(60, b"\0")
