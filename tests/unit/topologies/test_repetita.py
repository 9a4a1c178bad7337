"""The files of the REPETITA collection: networks."""

import os
import re
from collections import Counter
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given

from solver.files import read_demands
from solver.testing import fabrics
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.files import read_fabric
from topologies.repetita import read_graph, read_rates

DATA = os.environ.get("HEDDLE_TEST_DATA")
NAMES = sorted(path.stem for path in (Path(DATA) / "repetita").glob("*.graph")) if DATA else ["none"]

GRAPH = """\
NODES 3
label x y
0_A 1.5 -2
1_B 0 0
2_C 0 0

EDGES 4
label src dest weight bw delay
edge_0 0 1 1 1000 5
edge_1 1 0 1 1000 5
edge_2 1 2 10 2500 0
edge_3 0 1 1 1000 5
"""
DEMANDS = """\
DEMANDS 3
label src dest bw
demand_0 0 1 12
demand_1 2 2 0
demand_2 1 0 7
"""


def _written(fabric):
    """The fabric as a REPETITA file, whose ports are lost."""
    lines = [f"NODES {len(fabric.nodes)}", "label x y", *(f"{node.id} 0 0" for node in fabric.nodes), ""]
    lines += [f"EDGES {len(fabric.links)}", "label src dest weight bw delay"]
    for index, link in enumerate(fabric.links):
        source, target = fabric.node_index[link.source], fabric.node_index[link.target]
        lines.append(f"edge_{index} {source} {target} 1 {link.capacity_bps / 1e3} {link.delay_s * 1e6}")
    return "\n".join(lines)


def _counts(text):
    return {name: int(count) for name, count in re.findall(r"^([A-Z]+) (\d+)$", text, re.MULTILINE)}


def test_nodes_are_switches_with_the_labels_and_rows_are_links(tmp_path):
    (tmp_path / "net.graph").write_text(GRAPH)
    assert read_fabric(tmp_path / "net.graph") == Fabric(
        tuple(Node(label, NodeKind.SWITCH) for label in ("0_A", "1_B", "2_C")),
        (
            Link("0_A", 1, "1_B", 1, 1e6, 5e-6),
            Link("1_B", 1, "0_A", 1, 1e6, 5e-6),
            Link("1_B", 2, "2_C", 1, 2.5e6, 0.0),
            Link("0_A", 2, "1_B", 3, 1e6, 5e-6),
        ),
    )


def test_a_row_from_a_node_to_itself_is_left_out(tmp_path):
    (tmp_path / "net.graph").write_text(GRAPH.replace("edge_2 1 2", "edge_2 1 1"))
    assert [(link.source, link.target) for link in read_graph(tmp_path / "net.graph").links] == [
        ("0_A", "1_B"),
        ("1_B", "0_A"),
        ("0_A", "1_B"),
    ]


@given(fabrics())
def test_a_written_network_is_read_back_with_its_cables(tmp_path_factory, fabric):
    path = tmp_path_factory.mktemp("written") / "net.graph"
    path.write_text(_written(fabric))
    read = read_graph(path)
    assert [node.id for node in read.nodes] == [node.id for node in fabric.nodes]
    assert [(link.source, link.target) for link in read.links] == [(link.source, link.target) for link in fabric.links]
    assert [link.capacity_bps for link in read.links] == pytest.approx([link.capacity_bps for link in fabric.links])
    assert [link.delay_s for link in read.links] == pytest.approx([link.delay_s for link in fabric.links])
    for link in read.links:
        back = read.link_by_id[link.reverse_id]
        assert (back.source, back.target, back.reverse_id) == (link.target, link.source, link.id)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NODES 3", "NODE 3", r"net\.graph, line 1: a line 'NODES count' must stand here"),
        ("NODES 3", "NODES three", r"line 1: a line 'NODES count'"),
        ("NODES 3", "NODES 2", r"line 5: a line 'EDGES count' must stand here; is the count of the table before"),
        ("NODES 3", "NODES 4", r"line 7: 2 fields where NODES has 3: label x y"),
        ("label x y", "label y x", r"line 2: the columns of NODES must stand here: 'label x y'"),
        ("1_B 0 0", "0_A 0 0", r"line 4: label '0_A' is that of .*net\.graph, line 3 too; rename one"),
        ("EDGES 4", "EDGES 5", r"net\.graph ends after 4 of 5 rows of EDGES; is it cut off\?"),
        ("EDGES 4", "EDGES 3", r"line 12: more rows than EDGES counts; correct the count"),
        ("edge_1 1 0 1 1000 5", "edge_1 1 0 1 1000", r"line 10: 5 fields where EDGES has 6: label src"),
        ("edge_2 1 2", "edge_2 1 3", r"line 11: dest is '3'; nodes are numbered from 0 to 2"),
        ("edge_2 1 2", "edge_2 -1 2", r"line 11: src is '-1'; nodes are numbered from 0 to 2"),
        ("10 2500 0", "10 0 0", r"line 11: bw is '0'; write a capacity in kbit/s, above 0"),
        ("10 2500 0", "10 fast 0", r"line 11: bw is 'fast'; write a number that is not negative"),
        ("10 2500 0", "10 1e306 0", r"line 11: bw is '1e306'; write a capacity in kbit/s, above 0 and finite"),
        ("10 2500 0", "10 2500 -1", r"line 11: delay is '-1'; write a number that is not negative"),
        ("10 2500 0", "10 2500 nan", r"line 11: delay is 'nan'; write a number"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, old, new, message):
    (tmp_path / "net.graph").write_text(GRAPH.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_fabric(tmp_path / "net.graph")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"net\.graph, at its end: a line 'NODES count' must stand here"),
        (GRAPH.partition("EDGES")[0], r"net\.graph, at its end: a line 'EDGES count' must stand here"),
        ("NODES 0\n", r"net\.graph, at its end: the columns of NODES must stand here"),
    ],
)
def test_a_cut_off_file_is_named(tmp_path, text, message):
    (tmp_path / "net.graph").write_text(text)
    with pytest.raises(InputError, match=message):
        read_fabric(tmp_path / "net.graph")


def test_demands_name_the_nodes_and_those_of_rate_0_are_left_out(tmp_path):
    (tmp_path / "net.graph").write_text(GRAPH)
    (tmp_path / "net.demands").write_text(DEMANDS)
    assert read_rates(tmp_path / "net.demands", read_graph(tmp_path / "net.graph")) == [
        ("0_A", "1_B", 12e3),
        ("1_B", "0_A", 7e3),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("DEMANDS 3", "EDGES 3", r"net\.demands, line 1: a line 'DEMANDS count' must stand here"),
        ("demand_2 1 0 7", "demand_2 1 3 7", r"line 5: dest is '3'; nodes are numbered from 0 to 2"),
        ("demand_2 1 0 7", "demand_2 1 0 -7", r"line 5: bw is '-7'; write a number that is not negative"),
        ("demand_2 1 0 7", "demand_2 1 0 1e306", r"line 5: bw is '1e306'; write a finite rate in kbit/s"),
        ("demand_2 1 0 7", "demand_2 1 1 7", r"line 5: dest is '1'; a demand cannot end where it starts"),
    ],
)
def test_a_wrong_demand_is_named(tmp_path, old, new, message):
    (tmp_path / "net.graph").write_text(GRAPH)
    (tmp_path / "net.demands").write_text(DEMANDS.replace(old, new))
    fabric = read_graph(tmp_path / "net.graph")
    with pytest.raises(InputError, match=message):
        read_rates(tmp_path / "net.demands", fabric)


@pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with the REPETITA networks")
@pytest.mark.parametrize("name", NAMES)
def test_a_real_network_has_the_nodes_links_and_demands_that_its_files_count(name):
    graph, wanted = (Path(DATA) / "repetita" / f"{name}{suffix}" for suffix in (".graph", ".0000.demands"))
    counted = _counts(graph.read_text()) | _counts(wanted.read_text())
    edges = re.findall(r"^edge_\d+ (\d+) (\d+) ", graph.read_text(), re.MULTILINE)
    idle = re.findall(r"^demand_\d+ \d+ \d+ 0$", wanted.read_text(), re.MULTILINE)

    fabric = read_fabric(graph)
    demands = read_demands(wanted, fabric)

    assert len(fabric.nodes) == counted["NODES"]
    assert len(edges) == counted["EDGES"]
    assert len(fabric.links) == sum(source != target for source, target in edges)
    assert len(demands) == counted["DEMANDS"] - len(idle)
    assert nx.is_strongly_connected(fabric.graph)
    assert all(link.reverse_id in fabric.link_by_id for link in fabric.links)
    ends = [*(link.id for link in fabric.links), *(link.reverse_id for link in fabric.links)]
    assert set(Counter(ends).values()) == {2}


@pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with the REPETITA networks")
def test_the_real_networks_are_22():
    assert len(NAMES) == 22
