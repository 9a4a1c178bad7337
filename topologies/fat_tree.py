"""The k-ary fat-tree.

Source: Al-Fares, Loukissas and Vahdat, "A scalable, commodity data center network architecture",
SIGCOMM 2008, section 3 (structure and location-based addresses).
"""

from __future__ import annotations

from collections.abc import Iterator

from topologies.errors import InputError
from topologies.fabric import Fabric, Link, Node, NodeKind


def fat_tree(k: int, *, capacity_bps: float, delay_s: float = 1e-6) -> Fabric:
    """Build a k-ary fat-tree: k pods of k/2 edge and k/2 aggregation switches, (k/2)² cores.

    Hosts are ``h1``, ``h2``, … in pod order with addresses ``10.pod.edge.(2 + i)``; edge switches
    (tier 1) are ``e<pod>-<i>``, aggregation switches (tier 2) ``a<pod>-<i>``, cores (tier 3)
    ``c<i>``. On edge and aggregation switches ports 1 to k/2 lead down and the others up; on a core,
    port ``1 + pod`` leads to that pod. Aggregation switch ``i`` of each pod reaches the cores
    ``i*k/2 + 1`` to ``(i+1)*k/2``.

    Parameters
    ----------
    k : int
        Ports of each switch, even, from 2 to 128.
    capacity_bps, delay_s : float
        Of every link, in bit/s and seconds.

    Raises
    ------
    InputError
        k is odd or out of range.
    """
    if k % 2 or not 2 <= k <= 128:
        raise InputError(f"a fat-tree needs an even k from 2 to 128, not {k}")
    half = k // 2
    nodes: list[Node] = []
    cables: list[tuple[str, int, str, int]] = []
    for core in range(half * half):
        nodes.append(Node(f"c{core + 1}", NodeKind.SWITCH, tier=3, dpid=0x30000 + core + 1))
    for pod in range(k):
        for i in range(half):
            nodes.append(Node(f"a{pod}-{i}", NodeKind.SWITCH, tier=2, pod=pod, dpid=0x20000 + pod * 256 + i + 1))
            for j in range(half):
                cables.append((f"a{pod}-{i}", 1 + half + j, f"c{i * half + j + 1}", 1 + pod))
        for i in range(half):
            nodes.append(Node(f"e{pod}-{i}", NodeKind.SWITCH, tier=1, pod=pod, dpid=0x10000 + pod * 256 + i + 1))
            for j in range(half):
                cables.append((f"e{pod}-{i}", 1 + half + j, f"a{pod}-{j}", 1 + i))
            for j in range(half):
                number = (pod * half + i) * half + j + 1
                address, mac = f"10.{pod}.{i}.{2 + j}", f"02:00:0a:{pod:02x}:{i:02x}:{2 + j:02x}"
                nodes.append(Node(f"h{number}", NodeKind.HOST, tier=0, pod=pod, ip=address, mac=mac))
                cables.append((f"h{number}", 1, f"e{pod}-{i}", 1 + j))
    return Fabric(tuple(nodes), tuple(_both_ways(cables, capacity_bps, delay_s)))


def _both_ways(cables: list[tuple[str, int, str, int]], capacity_bps: float, delay_s: float) -> Iterator[Link]:
    for a, a_port, b, b_port in cables:
        yield Link(a, a_port, b, b_port, capacity_bps, delay_s)
        yield Link(b, b_port, a, a_port, capacity_bps, delay_s)
