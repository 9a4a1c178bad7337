"""Every error of the API as problem details (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from controller.api_models import Problem
from controller.service import DuplicateJob, NotReady, UnknownJob, UnknownSwitch
from topologies.errors import HeddleError, InputError

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"


class Refused(HeddleError):
    """The API refuses a request before the daemon sees it."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response with problem details."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    extra = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(body.model_dump(), status, {**extra, **(headers or {})}, PROBLEM_JSON)


def install(app: FastAPI) -> None:
    """Make the application answer every error with problem details."""
    for kind, status in (
        (UnknownJob, HTTPStatus.NOT_FOUND),
        (UnknownSwitch, HTTPStatus.NOT_FOUND),
        (DuplicateJob, HTTPStatus.CONFLICT),
        (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
        (NotReady, HTTPStatus.SERVICE_UNAVAILABLE),
        (HeddleError, HTTPStatus.INTERNAL_SERVER_ERROR),
    ):
        app.add_exception_handler(kind, _answer_with(status))
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(Exception, _unexpected)


def _answer_with(status: HTTPStatus) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        return problem(status, str(error))

    return answer


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(status, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"nothing is at {request.url.path}; see /api/v1/openapi.json"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "other methods")
        detail = f"{request.url.path} does not take {request.method}; it takes {allowed}"
    else:
        detail = str(error.detail)
    return problem(error.status_code, detail, error.headers)


async def _bad_parameter(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"parameter {name!r}: {first['msg']}")


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the daemon failed on this request; its log says why")
