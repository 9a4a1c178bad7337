"""Groups: equal-cost next hops dealt to buckets so that successive switches choose independently, and fallbacks.

On OpenFlow 1.3, Open vSwitch picks a bucket by a hash that is the same in every switch: a flow that takes
bucket i here takes bucket i everywhere. With one bucket for each next hop the second switch then sends all
of its share one way (polarisation). A group therefore has 64 buckets, and switches at neighbouring
distances from the destination deal their next hops by different bits of the bucket's index: the choices are
independent, exactly so for up to 8 next hops in powers of two. A permutation drawn at random for each switch
is independent on average only: over two tiers its shares are off by about 12 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from dataplane.rules import GROUP_ID_BASE, GROUP_ID_END, Action, Bucket, Group, GroupType, Output, ToGroup

BUCKETS = 64
_INDEX_BITS = 6
_HALF_BITS = _INDEX_BITS // 2


def deal(next_hops: int, distance: int, dpid: int) -> tuple[int, ...]:
    """Which next hop each bucket leads to.

    Parameters
    ----------
    next_hops : int
        How many there are, 1 to 64.
    distance : int
        Hops from this switch to the destination.
    dpid : int
        Turns the deal, so that switches side by side do not all favour their first port.

    Returns
    -------
    tuple of int, length 64
        Index of the next hop for each bucket; each is dealt 64/next_hops times, rounded.
    """
    turn = hashlib.blake2b(dpid.to_bytes(8), digest_size=4).digest()
    first = int.from_bytes(turn) % next_hops
    shift = _HALF_BITS * (distance % 2)
    dealt = []
    for index in range(BUCKETS):
        rotated = (index << shift | index >> (_INDEX_BITS - shift)) & (BUCKETS - 1)
        dealt.append((rotated * next_hops // BUCKETS + first) % next_hops)
    return tuple(dealt)


@lru_cache(maxsize=65_536)
def select_group(ports: tuple[int, ...], distance: int, dpid: int) -> Group:
    """A group that spreads flows over ports; its id is a hash of its content.

    Each bucket watches its port, so a dead one is left at once, without the controller.
    """
    chosen = ports[:BUCKETS]
    buckets = tuple(Bucket((Output(chosen[hop]),), watch_port=chosen[hop]) for hop in deal(len(chosen), distance, dpid))
    return named(GroupType.SELECT, buckets)


@lru_cache(maxsize=65_536)
def failover_group(port: int, fallback: tuple[Action, ...], fallback_port: int) -> Group:
    """A group that uses a port while it lives, and the fallback, which leaves by another port, while it does not."""
    buckets = (Bucket((Output(port),), watch_port=port), Bucket(fallback, watch_port=fallback_port))
    return named(GroupType.FAST_FAILOVER, buckets)


def named(kind: GroupType, buckets: tuple[Bucket, ...]) -> Group:
    """A group whose id is a hash of its content."""
    digest = hashlib.blake2b(repr((kind.value, buckets)).encode(), digest_size=4).digest()
    return Group(GROUP_ID_BASE + int.from_bytes(digest) % (GROUP_ID_END - GROUP_ID_BASE), kind, buckets)


class GroupTable:
    """The groups of one switch, each content once and each id with one content.

    Parameters
    ----------
    first : GroupTable, optional
        Those that it begins with.
    """

    def __init__(self, first: GroupTable | None = None) -> None:
        self._groups: dict[int, Group] = dict(first._groups) if first is not None else {}

    def use(self, group: Group) -> ToGroup:
        """Take a group in, and say how a rule hands packets to it."""
        if self._groups.get(group.id) is group:
            return ToGroup(group.id)
        group_id = free_id(group.id, lambda known: not _same(self._groups.get(known, group), group))
        self._groups.setdefault(group_id, group if group_id == group.id else replace(group, id=group_id))
        return ToGroup(group_id)

    def drop(self, group_id: int) -> None:
        """Forget one that no rule needs any more."""
        del self._groups[group_id]

    def groups(self) -> frozenset[Group]:
        """All that were taken in."""
        return frozenset(self._groups.values())


def _same(one: Group, other: Group) -> bool:
    return one is other or (one.type, one.buckets) == (other.type, other.buckets)


def free_id(group_id: int, is_taken: Callable[[int], bool]) -> int:
    """The first id from this one on that is not taken; ids wrap round in their range.

    Hashes of content share an id once in 2^24 pairs, so a large fabric meets it.
    """
    while is_taken(group_id):
        group_id = group_id + 1 if group_id + 1 < GROUP_ID_END else GROUP_ID_BASE
    return group_id
