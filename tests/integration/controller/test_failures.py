"""What fails on real switches: links without a controller, and a switch's channel alone."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controller.service import JobState
from topologies.fabric import LinkId
from workloads.job import Job

FIRST_FRAMEWORK = "os-ken"

PAIR = ("h1", "h5")
JOB = Job("pair", PAIR, 1 << 20)
FULL_SIZE = str(9000 - 28)
PER_S = 100
COUNTERS = re.compile(r"duration=[^,]*, |n_packets=\d+, |n_bytes=\d+, |idle_age=\d+, ")


@pytest.fixture(name="way")
def way_fixture(rig) -> Iterator[tuple[LinkId, ...]]:
    """The links between switches on the planned path of the pair."""
    rig.client.submit_job(JOB)
    rig.client.wait_job(JOB.name, JobState.ACTIVE, 60)
    path = next(path for path in rig.client.plan().paths if (path.source, path.target) == PAIR)
    yield tuple(LinkId.parse(str(link)) for link in path.links[1:-1])
    rig.client.delete_job(JOB.name)
    rig.client.wait_gone(JOB.name, 60)


class Pings:
    """Full-size pings between the pair, from here on."""

    def __init__(self, rig, wait_until, output) -> None:
        self._rig, self._wait_until, self._output = rig, wait_until, output
        address = rig.fabric.node_by_id[PAIR[1]].ip
        with output.open("wb") as file:
            command = ("ping", "-n", "-M", "do", "-s", FULL_SIZE, "-i", str(1 / PER_S), address)
            self._process = rig.cluster.start_in(PAIR[0], *command, stdout=file)
        self.flow_on()

    @property
    def answered(self) -> set[int]:
        """Numbers of those answered."""
        return {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", self._output.read_text())}

    def flow_on(self, seconds: float = 0.5) -> None:
        """Wait until as many more have been answered as are sent in so many seconds."""
        wanted = len(self.answered) + seconds * PER_S
        self._wait_until(lambda: len(self.answered) >= wanted, "pings are answered")

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)

    @property
    def lost(self) -> int:
        """How many were not answered; the last ones may be under way."""
        answered = self.answered
        return max(answered) - len(answered)


@contextmanager
def without_daemon(rig) -> Iterator[None]:
    rig.daemon.kill()
    try:
        yield
    finally:
        rig.daemon.start()
        rig.daemon.wait_ready()


def test_without_a_controller_traffic_goes_round_each_link_that_fails(rig, wait_until, way, tmp_path) -> None:
    pings = Pings(rig, wait_until, tmp_path / "pings")
    with without_daemon(rig):
        before = pings.lost
        for number, link in enumerate(way):
            end = link if number % 2 else rig.fabric.link_by_id[link].reverse_id
            rig.cluster.set_link(end, up=False)
            try:
                pings.flow_on()
            finally:
                rig.cluster.set_link(end, up=True)
            pings.flow_on()
        pings.end()
    assert before == 0
    # A second's worth of each failure; the usual is one or two pings.
    assert pings.lost < len(way) * PER_S


def test_without_a_controller_default_routing_goes_round_links_that_fail(rig, wait_until) -> None:
    # Each tier, each end of a cable; frames of full size, since a detour adds a label, and neighbours asked for anew.
    ends = [LinkId("e0-0", 3), LinkId("a0-1", 2), LinkId("a1-0", 4), LinkId("c3", 4)]
    with without_daemon(rig):
        for end in ends:
            rig.cluster.set_link(end, up=False)
            try:
                wait_until(lambda: not silent_pairs(rig), f"every host reaches every other without {end}")
            finally:
                rig.cluster.set_link(end, up=True)


def test_a_lost_channel_changes_no_rule_and_loses_no_packet(rig, wait_until, way, tmp_path) -> None:
    # Up to the core, so that its neighbours' probes have several cables.
    switch = way[1].node
    names = [node.id for node in rig.fabric.switches]
    pings = Pings(rig, wait_until, tmp_path / "pings")
    before = {name: rules(rig, name) for name in names}
    after = rig.client.events()[-1].id
    rig.cluster.switch.cut_channel(switch, cut=True)
    try:
        wait_until(lambda: is_away(rig, switch), "the switch is disconnected")
        # Longer than a dead switch is given.
        pings.flow_on(10)
        assert is_away(rig, switch)
        meanwhile = {name: rules(rig, name) for name in names}
    finally:
        rig.cluster.switch.cut_channel(switch, cut=False)
    wait_until(lambda: not is_away(rig, switch), "the switch is connected again")
    pings.flow_on()
    pings.end()
    assert pings.lost == 0
    assert meanwhile == before
    assert {name: rules(rig, name) for name in names} == before
    assert "switch-dead" not in {event.kind for event in rig.client.events(after)}


def silent_pairs(rig) -> dict[str, list[str]]:
    """Addresses that do not answer a host, by host."""
    addresses = " ".join(host.ip for host in rig.fabric.hosts)
    ping = f"ping -n -q -c 1 -W 2 -M do -s {FULL_SIZE} $ip >/dev/null"
    script = f"ip neigh flush all; for ip in {addresses}; do {ping} || echo $ip; done"
    asked = {host.id: rig.cluster.start_in(host.id, "sh", "-c", script, stdout=-1) for host in rig.fabric.hosts}
    said = {host: process.communicate(timeout=60)[0].decode().split() for host, process in asked.items()}
    return {host: silent for host, silent in said.items() if silent}


def rules(rig, switch: str) -> set[str]:
    """Flows and groups of a switch, without their counters."""
    said = rig.run_ofctl(switch, "dump-flows") + rig.run_ofctl(switch, "dump-groups")
    return {COUNTERS.sub("", line).strip() for line in said.splitlines() if "reply" not in line}


def is_away(rig, switch: str) -> bool:
    return not next(each for each in rig.client.switches() if each.id == switch).connected
