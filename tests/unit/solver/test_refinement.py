"""Colours of (destination, vertex) pairs and of links, held against their definition."""

from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.demand import Demand
from solver.instance import build
from solver.refinement import classes, worthwhile
from solver.testing import demands, fabrics
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree


def all_to_all(fabric, rate_bps=1e6):
    leaves = [node.id for node in fabric.nodes if node.tier == 1]
    return build(fabric, [Demand(a, b, rate_bps) for a, b in permutations(leaves, 2)])


def slowed(fabric, *links):
    slow = [replace(link, capacity_bps=link.capacity_bps / 2) if link.id in links else link for link in fabric.links]
    return Fabric(fabric.nodes, tuple(slow))


def shuffled(fabric, seed):
    """The same fabric with nodes and links in another order."""
    random = np.random.default_rng(seed)
    nodes, links = random.permutation(len(fabric.nodes)), random.permutation(len(fabric.links))
    return Fabric(tuple(fabric.nodes[n] for n in nodes), tuple(fabric.links[n] for n in links))


def ring(size):
    cables = [(f"s{n}", f"s{(n + 1) % size}") for n in range(size)]
    links = [link for a, b in cables for link in (Link(a, 1, b, 2, 1e9, 1e-6), Link(b, 2, a, 1, 1e9, 1e-6))]
    return Fabric(tuple(Node(f"s{n}", NodeKind.SWITCH, tier=1) for n in range(size)), tuple(links))


def by_definition(instance):
    """Numbers of pair colours, link colours and columns of the coarsest stable colouring, the slow way."""
    found = classes(instance)
    targets, links = range(instance.targets), range(len(found.links))
    supply = instance.supply().toarray()
    used = np.unique(np.concatenate([instance.tails[found.links], instance.heads[found.links]]))
    goals, tails, heads = instance.target_vertices, instance.tails[found.links], instance.heads[found.links]
    kinds = (instance.capacities_bps, instance.allowed_bps, instance.delays_s)
    link = [tuple(kind[number] for kind in kinds) for number in found.links]
    pair = {(t, v): (supply[t, v], bool(goals[t] == v)) for t in targets for v in used}
    sizes = (0, 0)
    while sizes != (len(set(pair.values())), len(set(link))):
        sizes = (len(set(pair.values())), len(set(link)))
        around = {place: (Counter(), Counter()) for place in pair}
        along = [Counter((pair[t, tails[e]], pair[t, heads[e]]) for t in targets) for e in links]
        for t in targets:
            for e in links:
                around[t, tails[e]][0][link[e], pair[t, heads[e]]] += 1
                around[t, heads[e]][1][link[e], pair[t, tails[e]]] += 1
        pair = numbered({p: (c, *(frozenset(side.items()) for side in around[p])) for p, c in pair.items()})
        link = list(numbered({e: (link[e], frozenset(along[e].items())) for e in links}).values())
    columns = {(link[e], pair[t, tails[e]], pair[t, heads[e]]) for t in targets for e in links}
    return (*sizes, len(columns))


def numbered(colours):
    number = {}
    return {place: number.setdefault(colour, len(number)) for place, colour in colours.items()}


def sizes(refinement):
    return refinement.pairs, len(refinement.link_sizes), refinement.columns


def assert_stable(instance, found):
    """All members of a colour see what its columns say."""
    columns = zip(found.column_links, found.column_tails, found.column_heads, found.column_sizes, strict=True)
    out, into, along = {}, {}, {}
    for link, tail, head, size in columns:
        out.setdefault(tail, Counter())[link, head] += size / found.pair_sizes[tail]
        into.setdefault(head, Counter())[link, tail] += size / found.pair_sizes[head]
        along.setdefault(link, Counter())[tail, head] += size / found.link_sizes[link]
    for colours in found.pair_colours:
        leaving, arriving = [Counter() for _ in colours], [Counter() for _ in colours]
        for link, tail, head in zip(found.link_colours, found.tails, found.heads, strict=True):
            leaving[tail][link, colours[head]] += 1
            arriving[head][link, colours[tail]] += 1
        for vertex, colour in enumerate(colours):
            assert leaving[vertex] == out.get(colour, Counter())
            assert arriving[vertex] == into.get(colour, Counter())
    for link, tail, head in zip(found.link_colours, found.tails, found.heads, strict=True):
        ends = zip(found.pair_colours[:, tail], found.pair_colours[:, head], strict=True)
        assert Counter(ends) == along[link]
    assert np.array_equal(np.bincount(found.pair_colours.ravel()), found.pair_sizes)
    assert np.array_equal(np.bincount(found.link_colours), found.link_sizes)
    for values in (instance.capacities_bps, instance.delays_s, instance.allowed_bps):
        pairs = set(zip(found.link_colours.tolist(), values[found.links].tolist(), strict=True))
        assert len(pairs) == len(found.link_sizes)


@pytest.mark.parametrize("k", [4, 6, 8])
def test_all_to_all_on_a_healthy_fat_tree_has_ten_kinds_of_flow(k):
    assert sizes(classes(all_to_all(fat_tree(k, capacity_bps=1e9)))) == (6, 4, 10)


@pytest.mark.parametrize(("cable", "expected"), [("e0-0", (32, 20, 76)), ("a0-0", (23, 20, 58))])
def test_one_slow_cable_makes_a_few_more(cable, expected):
    fabric = fat_tree(8, capacity_bps=1e9)
    link = fabric.link_by_id[LinkId(cable, 5)]
    assert sizes(classes(all_to_all(slowed(fabric, link.id, link.reverse_id)))) == expected


def test_a_ring_has_a_colour_for_each_distance():
    found = classes(all_to_all(ring(8)))
    assert sizes(found) == (5, 1, 8)
    assert sorted(found.pair_sizes.tolist()) == [8, 8, 16, 16, 16]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_colours_are_stable_and_as_coarse_as_can_be(data):
    fabric = data.draw(fabrics())
    instance = build(fabric, data.draw(demands(fabric)))
    found = classes(instance)
    assert_stable(instance, found)
    assert sizes(found) == by_definition(instance)


@pytest.mark.parametrize("cables", [(), ("e0-0",), ("a0-0", "e1-1")])
def test_colours_of_a_fat_tree_are_stable_and_as_coarse_as_can_be(cables):
    fabric = fat_tree(4, capacity_bps=1e9).without_links(LinkId(cable, 3) for cable in cables)
    instance = all_to_all(fabric)
    assert_stable(instance, classes(instance))
    assert sizes(classes(instance)) == by_definition(instance)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_other_hashes_and_another_order_make_the_same_colours(data):
    fabric = data.draw(fabrics())
    asked = data.draw(demands(fabric))
    found = classes(build(fabric, asked))
    assert sizes(classes(build(fabric, asked), seed=7)) == sizes(found)
    other = shuffled(fabric, 1)
    again = classes(build(other, asked[::-1]))
    assert np.array_equal(again.column_sizes, found.column_sizes)
    assert np.array_equal(again.column_links, found.column_links)
    colour = {fabric.links[n].id: c for n, c in zip(found.links, found.link_colours, strict=True)}
    assert colour == {other.links[n].id: c for n, c in zip(again.links, again.link_colours, strict=True)}


def test_the_order_in_which_demands_are_added_up_makes_no_colour():
    rates = [0.1, 0.2, 0.3]
    asked = [Demand("s0", "s2", rate) for rate in rates] + [Demand("s2", "s0", rate) for rate in rates[::-1]]
    instance = build(ring(4), asked)
    assert len({*instance.supply().data.tolist()}) == 2
    assert sizes(classes(instance)) == (3, 2, 4)


def test_hosts_that_neither_send_nor_receive_are_left_out():
    fabric = fat_tree(4, capacity_bps=1e9)
    found = classes(all_to_all(fabric))
    assert {fabric.links[link].source[0] + fabric.links[link].target[0] for link in found.links} == {
        "ea", "ae", "ac", "ca",
    }  # fmt: skip
    assert found.pair_colours.shape == (8, 20)


def test_parallel_links_have_one_colour():
    nodes = (Node("a", NodeKind.SWITCH), Node("b", NodeKind.SWITCH))
    links = tuple(Link("a", port, "b", port, 1e9, 1e-6) for port in range(1, 4))
    found = classes(build(Fabric(nodes, links), [Demand("a", "b", 1.0)]))
    assert sizes(found) == (2, 1, 1)
    assert found.column_sizes.tolist() == [3]


def test_refinement_pays_on_a_fat_tree():
    found = worthwhile(all_to_all(fat_tree(6, capacity_bps=1e9)))
    assert found is not None
    assert found.columns == 10


@pytest.mark.parametrize("most_columns", [5, 8])
def test_refinement_stops_above_the_columns_that_are_wanted(most_columns):
    assert worthwhile(all_to_all(fat_tree(4, capacity_bps=1e9)), most_columns=most_columns) is None


def test_refinement_does_not_pay_where_nothing_is_alike():
    fabric = ring(8)
    unlike = [replace(link, capacity_bps=1e9 + number) for number, link in enumerate(fabric.links)]
    assert worthwhile(all_to_all(Fabric(fabric.nodes, tuple(unlike)))) is None


def test_an_instance_without_demands_has_nothing_to_decide():
    assert classes(build(ring(4), [])).columns == 0
