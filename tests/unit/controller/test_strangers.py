from __future__ import annotations

from controller.strangers import FORGET_S, MAX_STRANGERS, Strangers


def test_a_switch_is_looked_at_once_it_has_been_away_for_a_while_and_not_where_it_came_back():
    strangers = Strangers()
    strangers.went(1, 0.0)
    strangers.went(2, 1.0)
    strangers.came(1)

    assert strangers.due(FORGET_S) == []
    assert strangers.due(FORGET_S + 1) == [2]
    assert strangers.due(FORGET_S * 9) == []


def test_of_switches_that_come_and_go_without_end_those_that_went_first_are_looked_at_early():
    strangers, looked_at = Strangers(), []
    for dpid in range(10_000):
        strangers.went(dpid, dpid * 1e-3)
        looked_at += strangers.due(dpid * 1e-3)

    assert looked_at == list(range(10_000 - MAX_STRANGERS))
