"""From a snapshot and jobs to verified rules: the pure function that the planner's process runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.fitting import compiled_within
from controller.keeping import (
    PairsOf,
    Standing,
    has_gained,
    is_better,
    kept,
    owned,
    proved_by,
    standing,
    with_delays,
    without_switches,
)
from controller.mending import certificate_of, fitting_rates, mended_paths
from controller.planmemory import PlanMemory
from controller.service import PlannedPath, PlanStatus
from controller.shifting import capacities, moves
from controller.splitting import caps_of, flows_of, ways_of
from dataplane.budget import Budgets, OverBudget
from dataplane.compiler import DefaultRouting
from dataplane.detours import Tunnel
from dataplane.flips import FlipOrder, order_flips
from dataplane.labels import Way, label_paths
from dataplane.rules import RuleSet
from simulator.maxmin import link_places
from solver.demand import Demand
from solver.errors import SolverError
from solver.routing import Objective, Path
from solver.share import plan_pairs, wanted_bps
from solver.solve import Session
from topologies.errors import InputError
from topologies.fabric import Fabric
from topologies.shortest import distances
from workloads.collectives import job_pairs
from workloads.job import Job

_MENDING = "mending"
"""The engine of plans whose paths were replaced in a hurry."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """All that a plan depends on.

    Attributes
    ----------
    edge_ports : mapping of str to frozenset of int
        Edge ports by switch, hosts known there or not.
    active : PlanStatus or None
        The plan in force; its paths are kept as long as they live, the jobs are the same and nothing better is found.
    lacking : frozenset of str
        Switches that may lack rules of ``active``.
    solved_on : Fabric or None
        What ``active`` was last compared with the best for; None where that is not known. On a fabric that has only
        lost links since then it cannot be bettered, so nothing is solved.
    detours : mapping of Tunnel to int
        Labels of the detours in the rules in force.
    quarantined : frozenset of int
        Labels that some switch knows.
    resting : frozenset of int
        Labels that were given up, wholly or by some of their paths, and may still be on packets under way.
    unreachable : frozenset of str
        Switches that forward by the rules they have but take no new ones: no new path crosses them.
    hurried : bool
        Whether paths that live are kept and others replaced, without a look for anything better.
    budgets : Budgets
        What each switch has room for.
    routed : str
        Which default routing is in force, by the name that an answer gave it; empty where that is not known. It can
        stay, going round the one cable that was lost since then, while pairs get other paths.
    """

    fabric: Fabric
    edge_ports: Mapping[str, frozenset[int]]
    jobs: tuple[Job, ...]
    default: DefaultRouting
    max_utilisation: float
    objective: Objective
    active: PlanStatus | None = None
    lacking: frozenset[str] = frozenset()
    solved_on: Fabric | None = None
    detours: Mapping[Tunnel, int] = field(default_factory=dict)
    quarantined: frozenset[int] = frozenset()
    resting: frozenset[int] = frozenset()
    unreachable: frozenset[str] = frozenset()
    hurried: bool = False
    budgets: Budgets = field(default_factory=Budgets)
    routed: str = ""

    @property
    def situation(self) -> tuple[object, ...]:
        """What a plan answers to; two requests alike in this have the same answer."""
        return (self.fabric, self.edge_ports, self.jobs, self.unreachable)


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """Rules for every switch, the plan behind them, and why jobs were left out.

    Attributes
    ----------
    plan : PlanStatus or None
        None where no job could be planned; then all traffic takes default routing.
    failures : dict of str to str
        Jobs without a plan, with the reason.
    solved_on, detours
        For the next request.
    flips : FlipOrder
        In which pairs pass from the active plan's paths to the new ones.
    betterable : bool
        Whether a request that is not ``hurried`` may find a better plan.
    routed : str
        The name of the default routing in ``rules``.
    rerouted : bool
        Whether it is for the request's fabric; else it is the one asked with, and goes round what was lost.
    """

    rules: RuleSet
    plan: PlanStatus | None
    failures: dict[str, str] = field(default_factory=dict)
    solved_on: Fabric | None = None
    detours: dict[Tunnel, int] = field(default_factory=dict)
    flips: FlipOrder = field(default_factory=FlipOrder)
    betterable: bool = False
    routed: str = ""
    rerouted: bool = True


def make_plan(request: PlanRequest, memory: PlanMemory | None = None) -> PlanAnswer:
    """Solve, compile and verify.

    A job that cannot be planned is left to default routing, with the reason; it never holds up the others. Where rules
    do not fit into a switch, the job that came last is left out, until they do.

    Parameters
    ----------
    memory : PlanMemory or None
        Of earlier plans.

    Raises
    ------
    HeddleError
        The rules failed verification, or default routing alone does not fit: nothing may be installed.
    """
    memory = PlanMemory() if memory is None else memory
    pairs_of: dict[str, tuple[tuple[str, str], ...]] = {}
    failures: dict[str, str] = {}
    for job in request.jobs:
        try:
            for host in job.ranks:
                request.fabric.access_link(host)
            pairs_of[job.name] = job_pairs(job)
        except InputError as error:
            failures[job.name] = str(error)
    while True:
        told = dict(failures)
        plan, solved_on = _plan(request, pairs_of, told, memory)
        compiler = memory.compiler(
            request.fabric, request.default, request.edge_ports, request.routed if _is_mended(request, plan) else ""
        )
        try:
            jobs = [job for job in request.jobs if job.name in pairs_of]
            plan, paths, compiled = compiled_within(
                request.budgets, compiler, plan, jobs, request.detours, _known_labels(request)
            )
            break
        except OverBudget as error:
            if not pairs_of:
                raise
            name, _ = pairs_of.popitem()
            failures[name] = str(error)
    rates_bps = [path.rate_bps for path in plan.paths] if plan else []
    memory.verifier.verify(compiler.fabric, compiled.rules, paths, failures=True, rates_bps=rates_bps)
    memory.lived = (plan, request.fabric) if plan is not None else None
    flips = order_flips(moves(request.fabric, request.active, plan), capacities(request.fabric))
    betterable = plan is not None and has_gained(_reachable(request), solved_on)
    rerouted = compiler.fabric == request.fabric
    return PlanAnswer(
        compiled.rules, plan, told, solved_on, compiled.detours, flips, betterable, memory.routed, rerouted
    )


def _is_mended(request: PlanRequest, plan: PlanStatus | None) -> bool:
    """Whether a plan is the one in force with other paths for some pairs."""
    active = request.active
    return active is not None and plan is not None and plan.engine == _MENDING and plan.epoch != active.epoch


def _plan(
    request: PlanRequest, pairs_of: PairsOf, failures: dict[str, str], memory: PlanMemory
) -> tuple[PlanStatus | None, Fabric | None]:
    """The plan for these pairs, and what it was compared with the best for; jobs that get none go to ``failures``."""
    found = _standing(request, pairs_of, memory)
    plan, fabric, solved_on = _keep(request, pairs_of, found), _reachable(request), request.solved_on
    gained = has_gained(fabric, solved_on)
    if plan is not None and (request.hurried or not gained):
        return plan, solved_on
    if plan is None and request.hurried and (mended := _mend(request, pairs_of, found)) is not None:
        return mended, None
    cut_off = _cut_off(fabric, pairs_of)
    served = {job: pairs for job, pairs in pairs_of.items() if job not in cut_off}
    if plan is None:
        failures |= cut_off
        if cut_off:
            found = _standing(request, served, memory)
            plan = _keep(request, served, found)
    elif cut_off:
        # The plan goes on across switches that take no new rules; a new one could not.
        served = {}
    if plan is None and request.hurried and cut_off and served:
        mended = _mend(request, served, found)
        if mended is not None:
            return mended, None
    if served and (plan is None or (gained and not request.hurried)):
        try:
            solved = _solve(request, served, memory.session)
        except (SolverError, InputError) as error:
            if plan is None:
                failures |= dict.fromkeys(served, str(error))
        else:
            better = plan is None or is_better(request.fabric, solved, plan)
            return (solved if better or plan is None else proved_by(solved, plan)), fabric
    return plan, solved_on


def _standing(request: PlanRequest, pairs_of: PairsOf, memory: PlanMemory) -> Standing | None:
    """What has become of the plan in force; None where there is none for what is asked."""
    active = request.active
    if active is None or (active.objective, active.max_utilisation) != (request.objective, request.max_utilisation):
        return None
    flows = flows_of(job for job in request.jobs if job.name in pairs_of)
    lived_on = memory.lived[1] if memory.lived is not None and memory.lived[0] is active else None
    return standing(request.fabric, active, pairs_of, flows, request.unreachable & request.lacking, lived_on)


def _keep(request: PlanRequest, pairs_of: PairsOf, found: Standing | None) -> PlanStatus | None:
    if request.active is None or found is None:
        return None
    return kept(request.fabric, request.active, found, _caps(request, pairs_of))


def _caps(request: PlanRequest, pairs_of: PairsOf) -> dict[tuple[str, str], float]:
    return caps_of(job for job in request.jobs if job.name in pairs_of)


def _mend(request: PlanRequest, pairs_of: PairsOf, found: Standing | None) -> PlanStatus | None:
    """The plan in force, with other paths for the pairs whose own are no more; None where that cannot be told."""
    active = request.active
    if active is None or found is None or not found.serves:
        return None
    data = [path for path in active.paths if path.rate_bps > 0]
    if len({(path.source, path.target) for path in data}) < len(data):
        # Paths of a split pair do not stand in for each other in their shares.
        return None
    lives = (live for path, live in zip(active.paths, found.live, strict=True) if path.rate_bps > 0)
    former = [path.links if live else () for path, live in zip(data, lives, strict=True)]
    ends = [(path.source, path.target) for path in data]
    fabric, remark = with_delays(_reachable(request))
    try:
        asked = [path.rate_bps for path in data]
        links = mended_paths(fabric, ends, former, asked)
        whole, _ = with_delays(request.fabric)
        places = link_places(whole, links)
        rates_bps, worst = fitting_rates(whole, links, asked, request.max_utilisation, places)
        caps_bps = _caps(request, pairs_of)
        lines = [Demand(*pair, wanted_bps(request.fabric, pair, caps_bps)) for pair in ends]
        proof = certificate_of(whole, lines, links, rates_bps, request.objective, places)
    except (SolverError, InputError):
        return None
    moved = sum(not way for way in former)
    return PlanStatus(
        epoch=active.epoch + 1,
        fabric_version=request.fabric.version,
        objective=request.objective,
        share=min(rate_bps / line.rate_bps for rate_bps, line in zip(rates_bps, lines, strict=True)),
        value=proof.value,
        bound=proof.bound,
        gap=proof.gap,
        max_utilisation=request.max_utilisation,
        worst_link_utilisation=worst,
        engine=_MENDING,
        reason=f"{moved} of {len(data)} paths lost links and were replaced at once; the best is looked for{remark}",
        paths=_remade(request, active, dict(zip(ends, zip(links, rates_bps, strict=True), strict=True))),
    )


def _remade(
    request: PlanRequest, active: PlanStatus, ways: Mapping[tuple[str, str], tuple[Path, float]]
) -> tuple[PlannedPath, ...]:
    """The paths of the plan in force, each as it was or another one, with ways back like them.

    Parameters
    ----------
    ways : mapping of (str, str) to (Path, float)
        The path of each pair, which is the same object where it stays, and its rate.
    """
    paths: list[PlannedPath | None] = []
    for path in active.paths:
        rate_bps = 0.0
        if path.rate_bps > 0:
            links, rate_bps = ways[path.source, path.target]
        else:
            links = _reverse(request.fabric, ways[path.target, path.source][0]) or ()
        if links == path.links:
            # The same object is found the same at once wherever plans are compared.
            paths.append(path if rate_bps == path.rate_bps else replace(path, rate_bps=rate_bps))
        else:
            paths.append(replace(path, links=links, rate_bps=rate_bps) if links else None)
    others = [
        place for place, (path, was) in enumerate(zip(paths, active.paths, strict=True))
        if path is not None and path.links is not was.links
    ]  # fmt: skip
    found = _labels(request, [_way(path) for path in map(paths.__getitem__, others) if path is not None])
    for place, label in zip(others, found, strict=True):
        if (made := paths[place]) is not None:
            paths[place] = replace(made, label=label)
    return tuple(path for path in paths if path is not None)


def _way(path: PlannedPath) -> Way:
    return (path.source, path.target, path.links)


def _known_labels(request: PlanRequest) -> frozenset[int]:
    active = request.active.paths if request.active is not None else ()
    return request.quarantined | request.resting | frozenset(path.label for path in active)


def _cut_off(fabric: Fabric, pairs_of: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, str]:
    """Jobs with a pair that no path connects, and the reason."""
    targets = dict.fromkeys(target for pairs in pairs_of.values() for _, target in pairs)
    towards = {target: distances(fabric, target) for target in targets}
    return {
        job: f"no path that takes new rules leads from {source} to {target}"
        for job, pairs in pairs_of.items()
        for source, target in pairs
        if source not in towards[target]
    }


def _solve(
    request: PlanRequest, pairs_of: Mapping[str, Sequence[tuple[str, str]]], session: Session | None
) -> PlanStatus:
    owner = {pair: job for job, pairs in owned(pairs_of).items() for pair in pairs}
    fabric, remark = with_delays(_reachable(request))
    flows = flows_of(job for job in request.jobs if job.name in pairs_of)
    caps_bps = _caps(request, pairs_of)
    solution = plan_pairs(
        fabric,
        tuple(owner),
        max_utilisation=request.max_utilisation,
        objective=request.objective,
        session=session,
        with_fractions=any(flows[pair] > 1 for pair in owner),
        caps_bps=caps_bps,
    )
    ways = ways_of(fabric, solution, flows, request.max_utilisation)
    wanted = [(owner[pair], *pair, path, rate_bps) for pair, path, rate_bps in ways.paths]
    rates_bps = dict.fromkeys(owner, 0.0)
    for pair, _, rate_bps in ways.paths:
        rates_bps[pair] += rate_bps
    lines = (wanted_bps(fabric, pair, caps_bps) for pair in owner)
    share = min(rate_bps / line_bps for rate_bps, line_bps in zip(rates_bps.values(), lines, strict=True))
    return PlanStatus(
        epoch=request.active.epoch + 1 if request.active is not None else 1,
        fabric_version=request.fabric.version,
        objective=solution.certificate.objective,
        share=min(share, solution.share),
        value=solution.certificate.value,
        bound=solution.certificate.bound,
        gap=solution.certificate.gap,
        max_utilisation=request.max_utilisation,
        worst_link_utilisation=ways.worst_utilisation,
        engine=solution.engine,
        reason=solution.reason + ways.remark + remark,
        paths=_with_ways_back(request, wanted),
    )


def _with_ways_back(
    request: PlanRequest, wanted: Sequence[tuple[str, str, str, Path, float]]
) -> tuple[PlannedPath, ...]:
    """Paths with labels for pairs of jobs, and the ways back of those that have none.

    Acknowledgements go back the way the data came, unless that pair has a path of its own.
    """
    known = {(source, target) for _, source, target, _, _ in wanted}
    whole = list(wanted)
    for job, source, target, path, _ in wanted:
        if (target, source) not in known and (back := _reverse(request.fabric, path)) is not None:
            known.add((target, source))
            whole.append((job, target, source, back, 0.0))
    labels = _labels(request, [(source, target, path) for _, source, target, path, _ in whole])
    return tuple(
        PlannedPath(job, source, target, label, path, rate_bps)
        for (job, source, target, path, rate_bps), label in zip(whole, labels, strict=True)
    )


def _reachable(request: PlanRequest) -> Fabric:
    return without_switches(request.fabric, request.unreachable)


def _reverse(fabric: Fabric, path: Path) -> Path | None:
    back = tuple(fabric.link_by_id[link].reverse_id for link in reversed(path))
    return back if all(link in fabric.link_by_id for link in back) else None


def _labels(request: PlanRequest, wanted: Sequence[Way]) -> list[int]:
    """Labels for paths: an unchanged path keeps its own, so that its rules stay untouched."""
    active = request.active.paths if request.active is not None else ()
    targets = {target for _, target, _ in wanted}
    in_force = {_way(path): path.label for path in active if path.target in targets}
    return label_paths(
        wanted,
        in_force,
        closed=request.resting,
        quarantined=_known_labels(request) | frozenset(request.detours.values()),
    )
