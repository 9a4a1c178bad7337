"""The engine for graphs without symmetry: growing linear programs, one optimum after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from solver.cuts import narrowest
from solver.engines.fairness import Shares, common_share, fair_rates
from solver.engines.growth import (
    Mask,
    Solved,
    least_delay,
    least_queueing,
    least_utilisation,
    least_utilisation_at_delay,
    share_beside,
    shortest_arcs,
)
from solver.engines.potential import largest_share
from solver.engines.program import Program, arc_columns, arc_flow
from solver.errors import SolverError
from solver.instance import Answer, Floats, Flow, Instance, loads_of
from solver.linear import OutOfTime
from solver.polish import polished
from solver.watch import Watch

_FIT = 1e-9
"""Relative excess that arithmetic explains."""
_MARGIN = 1e-10
"""Added to an optimum before it bounds the next program, so that this one stays feasible in floating point."""


_PROVEN = "the prices prove that no other link helps"
_STOPPED = "stopped at the time limit"


def _one_share(instance: Instance, caps_bps: Floats, watch: Watch, *, fair: bool) -> tuple[Shares, Answer]:
    """The same share for all, as the potential method finds it, where there was no time for more."""
    answer = largest_share(instance, watch)
    share = min(answer.share, float((caps_bps / instance.rates_bps).min()))
    shares = Shares(share * instance.rates_bps, answer.prices, (answer.prices,) if fair else (), exact=False)
    flow = (share / answer.share) * answer.flow_bps
    return shares, replace(answer, flow_bps=flow, share=1.0, reason="one share for all, for lack of time", exact=False)


@dataclass(frozen=True, eq=False)
class Aggregated:
    """Engine ``aggregated``: one flow per destination, handed to HiGHS as a matrix.

    Attributes
    ----------
    groups : sequence of array of bool, shape (vertices,)
        Sets whose cuts may prove a share at once, such as pods.
    arcs : array of bool, shape (targets, links), or None
        What to start with in place of shortest paths.
    """

    groups: Sequence[NDArray[np.bool_]] = ()
    arcs: Mask | None = None
    name: str = field(default="aggregated", init=False)

    def least_delay(self, instance: Instance, watch: Watch) -> Answer | None:
        """The least total delay within what is allowed, then the least maximum utilisation."""
        short = self._on_shortest(instance, watch)
        if short is not None:
            return short
        solved = least_delay(instance, instance.allowed_bps, watch, arcs=self.arcs)
        if solved is None:
            return None
        if not solved.exact:
            return self._answer(instance, solved.flow_bps, solved.prices, _STOPPED, exact=False)
        reason = "some demands leave their shortest paths for lack of capacity"
        try:
            flow = least_utilisation_at_delay(instance, instance.allowed_bps, solved.prices, solved.value, watch)
        except OutOfTime:
            flow = None
            reason += "; the time limit came before ties were broken"
        return self._answer(instance, solved.flow_bps if flow is None else flow, solved.prices, reason)

    def least_utilisation(self, instance: Instance, watch: Watch, floor: float = 0.0) -> Answer:
        """The least maximum utilisation, then the least total delay.

        Parameters
        ----------
        floor : float
            Reached in any case, on links that are not in the instance.
        """
        solved = self._utilisation(instance, instance.capacities_bps, watch, floor)
        if not solved.exact:
            return self._answer(instance, solved.flow_bps, solved.prices, _STOPPED, exact=False)
        limits = instance.capacities_bps * (max(solved.value, floor) * (1 + _MARGIN))
        arcs = (solved.flow_bps.toarray() > 0) | (shortest_arcs(instance) if self.arcs is None else self.arcs)
        try:
            rest = least_delay(instance, limits, watch, arcs=arcs, fits=True)
        except OutOfTime:
            reason = "the least utilisation is proven, the time limit came before the least delay"
            return self._answer(instance, solved.flow_bps, solved.prices, reason)
        if rest is None:
            raise SolverError("HiGHS calls a program infeasible that has a solution; use another engine")
        return self._answer(instance, rest.flow_bps, solved.prices, _PROVEN)

    def largest_share(self, instance: Instance, watch: Watch) -> Answer:
        """The largest share of every demand: the reciprocal of the least utilisation of what is allowed."""
        solved = self._utilisation(instance, instance.allowed_bps, watch, 0.0)
        fullest = float((loads_of(solved.flow_bps) / instance.allowed_bps).max(initial=0.0))
        if not fullest > 0:
            raise SolverError("HiGHS returned a flow that carries nothing; use another engine")
        share = 1 / fullest
        reason = _PROVEN if solved.exact else _STOPPED
        answer = self._answer(instance, solved.flow_bps, solved.prices, reason, exact=solved.exact)
        return replace(answer, flow_bps=answer.flow_bps * share, share=share)

    def least_queueing(self, instance: Instance, watch: Watch) -> Answer | None:
        """The least piecewise linear queueing cost within what is allowed."""
        solved = least_queueing(instance, instance.allowed_bps, watch, arcs=self.arcs)
        if solved is None:
            return None
        reason = "least piecewise linear queueing cost" if solved.exact else _STOPPED
        return self._answer(instance, solved.flow_bps, solved.prices, reason, exact=solved.exact)

    def shares(self, instance: Instance, caps_bps: Floats, watch: Watch, *, fair: bool) -> tuple[Shares, Answer]:
        """Common or max-min fair shares under caps, then the least total delay at these.

        Parameters
        ----------
        caps_bps : array, shape (demands,)

        Returns
        -------
        tuple of Shares and Answer
            The answer's flow carries the shares, whole.
        """
        arcs, last = self.arcs, None

        def share(open_bps: Floats, given_bps: Floats, most: float) -> tuple[float, Floats]:
            nonlocal arcs, last
            last = share_beside(instance, instance.allowed_bps, open_bps, given_bps, most, watch, arcs=arcs)
            if not last.exact:
                raise OutOfTime("the time limit came before a level was proven; raise it")
            arcs = last.arcs
            return -last.value, last.prices

        def distances(weights: Floats) -> Floats:
            away: Floats = instance.distances(weights)[instance.rows, instance.origins]
            return away

        try:
            found = (
                fair_rates(instance, caps_bps, share, distances, watch)
                if fair
                else common_share(instance, caps_bps, share)
            )
        except OutOfTime:
            return _one_share(instance, caps_bps, watch, fair=fair)
        carried = replace(instance, rates_bps=found.carried_bps)
        limits = instance.allowed_bps * (1 + _MARGIN)
        try:
            rest = least_delay(carried, limits, watch, arcs=arcs, fits=True) if found.exact else None
        except OutOfTime:
            rest = None
        if rest is not None:
            flow, reason = rest.flow_bps, "then the least delay at these rates"
        elif last is not None:
            flow, reason = last.flow_bps, "as far as the time limit allowed"
        else:
            raise SolverError("HiGHS calls a program infeasible that has a solution; use another engine")
        return found, Answer(polished(carried, flow), 1.0, found.prices, reason, exact=found.exact)

    def _on_shortest(self, instance: Instance, watch: Watch) -> Answer | None:
        shortest = shortest_arcs(instance)
        for arcs in (shortest,) if self.arcs is None else (shortest & self.arcs, shortest):
            found = Program(instance, arc_columns(instance, arcs), watch).least_utilisation(instance.allowed_bps)
            if found is not None and found.value <= 1 + _FIT:
                flow = arc_flow(instance, arcs, found.rates_bps)
                reason = "all demands fit on their shortest paths"
                return self._answer(instance, flow, np.zeros(instance.links), reason)
        return None

    def _utilisation(self, instance: Instance, limits_bps: Floats, watch: Watch, floor: float) -> Solved:
        cut = narrowest(instance, limits_bps, groups=self.groups)
        known = None if cut is None else (1 / cut.share, cut.prices(instance.links))
        return least_utilisation(instance, limits_bps, watch, floor=floor, arcs=self.arcs, known=known)

    def _answer(self, instance: Instance, flow_bps: Flow, prices: Floats, reason: str, *, exact: bool = True) -> Answer:
        flow = polished(instance, flow_bps)
        return Answer(flow, 1.0, prices, reason, exact)
