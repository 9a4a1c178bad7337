"""What OpenFlow 1.3 messages are made of (matches, actions, instructions), at random, with every length field noted.

Written from the structures of OpenFlow 1.3.5, whose section numbers are given, and from nothing that Heddle or a
framework reads them with. What it allows and no framework reads (instructions of experimenters) is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

OPENFLOW_BASIC, NXM_1, EXPERIMENTER_CLASS = 0x8000, 0x0001, 0xFFFF
ONF = 0x4F4E4600
FOREIGN = 0x00ABCDEF
"""An experimenter that nobody knows."""


@dataclass(frozen=True, slots=True)
class LengthField:
    """A field that says how long something is.

    Attributes
    ----------
    name : str
        The structure whose length it is.
    offset, width_bytes : int
        Where in the message it stands.
    value : int
        What it says.
    least : int
        The smallest legal value for that structure.
    most : int
        What its container has left for it; nothing longer fits.
    start, end : int
        Where the structure begins and ends, without padding behind it.
    """

    name: str
    offset: int
    width_bytes: int
    value: int
    least: int
    most: int
    start: int
    end: int


@dataclass(slots=True)
class _Span:
    name: str
    start: int
    at: int
    width_bytes: int
    least: int
    uncounted: int
    container: _Span | None
    end: int = 0


class Writer:
    """Bytes under construction, and the length fields among them.

    Attributes
    ----------
    random : Random
        Draws all that is free.
    data : bytearray
        What was written so far.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.data = bytearray()
        self._open: list[_Span] = []
        self._spans: list[_Span] = []

    def pack(self, layout: str, *values: int | bytes) -> None:
        """Append values in network order."""
        self.data += struct.pack("!" + layout, *values)

    def bits(self, count: int) -> int:
        """A random number of so many bits."""
        return self.random.getrandbits(count)

    def pad(self, start: int) -> None:
        """Zeros up to a multiple of 8 bytes from a start."""
        self.data += bytes((start - len(self.data)) % 8)

    @contextmanager
    def measured(self, name: str, least: int, at: int = 2, width_bytes: int = 2, uncounted: int = 0) -> Iterator[int]:
        """A structure whose length is known at its end, and written into its field then.

        Parameters
        ----------
        least : int
            The smallest legal length of this structure.
        at, width_bytes : int
            Where in the structure the field stands.
        uncounted : int
            Bytes at the start that the length does not cover.

        Yields
        ------
        int
            Where the structure starts.
        """
        container = self._open[-1] if self._open else None
        span = _Span(name, len(self.data), at, width_bytes, least, uncounted, container)
        self._spans.append(span)
        self._open.append(span)
        yield span.start
        self._open.pop()
        span.end = len(self.data)
        value = span.end - span.start - uncounted
        self.data[span.start + at : span.start + at + width_bytes] = value.to_bytes(width_bytes)

    def lengths(self) -> tuple[LengthField, ...]:
        """All length fields, outermost first."""
        return tuple(
            LengthField(
                span.name,
                span.start + span.at,
                span.width_bytes,
                span.end - span.start - span.uncounted,
                span.least,
                (span.container.end if span.container else len(self.data)) - span.start - span.uncounted,
                span.start,
                span.end,
            )
            for span in self._spans
        )


# ── matches and their fields (section 7.2.3) ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Field:
    """A field of OpenFlow's matches (table 12): its number in its class, and the bits of its value that may be set."""

    number: int
    size_bytes: int
    bits: int
    maskable: bool = False
    kind: int = OPENFLOW_BASIC


FIELDS = {
    "in_port": Field(0, 4, 32),
    "in_phy_port": Field(1, 4, 32),
    "metadata": Field(2, 8, 64, True),
    "eth_dst": Field(3, 6, 48, True),
    "eth_src": Field(4, 6, 48, True),
    "eth_type": Field(5, 2, 16),
    "vlan_vid": Field(6, 2, 13, True),
    "vlan_pcp": Field(7, 1, 3),
    "ip_dscp": Field(8, 1, 6),
    "ip_ecn": Field(9, 1, 2),
    "ip_proto": Field(10, 1, 8),
    "ipv4_src": Field(11, 4, 32, True),
    "ipv4_dst": Field(12, 4, 32, True),
    "tcp_src": Field(13, 2, 16),
    "tcp_dst": Field(14, 2, 16),
    "udp_src": Field(15, 2, 16),
    "udp_dst": Field(16, 2, 16),
    "sctp_src": Field(17, 2, 16),
    "sctp_dst": Field(18, 2, 16),
    "icmpv4_type": Field(19, 1, 8),
    "icmpv4_code": Field(20, 1, 8),
    "arp_op": Field(21, 2, 16),
    "arp_spa": Field(22, 4, 32, True),
    "arp_tpa": Field(23, 4, 32, True),
    "arp_sha": Field(24, 6, 48, True),
    "arp_tha": Field(25, 6, 48, True),
    "ipv6_src": Field(26, 16, 128, True),
    "ipv6_dst": Field(27, 16, 128, True),
    "ipv6_flabel": Field(28, 4, 20, True),
    "icmpv6_type": Field(29, 1, 8),
    "icmpv6_code": Field(30, 1, 8),
    "ipv6_nd_target": Field(31, 16, 128),
    "ipv6_nd_sll": Field(32, 6, 48),
    "ipv6_nd_tll": Field(33, 6, 48),
    "mpls_label": Field(34, 4, 20),
    "mpls_tc": Field(35, 1, 3),
    "mpls_bos": Field(36, 1, 1),
    "pbb_isid": Field(37, 3, 24, True),
    "tunnel_id": Field(38, 8, 64, True),
    "ipv6_exthdr": Field(39, 2, 9, True),
    # Register 0 of Open vSwitch, and two fields that the ONF registered for 1.3 (EXT-109, EXT-233).
    "reg0": Field(0, 4, 32, True, NXM_1),
    "tcp_flags": Field(42, 2, 12, True, EXPERIMENTER_CLASS),
    "actset_output": Field(43, 4, 32, False, EXPERIMENTER_CLASS),
}
"""Fields by name, with what section 7.2.3.7 says of them."""
# What section 7.2.3.8 asks for: a field comes after those that it depends on, with the values that these must have.
_ANYWHERE = ("in_port", "metadata", "eth_dst", "eth_src", "tunnel_id", "reg0", "actset_output")
_STACKS: tuple[tuple[dict[str, int], tuple[str, ...]], ...] = (
    ({}, ("eth_type",)),
    ({"vlan_vid": 0x1005}, ("vlan_pcp",)),
    ({"eth_type": 0x0800}, ("ip_dscp", "ip_ecn", "ip_proto", "ipv4_src", "ipv4_dst")),
    ({"eth_type": 0x0800, "ip_proto": 6}, ("ipv4_src", "ipv4_dst", "tcp_src", "tcp_dst", "tcp_flags")),
    ({"eth_type": 0x0800, "ip_proto": 17}, ("ipv4_src", "ipv4_dst", "udp_src", "udp_dst")),
    ({"eth_type": 0x0800, "ip_proto": 132}, ("sctp_src", "sctp_dst")),
    ({"eth_type": 0x0800, "ip_proto": 1}, ("icmpv4_type", "icmpv4_code")),
    ({"eth_type": 0x0806}, ("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha")),
    ({"eth_type": 0x86DD}, ("ipv6_src", "ipv6_dst", "ipv6_flabel", "ipv6_exthdr")),
    ({"eth_type": 0x86DD, "ip_proto": 58}, ("icmpv6_type", "icmpv6_code")),
    ({"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 135}, ("ipv6_nd_target", "ipv6_nd_sll")),
    ({"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 136}, ("ipv6_nd_target", "ipv6_nd_tll")),
    ({"eth_type": 0x8847}, ("mpls_label", "mpls_tc", "mpls_bos")),
    ({"eth_type": 0x88E7}, ("pbb_isid",)),
)
_READ_ONLY = {"in_port", "in_phy_port", "metadata", "ipv6_exthdr", "tcp_flags", "actset_output"}
_SETTABLE = tuple(name for name in FIELDS if name not in _READ_ONLY)


def _oxm(writer: Writer, name: str, value: int | None = None, mask: bool = False) -> None:
    """One field (section 7.2.3.2); its length covers what comes after its 4 bytes of header."""
    field = FIELDS[name]
    experimenter = struct.pack("!I", ONF) if field.kind == EXPERIMENTER_CLASS else b""
    bits = writer.bits(field.bits)
    # Where the mask has a 0 the value must have one.
    value = writer.bits(field.bits) & (bits if mask else -1) if value is None else value
    least = len(experimenter) + field.size_bytes * (1 + mask)
    with writer.measured("oxm", least, at=3, width_bytes=1, uncounted=4):
        writer.pack("HBB", field.kind, field.number << 1 | mask, 0)
        writer.data += experimenter + value.to_bytes(field.size_bytes)
        if mask:
            writer.data += bits.to_bytes(field.size_bytes)


def match(writer: Writer, in_port: bool = False) -> None:
    """A match (section 7.2.3.1), padded to a multiple of 8 bytes that its length does not cover.

    Parameters
    ----------
    in_port : bool
        It names the port at which a packet came in, and perhaps the physical one.
    """
    random = writer.random
    fixed, free = random.choice(_STACKS)
    with writer.measured("match", 4) as start:
        writer.pack("HH", 1, 0)
        if in_port:
            _oxm(writer, "in_port")
            if random.random() < 0.2:
                _oxm(writer, "in_phy_port")
        for name in random.sample(_ANYWHERE[in_port:], random.randint(0, 3)):
            _oxm(writer, name, mask=FIELDS[name].maskable and random.random() < 0.3)
        if random.random() < 0.8:
            for name, value in fixed.items():
                _oxm(writer, name, value)
            for name in random.sample(free, random.randint(0, len(free))):
                _oxm(writer, name, mask=FIELDS[name].maskable and random.random() < 0.3)
    writer.pad(start)


# ── actions (section 7.2.5) and instructions (section 7.2.4) ─────────────────────────────────────────

_OUTPUT, _SET_FIELD = 0, 25
PLAIN_ACTIONS = dict.fromkeys((11, 12, 16, 18, 24, 27), "")
PLAIN_ACTIONS |= dict.fromkeys((15, 23), "B3x") | dict.fromkeys((17, 19, 20, 26), "H2x") | dict.fromkeys((21, 22), "I")
"""Actions of 8 bytes, by type, and what is in their last 4."""
_BITS = {"B3x": 8, "H2x": 16, "I": 32}


def _action(writer: Writer) -> None:
    kind = writer.random.choice((_OUTPUT, _SET_FIELD, EXPERIMENTER_CLASS, *PLAIN_ACTIONS))
    if kind == _OUTPUT:
        with writer.measured("action", 16):
            writer.pack("HHIH6x", kind, 0, writer.bits(32), writer.bits(16))
    elif kind == _SET_FIELD:
        name = writer.random.choice(_SETTABLE)
        with writer.measured("action", 16 if FIELDS[name].size_bytes <= 8 else 24) as start:
            writer.pack("HH", kind, 0)
            _oxm(writer, name)
            writer.pad(start)
    elif kind == EXPERIMENTER_CLASS:
        with writer.measured("action", 8):
            writer.pack("HHI", kind, 0, FOREIGN)
            writer.data += writer.random.randbytes(8 * writer.random.randint(0, 2))
    else:
        layout = PLAIN_ACTIONS[kind]
        with writer.measured("action", 8):
            writer.pack("HH" + (layout or "4x"), kind, 0, *([writer.bits(_BITS[layout])] if layout else []))


def actions(writer: Writer) -> None:
    """Up to three actions."""
    for _ in range(writer.random.randint(0, 3)):
        _action(writer)


def instruction(writer: Writer) -> None:
    """One instruction of the six that are no experimenter's."""
    kind = writer.random.randint(1, 6)
    if kind == 1:
        with writer.measured("instruction", 8):
            writer.pack("HHB3x", kind, 0, writer.bits(7))
    elif kind == 2:
        with writer.measured("instruction", 24):
            writer.pack("HH4xQQ", kind, 0, writer.bits(64), writer.bits(64))
    elif kind == 6:
        with writer.measured("instruction", 8):
            writer.pack("HHI", kind, 0, writer.bits(16))
    else:
        with writer.measured("instruction", 8):
            writer.pack("HH4x", kind, 0)
            # Kind 5 clears the action set and carries no action.
            if kind != 5:
                actions(writer)
