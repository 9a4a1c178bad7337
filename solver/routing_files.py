"""Routings as files: what `heddle solve` writes, and anybody's routing read back as a claim to be checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.sparse import csr_array

from solver.certificate import TOLERANCE, Claim, Floats, certify
from solver.demand import Demand
from solver.distance import Allowed
from solver.errors import CertificateError
from solver.instance import build
from solver.routing import Certificate, Objective, PathFlows, Routing, Status
from solver.solve import OPTIMAL_GAP, proof_of
from solver.splits import split_flows
from topologies.documents import explain
from topologies.errors import InputError
from topologies.fabric import Fabric

MOST_PATHS = 10_000
"""Paths that are written where not every one is asked for."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _PathEntry(_Entry):
    links: list[str] = Field(min_length=1)
    rate_bps: float
    delay_s: float | None = None


class _RouteEntry(_Entry):
    source: str
    target: str
    rate_bps: float | None = None
    carried_bps: float | None = None
    paths: list[_PathEntry]


class _LevelEntry(_Entry):
    ratio: float | None = None
    bound: float | None = None
    prices: dict[str, float]
    demands: list[int] = []


class _ObjectiveEntry(_Entry):
    name: Objective
    value: float | None = None
    bound: float | None = None
    gap: float | None = None


class _SecondsEntry(_Entry):
    build: float = 0.0
    solve: float = 0.0
    certify: float = 0.0
    total: float = 0.0


class RoutingFile(_Entry):
    """A routing file; only ``routes`` and the objective's name are needed, everything else is a claim."""

    status: Status | None = None
    objective: _ObjectiveEntry
    max_utilisation: float | None = None
    max_utilisation_allowed: float = Field(default=1.0, gt=0)
    single_path: bool = False
    total_delay: float | None = None
    violation: float | None = None
    loads: dict[str, float] | None = None
    prices: dict[str, float] | None = None
    levels: list[_LevelEntry] | None = None
    routes: list[_RouteEntry]
    routes_omitted: int = Field(default=0, ge=0)
    engine: str = ""
    reason: str = ""
    seconds: _SecondsEntry | None = None


@dataclass(frozen=True, eq=False)
class Statement:
    """What a routing file says.

    Attributes
    ----------
    claim : Claim
        Flows and prices.
    objective : Objective
    max_utilisation : float
        The share of each capacity that it allows itself.
    has_prices : bool
        Whether it says why it is good.
    status : Status or None
    numbers : mapping of str to float
        What else it says that can be found: ``value``, ``bound``, ``gap``, ``max_utilisation``, ``total_delay``.
    loads_bps : array, shape (links,), or None
        The loads that it says to cause.
    """

    claim: Claim
    objective: Objective
    max_utilisation: float
    has_prices: bool
    status: Status | None
    numbers: Mapping[str, float]
    loads_bps: Floats | None

    @property
    def fairness_unproven(self) -> bool:
        """Whether it calls itself max-min fair and has no levels to show for it."""
        return self.objective is Objective.MAX_MIN_FAIR and not self.claim.level_prices


def routing_to_json(routing: Routing, *, every_path: bool) -> dict[str, Any]:
    """The routing as JSON data, with all that `certify_statement` needs to repeat the check.

    Parameters
    ----------
    every_path : bool
        Write all paths; otherwise as many routes as have at most `MOST_PATHS` paths together, and the number
        of the others as ``routes_omitted``: such a file cannot be verified.

    Raises
    ------
    CertificateError
        The routing is a baseline, which proves nothing.
    """
    proof, fabric = proof_of(routing), routing.fabric
    names = [str(link) for link in fabric.link_ids]
    loads = routing.loads_bps()
    delays = [link.delay_s for link in fabric.links]
    routes = list(_routes(routing, names, delays, None if every_path else MOST_PATHS))
    data: dict[str, Any] = {
        "status": routing.status.value,
        "objective": {"name": proof.objective.value, "value": proof.value, "bound": proof.bound, "gap": proof.gap},
        "max_utilisation": float((loads / fabric.capacities_bps).max(initial=0.0)),
        "max_utilisation_allowed": routing.max_utilisation_allowed,
        "single_path": routing.single_path,
        "total_delay": None if None in delays else routing.total_delay(),
        "violation": proof.violation,
        "loads": _positive(names, loads),
        "prices": _positive(names, proof.prices),
    }
    if proof.objective is Objective.MAX_MIN_FAIR:
        data["levels"] = [
            {
                "ratio": level.ratio, "bound": level.bound, "prices": _positive(names, level.prices),
                "demands": level.demands.tolist(),
            }
            for level in proof.levels
        ]  # fmt: skip
    data["routes"] = routes
    if len(routes) < len(routing.demands):
        data["routes_omitted"] = len(routing.demands) - len(routes)
    spent = routing.seconds
    seconds = {"build": spent.build, "solve": spent.solve, "certify": spent.certify, "total": spent.total}
    return {**data, "engine": routing.engine, "reason": routing.reason, "seconds": seconds}


def _positive(names: Sequence[str], values: Floats) -> dict[str, float]:
    return {names[link]: float(values[link]) for link in np.flatnonzero(values > 0).tolist()}


def _routes(
    routing: Routing, names: Sequence[str], delays: Sequence[float | None], most: int | None
) -> Iterator[dict[str, Any]]:
    """One route a demand, in their order, until the next would bring more paths than wanted."""
    written = 0
    carried = routing.carried_bps.tolist()
    for number, paths in enumerate(_paths(routing, most)):
        written += len(paths)
        if most is not None and written > most:
            return
        demand = routing.demands[number]
        entries = []
        for links, rate in paths:
            steps = [delays[link] for link in links]
            known = [step for step in steps if step is not None]
            entries.append(
                {
                    "links": [names[link] for link in links], "rate_bps": rate,
                    "delay_s": sum(known) if len(known) == len(steps) else None,
                }
            )  # fmt: skip
        yield {
            "source": demand.source, "target": demand.target, "rate_bps": demand.rate_bps,
            "carried_bps": carried[number], "paths": entries,
        }  # fmt: skip


def _paths(routing: Routing, most: int | None) -> Iterator[list[tuple[Sequence[int], float]]]:
    """Links and rates of the paths of each demand, the largest first; of the first ``most`` demands at least."""
    flows = routing.path_flows
    if flows is None:
        instance = build(routing.fabric, routing.demands)
        # Each demand has a path at least, so the destinations of later ones need no paths.
        rows = np.unique(instance.rows[:most]).tolist()
        yield from islice(split_flows(instance, routing.flow_bps, routing.carried_bps, rows), most)
        return
    bounds = np.searchsorted(flows.owners, np.arange(len(routing.demands) + 1)).tolist()
    rates = flows.rates_bps.tolist()
    for begin, end in pairwise(bounds):
        order = sorted(range(begin, end), key=lambda path: -rates[path])
        yield [(flows.of(path).tolist(), rates[path]) for path in order]


def routing_from_json(data: Any, where: str, fabric: Fabric, demands: Sequence[Demand]) -> Statement:
    """Read what a routing file says about these demands on this fabric.

    The n-th route of a pair answers the n-th demand of that pair; a demand without a route carries nothing.

    Parameters
    ----------
    data : parsed JSON
    where : str
        Name of the file, for messages.

    Raises
    ------
    InputError
        An unknown key, a missing or impossible value, a link that the fabric does not have, a route that
        answers no demand, or a file that leaves routes out.
    """
    try:
        file = RoutingFile.model_validate(data)
    except ValidationError as error:
        raise explain(error, where, data) from None
    if file.routes_omitted:
        raise InputError(
            f"{where} leaves out {file.routes_omitted} of its routes; write all of them with -o, or with --json --paths"
        )
    if not demands:
        raise InputError(f"there are no demands that {where} could answer; give at least one")
    if file.max_utilisation_allowed > 1 and file.objective.name is not Objective.MIN_MAX_UTILISATION:
        raise InputError(f"{where} has max_utilisation_allowed {file.max_utilisation_allowed}; write at most 1")
    at = {str(link): number for number, link in enumerate(fabric.link_ids)}
    flows, carried = _read_routes(file.routes, where, at, demands)
    # Raises where a demand names an unknown node.
    instance = build(fabric, demands)
    steps = np.diff(flows.starts)
    flow = csr_array(
        (np.repeat(flows.rates_bps, steps), (np.repeat(instance.rows[flows.owners], steps), flows.links)),
        shape=(instance.targets, instance.links),
    )
    flow.sum_duplicates()
    levels = tuple(_over_links(level.prices, f"{where}: the prices", at) for level in file.levels or ())
    claim = Claim(
        tuple(dict.fromkeys(demand.target for demand in demands)), flow, carried,
        _over_links(file.prices or {}, f"{where}: the prices", at), flows, levels, file.single_path,
    )  # fmt: skip
    said = {
        "value": file.objective.value, "bound": file.objective.bound, "gap": file.objective.gap,
        "max_utilisation": file.max_utilisation, "total_delay": file.total_delay,
    }  # fmt: skip
    return Statement(
        claim, file.objective.name, file.max_utilisation_allowed, file.prices is not None or file.levels is not None,
        file.status, {name: number for name, number in said.items() if number is not None},
        None if file.loads is None else _over_links(file.loads, f"{where}: the loads", at),
    )  # fmt: skip


def _read_routes(
    routes: Sequence[_RouteEntry], where: str, at: Mapping[str, int], demands: Sequence[Demand]
) -> tuple[PathFlows, Floats]:
    """The paths of the demands, and what each demand carries."""
    waiting: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number in reversed(range(len(demands))):
        waiting[demands[number].source, demands[number].target].append(number)
    answers: list[_RouteEntry | None] = [None] * len(demands)
    for route in routes:
        pair = f"{where}: route {route.source} → {route.target}"
        if not waiting[route.source, route.target]:
            raise InputError(f"{pair} answers no demand, or one that has a route already; remove it")
        number = waiting[route.source, route.target].pop()
        asked = demands[number].rate_bps
        if route.rate_bps is not None and abs(route.rate_bps - asked) > TOLERANCE * asked:
            raise InputError(
                f"{pair} is for {route.rate_bps:.9g} bit/s, its demand for {asked:.9g}; give its own demands"
            )
        answers[number] = route
    carried = np.zeros(len(demands))
    owners, starts, links, rates = list[int](), [0], list[int](), list[float]()
    for number, answer in enumerate(answers):
        if answer is None:
            continue
        for path in answer.paths:
            try:
                links += [at[link] for link in path.links]
            except KeyError as error:
                raise InputError(
                    f"{where}: route {answer.source} → {answer.target} takes {error.args[0]!r}, which is not a link "
                    "of the fabric; correct it, or give the fabric that the routing is for"
                ) from None
            starts.append(len(links))
            owners.append(number)
            rates.append(path.rate_bps)
        sent = sum(path.rate_bps for path in answer.paths)
        carried[number] = sent if answer.carried_bps is None else answer.carried_bps
    flows = PathFlows(
        np.array(owners, dtype=np.intp), np.array(starts, dtype=np.intp), np.array(links, dtype=np.intp),
        np.array(rates, dtype=np.float64),
    )  # fmt: skip
    return flows, carried


def _over_links(values: Mapping[str, float], what: str, at: Mapping[str, int]) -> Floats:
    given = np.zeros(len(at))
    for link, value in values.items():
        if link not in at:
            raise InputError(f"{what} name {link!r}, which is not a link of the fabric; correct it")
        given[at[link]] = value
    return given


def certify_statement(
    statement: Statement, fabric: Fabric, demands: Sequence[Demand], allowed: Allowed | None = None
) -> Certificate:
    """Check what a routing file says: its flows, its prices, and its numbers.

    Without prices a share is held against what equal prices on all links prove, and max-min fairness without
    levels is checked for its least share alone.

    Raises
    ------
    CertificateError
        The flows do not do what they should, the prices prove nothing, or a number is not what is found.
    InputError
        A link lacks a capacity, or a delay that the objective needs.
    """
    claim, objective = statement.claim, statement.objective
    if objective.may_carry_less and not claim.prices.any():
        # Zero prices bound no share.
        claim = replace(claim, prices=np.ones(len(fabric.links)))
    asked: Sequence[Demand] = demands
    if statement.fairness_unproven:
        objective = Objective.MAX_CONCURRENT_FLOW
        asked = [
            replace(demand, cap_bps=demand.rate_bps if demand.cap_bps is None else demand.cap_bps) for demand in demands
        ]
    proof = certify(
        fabric, asked, claim, objective=objective, max_utilisation=min(statement.max_utilisation, 1.0), allowed=allowed
    )
    _refuse_contradictions(statement, proof, fabric)
    return proof


def _refuse_contradictions(statement: Statement, proof: Certificate, fabric: Fabric) -> None:
    loads = np.asarray(statement.claim.flow_bps.sum(axis=0), dtype=np.float64).ravel()
    found = {
        "value": proof.value, "bound": proof.bound, "gap": proof.gap,
        "max_utilisation": float((loads / fabric.capacities_bps).max(initial=0.0)),
    }  # fmt: skip
    if "total_delay" in statement.numbers:
        found["total_delay"] = float(loads @ fabric.delays_s)
    for name, said in statement.numbers.items():
        # A gap is relative already, and often as small as arithmetic makes it.
        scale = 1.0 if name == "gap" else max(abs(said), abs(found[name]))
        if abs(said - found[name]) > TOLERANCE * scale:
            raise CertificateError(f"the routing says {name} {said:.9g}, and {found[name]:.9g} is what it has")
    if statement.loads_bps is not None:
        off = np.abs(statement.loads_bps - loads)
        if float(off.max(initial=0.0)) > TOLERANCE * float(loads.max()):
            worst = int(np.argmax(off))
            raise CertificateError(
                f"the routing says that {fabric.link_ids[worst]} carries {statement.loads_bps[worst]:.9g} bit/s, and "
                f"its paths make {loads[worst]:.9g}"
            )
    if statement.status is Status.OPTIMAL and statement.fairness_unproven:
        raise CertificateError("the routing is called optimal and has no levels that show its rates to be fair")
    if statement.status is Status.OPTIMAL and proof.gap > 2 * OPTIMAL_GAP:
        raise CertificateError(f"the routing says that it is optimal, and a gap of {proof.gap:.3g} is what is proven")
