"""Max-min fair rates: what flows on fixed paths settle at when all of them are greedy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solver.routing import Path
from topologies.errors import InputError
from topologies.fabric import Fabric

_EQUAL = 1e-12
"""Links whose fair shares differ by less, relatively, are saturated in the same round."""

LinkPlaces: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]
"""The place in the fabric of each link of some paths, one path after the other, and the number of its path."""


def max_min_rates(
    fabric: Fabric,
    paths: Sequence[Path],
    limits_bps: Sequence[float] | None = None,
    places: LinkPlaces | None = None,
) -> NDArray[np.float64]:
    """Rate of each flow, such that none can grow but at the cost of one that has no more.

    Parameters
    ----------
    paths : sequence of Path
        One for each flow.
    limits_bps : sequence of float or None
        The most that each flow asks for; without it all are greedy.
    places : LinkPlaces, optional
        Of these paths in this fabric, where they are known.

    Returns
    -------
    array of float, shape (flows,)
        bit/s.

    Raises
    ------
    InputError
        A path is empty or names a link that the fabric does not have, or a link has no capacity.

    Notes
    -----
    Progressive filling (Bertsekas and Gallager, "Data Networks", 1992, section 6.5.2): in each round the
    link with the least left for each of its flows saturates and fixes them. It takes at most as many
    rounds as there are links.
    """
    flows = len(paths)
    left, uses = _incidence(fabric, paths, limits_bps, places)
    used_by = uses.T.tocsr()
    rates = np.zeros(flows)
    active = np.ones(flows, dtype=bool)
    while active.any():
        waiting = uses @ active.astype(np.float64)
        fair = np.divide(left, waiting, out=np.full(len(left), np.inf), where=waiting > 0.5)
        share = max(float(fair.min()), 0.0)
        tight = fair <= share * (1 + _EQUAL)
        fixed = active & ((used_by @ tight.astype(np.float64)) > 0)
        rates[fixed] = share
        left = np.maximum(left - uses @ (fixed * share), 0.0)
        active &= ~fixed
    return rates


def link_places(fabric: Fabric, paths: Sequence[Path]) -> LinkPlaces:
    """Find the links of all paths in the fabric.

    Raises
    ------
    InputError
        A path is empty or names a link that the fabric does not have.
    """
    lengths = np.fromiter(map(len, paths), dtype=np.intp, count=len(paths))
    if not lengths.all():
        raise InputError(f"flow {int(np.argmin(lengths)) + 1} has an empty path; give it at least one link")
    try:
        places = map(fabric.link_index.__getitem__, chain.from_iterable(paths))
        return np.fromiter(places, dtype=np.intp, count=int(lengths.sum())), np.repeat(np.arange(len(paths)), lengths)
    except KeyError as error:
        link = error.args[0]
        flow = next(number for number, path in enumerate(paths) if link in path)
        raise InputError(f"flow {flow + 1} uses link {link}, which the fabric does not have") from None


def _incidence(
    fabric: Fabric, paths: Sequence[Path], limits_bps: Sequence[float] | None, places: LinkPlaces | None
) -> tuple[NDArray[np.float64], csr_array[np.float64, tuple[int, int]]]:
    """Capacities, and which flow uses which link; a limit is a link of the flow's own."""
    rows, columns = places or link_places(fabric, paths)
    left = fabric.capacities_bps.copy()
    if limits_bps is not None:
        flows = np.arange(len(paths))
        rows, columns = np.concatenate([rows, len(left) + flows]), np.concatenate([columns, flows])
        left = np.concatenate([left, np.asarray(limits_bps, dtype=np.float64)])
    return left, csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(left), len(paths)))
