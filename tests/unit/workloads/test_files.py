"""Job files."""

import json

import pytest

from topologies.errors import InputError
from workloads.files import read_job
from workloads.job import Job

DATA = {"name": "ring", "ranks": ["h1", "h2"], "message_bytes": 1024}


def test_a_job_is_read_from_json_and_from_yaml(tmp_path):
    full = DATA | {"collective": "all-reduce", "algorithm": "ring"}
    (tmp_path / "job.json").write_text(json.dumps(full))
    (tmp_path / "job.yaml").write_text("name: ring\nranks: [h1, h2]\nmessage_bytes: 1024\n")
    assert read_job(tmp_path / "job.json") == read_job(tmp_path / "job.yaml") == Job("ring", ("h1", "h2"), 1024)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA | {"rank": 1}, r"j.json: unknown key 'rank'"),
        ({"name": "ring", "ranks": ["h1", "h2"]}, r"j.json: key 'message_bytes' is missing"),
        (DATA | {"message_bytes": 0}, r"j.json: job 'ring' has message_bytes 0"),
        (DATA | {"message_bytes": "8"}, r"j.json: message_bytes"),
        (DATA | {"ranks": ["h1", "h1"]}, r"j.json: job 'ring' has host 'h1' twice"),
        (DATA | {"collective": "gossip"}, r"j.json: collective: input should be 'all-reduce'"),
        ([DATA], r"j.json holds a list; it must hold keys with values"),
    ],
)
def test_what_is_wrong_is_named(data, message, tmp_path):
    (tmp_path / "j.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        read_job(tmp_path / "j.json")


def test_a_key_twice_in_json_is_named(tmp_path):
    (tmp_path / "j.json").write_text('{"name": "ring", "ranks": ["h1", "h2"], "message_bytes": 8, "name": "other"}')
    with pytest.raises(InputError, match=r"j\.json: key 'name' is here twice; remove one"):
        read_job(tmp_path / "j.json")
