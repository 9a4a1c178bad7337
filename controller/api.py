"""The REST API: an application on loopback, served by an ordinary thread."""

from __future__ import annotations

import errno
import logging
import socket
import threading

import uvicorn
from fastapi import FastAPI

from controller import problems
from controller.api_routes import PREFIX, cordons_routes, events_routes, jobs_routes, operations_routes, reads_routes
from controller.endpoint import Endpoint
from controller.guard import Guard
from controller.service import Service
from controller.version import version
from topologies.errors import HeddleError, InputError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 << 20
WRITE_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 256
STOP_TIMEOUT_S = 5


def create_app(
    service: Service,
    *,
    stopping: threading.Event | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    write_timeout_s: float = WRITE_TIMEOUT_S,
) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    stopping : threading.Event, optional
        Once set, event streams end.
    max_body_bytes : int
        Largest request body.
    write_timeout_s : float
        How long a request waits for the OpenFlow thread.
    """
    app = FastAPI(
        title="Heddle",
        version=version(),
        openapi_url=f"{PREFIX}/openapi.json",
        # The documentation pages load their scripts from a public network; a cluster's has often none.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(reads_routes(service), prefix=PREFIX)
    app.include_router(jobs_routes(service, write_timeout_s), prefix=PREFIX)
    app.include_router(cordons_routes(service, write_timeout_s), prefix=PREFIX)
    app.include_router(events_routes(service, stopping or threading.Event()), prefix=PREFIX)
    app.include_router(operations_routes(service))
    problems.install(app)
    app.add_middleware(Guard, max_body_bytes=max_body_bytes)
    return app


class ApiServer:
    """The API on a socket, served by an ordinary thread.

    Parameters
    ----------
    address : str
        A loopback IP address, or ``localhost``.
    port : int
        0 lets the system choose; `port` then says which.

    Raises
    ------
    InputError
        The address is no loopback address.
    """

    def __init__(self, service: Service, address: str, port: int) -> None:
        self._endpoint = Endpoint.parse(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        if not self._endpoint.is_loopback:
            raise InputError(f"the API has no log-in yet, so it listens on loopback addresses only, not on {address}")
        self._stopping = threading.Event()
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(service, stopping=self._stopping),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=STOP_TIMEOUT_S,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return self._endpoint.port

    @property
    def url(self) -> str:
        return self._endpoint.url

    def start(self) -> None:
        """Listen; connections are taken from the moment this returns.

        Raises
        ------
        HeddleError
            The port is taken, not allowed, or the address is not this machine's.
        """
        listener = _listen(self._endpoint)
        self._endpoint = self._endpoint._replace(port=listener.getsockname()[1])
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="api", daemon=True)
        self._thread.start()
        log.info("the API listens on %s", self.url)

    def stop(self) -> None:
        """Stop listening, end streams, and wait for requests under way."""
        self._stopping.set()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(2 * STOP_TIMEOUT_S)


def _listen(endpoint: Endpoint) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(endpoint)
        listener.listen(MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        reason = {
            errno.EADDRINUSE: "another program uses this port; stop it or choose another with --api",
            errno.EACCES: "this port needs root; choose one above 1023 with --api",
            errno.EADDRNOTAVAIL: "this machine has no such address; choose another with --api",
        }.get(error.errno or 0, error.strerror)
        raise HeddleError(f"the API cannot listen on {endpoint}: {reason}") from None
    return listener
