"""Paths out of flows, as arrays see them: link indices and rates (Ford and Fulkerson, 1962)."""

from __future__ import annotations

from collections.abc import Sequence

from solver.candidates import Links
from solver.cycles import cancel_cycles
from solver.errors import SolverError
from solver.instance import Floats, Flow, Instance

_CRUMB = 1e-8
"""What arithmetic leaves of a demand, relative to the largest one."""


def split_paths(instance: Instance, flow_bps: Flow, carried_bps: Floats) -> list[list[Links]]:
    """The paths of every demand, in the order of the demands."""
    return [[path for path, _ in some] for some in split_flows(instance, flow_bps, carried_bps)]


def split_flows(
    instance: Instance, flow_bps: Flow, carried_bps: Floats, rows: Sequence[int] | None = None
) -> list[list[tuple[Links, float]]]:
    """The paths and rates of every demand, the largest first; their rates add up to what is carried.

    Demands with the same destination share its flow in their order, so the answers fit together. A demand
    has at most as many paths as there are links.

    Parameters
    ----------
    rows : sequence of int or None
        The destinations wanted; demands to others get no paths. None for all.

    Raises
    ------
    SolverError
        The flows do not lead from source to target: the routing was not certified.
    """
    tails, heads = instance.tails.tolist(), instance.heads.tolist()
    flow = flow_bps.tocsr()
    wanted: dict[int, list[int]] = {}
    for number, row in enumerate(instance.rows.tolist()):
        wanted.setdefault(row, []).append(number)
    crumb = _CRUMB * float(carried_bps.max(initial=0.0))
    found: list[list[tuple[Links, float]]] = [[] for _ in carried_bps]
    for row in range(instance.targets) if rows is None else rows:
        part = slice(flow.indptr[row], flow.indptr[row + 1])
        left = cancel_cycles(
            dict(zip(flow.indices[part].tolist(), flow.data[part].tolist(), strict=True)), tails, heads
        )
        leaving: dict[int, list[int]] = {}
        for link in sorted(left):
            leaving.setdefault(tails[link], []).append(link)
        goal = int(instance.target_vertices[row])
        for number in wanted.get(row, ()):
            carried, start = float(carried_bps[number]), int(instance.origins[number])
            found[number] = _peel(left, leaving, heads, start, goal, carried, crumb)
    return found


def _peel(
    left: dict[int, float],
    leaving: dict[int, list[int]],
    heads: Sequence[int],
    start: int,
    goal: int,
    carried: float,
    crumb: float,
) -> list[tuple[Links, float]]:
    """Take the paths of one demand out of what is left of its destination's flow, the widest link first."""
    missing, found = carried, list[tuple[Links, float]]()
    while missing > crumb or not found:
        walk: list[int] = []
        vertex = start
        while vertex != goal:
            options = [link for link in leaving.get(vertex, ()) if left[link] > 0]
            if not options:
                break
            walk.append(max(options, key=left.__getitem__))
            vertex = heads[walk[-1]]
        if vertex != goal:
            if found and missing <= 100 * crumb:
                break
            raise SolverError(f"the flow from vertex {start} to {goal} ends at {vertex}; the routing was not certified")
        rate = min(missing, *(left[link] for link in walk))
        for link in walk:
            left[link] -= rate
        missing -= rate
        found.append((tuple(walk), rate))
    # What the crumbs leave uncarried goes to all paths alike.
    scale = carried / sum(rate for _, rate in found)
    return sorted(((walk, rate * scale) for walk, rate in found), key=lambda one: -one[1])
