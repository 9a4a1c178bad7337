"""The flows between two hosts, cut up by the rules that tell protocols and ports apart.

A set of flows is some of the bits of protocol, source and destination port fixed, the rest free (a wildcard
expression; Kazemian, Varghese and McKeown, "Header space analysis", NSDI 2012, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dataplane.rules import FlowRule, Masked, Match

_PORT_BITS, _ALL_PORTS, _ALL_PROTOCOLS = 16, 0xFFFF, 0xFF
_BITS = 8 + 2 * _PORT_BITS


class Flow(NamedTuple):
    """Protocol and ports of an IPv4 packet."""

    ip_proto: int
    src_port: int
    dst_port: int


class _Cube(NamedTuple):
    """Flows that agree with a value in the bits of a mask."""

    value: int
    mask: int

    def meets(self, other: _Cube) -> _Cube | None:
        if (self.value ^ other.value) & self.mask & other.mask:
            return None
        return _Cube(self.value | other.value, self.mask | other.mask)

    def without(self, other: _Cube) -> Iterator[_Cube]:
        """What is in this and not in the other, in parts that do not overlap."""
        if self.meets(other) is None:
            yield self
            return
        value, mask = self
        for place in range(_BITS):
            bit = 1 << place
            if other.mask & bit & ~mask:
                yield _Cube(value | bit & ~other.value, mask | bit)
                value, mask = value | bit & other.value, mask | bit


_ALL = _Cube(0, 0)


def looks_at_flows(match: Match) -> bool:
    """Whether a match tells flows between the same addresses apart."""
    return match.ip_proto is not None


def share_out(rules: Iterable[FlowRule]) -> list[tuple[FlowRule | None, Flow]]:
    """Which of some rules for one pair of addresses are met by some of its flows, each with such a flow.

    Parameters
    ----------
    rules : iterable of FlowRule
        By falling priority.

    Returns
    -------
    list of (FlowRule or None, Flow)
        None stands for what no rule takes.
    """
    left: Sequence[_Cube] = (_ALL,)
    met: list[tuple[FlowRule | None, Flow]] = []
    for rule in rules:
        wanted = _cube(rule.match)
        taken = next((common for cube in left if (common := cube.meets(wanted)) is not None), None)
        if taken is not None:
            met.append((rule, _flow(taken)))
            left = [rest for cube in left for rest in cube.without(wanted)]
    if left:
        met.append((None, _flow(left[0])))
    return met


def apart(matches: Iterable[Match]) -> list[Flow]:
    """Flows of which any other is told apart from one by none of some matches."""
    cells = [_ALL]
    for wanted in dict.fromkeys(map(_cube, matches)):
        cells = [
            part
            for cell in cells
            for part in (*(common for common in [cell.meets(wanted)] if common is not None), *cell.without(wanted))
        ]
    return [_flow(cell) for cell in cells]


def portions(rules: Iterable[FlowRule], ip_proto: int) -> Iterator[tuple[FlowRule, float]]:
    """What part of a protocol's flows between one pair of addresses meets each of some rules, all ports alike.

    Parameters
    ----------
    rules : iterable of FlowRule
        By falling priority.
    """
    ports = (1 << 2 * _PORT_BITS) - 1
    left = [_Cube(ip_proto << 2 * _PORT_BITS, _ALL_PROTOCOLS << 2 * _PORT_BITS)]
    for rule in rules:
        wanted = _cube(rule.match)
        taken = [common for cube in left if (common := cube.meets(wanted)) is not None]
        if taken:
            yield rule, sum(0.5 ** (common.mask & ports).bit_count() for common in taken)
            left = [rest for cube in left for rest in cube.without(wanted)]


def _cube(match: Match) -> _Cube:
    value, mask = 0, 0
    source = match.tcp_src if match.tcp_src is not None else match.udp_src
    target = match.tcp_dst if match.tcp_dst is not None else match.udp_dst
    for wanted, all_bits in ((match.ip_proto, _ALL_PROTOCOLS), (source, _ALL_PORTS), (target, _ALL_PORTS)):
        bits = all_bits.bit_length()
        part = wanted if isinstance(wanted, Masked) else Masked(wanted or 0, 0 if wanted is None else all_bits)
        value, mask = value << bits | part.value, mask << bits | part.mask
    return _Cube(value, mask)


def _flow(cube: _Cube) -> Flow:
    return Flow(cube.value >> 2 * _PORT_BITS, cube.value >> _PORT_BITS & _ALL_PORTS, cube.value & _ALL_PORTS)
