"""The routes of the REST API: each asks the daemon's service and words the answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ValidationError

from controller import metrics
from controller.api_models import (
    CordonsChange,
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
from controller.problems import PROBLEM_JSON, Refused
from controller.service import NotReady, Service, UnknownJob, UnknownSwitch
from controller.version import version
from dataplane.files import switch_to_json
from topologies.errors import InputError
from topologies.fabric import LinkId
from topologies.files import fabric_to_json
from topologies.located import explain, first_error
from workloads.files import JobFile

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

PREFIX = "/api/v1"
MAX_EVENT_STREAMS = 64
EVENT_POLL_S = 0.2
MOST_FLOWS = 2_000
"""In one answer with rules, unless one switch has more: while it is written the daemon does little else."""
HEARTBEAT_S = 15.0

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details (RFC 9457)",
        "content": {PROBLEM_JSON: {"schema": Problem.model_json_schema()}},
    }
}
_JOB_SCHEMA = JobFile.model_json_schema()
_JOB_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _JOB_SCHEMA}}}}
_CORDONS_SCHEMA = CordonsChange.model_json_schema()
_CORDONS_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _CORDONS_SCHEMA}}}}


async def _known_parameters(request: Request) -> None:
    """Refuse what would be ignored: whoever misspells ``after`` is not to take all events for the new ones."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        takes = f"it takes {', '.join(map(repr, known))}" if known else "it takes none"
        raise InputError(f"parameter {unknown!r} is not one of {request.url.path}; {takes}")


def reads_routes(service: Service) -> APIRouter:
    """What the daemon sees and does."""
    router = APIRouter(responses=_PROBLEMS, dependencies=[Depends(_known_parameters)])

    @router.get("/fabric", summary="The fabric as networkx node-link data")
    async def fabric() -> JSONResponse:
        snapshot = service.fabric()
        return JSONResponse({**fabric_to_json(snapshot), "graph": {"version": snapshot.version}})

    @router.get("/switches")
    async def switches() -> list[SwitchInfo]:
        return [SwitchInfo.of(switch) for switch in service.switches()]

    @router.get("/links")
    async def links() -> list[LinkInfo]:
        return [LinkInfo.of(link) for link in service.links()]

    @router.get("/hosts")
    async def hosts() -> list[HostInfo]:
        return [HostInfo.of(host) for host in service.hosts()]

    @router.get("/rules", summary="What is in the switches' tables, a part at a time", response_model=RulesInfo)
    async def rules(
        switch: Annotated[str | None, Query()] = None, first: Annotated[str, Query(alias="from")] = ""
    ) -> JSONResponse:
        known = service.rules()
        if switch is not None and switch not in known:
            raise UnknownSwitch(f"no rules are known of {switch!r}, since no switch of this name is connected")
        chosen = [switch] if switch is not None else sorted(name for name in known if name >= first)
        shown: list[dict[str, Any]] = []
        flows = 0
        for name in chosen:
            if shown and flows + len(known[name].flows) > MOST_FLOWS:
                return JSONResponse({"switches": shown, "next": name})
            flows += len(known[name].flows)
            shown.append(switch_to_json(name, known[name]))
        return JSONResponse({"switches": shown, "next": None})

    @router.get("/plan", summary="The active plan; null without one")
    async def plan() -> PlanInfo | None:
        active = service.plan()
        return PlanInfo.of(active) if active is not None else None

    return router


def jobs_routes(service: Service, timeout_s: float) -> APIRouter:
    """Jobs: list, submit, remove."""
    router = APIRouter(responses=_PROBLEMS, dependencies=[Depends(_known_parameters)])

    @router.get("/jobs")
    async def jobs() -> list[JobInfo]:
        return [JobInfo.of(status) for status in service.jobs()]

    @router.get("/jobs/{name}")
    async def job(name: str) -> JobInfo:
        for status in service.jobs():
            if status.job.name == name:
                return JobInfo.of(status)
        raise UnknownJob(f"no job is named {name!r}; see 'heddle jobs'")

    @router.post("/jobs", status_code=HTTPStatus.CREATED, openapi_extra=_JOB_BODY)
    async def submit(request: Request, response: Response) -> JobInfo:
        job = _read("a job", JobFile, request.headers.get("content-type", ""), await request.body())
        status = await _answer(service.submit_job(job.to_job()), timeout_s)
        response.headers["Location"] = f"{PREFIX}/jobs/{status.job.name}"
        return JobInfo.of(status)

    @router.delete("/jobs/{name}", status_code=HTTPStatus.ACCEPTED)
    async def remove(name: str) -> JobInfo:
        return JobInfo.of(await _answer(service.remove_job(name), timeout_s))

    return router


def cordons_routes(service: Service, timeout_s: float) -> APIRouter:
    """Links kept clear, as for work on them."""
    router = APIRouter(responses=_PROBLEMS, dependencies=[Depends(_known_parameters)])

    @router.get("/cordons", summary="Links that are kept clear, both directions of each cable")
    async def cordons() -> list[str]:
        return [str(link.source) for link in service.links() if link.cordoned]

    @router.post("/cordons", openapi_extra=_CORDONS_BODY)
    async def change(request: Request) -> list[str]:
        wanted = _read("a change", CordonsChange, request.headers.get("content-type", ""), await request.body())
        cordon, uncordon = (tuple(map(LinkId.parse, links)) for links in (wanted.cordon, wanted.uncordon))
        return [str(link) for link in await _answer(service.change_cordons(cordon, uncordon), timeout_s)]

    return router


def _read(what: str, model: type[M], content_type: str, body: bytes) -> M:
    # Read here and not by the framework: its own reading takes NaN for a number and other bodies for JSON.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {what} as JSON, with Content-Type: application/json")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InputError(explain(first_error(error), model)) from None


async def _answer(future: Future[T], timeout_s: float) -> T:
    """Await the OpenFlow thread; it finishes what it began even if nobody waits any more."""
    wrapped = asyncio.wrap_future(future)
    done, _ = await asyncio.wait({wrapped}, timeout=timeout_s)
    if not done:
        raise NotReady(f"the daemon did not get to this within {timeout_s:g} s; it may still do it")
    return wrapped.result()


def events_routes(service: Service, stopping: threading.Event) -> APIRouter:
    """What happened, as a list or as it happens."""
    router = APIRouter(responses=_PROBLEMS, dependencies=[Depends(_known_parameters)])
    open_streams = 0

    @router.get(
        "/events",
        summary="Events since an id; with Accept: text/event-stream also those to come",
        response_model=list[EventInfo],
    )
    async def events(
        after: Annotated[int, Query(ge=0)] = 0,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[int | None, Header(ge=0)] = None,
    ) -> Any:
        if "text/event-stream" not in accept:
            return [EventInfo.of(event) for event in service.events(after)]
        if open_streams >= MAX_EVENT_STREAMS:
            raise NotReady(f"{MAX_EVENT_STREAMS} event streams are open already; close one")
        first = after if last_event_id is None else last_event_id
        return StreamingResponse(
            stream(first), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )  # fmt: skip

    async def stream(after: int) -> AsyncIterator[str]:
        nonlocal open_streams
        open_streams += 1
        loop = asyncio.get_running_loop()
        spoke_s = loop.time()
        try:
            yield ": events\n\n"
            while not stopping.is_set():
                for event in service.events(after):
                    after, spoke_s = event.id, loop.time()
                    yield f"id: {event.id}\ndata: {EventInfo.of(event).model_dump_json()}\n\n"
                if loop.time() - spoke_s >= HEARTBEAT_S:
                    spoke_s = loop.time()
                    yield ": still here\n\n"
                await asyncio.sleep(EVENT_POLL_S)
        finally:
            open_streams -= 1

    return router


def operations_routes(service: Service) -> APIRouter:
    """For those who keep the daemon running: alive, ready, measured."""
    router = APIRouter(responses=_PROBLEMS)

    @router.get("/healthz", summary="The API answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": version()}

    @router.get("/readyz", summary="The daemon carries traffic as asked, else 503", response_model=ReadinessInfo)
    async def readyz() -> Any:
        readiness = service.readiness()
        if not readiness.ready:
            raise NotReady(readiness.reason)
        return ReadinessInfo.of(readiness)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics_() -> Response:
        return Response(metrics.exposition(service), media_type=metrics.CONTENT_TYPE)

    return router
