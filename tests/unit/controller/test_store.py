import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.discovery import PortId
from controller.service import Event
from controller.store import MAX_EVENTS, SCHEMA_VERSION, Pushed, Store, StoredHost
from controller.testing import two_host_plan
from dataplane.detours import Tunnel
from dataplane.rules import ETH_TYPE_IPV4
from topologies.errors import HeddleError
from topologies.fabric import LinkId
from workloads.job import Job


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state"


def refusal(directory):
    with pytest.raises(HeddleError) as caught:
        Store(directory)
    return str(caught.value)


def test_jobs_come_back_in_the_order_in_which_they_were_saved(directory):
    jobs = [Job(name, ("h2", "h1"), 1 << 40) for name in ("b", "a", "c")]
    with Store(directory) as store:
        for job in jobs:
            store.save_job(job)
        store.delete_job("a")

    with Store(directory) as store:
        assert store.jobs() == (jobs[0], jobs[2])


def test_a_job_saved_again_keeps_its_place(directory):
    with Store(directory) as store:
        store.save_job(Job("a", ("h1", "h2"), 1))
        store.save_job(Job("b", ("h1", "h2"), 1))
        store.save_job(Job("a", ("h1", "h2"), 2))

        assert [(job.name, job.message_bytes) for job in store.jobs()] == [("a", 2), ("b", 1)]


def test_the_plan_comes_back_as_it_was(directory):
    plan = two_host_plan()
    with Store(directory) as store:
        assert store.load_plan() is None
        store.save_plan(plan)

    with Store(directory) as store:
        assert store.load_plan() == plan


def test_a_new_plan_replaces_the_old_one_whole(directory):
    with Store(directory) as store:
        store.save_plan(two_host_plan())
        shorter = replace(two_host_plan(), epoch=4, paths=two_host_plan().paths[:1])
        store.save_plan(shorter)
        assert store.load_plan() == shorter
        store.save_plan(None)
        assert store.load_plan() is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(dpid=st.integers(1, 2**64 - 1), port=st.integers(1, 2**32 - 1))
def test_a_host_comes_back_at_its_port(tmp_path_factory, dpid, port):
    with Store(tmp_path_factory.mktemp("state")) as store:
        store.change_hosts([StoredHost("10.0.0.1", "02:00:00:00:00:01", PortId(1, 1))], [])
        store.change_hosts([StoredHost("10.0.0.1", "02:00:00:00:00:01", PortId(dpid, port))], [])

        assert store.hosts() == (("10.0.0.1", "02:00:00:00:00:01", PortId(dpid, port)),)


def test_a_job_comes_back_with_its_flows_and_its_cap(directory):
    jobs = (Job("a", ("h1", "h2"), 1, flows_per_pair=64, rate_cap_bps=2.5e6), Job("b", ("h1", "h2"), 1))
    with Store(directory) as store:
        for job in jobs:
            store.save_job(job)

    with Store(directory) as store:
        assert store.jobs() == jobs


def test_labels_that_a_plan_gave_up_rest_until_they_are_released(directory):
    with Store(directory) as store:
        store.save_plan(two_host_plan(), given_up=[Pushed(18, "e1"), Pushed(18, "e2"), Pushed(19, "e2")])
        store.save_plan(None, given_up=[Pushed(16, "e1")])
        store.release_labels([Pushed(18, "e1")])

    with Store(directory) as store:
        assert set(store.resting_labels()) == {Pushed(16, "e1"), Pushed(18, "e2"), Pushed(19, "e2")}


def test_the_labels_of_detours_are_kept_with_the_plan(directory):
    ways = (LinkId("c1", 2), LinkId("a1-0", 3)), (LinkId("c1", 1), LinkId("a0-0", 3))
    detours = {Tunnel(ways[0], 0x0800): 1_048_575, Tunnel(ways[0], 0x0806): 1_048_574}
    with Store(directory) as store:
        store.save_plan(two_host_plan(), {Tunnel(ways[1], 0x0800): 1_048_570})
        store.save_plan(two_host_plan(), detours)

    with Store(directory) as store:
        assert store.load_detours() == detours
        store.save_plan(None)
        assert store.load_detours() == {}


def test_hosts_can_be_forgotten_by_their_addresses(directory):
    one = StoredHost("10.0.0.1", "02:00:00:00:00:01", PortId(1, 1))
    other = StoredHost("10.0.0.2", "02:00:00:00:00:02", PortId(1, 2))
    with Store(directory) as store:
        store.change_hosts([one, other], [])
        store.change_hosts([], ["10.0.0.1", "10.0.0.77"])

        assert [host.ip for host in store.hosts()] == ["10.0.0.2"]


def test_events_are_kept_with_growing_ids_and_bounded(directory):
    with Store(directory) as store:
        store.add_event(Event(1, 1.0, "first", "the first"))
        store.add_event(Event(MAX_EVENTS, 2.0, "full", "the last that fits beside it"))
        assert [event.id for event in store.events()] == [1, MAX_EVENTS]
        store.add_event(Event(MAX_EVENTS + 1, 3.0, "over", "pushes the first out"))

    with Store(directory) as store:
        assert [event.id for event in store.events()] == [MAX_EVENTS, MAX_EVENTS + 1]


def test_an_event_that_cannot_be_kept_is_logged_and_stops_nothing(directory, caplog):
    with Store(directory) as store:
        with sqlite3.connect(directory / "heddle.db") as other:
            other.execute("DROP TABLE events")
        other.close()
        store.add_event(Event(1, 1.0, "kind", "message"))

    assert "event 1 is not recorded" in caplog.text


def test_the_secret_stays_the_same_and_is_its_owners_alone(directory):
    with Store(directory) as store:
        secret = store.secret()
    with Store(directory) as store:
        assert store.secret() == secret

    assert len(secret) == 32
    assert stat.S_IMODE((directory / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((directory / "heddle.db").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_two_directories_have_two_secrets(tmp_path):
    with Store(tmp_path / "a") as a, Store(tmp_path / "b") as b:
        assert a.secret() != b.secret()


def test_a_cut_secret_is_refused(directory):
    Store(directory).close()
    (directory / "secret").write_bytes(b"short")

    assert "is damaged (5 bytes)" in refusal(directory)


def test_a_second_daemon_on_the_same_directory_is_refused(directory):
    with Store(directory):
        assert "another daemon uses the state directory" in refusal(directory)

    Store(directory).close()


def test_a_killed_daemon_leaves_its_directory_usable(directory):
    job = Job("train", ("h1", "h2"), 8)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from controller.store import Store\n"
        "from workloads.job import Job\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.save_job(Job('train', ('h1', 'h2'), 8))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    ended = subprocess.run([sys.executable, "-c", program, str(directory)], check=False, timeout=60)

    assert ended.returncode == -9
    with Store(directory) as store:
        assert store.jobs() == (job,)


def test_a_damaged_database_is_refused_and_left_as_it_is(directory):
    Store(directory).close()
    path = directory / "heddle.db"
    damaged = b"not a database at all" * 500
    path.write_bytes(damaged)

    assert f"{path} is damaged" in refusal(directory)
    assert path.read_bytes() == damaged


def test_a_database_with_a_torn_page_is_refused(directory):
    with Store(directory) as store:
        for number in range(200):
            store.add_event(Event(number + 1, 1.0, "kind", "message" * 20))
    path = directory / "heddle.db"
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(data)

    assert "is damaged" in refusal(directory)


def test_a_row_that_makes_no_sense_is_refused(directory):
    with Store(directory) as store:
        store.save_job(Job("train", ("h1", "h2"), 8))
        with sqlite3.connect(directory / "heddle.db") as other:
            other.execute("UPDATE jobs SET ranks = '[\"h1\"]'")
        other.close()

        with pytest.raises(HeddleError, match="is damaged"):
            store.jobs()


def test_a_newer_database_is_refused_and_left_as_it_is(directory):
    Store(directory).close()
    with sqlite3.connect(directory / "heddle.db") as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    other.close()

    assert f"is of schema {SCHEMA_VERSION + 1}" in refusal(directory)


def test_another_programs_database_is_refused(directory):
    directory.mkdir()
    with sqlite3.connect(directory / "heddle.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()

    assert "is not Heddle's database" in refusal(directory)


def test_a_path_that_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    assert "cannot be used: Not a directory" in refusal(tmp_path / "file" / "state")


def test_a_write_that_fails_changes_nothing_and_says_so(directory):
    with Store(directory) as store:
        store.save_plan(two_host_plan())
        [first, *others] = two_host_plan().paths
        other_plan = replace(two_host_plan(), epoch=4, paths=(replace(first, label=99), *others))
        with sqlite3.connect(directory / "heddle.db") as other:
            other.execute("CREATE TRIGGER full BEFORE INSERT ON paths BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        other.close()

        with pytest.raises(HeddleError, match="cannot be written: disk full"):
            store.save_plan(other_plan)
        assert store.load_plan() == two_host_plan()
        with sqlite3.connect(directory / "heddle.db") as other:
            other.execute("DROP TRIGGER full")
        other.close()
        store.save_plan(other_plan)

        assert store.load_plan() == other_plan


def test_cordons_come_back_as_they_were_last_saved(directory):
    cables = {(LinkId("a", 1), LinkId("b", 2)), (LinkId("a", 3), LinkId("c", 1))}
    with Store(directory) as store:
        assert store.cordons() == set()
        store.save_cordons(cables)
        store.save_cordons(sorted(cables)[:1])

    with Store(directory) as store:
        assert store.cordons() == {min(cables)}


def test_of_a_plan_that_changed_a_little_all_comes_back(directory):
    [first, *others] = two_host_plan().paths
    detours = {Tunnel((LinkId("s", 1), LinkId("t", 2)), ETH_TYPE_IPV4): 1 << 19}
    plans = [
        replace(two_host_plan(), paths=tuple(others)),
        replace(two_host_plan(), paths=(*others, first)),
        replace(two_host_plan(), paths=(replace(first, rate_bps=1.0), *others)),
        None,
        two_host_plan(),
    ]
    with Store(directory) as store:
        for plan in plans:
            for kept in (detours, {}, detours):
                store.save_plan(plan, kept)
                assert store.load_plan() == plan
                assert store.load_detours() == kept
        store.save_plan(plans[0], detours)

    with Store(directory) as store:
        assert store.load_plan() == plans[0]
        store.save_plan(plans[1], detours)
        assert store.load_plan() == plans[1]
