"""Demands files."""

import csv
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.candidate_files import read_candidates
from solver.demand import Demand
from solver.files import demands_from_json, read_demands
from topologies.errors import InputError
from topologies.fabric import Fabric, Node, NodeKind
from topologies.fat_tree import fat_tree
from topologies.files import read_fabric

DEMANDS = (Demand("h1", "h2", 1e6), Demand("h2", "h3", 2.5e6))
FABRIC = fat_tree(4, capacity_bps=1e9)

some_rates = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
some_demands = st.builds(
    Demand, st.sampled_from(("h1", "0", "a b")), st.sampled_from(("h,2", '"q"')), some_rates, st.none() | some_rates
)


def test_csv_and_json_say_the_same(tmp_path):
    (tmp_path / "d.csv").write_text("source,target,rate_bps\nh1,h2,1e6\n\nh2, h3, 2500000\n")
    (tmp_path / "d.json").write_text(
        json.dumps([{"source": d.source, "target": d.target, "rate_bps": d.rate_bps} for d in DEMANDS])
    )
    assert read_demands(tmp_path / "d.csv") == read_demands(tmp_path / "d.json") == DEMANDS


@given(st.lists(some_demands))
def test_written_demands_are_read_back_equal(tmp_path_factory, demands):
    folder = tmp_path_factory.mktemp("written")
    with (folder / "d.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "target", "rate_bps", "cap_bps"])
        writer.writerows([d.source, d.target, d.rate_bps, d.cap_bps] for d in demands)
    (folder / "d.json").write_text(json.dumps([asdict(demand) for demand in demands]))
    assert read_demands(folder / "d.csv") == read_demands(folder / "d.json") == tuple(demands)


def test_a_cap_is_optional(tmp_path):
    (tmp_path / "d.csv").write_text("source,target,rate_bps,cap_bps\nh1,h2,1e6, 5e5\nh2,h3,1e6, \n")
    (tmp_path / "d.yml").write_text(
        "- {source: h1, target: h2, rate_bps: 1e+6, cap_bps: 500000}\n- {source: h2, target: h3, rate_bps: 1e+6}\n"
    )
    expected = (Demand("h1", "h2", 1e6, 5e5), Demand("h2", "h3", 1e6))
    assert read_demands(tmp_path / "d.csv") == read_demands(tmp_path / "d.yml") == expected


def test_nodes_may_be_numbers_as_in_the_graphs_of_networkx():
    assert demands_from_json([{"source": 0, "target": 1, "rate_bps": 1}], "memory") == (Demand("0", "1", 1.0),)


@pytest.mark.parametrize("cap_bps", [0.0, -1.0, float("inf"), float("nan")])
def test_a_cap_is_above_0_and_finite(cap_bps):
    with pytest.raises(InputError, match=r"demand h1 → h2 has cap_bps .*; it must be above 0 and finite"):
        Demand("h1", "h2", 1e6, cap_bps)


def test_a_table_of_repetita_needs_the_fabric_whose_nodes_it_numbers(tmp_path):
    (tmp_path / "n.demands").write_text("DEMANDS 2\nlabel src dest bw\nd0 0 1 12\nd1 1 0 0\n")
    fabric = Fabric((Node("a", NodeKind.SWITCH), Node("b", NodeKind.SWITCH)), ())
    assert read_demands(tmp_path / "n.demands", fabric) == (Demand("a", "b", 12e3),)
    with pytest.raises(InputError, match=r"n\.demands names nodes by number; give the fabric too"):
        read_demands(tmp_path / "n.demands")


@pytest.mark.parametrize("name", ["m.matrix", "m.TXT"])
def test_the_ranks_of_a_matrix_are_the_hosts_in_order_or_those_named(tmp_path, name):
    (tmp_path / name).write_text("0 1000\n500 0\n")
    assert read_demands(tmp_path / name, FABRIC, window_s=0.5) == (Demand("h1", "h2", 16e3), Demand("h2", "h1", 8e3))
    named = read_demands(tmp_path / name, FABRIC, window_s=1, ranks=["h9", "h5"])
    assert named == (Demand("h9", "h5", 8e3), Demand("h5", "h9", 4e3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window_s": 1}, r"m\.matrix names no nodes; give the fabric too"),
        ({"fabric": FABRIC}, r"m\.matrix holds bytes; give the time in which they are sent, as in --window 1"),
        ({"fabric": FABRIC, "window_s": 0}, r"m\.matrix: the window is 0 s; give one above 0"),
        ({"fabric": FABRIC, "window_s": 1, "ranks": ["h1", "x"]}, r"rank 'x' is not a node of the fabric"),
        ({"fabric": FABRIC, "window_s": 1, "ranks": ["h1"]}, r"m\.matrix has 2 ranks and --ranks names 1; name one"),
        ({"fabric": FABRIC, "window_s": 1, "ranks": ["h1", "h1"]}, r"m\.matrix: two ranks are on 'h1'"),
        ({"fabric": Fabric((), ()), "window_s": 1}, r"m\.matrix: the matrix has 2 ranks for 0 hosts; .*--ranks"),
    ],
)
def test_what_a_matrix_lacks_is_named(tmp_path, arguments, message):
    (tmp_path / "m.matrix").write_text("0 1\n1 0\n")
    with pytest.raises(InputError, match=message):
        read_demands(tmp_path / "m.matrix", **arguments)


@pytest.mark.parametrize("arguments", [{"window_s": 1.0}, {"ranks": ["h1"]}])
def test_rates_take_no_window_and_no_ranks(tmp_path, arguments):
    with pytest.raises(InputError, match=r"d\.csv holds rates; --window and --ranks are for matrices"):
        read_demands(tmp_path / "d.csv", FABRIC, **arguments)


@pytest.mark.parametrize("name", ["demands", "d.dat"])
def test_a_suffix_that_says_nothing_is_refused_with_those_that_do(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} has no suffix that says .* \.csv, \.demands, \.json, \.matrix"):
        read_demands(tmp_path / name)


def test_the_examples_of_the_files_page_are_read(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "files.md").read_text()
    examples = re.findall(r"^```(text|csv|yaml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    graph, rates, matrix, candidates, _rules = (text for _, text in examples)
    for name, text in (("n.graph", graph), ("d.csv", rates), ("m.matrix", matrix), ("c.yaml", candidates)):
        (tmp_path / name).write_text(text)

    assert [str(link.id) for link in read_fabric(tmp_path / "n.graph").links] == ["0_Oslo:1", "1_Bergen:1"]
    assert read_demands(tmp_path / "d.csv") == (Demand("h1", "h3", 2.5e9), Demand("h2", "h5", 1e9, 5e8))
    assert len(read_demands(tmp_path / "m.matrix", FABRIC, window_s=1)) == 5
    assert len(read_candidates(tmp_path / "c.yaml", FABRIC)["h1", "h3"]) == 2


def test_a_key_twice_in_json_is_named(tmp_path):
    (tmp_path / "d.json").write_text('[{"source": "h1", "target": "h2", "rate_bps": 1, "rate_bps": 2}]')
    with pytest.raises(InputError, match=r"d\.json: key 'rate_bps' is here twice"):
        read_demands(tmp_path / "d.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"d\.csv must begin with the line source,target,rate_bps"),
        ("from,to,rate\n", r"d\.csv must begin with the line"),
        ("source,target,rate_bps\nh1,h2\n", r"d\.csv, line 2: 2 fields"),
        ("source,target,rate_bps\nh1,h2,fast\n", r"d\.csv, line 2: rate_bps 'fast' is no number"),
        ("source,target,rate_bps\nh1,h2,-3\n", r"line 2: demand h1 → h2 has rate_bps -3.0; it must be above 0"),
        ("source,target,rate_bps\nh1,h2,0\n", r"line 2: demand h1 → h2 has rate_bps 0.0; it must be above 0"),
        ("source,target,rate_bps\nh1,h1,3\n", r"d\.csv, line 2: demand h1 → h1 starts where it ends"),
        ("source,target,rate_bps,cap\nh1,h2,3,4\n", r"must begin with the line .*rate_bps or .*rate_bps,cap_bps"),
        ("source,target,rate_bps,cap_bps\nh1,h2,3\n", r"line 2: 3 fields; write source,target,rate_bps,cap_bps"),
        ("source,target,rate_bps,cap_bps\nh1,h2,3,-1\n", r"line 2: demand h1 → h2 has cap_bps -1.0; it must"),
        ('source,target,rate_bps\n"h1,h2,3\n', r"d\.csv is no CSV: unexpected end of data"),
    ],
)
def test_a_wrong_csv_file_is_named(tmp_path, text, message):
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_demands(tmp_path / "d.csv")


def test_a_missing_file_and_a_wrong_list_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv cannot be read: No such file"):
        read_demands(tmp_path / "none.csv")
    with pytest.raises(InputError, match="memory: demand 'h1 → h2' has an unknown key 'rate'"):
        demands_from_json([{"source": "h1", "target": "h2", "rate_bps": 1, "rate": 1}], "memory")
    with pytest.raises(InputError, match=r"memory: .*valid list"):
        demands_from_json({}, "memory")
