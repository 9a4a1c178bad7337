"""The picture of a routing: every kind of fabric is drawn, and nothing is written over something else."""

import random
from itertools import pairwise

import pytest

from heddle.routing_picture import draw, save
from solver.demand import Demand
from solver.routing import Objective
from solver.solve import solve
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree


def cables(nodes, pairs, capacity_bps=10e9):
    """A fabric from pairs of nodes, ports in order."""
    links = []
    for port, (a, b) in enumerate(pairs, start=1):
        links += [Link(a, port, b, port, capacity_bps, 1e-3), Link(b, port, a, port, capacity_bps, 1e-3)]
    return Fabric(tuple(nodes), tuple(links))


def wide_area(size, *, parts=1):
    """Switches in rings with chords, without tiers or hosts."""
    names = [f"n{number}" for number in range(size)]
    part = size // parts
    pairs = []
    for begin in range(0, size, part):
        ring = names[begin : begin + part]
        pairs += [*zip(ring, ring[1:] + ring[:1], strict=True), *zip(ring[::7], ring[3::7], strict=False)]
    return cables([Node(name, NodeKind.SWITCH) for name in names], pairs)


def routed(fabric, count=10, objective=Objective.MIN_MAX_UTILISATION):
    names = [node.id for node in fabric.hosts or fabric.nodes]
    pairs = [random.Random(place).sample(names[: len(names) // 2], 2) for place in range(count)]
    return solve(fabric, [Demand(a, b, 1e9 + place) for place, (a, b) in enumerate(pairs)], objective)


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in [axis.title, axis._left_title, *axis.texts]]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_is_written_in_every_format(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"

    save(draw(routed(fat_tree(4, capacity_bps=10e9))), path)

    assert path.stat().st_size > 5_000


def test_a_picture_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(HeddleError, match=r"cannot write .*picture\.png"):
        save(draw(routed(fat_tree(4, capacity_bps=10e9))), tmp_path / "none" / "picture.png")


@pytest.mark.parametrize("objective", Objective)
def test_the_title_says_objective_value_bound_and_gap(objective):
    title = draw(routed(fat_tree(4, capacity_bps=10e9), objective=objective)).get_suptitle()

    assert title.startswith(f"{objective.value}: ")
    assert "bound" in title
    assert title.endswith("no gap")


def test_nodes_of_a_small_fabric_are_named():
    shown = texts(draw(routed(fat_tree(4, capacity_bps=10e9))))

    assert {"h1", "h16", "e0-0", "a3-1", "c4"} <= set(shown)
    assert "20 switches, 16 hosts, 96 directed links" in shown


def test_names_are_left_out_where_they_would_overlap():
    long = [Node("x" * 60 + str(number), NodeKind.SWITCH) for number in range(40)]
    fabric = cables(long, [(a.id, b.id) for a, b in pairwise([*long, long[0]])])
    figure = draw(routed(fabric))

    boxes = [text.get_window_extent() for text in figure.axes[0].texts]

    assert 0 < len(boxes) < 40
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_hosts_of_a_large_fabric_are_counted():
    shown = texts(draw(routed(fat_tree(16, capacity_bps=10e9))))

    assert any("128 switches have 8 each" in text for text in shown)
    assert "h1" not in shown


@pytest.mark.parametrize(("size", "parts"), [(40, 1), (40, 2), (754, 1)])
def test_a_fabric_without_tiers_is_drawn_always_alike(size, parts):
    routing = routed(wide_area(size, parts=parts))
    first, again = (
        [collection.get_segments() for collection in draw(routing).axes[0].collections[:1]] for _ in range(2)
    )

    assert len(first[0]) == len(routing.fabric.links) // 2
    assert all((a == b).all() for a, b in zip(first[0], again[0], strict=True))


def test_switches_that_are_neighbours_in_a_row_are_not_drawn_on_a_line():
    size = 5
    nodes = [Node(f"s{n}", NodeKind.SWITCH, tier=1) for n in range(size)]
    nodes += [Node(f"h{n}", NodeKind.HOST, tier=0) for n in range(size)]
    pairs = [(f"s{n}", f"s{(n + 1) % size}") for n in range(size)] + [(f"s{n}", f"h{n}") for n in range(size)]

    figure = draw(routed(cables(nodes, pairs)))

    heights = {round(float(y), 6) for segment in figure.axes[0].collections[0].get_segments() for _, y in segment}
    assert len(heights) > 2


def test_parallel_cables_are_drawn_apart():
    nodes = [Node(name, NodeKind.SWITCH) for name in "abc"]

    fabric = cables(nodes, [("a", "b"), ("a", "b"), ("a", "b"), ("b", "c"), ("a", "c")])

    figure = draw(solve(fabric, [Demand("a", "b", 1e9)]))

    middles = [tuple(segment.mean(axis=0).round(4)) for segment in figure.axes[0].collections[0].get_segments()]
    assert len(set(middles)) == 5


def test_different_capacities_are_in_the_legend():
    nodes = [Node(name, NodeKind.SWITCH) for name in "abcd"]
    slow = cables(nodes, [("a", "b"), ("b", "c"), ("c", "d")])
    fast = cables(nodes, [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")], capacity_bps=40e9)
    fabric = Fabric(slow.nodes, slow.links + fast.links[6:])

    legend = draw(routed(fabric, count=1)).axes[0].get_legend()

    assert [text.get_text() for text in legend.get_texts()] == ["10 Gbit/s", "40 Gbit/s"]


def test_an_overload_stretches_the_scale():
    nodes = [Node(name, NodeKind.SWITCH) for name in "ab"]
    fabric = cables(nodes, [("a", "b")])
    routing = solve(fabric, [Demand("a", "b", 15e9)], Objective.MIN_MAX_UTILISATION)

    histogram = draw(routing).axes[1]

    assert histogram.get_xlim()[1] > 1.5
    labels = [text.get_text() for text in histogram.get_legend().get_texts()]
    assert labels == ["fullest link 150 %", "bound 150 %"]
