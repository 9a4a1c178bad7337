"""The linear program that a skilled user writes: demands with one destination as one flow, handed over as a matrix.

It is written from the fabric alone and shares no code with the solver, so that both check each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from solver.demand import Demand
from solver.routing import Objective
from topologies.fabric import Fabric, Link


@dataclass(frozen=True, slots=True)
class MatrixProgram:
    """``min costs · x`` where ``equal x = supply``, ``most x <= limits`` and ``x >= 0``.

    Attributes
    ----------
    unit : float
        What one unit of the optimum stands for.
    """

    costs: NDArray[np.float64]
    equal: csr_matrix
    supply: NDArray[np.float64]
    most: csr_matrix
    limits: NDArray[np.float64]
    unit: float


def used_links(fabric: Fabric, demands: Sequence[Demand]) -> tuple[Link, ...]:
    """All links, or those between switches where no demand starts or ends at a host."""
    hosts = {host.id for host in fabric.hosts}
    if any(demand.source in hosts or demand.target in hosts for demand in demands):
        return fabric.links
    return tuple(link for link in fabric.links if link.source not in hosts and link.target not in hosts)


def aggregated(fabric: Fabric, demands: Sequence[Demand], objective: Objective) -> MatrixProgram:
    """Write the program of `MIN_DELAY` or `MIN_MAX_UTILISATION`.

    Flows are measured in the largest demand and delays in their mean; a destination sends nothing to itself.
    """
    links = used_links(fabric, demands)
    at = {node: number for number, node in enumerate(dict.fromkeys(end for link in links for end in _ends(link)))}
    nodes, count = len(at), len(links)
    tails = np.array([at[link.source] for link in links])
    heads = np.array([at[link.target] for link in links])
    row_of = {target: row for row, target in enumerate(dict.fromkeys(demand.target for demand in demands))}
    goals = np.array([at[target] for target in row_of])
    unit_bps = max(demand.rate_bps for demand in demands)
    supply = np.zeros((len(goals), nodes))
    for demand in demands:
        supply[row_of[demand.target], at[demand.source]] += demand.rate_bps / unit_bps

    row, link = np.nonzero(tails != goals[:, None])
    flows = np.arange(len(row))
    conserved = np.arange(nodes) != goals[:, None]
    number = np.full(conserved.shape, -1)
    number[conserved] = np.arange(np.count_nonzero(conserved))
    inside = heads[link] != goals[row]
    columns = len(flows) + (objective is Objective.MIN_MAX_UTILISATION)
    equal = csr_matrix(
        (
            np.concatenate([np.ones(len(flows)), -np.ones(np.count_nonzero(inside))]),
            (
                np.concatenate([number[row, tails[link]], number[row[inside], heads[link[inside]]]]),
                np.concatenate([flows, flows[inside]]),
            ),
        ),
        shape=(np.count_nonzero(conserved), columns),
    )
    capacities = np.array([link.capacity_bps for link in links], dtype=np.float64) / unit_bps
    if objective is Objective.MIN_MAX_UTILISATION:
        loads = (
            np.concatenate([np.ones(len(flows)), -capacities]),
            (np.concatenate([link, np.arange(count)]), np.concatenate([flows, np.full(count, columns - 1)])),
        )
        costs, limits, unit = np.zeros(columns), np.zeros(count), 1.0
        costs[-1] = 1.0
    else:
        loads = np.ones(len(flows)), (link, flows)
        delays_s = np.array([link.delay_s for link in links], dtype=np.float64)
        mean_s = float(delays_s.mean())
        costs, limits, unit = delays_s[link] / mean_s, capacities, unit_bps * mean_s
    return MatrixProgram(costs, equal, supply[conserved], csr_matrix(loads, shape=(count, columns)), limits, unit)


def _ends(link: Link) -> tuple[str, str]:
    return link.source, link.target
