"""Troublemakers in a process of their own, so that what they do costs the measuring event loop nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

from topologies.errors import HeddleError

T = TypeVar("T")

_END_S = 10.0


class Cue:
    """The child's end: says that it is ready, and waits for its cues."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def ready(self) -> None:
        """Say that everything is prepared, and wait until it shall begin."""
        self._pipe.send(("ready", None))
        await self.given()

    async def given(self) -> None:
        """Wait for the next cue."""
        await asyncio.to_thread(self._pipe.recv)


class Apart(Generic[T]):
    """An asynchronous function that runs in another process.

    Parameters
    ----------
    function : callable
        Takes a `Cue` and the arguments, calls `Cue.ready` once; importable, and so are its arguments.
    """

    def __init__(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function, arguments), daemon=True)
        self._theirs = theirs

    async def __aenter__(self) -> Apart[T]:
        self._process.start()
        self._theirs.close()
        await self._receive("ready")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        await asyncio.to_thread(self._process.join, _END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def cue(self) -> None:
        """Let it begin, or go on."""
        self._pipe.send(None)

    async def result(self) -> T:
        """Wait for what the function returns.

        Raises
        ------
        HeddleError
            It failed.
        """
        result: T = await self._receive("result")
        return result

    async def _receive(self, wanted: str) -> Any:
        try:
            kind, value = await asyncio.to_thread(self._pipe.recv)
        except EOFError:
            raise HeddleError("a process of the benchmark ended without a word; look above for its traceback") from None
        if kind != wanted:
            raise HeddleError(f"a process of the benchmark failed: {value}")
        return value


def _serve(
    pipe: Connection, function: Callable[..., Coroutine[Any, Any, object]], arguments: tuple[object, ...]
) -> None:
    try:
        pipe.send(("result", asyncio.run(function(Cue(pipe), *arguments))))
    except Exception as error:
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
