"""From a snapshot and jobs to verified rules: the pure function that the planner's process runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.service import PlannedPath, PlanStatus
from dataplane.compiler import DefaultRouting, LabelledPath, compile_tables
from dataplane.detours import Tunnel
from dataplane.labels import Way, label_paths
from dataplane.planned import check_path
from dataplane.rules import RuleSet
from dataplane.verifier import verify
from solver.errors import SolverError
from solver.routing import Objective, Path
from solver.share import PairPlan, plan_pairs
from solver.solve import Session
from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId
from topologies.shortest import distances
from workloads.collectives import job_pairs
from workloads.job import Job

ASSUMED_DELAY_S = 1e-6
"""Delay of a link for which none is declared, once any link lacks one: hops decide then."""
_SAME = 1e-6
"""Relative difference that arithmetic explains."""


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
    """

    rules: RuleSet
    plan: PlanStatus | None
    failures: dict[str, str] = field(default_factory=dict)
    solved_on: Fabric | None = None
    detours: dict[Tunnel, int] = field(default_factory=dict)


def make_plan(request: PlanRequest, session: Session | None = None) -> PlanAnswer:
    """Solve, compile and verify.

    A job that cannot be planned is left to default routing, with the reason; it never holds up the others.

    Parameters
    ----------
    session : Session or None
        Of earlier plans on the fabric as it was then, from which the solver starts.

    Raises
    ------
    HeddleError
        The rules failed verification: nothing may be installed.
    """
    pairs_of: dict[str, tuple[tuple[str, str], ...]] = {}
    failures: dict[str, str] = {}
    for job in request.jobs:
        try:
            for host in job.ranks:
                request.fabric.access_link(host)
            pairs_of[job.name] = job_pairs(job)
        except InputError as error:
            failures[job.name] = str(error)
    plan, fabric, solved_on = _keep(request, pairs_of), _reachable(request), request.solved_on
    gained = _has_gained(fabric, solved_on)
    if plan is None or gained:
        cut_off = _cut_off(fabric, pairs_of)
        served = {job: pairs for job, pairs in pairs_of.items() if job not in cut_off}
        if plan is None:
            failures |= cut_off
            plan = _keep(request, served) if cut_off else None
        elif cut_off:
            # The plan goes on across switches that take no new rules; a new one could not.
            served = {}
        if served and (plan is None or gained):
            try:
                solved, solved_on = _solve(request, served, session), fabric
            except (SolverError, InputError) as error:
                if plan is None:
                    failures |= dict.fromkeys(served, str(error))
            else:
                plan = solved if plan is None or _is_better(request.fabric, solved, plan) else _proved_by(solved, plan)
    paths = [LabelledPath(path.source, path.target, path.links, path.label) for path in plan.paths] if plan else []
    compiled = compile_tables(
        request.fabric,
        default=request.default,
        paths=paths,
        edge_ports=request.edge_ports,
        detours=request.detours,
        taken=_known_labels(request),
    )
    verify(request.fabric, compiled.rules, paths)
    return PlanAnswer(compiled.rules, plan, failures, solved_on, compiled.detours)


def _known_labels(request: PlanRequest) -> frozenset[int]:
    active = request.active.paths if request.active is not None else ()
    return request.quarantined | request.resting | frozenset(path.label for path in active)


def _cut_off(fabric: Fabric, pairs_of: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, str]:
    """Jobs with a pair that no path connects, and the reason."""
    towards = {target: distances(fabric, target) for pairs in pairs_of.values() for _, target in pairs}
    return {
        job: f"no path that takes new rules leads from {source} to {target}"
        for job, pairs in pairs_of.items()
        for source, target in pairs
        if source not in towards[target]
    }


def _keep(request: PlanRequest, pairs_of: Mapping[str, Sequence[tuple[str, str]]]) -> PlanStatus | None:
    """The active plan, where it still serves exactly these jobs, on links that all live and carry what they did."""
    active = request.active
    if active is None:
        return None
    if (active.objective, active.max_utilisation) != (request.objective, request.max_utilisation):
        return None
    wanted = {(job, source, target) for job, pairs in _owned(pairs_of).items() for source, target in pairs}
    planned = {(path.job, path.source, path.target) for path in active.paths if path.rate_bps > 0}
    alive = request.fabric.link_by_id
    if wanted != planned or not all(link in alive for path in active.paths for link in path.links):
        return None
    stuck = request.unreachable & request.lacking
    if any(link.node in stuck for path in active.paths for link in path.links):
        return None
    try:
        for path in active.paths:
            check_path(request.fabric, LabelledPath(path.source, path.target, path.links, path.label))
        if not _carries(request.fabric, active):
            return None
    except InputError:
        # Cables were swapped, or a capacity became unknown.
        return None
    return replace(active, fabric_version=request.fabric.version)


def _carries(fabric: Fabric, plan: PlanStatus) -> bool:
    """Whether a plan's rates are between its share of line rate and all of it, its links no fuller than it says."""
    loads_bps: Counter[LinkId] = Counter()
    for path in plan.paths:
        if path.rate_bps > 0:
            line_bps = line_rate_bps(fabric, path.source, path.target)
            if not plan.share * line_bps * (1 - _SAME) <= path.rate_bps <= line_bps * (1 + _SAME):
                return False
            loads_bps.update(dict.fromkeys(path.links, path.rate_bps))
    fullest = plan.worst_link_utilisation * (1 + _SAME)
    capacities_bps = {link.id: link.capacity_bps or 0.0 for link in fabric.links}
    return all(load_bps <= fullest * capacities_bps[link] for link, load_bps in loads_bps.items())


def _has_gained(fabric: Fabric, before: Fabric | None) -> bool:
    """Whether a fabric may allow a better plan than another did: a link more, a wider one, or another delay."""
    if before is None:
        return True
    for link in fabric.links:
        old = before.link_by_id.get(link.id)
        if old is None or (old.target, old.delay_s) != (link.target, link.delay_s):
            return True
        if (link.capacity_bps or 0.0) > (old.capacity_bps or 0.0):
            return True
    return False


def _is_better(fabric: Fabric, new: PlanStatus, old: PlanStatus) -> bool:
    """Whether a plan is worth moving traffic for: a larger share, else a less loaded worst link, else less delay."""

    def merits(plan: PlanStatus) -> tuple[float, float, float]:
        delays_s = {link.id: link.delay_s or 0.0 for link in _with_delays(fabric)[0].links}
        paths = (path for path in plan.paths if path.rate_bps > 0)
        delay = sum(path.rate_bps * sum(delays_s.get(link, 0.0) for link in path.links) for path in paths)
        return (-plan.share, plan.worst_link_utilisation, delay)

    for ours, theirs in zip(merits(new), merits(old), strict=True):
        if abs(ours - theirs) > _SAME * max(abs(ours), abs(theirs)):
            return ours < theirs
    return False


def _proved_by(new: PlanStatus, kept: PlanStatus) -> PlanStatus:
    """A plan that a new one did not better has the new one's bound."""
    return replace(kept, value=new.value, bound=new.bound, gap=new.gap)


def _owned(pairs_of: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Every pair once: the first job that has it owns its path."""
    owned: dict[str, list[tuple[str, str]]] = {}
    seen: set[tuple[str, str]] = set()
    for job, pairs in pairs_of.items():
        owned[job] = [pair for pair in pairs if pair not in seen]
        seen.update(pairs)
    return owned


def _solve(
    request: PlanRequest, pairs_of: Mapping[str, Sequence[tuple[str, str]]], session: Session | None
) -> PlanStatus:
    owner = {pair: job for job, pairs in _owned(pairs_of).items() for pair in pairs}
    fabric, remark = _with_delays(_reachable(request))
    solution = plan_pairs(
        fabric, tuple(owner), max_utilisation=request.max_utilisation, objective=request.objective, session=session
    )
    wanted = [
        (owner[pair], *pair, path, rate_bps)
        for pair, path, rate_bps in zip(owner, solution.paths, solution.rates_bps, strict=True)
    ]
    # Acknowledgements go back the way the data came, unless that pair has a path of its own.
    wanted += [
        (job, target, source, back, 0.0)
        for job, source, target, path, _ in list(wanted)
        if (target, source) not in owner and (back := _reverse(fabric, path)) is not None
    ]
    labels = _labels(request, [(source, target, path) for _, source, target, path, _ in wanted])
    paths = tuple(
        PlannedPath(job, source, target, label, path, rate_bps)
        for (job, source, target, path, rate_bps), label in zip(wanted, labels, strict=True)
    )
    return _status(request, solution, paths, remark)


def _reachable(request: PlanRequest) -> Fabric:
    return request.fabric.without_links(
        link.id for link in request.fabric.links if {link.source, link.target} & request.unreachable
    )


def _with_delays(fabric: Fabric) -> tuple[Fabric, str]:
    missing = sum(link.delay_s is None for link in fabric.links)
    if not missing:
        return fabric, ""
    links = tuple(link if link.delay_s is not None else replace(link, delay_s=ASSUMED_DELAY_S) for link in fabric.links)
    return (
        Fabric(fabric.nodes, links, fabric.version),
        f"; {missing} links without declared delay count as {ASSUMED_DELAY_S:g} s each",
    )


def _reverse(fabric: Fabric, path: Path) -> Path | None:
    back = tuple(fabric.link_by_id[link].reverse_id for link in reversed(path))
    return back if all(link in fabric.link_by_id for link in back) else None


def _labels(request: PlanRequest, wanted: Sequence[Way]) -> list[int]:
    """Labels for paths: an unchanged path keeps its own, so that its rules stay untouched."""
    active = request.active.paths if request.active is not None else ()
    in_force = {(path.source, path.target, path.links): path.label for path in active}
    return label_paths(
        wanted,
        in_force,
        closed=request.resting,
        quarantined=request.quarantined | request.resting | frozenset(request.detours.values()),
    )


def _status(request: PlanRequest, solution: PairPlan, paths: tuple[PlannedPath, ...], remark: str) -> PlanStatus:
    return PlanStatus(
        epoch=request.active.epoch + 1 if request.active is not None else 1,
        fabric_version=request.fabric.version,
        objective=solution.certificate.objective,
        share=solution.share,
        value=solution.certificate.value,
        bound=solution.certificate.bound,
        gap=solution.certificate.gap,
        max_utilisation=request.max_utilisation,
        worst_link_utilisation=solution.worst_link_utilisation,
        engine=solution.engine,
        reason=solution.reason + remark,
        paths=paths,
    )
