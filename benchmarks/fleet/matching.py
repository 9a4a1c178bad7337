"""What a flow's match and instructions say, and whom they hit; read from bytes, and refused as Open vSwitch does.

Rules of a fabric repeat each other, so what was read is remembered. Sections are those of OpenFlow 1.3.5.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from benchmarks.fleet.openflow import BAD_ACTION, BAD_INSTRUCTION, BAD_MATCH, BAD_REQUEST, Refused

IN_PORT, ETH_DST, ETH_SRC, ETH_TYPE, IP_PROTO, IPV4_SRC, IPV4_DST = 0, 3, 4, 5, 10, 11, 12
TCP_SRC, TCP_DST, UDP_SRC, UDP_DST = 13, 14, 15, 16
ARP_SPA, ARP_TPA, ARP_SHA, ARP_THA, MPLS_LABEL = 22, 23, 24, 25, 34
"""Match fields of the basic class by their numbers (section 7.2.3.7)."""

OUTPUT, PUSH_MPLS, POP_MPLS, GROUP, SET_FIELD = 0, 19, 20, 22, 25
GOTO_TABLE, APPLY_ACTIONS, METER = 1, 4, 6

_BASIC = 0x8000
_LONGS = 1 << 16
_IPV4, _IPV6, _ARP, _MPLS, _MPLS_MULTICAST = 0x0800, 0x86DD, 0x0806, 0x8847, 0x8848
_TCP, _UDP = 6, 17
_PREREQUISITES = {
    IP_PROTO: (ETH_TYPE, {_IPV4, _IPV6}), IPV4_SRC: (ETH_TYPE, {_IPV4}), IPV4_DST: (ETH_TYPE, {_IPV4}),
    TCP_SRC: (IP_PROTO, {_TCP}), TCP_DST: (IP_PROTO, {_TCP}), UDP_SRC: (IP_PROTO, {_UDP}), UDP_DST: (IP_PROTO, {_UDP}),
    ARP_SPA: (ETH_TYPE, {_ARP}), ARP_TPA: (ETH_TYPE, {_ARP}), ARP_SHA: (ETH_TYPE, {_ARP}), ARP_THA: (ETH_TYPE, {_ARP}),
    MPLS_LABEL: (ETH_TYPE, {_MPLS, _MPLS_MULTICAST}),
}  # fmt: skip
"""The field, and its values, without which a field must not be matched on (section 7.2.3.6)."""


class Field(NamedTuple):
    """One field of a match: its number (other classes' are above the basic one's), and the bits that count."""

    number: int
    value: int
    mask: int


Fields: TypeAlias = tuple[Field, ...]


@lru_cache(_LONGS)
def read_match(match: bytes) -> Fields:
    """The fields of a match by number, so that equal matches are equal values (section 7.2.3).

    Raises
    ------
    Refused
        It is malformed, or has a field twice, without its prerequisite, or with a value beside its mask.
    """
    kind, length = struct.unpack_from("!HH", match)
    if kind != 1:
        raise Refused(BAD_MATCH, 0)
    fields: dict[int, Field] = {}
    at = 4
    while at < length:
        header = int.from_bytes(match[at : at + 4])
        end = at + 4 + (header & 0xFF)
        if end > min(length, len(match)):
            raise Refused(BAD_MATCH, 1)
        field = _field(header, match[at + 4 : end])
        if field.number in fields:
            raise Refused(BAD_MATCH, 10)
        fields[field.number] = field
        at = end
    for number in fields.keys() & _PREREQUISITES.keys():
        needed, values = _PREREQUISITES[number]
        if needed not in fields or fields[needed].value not in values:
            raise Refused(BAD_MATCH, 9)
    return tuple(fields[number] for number in sorted(fields) if fields[number].mask)


def _field(header: int, payload: bytes) -> Field:
    of_class, number = header >> 16, header >> 9 & 0x7F
    if header & 1 << 8:
        half = len(payload) // 2
        value, mask = int.from_bytes(payload[:half]), int.from_bytes(payload[half:])
    else:
        value, mask = int.from_bytes(payload), (1 << 8 * len(payload)) - 1
    if value & ~mask:
        raise Refused(BAD_MATCH, 5)
    return Field(number if of_class == _BASIC else of_class << 7 | number, value, mask)


def is_within(match: Fields, wider: Fields) -> bool:
    """Whether all packets that a match takes are taken by another one too: what a non-strict command hits."""
    have = {field.number: field for field in match}
    return all(
        (own := have.get(field.number)) is not None
        and own.mask & field.mask == field.mask
        and own.value & field.mask == field.value
        for field in wider
    )


def overlap(one: Fields, other: Fields) -> bool:
    """Whether some packet is taken by both matches (section 6.4)."""
    theirs = {field.number: field for field in other}
    return all(
        (their := theirs.get(field.number)) is None or not (field.value ^ their.value) & field.mask & their.mask
        for field in one
    )


class References(NamedTuple):
    """What instructions lead to."""

    goto: int | None
    meter: int | None
    groups: frozenset[int]
    ports: frozenset[int]


@lru_cache(_LONGS)
def read_references(instructions: bytes) -> References:
    """Where instructions lead (section 7.2.4).

    Raises
    ------
    Refused
        They are malformed.
    """
    goto = meter = None
    groups: set[int] = set()
    ports: set[int] = set()
    for kind, content in split(instructions, Refused(BAD_INSTRUCTION, 3)):
        if kind == GOTO_TABLE:
            goto = content[0]
        elif kind == METER:
            meter = int.from_bytes(content[:4])
        elif kind == APPLY_ACTIONS:
            found, out = read_targets(content[4:])
            groups |= found
            ports |= out
    return References(goto, meter, frozenset(groups), frozenset(ports))


def read_targets(actions: bytes) -> tuple[set[int], set[int]]:
    """Groups and ports that actions send packets to (section 7.2.5).

    Raises
    ------
    Refused
        They are malformed.
    """
    groups: set[int] = set()
    ports: set[int] = set()
    for kind, content in split(actions, Refused(BAD_ACTION, 1)):
        if kind in (GROUP, OUTPUT):
            (groups if kind == GROUP else ports).add(int.from_bytes(content[:4]))
    return groups, ports


class RawBucket(NamedTuple):
    """A bucket of a group (section 7.3.4.2)."""

    weight: int
    watch_port: int
    actions: bytes


def split_buckets(buckets: bytes) -> list[RawBucket]:
    """The buckets of a group.

    Raises
    ------
    Refused
        They are malformed.
    """
    found = []
    at = 0
    while at < len(buckets):
        if len(buckets) - at < 16:
            raise Refused(BAD_REQUEST, 6)
        length, weight, watch_port = struct.unpack_from("!HHI", buckets, at)
        if not 16 <= length <= len(buckets) - at:
            raise Refused(BAD_REQUEST, 6)
        found.append(RawBucket(weight, watch_port, buckets[at + 16 : at + length]))
        at += length
    return found


def split(items: bytes, malformed: Refused) -> list[tuple[int, bytes]]:
    """Type and content of each instruction or action: both begin with type and length."""
    found = []
    at = 0
    while at < len(items):
        kind, length = struct.unpack_from("!HH", items, at) if len(items) - at >= 8 else (0, 0)
        if not 8 <= length <= len(items) - at:
            raise malformed
        found.append((kind, items[at + 4 : at + length]))
        at += length
    return found
