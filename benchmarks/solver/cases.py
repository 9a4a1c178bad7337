"""The cases: which engines and peers answer which instances, and what is asked of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks.solver import key_files, splitting
from benchmarks.solver.child import Task, measure
from benchmarks.solver.hashing import worst_links
from benchmarks.solver.instances import AllPairs, AllToAll, FatTree, LeafSpine, Recipe, Repetita, Rings, State
from benchmarks.solver.lines import Limits, Line, hashing_line, our_line, peer_line, splitting_line
from benchmarks.solver.ours import AfterFailure, Ours
from benchmarks.solver.peers import MATRIX, SIMPLEX, TEXTBOOK, Peer, PeerTask
from solver.routing import Objective

OPTIMAL = 1e-6
"""Gap with which an answer counts as optimal."""
OUR_PATIENCE_S = 300.0
"""Where ours is cut off."""
FULL_PATIENCE_S = 3600.0
"""Where peers are cut off in a full run."""
_SPLIT_UP_TO = 16
"""k up to which equal splitting is a matter of a second; the values say the same for every k."""
LINEAR = (Objective.MIN_DELAY, Objective.MIN_MAX_UTILISATION)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for on the command line.

    Attributes
    ----------
    quick, full : bool
        A minute of it; peers to their end.
    repeat : int
        Runs of each engine, of which the median counts.
    peer_limit_s : float
        After which a peer is cut off.
    data : Path or None
        Folder of the data sets.
    tell : callable
        Told what is being measured.
    """

    quick: bool = False
    full: bool = False
    repeat: int = 5
    peer_limit_s: float = 120.0
    data: Path | None = None
    tell: Callable[[str], None] = lambda _: None


Lines: TypeAlias = Iterator[Line]


@dataclass(frozen=True, slots=True)
class Case:
    """A part of the benchmark that may be run alone.

    Attributes
    ----------
    name : str
    lines : callable
        Runs it, one line after the other.
    quick : bool
        Whether a quick run has it.
    data : str or None
        Folder inside that of the data sets which it needs.
    """

    name: str
    lines: Callable[[Settings], Lines]
    quick: bool = False
    data: str | None = None

    def wanted(self, settings: Settings) -> bool:
        """Whether these settings let it run."""
        if self.data is not None:
            return not settings.quick and settings.data is not None and (settings.data / self.data).is_dir()
        return self.quick or not settings.quick


@dataclass(frozen=True, slots=True)
class _Bench:
    """Measures for one case.

    Attributes
    ----------
    case : str
        As it is shown.
    """

    settings: Settings
    case: str

    def ours(self, what: str, task: Task, limits: Limits, *, ports: int | None = None) -> Line:
        self.settings.tell(f"{self.case}, {what}: Heddle")
        measured = measure(task, repeat=self.settings.repeat, limit_s=OUR_PATIENCE_S)
        return our_line(self.case, what, measured, limits, ports=ports)

    def peers(self, ours: Line, peers: Sequence[Peer], recipe: Recipe, objective: Objective) -> Lines:
        limit_s = FULL_PATIENCE_S if self.settings.full else self.settings.peer_limit_s
        for peer in peers:
            if peer.here:
                self.settings.tell(f"{self.case}, {ours.what}: {peer.name}")
                task = PeerTask(peer, recipe, objective)
                measured = measure(task, repeat=self.settings.repeat, limit_s=limit_s)
                yield peer_line(ours, peer.name, measured, exact=peer.exact)


def all_to_all(k: int, limit_s: float | None) -> Callable[[Settings], Lines]:
    """Uniform traffic between all leaves of a fat-tree, whole and with a cable degraded or failed."""

    def lines(settings: Settings) -> Lines:
        bench = _Bench(settings, f"all-to-all, fat-tree k={k}")
        for state in State:
            for objective in LINEAR:
                recipe = AllToAll(k, state)
                limits = Limits(limit_s, gap=OPTIMAL)
                ports = k if state is State.HEALTHY else None
                ours = bench.ours(f"{objective}, {state}", Ours(recipe, objective), limits, ports=ports)
                yield ours
                peers = _peers_of_all_to_all(settings, k, state, objective)
                yield from bench.peers(ours, peers, recipe, objective)
                if objective is Objective.MIN_MAX_UTILISATION and k <= _SPLIT_UP_TO:
                    yield splitting_line(ours, splitting.worst_link(recipe))

    return lines


def _peers_of_all_to_all(settings: Settings, k: int, state: State, objective: Objective) -> Sequence[Peer]:
    if settings.quick:
        return (*TEXTBOOK, SIMPLEX) if k == 4 and state is State.HEALTHY else ()
    if k == 4:
        return (*TEXTBOOK, *MATRIX)
    if k > 8 or state is State.FAILED:
        return ()
    # Minutes each: one question says enough.
    with_textbook = state is State.HEALTHY and objective is Objective.MIN_DELAY
    return (*TEXTBOOK, *MATRIX) if with_textbook else MATRIX


def rings(
    network: LeafSpine | FatTree, rings: int, limit_s: float, limit_failed_s: float | None = None
) -> Callable[[Settings], Lines]:
    """Rings over all hosts in random order, one path each, whole and with 1 % of the cables between switches gone."""

    def lines(settings: Settings) -> Lines:
        bench = _Bench(settings, f"{rings} ring{'s' if rings > 1 else ''}, {network.name}")
        for failed, limits in ((0.0, Limits(limit_s, gap=OPTIMAL)), (0.01, Limits(limit_failed_s))):
            recipe = Rings(network, rings, failed)
            what = "one path each, healthy" if not failed else f"one path each, {failed:.0%} of cables failed"
            ours = bench.ours(what, Ours(recipe, Objective.MIN_MAX_UTILISATION, single_path=True), limits)
            yield ours
            settings.tell(f"{bench.case}, {what}: ECMP")
            yield hashing_line(ours, worst_links(recipe))

    return lines


def failure(settings: Settings) -> Lines:
    """A cable fails under a ring over all hosts of a k=8 fat-tree: the session goes on, or everything is new."""
    bench = _Bench(settings, "a cable fails, fat-tree k=8")
    for tiers, cable in (("edge–aggregation", ("e0-0", "a0-0")), ("aggregation–core", ("a0-0", "c1"))):
        recipe = Rings(FatTree(8))
        yield bench.ours(f"{tiers}, warm", AfterFailure(recipe, cable, warm=True), Limits(0.05))
        yield bench.ours(f"{tiers}, cold", AfterFailure(recipe, cable, warm=False), Limits())


def repetita(settings: Settings) -> Lines:
    """Networks of the wide area whose demands were scaled to a least maximum utilisation of 0.9."""
    bench = _Bench(settings, "wide area, REPETITA")
    folder = _folder(settings, "repetita")
    seconds = {"Interoute": 2.0, "Cogentco": 5.0}
    objective = Objective.MIN_MAX_UTILISATION
    for path in sorted(folder.glob("*.graph")):
        recipe = Repetita(folder, path.stem)
        # Rates are rounded to whole kbit/s, so the key is met from below.
        limits = Limits(seconds.get(path.stem), gap=OPTIMAL, value=(0.8941, 0.9000005))
        ours = bench.ours(path.stem, Ours(recipe, objective), limits)
        yield ours
        if path.stem in seconds:
            yield from bench.peers(ours, MATRIX, recipe, objective)


def facebook_pod(settings: Settings) -> Lines:
    """One demand matrix after the other over given tunnels, with an answer key."""
    bench = _Bench(settings, "tunnels, Facebook pod")
    task = key_files.Tunnels(_folder(settings, "facebook_pod"))
    yield bench.ours("min-max-utilisation, each line", task, Limits(0.002, gap=OPTIMAL))


def kdl(settings: Settings) -> Lines:
    """All pairs of the largest network of the Topology Zoo."""
    bench = _Bench(settings, "all pairs, Kdl")
    objective = Objective.MAX_CONCURRENT_FLOW
    task = Ours(AllPairs(_folder(settings, "teal") / "Kdl.json"), objective)
    yield bench.ours(str(objective), task, Limits(120.0, peak_bytes=8 * 2**30, gap=0.01))


def _folder(settings: Settings, name: str) -> Path:
    if settings.data is None:
        raise ValueError(f"{name} needs data")
    return settings.data / name


CASES = (
    Case("all-to-all-k4", all_to_all(4, None), quick=True),
    Case("all-to-all-k8", all_to_all(8, 0.1), quick=True),
    Case("all-to-all-k16", all_to_all(16, 0.5)),
    Case("all-to-all-k32", all_to_all(32, 5.0)),
    Case("ring-64x32", rings(LeafSpine(64, 32), 1, 0.05), quick=True),
    Case("ring-256x128", rings(LeafSpine(256, 128), 1, 0.5)),
    Case("ring-k16", rings(FatTree(16), 32, 0.2, 2.0), quick=True),
    Case("ring-k32", rings(FatTree(32), 1, 2.0)),
    Case("failure", failure, quick=True),
    Case("repetita", repetita, data="repetita"),
    Case("facebook-pod", facebook_pod, data="facebook_pod"),
    Case("kdl", kdl, data="teal"),
)
