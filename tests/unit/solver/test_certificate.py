"""The independent check refuses what is wrong, whatever computed it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from solver.baselines import ecmp
from solver.certificate import Claim, certify
from solver.demand import Demand
from solver.errors import CertificateError
from solver.routing import Objective, PathFlows
from solver.solve import solve
from solver.testing import demands, fabrics
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree

FAT_TREE = fat_tree(4, capacity_bps=1e7)
DEMANDS = (Demand("h1", "h16", 6e6), Demand("h2", "h15", 6e6), Demand("h1", "h3", 4e6))


def check(routing, **changed):
    """Certify a routing again, with something about it changed."""
    outer = {key: changed.pop(key) for key in ("max_utilisation", "allowed") if key in changed}
    proof = routing.certificate
    levels = tuple(level.prices for level in proof.levels if level.prices.any())
    claim = Claim(routing.targets, routing.flow_bps, routing.carried_bps, proof.prices, routing.path_flows, levels)
    return certify(routing.fabric, routing.demands, replace(claim, **changed), objective=proof.objective, **outer)


@pytest.mark.parametrize("objective", list(Objective))
def test_an_untouched_routing_passes_again_with_the_same_numbers(objective):
    routing = solve(FAT_TREE, DEMANDS, objective)
    again = check(routing)
    assert (again.value, again.bound) == pytest.approx((routing.certificate.value, routing.certificate.bound))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_change_of_one_flow_is_refused(data):
    fabric = data.draw(fabrics())
    routing = solve(fabric, data.draw(demands(fabric)), Objective.MAX_CONCURRENT_FLOW)
    flow = routing.flow_bps.toarray()
    row = data.draw(st.integers(0, flow.shape[0] - 1))
    link = data.draw(st.integers(0, flow.shape[1] - 1))
    change = data.draw(st.sampled_from((-0.5, 0.01, 1.0))) * max(
        *(demand.rate_bps for demand in routing.demands), *routing.carried_bps
    )
    assume(flow[row, link] + change >= 0)
    flow[row, link] += change
    with pytest.raises(CertificateError):
        check(routing, flow_bps=csr_array(flow))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_prices_bound_the_value_from_the_right_side(data):
    fabric = data.draw(fabrics())
    objective = data.draw(st.sampled_from(Objective))
    wanted = data.draw(demands(fabric, max_demands=3, max_rate_bps=1_000_000))
    routing = solve(fabric, wanted, objective)
    price = st.sampled_from((0.0, 1e-6, 1e-5)) if objective is Objective.MIN_DELAY else st.sampled_from((0.0, 1.0, 2.0))
    prices = np.array(data.draw(st.lists(price, min_size=len(fabric.links), max_size=len(fabric.links))))
    try:
        proof = check(routing, prices=prices)
    except CertificateError as refused:
        assume("prove nothing" not in str(refused))
        raise
    slack = 1e-6 * max(abs(proof.value), abs(proof.bound))
    below = proof.value - proof.bound if objective is Objective.MAX_CONCURRENT_FLOW else proof.bound - proof.value
    assert below <= slack


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_impossible_prices_flows_and_rates_are_refused(value):
    routing = solve(FAT_TREE, DEMANDS)
    for name, array in (("prices", routing.certificate.prices), ("carried_bps", routing.carried_bps)):
        with pytest.raises(CertificateError, match="negative or not a number"):
            check(routing, **{name: np.append(array[:-1], value)})
    flow = routing.flow_bps.copy()
    flow.data[0] = value
    with pytest.raises(CertificateError, match="negative or not a number"):
        check(routing, flow_bps=flow)


def test_a_smaller_allowance_turns_the_same_flows_into_an_overload():
    routing = solve(FAT_TREE, [Demand("h1", "h16", 1e7)])
    with pytest.raises(CertificateError, match=r"overloads a link by 11\.11 %"):
        check(routing, max_utilisation=0.9)


def test_claiming_more_than_the_flows_carry_is_refused():
    routing = solve(FAT_TREE, DEMANDS)
    with pytest.raises(CertificateError, match="loses or invents"):
        check(routing, carried_bps=routing.carried_bps * 1.01)


def test_carrying_less_than_asked_is_refused_where_all_must_be_carried():
    routing = solve(FAT_TREE, DEMANDS)
    with pytest.raises(CertificateError, match="does not carry all demands"):
        check(routing, carried_bps=routing.carried_bps * 0.5, flow_bps=routing.flow_bps * 0.5)


def test_a_shortcut_through_a_host_is_refused():
    nodes = (Node("s1", NodeKind.SWITCH), Node("h", NodeKind.HOST), Node("s2", NodeKind.SWITCH))
    fabric = Fabric(nodes, (Link("s1", 1, "h", 1, 1e7, 0.0), Link("h", 2, "s2", 1, 1e7, 0.0)))
    claim = Claim(["s2"], csr_array([[1.0, 1.0]]), np.array([1.0]), np.zeros(2))
    with pytest.raises(CertificateError, match="loses or invents"):
        certify(fabric, [Demand("s1", "s2", 1.0)], claim, objective=Objective.MIN_DELAY)


def test_a_path_that_breaks_ends_early_or_is_not_the_flow_is_refused():
    routing = solve(FAT_TREE, DEMANDS, single_path=True)
    first, *rest = routing.single_paths

    def taking(*paths):
        index = FAT_TREE.link_index
        links = np.array([index.get(link, -1) for path in paths for link in path])
        starts = np.concatenate([[0], np.cumsum([len(path) for path in paths])])
        return PathFlows(np.arange(len(paths)), starts, links, routing.carried_bps[: len(paths)])

    with pytest.raises(CertificateError, match="breaks at e0-0"):
        check(routing, path_flows=taking((first[1], first[0], *first[2:]), *rest))
    with pytest.raises(CertificateError, match="ends at e3-1"):
        check(routing, path_flows=taking(first[:-1], *rest))
    with pytest.raises(CertificateError, match="malformed"):
        check(routing, path_flows=taking((LinkId("x", 1),), *rest))
    with pytest.raises(CertificateError, match="not the sum of the paths"):
        check(routing, path_flows=taking(first, rest[0]))
    round_trip = (first[0], first[1], FAT_TREE.link_by_id[first[1]].reverse_id, *first[1:])
    with pytest.raises(CertificateError, match="twice"):
        check(routing, path_flows=taking(round_trip, *rest))
    others = (ecmp(FAT_TREE, DEMANDS, seed).single_paths[0] for seed in range(50))
    with pytest.raises(CertificateError, match="not the sum of the paths"):
        check(routing, path_flows=taking(next(path for path in others if path != first), *rest))


def two_islands(first_bps, second_bps, *, spare=None):
    """a → b, and c → d by one link or two, which nothing joins."""
    nodes = tuple(Node(name, NodeKind.SWITCH) for name in "abcd")
    links = [Link("a", 1, "b", 1, first_bps, 1e-6), Link("c", 1, "d", 1, second_bps, 1e-6)]
    links += [] if spare is None else [Link("c", 2, "d", 2, spare, 1e-6)]
    return Fabric(nodes, tuple(links))


@pytest.mark.parametrize(("small", "said"), [(1e5, "overloads a link by 9900 %"), (0.0, "loses or invents 100 %")])
def test_a_small_demand_is_checked_beside_a_large_one(small, said):
    fabric = two_islands(1e12, 1e3)
    wanted = [Demand("a", "b", 1e12), Demand("c", "d", 1e5)]
    claim = Claim(["b", "d"], csr_array([[1e12, 0.0], [0.0, small]]), np.array([1e12, 1e5]), np.zeros(2))
    with pytest.raises(CertificateError, match=said):
        certify(fabric, wanted, claim, objective=Objective.MIN_DELAY)


def test_a_cap_that_is_met_as_the_room_is_used_up_bounds_nobody_else():
    fabric = two_islands(1e8, 5e9)
    wanted = [Demand("a", "b", 1e9, 1e8), Demand("c", "d", 1e9)]
    claim = Claim(["b", "d"], csr_array([[1e8, 0.0], [0.0, 1e8]]), np.array([1e8, 1e8]), np.array([1.0, 0.0]))
    with pytest.raises(CertificateError, match="prove nothing"):
        certify(fabric, wanted, claim, objective=Objective.MAX_CONCURRENT_FLOW)
    assert solve(fabric, wanted, Objective.MAX_CONCURRENT_FLOW).certificate.value == pytest.approx(5.0)


def test_a_price_next_to_nothing_holds_no_demand_back():
    fabric = two_islands(1e6, 1e6)
    wanted = [Demand("a", "b", 1e9), Demand("c", "d", 1e6)]
    prices = np.array([1.0, 5e-7])
    claim = Claim(["b", "d"], csr_array([[1e6, 0.0], [0.0, 1e3]]), np.array([1e6, 1e3]), prices, None, [prices])
    assert certify(fabric, wanted, claim, objective=Objective.MAX_MIN_FAIR).gap > 0.9


def test_rates_fair_on_their_paths_alone_are_no_answer_where_demands_may_split():
    fabric = two_islands(1e9, 6e9, spare=9e9)
    wanted = [Demand("a", "b", 1e10), Demand("c", "d", 1e10)]
    carried = np.array([1e9, 6e9])
    paths = PathFlows(np.array([0, 1]), np.array([0, 1, 2]), np.array([0, 1]), carried)
    prices = [np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])]
    flow = csr_array([[1e9, 0.0, 0.0], [0.0, 6e9, 0.0]])
    claim = Claim(["b", "d"], flow, carried, prices[0], paths, prices)
    assert certify(fabric, wanted, claim, objective=Objective.MAX_MIN_FAIR).gap > 0.3
    single = replace(claim, single_path=True)
    assert certify(fabric, wanted, single, objective=Objective.MAX_MIN_FAIR).gap <= 1e-9


def test_a_path_that_comes_back_to_its_source_is_refused():
    ends = (("a", 1, "b", 1), ("b", 1, "a", 1), ("b", 2, "d", 1), ("a", 2, "c", 1), ("c", 1, "a", 2))
    nodes = tuple(Node(name, NodeKind.SWITCH) for name in "abcd")
    fabric = Fabric(nodes, tuple(Link(*end, capacity_bps=1e7, delay_s=0.0) for end in ends))
    paths = PathFlows(np.array([0]), np.array([0, 4]), np.array([3, 4, 0, 2]), np.array([1.0]))
    claim = Claim(["d"], csr_array([[1.0, 0.0, 1.0, 1.0, 1.0]]), np.array([1.0]), np.zeros(5), paths)
    with pytest.raises(CertificateError, match="the path of a → d visits a twice"):
        certify(fabric, [Demand("a", "d", 1.0)], claim, objective=Objective.MIN_DELAY)


def test_wrong_destinations_and_shapes_are_refused():
    routing = solve(FAT_TREE, DEMANDS)
    with pytest.raises(CertificateError, match="destinations are not those"):
        check(routing, targets=("h16", "h15", "h4"))
    with pytest.raises(CertificateError, match="wrong shape"):
        check(routing, prices=np.zeros(3))
