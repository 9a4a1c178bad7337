"""Whether the plan in force still serves, and whether another is worth moving traffic for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from controller.service import PlannedPath, PlanStatus, shares
from dataplane.ingress import widest_first
from dataplane.splits import SplitRefused, deal_ports
from solver.routing import Path
from solver.share import wanted_bps
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId

ASSUMED_DELAY_S = 1e-6
"""Delay of a link for which none is declared, once any link lacks one: hops decide then."""
_SAME = 1e-6
"""Relative difference that arithmetic explains."""

Pair = tuple[str, str]
PairsOf = Mapping[str, Sequence[Pair]]
"""The pairs of each job."""


def owned(pairs_of: PairsOf) -> dict[str, list[tuple[str, str]]]:
    """Every pair once: the first job that has it owns its path."""
    found: dict[str, list[tuple[str, str]]] = {}
    seen: set[tuple[str, str]] = set()
    for job, pairs in pairs_of.items():
        found[job] = [pair for pair in pairs if pair not in seen]
        seen.update(pairs)
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """What has become of a plan.

    Attributes
    ----------
    serves : bool
        Whether it has paths for exactly the pairs that want some, and splits that their flows can still be dealt to.
    live : tuple of bool
        By path, whether it is still one, with all its links, none of them of switches that cannot get its rules.
    """

    serves: bool
    live: tuple[bool, ...]


def standing(
    fabric: Fabric,
    plan: PlanStatus,
    pairs_of: PairsOf,
    flows: Mapping[Pair, int],
    stuck: AbstractSet[str],
    lived_on: Fabric | None = None,
) -> Standing:
    """Look at a plan.

    Parameters
    ----------
    flows : mapping of Pair to int
        Of each pair.
    stuck : set of str
        Switches that cannot get its rules.
    lived_on : Fabric, optional
        One on which all its paths lived.
    """
    if lived_on is not None and lived_on.nodes == fabric.nodes and not stuck:
        there = fabric.link_by_id
        changed = {link.id for link in lived_on.links if there.get(link.id) != link}
        live = tuple(changed.isdisjoint(path.links) for path in plan.paths)
    else:
        live = tuple(_live(fabric, plan.paths, stuck))
    return Standing(_serves(plan, pairs_of, flows), live)


def _serves(plan: PlanStatus, pairs_of: PairsOf, flows: Mapping[Pair, int]) -> bool:
    wanted = {(job, source, target) for job, pairs in owned(pairs_of).items() for source, target in pairs}
    data = [(path.job, path.source, path.target) for path in plan.paths if path.rate_bps > 0]
    if wanted != set(data):
        return False
    return len(data) == len(wanted) or _can_be_dealt(plan, flows)


def _can_be_dealt(plan: PlanStatus, flows: Mapping[Pair, int]) -> bool:
    """Whether the flows that pairs now declare can be dealt to the shares that they were given."""
    parts: dict[Pair, list[tuple[Path, float]]] = {}
    for path, share in zip(plan.paths, shares(plan.paths), strict=True):
        parts.setdefault((path.source, path.target), []).append((path.links, share))
    try:
        for pair, ways in parts.items():
            if len(ways) > 1:
                deal_ports(tuple(share for _, share in widest_first(ways)), flows.get(pair, 1))
    except SplitRefused:
        return False
    return True


def _live(fabric: Fabric, paths: Sequence[PlannedPath], stuck: AbstractSet[str]) -> Iterator[bool]:
    """Of each path whether it lives. What paths have in common is looked at once."""
    alive = fabric.link_by_id
    used = set[LinkId]().union(*(path.links for path in paths))
    gone = {link for link in used if link not in alive or link.node in stuck}
    steps = set[tuple[LinkId, str]]().union(*(_steps(path) for path in paths))
    # Cables were swapped.
    broken = {step for step in steps if step[0] not in gone and alive[step[0]].target != step[1]}
    named = {host.id for host in fabric.hosts if host.ip is not None and host.mac is not None}
    for path in paths:
        lives = gone.isdisjoint(path.links) and path.source in named and path.target in named
        yield lives and (not broken or broken.isdisjoint(_steps(path)))


def _steps(path: PlannedPath) -> Iterator[tuple[LinkId, str]]:
    """Each link and the node that it has to lead to."""
    yield from zip(path.links, (*(link.node for link in path.links[1:]), path.target), strict=True)


def kept(fabric: Fabric, plan: PlanStatus, found: Standing, caps_bps: Mapping[Pair, float]) -> PlanStatus | None:
    """The plan, where it still serves exactly these jobs, on links that all live and carry what they did."""
    if not found.serves or not all(found.live):
        return None
    try:
        if not _carries(fabric, plan, caps_bps):
            return None
    except InputError:
        # A capacity became unknown.
        return None
    return replace(plan, fabric_version=fabric.version)


def _carries(fabric: Fabric, plan: PlanStatus, caps_bps: Mapping[tuple[str, str], float]) -> bool:
    """Whether rates are between the plan's share of what pairs want and all of it, links no fuller than it says."""
    loads_bps: defaultdict[LinkId, float] = defaultdict(float)
    rates_bps: defaultdict[tuple[str, str], float] = defaultdict(float)
    for path in plan.paths:
        if path.rate_bps > 0:
            rates_bps[path.source, path.target] += path.rate_bps
            for link in path.links:
                loads_bps[link] += path.rate_bps
    for pair, rate_bps in rates_bps.items():
        most_bps = wanted_bps(fabric, pair, caps_bps)
        if not plan.share * most_bps * (1 - _SAME) <= rate_bps <= most_bps * (1 + _SAME):
            return False
    fullest = plan.worst_link_utilisation * (1 + _SAME)
    capacities_bps = {link.id: link.capacity_bps or 0.0 for link in fabric.links}
    return all(load_bps <= fullest * capacities_bps[link] for link, load_bps in loads_bps.items())


def has_gained(fabric: Fabric, before: Fabric | None) -> bool:
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


def is_better(fabric: Fabric, new: PlanStatus, old: PlanStatus) -> bool:
    """Whether a plan is worth moving traffic for: a larger share, else a less loaded worst link, else less delay."""
    delays_s = {link.id: link.delay_s or 0.0 for link in with_delays(fabric)[0].links}

    def merits(plan: PlanStatus) -> tuple[float, float, float]:
        paths = (path for path in plan.paths if path.rate_bps > 0)
        delay = sum(path.rate_bps * sum(delays_s.get(link, 0.0) for link in path.links) for path in paths)
        return (-plan.share, plan.worst_link_utilisation, delay)

    for ours, theirs in zip(merits(new), merits(old), strict=True):
        if abs(ours - theirs) > _SAME * max(abs(ours), abs(theirs)):
            return ours < theirs
    return False


def proved_by(new: PlanStatus, plan: PlanStatus) -> PlanStatus:
    """A plan that a new one did not better has the new one's bound."""
    return replace(plan, value=new.value, bound=new.bound, gap=new.gap, reason=new.reason, engine=new.engine)


def with_delays(fabric: Fabric) -> tuple[Fabric, str]:
    """The fabric with a delay for every link, and what is to be said of those that had none."""
    missing = sum(link.delay_s is None for link in fabric.links)
    if not missing:
        return fabric, ""
    links = tuple(link if link.delay_s is not None else replace(link, delay_s=ASSUMED_DELAY_S) for link in fabric.links)
    return (
        Fabric(fabric.nodes, links, fabric.version),
        f"; {missing} links without declared delay count as {ASSUMED_DELAY_S:g} s each",
    )


def without_switches(fabric: Fabric, names: AbstractSet[str]) -> Fabric:
    """The fabric without the links of some switches."""
    return fabric.without_links(_links_of(fabric, names)) if names else fabric


def _links_of(fabric: Fabric, names: AbstractSet[str]) -> Iterable[LinkId]:
    return (link.id for link in fabric.links if {link.source, link.target} & names)
