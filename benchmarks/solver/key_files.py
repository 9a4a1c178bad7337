"""Demand matrices over given tunnels with an answer key: one solve after the other in one session."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.solver.child import Reading, Run
from benchmarks.solver.instances import fresh
from benchmarks.solver.lines import SAME
from benchmarks.solver.ours import warm_up
from solver.demand import Demand
from solver.distance import Allowed
from solver.routing import Objective
from solver.routing import Path as LinkPath
from solver.solve import Session, proof_of
from topologies.fabric import Fabric
from topologies.files import read_fabric


@dataclass(frozen=True, slots=True)
class Tunnels:
    """All lines of a history of matrices, each held against the key.

    Attributes
    ----------
    folder : Path
        With ``Facebook_pod_a.json``, ``tunnels.txt``, ``5.hist`` and ``5.opt``.
    """

    folder: Path

    def __call__(self) -> Run:
        fabric = read_fabric(self.folder / "Facebook_pod_a.json")
        allowed = Allowed(paths=dict(_tunnels(fabric, (self.folder / "tunnels.txt").read_text())))
        names = [node.id for node in fabric.nodes]
        matrices = [_demands(names, line) for line in (self.folder / "5.hist").read_text().splitlines()]
        key = [float(line) for line in (self.folder / "5.opt").read_text().split()]
        warm_up()

        def run() -> Reading:
            session = Session(fresh(fabric))
            seconds, gaps, apart = list[float](), list[float](), list[float]()
            for demands, optimum in zip(matrices, key, strict=True):
                begun = time.perf_counter()
                routing = session.solve(demands, Objective.MIN_MAX_UTILISATION, allowed=allowed)
                seconds.append(time.perf_counter() - begun)
                proof = proof_of(routing)
                gaps.append(proof.gap)
                apart.append(abs(proof.value - optimum) / optimum)
            note = f"mean of {len(key)} lines, slowest {1e3 * max(seconds):.1f} ms, {max(apart):.0e} from the key"
            wrong = "" if max(apart) <= SAME else "not the key's values"
            return Reading(sum(seconds) / len(seconds), routing.engine, gap=max(gaps), note=note, wrong=wrong)

        return run


def _demands(names: Sequence[str], line: str) -> list[Demand]:
    """A flattened square of rates, by source and then target."""
    rates = [float(field) for field in line.split()]
    pairs = [(source, target) for source in names for target in names]
    return [Demand(*pair, rate) for pair, rate in zip(pairs, rates, strict=True) if rate]


def _tunnels(fabric: Fabric, text: str) -> Iterator[tuple[tuple[str, str], tuple[LinkPath, ...]]]:
    """Read ``source target:a-b-c,a-c``, a pair a line."""
    between = {(link.source, link.target): link.id for link in fabric.links}
    for line in text.splitlines():
        pair, _, paths = line.partition(":")
        source, target = pair.split()
        nodes = [path.split("-") for path in paths.split(",")]
        yield (
            (source, target),
            tuple(tuple(between[hop] for hop in pairwise(path)) for path in nodes),
        )
