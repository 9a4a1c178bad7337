"""A daemon without switches: what tests of the API, the client and the command talk to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from controller.api import ApiServer
from controller.service import (
    DuplicateJob,
    Event,
    HostStatus,
    JobState,
    JobStatus,
    LinkStatus,
    PlannedPath,
    PlanStatus,
    Probing,
    Readiness,
    SwitchStatus,
    UnknownJob,
)
from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.rules import RuleSet
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from workloads.job import Job


def two_host_fabric() -> Fabric:
    """Hosts ``h1`` and ``h2`` on switch ``s1``, 10 Mbit/s and 1 µs a link."""
    nodes = (
        Node("s1", NodeKind.SWITCH, tier=1, dpid=0xFFFF_0000_0000_0001),
        Node("h1", NodeKind.HOST, tier=0, ip="10.0.0.1", mac="02:00:00:00:00:01"),
        Node("h2", NodeKind.HOST, tier=0, ip="10.0.0.2", mac="02:00:00:00:00:02"),
    )
    ends = (("h1", 1, "s1", 1), ("s1", 1, "h1", 1), ("h2", 1, "s1", 2), ("s1", 2, "h2", 1))
    return Fabric(nodes, tuple(Link(*end, capacity_bps=1e7, delay_s=1e-6) for end in ends), version=7)


def two_host_plan() -> PlanStatus:
    """A plan for job ``train`` between the two hosts."""
    there = (LinkId("h1", 1), LinkId("s1", 2))
    back = (LinkId("h2", 1), LinkId("s1", 1))
    return PlanStatus(
        epoch=3,
        fabric_version=7,
        objective="min-delay",
        share=0.95,
        value=38.0,
        bound=38.0,
        gap=0.0,
        worst_link_utilisation=0.95,
        max_utilisation=0.95,
        engine="pulp/highs",
        reason="the only engine",
        paths=(
            PlannedPath("train", "h1", "h2", 16, there, 9.5e6),
            PlannedPath("train", "h2", "h1", 17, back, 9.5e6),
        ),
    )


def two_host_rules() -> RuleSet:
    """What that plan puts on the switch."""
    paths = [LabelledPath(path.source, path.target, path.links, path.label) for path in two_host_plan().paths]
    return compile_rules(two_host_fabric(), default=DefaultRouting.ECMP, paths=paths)


@dataclass
class FakeService:
    """A `controller.service.Service` whose answers a test sets.

    Attributes
    ----------
    error : Exception or None
        Raised by every write, where set.
    silent : bool
        Writes are never answered.
    """

    snapshot: Fabric = field(default_factory=two_host_fabric)
    ready: Readiness = field(default_factory=lambda: Readiness(True, "1 switch, 2 hosts"))
    statuses: dict[str, JobStatus] = field(default_factory=dict)
    active: PlanStatus | None = field(default_factory=two_host_plan)
    installed: RuleSet = field(default_factory=two_host_rules)
    happened: list[Event] = field(default_factory=lambda: [Event(1, 1000.0, "switch-up", "switch s1 is connected")])
    counts: dict[str, int] = field(default_factory=lambda: {"switch-up": 1})
    error: Exception | None = None
    silent: bool = False
    cordoned: set[LinkId] = field(default_factory=set)

    def readiness(self) -> Readiness:
        return self.ready

    def fabric(self) -> Fabric:
        return self.snapshot

    def switches(self) -> tuple[SwitchStatus, ...]:
        return tuple(
            SwitchStatus(node.id, node.dpid or 0, True, "127.0.0.1:40000", 12, 2, 3) for node in self.snapshot.switches
        )

    def links(self) -> tuple[LinkStatus, ...]:
        return tuple(
            LinkStatus(
                link.id,
                link.reverse_id,
                link.capacity_bps,
                False,
                link.delay_s,
                load_bps,
                False,
                link.id in self.cordoned,
            )
            for link, load_bps in zip(self.snapshot.links, (5e6, None, 0.0, 2.5e6), strict=True)
        )

    def hosts(self) -> tuple[HostStatus, ...]:
        return tuple(
            HostStatus(host.id, host.ip or "", host.mac or "", self.snapshot.access_link(host.id).reverse_id, "arp")
            for host in self.snapshot.hosts
        )

    def rules(self) -> RuleSet:
        return self.installed

    def jobs(self) -> tuple[JobStatus, ...]:
        return tuple(self.statuses.values())

    def plan(self) -> PlanStatus | None:
        return self.active

    def events(self, after_id: int = 0) -> tuple[Event, ...]:
        return tuple(event for event in self.happened if event.id > after_id)

    def probing(self) -> Probing:
        return Probing(64, 0.3, 1.5)

    def counters(self) -> Mapping[str, int]:
        return self.counts

    def certificate_expiries(self) -> Mapping[str, float]:
        return {"certificate": 1.8e9, "authority": 2.0e9}

    def submit_job(self, job: Job) -> Future[JobStatus]:
        future: Future[JobStatus] = Future()
        unknown = next((host for host in job.ranks if host not in self.snapshot.node_by_id), None)
        if self.error is not None:
            future.set_exception(self.error)
        elif job.name in self.statuses:
            future.set_exception(DuplicateJob(f"job {job.name!r} exists already"))
        elif unknown is not None:
            future.set_exception(InputError(f"job {job.name!r} names {unknown!r}, which is no known host"))
        elif not self.silent:
            self.statuses[job.name] = JobStatus(job, JobState.PLANNING)
            future.set_result(self.statuses[job.name])
        return future

    def remove_job(self, name: str) -> Future[JobStatus]:
        future: Future[JobStatus] = Future()
        if name not in self.statuses:
            future.set_exception(UnknownJob(f"no job is named {name!r}"))
        else:
            future.set_result(JobStatus(self.statuses.pop(name).job, JobState.REMOVING))
        return future

    def change_cordons(self, cordon: Sequence[LinkId], uncordon: Sequence[LinkId]) -> Future[tuple[LinkId, ...]]:
        future: Future[tuple[LinkId, ...]] = Future()
        unknown = next((link for link in (*cordon, *uncordon) if link not in self.snapshot.link_by_id), None)
        if unknown is not None:
            future.set_exception(InputError(f"no cable begins at {unknown}"))
        else:
            self.cordoned = (self.cordoned - set(uncordon)) | set(cordon)
            future.set_result(tuple(sorted(self.cordoned)))
        return future


@contextmanager
def served(service: FakeService) -> Iterator[str]:
    """Serve the API of a service on a free port of loopback; yields its URL."""
    server = ApiServer(service, "127.0.0.1", 0)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
