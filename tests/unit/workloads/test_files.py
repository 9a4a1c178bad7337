"""Job files."""

import json

import pytest

from topologies.errors import InputError
from workloads.files import job_from_json, read_job
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
        (DATA | {"rank": 1}, "j.json: the file has an unknown key 'rank'"),
        ({"name": "ring", "ranks": ["h1", "h2"]}, "j.json: the file lacks 'message_bytes'; add it"),
        (DATA | {"message_bytes": 0}, "j.json: job 'ring' has message_bytes 0"),
        (DATA | {"message_bytes": "8"}, "the file has message_bytes '8'"),
        (DATA | {"ranks": ["h1", "h1"]}, "j.json: job 'ring' has host 'h1' twice"),
        (DATA | {"collective": "gossip"}, "the file has collective 'gossip': input should be 'all-reduce'"),
        ([DATA], "j.json"),
    ],
)
def test_what_is_wrong_is_named(data, message):
    with pytest.raises(InputError, match=message):
        job_from_json(data, "j.json")
