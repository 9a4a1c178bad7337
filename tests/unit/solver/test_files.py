"""Demands files."""

import json

import pytest

from solver.demand import Demand
from solver.files import demands_from_json, read_demands
from topologies.errors import InputError

DEMANDS = (Demand("h1", "h2", 1e6), Demand("h2", "h3", 2.5e6))


def test_csv_and_json_say_the_same(tmp_path):
    (tmp_path / "d.csv").write_text("source,target,rate_bps\nh1,h2,1e6\n\nh2, h3, 2500000\n")
    (tmp_path / "d.json").write_text(
        json.dumps([{"source": d.source, "target": d.target, "rate_bps": d.rate_bps} for d in DEMANDS])
    )
    assert read_demands(tmp_path / "d.csv") == read_demands(tmp_path / "d.json") == DEMANDS


def test_a_key_twice_in_json_is_named(tmp_path):
    (tmp_path / "d.json").write_text('[{"source": "h1", "target": "h2", "rate_bps": 1, "rate_bps": 2}]')
    with pytest.raises(InputError, match=r"d\.json: key 'rate_bps' is here twice"):
        read_demands(tmp_path / "d.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"d\.csv must begin with the line source,target,rate_bps"),
        ("from,to,rate\n", r"d\.csv must begin with the line"),
        ("source,target,rate_bps\nh1,h2\n", r"d\.csv: line 2 has 2 fields"),
        ("source,target,rate_bps\nh1,h2,fast\n", r"d\.csv: demand 'h1 → h2' has rate_bps 'fast'"),
        ("source,target,rate_bps\nh1,h2,-3\n", r"demand 'h1 → h2' has rate_bps '-3': input should be greater than 0"),
        ("source,target,rate_bps\nh1,h1,3\n", r"d\.csv: demand h1 → h1 starts where it ends"),
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
