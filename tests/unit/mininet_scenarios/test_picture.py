"""The picture shows every panel and bar it was given, as a real image."""

from pathlib import Path

import matplotlib.image

from mininet_scenarios.picture import Bars, Panel, draw, save
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.fat_tree import fat_tree
from topologies.layout import tier_layout

K4 = fat_tree(4, capacity_bps=10e6)


def test_a_comparison_becomes_one_image_with_a_panel_a_routing(tmp_path: Path) -> None:
    names = ("Shortest path", "ECMP", "Optimised")
    panels = [Panel(name, "x", {link.id: 0.5 for link in K4.links}) for name in names]
    figure = draw(K4, panels, [Bars(name, [2e6, 5e6]) for name in names], ["1 MiB", "4 MiB"], 10e6, "Title")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert all(name in titles for name in names)
    save(figure, tmp_path / "picture.png")
    pixels = matplotlib.image.imread(tmp_path / "picture.png")
    assert pixels.shape[0] > 500
    assert pixels.shape[1] > 1500
    assert pixels.std() > 0.01


def test_tiers_are_rows_and_no_two_nodes_share_a_place() -> None:
    places = tier_layout(K4)
    assert len(set(places.values())) == len(K4.nodes)
    assert all(places[node.id][1] == node.tier for node in K4.nodes)
    assert all(0 < x < 1 for x, _ in places.values())


def test_undeclared_tiers_follow_from_the_distance_to_hosts() -> None:
    nodes = (Node("s", NodeKind.SWITCH), Node("h", NodeKind.HOST), Node("t", NodeKind.SWITCH))
    links = (Link("h", 1, "s", 1), Link("s", 1, "h", 1), Link("s", 2, "t", 1), Link("t", 1, "s", 2))
    places = tier_layout(Fabric(nodes, links))
    assert [places[name][1] for name in ("h", "s", "t")] == [0, 1, 2]
