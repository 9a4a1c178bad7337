"""A declared fabric is planned for while its switches connect, and the answer is used where it fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from memory_fabric import FABRIC, Worker, World

from controller.foresight import Foresight
from controller.planning import PlanAnswer, PlanRequest
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.detours import Tunnel
from dataplane.rules import ETH_TYPE_IPV4
from solver.routing import Objective
from topologies.errors import HeddleError
from topologies.fabric import LinkId

AHEAD = PlanRequest(FABRIC, {}, (), DefaultRouting.ECMP, 0.95, Objective.MIN_DELAY)
TUNNEL = Tunnel((LinkId("a0-0", 1), LinkId("e0-0", 3)), ETH_TYPE_IPV4)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PlanRequest]:
    """What the planners were asked."""
    requests: list[PlanRequest] = []
    ask = Worker.ask
    monkeypatch.setattr(Worker, "ask", lambda self, request: (requests.append(request), ask(self, request)))
    return requests


def test_a_declared_fabric_is_asked_for_once_and_has_its_rules_as_soon_as_it_is_known(
    tmp_path: Path, asked: list[PlanRequest]
) -> None:
    world = World(tmp_path, declared=FABRIC)
    assert len(asked) == 1
    world.planning_s = 1000.0
    world.up()
    world.run(5.0)
    assert len(asked) == 1
    assert world.core.readiness().ready
    wanted = compile_rules(FABRIC, default=DefaultRouting.ECMP)
    assert {name: world.tables[world.dpid(name)] for name in wanted} == wanted


def test_an_answer_that_comes_late_is_waited_for(tmp_path: Path, asked: list[PlanRequest]) -> None:
    world = World(tmp_path, declared=FABRIC, planning_s=20.0)
    world.connect()
    world.run(15.0)
    assert len(asked) == 1
    assert not world.core.readiness().ready
    world.run(15.0)
    assert world.core.readiness().ready
    assert len(asked) == 1


def test_a_fabric_that_is_not_as_declared_is_asked_for_anew(tmp_path: Path, asked: list[PlanRequest]) -> None:
    world = World(tmp_path, declared=FABRIC.without_links([LinkId("a0-0", 3), LinkId("c1", 1)]))
    world.connect()
    world.run(40.0)
    assert world.core.readiness().ready
    assert len(asked) > 1
    wanted = compile_rules(FABRIC, default=DefaultRouting.ECMP)
    assert {name: world.tables[world.dpid(name)] for name in wanted} == wanted


def test_nothing_is_asked_ahead_where_nothing_is_declared(tmp_path: Path, asked: list[PlanRequest]) -> None:
    World(tmp_path, declared=None)
    assert asked == []


def test_what_switches_know_by_now_does_not_matter_unless_the_answer_uses_it() -> None:
    request = replace(AHEAD, lacking=frozenset({"e0-0"}), quarantined=frozenset({5}))
    for label, fits in ((4, True), (5, False)):
        foresight = Foresight()
        foresight.asked(AHEAD)
        assert foresight.foresaw(request)
        assert not foresight.is_answered
        answer = PlanAnswer({}, None, detours={TUNNEL: label})
        assert foresight.answered(answer) is request
        assert foresight.take(request) is (answer if fits else None)
        assert foresight.request is None


def test_labels_that_detours_had_before_are_theirs() -> None:
    request = replace(AHEAD, detours={TUNNEL: 5}, quarantined=frozenset({5}))
    foresight = Foresight()
    foresight.asked(replace(request, quarantined=frozenset()))
    answer = PlanAnswer({}, None, detours={TUNNEL: 5})
    assert foresight.answered(answer) is None
    assert foresight.foresaw(request)
    assert foresight.take(request) is answer


def test_another_question_ends_the_foresight() -> None:
    foresight = Foresight()
    foresight.asked(AHEAD)
    assert not foresight.foresaw(replace(AHEAD, unreachable=frozenset({"e0-0"})))
    assert not foresight.foresaw(AHEAD)


def test_a_question_that_could_not_be_answered_ahead_is_asked_again() -> None:
    foresight = Foresight()
    foresight.asked(AHEAD)
    assert foresight.foresaw(AHEAD)
    assert foresight.answered(HeddleError("no plan")) is AHEAD
    assert foresight.take(AHEAD) is None
    assert not foresight.foresaw(AHEAD)
