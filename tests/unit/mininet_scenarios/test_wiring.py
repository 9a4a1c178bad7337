"""The commands that wire a fabric: every cable once, every end named, shaped and bounded."""

import pytest

from mininet_scenarios import wiring
from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=10e6)
PIDS = {host.id: 1000 + number for number, host in enumerate(K4.hosts)}


def test_every_cable_is_made_once_with_both_ends_named_by_port() -> None:
    lines = list(wiring.cable_lines(K4, PIDS, "room"))
    assert len(lines) == 48
    ends = [word for line in lines for word in line.split() if "-eth" in word]
    assert sorted(ends) == sorted(wiring.interface(link.id) for link in K4.links)


def test_switch_ports_have_room_for_two_labels_beyond_the_hosts_frames() -> None:
    (line,) = [line for line in wiring.cable_lines(K4, PIDS, "room") if "h1-eth1" in line]
    assert f"mtu {wiring.HOST_MTU}" in line
    assert f"mtu {wiring.HOST_MTU + 8}" in line


def test_a_shaped_link_has_its_rate_and_a_queue_in_bytes() -> None:
    shaping = wiring.Shaping()
    qdisc, rate, queue = wiring.shape(K4.links[0], shaping)
    assert "htb" in qdisc
    assert "rate 10000000bit" in rate
    assert queue.endswith(f"bfifo limit {shaping.queue_bytes}")


def test_a_name_that_the_kernel_does_not_allow_is_refused() -> None:
    with pytest.raises(InputError, match="longer than the kernel's 15"):
        wiring.interface(LinkId("a-long-switch", 12))


def test_a_link_without_its_way_back_is_refused() -> None:
    nodes = (Node("s1", NodeKind.SWITCH, dpid=1), Node("s2", NodeKind.SWITCH, dpid=2))
    with pytest.raises(InputError, match="has no link back"):
        wiring.cables(Fabric(nodes, (Link("s1", 1, "s2", 1, 1e7),)))


def test_a_link_without_capacity_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="s1:1 has no capacity_bps"):
        wiring.shape(Link("s1", 1, "s2", 1), wiring.Shaping())
