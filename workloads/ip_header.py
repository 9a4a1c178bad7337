"""Reads IPv4 and IPv6 headers down to the ports of TCP and UDP."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from workloads.unreadable import Reason, Unreadable

MAX_EXTENSIONS = 8
MAX_EXTENSION_BYTES = 512

_TCP, _UDP = 6, 17
_IPV6_FRAGMENT, _IPV6_AUTHENTICATION = 44, 51
_IPV6_OPTIONS = frozenset({0, 43, 60})
"""Hop-by-hop, routing and destination options: their second byte counts 8-byte units after the first 8 bytes."""
_EXTENSIONS = _IPV6_OPTIONS | {_IPV6_FRAGMENT, _IPV6_AUTHENTICATION}
_UNTOLD = 1 << 32
"""End of a packet that does not tell its length."""


@dataclass(frozen=True, slots=True)
class Ip:
    """An IPv4 or IPv6 packet: between whom, and what it carries.

    Attributes
    ----------
    source, destination : str
    protocol : int
        The last one of IPv6's chain. A later fragment has that of its fragment header.
    source_port, destination_port : int or None
        Of TCP and UDP; None in later fragments, which carry none.
    """

    source: str
    destination: str
    protocol: int
    source_port: int | None
    destination_port: int | None


def ipv4_text(raw: bytes) -> str:
    """Four bytes as a dotted quad."""
    # A quarter of what IPv4Address takes, and ARP has two.
    return f"{raw[0]}.{raw[1]}.{raw[2]}.{raw[3]}"


def read_ip(frame: bytes, at: int, version: int) -> tuple[Ip, int] | Unreadable:
    """The packet at an offset of a frame, and where its payload begins.

    Parameters
    ----------
    version : int
        4 or 6: what the header before it announced.
    """
    if len(frame) < at + (20 if version == 4 else 40):
        return Unreadable(Reason.SHORT)
    if frame[at] >> 4 != version:
        return Unreadable(Reason.BAD_VERSION)
    return _ipv4(frame, at) if version == 4 else _ipv6(frame, at)


def _ipv4(frame: bytes, at: int) -> tuple[Ip, int] | Unreadable:
    header_bytes, total_bytes = (frame[at] & 0xF) * 4, int.from_bytes(frame[at + 2 : at + 4])
    # Segmentation offload leaves 0 in packets that exceed 64 KiB, as captures on a host show them.
    end = at + total_bytes if total_bytes else _UNTOLD
    if header_bytes < 20 or end < at + header_bytes:
        return Unreadable(Reason.BAD_LENGTH)
    if len(frame) < at + header_bytes:
        return Unreadable(Reason.SHORT)
    source, destination = ipv4_text(frame[at + 12 : at + 16]), ipv4_text(frame[at + 16 : at + 20])
    later = bool(int.from_bytes(frame[at + 6 : at + 8]) & 0x1FFF)
    return _transport(frame, at + header_bytes, end, later, source, destination, frame[at + 9])


def _ipv6(frame: bytes, at: int) -> tuple[Ip, int] | Unreadable:
    payload_bytes, protocol = int.from_bytes(frame[at + 4 : at + 6]), frame[at + 6]
    source, destination = str(IPv6Address(frame[at + 8 : at + 24])), str(IPv6Address(frame[at + 24 : at + 40]))
    at += 40
    # Payloads that exceed 64 KiB have 0 here (RFC 2675, section 3).
    end = at + payload_bytes if payload_bytes else _UNTOLD
    first, passed, later = at, 0, False
    while not later and protocol in _EXTENSIONS:
        if passed == MAX_EXTENSIONS:
            return Unreadable(Reason.TOO_MANY_EXTENSIONS)
        if len(frame) < at + 8:
            return Unreadable(Reason.SHORT)
        header_bytes = 8
        if protocol == _IPV6_FRAGMENT:
            later = bool(int.from_bytes(frame[at + 2 : at + 4]) & 0xFFF8)
        elif protocol == _IPV6_AUTHENTICATION:
            # In 4-byte units, less two (RFC 4302, section 2.2); its fixed part has three of them.
            header_bytes = (frame[at + 1] + 2) * 4
            if header_bytes < 12:
                return Unreadable(Reason.BAD_LENGTH)
        else:
            header_bytes = (frame[at + 1] + 1) * 8
        protocol, at, passed = frame[at], at + header_bytes, passed + 1
        if at - first > MAX_EXTENSION_BYTES:
            return Unreadable(Reason.TOO_MANY_EXTENSIONS)
        if at > end:
            return Unreadable(Reason.BAD_LENGTH)
        if at > len(frame):
            return Unreadable(Reason.SHORT)
    return _transport(frame, at, end, later, source, destination, protocol)


def _transport(
    frame: bytes, at: int, end: int, later: bool, source: str, destination: str, protocol: int
) -> tuple[Ip, int] | Unreadable:
    """The ports, where the protocol has any and this is no later fragment; the packet ends at ``end``."""
    if later or protocol not in (_TCP, _UDP):
        return Ip(source, destination, protocol, None, None), at
    header_bytes = 20 if protocol == _TCP else 8
    if end < at + header_bytes:
        return Unreadable(Reason.BAD_LENGTH)
    if len(frame) < at + header_bytes:
        return Unreadable(Reason.SHORT)
    if protocol == _TCP:
        # The data offset counts 4-byte words (RFC 9293, section 3.1).
        header_bytes = (frame[at + 12] >> 4) * 4
        if header_bytes < 20 or end < at + header_bytes:
            return Unreadable(Reason.BAD_LENGTH)
        if len(frame) < at + header_bytes:
            return Unreadable(Reason.SHORT)
    ports = int.from_bytes(frame[at : at + 2]), int.from_bytes(frame[at + 2 : at + 4])
    return Ip(source, destination, protocol, *ports), at + header_bytes
