"""A fabric by numbers says what the fabric says."""

from __future__ import annotations

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.testing import cables
from dataplane.wiring import Wiring
from solver.testing import fabrics
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind


@given(fabrics())
def test_numbers_stand_for_the_links_of_the_fabric(fabric: Fabric) -> None:
    wiring = Wiring(fabric)
    for number, link_id in enumerate(wiring.links):
        link = fabric.link_by_id[link_id]
        source, target = wiring.source[number], wiring.target[number]
        assert (wiring.names[source], wiring.names[target]) == (link.source, link.target)
        assert (wiring.port[number], wiring.in_port[number]) == (link.source_port, link.target_port)
        assert wiring.link_at[source][link.source_port] == number
        assert number in wiring.arriving[target]
    switches = {node.id for node in fabric.switches}
    assert set(wiring.links) == {link.id for link in fabric.links if {link.source, link.target} <= switches}


@given(fabrics())
def test_cables_are_the_links_that_fail_together(fabric: Fabric) -> None:
    wiring = Wiring(fabric)
    numbered = [frozenset(wiring.links[link] for link in cable) for cable in wiring.cables]
    assert sorted(map(sorted, numbered)) == sorted(map(sorted, cables(fabric)))


@given(fabrics(), st.data())
@settings(max_examples=60)
def test_who_reaches_whom_is_as_networkx_says(fabric: Fabric, data: st.DataObject) -> None:
    wiring = Wiring(fabric)
    gone = data.draw(st.sets(st.sampled_from(range(len(wiring.links))))) if wiring.links else set()
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(wiring.names)))
    graph.add_edges_from(
        (wiring.source[link], wiring.target[link]) for link in range(len(wiring.links)) if link not in gone
    )
    reached = wiring.reached_without(gone)
    for switch in graph:
        assert reached[switch] == sum(1 << other for other in {switch, *nx.descendants(graph, switch)})


def test_only_hosts_with_addresses_and_a_link_both_ways_are_connected() -> None:
    nodes = (
        Node("s1", NodeKind.SWITCH, dpid=1),
        Node("h1", NodeKind.HOST, ip="10.0.0.1", mac="02:00:00:00:00:01"),
        Node("h2", NodeKind.HOST, ip="10.0.0.2", mac="02:00:00:00:00:02"),
        Node("h3", NodeKind.HOST, ip="10.0.0.3"),
        Node("h4", NodeKind.HOST, ip="10.0.0.4", mac="02:00:00:00:00:04"),
    )
    ends = [("h1", 1, "s1", 1), ("s1", 1, "h1", 1), ("h2", 1, "s1", 2), ("h3", 1, "s1", 3), ("s1", 3, "h3", 1)]
    wiring = Wiring(Fabric(nodes, tuple(Link(*end) for end in ends)))

    assert [(one.host.id, one.access, one.port) for one in wiring.attached] == [
        ("h1", LinkId("h1", 1), 1),
        ("h2", LinkId("h2", 1), 2),
    ]
    assert wiring.connects("h2", "h1")
    assert not any(wiring.connects(*pair) for pair in [("h1", "h2"), ("h1", "h3"), ("h4", "h1"), ("h1", "nobody")])
