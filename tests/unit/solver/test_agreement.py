"""Every engine on every fabric: the reference's optimum, conserved, within capacity, proven."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from solver.distance import Allowed
from solver.errors import Infeasible
from solver.routing import Objective
from solver.solve import Session, solve
from solver.testing import (
    assert_conserves,
    assert_single_paths_valid,
    assert_within_capacity,
    demands,
    fabrics,
)
from topologies.fabric import Fabric

FRACTIONAL = ("auto", "aggregated", "symmetry", "pulp:cbc")


def answer(fabric, wanted, objective, **options):
    """The value and the routing; or, where nothing fits, the largest share in place of the value."""
    try:
        routing = solve(fabric, wanted, objective, **options)
    except Infeasible as infeasible:
        if infeasible.demand_bps <= infeasible.capacity_bps:
            raise AssertionError("what is called infeasible has no cut that is too narrow") from infeasible
        return None, None
    return routing.certificate.value, routing


def fits_clearly(fabric, wanted):
    """Whether all fits or not must not hang on the last digit."""
    share = solve(fabric, wanted, Objective.MAX_CONCURRENT_FLOW, engine="pulp").certificate.value
    assume(abs(share - 1) > 1e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_engine_agrees_with_the_reference(data):
    fabric = data.draw(fabrics(max_switches=5))
    wanted = data.draw(demands(fabric, max_demands=6))
    objective = data.draw(st.sampled_from(Objective))
    engine = data.draw(st.sampled_from(FRACTIONAL))
    assume(engine != "symmetry" or objective not in (Objective.MAX_MIN_FAIR, Objective.MIN_QUEUEING_DELAY))
    fits_clearly(fabric, wanted)
    expected, _ = answer(fabric, wanted, objective, engine="pulp")
    value, routing = answer(fabric, wanted, objective, engine=engine)
    assert (value is None) == (expected is None)
    if routing is None:
        return
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert routing.certificate.gap <= 1e-6
    assert_conserves(routing)
    assert_within_capacity(routing)
    if "cbc" not in engine:
        # CBC hands over its answers as text, with nine digits.
        assert routing.certificate.violation <= 1e-9


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_potential_method_comes_as_near_as_it_says(data):
    fabric = data.draw(fabrics(max_switches=5))
    wanted = data.draw(demands(fabric, max_demands=6))
    objective = data.draw(st.sampled_from((Objective.MIN_MAX_UTILISATION, Objective.MAX_CONCURRENT_FLOW)))
    best = solve(fabric, wanted, objective, engine="pulp").certificate.value
    routing = solve(fabric, wanted, objective, engine="potential", gap=0.02)
    assert routing.certificate.gap <= 0.02
    assert routing.certificate.value == pytest.approx(best, rel=0.02)
    assert routing.certificate.bound == pytest.approx(best, rel=0.02)
    assert_conserves(routing)
    assert_within_capacity(routing)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nobody_gets_more_than_a_cap(data):
    fabric = data.draw(fabrics(max_switches=4))
    caps = st.none() | st.integers(500, 3 * 10**6).map(float)
    wanted = [replace(demand, cap_bps=data.draw(caps)) for demand in data.draw(demands(fabric, max_demands=5))]
    objective = data.draw(st.sampled_from((Objective.MAX_MIN_FAIR, Objective.MAX_CONCURRENT_FLOW)))
    ours, theirs = (solve(fabric, wanted, objective, engine=engine) for engine in ("auto", "pulp"))
    np.testing.assert_allclose(np.sort(ratios(ours)), np.sort(ratios(theirs)), rtol=1e-6)
    for demand, carried in zip(wanted, ours.carried_bps, strict=True):
        assert demand.cap_bps is None or carried <= demand.cap_bps * (1 + 1e-9)
    assert ours.certificate.gap <= 1e-6


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_cap_below_the_request_is_what_must_be_carried(data):
    fabric = data.draw(fabrics(max_switches=4))
    wanted = data.draw(demands(fabric, max_demands=4, max_rate_bps=1_000_000))
    capped = [replace(demand, cap_bps=demand.rate_bps / 2) for demand in wanted]
    halved = [replace(demand, rate_bps=demand.rate_bps / 2) for demand in wanted]
    for objective in (Objective.MIN_DELAY, Objective.MIN_MAX_UTILISATION, Objective.MIN_QUEUEING_DELAY):
        assert answer(fabric, capped, objective)[0] == pytest.approx(answer(fabric, halved, objective)[0], rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_fair_rates_are_the_same_whatever_finds_them(data):
    fabric = data.draw(fabrics(max_switches=4))
    wanted = data.draw(demands(fabric, max_demands=5))
    ours = solve(fabric, wanted, Objective.MAX_MIN_FAIR)
    theirs = solve(fabric, wanted, Objective.MAX_MIN_FAIR, engine="pulp")
    np.testing.assert_allclose(np.sort(ratios(ours)), np.sort(ratios(theirs)), rtol=1e-6)


def ratios(routing):
    return routing.carried_bps / np.array([demand.rate_bps for demand in routing.demands])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_all_paths_as_candidates_change_nothing(data):
    fabric = data.draw(fabrics(max_switches=4))
    wanted = data.draw(demands(fabric, max_demands=4))
    objective = data.draw(st.sampled_from(Objective))
    fits_clearly(fabric, wanted)
    expected, _ = answer(fabric, wanted, objective)
    every = Allowed(max_hops=len(fabric.nodes))
    value, routing = answer(fabric, wanted, objective, allowed=every)
    assert (value is None) == (expected is None)
    if routing is not None:
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)
        assert routing.path_flows is not None
        assert_conserves(routing)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_single_paths_keep_their_bound(data):
    fabric = data.draw(fabrics(max_switches=5))
    wanted = data.draw(demands(fabric, max_demands=5, max_rate_bps=3_000_000))
    objective = data.draw(st.sampled_from(Objective))
    value, routing = answer(fabric, wanted, objective)
    assume(routing is not None)
    single = solve(fabric, wanted, objective, single_path=True)
    assert_single_paths_valid(single)
    assert_within_capacity(single)
    assert_conserves(single)
    slack = 1e-6 * abs(value)
    if objective.may_carry_less:
        assert single.certificate.value <= value + slack
    else:
        assert single.certificate.value >= value - slack


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_names_and_order_of_nodes_and_links_do_not_matter(data):
    fabric = data.draw(fabrics(max_switches=5))
    wanted = data.draw(demands(fabric, max_demands=5))
    objective = data.draw(st.sampled_from(Objective))
    fits_clearly(fabric, wanted)
    renamed = {node.id: f"n{number}" for number, node in enumerate(data.draw(st.permutations(fabric.nodes)))}
    nodes = [replace(node, id=renamed[node.id]) for node in data.draw(st.permutations(fabric.nodes))]
    links = [
        replace(link, source=renamed[link.source], target=renamed[link.target])
        for link in data.draw(st.permutations(fabric.links))
    ]
    other = Fabric(tuple(nodes), tuple(links))
    asked = [replace(demand, source=renamed[demand.source], target=renamed[demand.target]) for demand in wanted]
    value, _ = answer(fabric, wanted, objective)
    again, _ = answer(other, data.draw(st.permutations(asked)), objective)
    assert (value is None) == (again is None)
    if value is not None:
        assert again == pytest.approx(value, rel=1e-6, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_the_same_question_has_the_same_answer(data):
    fabric = data.draw(fabrics(max_switches=5))
    wanted = data.draw(demands(fabric, max_demands=5, max_rate_bps=3_000_000))
    objective = data.draw(st.sampled_from(Objective))
    single = data.draw(st.booleans())
    _, routing = answer(fabric, wanted, objective)
    assume(routing is not None)
    first, second = (solve(fabric, wanted, objective, single_path=single) for _ in range(2))
    assert (first.flow_bps != second.flow_bps).nnz == 0
    assert first.reason == second.reason


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_session_answers_like_a_fresh_solver_after_any_change(data):
    fabric = data.draw(fabrics(max_switches=5))
    wanted = data.draw(demands(fabric, max_demands=5))
    objective = data.draw(st.sampled_from(Objective))
    session = Session(fabric)
    answer_in(session, wanted, objective)
    lost = data.draw(st.lists(st.sampled_from([link.id for link in fabric.links]), max_size=2, unique=True))
    links = tuple(
        replace(link, capacity_bps=link.capacity_bps * data.draw(st.sampled_from((0.5, 1.0, 2.0))))
        for link in fabric.without_links(lost).links
    )
    changed = Fabric(fabric.nodes, links)
    asked = data.draw(demands(fabric, max_demands=5))
    session.change(changed)
    expected, warm = answer(changed, asked, objective)[0], answer_in(session, asked, objective)
    assert (warm is None) == (expected is None)
    if warm is not None:
        assert warm == pytest.approx(expected, rel=1e-6, abs=1e-12)


def answer_in(session, wanted, objective):
    try:
        return session.solve(wanted, objective).certificate.value
    except Infeasible:
        return None
