"""Rings and all-to-all on training fabrics: known optima, the reference's answers, and failures."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from solver.demand import Demand
from solver.routing import Objective, Status
from solver.solve import Session, solve
from solver.testing import assert_conserves, assert_single_paths_valid
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree

RATE = 1e9


def leaf_spine(leaves, spines, hosts):
    """Every leaf on every spine by one cable, and so many hosts on every leaf."""
    nodes = [Node(f"s{spine}", NodeKind.SWITCH, tier=2) for spine in range(spines)]
    nodes += [Node(f"l{leaf}", NodeKind.SWITCH, tier=1) for leaf in range(leaves)]
    nodes += [Node(f"h{host}", NodeKind.HOST, tier=0) for host in range(leaves * hosts)]
    cables = [(f"l{leaf}", spine + 1, f"s{spine}", leaf + 1) for leaf in range(leaves) for spine in range(spines)]
    cables += [
        (f"h{leaf * hosts + host}", 1, f"l{leaf}", spines + host + 1) for leaf in range(leaves) for host in range(hosts)
    ]
    links = [Link(a, a_port, b, b_port, RATE, 1e-6) for a, a_port, b, b_port in cables]
    links += [Link(b, b_port, a, a_port, RATE, 1e-6) for a, a_port, b, b_port in cables]
    return Fabric(tuple(nodes), tuple(links))


def rings(fabric, count, seed=1):
    """All hosts in random order, as so many rings."""
    order = np.random.default_rng(seed).permutation([host.id for host in fabric.hosts]).reshape(count, -1)
    return [Demand(a, b, RATE) for ring in order.tolist() for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)]


def without_cables(fabric, part, seed=3):
    """The fabric without a part of its cables between switches."""
    cables = [
        link
        for link in fabric.links
        if link.id < link.reverse_id and not {link.source, link.target} & {host.id for host in fabric.hosts}
    ]
    gone = np.random.default_rng(seed).choice(len(cables), max(1, int(part * len(cables))), replace=False)
    return fabric.without_links([end for one in gone for end in (cables[one].id, cables[one].reverse_id)])


def all_to_all(fabric, rate):
    leaves = [switch.id for switch in fabric.switches if switch.tier == 1]
    return [Demand(a, b, rate) for a, b in permutations(leaves, 2)]


@pytest.mark.parametrize(
    ("fabric", "count"),
    [(leaf_spine(64, 32, 32), 1), (leaf_spine(12, 6, 6), 3), (fat_tree(16, capacity_bps=RATE), 32)],
    ids=["64x32", "12x6", "k=16"],
)
def test_rings_over_all_hosts_put_one_flow_on_a_link_and_prove_that_none_do_better(fabric, count):
    for objective in (Objective.MIN_MAX_UTILISATION, Objective.MIN_DELAY, Objective.MAX_CONCURRENT_FLOW):
        routing = solve(fabric, rings(fabric, count), objective, single_path=True)
        assert routing.utilisations().max() == pytest.approx(1.0)
        assert routing.status is Status.OPTIMAL
        assert routing.engine == "colouring"
        assert len(set(routing.path_flows.links.tolist())) == len(routing.path_flows.links)


@pytest.mark.parametrize(
    ("fabric", "count"), [(leaf_spine(64, 32, 32), 1), (fat_tree(16, capacity_bps=RATE), 32)], ids=["64x32", "k=16"]
)
def test_with_one_cable_of_a_hundred_gone_the_worst_link_is_next_to_the_bound(fabric, count):
    broken = without_cables(fabric, 0.01)
    routing = solve(broken, rings(broken, count), Objective.MIN_MAX_UTILISATION, single_path=True)
    bound = routing.certificate.bound
    assert 1 < bound <= routing.certificate.value <= np.ceil(bound) + 1
    assert f"split demands could not go below {bound:.4g}" in routing.reason
    assert_single_paths_valid(routing)


@pytest.mark.parametrize("k", [4, 6])
@pytest.mark.parametrize("trouble", ["none", "slow", "gone"])
@pytest.mark.parametrize("objective", [Objective.MIN_DELAY, Objective.MIN_MAX_UTILISATION])
def test_all_to_all_has_the_optimum_of_the_reference(k, trouble, objective):
    fabric = fat_tree(k, capacity_bps=RATE)
    uplink = LinkId("e0-0", k // 2 + 1)
    cable = {uplink, fabric.link_by_id[uplink].reverse_id}
    if trouble == "slow":
        slow = tuple(replace(link, capacity_bps=RATE / 4) if link.id in cable else link for link in fabric.links)
        fabric = Fabric(fabric.nodes, slow)
    elif trouble == "gone":
        fabric = fabric.without_links(cable)
    demands = all_to_all(fabric, 0.8 * RATE * (k // 2 - 1) / (k * k // 2))
    expected = solve(fabric, demands, objective, engine="pulp")
    for engine in ("symmetry", "aggregated"):
        routing = solve(fabric, demands, objective, engine=engine)
        assert routing.certificate.value == pytest.approx(expected.certificate.value, rel=1e-6)
        assert routing.utilisations().max() == pytest.approx(expected.utilisations().max(), rel=1e-6)
        assert routing.certificate.violation <= 1e-9
        assert_conserves(routing)


@pytest.mark.parametrize("switch", ["e0-0", "a1-0"])
@pytest.mark.parametrize("objective", [Objective.MIN_MAX_UTILISATION, Objective.MAX_CONCURRENT_FLOW])
def test_a_warm_session_finds_the_new_optimum_after_a_failure(switch, objective):
    fabric = fat_tree(8, capacity_bps=RATE)
    demands = rings(fabric, 1)
    session = Session(fabric)
    session.solve(demands, objective)
    uplink = LinkId(switch, 5)
    broken = fabric.without_links([uplink, fabric.link_by_id[uplink].reverse_id])
    session.change(broken)
    warm = session.solve(demands, objective)
    assert warm.status is Status.OPTIMAL
    assert warm.certificate.value == pytest.approx(solve(broken, demands, objective).certificate.value, rel=1e-6)
    # A leaf that lost one of four uplinks must push four flows through three; a core less is no loss at all.
    share = 3 / 4 if switch == "e0-0" else 1.0
    best = share if objective is Objective.MAX_CONCURRENT_FLOW else 1 / share
    assert warm.certificate.value == pytest.approx(best)


def test_an_oversubscribed_leaf_gets_as_many_flows_a_link_as_it_must():
    fabric = leaf_spine(8, 4, 16)
    routing = solve(fabric, rings(fabric, 1), Objective.MIN_MAX_UTILISATION, single_path=True)
    busiest = max(
        sum(demand.source in hosts and demand.target not in hosts for demand in routing.demands)
        for hosts in ({f"h{leaf * 16 + host}" for host in range(16)} for leaf in range(8))
    )
    assert routing.certificate.value == pytest.approx(np.ceil(busiest / 4))
    assert "no choice of single paths is better" in routing.reason
