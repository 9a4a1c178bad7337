"""The daemon on real switches: it finds the fabric, connects every host, plans jobs, and its death stops nothing."""

from __future__ import annotations

import random
import re
import signal
from collections import Counter
from itertools import pairwise

import httpx
import pytest

from benchmarks.dataplane.switchrules import held
from benchmarks.dataplane.tampering import label_forwarded_on, label_pushed, role_of
from controller.service import JobState
from dataplane.rules import Role
from topologies.fabric import LinkId
from workloads.job import Job

HOST_MTU = 9000
IP_AND_ICMP_BYTES = 28


def ring(name: str, *ranks: str) -> Job:
    return Job(name, ranks, 1 << 20)


def test_the_whole_fabric_is_found_as_declared(rig) -> None:
    found = rig.client.fabric()
    assert set(found.nodes) == set(rig.fabric.nodes)
    assert set(found.links) == set(rig.fabric.links)


def test_every_host_reaches_every_other(rig) -> None:
    addresses = [host.ip for host in rig.fabric.hosts]
    script = "for ip in {}; do ping -n -q -c 1 -W 2 $ip >/dev/null || echo $ip; done".format(" ".join(addresses))
    silent = {host.id: rig.run_in(host.id, "sh", "-c", script)[1].split() for host in rig.fabric.hosts}
    assert not any(silent.values()), silent


def test_nothing_is_flooded(rig, wait_until) -> None:
    before = rig.cluster.counters().sent_packets
    assert rig.ping("h1", "h16", "-c", "100", "-i", "0.01")[0] == 0
    after = rig.cluster.counters().sent_packets
    busy = {link for link in after if after[link] - before[link] >= 100}
    # One path there and one back; LLDP alone is on the others.
    assert len(busy) == 12
    assert all(after[link] - before[link] < 50 for link in after if link not in busy)


def test_a_job_takes_its_planned_paths_and_gives_them_back(rig, wait_until) -> None:
    rig.client.submit_job(ring("r1", "h1", "h5", "h9", "h13"))
    status = rig.client.wait_job("r1", JobState.ACTIVE, 60)
    assert status.share is not None
    plan = rig.client.plan()
    assert plan is not None
    assert plan.gap < 1e-6
    paths = {(path.source, path.target): path for path in plan.paths}
    assert {pair for pair, path in paths.items() if path.rate_bps > 0} == {
        ("h1", "h5"), ("h5", "h9"), ("h9", "h13"), ("h13", "h1"),
    }  # fmt: skip
    path = paths["h1", "h5"]
    before = rig.cluster.counters().sent_packets
    size = str(HOST_MTU - IP_AND_ICMP_BYTES)
    code, output = rig.ping("h1", "h5", "-c", "100", "-i", "0.01", "-M", "do", "-s", size)
    assert code == 0, output
    assert "100 received" in output
    after = rig.cluster.counters().sent_packets
    grown = {link for link in after if after[link] - before[link] >= 100}
    links = {LinkId.parse(str(link)) for link in path.links}
    back = {rig.fabric.link_by_id[link].reverse_id for link in links}
    assert grown == links | back

    rig.client.delete_job("r1")
    rig.client.wait_gone("r1", 60)
    assert rig.client.plan() is None
    flows = [flow for switch in rig.fabric.switches for flow in held(rig.cluster, switch.id).flows]
    assert any(role_of(flow) is Role.DEFAULT for flow in flows)
    # Labels of detours and of echoes stay: default routing has them.
    assert not [flow for flow in flows if label_forwarded_on(flow) is not None or label_pushed(flow) is not None]


def test_ecmp_uses_every_path_between_pods_evenly(rig) -> None:
    flows = 1000
    before = rig.cluster.counters().sent_bytes
    server = rig.cluster.start_in("h16", "python3", "-c", SERVER, stdout=-1)
    with server.stdout:
        assert server.stdout.readline() == b"ready\n"
        code, output = rig.run_in("h1", "python3", "-c", CLIENT, rig.fabric.node_by_id["h16"].ip, str(flows))
    assert code == 0, output
    server.wait(60)
    after = rig.cluster.counters().sent_bytes
    down = {core: after[LinkId(core, 4)] - before[LinkId(core, 4)] for core in ("c1", "c2", "c3", "c4")}
    fair = sum(down.values()) / 4
    assert all(abs(share - fair) <= 0.25 * fair for share in down.values()), down


def test_a_link_taken_down_leaves_the_view_and_comes_back(rig, wait_until) -> None:
    cable = {LinkId("a0-0", 3), LinkId("c1", 1)}
    rig.cluster.set_link(LinkId("a0-0", 3), up=False)
    try:
        wait_until(lambda: not cable & rig.client.fabric().link_by_id.keys(), "the link leaves the view")
        wait_until(lambda: rig.ping("h1", "h16", "-c", "1")[0] == 0, "traffic takes the other paths")
        assert rig.ping("h1", "h16", "-c", "20", "-i", "0.01")[0] == 0
    finally:
        rig.cluster.set_link(LinkId("a0-0", 3), up=True)
    wait_until(lambda: cable <= rig.client.fabric().link_by_id.keys(), "the link is back in the view")
    wait_until(lambda: rig.client.ready().ready, "the daemon is ready again")


def test_a_job_moves_off_a_dead_link(rig, wait_until) -> None:
    rig.client.submit_job(ring("r2", "h1", "h5", "h9", "h13"))
    rig.client.wait_job("r2", JobState.ACTIVE, 60)
    path = next(path for path in rig.client.plan().paths if (path.source, path.target) == ("h1", "h5"))
    dead = LinkId.parse(str(path.links[2]))
    rig.cluster.set_link(dead, up=False)
    try:
        wait_until(
            lambda: (
                all(str(dead) not in map(str, p.links) for p in rig.client.plan().paths)
                and rig.client.job("r2").state is JobState.ACTIVE
            ),
            "the job has new paths",
        )
        assert rig.ping("h1", "h5", "-c", "20", "-i", "0.01")[0] == 0
    finally:
        rig.cluster.set_link(dead, up=True)
    rig.client.delete_job("r2")
    rig.client.wait_gone("r2", 60)
    wait_until(lambda: dead in rig.client.fabric().link_by_id, "the link is back in the view")


def test_a_killed_daemon_stops_no_traffic_and_finds_its_plan_again(rig, wait_until, tmp_path) -> None:
    rig.client.submit_job(ring("r3", "h1", "h5", "h9", "h13"))
    rig.client.wait_job("r3", JobState.ACTIVE, 60)
    paths = {(path.source, path.target, path.label, path.links) for path in rig.client.plan().paths}
    # Planned and default traffic, long enough for the neighbour caches to want renewal on the way.
    pings = []
    for a, b in (("h1", "h5"), ("h2", "h16")):
        with (tmp_path / a).open("wb") as output:
            command = ("ping", "-n", "-i", "0.01", rig.fabric.node_by_id[b].ip)
            pings.append((rig.cluster.start_in(a, *command, stdout=output), tmp_path / a))
    before = rig.cluster.counters().sent_packets
    wait_until(lambda: grown(rig, before, "h2") > 100, "pings are under way")
    rig.daemon.kill()
    dead = rig.cluster.counters().sent_packets
    wait_until(lambda: grown(rig, dead, "h2") > 3000, "pings went on for 30 s without a daemon", 600)
    rig.daemon.start()
    rig.daemon.wait_ready()
    rig.client.wait_job("r3", JobState.ACTIVE, 60)
    for ping, output in pings:
        ping.send_signal(signal.SIGINT)
        ping.wait(60)
        answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", output.read_text())}
        # The last ones may still be under way; before them, none may be missing.
        assert len(answered) > 3000
        assert answered == set(range(1, max(answered) + 1))
    assert {(path.source, path.target, path.label, path.links) for path in rig.client.plan().paths} == paths
    rig.client.delete_job("r3")
    rig.client.wait_gone("r3", 60)


@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_twenty_kills_at_any_moment_lose_no_packet(rig, wait_until) -> None:
    moments = random.Random(1)
    ping = rig.cluster.start_in("h2", "ping", "-n", "-q", "-i", "0.01", rig.fabric.node_by_id["h16"].ip, stdout=-1)
    for number in range(20):
        before = rig.cluster.counters().sent_packets
        # From the first handshakes, over discovery, to a job half installed.
        packets = moments.randint(1, 600)
        wait_until(lambda before=before, packets=packets: grown(rig, before, "h2") >= packets, "the moment to kill")
        rig.daemon.kill()
        rig.daemon.start()
        rig.client.wait_healthy(60)
        if number % 3 == 0:
            rig.daemon.wait_ready()
            rig.client.submit_job(ring(f"k{number}", "h1", "h5", "h9", "h13"))
    rig.daemon.wait_ready()
    ping.send_signal(signal.SIGINT)
    output = ping.communicate(timeout=60)[0].decode()
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", output).groups())
    assert sent - received <= 1, output
    for job in rig.client.jobs():
        rig.client.wait_job(job.name, JobState.ACTIVE, 60)
        rig.client.delete_job(job.name)
        rig.client.wait_gone(job.name, 60)


def grown(rig, before, host: str) -> int:
    link = rig.fabric.access_link(host).id
    return rig.cluster.counters().sent_packets[link] - before[link]


def test_bad_jobs_are_refused_with_one_clear_sentence(rig) -> None:
    url = f"{rig.client.url}/api/v1/jobs"
    good = {"name": "x", "ranks": ["h1", "h2"], "collective": "all-reduce", "algorithm": "ring", "message_bytes": 8}
    refused = {
        "an unknown host": {**good, "ranks": ["h1", "h99"]},
        "a rank twice": {**good, "ranks": ["h1", "h1"]},
        "a switch": {**good, "ranks": ["h1", "c1"]},
        "no bytes": {**good, "message_bytes": 0},
        "an unknown key": {**good, "colour": "blue"},
    }
    for what, job in refused.items():
        response = httpx.post(url, json=job)
        assert response.status_code == 422, what
        assert response.headers["content-type"] == "application/problem+json"
        detail = response.json()["detail"]
        assert detail
        assert "\n" not in detail
    broken = httpx.post(url, content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 422
    assert httpx.get(f"{url}/nobody").status_code == 404
    assert rig.client.jobs() == ()


def test_events_tell_what_happened_in_order(rig) -> None:
    events = rig.client.events()
    assert all(a.id < b.id for a, b in pairwise(events))
    assert Counter(event.kind for event in events)["switch-up"] >= 20


SERVER = """
import socket
s = socket.create_server(("0.0.0.0", 5001), backlog=1000)
print("ready", flush=True)
s.settimeout(60)
while True:
    c, _ = s.accept()
    data = b""
    while (piece := c.recv(65536)):
        data += piece
    c.close()
    if data == b"end":
        break
"""

CLIENT = """
import socket, sys
for i in range(int(sys.argv[2])):
    with socket.create_connection((sys.argv[1], 5001), timeout=30) as s:
        s.sendall(b"x" * 1000)
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
with socket.create_connection((sys.argv[1], 5001), timeout=30) as s:
    s.sendall(b"end")
"""
