"""Fractional splits: a pair's flows dealt to its paths, by source port, or by a hash where they are very many.

Source ports are told apart by their low bits. Each path gets the ports whose low bits, read backwards, lie in an
interval of its own (van der Corput's sequence): so ports that follow each other go to different paths, an interval is a
few masked matches, and any run of ports is dealt nearly in proportion. A hash throws flows at paths at random, and
holds a share only where thousands are thrown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TypeAlias

from dataplane.rules import IP_PROTO_TCP, IP_PROTO_UDP, Masked
from dataplane.spread import BUCKETS
from topologies.errors import HeddleError

TOLERANCE = 0.05
"""What a path's part may differ from its share, relative to the share."""

_MOST_BITS = 10
_DIGITS = 9
"""Of a share; what is behind them is arithmetic's."""
_CONFIDENCE = 2.576
"""Standard deviations within which 99 % of all draws are."""

FIRST_BIT = {IP_PROTO_UDP: 0, IP_PROTO_TCP: 1}
"""The lowest bit of the source port that tells flows of a protocol apart.

Linux gives connections ports of one parity (``__inet_hash_connect`` leaves the other to servers), so the lowest bit of
TCP's says nothing.
"""

Shares: TypeAlias = tuple[float, ...]


class SplitRefused(HeddleError):
    """So few flows cannot be split like this.

    Attributes
    ----------
    shares : tuple of float
        What was asked of each path.
    closest : tuple of float
        What the flows would put on each at best.
    flows : int
    """

    def __init__(self, shares: Shares, closest: Shares, flows: int) -> None:
        self.shares, self.closest, self.flows = shares, closest, flows
        wanted, found = (" : ".join(f"{100 * share:.3g}" for share in some) for some in (shares, closest))
        if flows == 1:
            why = "one flow takes one path"
        else:
            why = f"{flows} flows come to {found} at best, and {100 * TOLERANCE:g} % of each is what may be missing"
        super().__init__(f"a split of {wanted} % is not possible: {why}")


@dataclass(frozen=True, slots=True)
class Deal:
    """Which source ports take which path.

    Attributes
    ----------
    blocks : tuple of tuple of Masked
        For each path, the ports that take it.
    worst : float
        The largest deviation of any path's part from its share, relative to the share, of flows whose ports follow
        each other, wherever they begin.
    """

    blocks: tuple[tuple[Masked, ...], ...]
    worst: float


def deal_ports(shares: Shares, flows: int, first_bit: int = 0) -> Deal:
    """Deal source ports to paths by as few of their bits as hold the shares.

    Parameters
    ----------
    shares : tuple of float
        Of the paths; they add up to 1.
    flows : int
        How many flows of equal rate there are; their ports follow each other, in steps of ``2 ** first_bit``.
    first_bit : int
        The lowest bit to tell ports apart by.

    Raises
    ------
    SplitRefused
        These flows come to other shares.
    """
    shares = tuple(round(share, _DIGITS) for share in shares)
    bits, worst, closest = _fewest_bits(shares, flows)
    if worst > TOLERANCE:
        raise SplitRefused(shares, closest, flows)
    ends = [0, *accumulate(apportion(shares, 1 << bits))]
    blocks = tuple(
        tuple(_masked(start, size, bits, first_bit) for start, size in _aligned(begin, end))
        for begin, end in pairwise(ends)
    )
    return Deal(blocks, worst)


def deal_buckets(shares: Shares, flows: int) -> tuple[int, ...] | None:
    """How many of a select group's buckets each path gets; None where a hash over the flows may miss the shares.

    Of 100 draws, 99 have to keep the tolerance: the part of ``flows`` that falls to a share ``s`` has the relative
    standard deviation ``sqrt((1 - s) / (s * flows))``.
    """
    dealt = apportion(shares, BUCKETS)
    for share, buckets in zip(shares, dealt, strict=True):
        left = TOLERANCE - abs(buckets / BUCKETS - share) / share
        if left <= 0 or _CONFIDENCE * ((1 - share) / (share * flows)) ** 0.5 > left:
            return None
    return dealt


def apportion(shares: Sequence[float], seats: int) -> tuple[int, ...]:
    """Whole numbers that add up to ``seats``, in proportion; the largest remainders are rounded up (Hamilton)."""
    exact = [share * seats for share in shares]
    whole = [int(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (whole[place] - exact[place], place))
    for place in by_remainder[: seats - sum(whole)]:
        whole[place] += 1
    return tuple(whole)


@lru_cache(maxsize=4096)
def _fewest_bits(shares: Shares, flows: int) -> tuple[int, float, Shares]:
    """Bits that hold the shares, or come closest, with the deviation then and the parts that are farthest off."""
    found = (0, float("inf"), Shares())
    for bits in range(1, _MOST_BITS + 1):
        if 1 << bits < len(shares):
            continue
        worst, parts = _worst_run(shares, apportion(shares, 1 << bits), bits, flows)
        if worst < found[1]:
            found = (bits, worst, parts)
        if worst <= TOLERANCE or 1 << bits >= 2 * flows:
            break
    return found


def _worst_run(shares: Shares, counts: Sequence[int], bits: int, flows: int) -> tuple[float, Shares]:
    """Of all runs of as many ports as there are flows, the one whose parts are farthest off the shares."""
    period = 1 << bits
    owners = [0] * period
    for place, owner in enumerate(owner for owner, count in enumerate(counts) for _ in range(count)):
        owners[_reversed(place, bits)] = owner
    cycles, rest = divmod(flows, period)
    parts = [cycles * count for count in counts]
    for port in range(rest):
        parts[owners[port]] += 1
    worst, farthest = -1.0, Shares()
    for start in range(period):
        run = tuple(part / flows for part in parts)
        off = max(abs(part - share) / share for part, share in zip(run, shares, strict=True))
        if off > worst:
            worst, farthest = off, run
        if not rest:
            break
        parts[owners[start]] -= 1
        parts[owners[(start + rest) % period]] += 1
    return worst, farthest


def _aligned(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """An interval in the fewest pieces whose size is a power of two that divides their start."""
    while begin < end:
        size = begin & -begin or 1 << end.bit_length()
        while begin + size > end:
            size >>= 1
        yield begin, size
        begin += size


def _masked(start: int, size: int, bits: int, first_bit: int) -> Masked:
    """The ports whose bits, read backwards, are in an aligned piece: those that agree in the lowest ones."""
    known = bits - (size.bit_length() - 1)
    value = _reversed(start, bits) & ((1 << known) - 1)
    return Masked(value << first_bit, ((1 << known) - 1) << first_bit)


def _reversed(number: int, bits: int) -> int:
    found = 0
    for _ in range(bits):
        found, number = found << 1 | number & 1, number >> 1
    return found
