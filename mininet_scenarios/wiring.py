"""The commands that wire a fabric: interface names, cables between namespaces, and shaped links.

Pure functions from a fabric to the lines of ``ip -batch`` and ``tc -batch``: a whole fabric is then a
handful of processes instead of a thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from topologies.errors import InputError
from topologies.fabric import Fabric, Link, LinkId, NodeKind

HOST_MTU = 9000
LABEL_BYTES = 4
SWITCH_MTU = HOST_MTU + 2 * LABEL_BYTES
"""Room for one MPLS label more than packets carry: without any, full-size frames vanish while small pings pass."""
_ETHERNET_BYTES = 14
_FRAME_BYTES = SWITCH_MTU + _ETHERNET_BYTES
_LONGEST_NAME = 15


@dataclass(frozen=True, slots=True)
class Shaping:
    """How a link is held to its capacity.

    Attributes
    ----------
    burst_bytes : int
        What may leave at once after a pause; every time measured over the link is short by that much at
        most. One frame is the least; a ring all-reduce reached 0.98 of its bound with one and with two.
    queue_bytes : int
        What may wait. Unbounded, HTB lets 1,000 packets wait: 7 s of a 10 Mbit/s link. Too short, it starves
        the routings that are compared with: where four flows share a link, ranks sent up to 11 % again with
        room for 10 frames and 3 % with 30, and shortest-path routing came from 0.21 to 0.23 of the bound.
    """

    burst_bytes: int = _FRAME_BYTES
    queue_bytes: int = 30 * _FRAME_BYTES


def interface(end: LinkId) -> str:
    """Name of the interface at a node's port: ``e0-1-eth3``.

    Raises
    ------
    InputError
        The kernel allows 15 characters.
    """
    name = f"{end.node}-eth{end.port}"
    if len(name) > _LONGEST_NAME:
        raise InputError(
            f"interface {name!r} is longer than the kernel's {_LONGEST_NAME} characters; "
            f"give {end.node!r} a shorter name"
        )
    return name


def cables(fabric: Fabric) -> tuple[Link, ...]:
    """One link of each cable.

    Raises
    ------
    InputError
        A link has no link back: an emulated cable always carries both ways.
    """
    for link in fabric.links:
        back = fabric.link_by_id.get(link.reverse_id)
        if back is None or back.reverse_id != link.id:
            raise InputError(f"link {link.id} to {link.target!r} has no link back; an emulated cable carries both ways")
    return tuple(link for link in fabric.links if link.id < link.reverse_id)


def cable_lines(fabric: Fabric, host_pids: dict[str, int], namespace: str) -> Iterator[str]:
    """``ip -batch`` lines that make every cable, each end at once in its namespace and under its name."""
    for link in cables(fabric):
        ends = []
        for end in (link.id, link.reverse_id):
            host = fabric.node_by_id[end.node].kind is NodeKind.HOST
            where = str(host_pids[end.node]) if host else namespace
            address = f" address {mac}" if host and (mac := fabric.node_by_id[end.node].mac) else ""
            ends.append((f"name {interface(end)} netns {where} mtu {HOST_MTU if host else SWITCH_MTU}", address))
        (near, near_mac), (far, far_mac) = ends
        yield f"link add {near}{near_mac} type veth peer {far}{far_mac}"


def up_lines(fabric: Fabric) -> Iterator[str]:
    """``ip -batch`` lines, for the switches' namespace, that set every switch port up."""
    for link in _switch_links(fabric):
        yield f"link set dev {interface(link.id)} up"


def shaping_lines(fabric: Fabric, shaping: Shaping) -> Iterator[str]:
    """``tc -batch`` lines, for the switches' namespace, that hold every switch port to its capacity."""
    for link in _switch_links(fabric):
        yield from shape(link, shaping)


def shape(link: Link, shaping: Shaping) -> tuple[str, str, str]:
    """``tc -batch`` lines that hold one direction of a cable to its capacity, with a bounded queue.

    Raises
    ------
    InputError
        The link has no capacity.
    """
    if link.capacity_bps is None:
        raise InputError(f"link {link.id} has no capacity_bps; declare it in the fabric file")
    device = interface(link.id)
    burst = f"burst {shaping.burst_bytes} cburst {shaping.burst_bytes} quantum {_FRAME_BYTES}"
    return (
        f"qdisc add dev {device} root handle 1: htb default 1",
        f"class add dev {device} parent 1: classid 1:1 htb rate {link.capacity_bps:.0f}bit {burst}",
        f"qdisc add dev {device} parent 1:1 handle 2: bfifo limit {shaping.queue_bytes}",
    )


def shaped_interfaces(said: str) -> set[str]:
    """Interfaces with a bounded queue under HTB, in what ``tc qdisc show`` says."""
    lines = [line.split() for line in said.splitlines()]
    limited = {words[4] for words in lines if words[:2] == ["qdisc", "htb"] and words[5] == "root"}
    bounded = {words[4] for words in lines if words[:2] == ["qdisc", "bfifo"] and words[5:7] == ["parent", "1:1"]}
    return limited & bounded


def _switch_links(fabric: Fabric) -> Iterator[Link]:
    return (link for link in fabric.links if fabric.node_by_id[link.source].kind is NodeKind.SWITCH)
