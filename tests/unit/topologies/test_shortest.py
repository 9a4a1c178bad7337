"""Hop-shortest paths towards a node."""

import networkx as nx
import pytest

from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree
from topologies.shortest import distances, next_hops


def test_distances_agree_with_networkx_on_a_fat_tree():
    fabric = fat_tree(4, capacity_bps=1e7)
    expected = nx.single_target_shortest_path_length(nx.DiGraph(fabric.graph), "h1")
    assert distances(fabric, "h1") == dict(expected)


def test_an_edge_switch_reaches_another_pod_by_all_its_uplinks_in_port_order():
    hops = next_hops(fat_tree(4, capacity_bps=1e7), "h16")
    assert hops["e0-0"] == (LinkId("e0-0", 3), LinkId("e0-0", 4))
    assert hops["c1"] == (LinkId("c1", 4),)
    assert "h16" not in hops


def test_parallel_links_are_next_hops_each_for_itself():
    nodes = (Node("s1", NodeKind.SWITCH), Node("s2", NodeKind.SWITCH))
    fabric = Fabric(nodes, (Link("s1", 7, "s2", 1), Link("s1", 2, "s2", 2)))
    assert next_hops(fabric, "s2") == {"s1": (LinkId("s1", 2), LinkId("s1", 7))}


def test_no_path_leads_through_a_host():
    nodes = (Node("s1", NodeKind.SWITCH), Node("h", NodeKind.HOST), Node("s2", NodeKind.SWITCH))
    links = (Link("s1", 1, "h", 1), Link("h", 2, "s2", 1), Link("h", 1, "s1", 1))
    fabric = Fabric(nodes, links)
    assert distances(fabric, "s2") == {"s2": 0, "h": 1}
    assert "s1" not in next_hops(fabric, "s2")


def test_an_unknown_target_is_named():
    with pytest.raises(InputError, match="'nowhere' is not a node"):
        next_hops(fat_tree(2, capacity_bps=1e7), "nowhere")
