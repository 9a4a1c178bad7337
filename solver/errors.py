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
    """

    def __init__(self, cut: tuple[LinkId, ...], capacity_bps: float, demand_bps: float) -> None:
        self.cut = cut
        self.capacity_bps = capacity_bps
        self.demand_bps = demand_bps
        names = ", ".join(str(link) for link in cut[:8]) + (", …" if len(cut) > 8 else "")
        super().__init__(
            f"no routing carries these demands: {demand_bps:.6g} bit/s must cross links that carry "
            f"{capacity_bps:.6g} bit/s ({names or 'no link at all'}); ask for less or add capacity there"
        )

    def __reduce__(self) -> tuple[type[Infeasible], tuple[tuple[LinkId, ...], float, float]]:
        return (Infeasible, (self.cut, self.capacity_bps, self.demand_bps))


class CertificateError(SolverError):
    """An engine's answer failed the independent check: a wrong answer, never returned."""
