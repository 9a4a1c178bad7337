"""What is kept of undeclared switches that are away is bounded, and the honest ones go last."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from controller.strangers import (
    BRIEF_S,
    FORGET_S,
    KEEP_S,
    KEPT_TIMES,
    MAX_BRIEF,
    MAX_PORTS,
    MAX_STRANGERS,
    Hold,
    Strangers,
)

MANY = 10**6


class World:
    """Strangers, and what speaks for each."""

    def __init__(self) -> None:
        self.holds: dict[int, Hold] = {}
        self.strangers = Strangers(lambda dpid: self.holds.get(dpid, Hold.NOTHING))

    def visit(self, dpid: int, came_s: float, went_s: float, ports: int = 4) -> None:
        self.strangers.came(dpid, came_s)
        self.strangers.went(dpid, ports, went_s)

    def due(self, now_s: float) -> list[int]:
        return self.strangers.due(now_s, MANY)


def test_a_switch_is_forgotten_once_it_has_been_away_for_a_while_and_not_where_it_came_back() -> None:
    world = World()
    world.visit(1, 0.0, 0.0)
    world.visit(2, 0.0, 1.0)
    world.strangers.came(1, 2.0)

    assert world.due(FORGET_S) == []
    assert world.due(FORGET_S + 1) == [2]
    assert world.due(KEEP_S * 9) == []


def test_a_switch_is_kept_in_proportion_to_how_long_it_was_there_and_an_hour_at_the_longest() -> None:
    world = World()
    world.visit(1, 0.0, 100.0)
    world.visit(2, 100.0, 150.0)
    world.visit(2, 170.0, 220.0)
    world.visit(3, 0.0, 10 * KEEP_S)

    assert world.due(100.0 + KEPT_TIMES * 100.0 - 1) == []
    assert world.due(100.0 + KEPT_TIMES * 100.0) == [1]
    assert world.due(220.0 + KEPT_TIMES * 100.0) == [2]
    assert world.due(11 * KEEP_S - 1) == []
    assert world.due(11 * KEEP_S) == [3]


def test_a_cable_to_a_connected_switch_keeps_it_for_an_hour_and_no_longer() -> None:
    world = World()
    world.holds[1] = world.holds[2] = Hold.CABLE
    world.visit(1, 0.0, 0.0)
    world.visit(2, 0.0, 0.0)

    assert [world.due(float(now_s)) for now_s in range(60, 1860, 30)] == [[]] * 60
    del world.holds[2]
    assert world.due(1920.0) == [2]
    assert [world.due(float(now_s)) for now_s in range(1950, 3600, 30)] == [[]] * 55
    assert world.due(KEEP_S + FORGET_S) == [1]


def test_what_plans_and_jobs_use_is_never_forgotten_and_takes_nobody_elses_place() -> None:
    world = World()
    used, others = range(2 * MAX_STRANGERS), range(2 * MAX_STRANGERS, 3 * MAX_STRANGERS)
    world.holds = dict.fromkeys(used, Hold.USE)
    for dpid in used:
        world.visit(dpid, 0.0, 1.0)
    assert world.due(FORGET_S + 1) == []
    for dpid in others:
        world.visit(dpid, 70.0, 71.0 + BRIEF_S)

    assert world.due(72.0 + BRIEF_S) == []
    assert set(world.due(100 * KEEP_S)) == set(others)


def test_of_too_many_those_go_first_that_were_there_for_the_shortest_time_whatever_speaks_for_them() -> None:
    world, forgotten = World(), []
    honest = range(1000)
    for dpid in honest:
        world.visit(dpid, 0.0, 1000.0)
    for dpid in range(5000, 9000):
        world.holds[dpid] = list(Hold)[dpid % 2]
        world.visit(dpid, 1000.0, 1100.0)
        forgotten += world.due(1100.0)

    assert len(forgotten) == 1000 + 4000 - MAX_STRANGERS
    assert not set(honest) & set(forgotten)


def test_of_switches_that_come_and_go_without_end_a_bounded_number_is_kept_with_a_bounded_number_of_ports() -> None:
    world, forgotten = World(), []
    for dpid in range(10_000):
        world.visit(dpid, dpid * 1e-3, dpid * 1e-3)
        forgotten += world.due(dpid * 1e-3)
    assert forgotten == list(range(10_000 - MAX_BRIEF))

    world, forgotten = World(), []
    for dpid in range(10_000):
        world.visit(dpid, 0.0, BRIEF_S)
        forgotten += world.due(BRIEF_S)
    assert forgotten == list(range(10_000 - MAX_STRANGERS))

    world, forgotten = World(), []
    for dpid in range(100):
        world.visit(dpid, 0.0, 0.0, ports=4096)
        forgotten += world.due(0.0)
    assert forgotten == list(range(100 - MAX_PORTS // 4096))


def test_an_earlier_runs_switch_that_does_not_come_is_kept_for_an_hour() -> None:
    world = World()
    world.strangers.known_from_earlier(1, 3, 0.0)

    assert world.due(KEEP_S - 1) == []
    assert world.due(KEEP_S) == [1]


@given(
    st.lists(st.tuples(st.sampled_from(["came", "went", "hold", "look"]), st.integers(0, 5), st.floats(0.0, 2000.0))),
    st.integers(1, 3),
)
def test_whatever_happens_nobody_connected_or_in_use_is_forgotten_and_everybody_else_is_in_the_end(
    happening: Iterable[tuple[str, int, float]], most: int
) -> None:
    world, now_s = World(), 0.0
    connected: set[int] = set()
    known: set[int] = set()
    for what, dpid, seconds in happening:
        now_s += seconds
        if what == "came":
            world.strangers.came(dpid, now_s)
            connected.add(dpid)
            known.add(dpid)
        elif what == "went" and dpid in connected:
            world.strangers.went(dpid, 1, now_s)
            connected.discard(dpid)
        elif what == "hold":
            world.holds[dpid] = list(Hold)[int(seconds) % 3]
        for gone in world.strangers.due(now_s, most):
            assert gone not in connected
            assert world.holds.get(gone) is not Hold.USE
            known.remove(gone)
    for _ in range(100):
        now_s += KEEP_S
        known -= set(world.due(now_s))
    assert known == connected | {dpid for dpid in known if world.holds.get(dpid) is Hold.USE}
