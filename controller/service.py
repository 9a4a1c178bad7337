"""What the API may ask of the daemon: the seam between HTTP and the OpenFlow thread.

Reads return the latest published values and need no lock. Writes are carried out by the OpenFlow
thread and answered by a future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dataplane.rules import RuleSet
from solver.routing import Path
from topologies.errors import HeddleError, InputError
from topologies.fabric import Fabric, LinkId
from workloads.job import Job


class JobState(StrEnum):
    """Where a job is between being asked for and having its rules on every switch."""

    PLANNING = "planning"
    INSTALLING = "installing"
    ACTIVE = "active"
    FAILED = "failed"
    REMOVING = "removing"


class UnknownJob(InputError):
    """No job has this name. HTTP 404."""


class UnknownSwitch(InputError):
    """No switch of this name is connected. HTTP 404."""


class DuplicateJob(InputError):
    """A job of this name exists. HTTP 409."""


class NotReady(HeddleError):
    """The daemon cannot do this yet; the message says what is missing. HTTP 503."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job and how far it is.

    Attributes
    ----------
    reason : str
        Why it failed, or what it waits for; empty where there is nothing to say.
    share : float or None
        Share of line rate that every pair of the job is planned to get; None before a plan.
    """

    job: Job
    state: JobState
    reason: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class SwitchStatus:
    """A switch, connected or declared."""

    id: str
    dpid: int
    connected: bool
    address: str | None
    flows: int
    groups: int
    meters: int


class PortRole(StrEnum):
    """What is known of a port: nothing yet, another switch behind it, or a host's place."""

    UNKNOWN = "unknown"
    FABRIC = "fabric"
    EDGE = "edge"


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host, where it is, and how that is known (``arp`` or ``declared``)."""

    id: str
    ip: str
    mac: str
    attached_to: LinkId | None
    learned_from: str


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A directed link and the load that the port counters show.

    ``load_bps`` is None until two counter readings exist. ``capacity_assumed`` says that the capacity
    is the port's speed, not a declared one. A ``damped`` link keeps failing: it carries nothing until it
    has stayed up, unless the fabric would fall apart without it; so does a ``cordoned`` one until that is taken back.
    """

    source: LinkId
    target: LinkId
    capacity_bps: float | None
    capacity_assumed: bool
    delay_s: float | None
    load_bps: float | None
    damped: bool = False
    cordoned: bool = False


@dataclass(frozen=True, slots=True)
class PlannedPath:
    """One host pair's path, or one of those that it is split over, by label.

    ``rate_bps`` is 0 for the direction of acknowledgements.
    """

    job: str
    source: str
    target: str
    label: int
    links: Path
    rate_bps: float


def shares(paths: Sequence[PlannedPath]) -> list[float]:
    """For each path the part of its pair's traffic that takes it."""
    rates_bps: dict[tuple[str, str], float] = {}
    for path in paths:
        pair = (path.source, path.target)
        rates_bps[pair] = rates_bps.get(pair, 0.0) + path.rate_bps
    return [path.rate_bps / (rates_bps[path.source, path.target] or 1.0) if path.rate_bps else 1.0 for path in paths]


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """The active plan with its proof.

    ``value`` and ``bound`` are of the objective named; ``worst_link_utilisation`` is of the planned
    paths at the planned rates, ``max_utilisation`` what it was allowed.
    """

    epoch: int
    fabric_version: int
    objective: str
    share: float
    value: float
    bound: float
    gap: float
    worst_link_utilisation: float
    max_utilisation: float
    engine: str
    reason: str
    paths: tuple[PlannedPath, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling: a link lost, a host seen, a frame refused. ``at_s`` is Unix time."""

    id: int
    at_s: float
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the daemon can carry traffic as asked, and if not, what it waits for."""

    ready: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Probing:
    """How the daemon watches the links between switches.

    Attributes
    ----------
    ports : int
        Ports that are probed as ends of links.
    interval_s : float
        Time between two probes of one of them.
    noticed_s : float
        After how long a link that carries nothing, while its ports keep link, is noticed at the latest.
    """

    ports: int
    interval_s: float
    noticed_s: float

    def __str__(self) -> str:
        return (
            f"probing {self.ports:,} fabric ports, each every {self.interval_s:.1f} s: "
            f"a silent link is noticed within {self.noticed_s:.1f} s"
        )


class Service(Protocol):
    """The daemon as the API sees it."""

    def readiness(self) -> Readiness: ...
    def fabric(self) -> Fabric: ...
    def switches(self) -> tuple[SwitchStatus, ...]: ...
    def links(self) -> tuple[LinkStatus, ...]: ...
    def hosts(self) -> tuple[HostStatus, ...]: ...
    def rules(self) -> RuleSet:
        """What is in the tables of each switch whose rules are known, in the middle of an update too."""
        ...

    def jobs(self) -> tuple[JobStatus, ...]: ...
    def plan(self) -> PlanStatus | None: ...
    def events(self, after_id: int = 0) -> tuple[Event, ...]:
        """The latest events (a bounded number), oldest first, with ids above ``after_id``."""
        ...

    def probing(self) -> Probing: ...

    def counters(self) -> Mapping[str, int]:
        """Counts since start, by name: packets refused by reason, installs, plans and so on."""
        ...

    def certificate_expiries(self) -> Mapping[str, float]:
        """When our ``certificate`` for TLS and the ``authority`` expire, in Unix time; empty without TLS."""
        ...

    def submit_job(self, job: Job) -> Future[JobStatus]:
        """Take a job in; the future raises `DuplicateJob` or `InputError` (an unknown host)."""
        ...

    def remove_job(self, name: str) -> Future[JobStatus]:
        """Take a job and its rules away; the future raises `UnknownJob`."""
        ...

    def change_cordons(self, cordon: Sequence[LinkId], uncordon: Sequence[LinkId]) -> Future[tuple[LinkId, ...]]:
        """Keep cables clear and use others again; the future has all links cordoned then, or raises `InputError`."""
        ...
