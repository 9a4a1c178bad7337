"""A daemon that has a channel and nothing else: events go out as JSON lines, commands come in as JSON lines."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from controller import framework
from controller.batches import Message
from controller.channel import ChannelLimits, ChannelServer, Connection
from controller.framework import DEAD, MAIN, ofp_event, ofproto, ofproto_parser
from controller.wire_encode import encode
from dataplane.rules import FlowRule, Match, Table
from dataplane.update import AddFlow
from topologies.errors import HeddleError


def say(event: str, **details: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


class Child(framework.App):
    def __init__(self, limits: ChannelLimits) -> None:
        super().__init__()
        self.limits = limits

    def start(self) -> None:
        super().start()
        self.channel = ChannelServer("127.0.0.1", 0, self.limits)
        self.channel.start()
        threading.Thread(target=self.read_commands, daemon=True).start()
        say("listening", port=self.channel.port, framework=framework.FRAMEWORK)

    def close(self) -> None:
        self.channel.close()
        say("stopped")

    @framework.set_ev_cls(ofp_event.EventOFPStateChange, [MAIN, DEAD])
    def on_state(self, event: Any) -> None:
        switch = event.datapath
        if event.state == MAIN:
            say("up", dpid=switch.id, ports=sorted(switch.port_descriptions))
        else:
            say("down", dpid=switch.id, reason=switch.close_reason)

    @framework.set_ev_cls(ofp_event.EventOFPPacketIn, MAIN)
    def on_packet(self, event: Any) -> None:
        say("packet-in", dpid=event.msg.datapath.id, data=event.msg.data.hex())

    @framework.set_ev_cls(ofp_event.EventOFPPortStatus, MAIN)
    def on_port(self, event: Any) -> None:
        switch = event.msg.datapath
        say("port-status", dpid=switch.id, ports=sorted(switch.port_descriptions))

    def read_commands(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            framework.call_soon(lambda command=command: framework.spawn(self.obey, command)).result()

    def obey(self, command: dict[str, Any]) -> None:
        kind = command["do"]
        if kind == "counts":
            say("counts", counts=dict(self.channel.counts), connected=sorted(self.channel.switches))
            return
        switch = self.channel.switches[command["dpid"]]
        try:
            if kind == "flood":
                self.flood(switch, command["messages"], command["bytes"])
            elif kind == "batch":
                priorities = range(command["messages"])
                result = switch.send_batch(priorities, self.flow, command["timeout_s"])
                say("batch", dpid=switch.id, refused=[refusal.position for refusal in result.errors])
            elif kind == "ports":
                replies = switch.request(ofproto_parser.OFPPortDescStatsRequest(switch, 0), command["timeout_s"])
                say("ports", dpid=switch.id, ports=[port.port_no for reply in replies for port in reply.body])
        except HeddleError as error:
            say("failed", dpid=switch.id, error=type(error).__name__, reason=str(error))

    def flood(self, switch: Connection, messages: int, size: int) -> None:
        sent = 0
        for _ in range(messages):
            sent += switch.send_msg(
                ofproto_parser.OFPPacketOut(
                    switch, ofproto.OFP_NO_BUFFER, ofproto.OFPP_CONTROLLER,
                    [ofproto_parser.OFPActionOutput(1)], bytes(size),
                )
            )  # fmt: skip
        say("flooded", dpid=switch.id, sent=sent)

    def flow(self, priority: int) -> Message:
        return encode(AddFlow(FlowRule(Table.GUARD, priority, Match())))


if __name__ == "__main__":
    framework.run(Child, ChannelLimits(**json.loads(sys.argv[1])))
