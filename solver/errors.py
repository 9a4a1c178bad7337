"""What can go wrong between demands and a routing."""

from __future__ import annotations

from topologies.errors import HeddleError
from topologies.fabric import LinkId


class SolverError(HeddleError):
    """A solver failed or answered wrongly; nothing it said was used."""


class Infeasible(SolverError):
    """The demands exceed what some cut of the fabric can carry. Exit code 3.

    Attributes
    ----------
    cut : tuple of LinkId
        Links whose joint capacity is below the demand that must cross them.
    capacity_bps, demand_bps : float
        What the cut can carry (allowed utilisation included) and what must cross it.
    weights : tuple of float or None
        Where no cut proper is violated (several demands can jam each other between cuts that are wide
        enough), the links' weights, at most 1: every demand counts as often as the weights on its
        lightest path add up to, every capacity as often as its link's weight.
    pair : tuple of str or None
        Source and target of a demand between which there is no path; the cut is empty then.
    """

    def __init__(
        self,
        cut: tuple[LinkId, ...],
        capacity_bps: float,
        demand_bps: float,
        weights: tuple[float, ...] | None = None,
        pair: tuple[str, str] | None = None,
    ) -> None:
        self.cut = cut
        self.capacity_bps = capacity_bps
        self.demand_bps = demand_bps
        self.weights = weights
        self.pair = pair
        if pair is not None:
            super().__init__(f"no path leads from {pair[0]} to {pair[1]}; connect them or drop that demand")
            return
        names = ", ".join(str(link) for link in cut[:8]) + (", …" if len(cut) > 8 else "")
        how = "" if weights is None else ", counted by weight"
        super().__init__(
            f"no routing carries these demands: {demand_bps:.6g} bit/s must cross links that carry "
            f"{capacity_bps:.6g} bit/s{how} ({names}); ask for less or add capacity there"
        )

    def __reduce__(self) -> tuple[type[Infeasible], tuple[object, ...]]:
        return (Infeasible, (self.cut, self.capacity_bps, self.demand_bps, self.weights, self.pair))


class CertificateError(SolverError):
    """An engine's answer failed the independent check: a wrong answer, never returned."""
