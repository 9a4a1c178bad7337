"""The job table: what users asked for and how far each job is."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from controller.planning import PlanAnswer
from controller.service import DuplicateJob, JobState, JobStatus, UnknownJob
from controller.store import Store
from topologies.errors import InputError
from topologies.fabric import Fabric
from workloads.job import Job

MAX_JOBS = 1024


class JobTable:
    """Jobs by name, in the order in which they came; every change of the set is in the store first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: dict[str, JobStatus] = {job.name: JobStatus(job, JobState.PLANNING) for job in store.jobs()}

    def statuses(self) -> tuple[JobStatus, ...]:
        """All jobs as they are."""
        return tuple(self._jobs.values())

    def wanted(self) -> tuple[Job, ...]:
        """The jobs that a plan should serve."""
        return tuple(status.job for status in self._jobs.values() if status.state is not JobState.REMOVING)

    def submit(self, job: Job, fabric: Fabric, hosts: AbstractSet[str]) -> JobStatus:
        """Take a job in.

        Parameters
        ----------
        hosts : set of str
            Every host known by name, attached or not.

        Raises
        ------
        DuplicateJob
            A job of this name exists.
        InputError
            A rank's host is unknown, or there are too many jobs.
        """
        if job.name in self._jobs:
            raise DuplicateJob(f"job {job.name!r} exists already; delete it first or choose another name")
        if len(self._jobs) >= MAX_JOBS:
            raise InputError(f"there are {MAX_JOBS} jobs already; delete one first")
        for rank, host in enumerate(job.ranks):
            if host not in hosts and host not in fabric.node_by_id:
                raise InputError(
                    f"job {job.name!r} puts rank {rank} on {host!r}, which is no known host; see 'heddle hosts'"
                )
            if host not in hosts:
                raise InputError(f"job {job.name!r} puts rank {rank} on {host!r}, which is a switch")
        self._store.save_job(job)
        self._jobs[job.name] = JobStatus(job, JobState.PLANNING)
        return self._jobs[job.name]

    def remove(self, name: str) -> JobStatus:
        """Begin to take a job away.

        Raises
        ------
        UnknownJob
            No job has this name.
        """
        if name not in self._jobs:
            raise UnknownJob(f"no job is named {name!r}; see 'heddle jobs'")
        self._store.delete_job(name)
        self._jobs[name] = replace(self._jobs[name], state=JobState.REMOVING, reason="", share=None)
        return self._jobs[name]

    def forget(self, name: str) -> None:
        """A job on its way out has no rules left."""
        self._jobs.pop(name, None)

    def planned(self, jobs: Sequence[Job], answer: PlanAnswer, moved: AbstractSet[str]) -> None:
        """A plan for these jobs is about to be installed; an active job that did not move stays active."""
        for job in jobs:
            status = self._current(job)
            if status is None:
                continue
            reason = answer.failures.get(job.name)
            if reason is not None:
                self._jobs[job.name] = replace(status, state=JobState.FAILED, reason=reason, share=None)
            else:
                share = answer.plan.share if answer.plan is not None else None
                stays = status.state is JobState.ACTIVE and job.name not in moved
                state = JobState.ACTIVE if stays else JobState.INSTALLING
                self._jobs[job.name] = replace(status, state=state, reason="", share=share)

    def failed(self, jobs: Sequence[Job], reason: str) -> None:
        """No plan was found for these jobs; those that have rules in force keep them."""
        for job in jobs:
            status = self._current(job)
            if status is not None and status.state is not JobState.ACTIVE:
                self._jobs[job.name] = replace(status, state=JobState.FAILED, reason=reason)

    def not_installed(self, reason: str) -> None:
        """An installation failed; it will be tried again."""
        for name, status in self._jobs.items():
            if status.state is JobState.INSTALLING:
                self._jobs[name] = replace(status, reason=reason)

    def installed(self, jobs: Sequence[Job], *, cleared: bool) -> None:
        """The rules that serve these jobs are on every switch, and where ``cleared``, no others any more."""
        served = {job.name for job in jobs}
        for name, status in list(self._jobs.items()):
            if status.state is JobState.REMOVING and name not in served and cleared:
                del self._jobs[name]
            elif status.state is JobState.INSTALLING and name in served:
                self._jobs[name] = replace(status, state=JobState.ACTIVE, reason="")

    def _current(self, job: Job) -> JobStatus | None:
        status = self._jobs.get(job.name)
        return status if status is not None and status.job == job and status.state is not JobState.REMOVING else None
