"""Gives one real switch rules of every shape, reads them back, and says as JSON what became of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from controller import framework, wire
from controller.channel import ChannelServer, Connection
from controller.framework import DEAD, MAIN, ofp_event, ofproto
from dataplane.rules import (
    ETH_TYPE_ARP,
    ETH_TYPE_IPV4,
    ETH_TYPE_LLDP,
    ETH_TYPE_MPLS,
    GROUP_ID_BASE,
    IP_PROTO_TCP,
    IP_PROTO_UDP,
    METER_ID_BASE,
    METER_ID_END,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    RATE_CAP_ID_BASE,
    Bucket,
    FlowRule,
    Group,
    GroupType,
    Masked,
    Match,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    RateCap,
    Role,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)
from dataplane.update import AddFlow, AddGroup, AddMeter, Operation, RemoveFlow, apply_operations, difference, stages
from topologies.errors import HeddleError

G = GROUP_ID_BASE
TO_CONTROLLER = (Output(PORT_CONTROLLER),)
OUT = (Output(1),)
MAC = "02:00:00:00:00:01"
FRAME = bytes.fromhex("ffffffffffff" + "020000000001" + "88cc") + bytes(range(200))
RULES = SwitchRules(
    meters=frozenset(
        {
            Meter(METER_ID_BASE, 1000, 100),
            Meter(METER_ID_BASE + 1, 50, 50),
            RateCap(RATE_CAP_ID_BASE, 10_000, 500),
            RateCap(METER_ID_END - 1, 4_000_000, 1),
        }
    ),
    groups=frozenset(
        {
            Group(G, GroupType.SELECT, (Bucket((Output(1),), 1, 1), Bucket((Output(2),), 2, 3))),
            Group(G + 1, GroupType.SELECT, (Bucket((PushLabel(99), Output(1))), Bucket((PushLabel(98), Output(2))))),
            Group(G + 2, GroupType.SELECT, tuple(Bucket((Output(1 + n % 2),), 1 + n % 2) for n in range(64))),
            Group(
                G + 3,
                GroupType.FAST_FAILOVER,
                (Bucket((Output(1),), 1), Bucket((PushLabel(7), Output(2)), 2), Bucket((Output(PORT_IN_PORT),), 2)),
            ),
            Group(
                G + 4,
                GroupType.FAST_FAILOVER,
                (Bucket((Output(1),), 1), Bucket((SetLabel(8), Output(PORT_IN_PORT)), 1)),
            ),
            Group(
                G + 5,
                GroupType.FAST_FAILOVER,
                (Bucket((Output(1),), 1), Bucket((PopLabel(ETH_TYPE_ARP), Output(2)), 2)),
            ),
        }
    ),
    flows=frozenset(
        {
            FlowRule(Table.GUARD, 0, Match(), role=Role.GUARD),
            FlowRule(Table.GUARD, 9, Match(eth_type=ETH_TYPE_LLDP), TO_CONTROLLER, None, METER_ID_BASE, Role.GUARD),
            FlowRule(
                Table.GUARD,
                8,
                Match(in_port=1, eth_src=MAC, eth_type=ETH_TYPE_ARP, arp_spa="10.0.0.1", arp_sha=MAC),
                TO_CONTROLLER,
                Table.DEFAULT,
                METER_ID_BASE + 1,
                Role.GUARD,
            ),
            FlowRule(
                Table.GUARD,
                7,
                Match(in_port=1, eth_src=MAC, eth_type=ETH_TYPE_IPV4, ipv4_src="10.0.0.1"),
                goto=Table.CLASSIFY,
                role=Role.GUARD,
            ),
            FlowRule(Table.GUARD, 6, Match(in_port=1, eth_type=ETH_TYPE_MPLS), role=Role.GUARD),
            FlowRule(
                Table.CLASSIFY,
                5,
                Match(eth_type=ETH_TYPE_IPV4, ipv4_src="10.0.0.1", ipv4_dst="10.0.0.2"),
                (PushLabel(0xFFFFF), Output(2)),
                role=Role.CLASSIFY,
            ),
            FlowRule(Table.CLASSIFY, 0, Match(), goto=Table.TRANSIT, role=Role.CLASSIFY),
            FlowRule(Table.TRANSIT, 5, Match(eth_type=ETH_TYPE_MPLS, mpls_label=16), (Output(2),), role=Role.TRANSIT),
            FlowRule(
                Table.TRANSIT,
                5,
                Match(eth_type=ETH_TYPE_MPLS, mpls_label=17),
                (PopLabel(), Output(1)),
                role=Role.TRANSIT,
            ),
            FlowRule(
                Table.TRANSIT,
                5,
                Match(eth_type=ETH_TYPE_MPLS, mpls_label=18),
                (PopLabel(),),
                Table.DEFAULT,
                role=Role.TRANSIT,
            ),
            FlowRule(
                Table.TRANSIT, 5, Match(eth_type=ETH_TYPE_MPLS, mpls_label=19), (ToGroup(G + 3),), role=Role.TRANSIT
            ),
            FlowRule(
                Table.TRANSIT,
                5,
                Match(in_port=1, eth_type=ETH_TYPE_MPLS, mpls_label=20),
                (Output(PORT_IN_PORT),),
                role=Role.TRANSIT,
            ),
            FlowRule(Table.TRANSIT, 0, Match(), goto=Table.DEFAULT, role=Role.TRANSIT),
            FlowRule(Table.DEFAULT, 5, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0.2"), (ToGroup(G),)),
            FlowRule(Table.DEFAULT, 5, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0.3"), (ToGroup(G + 1),)),
            FlowRule(Table.DEFAULT, 5, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0.4"), (ToGroup(G + 2),)),
            FlowRule(Table.DEFAULT, 5, Match(eth_type=ETH_TYPE_ARP, arp_tpa="10.0.0.2"), (Output(2),)),
            FlowRule(Table.DEFAULT, 4, Match(eth_dst=MAC), (Output(1), Output(2))),
            FlowRule(Table.DEFAULT, 0, Match()),
            *(
                FlowRule(Table.DEFAULT, 100 + bits, Match(eth_type=ETH_TYPE_IPV4, ipv4_dst=f"128.0.0.0/{bits}"), OUT)
                for bits in range(1, 32)
            ),
            FlowRule(Table.DEFAULT, 124, Match(eth_type=ETH_TYPE_ARP, arp_tpa="10.1.2.0/24"), OUT),
            FlowRule(Table.DEFAULT, 174, Match(in_port=2, eth_type=ETH_TYPE_IPV4, ipv4_dst="10.1.2.0/24"), OUT),
            FlowRule(
                Table.GUARD, 11, Match(in_port=1, eth_type=ETH_TYPE_IPV4, ipv4_src="10.1.0.0/16"), goto=Table.DEFAULT
            ),
            FlowRule(
                Table.TRANSIT,
                5,
                Match(eth_type=ETH_TYPE_MPLS, mpls_label=21),
                (SetLabel(22), Output(1)),
                role=Role.DETOUR,
            ),
            FlowRule(
                Table.TRANSIT,
                5,
                Match(eth_type=ETH_TYPE_MPLS, mpls_label=22),
                (PopLabel(ETH_TYPE_ARP), Output(1)),
                role=Role.DETOUR,
            ),
            FlowRule(
                Table.TRANSIT, 5, Match(eth_type=ETH_TYPE_MPLS, mpls_label=23), (ToGroup(G + 4),), role=Role.DETOUR
            ),
            FlowRule(
                Table.CLASSIFY,
                6,
                Match(eth_type=ETH_TYPE_IPV4, ipv4_dst="10.0.0.2", ip_proto=IP_PROTO_TCP, tcp_dst=5001),
                (PushLabel(5), Output(2)),
                None,
                RATE_CAP_ID_BASE,
                Role.CLASSIFY,
            ),
            *(
                FlowRule(
                    Table.CLASSIFY,
                    7,
                    Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_UDP, udp_src=source, udp_dst=4791),
                    (PushLabel(label), Output(2)),
                    role=Role.CLASSIFY,
                )
                for label, source in enumerate((Masked(0, 0xC000), Masked(0x4000, 0xC000), Masked(1, 1), 0xC000))
            ),
            FlowRule(
                Table.CLASSIFY,
                8,
                Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_TCP, tcp_src=Masked(0x8000, 0xFFFE)),
                OUT,
                role=Role.CLASSIFY,
            ),
        }
    ),
)


class Child(framework.App):
    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, Any] = {}
        self.frames: list[bytes] = []
        self.frame_came = framework.Event()
        self.bundled = True

    def start(self) -> None:
        super().start()
        self.channel = ChannelServer("127.0.0.1", 0)
        self.channel.start()
        sys.stdout.write(f"{self.channel.port}\n")
        sys.stdout.flush()

    def close(self) -> None:
        self.channel.close()
        sys.stdout.write(json.dumps(self.said) + "\n")
        sys.stdout.flush()

    @framework.set_ev_cls(ofp_event.EventOFPStateChange, [MAIN, DEAD])
    def on_state(self, event: Any) -> None:
        if event.state == MAIN:
            framework.spawn(self.work, event.datapath)
        elif "error" not in self.said:
            self.said["down"] = event.datapath.close_reason

    @framework.set_ev_cls(ofp_event.EventOFPPacketIn, MAIN)
    def on_packet(self, event: Any) -> None:
        self.frames.append(wire.read_packet_in(event.msg).data)
        self.frame_came.set()

    def work(self, switch: Connection) -> None:
        try:
            for how, bundled in (("bundled", True), ("plain", False)):
                self.said[how] = self.exercise(switch, bundled)
            self.said["unbundled"] = self.channel.counts["unbundled"]
        except HeddleError as error:
            self.said["error"] = str(error)
        framework.stop()

    def exercise(self, switch: Connection, bundled: bool) -> dict[str, Any]:
        said: dict[str, Any] = {}
        self.bundled = bundled
        said["dpid"] = switch.id
        ports = [wire.read_port(port) for port in switch.port_descriptions.values() if wire.is_physical(port)]
        said["ports"] = {port.number: [port.name, port.is_up] for port in ports}
        said["foreign_at_first"] = wire.read_rules(switch)[1]

        said["refused"] = self.send(switch, difference(SwitchRules(), RULES).additions())
        found, said["foreign_then"] = wire.read_rules(switch)[:2]
        said["missing"] = [repr(flow) for flow in RULES.flows - found.flows]
        said["extra"] = [repr(flow) for flow in found.flows - RULES.flows]
        said["same_groups"] = found.groups == RULES.groups
        said["same_meters"] = found.meters == RULES.meters

        message = bytearray(wire.packet_out(ofproto.OFPP_TABLE, FRAME))
        # As if it had come in at a port: the channel takes no packet from the controller's own.
        message[12:16] = (1).to_bytes(4)
        self.frames.clear()
        self.frame_came.clear()
        switch.send(message)
        said["frame_back"] = self.frame_came.wait(30) and self.frames[0] == FRAME
        said["counters"] = sorted(counter.port for counter in wire.read_counters(switch))

        old = next(flow for flow in RULES.flows if flow.table is Table.TRANSIT and flow.match.mpls_label == 16)
        new = FlowRule(old.table, old.priority, old.match, (Output(1),), role=old.role)
        said["replace_refused"] = self.send(switch, [AddFlow(new), RemoveFlow(old)])
        said["replaced"] = wire.read_rules(switch)[0].flows == RULES.flows - {old} | {new}

        before = wire.read_rules(switch)[0]
        stray = FlowRule(Table.DEFAULT, 1, Match(in_port=1), (ToGroup(G + 77),))
        fresh = FlowRule(Table.DEFAULT, 1, Match(in_port=2), OUT)
        meter = Meter(METER_ID_BASE + 2, 9, 9)
        wrong = [AddMeter(meter), AddFlow(fresh), AddFlow(stray), AddGroup(next(iter(RULES.groups)))]
        said["refusals"] = self.send(switch, wrong)
        after = wire.read_rules(switch)[0]
        said["changed"] = [str(rule) for rule in after.flows - before.flows]
        said["metered"] = meter in after.meters

        found = wire.read_rules(switch)[0]
        for stage in stages({"s": found}, {}):
            said.setdefault("removal_refused", []).extend(self.send(switch, stage.operations["s"]))
            found = apply_operations(found, stage.operations["s"])
        said["left"] = repr(wire.read_rules(switch)[0]) if wire.read_rules(switch)[0] != SwitchRules() else ""
        at_last = wire.read_rules(switch)
        said["foreign_at_last"] = at_last.foreign
        said["stray"] = [[stray.table, stray.priority, stray.cookie] for stray in at_last.flows]
        return said

    def send(self, switch: Connection, operations: Sequence[Operation]) -> list[str]:
        result = switch.send_batch(operations, wire.encode, bundled=self.bundled)
        return [f"{refusal.position} {wire.describe_error(refusal.error)}" for refusal in result.errors]


if __name__ == "__main__":
    framework.run(Child)
