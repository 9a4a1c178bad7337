"""Candidate paths from files."""

import json
from itertools import islice

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.candidate_files import read_candidates
from solver.testing import assert_path, fabrics
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.files import number_ports


def _fabric():
    """Hosts h1 and h2 on s1 and s2, h3 on both; s1 and s2 joined by two cables."""
    cables = [("h1", "s1"), ("h2", "s2"), ("h3", "s1"), ("h3", "s2"), ("s1", "s2"), ("s1", "s2")]
    ends = [end for a, b in cables for end in ((a, b), (b, a))]
    ports = number_ports([(a, None, b, None) for a, b in ends], pair_directions=True)
    nodes = [Node(name, NodeKind.HOST) for name in ("h1", "h2", "h3")]
    nodes += [Node(name, NodeKind.SWITCH) for name in ("s1", "s2")]
    links = (Link(a, port, b, far) for (a, b), (port, far) in zip(ends, ports, strict=True))
    return Fabric(tuple(nodes), tuple(links))


FABRIC = _fabric()


def _entry(*paths, source="h1", target="h2"):
    return {"source": source, "target": target, "paths": [list(path) for path in paths]}


def _write(folder, *entries):
    (folder / "c.json").write_text(json.dumps(entries))
    return folder / "c.json"


def test_paths_are_read_in_their_order(tmp_path):
    there = _entry(("h1:1", "s1:4", "s2:1"), ("h1:1", "s1:3", "s2:1"))
    path = _write(tmp_path, there, _entry(("h2:1", "s2:2"), source="h2", target="h3"))
    assert read_candidates(path, FABRIC) == {
        ("h1", "h2"): (
            (LinkId("h1", 1), LinkId("s1", 4), LinkId("s2", 1)),
            (LinkId("h1", 1), LinkId("s1", 3), LinkId("s2", 1)),
        ),
        ("h2", "h3"): ((LinkId("h2", 1), LinkId("s2", 2)),),
    }


@given(fabrics(), st.data())
def test_written_paths_are_read_back_equal(tmp_path_factory, fabric, data):
    switches = [node.id for node in fabric.switches]
    candidates = {}
    for source, target in data.draw(st.lists(st.permutations(fabric.hosts).map(lambda all_: all_[:2]), max_size=3)):
        core = fabric.graph.subgraph([source.id, target.id, *switches])
        walks = islice(nx.all_simple_edge_paths(core, source.id, target.id), 4)
        candidates[source.id, target.id] = tuple(tuple(key for _, _, key in walk) for walk in walks)
    entries = [
        _entry(*([str(link) for link in path] for path in paths), source=source, target=target)
        for (source, target), paths in candidates.items()
    ]
    read = read_candidates(_write(tmp_path_factory.mktemp("written"), *entries), fabric)
    assert read == candidates
    for (source, target), paths in read.items():
        for path in paths:
            assert_path(fabric, path, source, target)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([_entry(("h1:1", "s1:9", "s2:1"))], r"'h1 → h2', path 1: the fabric has no link 's1:9'; links are written"),
        ([_entry(("h1:1", "s1:3", "s2:1"), ("h1:1", "s1:3"))], r"'h1 → h2', path 2 ends at 's2'; it must lead to 'h2'"),
        ([_entry(("s1:3", "s2:1"))], r"path 1: link 's1:3' starts at 's1', but the path is at 'h1'"),
        ([_entry(("h1:1", "s2:1"))], r"path 1: link 's2:1' starts at 's2', but the path is at 's1'"),
        ([_entry(("h1:1", "s1:3", "s2:3", "s1:4", "s2:1"))], r"path 1 comes to 's1' twice; leave out the loop"),
        ([_entry(("h1:1", "s1:2", "h3:2", "s2:1"))], r"path 1 passes the host 'h3'; hosts do not forward"),
        ([_entry(())], r"path 1 has no links; write them in order"),
        ([_entry()], r"candidate 'h1 → h2' has paths \[\]: list should have at least 1 item"),
        ([_entry(("h1:1",)), _entry(("h1:1",))], r"'h1 → h2', path 1 ends at 's1'"),
        ([_entry(("h1:1", "s1:3", "s2:1"))] * 2, r"'h1 → h2' is here twice; put all its paths in one list"),
        ([_entry(("h1:1",), target="x")], r"'h1 → x': 'x' is not a node of the fabric"),
        ([_entry(("h1:1",), target="h1")], r"'h1 → h1' starts where it ends; remove it"),
        ([{"source": "h1", "target": "h2"}], r"candidate 'h1 → h2' lacks 'paths'; add it"),
        ([{**_entry(("h1:1",)), "weight": 1}], r"candidate 'h1 → h2' has an unknown key 'weight'"),
        ([_entry((7,))], r"candidate 'h1 → h2' has paths\[0\]\[0\] 7: input should be a valid string"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, entries, message):
    with pytest.raises(InputError, match=r"c\.json: .*" + message):
        read_candidates(_write(tmp_path, *entries), FABRIC)


def test_a_file_that_is_no_list_is_named(tmp_path):
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(InputError, match=r"c\.json: .*valid list"):
        read_candidates(tmp_path / "c.json", FABRIC)
