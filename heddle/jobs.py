"""``heddle jobs``: the jobs of a running daemon."""

from __future__ import annotations

from pathlib import Path

from controller.api_models import JobInfo
from controller.client import DEFAULT_URL, Client
from heddle.output import percent, print_json, print_table, rate
from workloads.collectives import job_pairs
from workloads.files import read_job
from workloads.job import Algorithm, Collective, Job


def list_jobs(url: str | None, *, as_json: bool) -> None:
    """Print all jobs."""
    with Client(url or DEFAULT_URL) as client:
        jobs = client.jobs()
    if as_json:
        print_json(jobs)
        return
    _print_jobs(jobs)


def submit_job(url: str | None, path: Path, *, as_json: bool) -> None:
    """Submit the job in a file and print what became of it."""
    job = read_job(path)
    with Client(url or DEFAULT_URL) as client:
        _print_job(client.submit_job(job), as_json=as_json)


def delete_job(url: str | None, name: str, *, as_json: bool) -> None:
    """Delete a job and print what became of it."""
    with Client(url or DEFAULT_URL) as client:
        _print_job(client.delete_job(name), as_json=as_json)


def show_job(url: str | None, name: str, *, as_json: bool) -> None:
    """Print a job and the paths planned for it."""
    with Client(url or DEFAULT_URL) as client:
        job, plan = client.job(name), client.plan()
    asked = Job(job.name, job.ranks, job.message_bytes, Collective(job.collective), Algorithm(job.algorithm))
    pairs = set(job_pairs(asked))
    # A pair that several jobs share has one path, planned under the name of one of them.
    paths = [
        path
        for path in (plan.paths if plan is not None else ())
        if path.job == name or (path.source, path.target) in pairs
    ]
    if as_json:
        print_json({**job.model_dump(mode="json"), "paths": [path.model_dump(mode="json") for path in paths]})
        return
    _print_jobs((job,))
    rows = [
        (path.source, path.target, str(path.label), rate(path.rate_bps), percent(path.share), " ".join(path.links))
        for path in paths
        if path.rate_bps
    ]
    print()
    print_table(("from", "to", "label>", "rate>", "share>", "links"), rows, "No path is planned for it.")


def _print_job(job: JobInfo, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        _print_jobs((job,))


def _print_jobs(jobs: tuple[JobInfo, ...]) -> None:
    rows = [
        (job.name, job.state, f"{job.algorithm} {job.collective}", str(len(job.ranks)), percent(job.share), job.reason)
        for job in jobs
    ]
    print_table(("job", "state", "collective", "ranks>", "of line rate>", "reason"), rows, "No job was submitted.")
