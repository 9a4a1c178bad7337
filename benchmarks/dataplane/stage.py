"""Where the rows take place: a k=4 fat-tree of real switches, its daemon, and two jobs with planned pairs."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks.stage import seconds_until, wait_until
from benchmarks.dataplane import bare_group
from controller.api_models import EventInfo, PathInfo
from controller.client import Client, JobState
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import Daemon, free_address
from mininet_scenarios.machine import SWITCH_NICENESS, set_niceness
from mininet_scenarios.openvswitch import Bridge
from mininet_scenarios.reachability import await_reachable
from mininet_scenarios.wiring import interface
from topologies.errors import HeddleError
from topologies.fabric import Fabric, LinkId, NodeKind
from topologies.fat_tree import fat_tree
from workloads.job import Job

__all__ = ["CAPACITY_BPS", "JOBS", "PAIRS", "Stage", "seconds_until", "stage", "wait_until"]

CAPACITY_BPS = 10e6
PAIRS = (("h1", "h5"), ("h3", "h7"))
"""UDP runs between the first two, TCP between the others: another edge switch, another pod."""
JOBS = tuple(Job(f"pair{number}", pair, 1 << 20) for number, pair in enumerate(PAIRS, 1))
ACTIVE_S = 60.0


@dataclass(frozen=True)
class Stage:
    """A running cluster and its daemon."""

    fabric: Fabric
    cluster: Cluster
    daemon: Daemon

    @property
    def client(self) -> Client:
        return self.daemon.client

    def submit_jobs(self) -> None:
        """Have both pairs planned, and their rules installed."""
        for job in JOBS:
            self.client.submit_job(job)
        self.wait_active()

    def wait_active(self) -> None:
        """Wait until every job has its rules."""
        for job in JOBS:
            self.client.wait_job(job.name, JobState.ACTIVE, ACTIVE_S)

    def path(self, source: str, target: str) -> PathInfo:
        """The planned path of a pair.

        Raises
        ------
        HeddleError
            There is none.
        """
        plan = self.client.plan()
        for path in plan.paths if plan is not None else ():
            if (path.source, path.target) == (source, target):
                return path
        raise HeddleError(f"no path is planned from {source} to {target}")

    def hops(self, source: str, target: str) -> tuple[LinkId, ...]:
        """The links between switches on a planned path."""
        links = map(LinkId.parse, self.path(source, target).links)
        return tuple(link for link in links if self.is_between(link))

    def is_between(self, link: LinkId) -> bool:
        """Whether a link joins two switches."""
        ends = self.fabric.link_by_id[link]
        return all(self.fabric.node_by_id[end].kind is NodeKind.SWITCH for end in (ends.source, ends.target))

    def other_end(self, link: LinkId) -> LinkId:
        """The link's other end, which is where the link back starts."""
        return self.fabric.link_by_id[link].reverse_id

    def silence(self, link: LinkId, *, silent: bool) -> None:
        """Let both ends of a cable drop all that they send while they stay up: no frame fits a queue of one byte."""
        limit = 1 if silent else self.cluster.shaping.queue_bytes
        for end in (link, self.other_end(link)):
            change = f"tc qdisc change dev {interface(end)} parent 1:1 handle 2: bfifo limit {limit}"
            subprocess.run(["ip", "netns", "exec", self.cluster.run.namespace, *change.split()], check=True)

    def bridge(self, switch: str) -> Bridge:
        """How a switch was made."""
        ports = {link.source_port: interface(link.id) for link in self.fabric.links if link.source == switch}
        return Bridge(switch, self.fabric.node_by_id[switch].dpid or 0, ports)

    def last_event(self) -> int:
        """Id of the latest event."""
        return max((event.id for event in self.client.events()), default=0)

    def await_event(
        self, after: int, wanted: Callable[[EventInfo], bool], what: str, timeout_s: float = 60.0
    ) -> EventInfo:
        """The first event later than one that is wanted.

        Raises
        ------
        TimeoutError
            It does not come.
        """
        found: list[EventInfo] = []

        def look() -> bool:
            found.extend(event for event in self.client.events(after) if wanted(event))
            return bool(found)

        wait_until(look, what, timeout_s)
        return found[0]

    def whole(self) -> bool:
        """Whether every cable between switches is in the view, and every switch connected."""
        there = self.client.fabric().link_by_id.keys()
        links = {link.id for link in self.fabric.links if self.is_between(link.id)}
        connected = {switch.id for switch in self.client.switches() if switch.connected}
        return links <= there and {node.id for node in self.fabric.switches} <= connected

    def wait_whole(self) -> None:
        """Wait until the daemon knows the whole fabric, and all jobs have their rules."""
        wait_until(self.whole, "every switch and every cable is in the view")
        self.wait_active()


@contextmanager
def stage(framework: str, *, jobs: bool = True, default: str = "ecmp", control: bool = False) -> Iterator[Stage]:
    """Build the fabric and its daemon, both gone at the end; hosts know their neighbours, and jobs are active.

    Parameters
    ----------
    control : bool
        Whether `bare_group` runs beside it.
    """
    fabric, openflow = fat_tree(4, capacity_bps=CAPACITY_BPS, delay_s=1e-5), free_address()
    built = bare_group.beside(fabric) if control else fabric
    with Cluster(built, openflow) as cluster, tempfile.TemporaryDirectory() as directory:
        if control:
            # Before there is a daemon that they could connect to.
            bare_group.leave_alone(cluster)
        environment = cluster.run.environment | {"HEDDLE_FRAMEWORK": framework}
        with Daemon(Path(directory), fabric, openflow, default=default, environment=environment) as daemon:
            # It would have a machine of its own; here it must not wait for those that measure.
            set_niceness(daemon.pid, SWITCH_NICENESS)
            daemon.wait_ready()
            made = Stage(fabric, cluster, daemon)
            for pair in PAIRS:
                await_reachable(cluster, pair)
            if jobs:
                made.submit_jobs()
            yield made


def median(values: Sequence[float]) -> float:
    """The middle one, the upper of two."""
    return sorted(values)[len(values) // 2]
