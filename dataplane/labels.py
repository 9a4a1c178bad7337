"""Path labels: which MPLS labels are free, and which paths can share one.

A label stands for a tree of links towards one host: at every switch at which packets with it arrive, they leave by
the same link. Paths to that host which agree on it share the label, and with it the rules of what they have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from solver.routing import Path
from topologies.errors import HeddleError
from topologies.fabric import LinkId

Way: TypeAlias = tuple[str, str, Path]
"""Source and target host, and the links between them, access links included."""

FIRST_LABEL, LAST_LABEL = 16, (1 << 20) - 1
"""Labels 0 to 15 are reserved (RFC 3032, section 2.1)."""
MAX_LABELS = (LAST_LABEL - FIRST_LABEL + 1) // 2
"""One plan uses at most half of the labels, so that its successor can be installed beside it."""


class LabelsExhausted(HeddleError):
    """More paths are wanted than there are labels for."""


def _free(taken: AbstractSet[int]) -> Iterator[int]:
    return (label for label in range(FIRST_LABEL, LAST_LABEL + 1) if label not in taken)


def label_paths(
    ways: Sequence[Way],
    in_force: Mapping[Way, int],
    *,
    closed: AbstractSet[int] = frozenset(),
    quarantined: AbstractSet[int] = frozenset(),
) -> list[int]:
    """A label for each path: one that is in force keeps its own, others join a tree that they agree with, or begin one.

    Parameters
    ----------
    in_force : mapping of Way to int
        The labels of the active plan. Nobody may join one in a way that the active plan's paths do not agree with:
        their packets are under way.
    closed : set of int
        Labels that nobody new may join: packets of paths of which less is known may carry them.
    quarantined : set of int
        Further labels that are not free.

    Raises
    ------
    LabelsExhausted
        There are not enough.
    """
    trees: dict[str, dict[int, dict[str, LinkId]]] = {way[1]: {} for way in ways if way not in in_force}
    for (_, target, path), label in in_force.items():
        if target in trees:
            tree = trees[target].setdefault(label, {})
            tree.update((link.node, link) for link in path[1:])
    fresh = _free(frozenset(in_force.values()) | quarantined)
    labels: list[int] = []
    for way in ways:
        if way in in_force:
            labels.append(in_force[way])
            continue
        _, target, path = way
        known = trees[target]
        joined = (each for each, tree in known.items() if each not in closed and _agrees(path, tree))
        found = next(joined, None) or next(fresh, None)
        if found is None:
            raise LabelsExhausted(
                f"only {len(labels)} of {len(ways)} paths found a label; wait until old paths have drained"
            )
        known.setdefault(found, {}).update((link.node, link) for link in path[1:])
        labels.append(found)
    if len(set(labels)) > MAX_LABELS:
        raise LabelsExhausted(f"{len(ways)} paths need more than the {MAX_LABELS} labels of one plan; plan fewer pairs")
    return labels


def _agrees(path: Path, tree: Mapping[str, LinkId]) -> bool:
    return all(tree.get(link.node, link) == link for link in path[1:])
