"""What discovery costs the daemon: probes out and in for a fabric at rest, as a share of one core.

Run: ``python -m benchmarks.probing [--links 200] [--hosts 128] [--seconds 20] [--json]``. Time is played, work is real:
every probe is made, put into an OpenFlow message, taken from a PACKET_IN by the framework's parser and judged. Sockets
and the hub are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import struct
import sys
import time

from controller import framework, wire
from controller.discovery import Discovery, PortId
from controller.framework import ofproto, ofproto_parser

TICK_S = 0.05
PORTS_PER_SWITCH = 64
_PROTOCOL = framework.Protocol13(framework.OFP_VERSION)


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--links", type=int, default=200)
    options.add_argument("--hosts", type=int, default=128)
    options.add_argument("--seconds", type=float, default=20.0, help="of played time")
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    numbers = (PortId(dpid, port) for dpid in itertools.count(1) for port in range(1, PORTS_PER_SWITCH + 1))
    ports = list(itertools.islice(numbers, 2 * arguments.links + arguments.hosts))
    ends = ports[: arguments.links], ports[arguments.links : 2 * arguments.links]
    to = dict(zip(*ends, strict=True)) | dict(zip(*ends[::-1], strict=True))
    discovery = Discovery(b"s" * 32, lambda _: None)
    now_s = 100.0
    for port in ports:
        discovery.port_up(port, now_s)
    # Long enough for every port to find its role.
    for _ in range(round((20 * discovery.probing().interval_s + 5) / TICK_S)):
        now_s += TICK_S
        _tick(discovery, to, now_s)
    spent = {"out": 0.0, "in": 0.0, "tick": 0.0}
    probes = 0
    for _ in range(round(arguments.seconds / TICK_S)):
        now_s += TICK_S
        sent, parts = _tick(discovery, to, now_s)
        probes += sent
        spent = {name: spent[name] + parts[name] for name in spent}
    result = {
        "framework": framework.FRAMEWORK,
        "links": len(list(discovery.cables())) // 2,
        "edge_ports": sum(map(len, discovery.edge_ports().values())),
        "probes_per_s": round(probes / arguments.seconds),
        "interval_s": round(discovery.probing().interval_s, 3),
        "silence_noticed_s": round(discovery.probing().noticed_s, 3),
        **{f"{name}_percent_of_core": round(100 * of / arguments.seconds, 2) for name, of in spent.items()},
        "percent_of_core": round(100 * sum(spent.values()) / arguments.seconds, 2),
        "us_per_probe": round(1e6 * sum(spent.values()) / probes, 1),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>22}  {value}")
    return 0


def _tick(discovery: Discovery, to: dict[PortId, PortId], now_s: float) -> tuple[int, dict[str, float]]:
    begun_s = time.process_time()
    due = discovery.probes_due(now_s)
    for port, frame in due:
        wire.packet_out(port.port, frame)
    sent_s = time.process_time()
    # What the switches make of it is no cost of the daemon's.
    arriving = [(at, _packet_in(at.port, frame)) for port, frame in due if (at := to.get(port)) is not None]
    received_s = time.process_time()
    for at, message in arriving:
        parsed = ofproto_parser.msg_parser(_PROTOCOL, message[0], message[1], len(message), 0, message)
        packet = wire.read_packet_in(parsed)
        discovery.lldp_arrived(at, packet.data, now_s)
    judged_s = time.process_time()
    discovery.tick(now_s)
    over_s = time.process_time()
    return len(due), {"out": sent_s - begun_s, "in": judged_s - received_s, "tick": over_s - judged_s}


def _packet_in(port: int, frame: bytes) -> bytes:
    """Section 7.4.1, with a match on the port alone."""
    match = struct.pack("!HHIII", ofproto.OFPMT_OXM, 12, 0x8000_0004, port, 0)
    body = struct.pack("!IHBBQ", ofproto.OFP_NO_BUFFER, len(frame), 0, 0, 0) + match + b"\0\0" + frame
    return struct.pack("!BBHI", ofproto.OFP_VERSION, ofproto.OFPT_PACKET_IN, 8 + len(body), 0) + body


if __name__ == "__main__":
    sys.exit(main())
