"""The planner with a real process: whatever happens to it, every request that counts is answered, and the next too."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from controller import planner
from controller.planner import Answer, Planner
from controller.planning import PlanAnswer, PlanRequest
from dataplane.compiler import DefaultRouting
from solver.routing import Objective
from topologies.errors import HeddleError
from topologies.fat_tree import fat_tree

PATIENCE_S = 60.0
REQUEST = PlanRequest(fat_tree(4, capacity_bps=1e9), {}, (), DefaultRouting.SHORTEST, 0.95, Objective.MIN_DELAY)


class Desk:
    """A planner with its answers in order."""

    def __init__(self) -> None:
        self.answers: queue.Queue[tuple[PlanRequest, Answer]] = queue.Queue()
        self.planner = Planner(lambda request, answer: self.answers.put((request, answer)), PATIENCE_S)

    def next(self) -> tuple[PlanRequest, Answer]:
        return self.answers.get(timeout=PATIENCE_S)

    def ask(self, request: PlanRequest = REQUEST) -> Answer:
        self.planner.ask(request)
        asked, answer = self.next()
        assert asked is request
        return answer


class Gate:
    """Keeps a worker busy: it stands in a request, and whoever unpickles it knocks and waits to be let in."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        address = self._listener.getsockname()
        return eval, (f"__import__('socket').create_connection({address}).recv(1) and frozenset()",)

    def wait(self) -> None:
        self._guest, _ = self._listener.accept()

    def open(self) -> None:
        self._guest.sendall(b"!")

    def close(self) -> None:
        self._listener.close()
        if hasattr(self, "_guest"):
            self._guest.close()


def workers() -> list[BaseProcess]:
    return [process for process in multiprocessing.active_children() if process.name == "heddle-planner"]


@pytest.fixture(scope="module")
def shared_desk() -> Iterator[Desk]:
    desk = Desk()
    desk.planner.start()
    yield desk
    desk.planner.stop()


@pytest.fixture
def desk(shared_desk: Desk) -> Iterator[Desk]:
    """One planner for all tests, since each process takes a second or two to start."""
    yield shared_desk
    shared_desk.planner.deadline_s = PATIENCE_S


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture
def slow(gate: Gate) -> PlanRequest:
    """A request that is not answered before the gate opens."""
    quarantined: Any = gate
    return replace(REQUEST, quarantined=quarantined)


def test_a_request_is_answered_with_rules_for_every_switch(desk: Desk):
    answer = desk.ask()

    assert isinstance(answer, PlanAnswer)
    assert set(answer.rules) == {switch.id for switch in REQUEST.fabric.switches}
    assert answer.plan is None


def test_of_the_requests_that_wait_only_the_newest_is_answered(desk: Desk, gate: Gate, slow: PlanRequest):
    outdated, newest = replace(REQUEST, max_utilisation=0.5), replace(REQUEST, max_utilisation=0.6)
    desk.planner.ask(slow)
    gate.wait()

    desk.planner.ask(outdated)
    desk.planner.ask(newest)
    gate.open()

    answered = [desk.next(), desk.next()]
    assert [request for request, _ in answered] == [slow, newest]
    assert all(isinstance(answer, PlanAnswer) for _, answer in answered)
    assert desk.answers.empty()


def test_a_plan_that_takes_too_long_is_given_up_and_a_new_process_makes_the_next(desk: Desk, slow: PlanRequest):
    desk.ask()
    (stuck,) = workers()
    desk.planner.deadline_s = 0.1

    assert "longer than 0.1 s" in str(desk.ask(slow))
    assert not stuck.is_alive()

    desk.planner.deadline_s = PATIENCE_S
    assert isinstance(desk.ask(), PlanAnswer)
    assert workers() != [stuck]


def test_a_process_that_dies_at_work_costs_one_answer(desk: Desk, gate: Gate, slow: PlanRequest):
    desk.planner.ask(slow)
    gate.wait()
    (worker,) = workers()
    assert worker.pid is not None

    os.kill(worker.pid, signal.SIGKILL)

    assert "ended without an answer" in str(desk.next()[1])
    assert isinstance(desk.ask(), PlanAnswer)


def test_a_process_that_died_at_rest_costs_nothing(desk: Desk):
    desk.ask()
    (worker,) = workers()
    worker.kill()
    worker.join(PATIENCE_S)

    assert isinstance(desk.ask(), PlanAnswer)


def test_a_request_that_cannot_be_sent_costs_one_answer(desk: Desk):
    unsendable: Any = lambda: None  # noqa: E731 - it cannot be pickled

    refused = desk.ask(replace(REQUEST, edge_ports=unsendable))

    assert isinstance(refused, HeddleError)
    assert isinstance(desk.ask(), PlanAnswer)


def test_a_process_that_cannot_be_started_costs_one_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def fail(_process: SpawnProcess) -> None:
        raise OSError("no memory left")

    desk.ask()
    (worker,) = workers()
    worker.kill()
    worker.join(PATIENCE_S)

    with monkeypatch.context() as patch:
        patch.setattr(SpawnProcess, "start", fail)
        assert "no memory left" in str(desk.ask())

    assert isinstance(desk.ask(), PlanAnswer)


def test_stop_ends_the_process_and_the_thread_even_at_work(gate: Gate, slow: PlanRequest):
    others, threads = set(workers()), set(threading.enumerate())
    desk = Desk()
    desk.planner.start()
    desk.planner.ask(slow)
    gate.wait()
    assert set(workers()) > others

    desk.planner.stop()

    assert set(workers()) == others
    assert set(threading.enumerate()) <= threads


class BusyPipe:
    """Always has the next request, until so many were received."""

    def __init__(self, requests: int) -> None:
        self._left = requests

    def poll(self, _seconds: float) -> bool:
        return True

    def recv(self) -> PlanRequest:
        if not self._left:
            raise EOFError
        self._left -= 1
        return REQUEST

    def send(self, _answer: object) -> None:
        """Nobody looks at it."""


def test_a_worker_that_is_never_idle_collects_its_garbage_all_the_same(monkeypatch: pytest.MonkeyPatch):
    collected: list[None] = []
    monkeypatch.setattr(planner.gc, "collect", lambda: collected.append(None))
    monkeypatch.setattr(planner.gc, "disable", lambda: None)
    monkeypatch.setattr(planner.signal, "signal", lambda *_: None)
    monkeypatch.setattr(planner, "Shortener", lambda: SameAsItIs)
    monkeypatch.setattr(planner, "make_plan", lambda *_: None)

    planner._work(BusyPipe(4 * planner._MOST_UNCOLLECTED))  # type: ignore[arg-type]

    assert len(collected) == 4


class SameAsItIs:
    """Shortens nothing."""

    whole_request = shorten = staticmethod(lambda value: value)
