"""Planning in a process of its own: one at a time, the newest request wins, a deadline kills."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Protocol, TypeAlias

from controller.answers import Lengthener, ShortAnswer, Shortener
from controller.planmemory import PlanMemory
from controller.planning import PlanAnswer, PlanRequest, make_plan
from topologies.errors import HeddleError

log = logging.getLogger(__name__)

Answer: TypeAlias = PlanAnswer | HeddleError
Deliver: TypeAlias = Callable[[PlanRequest, Answer], None]

_IDLE_S = 0.5
_MOST_UNCOLLECTED = 50
"""Plans after which garbage is collected though the next one waits: a planner may never be idle."""


class PlanMaker(Protocol):
    """What answers plan requests, some time after each."""

    def start(self) -> None: ...
    def ask(self, request: PlanRequest) -> None: ...
    def stop(self) -> None: ...


def _work(pipe: Connection) -> None:
    """Answer requests until the other end of the pipe is gone (the daemon stopped or died)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory, shortener = PlanMemory(), Shortener()
    # Collections would come in the middle of a plan; they come while nobody waits for one.
    gc.disable()
    uncollected = 0
    while True:
        try:
            if not pipe.poll(_IDLE_S) or uncollected >= _MOST_UNCOLLECTED:
                gc.collect()
                uncollected = 0
            uncollected += 1
            request: PlanRequest = shortener.whole_request(pipe.recv())
        except (EOFError, OSError):
            return
        answer: ShortAnswer | HeddleError
        try:
            answer = shortener.shorten(make_plan(request, memory))
        except HeddleError as error:
            # Not the error itself: one that carries data cannot be unpickled again.
            answer = HeddleError(str(error))
        except Exception as error:
            answer = _unexpected(error)
        try:
            pipe.send(answer)
        except (BrokenPipeError, OSError):
            return
        del request, answer


def _unexpected(error: Exception) -> HeddleError:
    log.exception("planning failed")
    return HeddleError(f"planning failed with {type(error).__name__}: {error}; see the log and report it")


class Planner:
    """A worker process behind an ordinary thread.

    Parameters
    ----------
    deliver : callable
        Called in the planner's thread with the request and its answer; it passes them on to the thread
        that owns the state.
    deadline_s : float
        A plan that takes longer is given up: the process is killed and started again. May be changed at any time,
        for the plans after that.
    """

    def __init__(self, deliver: Deliver, deadline_s: float = 60.0) -> None:
        self._deliver = deliver
        self.deadline_s = deadline_s
        self._wake = threading.Condition()
        self._next: PlanRequest | None = None
        self._stopped = False
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._lengthener = Lengthener()
        self._thread = threading.Thread(target=self._run, name="planner", daemon=True)

    def start(self) -> None:
        """Start the thread and the process (its imports take a second or two)."""
        self._thread.start()

    def ask(self, request: PlanRequest) -> None:
        """Plan this next; a request that still waits is replaced, for it is out of date."""
        with self._wake:
            self._next = request
            self._wake.notify()

    def stop(self) -> None:
        """End the process and the thread."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if (process := self._process) is not None:
            # Wakes the thread where it waits for an answer.
            process.kill()
        if self._thread.ident is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        try:
            self._start_process()
        except Exception:
            log.exception("the planning process does not start; it is tried again with the first plan")
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopped or self._next is not None)
                if self._stopped:
                    break
                request, self._next = self._next, None
            if request is not None:
                self._deliver(request, self._answer(request))
        self._end_process()

    def _answer(self, request: PlanRequest) -> Answer:
        try:
            return self._plan(request)
        except Exception as error:
            # Whatever failed here, memory or descriptors perhaps, the next request must find a thread.
            self._end_process()
            return _unexpected(error)

    def _plan(self, request: PlanRequest) -> Answer:
        if self._process is None or not self._process.is_alive():
            self._start_process()
        pipe = self._pipe
        if pipe is None:
            return HeddleError("the planning process did not start; see the log")
        try:
            pipe.send(self._lengthener.short_request(request))
            if pipe.poll(self.deadline_s):
                answer: ShortAnswer | HeddleError = pipe.recv()
                return self._lengthener.lengthen(answer) if isinstance(answer, ShortAnswer) else answer
        except (EOFError, OSError):
            self._end_process()
            return HeddleError("the planning process ended without an answer; it starts again with the next plan")
        self._end_process()
        return HeddleError(f"planning took longer than {self.deadline_s:g} s and was given up")

    def _start_process(self) -> None:
        self._end_process()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), name="heddle-planner", daemon=True)
        process.start()
        theirs.close()
        self._pipe, self._process, self._lengthener = ours, process, Lengthener()
        if self._stopped:
            self._end_process()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(timeout=10)
