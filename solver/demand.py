"""Traffic that must cross the fabric."""

from __future__ import annotations

from dataclasses import dataclass

from topologies.errors import InputError


@dataclass(frozen=True, slots=True)
class Demand:
    """Traffic from one node to another: one commodity.

    Attributes
    ----------
    source, target : str
        Node names in the fabric.
    rate_bps : float
        Offered rate on the wire in bits per second, headers included, greater than 0.
    cap_bps : float or None
        The most that may be carried, greater than 0; None for no limit.
    """

    source: str
    target: str
    rate_bps: float
    cap_bps: float | None = None

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise InputError(f"demand {self.source} → {self.target} starts where it ends")
        if not (self.rate_bps > 0 and self.rate_bps != float("inf")):
            raise InputError(
                f"demand {self.source} → {self.target} has rate_bps {self.rate_bps}; it must be above 0 and finite"
            )
        if self.cap_bps is not None and not 0 < self.cap_bps < float("inf"):
            raise InputError(
                f"demand {self.source} → {self.target} has cap_bps {self.cap_bps}; it must be above 0 and finite"
            )
