"""What the API refuses before it looks at a request: browsers' cross-site requests and bodies too large."""

from __future__ import annotations

import asyncio
import ipaddress
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.problems import problem

BODY_TIMEOUT_S = 30.0


class Guard:
    """ASGI middleware in front of everything else.

    The API has no log-in yet. So any request that a web page made (it carries ``Origin``), or that
    reached loopback by a foreign name (DNS rebinding: the ``Host`` is not a loopback one), is refused.

    Parameters
    ----------
    max_body_bytes : int
        Largest request body.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if "origin" in headers:
            refusal = problem(HTTPStatus.FORBIDDEN, "requests made by web pages (with an Origin header) are refused")
        elif len(hosts) != 1 or not is_loopback_name(hosts[0]):
            refusal = problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "the Host header must name this machine: localhost or a loopback address",
            )
        else:
            body = await self._body(headers, receive)
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), send)
                return
            detail = (
                f"the request body is larger than {self._max_body_bytes} bytes"
                if body is HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                else f"the request body did not arrive within {BODY_TIMEOUT_S:g} s"
            )
            refusal = problem(body, detail, {"Connection": "close"})
        await refusal(scope, receive, send)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | HTTPStatus:
        """The whole body, or the status with which to refuse it."""
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_body_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while True:
                    message = await receive()
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > self._max_body_bytes:
                        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            return HTTPStatus.REQUEST_TIMEOUT


def is_loopback_name(host: str) -> bool:
    """Whether a Host header, with or without port, names this machine and nothing else."""
    name, colon, port = host.rpartition(":")
    if not (colon and port.isdecimal()):
        name = host
    if name.lower() == "localhost":
        return True
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
