"""Job files."""

import json

import pytest

from topologies.errors import InputError
from workloads.files import JobFile, read_job
from workloads.job import Job

DATA = {"name": "ring", "ranks": ["h1", "h2"], "message_bytes": 1024}


def test_a_job_is_read_from_json_and_from_yaml(tmp_path):
    full = DATA | {"collective": "all-reduce", "algorithm": "ring"}
    (tmp_path / "job.json").write_text(json.dumps(full))
    (tmp_path / "job.yaml").write_text("name: ring\nranks: [h1, h2]\nmessage_bytes: 1024\n")
    assert read_job(tmp_path / "job.json") == read_job(tmp_path / "job.yaml") == Job("ring", ("h1", "h2"), 1024)


def test_a_job_may_say_how_many_flows_its_pairs_have_and_what_they_may_send(tmp_path):
    (tmp_path / "job.json").write_text(json.dumps(DATA | {"flows_per_pair": 64, "rate_cap_bps": 2500000}))
    job = read_job(tmp_path / "job.json")
    assert job == Job("ring", ("h1", "h2"), 1024, flows_per_pair=64, rate_cap_bps=2.5e6)
    assert JobFile.from_job(job).to_job() == job


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA | {"rank": 1}, r"j.json: unknown key 'rank'"),
        ({"name": "ring", "ranks": ["h1", "h2"]}, r"j.json: key 'message_bytes' is missing"),
        (DATA | {"message_bytes": 0}, r"j.json: job 'ring' has message_bytes 0"),
        (DATA | {"message_bytes": "8"}, r"j.json: message_bytes"),
        (DATA | {"ranks": ["h1", "h1"]}, r"j.json: job 'ring' has host 'h1' twice"),
        (DATA | {"collective": "gossip"}, r"j.json: collective: input should be 'all-reduce'"),
        (DATA | {"flows_per_pair": 0}, r"j.json: job 'ring' has flows_per_pair 0; it must be 1 to 65536"),
        (DATA | {"flows_per_pair": 1.5}, r"j.json: flows_per_pair"),
        (DATA | {"rate_cap_bps": 9999}, r"j.json: job 'ring' has rate_cap_bps 9999; it must be 10000 to 1e\+12"),
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
