"""The symmetry engine, held against linear programs over all (destination, link) pairs."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array
from scipy.sparse.csgraph import connected_components

from solver.demand import Demand
from solver.engines import symmetry
from solver.engines.symmetry import largest_share, least_delay, least_utilisation
from solver.errors import SolverError
from solver.instance import build
from solver.linear import INFINITE, LinearProgram, OutOfTime
from solver.refinement import classes
from solver.testing import demands, fabrics
from solver.watch import Watch
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree


def all_to_all(fabric, rate_bps=1e6, max_utilisation=1.0):
    leaves = [node.id for node in fabric.nodes if node.tier == 1]
    return build(fabric, [Demand(a, b, rate_bps) for a, b in permutations(leaves, 2)], max_utilisation)


def switches_of(fabric):
    """The fabric without its hosts: fewer columns for the oracle."""
    hosts = {node.id for node in fabric.hosts}
    links = tuple(link for link in fabric.links if not {link.source, link.target} & hosts)
    return Fabric(fabric.switches, links)


def degraded(k, capacity_bps, kind):
    """A fat-tree of which one cable, or one direction of it, is slow or gone."""
    fabric = switches_of(fat_tree(k, capacity_bps=capacity_bps))
    if kind == "healthy":
        return fabric
    node, how, ways = kind.split()
    link = fabric.link_by_id[LinkId(node, 1 + k // 2)]
    hit = {link.id, link.reverse_id} if ways == "cable" else {link.id}
    if how == "gone":
        return fabric.without_links(hit)
    slow = (replace(link, capacity_bps=capacity_bps / 2) if link.id in hit else link for link in fabric.links)
    return Fabric(fabric.nodes, tuple(slow))


KINDS = [
    "healthy",
    *(f"{n} {how} {ways}" for n in ("e0-0", "a0-0") for how in ("slow", "gone") for ways in ("way", "cable")),
]


def switches_and_cables(cables):
    """A fabric of switches only, from (a, b, capacity, delay), duplex."""
    names = sorted({name for a, b, *_ in cables for name in (a, b)})
    links = []
    for port, (a, b, capacity, delay) in enumerate(cables, start=1):
        links += [Link(a, port, b, port, capacity, delay), Link(b, port, a, port, capacity, delay)]
    return Fabric(tuple(Node(name, NodeKind.SWITCH) for name in names), tuple(links))


def oracle(instance, limits_bps, *, utilisation=False, most_delay=None):
    """The least delay within limits, or their least utilisation, over all columns; None where nothing fits."""
    targets, links, unit = instance.targets, instance.links, float(instance.rates_bps.max())
    column = np.arange(targets * links)
    row, link = np.divmod(column, links)
    balance, count = row * instance.vertices, targets * instance.vertices
    delays = np.append(instance.delays_s[link], 0.0) / (float(instance.delays_s.mean()) or 1.0)
    ones, all_links = np.ones(len(column)), np.arange(links)
    entries = [
        (balance + instance.tails[link], column, ones),
        (balance + instance.heads[link], column, -ones),
        (count + link, column, ones * unit / limits_bps[link]),
        (count + all_links, np.full(links, len(column)), -np.ones(links)),
        (np.full(len(delays), count + links), np.arange(len(delays)), delays),
    ]
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    lower = instance.supply().toarray() / unit
    upper = lower.copy()
    goals = (np.arange(targets), instance.target_vertices)
    lower[goals], upper[goals] = -INFINITE, INFINITE
    most = INFINITE if most_delay is None else most_delay / unit / (float(instance.delays_s.mean()) or 1.0)
    program = LinearProgram(
        np.append(np.zeros(len(column)), 1.0) if utilisation else delays,
        csc_array((values, (rows, columns)), shape=(count + links + 1, len(column) + 1)),
        np.concatenate([lower.ravel(), np.full(links + 1, -INFINITE)]),
        np.concatenate([upper.ravel(), np.zeros(links), [most]]),
        np.append(np.zeros(len(column)), 0.0 if utilisation else 1.0),
        np.append(np.full(len(column), INFINITE), INFINITE if utilisation else 1.0),
    )
    found = program.minimise()
    if found is None:
        return None
    return found.value if utilisation else found.value * unit * (float(instance.delays_s.mean()) or 1.0)


def loads_of(answer):
    return np.asarray(answer.flow_bps.sum(axis=0)).ravel()


def delay_of(instance, answer):
    return float(loads_of(answer) @ instance.delays_s)


def utilisation_of(instance, answer):
    return float((loads_of(answer) / instance.capacities_bps).max())


def priced(instance, weights):
    return float(instance.rates_bps @ instance.distances(weights)[instance.rows, instance.origins])


def assert_exact(instance, answer):
    """Conserved to rounding, not negative, without cycles, with a price for every link."""
    flow, share = answer.flow_bps.toarray(), answer.share
    assert flow.shape == (instance.targets, instance.links)
    assert flow.min() >= 0
    assert answer.prices.shape == (instance.links,)
    assert answer.prices.min() >= 0
    largest = max(float(flow.max()), float(instance.rates_bps.max()))
    balance = -share * instance.supply().toarray()
    for row, carried in enumerate(flow):
        balance[row] += np.bincount(instance.tails, carried, instance.vertices)
        balance[row] -= np.bincount(instance.heads, carried, instance.vertices)
        balance[row, instance.target_vertices[row]] = 0.0
        ends = instance.tails[carried > 0], instance.heads[carried > 0]
        graph = csc_array((carried[carried > 0], ends), shape=(instance.vertices, instance.vertices))
        assert connected_components(graph, connection="strong")[0] == instance.vertices
    assert np.abs(balance).max() <= 1e-12 * largest


def assert_least_delay(instance, answer):
    assert_exact(instance, answer)
    value, allowed = delay_of(instance, answer), instance.allowed_bps
    assert np.all(loads_of(answer) <= allowed * (1 + 1e-9))
    proven = priced(instance, instance.delays_s + answer.prices) - float(allowed @ answer.prices)
    assert proven == pytest.approx(value, rel=1e-6, abs=1e-12)
    assert np.all(loads_of(answer)[answer.prices > 0] >= allowed[answer.prices > 0] * (1 - 1e-6))
    return value


def assert_least_utilisation(instance, answer):
    assert_exact(instance, answer)
    proven = priced(instance, answer.prices) / float(instance.capacities_bps @ answer.prices)
    assert proven == pytest.approx(utilisation_of(instance, answer), rel=1e-6)
    return proven


def assert_largest_share(instance, answer):
    assert_exact(instance, answer)
    assert np.all(loads_of(answer) <= instance.allowed_bps * (1 + 1e-9))
    proven = float(instance.allowed_bps @ answer.prices) / priced(instance, answer.prices)
    assert proven == pytest.approx(answer.share, rel=1e-6)
    return answer.share


def assert_as_good_as_the_oracle(instance):
    """All three optima, and delay or utilisation among the optima."""
    found, capacities = classes(instance), instance.capacities_bps
    short = least_delay(instance, found, Watch())
    expected = oracle(instance, instance.allowed_bps)
    assert (short is None) == (expected is None)
    if short is not None:
        assert assert_least_delay(instance, short) == pytest.approx(expected, rel=1e-7, abs=1e-9)
        least = oracle(instance, capacities, utilisation=True, most_delay=expected * (1 + 1e-9) + 1e-12)
        assert utilisation_of(instance, short) == pytest.approx(least, rel=1e-5)
    level = least_utilisation(instance, found, Watch())
    expected = oracle(instance, capacities, utilisation=True)
    assert assert_least_utilisation(instance, level) == pytest.approx(expected, rel=1e-7)
    least = oracle(instance, capacities * expected * (1 + 1e-9))
    assert delay_of(instance, level) == pytest.approx(least, rel=1e-5, abs=1e-9)
    most = largest_share(instance, found, Watch())
    expected = 1 / oracle(instance, instance.allowed_bps, utilisation=True)
    assert assert_largest_share(instance, most) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_all_to_all_on_a_fat_tree_is_as_good_as_the_oracle(kind):
    assert_as_good_as_the_oracle(all_to_all(degraded(4, 1e7, kind), 2e6))


@pytest.mark.parametrize("kind", ["e0-0 slow cable", "a0-0 gone way"])
def test_all_to_all_on_a_larger_fat_tree_is_as_good_as_the_oracle(kind):
    instance = all_to_all(degraded(6, 1e7, kind))
    found = classes(instance)
    answer = least_delay(instance, found, Watch())
    assert assert_least_delay(instance, answer) == pytest.approx(oracle(instance, instance.allowed_bps), rel=1e-7)
    level = assert_least_utilisation(instance, least_utilisation(instance, found, Watch()))
    assert level == pytest.approx(oracle(instance, instance.capacities_bps, utilisation=True), rel=1e-7)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_random_demands_on_random_fabrics_are_as_good_as_the_oracle(data):
    fabric = data.draw(fabrics())
    assert_as_good_as_the_oracle(build(fabric, data.draw(demands(fabric)), data.draw(st.sampled_from((0.5, 1.0)))))


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_fabrics_with_some_symmetry_are_as_good_as_the_oracle(data):
    leaves, spines, parallel = (data.draw(st.integers(low, 3)) for low in (2, 1, 1))
    cables = [(f"l{a}", f"s{b}", 1e7, 1e-6) for a in range(leaves) for b in range(spines) for _ in range(parallel)]
    cables += [(f"l{a}", f"l{(a + 1) % leaves}", 1e7, 3e-6) for a in range(leaves)]
    for number in data.draw(st.sets(st.integers(0, len(cables) - 1), max_size=2)):
        cables[number] = (*cables[number][:2], *data.draw(st.sampled_from(((5e6, 1e-6), (1e7, 0.0)))))
    fabric = switches_and_cables(cables)
    rate_bps = data.draw(st.sampled_from((1e6, 4e6, 1e7)))
    asked = [Demand(f"l{a}", f"l{b}", rate_bps) for a, b in permutations(range(leaves), 2)]
    assert_as_good_as_the_oracle(build(fabric, asked))


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_nodes_and_links_in_another_order_carry_the_same(data):
    fabric = degraded(4, 1e7, data.draw(st.sampled_from(KINDS)))
    random = np.random.default_rng(data.draw(st.integers(0, 100)))
    nodes, links = random.permutation(len(fabric.nodes)), random.permutation(len(fabric.links))
    other = Fabric(tuple(fabric.nodes[n] for n in nodes), tuple(fabric.links[n] for n in links))
    for question in (least_delay, least_utilisation, largest_share):
        one, two = (
            question(instance, classes(instance), Watch()) for instance in map(all_to_all, (fabric, other))
        )  # fmt: skip
        assert loads_of(one)[links] == pytest.approx(loads_of(two), rel=1e-12)
        assert one.prices[links] == pytest.approx(two.prices, rel=1e-9)


def test_the_same_question_has_the_same_answer():
    instance = all_to_all(degraded(4, 1e7, "e0-0 slow way"))
    one, two = (least_delay(instance, classes(instance), Watch()) for _ in range(2))
    assert (one.flow_bps != two.flow_bps).nnz == 0
    assert np.array_equal(one.prices, two.prices)


def test_all_links_of_a_healthy_fat_tree_that_are_alike_carry_alike():
    instance = all_to_all(degraded(4, 1e7, "healthy"))
    loads = loads_of(least_delay(instance, classes(instance), Watch()))
    assert len({*loads.round(3).tolist()}) == 2


def test_the_fast_way_is_filled_first_and_has_a_price():
    ways = [("a", "b", 10.0, 1.0), ("b", "d", 10.0, 1.0), ("a", "c", 100.0, 3.0), ("c", "d", 100.0, 3.0)]
    instance = build(switches_and_cables(ways), [Demand("a", "d", 30.0)])
    answer = least_delay(instance, classes(instance), Watch())
    assert assert_least_delay(instance, answer) == pytest.approx(10 * 2 + 20 * 6)
    assert answer.prices.sum() == pytest.approx(4.0)


def test_parallel_links_share_alike():
    fabric = switches_and_cables([("a", "b", 10.0, 1.0)] * 3)
    instance = build(fabric, [Demand("a", "b", 12.0)])
    answer = least_delay(instance, classes(instance), Watch())
    assert loads_of(answer).tolist() == pytest.approx([4.0, 0.0] * 3)


def test_equal_ways_without_delay_carry_no_circulation():
    instance = build(
        switches_and_cables([(a, b, 10.0, 0.0) for a, b in ("ab", "bc", "ca", "cd")]), [Demand("a", "d", 6.0)]
    )
    assert_least_delay(instance, least_delay(instance, classes(instance), Watch()))


def test_demands_that_do_not_fit_have_no_least_delay_but_a_utilisation_and_a_share():
    instance = build(switches_and_cables([("a", "b", 10.0, 1.0)]), [Demand("a", "b", 25.0)])
    found = classes(instance)
    assert least_delay(instance, found, Watch()) is None
    assert assert_least_utilisation(instance, least_utilisation(instance, found, Watch())) == pytest.approx(2.5)
    assert assert_largest_share(instance, largest_share(instance, found, Watch())) == pytest.approx(0.4)


def test_below_what_is_reached_elsewhere_delay_comes_first():
    ways = [("a", "b", 10.0, 1.0), ("a", "c", 10.0, 3.0), ("c", "b", 10.0, 3.0)]
    instance = build(switches_and_cables(ways), [Demand("a", "b", 8.0)])
    found = classes(instance)
    assert loads_of(least_utilisation(instance, found, Watch())).max() == pytest.approx(4.0)
    assert loads_of(least_utilisation(instance, found, Watch(), floor=0.6)).max() == pytest.approx(6.0)


def test_rates_far_below_the_capacities_are_spread_as_well():
    instance = all_to_all(degraded(4, 1e13, "e0-0 slow cable"), 1.0)
    level = assert_least_utilisation(instance, least_utilisation(instance, classes(instance), Watch()))
    usual = all_to_all(degraded(4, 1e7, "e0-0 slow cable"), 1e6)
    assert level == pytest.approx(1e-12 * utilisation_of(usual, least_utilisation(usual, classes(usual), Watch())))


def test_flows_are_found_as_well_where_a_table_of_all_kinds_would_be_too_large(monkeypatch):
    instance = all_to_all(degraded(4, 1e7, "e0-0 gone way"))
    expected = least_delay(instance, classes(instance), Watch()).flow_bps
    monkeypatch.setattr(symmetry, "_TABLE", 0)
    assert (least_delay(instance, classes(instance), Watch()).flow_bps != expected).nnz == 0


@pytest.mark.parametrize("what", ["pair_colours", "link_colours"])
def test_colours_that_are_not_stable_are_refused(what):
    instance = all_to_all(degraded(4, 1e7, "e0-0 slow cable"))
    found = classes(instance)
    wrong = replace(found, **{what: np.roll(getattr(found, what), 1, axis=0)})
    with pytest.raises(SolverError, match="hash"):
        least_utilisation(instance, wrong, Watch())


def test_a_demand_without_a_path_is_refused():
    nodes = tuple(Node(name, NodeKind.SWITCH) for name in "abc")
    instance = build(Fabric(nodes, (Link("a", 1, "b", 1, 10.0, 1.0),)), [Demand("a", "c", 1.0)])
    assert least_delay(instance, classes(instance), Watch()) is None
    with pytest.raises(SolverError, match="path"):
        least_utilisation(instance, classes(instance), Watch())


def test_no_demands_need_no_links():
    instance = build(switches_and_cables([("a", "b", 10.0, 1.0)]), [])
    found = classes(instance)
    assert least_delay(instance, found, Watch()).flow_bps.shape == (0, 2)
    assert least_utilisation(instance, found, Watch()).prices.tolist() == [0.0, 0.0]
    assert largest_share(instance, found, Watch()).share == np.inf


def test_no_time_is_no_answer():
    instance = all_to_all(degraded(4, 1e7, "healthy"))
    with pytest.raises(OutOfTime):
        least_delay(instance, classes(instance), Watch(limit_s=0.0))


@pytest.mark.parametrize("kind", ["healthy", "e0-0 gone way", "a0-0 slow cable"])
def test_large_programs_are_solved_by_interior_point_as_well(kind, monkeypatch):
    monkeypatch.setattr(symmetry, "_SIMPLEX", 0)
    assert_as_good_as_the_oracle(all_to_all(degraded(4, 1e7, kind), 2e6))
