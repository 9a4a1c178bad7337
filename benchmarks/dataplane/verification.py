"""How long rules take to prove: by classes beside packet by packet, anew beside after a change; without switches."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.dataplane.cases import Case, Setting, at_most, told
from dataplane.compiler import Compiled, DefaultRouting, LabelledPath, compile_tables
from dataplane.labels import label_paths
from dataplane.proof import Proof
from dataplane.reading import SwitchReading
from dataplane.verifier import Verifier
from dataplane.wiring import Wiring
from solver.routing import Path
from solver.share import plan_pairs
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree
from topologies.shortest import next_hops

T = TypeVar("T")

ROW = "verification"
_RANKS = 16
_RUNS = 3
_AT_A_START_S = 2.0
"""Less than half of what k=14 may take until it forwards."""
_SIZES = ((8, True, 0.125), (8, False, 0.125), (14, False, 1.0))
"""Fat-tree, whether pairs are planned, and the limit after a link died: half of what new paths may take at k=8."""
_QUICK_SIZES = ((4, True, 0.125),)


@dataclass(frozen=True)
class _Scene:
    """A fabric with a plan, and the same once a link is gone."""

    fabric: Fabric
    paths: Sequence[LabelledPath]
    compiled: Compiled
    rest: Fabric
    moved: Sequence[LabelledPath]
    changed: Compiled

    def verify(self, verifier: Verifier) -> Verifier:
        verifier.verify(self.fabric, self.compiled.rules, self.paths, failures=True)
        return verifier

    def verified(self) -> Verifier:
        return self.verify(Verifier())

    def verify_changed(self, verifier: Verifier) -> Verifier:
        verifier.verify(self.rest, self.changed.rules, self.moved, failures=True)
        return verifier


def row(setting: Setting) -> Iterator[Case]:
    """All-to-all in jobs on small and larger fat-trees, default routing on a large one; every cable fails in turn."""
    yield from _against_packets()
    for k, planned, after_limit_s in _QUICK_SIZES if setting.quick else _SIZES:
        fabric = fat_tree(k, capacity_bps=10e9, delay_s=1e-6)
        scene = _scene(fabric, _among(fabric) if planned else [])
        what = f"k={k}, {len(scene.paths):,} planned paths"
        cables = len(Wiring(fabric).cables)
        anew_s = _least(Verifier, scene.verify)
        after_s = _least(scene.verified, scene.verify_changed)
        rules = sum(len(own.flows) for own in scene.compiled.rules.values())
        note = f"{rules:,} flows, {cables:,} cables"
        yield at_most(ROW, f"{what}: from nothing", anew_s * 1e3, _AT_A_START_S * 1e3, "ms", note)
        switches = sum(scene.compiled.rules[name] != own for name, own in scene.changed.rules.items())
        note = f"rules of {switches} switches changed; {after_s / anew_s:.2f} of the time from nothing"
        yield at_most(ROW, f"{what}: after a link died", after_s * 1e3, after_limit_s * 1e3, "ms", note)


def _against_packets() -> Iterator[Case]:
    fabric = fat_tree(4, capacity_bps=10e9, delay_s=1e-6)
    scene = _scene(fabric, _among(fabric))
    planned = {(path.source, path.target): {path.links} for path in scene.paths}

    def one_by_one(_: None) -> object:
        readings = {name: SwitchReading(name, own) for name, own in scene.compiled.rules.items()}
        return Proof(fabric, Wiring(fabric), readings, planned, None).one_by_one(failures=False)

    packets_s = _least(lambda: None, one_by_one, runs=1)
    classes_s = _least(Verifier, lambda verifier: verifier.verify(fabric, scene.compiled.rules, scene.paths))
    yield told(
        ROW, f"k=4, {len(scene.paths):,} planned paths: by classes, and packet by packet, no cable down",
        f"{classes_s * 1e3:.0f} ms, {packets_s * 1e3:.0f} ms: {packets_s / classes_s:.0f} times as long",
    )  # fmt: skip


def _least(prepare: Callable[[], T], run: Callable[[T], object], runs: int = _RUNS) -> float:
    """The least processor time of some runs; as in the planner, no collection of garbage comes in between."""
    least_s = float("inf")
    for _ in range(runs):
        given = prepare()
        gc.collect()
        gc.disable()
        try:
            began_s = time.process_time()
            run(given)
            least_s = min(least_s, time.process_time() - began_s)
        finally:
            gc.enable()
    return least_s


def _among(fabric: Fabric) -> list[tuple[str, str]]:
    """All-to-all in jobs whose ranks are spread over the fabric."""
    hosts = [host.id for host in fabric.hosts]
    jobs = [hosts[number :: max(1, len(hosts) // _RANKS)] for number in range(max(1, len(hosts) // _RANKS))]
    return [(source, target) for job in jobs for source in job for target in job if source != target]


def _scene(fabric: Fabric, pairs: Sequence[tuple[str, str]]) -> _Scene:
    """Planned pairs, and what becomes of them and of the rules when the link that most of them cross dies."""
    ways = dict(zip(pairs, plan_pairs(fabric, pairs).paths, strict=True)) if pairs else {}
    paths = _labelled(ways, {})
    compiled = compile_tables(fabric, default=DefaultRouting.ECMP, paths=paths)
    switches = {node.id for node in fabric.switches}
    load = Counter(link for path in ways.values() for link in path)
    inner = [link for link in fabric.links if {link.source, link.target} <= switches]
    dead = max(inner, key=lambda link: load[link.id])
    gone = {dead.id, dead.reverse_id}
    rest = fabric.without_links(gone)
    moved = {pair: _shortest(rest, *pair) if gone & set(path) else path for pair, path in ways.items()}
    labels = {(path.source, path.target, path.links): path.label for path in paths}
    new = _labelled(moved, labels)
    changed = compile_tables(rest, default=DefaultRouting.ECMP, paths=new, detours=compiled.detours)
    return _Scene(fabric, paths, compiled, rest, new, changed)


def _labelled(ways: dict[tuple[str, str], Path], in_force: dict[tuple[str, str, Path], int]) -> list[LabelledPath]:
    labels = label_paths([(*pair, path) for pair, path in ways.items()], in_force)
    return [LabelledPath(*pair, path, label) for (pair, path), label in zip(ways.items(), labels, strict=True)]


def _shortest(fabric: Fabric, source: str, target: str) -> Path:
    """One of the shortest ways, spread over equal ones by the pair's names."""
    onward, at, way = next_hops(fabric, target), source, list[LinkId]()
    while at != target:
        links = onward[at]
        way.append(links[sum(map(ord, source + target)) % len(links)])
        at = fabric.link_by_id[way[-1]].target
    return tuple(way)
