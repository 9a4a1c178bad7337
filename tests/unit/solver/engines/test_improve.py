"""The anytime improver never makes a routing worse, and comes close to what linear programs find."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from solver.cycles import cancel_cycles
from solver.demand import Demand
from solver.engines.improve import Cost, improve, start
from solver.engines.potential import largest_share
from solver.engines.trees import Trees
from solver.errors import SolverError
from solver.instance import build, loads_of
from solver.routing import Objective
from solver.solve import solve
from solver.testing import demands, fabrics
from solver.watch import Watch
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree

FAT_TREE = fat_tree(4, capacity_bps=1e7)
COSTS = (Cost.utilisation, Cost.delay, Cost.queueing)


def two_ways(slow=3.0):
    """A fast way of 10 and a slow way of 100 from a to d."""
    cables = [("a", "b", 10.0, 1.0), ("b", "d", 10.0, 1.0), ("a", "c", 100.0, slow), ("c", "d", 100.0, slow)]
    links = []
    for port, (a, b, capacity, delay) in enumerate(cables, start=1):
        links += [Link(a, port, b, port, capacity, delay), Link(b, port, a, port, capacity, delay)]
    return Fabric(tuple(Node(name, NodeKind.SWITCH) for name in "abcd"), tuple(links))


def wandering(instance, seed):
    """All demands on the shortest paths of arbitrary weights, whatever these overload."""
    weights = np.random.default_rng(seed).uniform(0.1, 1.0, instance.links)
    return csr_array(Trees(instance).flows(weights, np.arange(instance.targets)))


def assert_carries_all(instance, flow):
    """The flow carries exactly all demands, and nothing goes round in a ring."""
    flows = flow.toarray()
    assert flows.min(initial=0.0) >= 0
    for row, target in enumerate(instance.target_vertices):
        balance = np.bincount(instance.tails, flows[row], instance.vertices)
        balance -= np.bincount(instance.heads, flows[row], instance.vertices)
        offered = instance.supply().toarray()[row]
        offered[target] -= offered.sum()
        np.testing.assert_allclose(balance, offered, atol=1e-9 * np.abs(offered).max())
        used = {link: flows[row, link] for link in np.flatnonzero(flows[row]).tolist()}
        assert cancel_cycles(used, instance.tails, instance.heads) == used


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_cost_is_worse_afterwards_and_all_demands_are_carried(data):
    fabric = data.draw(fabrics())
    instance = build(fabric, data.draw(demands(fabric)), data.draw(st.sampled_from((0.5, 1.0))))
    cost = data.draw(st.sampled_from(COSTS))(instance)
    flow = wandering(instance, data.draw(st.integers(0, 9)))
    better = improve(instance, flow, Watch(), cost)
    assert_carries_all(instance, better)
    fullest, total = cost.of(instance, loads_of(better))
    fullest_before, total_before = cost.of(instance, loads_of(flow))
    assert fullest <= fullest_before * (1 + 1e-9)
    assert total <= total_before * (1 + 1e-9) or fullest < fullest_before


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_linear_programs_are_hardly_better(data):
    fabric = data.draw(fabrics())
    wanted = data.draw(demands(fabric, max_rate_bps=2_000_000))
    instance = build(fabric, wanted)
    assume(largest_share(instance, Watch()).share > 1.02)
    flow = wandering(instance, 0)
    for objective, make in (
        (Objective.MIN_MAX_UTILISATION, Cost.utilisation),
        (Objective.MIN_DELAY, Cost.delay),
        (Objective.MIN_QUEUEING_DELAY, Cost.queueing),
    ):
        cost = make(instance)
        exact = solve(fabric, wanted, objective).certificate.value
        fullest, total = cost.of(instance, loads_of(improve(instance, flow, Watch(), cost)))
        value = fullest if objective is Objective.MIN_MAX_UTILISATION else total
        assert value <= exact * 1.01 + 1e-12
        assert value >= exact * (1 - 1e-6)


def test_the_fast_way_fills_and_the_rest_goes_the_slow_way():
    instance = build(two_ways(), [Demand("a", "d", 30.0)])
    cost = Cost.delay(instance)
    flow = improve(instance, start(instance, Watch()), Watch(), cost)
    fullest, total = cost.of(instance, loads_of(flow))
    assert fullest == pytest.approx(1.0)
    assert total == pytest.approx(10 * 2 + 20 * 6, rel=1e-3)


def test_queueing_leaves_the_short_way_when_it_gets_steep():
    instance = build(two_ways(), [Demand("a", "d", 9.0)])
    cost = Cost.queueing(instance)
    flow = improve(instance, start(instance, Watch()), Watch(), cost)
    # Per bit/s the wide way costs a tenth of what the narrow one does, up to a third of it.
    assert loads_of(flow)[0] == pytest.approx(0.0, abs=0.01)
    assert cost.of(instance, loads_of(flow))[1] == pytest.approx(2 * 9 / 100, rel=1e-3)


def test_without_time_the_routing_comes_back_without_its_rings():
    instance = build(two_ways(), [Demand("a", "d", 5.0)])
    flow = start(instance, Watch()).toarray()
    flow[0, :2] += 1.0
    cleaned = improve(instance, csr_array(flow), Watch(limit_s=0.0), Cost.delay(instance))
    assert_carries_all(instance, cleaned)
    assert loads_of(cleaned)[:4].tolist() == pytest.approx([5.0, 0.0, 5.0, 0.0])


def test_an_optimal_routing_stays():
    instance = build(two_ways(), [Demand("a", "d", 30.0)])
    best = np.zeros((1, instance.links))
    best[0, [0, 2, 4, 6]] = (10.0, 10.0, 20.0, 20.0)
    after = improve(instance, csr_array(best), Watch(), Cost.delay(instance))
    np.testing.assert_allclose(after.toarray(), best, rtol=1e-9)


def test_links_without_delay_leave_nothing_to_gain():
    instance = build(two_ways(), [Demand("a", "d", 5.0)])
    free = Cost(1.0, np.zeros(instance.links), np.ones(1), np.zeros(1))
    told = []
    improve(instance, start(instance, Watch()), Watch(report=told.append), free)
    assert not told


def test_a_way_without_any_delay_is_found_and_ends_the_search():
    instance = build(two_ways(slow=0.0), [Demand("a", "d", 9.0)])
    flow = np.zeros((1, instance.links))
    flow[0, [0, 2]] = 9.0
    cost = Cost.delay(instance)
    after = improve(instance, csr_array(flow), Watch(), cost)
    assert cost.of(instance, loads_of(after))[1] == pytest.approx(0.0, abs=1e-3)


def test_the_value_told_never_rises():
    hosts = [host.id for host in FAT_TREE.hosts]
    instance = build(FAT_TREE, [Demand(a, b, 5e5) for a, b in itertools.permutations(hosts, 2)])
    told = []
    improve(instance, wandering(instance, 1), Watch(report=told.append), Cost.utilisation(instance))
    values = [step.value for step in told]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.75, rel=0.01)


def test_the_same_seed_gives_the_same_routing():
    wanted = [Demand(f"h{a}", f"h{17 - a}", 5e5 * a) for a in range(1, 17)]
    instance = build(FAT_TREE, wanted)
    flow = wandering(instance, 2)
    first, second = (improve(instance, flow, Watch(), Cost.utilisation(instance), seed=3) for _ in range(2))
    assert (first != second).nnz == 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_first_routing_fits_wherever_one_does(data):
    fabric = data.draw(fabrics())
    instance = build(fabric, data.draw(demands(fabric)))
    share = largest_share(instance, Watch(), gap=1e-3).share
    flow = start(instance, Watch())
    assert_carries_all(instance, flow)
    fullest = float((loads_of(flow) / instance.allowed_bps).max())
    assert fullest <= max(1.0, 1.002 / share) * (1 + 1e-9)


def test_a_start_without_demands_is_refused():
    with pytest.raises(SolverError, match="no demands"):
        start(build(FAT_TREE, []), Watch())
    nothing = csr_array((0, len(FAT_TREE.links)))
    instance = build(FAT_TREE, [])
    assert improve(instance, nothing, Watch(), Cost.utilisation(instance)).shape == nothing.shape
