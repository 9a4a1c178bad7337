"""Shortest ways agree with networkx, and ways round a link lead to where nobody sends packets back to it."""

from __future__ import annotations

import networkx as nx
from hypothesis import given, settings

from dataplane.routes import Routes
from solver.testing import fabrics
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree
from topologies.shortest import next_hops

K4 = fat_tree(4, capacity_bps=1e7)


def graph(fabric: Fabric, failed: frozenset[LinkId] = frozenset()) -> nx.DiGraph:
    """Switches and the links between them."""
    found = nx.DiGraph()
    found.add_nodes_from(node.id for node in fabric.switches)
    found.add_edges_from(
        (link.source, link.target)
        for link in fabric.links
        if {link.source, link.target} <= set(found) and link.id not in failed
    )
    return found


@given(fabrics())
def test_next_hops_are_those_on_shortest_paths(fabric: Fabric) -> None:
    routes = Routes(fabric)
    for switch, name in enumerate(routes.names):
        for leaf, hop in zip(routes.leaves, routes.hops(switch), strict=True):
            if leaf == switch:
                assert hop is None
                continue
            _, host = routes.hosts[leaf][0]
            expected = {link.port for link in next_hops(fabric, host.id)[name]}
            assert hop is not None
            assert set(hop.ports) == expected
            assert hop.distance == nx.shortest_path_length(graph(fabric), name, routes.names[leaf])


@given(fabrics())
@settings(max_examples=150)
def test_a_way_round_avoids_the_cable_and_ends_where_no_shortest_path_leads_back(fabric: Fabric) -> None:
    routes, whole = Routes(fabric), graph(fabric)
    for switch, name in enumerate(routes.names):
        for leaf, hop in zip(routes.leaves, routes.hops(switch), strict=True):
            if hop is None or len(hop.ports) > 1:
                continue
            lost = fabric.link_by_id[LinkId(name, hop.ports[0])]
            cable = frozenset({lost.id, lost.reverse_id})
            target = routes.names[leaf]
            if not hop.detour:
                assert not nx.has_path(graph(fabric, cable), name, target)
                continue
            at = name
            for link_id in hop.detour:
                link = fabric.link_by_id[link_id]
                assert link.source == at
                assert link.id not in cable
                at = link.target
            assert all(name not in way for way in nx.all_shortest_paths(whole, at, target))


def test_a_core_of_a_fat_tree_goes_round_through_two_more_switches() -> None:
    """Down to another pod, up to a core of the same aggregation index, which is safe already: remote, not local."""
    routes = Routes(K4)
    hop = routes.hops(routes.number["c1"])[routes.leaves.index(routes.number["e0-0"])]
    assert hop is not None
    assert hop.ports == (1,)
    assert [link.node for link in hop.detour] == ["c1", "a1-0"]
    assert K4.link_by_id[hop.detour[-1]].target == "c2"


def test_an_edge_switch_has_several_next_hops_and_needs_no_way_round() -> None:
    routes = Routes(K4)
    hops = routes.hops(routes.number["e0-0"])
    assert {(hop.ports, hop.distance, hop.detour) for hop in hops if hop} == {((3, 4), 2, ()), ((3, 4), 4, ())}
