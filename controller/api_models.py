"""What the REST API takes and gives: one model a resource, shared by the server and the client."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from controller.eventlog import is_warning
from controller.service import (
    Event,
    HostStatus,
    JobState,
    JobStatus,
    LinkStatus,
    PlannedPath,
    PlanStatus,
    Readiness,
    SwitchStatus,
    shares,
)
from dataplane.files import SwitchEntry
from workloads.files import JobFile


class _Reply(BaseModel):
    # A client must live with fields that a newer daemon adds.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class ReadinessInfo(_Reply):
    """Whether the daemon carries traffic as asked, and what it waits for if not."""

    ready: bool
    reason: str

    @classmethod
    def of(cls, readiness: Readiness) -> ReadinessInfo:
        return cls(ready=readiness.ready, reason=readiness.reason)


class SwitchInfo(_Reply):
    """A switch, connected or declared."""

    id: str
    dpid: str
    """16 hex digits."""
    connected: bool
    address: str | None
    flows: int
    groups: int
    meters: int

    @classmethod
    def of(cls, switch: SwitchStatus) -> SwitchInfo:
        return cls(
            id=switch.id,
            dpid=f"{switch.dpid:016x}",
            connected=switch.connected,
            address=switch.address,
            flows=switch.flows,
            groups=switch.groups,
            meters=switch.meters,
        )


class LinkInfo(_Reply):
    """A directed link with its load."""

    id: str
    """Where it starts, ``NODE:PORT``."""
    source: str
    source_port: int
    target: str
    target_port: int
    capacity_bps: float | None
    capacity_assumed: bool
    """The capacity is the port's speed, not a declared one."""
    delay_s: float | None
    load_bps: float | None
    """From port counters; null until they were read twice."""
    damped: bool
    """It keeps failing: unused until it has stayed up, unless the fabric would fall apart without it."""
    cordoned: bool = False
    """Somebody keeps it clear, as for work on it."""

    @property
    def utilisation(self) -> float | None:
        """Load over capacity, where both are known."""
        return None if self.load_bps is None or not self.capacity_bps else self.load_bps / self.capacity_bps

    @classmethod
    def of(cls, link: LinkStatus) -> LinkInfo:
        return cls(
            id=str(link.source),
            source=link.source.node,
            source_port=link.source.port,
            target=link.target.node,
            target_port=link.target.port,
            capacity_bps=link.capacity_bps,
            capacity_assumed=link.capacity_assumed,
            delay_s=link.delay_s,
            load_bps=link.load_bps,
            damped=link.damped,
            cordoned=link.cordoned,
        )


class CordonsChange(BaseModel):
    """Cables to keep clear, and cables to use again; either direction stands for both."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    cordon: tuple[str, ...] = ()
    """Links, ``NODE:PORT``."""
    uncordon: tuple[str, ...] = ()


class HostInfo(_Reply):
    """A host and the switch port where it is."""

    id: str
    ip: str
    mac: str
    attached_to: str | None
    """Switch and port, ``NODE:PORT``; null where it is not attached."""
    learned_from: str

    @classmethod
    def of(cls, host: HostStatus) -> HostInfo:
        return cls(
            id=host.id,
            ip=host.ip,
            mac=host.mac,
            attached_to=str(host.attached_to) if host.attached_to is not None else None,
            learned_from=host.learned_from,
        )


class JobInfo(_Reply):
    """A job and how far it is."""

    name: str
    ranks: tuple[str, ...]
    message_bytes: int
    collective: str
    algorithm: str
    flows_per_pair: int = 1
    rate_cap_bps: float | None = None
    state: JobState
    reason: str
    """Why it failed, or what it waits for; empty where there is nothing to say."""
    share: float | None
    """Share of line rate that every pair of the job is planned to get; null before a plan."""

    @classmethod
    def of(cls, status: JobStatus) -> JobInfo:
        asked = JobFile.from_job(status.job).model_dump()
        return cls(**asked, state=status.state, reason=status.reason, share=status.share)


class PathInfo(_Reply):
    """The planned path of one host pair."""

    job: str
    source: str
    target: str
    label: int
    """MPLS label of the path."""
    links: tuple[str, ...]
    """Directed links from source to target, access links included."""
    rate_bps: float
    """0 for the direction of acknowledgements."""
    share: float = 1.0
    """Part of the pair's traffic that takes this path: below 1 where the pair is split over several."""

    @classmethod
    def of(cls, path: PlannedPath, share: float) -> PathInfo:
        return cls(
            job=path.job,
            source=path.source,
            target=path.target,
            label=path.label,
            links=tuple(map(str, path.links)),
            rate_bps=path.rate_bps,
            share=share,
        )


class PlanInfo(_Reply):
    """The active plan with its proof: value, bound and gap are of the objective."""

    epoch: int
    fabric_version: int
    objective: str
    share: float
    value: float
    bound: float
    gap: float
    worst_link_utilisation: float
    max_utilisation: float
    """Share of each link that the plan was allowed to use."""
    engine: str
    reason: str
    paths: tuple[PathInfo, ...]

    @classmethod
    def of(cls, plan: PlanStatus) -> PlanInfo:
        return cls(
            epoch=plan.epoch,
            fabric_version=plan.fabric_version,
            objective=plan.objective,
            share=plan.share,
            value=plan.value,
            bound=plan.bound,
            gap=plan.gap,
            worst_link_utilisation=plan.worst_link_utilisation,
            max_utilisation=plan.max_utilisation,
            engine=plan.engine,
            reason=plan.reason,
            paths=tuple(map(PathInfo.of, plan.paths, shares(plan.paths))),
        )


class RulesInfo(_Reply):
    """The rules of some switches, in the form of a rules file."""

    switches: tuple[SwitchEntry, ...]
    next: str | None
    """The first switch that found no room here: ask for it and those behind with ``from``; null after the last."""


class EventInfo(_Reply):
    """Something worth telling; ``at_s`` is Unix time in seconds."""

    id: int
    at_s: float
    kind: str
    message: str
    warning: bool = False
    """Whether somebody should look at it."""

    @classmethod
    def of(cls, event: Event) -> EventInfo:
        return cls(id=event.id, at_s=event.at_s, kind=event.kind, message=event.message, warning=is_warning(event.kind))


class Problem(_Reply):
    """Problem details (RFC 9457): what went wrong with a request."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
