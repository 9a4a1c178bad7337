"""An emulated fabric is what it claims to be: links held to their capacity, buffers that lose nothing unseen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mininet_scenarios import link_efficiency, wiring
from mininet_scenarios.buffers import SEND_BUFFER_BYTES
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import free_address
from mininet_scenarios.machine import SWITCH_NICENESS
from topologies.errors import HeddleError
from topologies.fat_tree import fat_tree

BUFFERS = [Path(f"/proc/sys/net/core/{side}mem_{kind}") for side in "rw" for kind in ("default", "max")]
CAPACITY_BPS = 10e6
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the place itself is the subject


@pytest.fixture(name="former_buffers", scope="module")
def former_buffers_fixture() -> list[str]:
    return [path.read_text() for path in BUFFERS]


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture(former_buffers: list[str]) -> Iterator[Cluster]:
    tree = fat_tree(2, capacity_bps=CAPACITY_BPS)
    hosts = {node.id for node in tree.hosts}
    # Hosts ten times as fast as the links between switches, so that it is these that have to hold the traffic.
    links = tuple(
        replace(link, capacity_bps=10 * CAPACITY_BPS) if {link.source, link.target} & hosts else link
        for link in tree.links
    )
    with Cluster(replace(tree, links=links), free_address()) as cluster:
        _forward_everything(cluster)
        yield cluster


def _forward_everything(cluster: Cluster) -> None:
    """A k=2 fat-tree is a tree, so that plain learning switches serve."""
    for node in cluster.fabric.switches:
        socket = cluster.switch.management_socket(node.id)
        subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", socket, "actions=NORMAL"], check=True)


def _in(cluster: Cluster, host: str, *command: str) -> str:
    return subprocess.run(cluster.enter(host, *command), capture_output=True, text=True, check=True).stdout


def test_open_vswitch_leaves_the_shaping_of_its_ports_alone(cluster: Cluster) -> None:
    said = subprocess.run(
        ["ip", "netns", "exec", cluster.run.namespace, "tc", "qdisc", "show"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ports = {wiring.interface(link.id) for link in cluster.fabric.links if not link.source.startswith("h")}
    assert wiring.shaped_interfaces(said) == ports


def test_a_link_between_switches_is_held_to_its_capacity_by_itself(cluster: Cluster) -> None:
    one, other = (node.id for node in cluster.fabric.hosts)
    before, start_s = cluster.counters(), time.monotonic()
    # Unanswered datagrams, so that nothing but the links slows the sender down.
    flood = "import socket,sys,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); end=time.monotonic()+2\n"
    flood += f"while time.monotonic()<end: s.sendto(bytes(8000),('{cluster.fabric.node_by_id[other].ip}',9))"
    _in(cluster, one, sys.executable, "-c", flood)
    after, elapsed_s = cluster.counters(), time.monotonic() - start_s
    sent = {link: (after.sent_bytes[link] - before.sent_bytes[link]) * 8 for link in after.sent_bytes}
    assert sent[cluster.fabric.access_link(one).id] > 2 * CAPACITY_BPS * 2, "the sender did not press hard enough"
    for link in cluster.fabric.links:
        if not {link.source, link.target} & {one, other}:
            assert sent[link.id] <= CAPACITY_BPS * elapsed_s + cluster.shaping.burst_bytes * 8, link.id


def test_a_link_that_lost_its_queue_is_named(cluster: Cluster) -> None:
    link = next(link for link in cluster.fabric.links if not link.source.startswith("h"))
    tc = ["ip", "netns", "exec", cluster.run.namespace, "tc"]
    subprocess.run([*tc, "qdisc", "del", "dev", wiring.interface(link.id), "root"], check=True)
    try:
        with pytest.raises(HeddleError, match=str(link.id)):
            cluster.check_shaping()
    finally:
        lines = "\n".join(wiring.shape(link, cluster.shaping))
        subprocess.run([*tc, "-batch", "-"], input=lines, text=True, check=True)
    cluster.check_shaping()


def test_no_socket_of_the_switch_is_opened_later_with_a_small_buffer(cluster: Cluster) -> None:
    before = cluster.switch.send_buffers()
    one, other = (node.id for node in cluster.fabric.hosts)
    _in(cluster, one, "ping", "-c", "1", "-W", "20", cluster.fabric.node_by_id[other].ip or "")
    after = cluster.switch.send_buffers()
    assert len(after) == len(before)
    assert min(after) >= SEND_BUFFER_BYTES


def test_the_switch_comes_before_the_ranks_in_every_one_of_its_threads(cluster: Cluster) -> None:
    switch = cluster.switch.process_ids()[-1]
    threads = [int(thread.name) for thread in Path(f"/proc/{switch}/task").iterdir()]
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {SWITCH_NICENESS}


def test_a_flow_that_cannot_connect_is_an_error_that_names_its_ends(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_efficiency, "_PATIENCE_S", 2.0)
    one, other = (node.id for node in cluster.fabric.hosts)
    to_other = cluster.fabric.access_link(other).reverse_id
    cluster.set_link(to_other, up=False)
    try:
        with pytest.raises(HeddleError, match=f"a TCP flow from {one} to {other} did not get through within 2 s"):
            link_efficiency.link_efficiency(cluster, one, other)
    finally:
        cluster.set_link(to_other, up=True)


def test_the_machines_buffers_are_back_as_they_were(cluster: Cluster, former_buffers: list[str]) -> None:
    assert cluster.switch.process_ids()
    assert [path.read_text() for path in BUFFERS] == former_buffers


def test_hosts_share_neither_name_nor_memory(cluster: Cluster) -> None:
    one, other = (node.id for node in cluster.fabric.hosts)
    _in(cluster, one, "touch", f"{SHARED_MEMORY}/mine")
    assert "mine" not in _in(cluster, other, "ls", SHARED_MEMORY).split()
    assert not Path(SHARED_MEMORY, "mine").exists()
    assert [_in(cluster, host, "hostname").strip() for host in (one, other)] == [one, other]
