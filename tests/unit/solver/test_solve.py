"""Optimal routings, held against independent answers."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from solver.demand import Demand
from solver.errors import Infeasible, SolverError
from solver.routing import Objective, Status
from solver.solve import solve
from solver.testing import (
    assert_conserves,
    assert_single_paths_valid,
    assert_within_capacity,
    demands,
    fabrics,
)
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree

FAT_TREE = fat_tree(4, capacity_bps=1e7)


def switches_and_cables(cables):
    """A fabric of switches only, from (a, b, capacity, delay), duplex."""
    names = sorted({name for a, b, *_ in cables for name in (a, b)})
    links = []
    for port, (a, b, capacity, delay) in enumerate(cables, start=1):
        links += [Link(a, port, b, port, capacity, delay), Link(b, port, a, port, capacity, delay)]
    return Fabric(tuple(Node(name, NodeKind.SWITCH) for name in names), tuple(links))


def two_ways():
    """A fast way of 10 and a slow way of 100 from a to d."""
    slow = [("a", "c", 100.0, 3.0), ("c", "d", 100.0, 3.0)]
    return switches_and_cables([("a", "b", 10.0, 1.0), ("b", "d", 10.0, 1.0), *slow])


def two_ways_equal():
    """Two ways of 10 from a to d."""
    return switches_and_cables([(a, b, 10.0, 1.0) for a, b in ("ab", "bd", "ac", "cd")])


ENGINES = ("auto", "aggregated", "pulp", "pulp:cbc")


@pytest.mark.parametrize("engine", ENGINES)
def test_least_delay_fills_the_fast_way_first_and_prices_it(engine):
    routing = solve(two_ways(), [Demand("a", "d", 30.0)], engine=engine)
    assert routing.status is Status.OPTIMAL
    assert routing.certificate.value == pytest.approx(10 * 2 + 20 * 6)
    assert routing.certificate.gap < 1e-6
    assert routing.certificate.prices.sum() == pytest.approx(4.0)
    assert_conserves(routing)
    assert_within_capacity(routing)


def test_the_allowed_utilisation_is_kept():
    routing = solve(two_ways(), [Demand("a", "d", 30.0)], max_utilisation=0.5)
    assert routing.utilisations().max() == pytest.approx(0.5)
    assert routing.total_delay() == pytest.approx(5 * 2 + 25 * 6)


def test_among_equal_delays_the_worst_link_is_least():
    routing = solve(two_ways_equal(), [Demand("a", "d", 8.0)])
    assert routing.utilisations().max() == pytest.approx(0.4)


def test_ties_are_broken_on_the_optimal_face_when_capacity_binds_too():
    cables = [("a", "b", 10.0, 1.0), ("b", "d", 40.0, 1.0)]
    cables += [("a", "c", 40.0, 3.0), ("c", "d", 40.0, 3.0), ("a", "e", 40.0, 3.0), ("e", "d", 40.0, 3.0)]
    routing = solve(switches_and_cables(cables), [Demand("a", "d", 30.0)])
    loads = dict(zip((str(link.id) for link in routing.fabric.links), routing.loads_bps(), strict=True))
    assert [loads["a:1"], loads["a:3"], loads["a:5"]] == pytest.approx([10, 10, 10])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_one_commodity_gets_exactly_the_maximum_flow(data):
    fabric = data.draw(fabrics())
    hosts = st.sampled_from([host.id for host in fabric.hosts])
    source, target = data.draw(st.lists(hosts, min_size=2, max_size=2, unique=True))
    rate = data.draw(st.sampled_from((1e6, 3e7)))
    plain = nx.DiGraph()
    for link in fabric.links:
        before = plain.get_edge_data(link.source, link.target, {"capacity": 0.0})["capacity"]
        plain.add_edge(link.source, link.target, capacity=before + link.capacity_bps)
    most, _ = nx.maximum_flow(plain, source, target)
    routing = solve(fabric, [Demand(source, target, rate)], Objective.MAX_CONCURRENT_FLOW)
    assert routing.certificate.value * rate == pytest.approx(most)
    if most < rate:
        with pytest.raises(Infeasible) as caught:
            solve(fabric, [Demand(source, target, rate)])
        assert caught.value.capacity_bps == pytest.approx(most)
        assert caught.value.weights is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_answer_conserves_fits_and_is_proven(data):
    fabric = data.draw(fabrics())
    wanted = data.draw(demands(fabric))
    objective = data.draw(st.sampled_from(Objective))
    share = solve(fabric, wanted, Objective.MAX_CONCURRENT_FLOW)
    assume(abs(share.certificate.value - 1) > 1e-6 or share.certificate.value >= 1)
    if share.certificate.value < 1 and objective is not Objective.MAX_CONCURRENT_FLOW:
        with pytest.raises(Infeasible) as caught:
            solve(fabric, wanted, objective)
        assert_violated(fabric, wanted, caught.value)
        return
    routing = solve(fabric, wanted, objective)
    assert routing.certificate.gap < 1e-6
    assert_conserves(routing)
    assert_within_capacity(routing)


def assert_violated(fabric, wanted, infeasible):
    """Without the cut's links the demands counted have no path left, and they are more than the links carry."""
    assert infeasible.demand_bps > infeasible.capacity_bps
    if infeasible.weights is not None:
        return
    rest = nx.DiGraph(fabric.without_links(infeasible.cut).graph)
    severed = sum(demand.rate_bps for demand in wanted if not nx.has_path(rest, demand.source, demand.target))
    assert severed >= infeasible.demand_bps * (1 - 1e-9)
    carried = sum(fabric.link_by_id[link].capacity_bps for link in infeasible.cut)
    assert infeasible.capacity_bps == pytest.approx(carried)
    assert severed > carried


def test_a_cut_names_the_links_that_are_too_narrow():
    with pytest.raises(Infeasible) as caught:
        solve(FAT_TREE, [Demand("h1", "h5", 6e6), Demand("h1", "h9", 6e6)])
    assert caught.value.cut == (LinkId("h1", 1),)
    assert (caught.value.demand_bps, caught.value.capacity_bps) == (12e6, 1e7)


def test_demands_that_jam_each_other_between_wide_cuts_get_a_weighted_reason():
    # Okamura and Seymour's example: K(2,3), every cut wide enough, and yet only 3/4 of each demand fits.
    cables = [(a, b, 1.0, 1.0) for a in ("x", "y") for b in ("1", "2", "3")]
    fabric = switches_and_cables(cables)
    wanted = [Demand(a, b, 1.0) for a, b in (("x", "y"), ("1", "2"), ("2", "3"), ("3", "1"))]
    both = wanted + [Demand(demand.target, demand.source, 1.0) for demand in wanted]
    assert solve(fabric, both, Objective.MAX_CONCURRENT_FLOW).certificate.value == pytest.approx(0.75)
    with pytest.raises(Infeasible, match="counted by weight") as caught:
        solve(fabric, both)
    assert caught.value.capacity_bps == pytest.approx(sum(caught.value.weights))
    assert caught.value.demand_bps * 0.75 == pytest.approx(caught.value.capacity_bps)


def test_a_target_out_of_reach_has_an_empty_cut():
    cut_off = FAT_TREE.without_links([LinkId("e3-1", 2)])
    with pytest.raises(Infeasible, match="no path leads from h1 to h16") as caught:
        solve(cut_off, [Demand("h1", "h16", 1.0)])
    assert (caught.value.cut, caught.value.demand_bps, caught.value.capacity_bps) == ((), 1.0, 0.0)


def test_no_traffic_passes_through_a_host():
    nodes = (Node("s1", NodeKind.SWITCH), Node("h", NodeKind.HOST), Node("s2", NodeKind.SWITCH))
    fabric = Fabric(nodes, (Link("s1", 1, "h", 1, 1.0, 1.0), Link("h", 2, "s2", 1, 1.0, 1.0)))
    with pytest.raises(Infeasible, match="no path leads from s1 to s2"):
        solve(fabric, [Demand("s1", "s2", 1.0)])


def test_longer_paths_raise_the_share_where_short_ones_do_not_suffice():
    cables = [("a", "d", 10.0, 1.0), ("a", "b", 20.0, 5.0), ("b", "d", 20.0, 5.0)]
    routing = solve(switches_and_cables(cables), [Demand("a", "d", 10.0)], Objective.MAX_CONCURRENT_FLOW)
    assert routing.certificate.value == pytest.approx(3.0)


def test_the_least_maximum_utilisation_is_the_reciprocal_of_the_share():
    routing = solve(two_ways(), [Demand("a", "d", 30.0)], Objective.MIN_MAX_UTILISATION)
    assert routing.certificate.value == pytest.approx(30 / 110)
    assert float(routing.certificate.prices @ routing.fabric.capacities_bps) == pytest.approx(1.0)


def test_a_full_permutation_has_single_conflict_free_paths():
    hosts = [host.id for host in FAT_TREE.hosts]
    wanted = [Demand(a, b, 1e7) for a, b in itertools.pairwise([*hosts, hosts[0]])]
    routing = solve(FAT_TREE, wanted, single_path=True)
    assert routing.certificate.gap < 1e-6
    assert routing.utilisations().max() == pytest.approx(1.0)
    assert_single_paths_valid(routing)


def test_single_paths_report_their_gap_to_the_fractional_bound():
    wanted = [Demand("a", "d", 5.0)] * 3
    fabric = two_ways_equal()
    routing = solve(fabric, wanted, Objective.MAX_CONCURRENT_FLOW, single_path=True)
    assert (routing.certificate.value, routing.certificate.bound) == pytest.approx((1.0, 4 / 3))
    assert routing.status is Status.FEASIBLE
    assert_single_paths_valid(routing)
    assert_within_capacity(routing)


def test_single_paths_that_cannot_fit_are_an_error():
    with pytest.raises(SolverError, match="no single path per demand"):
        solve(two_ways_equal(), [Demand("a", "d", 6.0)] * 3, single_path=True)


def test_the_same_question_gets_the_same_answer():
    hosts = [host.id for host in FAT_TREE.hosts]
    wanted = [Demand(a, b, 2e6) for a in hosts[:4] for b in hosts[8:10]]
    first, second = (solve(FAT_TREE, wanted, single_path=True) for _ in range(2))
    assert first.single_paths == second.single_paths


@pytest.mark.parametrize(
    ("wanted", "options", "message"),
    [
        ([], {}, "there are no demands"),
        ([Demand("a", "z", 1.0)], {}, "names 'z', which is not a node"),
        ([Demand("a", "d", 1.0)], {"max_utilisation": 1.5}, "above 0 and at most 1"),
        ([Demand("a", "d", 1.0)], {"time_limit_s": 0.0}, "time_limit_s is 0\\.0; it must be above 0"),
        ([Demand("a", "d", 1.0)], {"gap": 0.0}, "above 0 and below 1"),
        ([Demand("a", "d", 1.0)], {"engine": "simplex"}, "there is no engine 'simplex'; take one of auto, pulp"),
        ([Demand("a", "d", 1.0)], {"engine": "pulp:none"}, "PuLP knows no solver 'none'"),
    ],
)
def test_bad_input_is_named(wanted, options, message):
    with pytest.raises(InputError, match=message):
        solve(two_ways(), wanted, **options)


def test_a_missing_delay_matters_to_least_delay_only():
    links = tuple(Link(link.source, link.source_port, link.target, link.target_port, 10.0) for link in two_ways().links)
    fabric = Fabric(two_ways().nodes, links)
    with pytest.raises(InputError, match="link a:1 has no delay_s"):
        solve(fabric, [Demand("a", "d", 1.0)])
    assert solve(fabric, [Demand("a", "d", 1.0)], Objective.MAX_CONCURRENT_FLOW).certificate.value == pytest.approx(20)


def test_a_time_limit_gives_a_routing_and_an_honest_gap():
    wanted = [Demand(f"h{n}", f"h{17 - n}", 1e5 * n) for n in range(1, 9)]
    for objective in Objective:
        routing = solve(FAT_TREE, wanted, objective, time_limit_s=1e-6)
        assert_conserves(routing)
        assert_within_capacity(routing)
        assert routing.certificate.gap <= 1e-6 or routing.status is Status.FEASIBLE


def test_demands_of_very_different_size_are_all_carried():
    wanted = [Demand("h1", "h16", 1e7), Demand("h2", "h15", 1.0), Demand("h3", "h14", 1e3)]
    routing = solve(FAT_TREE, wanted)
    np.testing.assert_allclose(routing.carried_bps, [1e7, 1.0, 1e3])
    assert_conserves(routing)
