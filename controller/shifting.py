"""What planned pairs put on links before and after an update."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import TypeAlias

from controller.service import PlannedPath, PlanStatus
from dataplane.flips import Move
from topologies.fabric import Fabric, LinkId

_SAME = 1e-6

_Pair: TypeAlias = tuple[str, str]
_Loads: TypeAlias = dict[LinkId, float]


def moves(fabric: Fabric, before: PlanStatus | None, after: PlanStatus | None) -> tuple[Move, ...]:
    """The moves of all pairs that change their planned paths, but for hosts without an address.

    All other pairs are together the first one, which does not move, with what they put on links that those use. Where
    their rates differ between the plans it is the smaller one: they share what the others leave.
    """
    former, latter = _paths(before), _paths(after)
    suspects = _suspects(former, latter)
    loads: dict[_Pair, tuple[_Loads, _Loads]] = {pair: ({}, {}) for pair in suspects}
    for side, paths in enumerate((former, latter)):
        for path in paths if suspects else ():
            if (sides := loads.get((path.source, path.target))) is not None:
                _add(sides[side], path.links, path.rate_bps)
    moving = {pair: sides for pair, sides in loads.items() if not _is_one_way(*sides)}
    if not moving:
        return ()
    addresses = {node.id: node.ip for node in fabric.hosts if node.ip is not None}
    used = {link for sides in moving.values() for side in sides for link in side}
    staying: _Loads = {}
    for path, rate_bps in _staying(former, latter, suspects):
        if not used.isdisjoint(path.links):
            _add(staying, used.intersection(path.links), rate_bps)
    for pair, sides in loads.items():
        if pair not in moving:
            for link in sides[0].keys() & used:
                staying[link] = staying.get(link, 0.0) + min(side[link] for side in sides)
    return (
        Move("", "", staying, staying),
        *(
            Move(addresses[source], addresses[target], *sides)
            for (source, target), sides in moving.items()
            if source in addresses and target in addresses
        ),
    )


def capacities(fabric: Fabric) -> dict[LinkId, float]:
    """Of links that have one, bits per second."""
    return {link.id: link.capacity_bps for link in fabric.links if link.capacity_bps is not None}


def _suspects(former: Sequence[PlannedPath], latter: Sequence[PlannedPath]) -> AbstractSet[_Pair]:
    """Pairs that may have other paths, or other shares of them. Most paths of a plan stay where they were in it."""
    suspects: set[_Pair] = set()
    other_rates: set[_Pair] = set()
    for one, other in zip_longest(former, latter):
        if one is other:
            continue
        if one is not None and other is not None and _is_same_way(one, other):
            if one.rate_bps != other.rate_bps:
                other_rates.add((one.source, one.target))
            continue
        suspects.update((path.source, path.target) for path in (one, other) if path is not None)
    if other_rates:
        paths = Counter((path.source, path.target) for path in latter)
        suspects.update(pair for pair in other_rates if paths[pair] > 1)
    return suspects


def _staying(
    former: Sequence[PlannedPath], latter: Sequence[PlannedPath], suspects: AbstractSet[_Pair]
) -> Iterator[tuple[PlannedPath, float]]:
    """The paths of all other pairs, which are at the same places in both plans, with the smaller rate."""
    for one, other in zip(former, latter, strict=False):
        if (one.source, one.target) not in suspects:
            yield one, min(one.rate_bps, other.rate_bps)


def _is_same_way(one: PlannedPath, other: PlannedPath) -> bool:
    return (one.source, one.target) == (other.source, other.target) and one.links == other.links


def _is_one_way(before: Mapping[LinkId, float], after: Mapping[LinkId, float]) -> bool:
    """Whether a pair has the same links with the same parts of its rate."""
    if before.keys() != after.keys():
        return False
    most = max(before.values(), default=0.0), max(after.values(), default=0.0)
    return all(
        abs(load_bps * most[1] - after[link] * most[0]) <= _SAME * most[0] * most[1]
        for link, load_bps in before.items()
    )


def _add(loads_bps: _Loads, links: Iterable[LinkId], rate_bps: float) -> None:
    for link in links:
        loads_bps[link] = loads_bps.get(link, 0.0) + rate_bps


def _paths(plan: PlanStatus | None) -> tuple[PlannedPath, ...]:
    return plan.paths if plan is not None else ()
