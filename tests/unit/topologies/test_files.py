"""Fabric files: node-link JSON and YAML."""

import json
import os
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given

from solver.testing import fabrics
from topologies.errors import HeddleError, InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree
from topologies.files import fabric_from_json, fabric_to_json, number_ports, read_fabric, write_fabric

DATA = os.environ.get("HEDDLE_TEST_DATA")
HOST = {"id": "h1", "kind": "host"}
SWITCH = {"id": "s1", "kind": "switch"}


def _data(*links, directed=True, nodes=(HOST, SWITCH)):
    return {"directed": directed, "nodes": list(nodes), "links": list(links)}


@given(fabrics())
def test_a_fabric_survives_the_round_trip(fabric):
    assert fabric_from_json(json.loads(json.dumps(fabric_to_json(fabric))), "memory") == fabric


@pytest.mark.parametrize("name", ["fabric.json", "fabric.yaml"])
def test_a_written_file_is_read_back_equal(tmp_path, name):
    fabric = fat_tree(4, capacity_bps=1e7)
    write_fabric(fabric, tmp_path / name)
    assert read_fabric(tmp_path / name) == fabric


def test_networkx_reads_what_we_write():
    fabric = fat_tree(4, capacity_bps=1e7)
    graph = nx.node_link_graph(fabric_to_json(fabric), edges="links")
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (36, 96)
    assert graph.nodes["e0-0"]["dpid"] == "0000000000010001"


def test_we_read_what_networkx_writes_of_an_undirected_graph():
    graph = nx.MultiGraph()
    graph.add_node(1, kind="switch")
    graph.add_node(2, kind="switch")
    graph.add_edge(1, 2, capacity=1e9)
    graph.add_edge(1, 2, capacity=2e9)
    fabric = fabric_from_json(nx.node_link_data(graph, edges="edges"), "memory")
    assert fabric.links == (
        Link("1", 1, "2", 1, 1e9),
        Link("2", 1, "1", 1, 1e9),
        Link("1", 2, "2", 2, 2e9),
        Link("2", 2, "1", 2, 2e9),
    )


def test_missing_ports_avoid_given_ones_and_pair_the_directions_of_a_cable():
    third = {"id": "s2", "kind": "switch"}
    data = _data(
        {"source": "s1", "target": "s2"},
        {"source": "s1", "target": "h1", "source_port": 1, "target_port": 1},
        {"source": "s2", "target": "s1"},
        nodes=(HOST, SWITCH, third),
    )
    fabric = fabric_from_json(data, "memory")
    assert [link.id for link in fabric.links] == [LinkId("s1", 2), LinkId("s1", 1), LinkId("s2", 1)]
    assert fabric.links[0].reverse_id == fabric.links[2].id


def test_ports_take_the_lowest_free_number_in_order():
    ends = [
        ("a", None, "b", 2),
        ("a", 2, "b", None),
        ("a", None, "b", None),
        ("b", None, "a", None),
        ("b", None, "a", None),
    ]
    assert number_ports(ends, pair_directions=False) == [(1, 2), (2, 1), (3, 3), (4, 4), (5, 5)]
    assert number_ports(ends, pair_directions=True) == [(1, 2), (2, 1), (3, 3), (3, 3), (4, 4)]


@given(fabrics())
def test_without_ports_the_directions_of_every_cable_find_each_other(fabric):
    data = fabric_to_json(fabric)
    for link in data["links"]:
        del link["source_port"], link["target_port"]
    read = fabric_from_json(data, "memory")
    assert read.nodes == fabric.nodes
    assert [(link.source, link.target) for link in read.links] == [(link.source, link.target) for link in fabric.links]
    for link in read.links:
        assert read.link_by_id[link.reverse_id].reverse_id == link.id
    used = sorted({(node, port) for link in read.links for node, port in (link.id, link.reverse_id)})
    for node in read.nodes:
        mine = [port for name, port in used if name == node.id]
        assert mine == list(range(1, len(mine) + 1))


@pytest.mark.parametrize("directed", [True, False])
def test_a_graph_without_kinds_is_one_of_switches(directed):
    graph = (nx.DiGraph if directed else nx.Graph)()
    graph.add_edge(0, 1, capacity=10000.0)
    fabric = fabric_from_json(nx.node_link_data(graph, edges="links"), "memory")
    assert fabric.nodes == (Node("0", NodeKind.SWITCH), Node("1", NodeKind.SWITCH))
    assert fabric.links == (Link("0", 1, "1", 1, 1e4), Link("1", 1, "0", 1, 1e4))[: 1 if directed else 2]


@pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with the networks")
@pytest.mark.parametrize(
    ("name", "nodes", "links"), [("facebook_pod/Facebook_pod_a.json", 4, 12), ("teal/Kdl.json", 754, 1790)]
)
def test_a_real_wide_area_graph_is_read(name, nodes, links):
    fabric = read_fabric(Path(DATA) / name)
    assert (len(fabric.switches), len(fabric.links)) == (nodes, links)
    assert all(link.reverse_id in fabric.link_by_id for link in fabric.links)
    assert fabric.capacities_bps.min() > 0


def test_a_link_to_itself_in_a_file_is_named(tmp_path):
    (tmp_path / "f.json").write_text(json.dumps(_data({"source": "s1", "target": "s1"})))
    with pytest.raises(InputError, match=r"f\.json: link s1:1 leads from 's1' to itself; remove it"):
        read_fabric(tmp_path / "f.json")


def test_a_given_capacity_is_that_of_the_links_without_one(tmp_path):
    links = ({"source": "s1", "target": "h1"}, {"source": "h1", "target": "s1", "capacity_bps": 5.0})
    (tmp_path / "f.yaml").write_text(json.dumps(_data(*links)))
    assert [link.capacity_bps for link in read_fabric(tmp_path / "f.yaml").links] == [None, 5.0]
    assert [link.capacity_bps for link in read_fabric(tmp_path / "f.yaml", capacity_bps=1e9).links] == [1e9, 5.0]


@pytest.mark.parametrize("capacity_bps", [0.0, -1.0, float("inf"), float("nan")])
def test_a_given_capacity_is_a_capacity(tmp_path, capacity_bps):
    write_fabric(Fabric((), ()), tmp_path / "f.json")
    with pytest.raises(InputError, match=r"--capacity is .* bit/s; it must be above 0 and finite"):
        read_fabric(tmp_path / "f.json", capacity_bps=capacity_bps)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"f.json: the file is \[\]: input should be a valid dictionary"),
        (_data(nodes=("h1",)), "f.json: node 1 is 'h1': input should be a valid dictionary"),
        ({"nodes": []}, "f.json: .*either 'links' or 'edges'"),
        (_data(nodes=({"id": "h1"}, SWITCH)), "f.json: node 'h1' lacks 'kind'; add it"),
        (_data(nodes=({"id": 0}, {"id": 1, "ip": "10.0.0.1"})), "f.json: node '1' lacks 'kind'; add it .*an address"),
        (_data(nodes=({"id": 0, "label": "Oslo"},)), "node '0' has an unknown key 'label'"),
        (_data(nodes=({**HOST, "colour": 1},)), "node 'h1' has an unknown key 'colour'"),
        (_data(nodes=({**SWITCH, "dpid": 7},)), "node 's1' has dpid 7: write it as 16 hexadecimal digits"),
        (_data(nodes=({**HOST, "ip": "10.0.0.300"},)), "node 'h1' has ip '10.0.0.300': write it as an IPv4"),
        (_data({"source": "h1", "target": "s1", "capacity_bps": -1}), "link 'h1 → s1' has capacity_bps -1"),
        (_data({"source": "h1", "target": "s1", "capacity": 1, "capacity_bps": 1}), "both 'capacity' and"),
        (_data({"source": "h1", "target": "x"}), "f.json: link h1:1 ends at 'x', which is not a node"),
        (_data(nodes=(HOST, HOST)), "f.json: node 'h1' appears twice"),
    ],
)
def test_what_is_wrong_is_named(data, message):
    with pytest.raises(InputError, match=message):
        fabric_from_json(data, "f.json")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.json", "{", r"f\.json, line 1: no JSON"),
        ("f.JSON", "{", r"f\.JSON, line 1: no JSON"),
        ("f.json", '{"nodes": NaN}', r"f\.json: NaN is not a number that JSON knows"),
        ("f.json", "[" * 100_000, r"f\.json: nested too deeply"),
        ("f.json", '{"nodes": [], "links": [], "nodes": []}', r"f\.json: key 'nodes' is here twice; remove one"),
        ("f.json", '{"nodes": [{"id": "h1", "kind": "host", "id": "h2"}]}', r"f\.json: key 'id' is here twice"),
        ("f.yaml", "a: [", r"f\.yaml, line 1: no YAML"),
        ("f.yaml", "nodes: []\nlinks: []\nnodes: []\n", r"f\.yaml, line 3: key 'nodes' is here twice; remove one"),
        ("f.yaml", "", r"f\.yaml: the file lacks 'nodes'; add it"),
        ("f.json", "[]", r"f\.json: .*valid dictionary"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_fabric(tmp_path / name)


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.json cannot be read: No such file"):
        read_fabric(tmp_path / "nothing.json")
    with pytest.raises(HeddleError, match=r"cannot write .*f\.json: No such file"):
        write_fabric(Fabric((), ()), tmp_path / "nowhere" / "f.json")
