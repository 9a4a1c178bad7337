"""A fabric that nobody declared, on real switches: hosts are found by their ARP, capacities are assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from subprocess import DEVNULL
from typing import Any

import pytest

BUSY_BPS = 500e3
"""Less than the slowest flood ping makes, and far more than probes do."""


@pytest.fixture(scope="module")
def undeclared(
    make_rig: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., None]
) -> Iterator[Any]:
    """A k=2 fat-tree, each of whose hosts has asked for every other's address."""
    with make_rig(tmp_path_factory.mktemp("undeclared"), "os-ken", k=2, declared=False, default="shortest") as rig:
        for source, target in permutations((host.id for host in rig.fabric.hosts), 2):
            # The first may be lost while the controller looks for the host that was asked for.
            wait_until(lambda pair=(source, target): rig.ping(*pair, "-c", "1")[0] == 0, f"{source} reaches {target}")
        yield rig


def test_hosts_are_found_by_their_arp_and_named_by_their_address(undeclared: Any) -> None:
    found = {(host.id, host.ip, host.mac, host.learned_from) for host in undeclared.client.hosts()}

    assert found == {(f"h-{host.ip}", host.ip, host.mac, "arp") for host in undeclared.fabric.hosts}


def test_every_switch_and_every_link_is_found(undeclared: Any) -> None:
    found = undeclared.client.fabric()

    assert {switch.dpid for switch in found.switches} == {switch.dpid for switch in undeclared.fabric.switches}
    assert len(found.links) == len(undeclared.fabric.links)


def test_once_they_are_known_every_host_reaches_every_other(undeclared: Any) -> None:
    for source, target in permutations((host.id for host in undeclared.fabric.hosts), 2):
        code, output = undeclared.ping(source, target, "-c", "10", "-i", "0.01")
        assert code == 0, output
        assert " 0% packet loss" in output


def test_the_capacity_of_every_link_is_marked_as_assumed(undeclared: Any) -> None:
    links = undeclared.client.links()

    assert all(link.capacity_assumed and link.capacity_bps for link in links)


def test_the_load_of_links_shows_the_traffic_on_them(undeclared: Any, wait_until: Callable[..., None]) -> None:
    source, target = undeclared.fabric.hosts
    stream = undeclared.cluster.start_in(source.id, "ping", "-n", "-f", "-s", "1400", target.ip, stdout=DEVNULL)
    try:
        # One path connects the two, so all links are on it.
        wait_until(
            lambda: all((link.load_bps or 0.0) > BUSY_BPS for link in undeclared.client.links()),
            "every link shows a load",
        )
    finally:
        stream.terminate()
        stream.wait(60)

    wait_until(
        lambda: all((link.load_bps or 0.0) < BUSY_BPS for link in undeclared.client.links()), "the loads are over"
    )
