"""The plan in force: asked for when something changed, taken, installed, and tried again where that failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from controller.config import Config
from controller.eventlog import EventLog
from controller.foresight import Foresight
from controller.installer import Installer, Outcome, Target
from controller.jobs import JobTable
from controller.planner import Answer, Deliver, PlanMaker
from controller.planning import PlanAnswer, PlanRequest
from controller.resting import RestingLabels
from controller.runtime import Runtime
from controller.service import JobStatus, PlannedPath, PlanStatus
from controller.shifting import moves
from controller.store import Pushed, Store
from dataplane.compiler import DefaultRouting
from dataplane.detours import Tunnel
from dataplane.drain import DRAIN_S, queue_s
from dataplane.updating import Follows
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Link
from workloads.collectives import job_pairs
from workloads.job import Job

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Wait before a failed installation is planned anew."""
REPLAN_S = 10.0
"""Wait before the planner is asked again after it failed, and before a switch that refused a rule is tried again."""
_MOST_DOUBLINGS = 6


@dataclass(frozen=True, slots=True)
class Observed:
    """What a plan is made for.

    Attributes
    ----------
    edge_ports : mapping of str to frozenset of int
        Edge ports by switch.
    switches : frozenset of str
        All switches seen, within reach or not.
    """

    fabric: Fabric
    edge_ports: Mapping[str, frozenset[int]]
    switches: frozenset[str]


class PlanKeeper:
    """Jobs, their plan, and the rules of all switches; in the OpenFlow thread alone.

    Parameters
    ----------
    planner : callable
        Makes what turns requests into answers, given where to deliver them.
    observe : callable
        What is known of the fabric; None before it is known well enough to plan for.
    changed : callable
        Called after jobs or plan have changed by themselves.

    Attributes
    ----------
    plan : PlanStatus or None
        With its paths; None before the first.
    carries : bool
        Whether a whole set of rules was installed since the start.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        runtime: Runtime,
        events: EventLog,
        planner: Callable[[Deliver], PlanMaker],
        observe: Callable[[], Observed | None],
        changed: Callable[[], None],
    ) -> None:
        self._config = config
        self._store = store
        self._runtime = runtime
        self._events = events
        self._observe = observe
        self._changed = changed
        self.installer = Installer(
            runtime, self._installed, lambda sentence: self._events.note("update-overloads", sentence)
        )
        self.jobs = JobTable(store)
        self.plan = store.load_plan()
        self._detours = store.load_detours()
        self.carries = False
        # One answers at once, with what lives and what is mended; the other looks for the best meanwhile.
        self._planner = planner(self._deliver)
        self._optimiser = planner(self._deliver)
        self._optimises = False
        self._foresight = Foresight()
        # What planned traffic follows as far as is known: the plan before, while another is being installed.
        self._followed = self.plan
        self._resting = RestingLabels(store, runtime.now_s())
        # Switches that may lack rules of the plan; of an earlier run's plan nothing is known.
        self._lacking = _switches(self.plan)
        self._solved_on: Fabric | None = None
        # The default routing in force, and its fabric.
        self._routed: tuple[str, Fabric | None] = ("", None)
        # What the plan just taken leaves to be done once traffic follows it.
        self._next: Callable[[], None] | None = None
        self._request: PlanRequest | None = None
        self._answered: tuple[PlanRequest, PlanAnswer] | None = None
        self._retry_s: float | None = None
        self._refusals: dict[str, int] = {}
        self._left_until_s: dict[str, float] = {}
        # Switches that cannot hold the plan beside what they have, and how often that was found in a row.
        self._crowded: tuple[frozenset[str], int] = frozenset(), 0

    def start(self, expected: Observed | None = None) -> None:
        """Start the planner, which begins with what is expected to be observed."""
        self._planner.start()
        if expected is not None:
            request = replace(self._question(expected), unreachable=frozenset[str]())
            self._foresight.asked(request)
            self._planner.ask(request)

    def stop(self) -> None:
        """Stop the planner; the switches keep their rules."""
        self._planner.stop()
        if self._optimises:
            self._optimiser.stop()

    def tick(self, now_s: float) -> None:
        """Try again what is due."""
        due = [name for name, until_s in self._left_until_s.items() if now_s >= until_s]
        for name in due:
            del self._left_until_s[name]
        if due or (self._retry_s is not None and now_s >= self._retry_s):
            self._retry_s = None
            self.ask(anew=True)

    def welcomed(self, name: str) -> None:
        """A switch has come, with rules that it may have lost meanwhile."""
        if lacks := not self._has_rules_in_force(name):
            self._lacking |= {name}
        self.ask(anew=lacks)

    def _has_rules_in_force(self, name: str) -> bool:
        """Whether a switch has all that it needs for the plan: one whose channel flaps is no reason to move traffic."""
        wanted = self._answered[1].rules.get(name) if self._answered is not None else None
        have = self.installer.installed.get(name)
        if wanted is None or have is None:
            return False
        return wanted.flows <= have.flows and wanted.groups <= have.groups and wanted.meters <= have.meters

    @property
    def lacking(self) -> frozenset[str]:
        """Switches that may lack rules of the plan in force."""
        return self._lacking

    def forgotten(self, name: str) -> None:
        """A switch is gone for good."""
        self._lacking -= {name}
        self._refusals.pop(name, None)
        self._left_until_s.pop(name, None)

    def remove_job(self, name: str) -> JobStatus:
        """Begin to take a job away; see `JobTable.remove`."""
        status = self.jobs.remove(name)
        self._events.note("job-removed", f"job {name} is on its way out")
        idle = not self._lacking & _switches(self.plan) and not self.installer.busy
        if idle and all(path.job != name for path in _paths(self.plan)):
            # No switch has, or is about to get, a rule for it.
            self.jobs.forget(name)
        # Else it goes with the next installation, were that one without any change.
        self.ask(anew=not idle)
        return status

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def ask(self, *, anew: bool = False) -> None:
        """Plan for what is known now, unless exactly that was asked already (and not ``anew``)."""
        observed = self._observe()
        if observed is None:
            return
        request = self._question(observed)
        if anew or self._request is None or request.situation != self._request.situation:
            self._request = request
            if not self._foresight.foresaw(request):
                self._planner.ask(request)
            elif self._foresight.is_answered:
                self._use_foresight(request)

    def _use_foresight(self, request: PlanRequest) -> None:
        answer = self._foresight.take(request)
        if answer is None:
            self._planner.ask(request)
        else:
            self._runtime.call_soon(lambda: self._planned(request, answer))

    def _question(self, observed: Observed, *, hurried: bool = True) -> PlanRequest:
        reachable = self.installer.reachable - self._left_until_s.keys()
        resting = self._resting.at(self._runtime.now_s(), self.installer.reachable, self.installer.pushed())
        return PlanRequest(
            fabric=observed.fabric,
            edge_ports=observed.edge_ports,
            jobs=self.jobs.wanted(),
            default=DefaultRouting(self._config.routing.default),
            max_utilisation=self._config.routing.max_utilisation,
            objective=self._config.objective,
            active=self.plan,
            lacking=self._lacking,
            solved_on=self._solved_on,
            detours=self._detours,
            quarantined=self.installer.labels(),
            resting=resting,
            unreachable=observed.switches - reachable,
            hurried=hurried,
            budgets=self._config.routing.to_budgets(),
            routed=self._routed[0],
        )

    def _better(self, than: PlanRequest) -> None:
        """Have something better looked for than the plan just taken, in the situation that it was made for."""
        observed = self._observe()
        if observed is None:
            return
        request = self._question(observed, hurried=False)
        if request.situation != than.situation:
            # Another answer is on its way, and asks again.
            return
        if not self._optimises:
            self._optimises = True
            self._optimiser.start()
        self._optimiser.ask(request)

    def _deliver(self, request: PlanRequest, answer: Answer) -> None:
        """The planner's answer, in the planner's thread."""
        self._runtime.call_soon(lambda: self._planned(request, answer))

    def _planned(self, request: PlanRequest, answer: Answer) -> None:
        if request is self._foresight.request:
            if (waiting := self._foresight.answered(answer)) is not None:
                self._use_foresight(waiting)
            return
        self._events.counts["plans"] += 1
        if not self._is_current(request):
            return
        try:
            self._take(request, answer)
        except Exception as error:
            log.exception("a plan was not taken")
            self._fail(request, f"{type(error).__name__}: {error}; the log has more, report it")

    def _is_current(self, request: PlanRequest) -> bool:
        """Whether an answer still counts: it is the latest asked for, or uses nothing that has gone since.

        On a fabric that changes faster than plans are made, every answer is a little late; without the late ones
        nothing would ever be installed.
        """
        latest = self._request
        if latest is None or _paths(request.active) != _paths(self.plan):
            return False
        if request is latest:
            return True
        if not request.hurried:
            return request.situation == latest.situation
        there = latest.fabric.link_by_id
        alive = all(link.id in there and there[link.id].target == link.target for link in request.fabric.links)
        return alive and (request.jobs, request.unreachable) == (latest.jobs, latest.unreachable)

    # ── taking and installing ────────────────────────────────────────────────────────────────────

    def _take(self, request: PlanRequest, answer: Answer) -> None:
        if isinstance(answer, HeddleError):
            self._fail(request, str(answer))
            return
        for name, reason in answer.failures.items():
            self._events.note("job-unplanned", f"job {name} takes default routing: {reason}")
        moved = _moved(self.plan, answer.plan, request.jobs)
        if _lasting(answer.plan) != _lasting(self.plan) or answer.detours != self._detours:
            given_up = _pushed(self.plan, self._detours) - _pushed(answer.plan, answer.detours)
            try:
                # Committed before any ingress flips, so that a restart finds what the switches may hold.
                self._store.save_plan(answer.plan, answer.detours, given_up)
            except HeddleError as error:
                self._fail(request, str(error))
                return
            self._resting.give_up(given_up, self._runtime.now_s())
            if _paths(answer.plan) != _paths(self.plan):
                self._lacking |= _switches(answer.plan)
        self.plan = answer.plan
        self._detours = answer.detours
        self._solved_on = answer.solved_on
        self._answered = (request, answer)
        if answer.rerouted:
            self._routed = (answer.routed, request.fabric)
            self._next = (lambda: self._better(request)) if answer.betterable else None
        else:
            # Pairs came first; the rest still goes round the cable that was lost.
            self._next = lambda: self.ask(anew=True)
        self.jobs.planned(request.jobs, answer, moved)
        self.installer.aim(self._target(request, answer))
        self._changed()
        if request is not self._request and _paths(request.active) != _paths(self.plan):
            # The latest question builds on a plan that is no more.
            self.ask(anew=True)

    def _target(self, request: PlanRequest, answer: PlanAnswer) -> Target:
        known = _paths(request.active) == _paths(self._followed)
        links = request.fabric.link_by_id
        paths = ((links[link] for link in path.links if link in links) for path in _paths(self._followed))
        return Target(
            answer.rules,
            request.unreachable,
            self._resting.of(request.unreachable),
            plan=answer.plan,
            fabric=self._routed[1],
            moves=moves(request.fabric, self._followed, answer.plan),
            flips=answer.flips if known else None,
            queue_s=self._queue_s(paths),
        )

    def _queue_s(self, paths: Iterable[Iterable[Link]]) -> float:
        """What packets may spend in queues: as long as these are, where that is configured."""
        buffer_bytes = self._config.routing.buffer_bytes
        return DRAIN_S if buffer_bytes is None else queue_s(paths, buffer_bytes)

    def _fail(self, request: PlanRequest, reason: str) -> None:
        self._events.note("plan-failed", f"no new plan, the rules in force stay: {reason}")
        self.jobs.failed(request.jobs, reason)
        self._retry_s = self._runtime.now_s() + REPLAN_S

    def _installed(self, outcome: Outcome) -> None:
        self._events.counts["installations"] += outcome.cleared or bool(outcome.errors)
        self._events.counts["rule-changes"] += outcome.changed
        crowded, times = self._crowded
        self._crowded = (frozenset(outcome.errors), times + 1) if outcome.crowded else (frozenset(), 0)
        for name, error in outcome.errors.items():
            if name not in crowded:
                self._events.note("install-failed", f"{name}: {error}")
        for name in sorted(outcome.refused):
            self._leave(name)
        if outcome.errors:
            # What does not fit will not soon; another plan may, and is asked for when there is reason to.
            self._retry_s = self._runtime.now_s() + (_pause_s(times + 1) if outcome.crowded else RETRY_S)
        for name in outcome.served:
            self._refusals.pop(name, None)
        if outcome.follows is Follows.NEW:
            self._followed = outcome.target.plan
        if self._answered is None or outcome.target.rules is not self._answered[1].rules:
            return
        if outcome.errors:
            self.jobs.not_installed("; ".join(f"{name}: {error}" for name, error in outcome.errors.items()))
        else:
            self.carries = True
            self._lacking -= outcome.served
            self.jobs.installed(self._answered[0].jobs, cleared=outcome.cleared)
        self._changed()
        following, self._next = self._next, None
        if following is not None:
            following()

    def _leave(self, name: str) -> None:
        """Plan without a switch that takes no rules, for longer each time, so that it does not hold up the others."""
        self._refusals[name] = refusals = self._refusals.get(name, 0) + 1
        wait_s = _pause_s(refusals)
        self._left_until_s[name] = self._runtime.now_s() + wait_s
        self._events.note("switch-left", f"switch {name} does not take its rules; it is left for {wait_s:g} s")


def _pause_s(failures: int) -> float:
    """Wait after so many failures in a row."""
    return REPLAN_S * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)


def _moved(old: PlanStatus | None, new: PlanStatus | None, jobs: Sequence[Job]) -> frozenset[str]:
    """Jobs that have a pair whose path differs between two plans, whichever job the path was planned for."""
    before, after = _paths(old), _paths(new)
    # Most paths of a plan stay, and stay where they were: those are compared without hashing.
    stays = [one is other or one == other for one, other in zip(before, after, strict=False)]
    others = (
        frozenset(path for path, same in zip_longest(paths, stays) if path and not same) for paths in (before, after)
    )
    changed = {(path.source, path.target) for path in frozenset.symmetric_difference(*others)}
    changed |= {(target, source) for source, target in changed}
    return frozenset(job.name for job in jobs if not changed.isdisjoint(job_pairs(job)))


def _lasting(plan: PlanStatus | None) -> PlanStatus | None:
    """A plan without what every snapshot changes."""
    return replace(plan, fabric_version=0) if plan is not None else None


def _switches(plan: PlanStatus | None) -> frozenset[str]:
    """Switches on a plan's paths."""
    return frozenset(link.node for path in _paths(plan) for link in path.links[1:])


def _paths(plan: PlanStatus | None) -> tuple[PlannedPath, ...]:
    return plan.paths if plan is not None else ()


def _pushed(plan: PlanStatus | None, detours: Mapping[Tunnel, int]) -> frozenset[Pushed]:
    """The labels of a plan and of its detours, each with every switch that pushes it."""
    paths = {Pushed(path.label, path.links[1].node) for path in _paths(plan)}
    return frozenset(paths | {Pushed(label, tunnel.links[0].node) for tunnel, label in detours.items()})
