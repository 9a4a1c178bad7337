"""First light: one ring all-reduce on an emulated fat-tree, under shortest-path routing, ECMP and the solver's plan."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import count
from pathlib import Path

from controller.client import Client, JobState
from mininet_scenarios.all_reduce import ACK_OVERHEAD, SizeResult, StartFailed, Sweep, run_all_reduce
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import Daemon, free_address
from mininet_scenarios.link_efficiency import link_efficiency
from mininet_scenarios.reachability import await_reachable
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId, NodeKind
from workloads.job import Job
from workloads.placement import scatter

CAPACITY_BPS = 10e6
SIZES_BYTES = (1 << 20, 2 << 20, 4 << 20)
"""From 1 MiB on a link's burst allowance is worth less than the headers, so that no time can undercut the bound."""
_JOB = "first-light"
_ACTIVE_PATIENCE_S = 60.0
_MPI_STARTS = 3
"""MPI takes one connection that a busy machine is slow to make for a dead peer, and gives up."""
_FLOW_SHARE = 0.5
"""A link counts a flow where it carried at least half of one ring pair's bytes more."""
_IN_USE = ACK_OVERHEAD / 2
"""A core counts as used where one of its links carried this share of a pair's bytes: half of what acknowledges them.

A ring over a fat-tree has about 13 flows between pods, and as many of acknowledgements, each hashed by itself. By
data alone, fair hashing would leave one of four cores out in every eighth run; by both, in one of 400. What
discovery sends on a link is at most a third of this.
"""

Progress = Callable[[str], None]


class Routing(StrEnum):
    """Who decides the way: the least port, a hash, or the solver."""

    SHORTEST = "shortest"
    ECMP = "ecmp"
    OPTIMISED = "optimised"

    @property
    def default(self) -> str:
        """The daemon's default routing: a plan lies on top of ECMP."""
        return "shortest" if self is Routing.SHORTEST else "ecmp"


@dataclass(frozen=True, slots=True)
class PlannedPair:
    """One ring pair's path, or its acknowledgements' (``carries_data`` is false)."""

    source: str
    target: str
    links: tuple[LinkId, ...]
    carries_data: bool


@dataclass(frozen=True)
class Run:
    """One routing, all sizes.

    Attributes
    ----------
    plan : tuple of PlannedPair
        Empty where nothing was planned.
    share : float or None
        Share of line rate that the plan gives every pair.
    mpi_starts : int
        How often MPI had to be started until its ranks had met.
    """

    routing: Routing
    results: tuple[SizeResult, ...]
    plan: tuple[PlannedPair, ...] = ()
    share: float | None = None
    mpi_starts: int = 1


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured.

    Attributes
    ----------
    ranks : tuple of str
        Host of each rank, in ring order.
    link_efficiency : float
        Goodput of one TCP flow, alone on the fabric, over the capacity.
    """

    fabric: Fabric
    seed: int
    ranks: tuple[str, ...]
    link_efficiency: float
    runs: tuple[Run, ...]

    def run_of(self, routing: Routing) -> Run | None:
        return next((run for run in self.runs if run.routing is routing), None)


def worst_link_flows(fabric: Fabric, result: SizeResult) -> int:
    """Ring pairs on the switch-to-switch link that carried most, by its counter."""
    most = max((result.link_bytes[link] for link in _between_switches(fabric)), default=0)
    return int(most / result.pair_bytes + _FLOW_SHARE)


def cores_used(fabric: Fabric, result: SizeResult) -> tuple[int, int]:
    """How many switches of the top tier carried flows of the job, of how many, by their counters."""
    top = max((node.tier or 0 for node in fabric.switches), default=0)
    cores = [node.id for node in fabric.switches if node.tier == top]
    least = _IN_USE * result.pair_bytes
    used = {link.node for link, sent in result.link_bytes.items() if sent >= least}
    return sum(core in used for core in cores), len(cores)


def utilisation(fabric: Fabric, result: SizeResult) -> Mapping[LinkId, float]:
    """Share of each directed link's capacity that was used while the iterations ran."""
    seconds = sum(result.timing.seconds)
    return {
        link.id: result.link_bytes[link.id] * 8 / seconds / link.capacity_bps
        for link in fabric.links
        if link.capacity_bps
    }


def _between_switches(fabric: Fabric) -> list[LinkId]:
    return [
        link.id
        for link in fabric.links
        if all(fabric.node_by_id[end].kind is NodeKind.SWITCH for end in (link.source, link.target))
    ]


class FirstLight:
    """An emulated fabric on which routings are compared; a context manager.

    Parameters
    ----------
    fabric : Fabric
        With the same capacity at every host.
    directory : Path
        Takes the logs.
    progress : callable
        Told what is going on, in a few words.
    """

    def __init__(self, fabric: Fabric, directory: Path, progress: Progress) -> None:
        self.fabric = fabric
        self._directory = directory
        self._tell = progress
        self._openflow = free_address()
        self._cluster = Cluster(self.fabric, self._openflow)
        self._number = 0

    def __enter__(self) -> FirstLight:
        self._tell(f"building {len(self.fabric.switches)} switches and {len(self.fabric.hosts)} hosts")
        self._cluster.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        # A terminal that was closed takes no more words, and must not keep the cluster up.
        try:
            self._tell("taking the cluster down")
        finally:
            self._cluster.stop()

    def compare(self, seed: int, routings: Sequence[Routing], sweep: Sweep) -> Comparison:
        """Run the sweep under each routing, with ranks scattered by the seed.

        Raises
        ------
        HeddleError
            The daemon, a job or MPI fails.
        """
        if not routings:
            raise InputError("there is no routing to run; name one of shortest, ecmp and optimised")
        ranks = scatter([node.id for node in self.fabric.hosts], len(self.fabric.hosts), seed)
        runs: list[Run] = []
        efficiency: float | None = None
        for routing in routings:
            self._number += 1
            name = f"{self._number:02d}-{routing}"
            tell = partial(self._tell_of, f"seed {seed}, {routing}")
            self._cluster.forget_rules()
            # State goes with the cluster: a daemon that found an earlier run's would still have its job.
            daemon = Daemon(
                self._cluster.run.path / name,
                self.fabric,
                self._openflow,
                routing.default,
                self._cluster.run.environment,
            )
            try:
                with daemon:
                    tell("the daemon discovers the fabric")
                    daemon.wait_ready(tell)
                    if efficiency is None:
                        tell("one TCP flow alone on the fabric")
                        efficiency = link_efficiency(self._cluster, *_far_apart(self.fabric))
                    log = self._directory / f"{name}-mpi.log"
                    runs.append(self._run(routing, ranks, sweep, daemon.client, log, tell))
            finally:
                # A log that is not there, or cannot be kept, must not hide why the run failed.
                with contextlib.suppress(OSError):
                    shutil.copyfile(daemon.log, self._directory / f"{name}-daemon.log")
        return Comparison(self.fabric, seed, ranks, efficiency or 0.0, tuple(runs))

    def _run(
        self, routing: Routing, ranks: tuple[str, ...], sweep: Sweep, client: Client, log: Path, tell: Progress
    ) -> Run:
        plan: tuple[PlannedPair, ...] = ()
        share = None
        if routing is Routing.OPTIMISED:
            tell("planning and installing the job's paths")
            client.submit_job(Job(_JOB, ranks, max(sweep.sizes_bytes)))
            share = client.wait_job(_JOB, JobState.ACTIVE, _ACTIVE_PATIENCE_S).share
            plan = _planned(client)
        for start in count(1):
            await_reachable(self._cluster, ranks)
            said = log if start == 1 else log.with_stem(f"{log.stem}-{start}")
            try:
                results = run_all_reduce(self._cluster, ranks, sweep, said, tell)
                break
            except StartFailed as error:
                if start == _MPI_STARTS:
                    raise
                tell(f"{error}; starting the ranks again")
        return Run(routing, results, plan, share, start)

    def _tell_of(self, where: str, now: str) -> None:
        self._tell(f"{where}: {now}")


def _planned(client: Client) -> tuple[PlannedPair, ...]:
    plan = client.plan()
    return tuple(
        PlannedPair(path.source, path.target, tuple(map(LinkId.parse, path.links)), path.rate_bps > 0)
        for path in (plan.paths if plan is not None else ())
    )


def _far_apart(fabric: Fabric) -> tuple[str, str]:
    first = fabric.hosts[0]
    other = next((node for node in fabric.hosts if node.pod != first.pod), fabric.hosts[-1])
    return first.id, other.id
