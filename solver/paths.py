"""One path for each demand, as arrays: what the single-path engines return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from solver.instance import Floats, Flow, Instance, Ints


@dataclass(frozen=True, eq=False)
class Paths:
    """A path for each demand of an instance.

    Attributes
    ----------
    starts : array of int, shape (demands + 1,)
        Where the links of each demand begin in ``links``.
    links : array of int
        Link numbers of the instance, in order from source to target.
    """

    starts: Ints
    links: Ints

    def of(self, index: int) -> Ints:
        """The links that one demand takes, in order."""
        return self.links[self.starts[index] : self.starts[index + 1]]

    def loads_bps(self, instance: Instance) -> Floats:
        """What each link carries when every demand is carried whole, shape (links,), bit/s."""
        rates = np.repeat(instance.rates_bps, np.diff(self.starts))
        return np.asarray(np.bincount(self.links, rates, minlength=instance.links), dtype=np.float64)

    def worst(self, instance: Instance) -> float:
        """The largest load of a link over what is allowed on it; 0 without demands."""
        return float((self.loads_bps(instance) / instance.allowed_bps).max(initial=0.0))

    def flow_bps(self, instance: Instance) -> Flow:
        """Flow towards each destination on each link, shape (targets, links), bit/s."""
        counts = np.diff(self.starts)
        entries = np.repeat(instance.rates_bps, counts), (np.repeat(instance.rows, counts), self.links)
        summed = csr_array(entries, shape=(instance.targets, instance.links))
        summed.sum_duplicates()
        return summed
