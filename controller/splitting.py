"""Which pairs of a plan are split over several paths: those that declare flows enough, where whole pairs do worse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.mending import fitting_rates, worst_utilisation
from controller.service import PlanStatus, shares
from dataplane.ingress import widest_first
from dataplane.planned import LabelledPath
from dataplane.splits import SplitRefused, deal_ports
from solver.routing import Path, PathFlow
from solver.share import PairPlan
from topologies.fabric import Fabric
from workloads.collectives import job_pairs
from workloads.job import Job

_CRUMB = 0.01
"""A path with less than this part of a pair's traffic is left out of its split."""
_SAME = 1e-3
"""Relative difference of utilisation that is worth no split."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ways:
    """The paths of all pairs, each with what it carries, and what is to be said of splits.

    Attributes
    ----------
    paths : tuple of (Pair, Path, float)
        In the order of the pairs; those of one pair follow each other, the widest first.
    worst_utilisation : float
        Of the links under them.
    remark : str
        Empty where no split was worth a thought.
    """

    paths: tuple[tuple[Pair, Path, float], ...]
    worst_utilisation: float
    remark: str = ""


def flows_of(jobs: Iterable[Job]) -> dict[Pair, int]:
    """How many flows each pair consists of; the first job that has a pair says it."""
    flows: dict[Pair, int] = {}
    for job in jobs:
        for pair in job_pairs(job):
            flows.setdefault(pair, job.flows_per_pair)
    return flows


def caps_of(jobs: Iterable[Job]) -> dict[Pair, float]:
    """What each pair may send at most: what its jobs together may; pairs of a job without a cap are left out."""
    jobs = tuple(jobs)
    if all(job.rate_cap_bps is None for job in jobs):
        return {}
    caps_bps: dict[Pair, float | None] = {}
    for job in jobs:
        for pair in job_pairs(job):
            before = caps_bps.get(pair, 0.0)
            whole = None if before is None or job.rate_cap_bps is None else before + job.rate_cap_bps
            caps_bps[pair] = whole
    return {pair: cap_bps for pair, cap_bps in caps_bps.items() if cap_bps is not None}


def labelled(plan: PlanStatus | None, jobs: Sequence[Job]) -> list[LabelledPath]:
    """The paths of a plan, with their shares, flows and caps."""
    if plan is None:
        return []
    flows, caps_bps = flows_of(jobs), caps_of(jobs)
    return [
        LabelledPath(*pair, path.links, path.label, share, flows.get(pair, 1), caps_bps.get(pair))
        for path, share in zip(plan.paths, shares(plan.paths), strict=True)
        for pair in [(path.source, path.target)]
    ]


def ways_of(fabric: Fabric, solution: PairPlan, flows: Mapping[Pair, int], max_utilisation: float) -> Ways:
    """One path for each pair, or a split where that is better: a larger least rate, else a less loaded worst link.

    Parameters
    ----------
    solution : PairPlan
        With fractions, where any pair declares more than one flow.
    flows : mapping of Pair to int
        Of each pair.
    """
    whole = _fitted(fabric, solution, [((path, 1.0),) for path in solution.paths], max_utilisation)
    if worst_utilisation(fabric, solution.paths, solution.rates_bps) <= solution.utilisation_bound * (1 + _SAME):
        return whole
    chosen: list[tuple[tuple[Path, float], ...]] = []
    refusals: list[str] = []
    fractions = solution.fractions or ((),) * len(solution.pairs)
    for pair, path, parts in zip(solution.pairs, solution.paths, fractions, strict=True):
        try:
            chosen.append(_split(parts, flows.get(pair, 1)) or ((path, 1.0),))
        except SplitRefused as refused:
            chosen.append(((path, 1.0),))
            refusals.append(f"{pair[0]} → {pair[1]}: {refused}")
    split = [parts for parts in chosen if len(parts) > 1]
    remarks = []
    if refusals:
        remarks.append(f"{len(refusals)} pairs are not split ({refusals[0]})")
    elif not solution.fractions:
        remarks.append("its pairs declare one flow each, so none is split")
    best = whole
    if split:
        mixed = _fitted(fabric, solution, chosen, max_utilisation)
        if _merit(mixed, solution) < _merit(whole, solution):
            best = mixed
            remarks.insert(0, f"{len(split)} pairs are split over up to {max(map(len, split))} paths")
    return Ways(best.paths, best.worst_utilisation, "".join(f"; {remark}" for remark in remarks))


def _split(parts: Sequence[PathFlow], flows: int) -> tuple[tuple[Path, float], ...]:
    """Paths with their shares; none where the pair has one path anyway."""
    total = sum(part.rate_bps for part in parts)
    wide = [part for part in parts if part.rate_bps >= _CRUMB * total]
    if len(wide) < 2:
        return ()
    total = sum(part.rate_bps for part in wide)
    shared = widest_first((part.links, part.rate_bps / total) for part in wide)
    deal_ports(tuple(share for _, share in shared), flows)
    return tuple(shared)


def _fitted(
    fabric: Fabric,
    solution: PairPlan,
    chosen: Sequence[Sequence[tuple[Path, float]]],
    max_utilisation: float,
) -> Ways:
    """What the paths can carry, where each pair keeps its shares."""
    listed = [(number, path, share) for number, parts in enumerate(chosen) for path, share in parts]
    asked = [solution.rates_bps[number] * share for number, _, share in listed]
    carried, worst = fitting_rates(fabric, [path for _, path, _ in listed], asked, max_utilisation)
    kept = [1.0] * len(chosen)
    for (number, _, _), rate_bps, wanted_bps in zip(listed, carried, asked, strict=True):
        kept[number] = min(kept[number], rate_bps / wanted_bps)
    rates_bps = [wanted_bps * kept[number] for (number, _, _), wanted_bps in zip(listed, asked, strict=True)]
    if any(len(parts) > 1 for parts in chosen):
        worst = worst_utilisation(fabric, [path for _, path, _ in listed], rates_bps)
    paths = (
        (solution.pairs[number], path, rate_bps)
        for (number, path, _), rate_bps in zip(listed, rates_bps, strict=True)
    )  # fmt: skip
    return Ways(tuple(paths), worst)


def _merit(ways: Ways, solution: PairPlan) -> tuple[float, float]:
    """Less is better: the least part of its rate that a pair gets, negative, and the worst link."""
    rates_bps: dict[Pair, float] = {}
    for pair, _, rate_bps in ways.paths:
        rates_bps[pair] = rates_bps.get(pair, 0.0) + rate_bps
    asked = zip(solution.pairs, solution.rates_bps, strict=True)
    least = min(rates_bps[pair] / rate_bps for pair, rate_bps in asked)
    return (-round(least, 6), ways.worst_utilisation)
