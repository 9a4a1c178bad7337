"""Where the ranks of a job sit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topologies.errors import InputError


def scatter(hosts: Sequence[str], ranks: int, seed: int) -> tuple[str, ...]:
    """Put ranks on random hosts in random order, as a cluster does after a while of jobs coming and going.

    Every choice and order of hosts is equally likely, so ring neighbours mostly sit in different pods: in
    a k=4 fat-tree (four pods of four hosts) four times out of five.

    Parameters
    ----------
    hosts : sequence of str
        In a fixed order; the result depends on it.
    ranks : int
        How many of them to use.
    seed : int

    Returns
    -------
    tuple of str
        Host of each rank, in ring order; no host twice.

    Raises
    ------
    InputError
        Fewer hosts than ranks, or fewer than two ranks.
    """
    if not 2 <= ranks <= len(hosts):
        raise InputError(f"{ranks} ranks do not fit on {len(hosts)} hosts; ask for 2 to {len(hosts)}")
    order = np.random.default_rng(seed).permutation(len(hosts))
    return tuple(hosts[place] for place in order[:ranks].tolist())
