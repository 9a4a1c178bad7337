"""The control of failures: two switches joined by two cables, with nothing on them but a fast-failover group each.

They are bridges of the same Open vSwitch as the fabric, which takes longer to act on a failure the more bridges it
has: a group on two bridges alone lost 4 to 8 packets, on two among twenty-two 9 to 12, as the fabric's did.
"""

from __future__ import annotations

from benchmarks.dataplane.switchrules import ofctl
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.reachability import await_reachable
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind

HOSTS = ("b1", "b2")
USED = (LinkId("g1", 2), LinkId("g2", 2))
"""Both ends of the cable that packets take while it is up."""
_SWITCHES = ("g1", "g2")
_FIRST_DPID = 0xB0
_GROUP = "group_id=1,type=ff,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3"
_FLOWS = ("in_port=1,actions=group:1", "in_port=2,actions=output:1", "in_port=3,actions=output:1")


def beside(fabric: Fabric) -> Fabric:
    """A fabric and, apart from it, the control: a host on port 1 of each switch, cables between their ports 2 and 3."""
    capacity_bps = float(fabric.capacities_bps.max())
    nodes, cables = [], []
    for number, (host, switch) in enumerate(zip(HOSTS, _SWITCHES, strict=True), 1):
        nodes.append(Node(switch, NodeKind.SWITCH, tier=1, dpid=_FIRST_DPID + number))
        nodes.append(
            Node(host, NodeKind.HOST, tier=0, ip=f"10.255.0.{number}", mac=f"02:00:0a:ff:00:{number:02x}")
        )  # fmt: skip
        cables.append((host, 1, switch, 1))
    cables += [(_SWITCHES[0], port, _SWITCHES[1], port) for port in (2, 3)]
    both = [end for cable in cables for end in (cable, (*cable[2:], *cable[:2]))]
    links = (Link(*ends, capacity_bps=capacity_bps, delay_s=1e-5) for ends in both)
    return Fabric((*fabric.nodes, *nodes), (*fabric.links, *links))


def leave_alone(cluster: Cluster) -> None:
    """Take the controller away from the control's switches, and give them their rules."""
    cluster.switch.configure([("del-controller", switch) for switch in _SWITCHES])
    for switch in _SWITCHES:
        ofctl(cluster, "add-group", switch, _GROUP)
        for flow in _FLOWS:
            ofctl(cluster, "add-flow", switch, flow)
    await_reachable(cluster, HOSTS)
