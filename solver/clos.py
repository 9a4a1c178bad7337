"""Recognises a folded Clos network, of any number of tiers, by its graph alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from solver.instance import Floats, Instance, Ints

_FULL = 0.5
"""Part of the links of a tier that must live, at the usual capacity, for the structure to be worth using."""
_EQUAL = 1e-9
"""Relative difference between capacities that arithmetic explains."""


@dataclass(frozen=True)
class Unsuitable:
    """Why a method does not fit a question.

    Attributes
    ----------
    reason : str
        A clause that completes "this method does not apply:".
    """

    reason: str


@dataclass(frozen=True, eq=False)
class Tier:
    """The links between one level of a Clos and the next.

    Attributes
    ----------
    groups : array of int, shape (lower,)
        Vertices of one group reach each other through this tier and those above it: the whole fabric at
        the leaves, then each plane of the tier below.
    above : array of int, shape (lower, planes)
        Position in the next level of the one vertex of each plane that a vertex attaches to; -1 where all
        links to that plane are missing.
    up, down : array of int, shape (lower, planes, parallel)
        Links from a vertex to each plane and back; those that live come first, then -1.
    allowed_bps : float
        Of every link here, at least.
    """

    groups: Ints
    above: Ints
    up: Ints
    down: Ints
    allowed_bps: float


@dataclass(frozen=True, eq=False)
class Clos:
    """A folded Clos: leaves below planes, each plane a folded Clos between its own leaves, or one spine.

    Attributes
    ----------
    levels : tuple of array of int
        Vertices of each level: the leaves first, then the leaves of the planes, and so on to the top.
    tiers : tuple of Tier
        ``tiers[t]`` joins ``levels[t]`` and ``levels[t + 1]``.
    leaf_of : array of int, shape (vertices,)
        Position in ``levels[0]`` of each leaf, and of the leaf that each host hangs on; -1 elsewhere.
    """

    levels: tuple[Ints, ...]
    tiers: tuple[Tier, ...]
    leaf_of: Ints


def recognise(instance: Instance) -> Clos | Unsuitable:
    """Find leaves, planes and links of a folded Clos, some of whose links may be missing.

    Leaves are the switches that hosts hang on and those where demands start or end. With the leaves taken
    away, the graph falls apart into the planes. A leaf attaches to one vertex of each plane; these are the
    leaves of the plane, and so on. Links slower than is usual in their tier count as missing.

    Returns
    -------
    Clos or Unsuitable
        What was found, or why the graph is none.
    """
    hanging = _hosts(instance)
    if isinstance(hanging, Unsuitable):
        return hanging
    switch, leaf_at = hanging
    leaves = np.unique(leaf_at[leaf_at >= 0])
    leaf_of = np.full(instance.vertices, -1)
    leaf_of[leaf_at >= 0] = np.searchsorted(leaves, leaf_at[leaf_at >= 0])
    links = np.flatnonzero(switch[instance.tails] & switch[instance.heads])
    found = _climb(instance, links, leaves, leaf_of)
    if isinstance(found, Clos):
        return found
    # Switches that no leaf hangs below, as in a pod without hosts, join planes that are none of each other's business.
    useful = _useful(instance, links, leaves)
    again = _climb(instance, useful, leaves, leaf_of) if len(useful) < len(links) else found
    return again if isinstance(again, Clos) else found


def _climb(instance: Instance, links: Ints, leaves: Ints, leaf_of: Ints) -> Clos | Unsuitable:
    """Peel off level after level, from the leaves up, where paths may use only some links."""
    levels, tiers = [leaves], list[Tier]()
    groups = np.zeros(len(leaves), dtype=np.intp)
    while True:
        position = np.full(instance.vertices, -1)
        position[levels[-1]] = np.arange(len(levels[-1]))
        lower = np.array([position[instance.tails[links]] >= 0, position[instance.heads[links]] >= 0])
        if lower.all(axis=0).any():
            return Unsuitable(f"switches of level {len(tiers)} are joined directly, as in no Clos")
        if not lower.any():
            alone = np.bincount(groups)[groups] == 1
            if tiers and np.mean(alone) < _FULL:
                return Unsuitable(f"planes of level {len(tiers)} fall into pieces that nothing joins")
            break
        found = _tier(instance, links, lower, position, groups)
        if isinstance(found, Unsuitable):
            return Unsuitable(f"level {len(tiers)} {found.reason}")
        tier, above, groups = found
        tiers.append(tier)
        levels.append(above)
        links = links[~lower.any(axis=0)]
    if not tiers and len(leaves) > 1:
        return Unsuitable("no links lead from one leaf to another")
    return Clos(tuple(levels), tuple(tiers), leaf_of)


def _useful(instance: Instance, links: Ints, leaves: Ints) -> Ints:
    """Links between switches that leaves hang below; all of them where leaves would lose each other otherwise.

    In a Clos, what lies below two lower neighbours of a switch has no leaf in common. Where it has, the
    switch is no part of a path up and down between leaves.
    """
    tails, heads = instance.tails[links], instance.heads[links]
    ends = (np.concatenate([tails, heads]), np.concatenate([heads, tails]))
    size = (instance.vertices, instance.vertices)
    beside = csr_array((np.ones(len(ends[0]), dtype=np.int32), ends), shape=size)
    beside.data[:] = 1
    seen, kept = (np.zeros(instance.vertices, dtype=np.bool_) for _ in range(2))
    seen[leaves] = kept[leaves] = True
    front: Ints = leaves
    below = csr_array((np.ones(len(leaves), dtype=np.int32), (np.arange(len(leaves)),) * 2))
    while len(front):
        near = np.unique(beside[front].indices).astype(np.intp)
        near = near[~seen[near]]
        seen[near] = True
        paths = csr_array(beside[near][:, front] @ below)
        apart = np.ones(len(near), dtype=np.bool_)
        apart[paths.nonzero()[0][paths.data > 1]] = False
        front, below = near[apart], paths[apart]
        kept[front] = True
    useful = links[kept[tails] & kept[heads]]
    whole, rest = (
        connected_components(
            csr_array((np.ones(len(some)), (instance.tails[some], instance.heads[some])), shape=size), directed=False
        )[1][leaves]
        for some in (links, useful)
    )
    return useful if len(np.unique(whole)) == len(np.unique(rest)) else links


def _hosts(instance: Instance) -> tuple[NDArray[np.bool_], Ints] | Unsuitable:
    """Which vertices are switches, and the leaf of each host and of each leaf itself (-1 elsewhere)."""
    sends = np.bincount(instance.tails, minlength=instance.vertices) > 0
    receives = np.bincount(instance.heads, minlength=instance.vertices) > 0
    switch = sends & receives
    leaf_at = np.full(instance.vertices, -1)
    for near, far in ((instance.tails, instance.heads), (instance.heads, instance.tails)):
        access = ~switch[near]
        lowest, highest = np.full(instance.vertices, instance.vertices), np.full(instance.vertices, -1)
        np.minimum.at(lowest, near[access], far[access])
        np.maximum.at(highest, near[access], far[access])
        pendant = np.flatnonzero((lowest == highest) & (highest >= 0))
        pendant = pendant[switch[highest[pendant]]]
        leaf_at[pendant] = highest[pendant]
    ends = np.concatenate([instance.origins, instance.target_vertices])
    lost = np.flatnonzero(~switch[ends] & (leaf_at[ends] < 0))
    if len(lost):
        return Unsuitable("a demand starts or ends at a host that does not hang on exactly one switch")
    leaf_at[ends[switch[ends]]] = ends[switch[ends]]
    leaves = leaf_at[leaf_at >= 0]
    leaf_at[leaves] = leaves
    return switch, leaf_at


def _tier(
    instance: Instance, links: Ints, lower: NDArray[np.bool_], position: Ints, groups: Ints
) -> tuple[Tier, Ints, Ints] | Unsuitable:
    """The tier above a level, the vertices of the next level and the groups of these.

    Parameters
    ----------
    links : array of int
        Links that touch the level or lie above it.
    lower : array of bool, shape (2, links)
        Whether tail and head are of the level.
    position : array of int, shape (vertices,)
        In the level; -1 elsewhere.
    groups : array of int, shape (lower,)
    """
    inner, touching = links[~lower.any(axis=0)], links[lower.any(axis=0)]
    graph = csr_array(
        (np.ones(len(inner), dtype=np.int8), (instance.tails[inner], instance.heads[inner])),
        shape=(instance.vertices, instance.vertices),
    )
    label = np.asarray(connected_components(graph, directed=True, connection="weak")[1], dtype=np.intp)
    upward = position[instance.tails[touching]] >= 0
    below = position[np.where(upward, instance.tails[touching], instance.heads[touching])]
    vertex = np.where(upward, instance.heads[touching], instance.tails[touching])
    _, part = np.unique(label[vertex], return_inverse=True)
    parts = int(part.max()) + 1
    pair, first, pair_of = np.unique(below * parts + part, return_index=True, return_inverse=True)
    if np.any(vertex != vertex[first][pair_of]):
        return Unsuitable("reaches a plane at several places")
    plane_of = _planes(pair // parts, pair % parts, groups, parts)
    planes = int(plane_of.max()) + 1
    usual = _usual(instance.allowed_bps[touching])
    fast = instance.allowed_bps[touching] >= usual * (1 - _EQUAL)
    above = np.full((len(groups), planes), -1)
    above[pair // parts, plane_of[pair % parts]] = vertex[first]
    key = below * planes + plane_of[part]
    count = np.bincount(2 * key + upward, minlength=2 * len(groups) * planes)
    parallel = int(count.max())
    up, down = (
        _slots(touching[fast & way], key[fast & way], len(groups) * planes, parallel).reshape(*above.shape, parallel)
        for way in (upward, ~upward)
    )
    per_group = np.zeros(int(groups.max()) + 1, dtype=np.intp)
    np.maximum.at(per_group, groups[pair // parts], plane_of[pair % parts] + 1)
    several = np.bincount(groups) > 1
    expected = parallel * int(np.maximum(per_group, several)[groups].sum())
    if min(np.count_nonzero(up >= 0), np.count_nonzero(down >= 0)) < _FULL * expected:
        return Unsuitable("lacks too many of the equal links that a Clos has")
    reached = np.unique(vertex)
    place = np.full(instance.vertices, -1)
    place[reached] = np.arange(len(reached))
    next_groups = np.empty(len(reached), dtype=np.intp)
    next_groups[place[vertex]] = groups[below] * planes + plane_of[part]
    above = np.where(above >= 0, place[above], -1)
    next_groups = np.unique(next_groups, return_inverse=True)[1]
    return Tier(groups, above, up, down, usual), reached, next_groups


def _planes(below: Ints, part: Ints, groups: Ints, parts: int) -> Ints:
    """Plane of each part within its group, shape (parts,); pieces of one broken plane come together again.

    Two parts without a common leaf cannot be different planes unless links are missing; they are taken for
    one, which does no harm: what leads from one piece to the other counts as missing.
    """
    group_of = np.zeros(parts, dtype=np.intp)
    group_of[part] = groups[below]
    sizes, reach = np.bincount(groups), np.bincount(part, minlength=parts)
    whole = reach == sizes[group_of]
    plane = np.full(parts, -1)
    given = np.zeros(len(sizes), dtype=np.intp)
    order = np.flatnonzero(whole)
    order = order[np.argsort(group_of[order], kind="stable")]
    given[: len(sizes)] = np.bincount(group_of[order], minlength=len(sizes))
    plane[order] = np.arange(len(order)) - np.repeat(np.cumsum(given) - given, given)
    attached = np.zeros((parts, len(groups)), dtype=np.bool_)
    attached[part, below] = True
    open_planes: dict[int, list[int]] = {}
    for piece in sorted(np.flatnonzero(~whole).tolist(), key=lambda piece: -int(reach[piece])):
        group = int(group_of[piece])
        heads = open_planes.setdefault(group, [])
        free = np.flatnonzero(~(attached[heads] & attached[piece]).any(axis=1)) if heads else heads
        if len(free):
            head = heads[int(free[0])]
            attached[head] |= attached[piece]
            plane[piece] = plane[head]
        else:
            heads.append(piece)
            plane[piece] = given[group]
            given[group] += 1
    return plane


def _usual(allowed_bps: Floats) -> float:
    """The most frequent capacity; of several the largest."""
    values, counts = np.unique(allowed_bps, return_counts=True)
    return float(values[len(counts) - 1 - np.argmax(counts[::-1])])


def _slots(links: Ints, keys: Ints, rows: int, width: int) -> Ints:
    """Links of each key side by side, shape (rows, width), filled up with -1."""
    order = np.argsort(keys, kind="stable")
    counts = np.bincount(keys, minlength=rows)
    rank = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((rows, width), -1)
    table[keys[order], rank] = links[order]
    return table
