"""A small typed client of the daemon's REST API, for the command line and the emulator."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from controller.api_models import (
    EventInfo,
    HostInfo,
    JobInfo,
    LinkInfo,
    PlanInfo,
    Problem,
    ReadinessInfo,
    RulesInfo,
    SwitchInfo,
)
from controller.service import JobState
from dataplane.files import RulesFile, rules_of
from dataplane.rules import RuleSet
from topologies.errors import HeddleError, InputError
from topologies.fabric import Fabric
from topologies.files import fabric_from_json
from workloads.files import JobFile
from workloads.job import Job

__all__ = ["DEFAULT_URL", "ApiError", "Client", "DaemonUnreachable", "JobState", "RequestRefused"]

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 15.0
POLL_S = 0.1
STREAM_TIMEOUT_S = 60.0
"""A stream in which not even a sign of life came for this long is dead."""

_READINESS = TypeAdapter(ReadinessInfo)
_SWITCHES = TypeAdapter(tuple[SwitchInfo, ...])
_LINKS = TypeAdapter(tuple[LinkInfo, ...])
_LINK_IDS = TypeAdapter(tuple[str, ...])
_HOSTS = TypeAdapter(tuple[HostInfo, ...])
_JOBS = TypeAdapter(tuple[JobInfo, ...])
_JOB = TypeAdapter(JobInfo)
_RULES = TypeAdapter(RulesInfo)
_PLAN: TypeAdapter[PlanInfo | None] = TypeAdapter(PlanInfo | None)
_EVENT = TypeAdapter(EventInfo)
_EVENTS = TypeAdapter(tuple[EventInfo, ...])
_COUNTER = re.compile(r'^heddle_events_total\{kind="([^"]+)"\} (\S+)$', re.MULTILINE)


class DaemonUnreachable(HeddleError):
    """No daemon answers."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(
            f"no daemon answers at {url} ({reason}); start one with 'heddle run' or name another with --api"
        )


class ApiError(HeddleError):
    """The daemon answered that it cannot do this.

    Attributes
    ----------
    problem : Problem
        Its problem details.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


class RequestRefused(ApiError, InputError):
    """The request is wrong: an unknown or duplicate name, or content that does not fit (HTTP 4xx)."""


class Client:
    """One daemon's API.

    Every method raises `DaemonUnreachable` where nobody answers, `RequestRefused` (an `InputError`)
    where the request is wrong, and `ApiError` where the daemon cannot do what was asked.

    Parameters
    ----------
    url : str
        Where the daemon's API is, with or without ``http://``: a loopback address.
    timeout_s : float
        For each request.
    """

    def __init__(self, url: str = DEFAULT_URL, timeout_s: float = TIMEOUT_S) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InputError(f"{url!r} is no URL ({error}); write http://ADDRESS:PORT") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError(f"{url!r} is no URL of an API; write http://ADDRESS:PORT")
        if not _is_loopback(parsed.host):
            raise InputError(
                f"{url!r} is another machine's, and a daemon without log-in answers on loopback addresses only; "
                "ask on its own machine"
            )
        # The environment's proxies are not for loopback.
        self._http = httpx.Client(base_url=parsed, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> bool:
        """Whether the API answers at all; raises nothing."""
        try:
            self._request("GET", "/healthz")
        except HeddleError:
            return False
        return True

    def ready(self) -> ReadinessInfo:
        """Whether the daemon carries traffic as asked, and if not, why."""
        try:
            return self._get("/readyz", _READINESS)
        except ApiError as error:
            if error.problem.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return ReadinessInfo(ready=False, reason=error.problem.detail)

    def fabric(self) -> Fabric:
        """The latest snapshot."""
        data = self._request("GET", "/api/v1/fabric").json()
        return replace(fabric_from_json(data, self.url), version=int(data["graph"]["version"]))

    def switches(self) -> tuple[SwitchInfo, ...]:
        """Switches, connected or declared."""
        return self._get("/api/v1/switches", _SWITCHES)

    def links(self) -> tuple[LinkInfo, ...]:
        """Directed links with their loads."""
        return self._get("/api/v1/links", _LINKS)

    def hosts(self) -> tuple[HostInfo, ...]:
        """Hosts known."""
        return self._get("/api/v1/hosts", _HOSTS)

    def jobs(self) -> tuple[JobInfo, ...]:
        """All jobs."""
        return self._get("/api/v1/jobs", _JOBS)

    def job(self, name: str) -> JobInfo:
        """One job."""
        return self._get(_job_path(name), _JOB)

    def submit_job(self, job: Job | JobFile) -> JobInfo:
        """Give the daemon a job; it is planned and installed afterwards."""
        content = (JobFile.from_job(job) if isinstance(job, Job) else job).model_dump(mode="json")
        return self._read(self._request("POST", "/api/v1/jobs", content), _JOB)

    def delete_job(self, name: str) -> JobInfo:
        """Have a job and its rules taken away; `wait_gone` says when that is done."""
        return self._read(self._request("DELETE", _job_path(name)), _JOB)

    def change_cordons(self, cordon: Iterable[str] = (), uncordon: Iterable[str] = ()) -> tuple[str, ...]:
        """Have cables kept clear, and others used again, in one step; all links that are cordoned then."""
        content = {"cordon": list(cordon), "uncordon": list(uncordon)}
        return self._read(self._request("POST", "/api/v1/cordons", content), _LINK_IDS)

    def rules(self, switch: str | None = None) -> RuleSet:
        """What is in the tables of all switches that are connected, or of one."""
        if switch is not None:
            pages = [self._get(f"/api/v1/rules?switch={quote(switch, safe='')}", _RULES)]
        else:
            pages = [self._get("/api/v1/rules", _RULES)]
            while (following := pages[-1].next) is not None:
                pages.append(self._get(f"/api/v1/rules?from={quote(following, safe='')}", _RULES))
        return rules_of(RulesFile(switches=tuple(one for page in pages for one in page.switches)), self.url)

    def plan(self) -> PlanInfo | None:
        """The active plan."""
        return self._get("/api/v1/plan", _PLAN)

    def events(self, after: int = 0) -> tuple[EventInfo, ...]:
        """The latest events, oldest first, with ids above ``after``."""
        return self._get(f"/api/v1/events?after={after}", _EVENTS)

    def follow_events(self, after: int = 0) -> Iterator[EventInfo]:
        """Events with ids above ``after``, and those to come, until the caller has enough or the daemon ends.

        Raises
        ------
        DaemonUnreachable
            Nobody answers, or no longer.
        """
        path = f"/api/v1/events?after={after}"
        with (
            self._reaching(),
            self._http.stream(
                "GET", path, headers={"Accept": "text/event-stream"}, timeout=STREAM_TIMEOUT_S
            ) as response,
        ):
            if not response.is_success:
                response.read()
                raise self._refusal(response, "GET", path)
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield self._parse(line.removeprefix("data: "), _EVENT)
        raise DaemonUnreachable(self.url, "it ended its stream of events")

    def counters(self) -> dict[str, int]:
        """What happened since the daemon's start, by kind, as its metrics have it."""
        text = self._request("GET", "/metrics").text
        return {kind: int(float(count)) for kind, count in _COUNTER.findall(text)}

    def wait_healthy(self, timeout_s: float) -> None:
        """Wait until the API answers, ready or not.

        Raises
        ------
        HeddleError
            It does not, in time.
        """
        self._wait(lambda: None if self.health() else "its API is silent", timeout_s, "no daemon answers", None)

    def wait_ready(self, timeout_s: float, progress: Callable[[str], None] | None = None) -> None:
        """Wait until the daemon is ready; it need not even listen yet.

        Parameters
        ----------
        progress : callable, optional
            Told what is being waited for, each time that changes.

        Raises
        ------
        HeddleError
            It is not ready in time; the message says what it waits for.
        """

        def check() -> str | None:
            try:
                readiness = self.ready()
            except DaemonUnreachable as error:
                return f"no daemon answers at {error.url} yet ({error.reason})"
            return None if readiness.ready else readiness.reason

        self._wait(check, timeout_s, "the daemon is not ready", progress)

    def wait_job(self, name: str, state: JobState, timeout_s: float) -> JobInfo:
        """Wait until a job has a state.

        Raises
        ------
        HeddleError
            The job failed instead, or is not there in time.
        """
        seen: list[JobInfo] = []

        def check() -> str | None:
            seen[:] = [self.job(name)]
            job = seen[0]
            if job.state is JobState.FAILED and state is not JobState.FAILED:
                raise HeddleError(f"job {name!r} failed: {job.reason}")
            return None if job.state is state else f"it is {job.state}" + (f" ({job.reason})" if job.reason else "")

        self._wait(check, timeout_s, f"job {name!r} is not {state}", None)
        return seen[0]

    def wait_gone(self, name: str, timeout_s: float) -> None:
        """Wait until a job and its rules are gone.

        Raises
        ------
        HeddleError
            They are not, in time.
        """

        def check() -> str | None:
            return f"it is {job.state}" if (job := self._find(name)) is not None else None

        self._wait(check, timeout_s, f"job {name!r} is not gone", None)

    def _find(self, name: str) -> JobInfo | None:
        return next((job for job in self.jobs() if job.name == name), None)

    @staticmethod
    def _wait(
        check: Callable[[], str | None], timeout_s: float, what: str, progress: Callable[[str], None] | None
    ) -> None:
        deadline_s = time.monotonic() + timeout_s
        told = None
        while (missing := check()) is not None:
            if progress is not None and missing != told:
                told = missing
                progress(missing)
            if time.monotonic() >= deadline_s:
                raise HeddleError(f"{what} after {timeout_s:g} s: {missing}")
            time.sleep(POLL_S)

    def _get(self, path: str, kind: TypeAdapter[T]) -> T:
        return self._read(self._request("GET", path), kind)

    def _read(self, response: httpx.Response, kind: TypeAdapter[T]) -> T:
        return self._parse(response.content, kind)

    def _parse(self, content: bytes | str, kind: TypeAdapter[T]) -> T:
        try:
            return kind.validate_json(content)
        except ValidationError:
            detail = f"{self.url} gave an answer that is not a Heddle daemon's; is another program there?"
            raise HeddleError(detail) from None

    def _request(self, method: str, path: str, content: object = None) -> httpx.Response:
        with self._reaching():
            response = self._http.request(method, path, json=content)
        if response.is_success:
            return response
        raise self._refusal(response, method, path)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise DaemonUnreachable(self.url, "it is silent") from None
        except httpx.TransportError as error:
            refused = isinstance(error, httpx.ConnectError)
            raise DaemonUnreachable(self.url, "nothing listens there" if refused else str(error)) from None

    def _refusal(self, response: httpx.Response, method: str, path: str) -> HeddleError:
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            detail = f"{self.url} answered {response.status_code} to {method} {path}; is another program there?"
            return HeddleError(detail)
        return (RequestRefused if response.is_client_error else ApiError)(problem)


def _job_path(name: str) -> str:
    return f"/api/v1/jobs/{quote(name, safe='')}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
