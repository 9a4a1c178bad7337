"""Carries each switch's OpenFlow connection from its local socket to the daemon's TCP address.

The switches live in a network namespace where the daemon's loopback address does not exist; the file
system is shared, so they connect to sockets there. While the daemon is away a switch's connection is
closed at once and Open vSwitch tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from pathlib import Path

from topologies.errors import HeddleError

_CHUNK_BYTES = 1 << 16


class Relay:
    """A thread that copies bytes both ways; each direction holds one chunk at most, then waits.

    Parameters
    ----------
    sockets : paths
        Where switches connect; made by `start`, removed by `stop`.
    address : (str, int)
        The daemon's OpenFlow address.
    """

    def __init__(self, sockets: Iterable[Path], address: tuple[str, int]) -> None:
        self._sockets = tuple(sockets)
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._serve, name="openflow-relay", daemon=True)
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Listen on all sockets.

        Raises
        ------
        HeddleError
            A socket cannot be made.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise HeddleError(f"the OpenFlow relay cannot listen: {self._failure}")

    def stop(self) -> None:
        """Close all connections and remove the sockets."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        for path in self._sockets:
            path.unlink(missing_ok=True)

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._listen())
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        servers = []
        try:
            for path in self._sockets:
                path.unlink(missing_ok=True)
                servers.append(await asyncio.start_unix_server(self._accept, path, limit=_CHUNK_BYTES))
        except OSError as error:
            self._failure = error
        self._ready.set()
        if self._failure is None:
            await self._stopping.wait()
        for server in servers:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._address, limit=_CHUNK_BYTES)
            except OSError:
                return
            with contextlib.closing(far_writer):
                directions = (
                    asyncio.ensure_future(_copy(reader, far_writer)),
                    asyncio.ensure_future(_copy(far_reader, writer)),
                )
                try:
                    await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for direction in directions:
                        direction.cancel()
                    await asyncio.gather(*directions, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
