"""Everything that an Open vSwitch bridge can be made to say: others' rules on it, and a client that asks for all."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from dataclasses import dataclass

from benchmarks.attacks.peers import HELLO, MULTIPART_REPLY, MULTIPART_REQUEST, message, read_message
from benchmarks.attacks.stage import PATIENCE_S, Stage

BRIDGE = "others"
_DPID = 0x0BAD
_QUIET_S = 0.5
_ANY = 0xFFFF_FFFF
_TABLE = 0xFFFF_FFF9

# Flows that no rule of ours looks like, one for each action and field of Open vSwitch that OpenFlow 1.3 can carry.
FLOWS = (
    "priority=1,in_port=1,dl_src=02:00:00:00:00:00/ff:ff:00:00:00:00,actions=output:2,in_port,local,all,flood",
    "priority=2,tcp,nw_src=10.0.0.0/8,tp_dst=0x50/0xfff0,tcp_flags=+syn-ack,actions=dec_ttl,output:2",
    "priority=3,udp6,ipv6_src=2001:db8::/32,ipv6_label=0x12345,actions=set_field:2001:db8::1->ipv6_dst,output:1",
    "priority=4,icmp6,icmp_type=135,nd_target=fe80::1,nd_sll=02:00:00:00:00:01,actions=output:1",
    "priority=5,arp,arp_op=1,arp_spa=10.0.0.0/24,arp_sha=02:00:00:00:00:01,actions=set_field:2->arp_op,output:1",
    "priority=6,mpls,mpls_label=5,mpls_tc=3,mpls_bos=1,actions=pop_mpls:0x0800,goto_table:20",
    "priority=7,dl_vlan=5,dl_vlan_pcp=3,actions=pop_vlan,output:1",
    "priority=8,vlan_tci=0x1000/0x1000,actions=set_field:4098->vlan_vid,output:1",
    "priority=9,tun_id=5/0xff,tun_src=10.1.0.0/16,tun_dst=10.2.0.1,actions=set_field:7->tun_id,output:1",
    "priority=10,reg0=1,reg7=0xff/0x0f,actions=load:5->NXM_NX_REG3[0..7],output:NXM_NX_REG0[]",
    "priority=11,xreg1=0x1234,xxreg1=0x5,actions=drop",
    "priority=12,ip,ct_state=+trk+new,ct_zone=5,ct_mark=1/0xff,ct_label=0x77,actions=drop",
    "priority=13,sctp,tp_src=1,actions=set_field:7->sctp_dst,output:1",
    "priority=14,conj_id=1,ip,actions=output:1",
    "priority=15,metadata=0x5/0xff,pkt_mark=0x1,actions=set_field:5->pkt_mark,output:1",
    "priority=16,ip,nw_ecn=1,ip_dscp=10,nw_ttl=64,nw_frag=later,actions=set_field:12->ip_dscp,output:1",
    "priority=17,ip,actions=set_queue:1,output:1,pop_queue",
    "priority=18,actions=learn(table=30,hard_timeout=60,cookie=0x5,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
    "load:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15],output:NXM_OF_IN_PORT[])",
    "priority=19,actions=resubmit:1,resubmit(,21),resubmit(3,22)",
    "priority=20,ip,actions=ct(commit,zone=1,nat(src=10.0.0.1-10.0.0.9:1000-2000,persistent),"
    "exec(set_field:1->ct_mark,set_field:0x5->ct_label))",
    "priority=21,ip,actions=ct(table=23,zone=NXM_NX_REG0[0..15],nat)",
    "priority=22,actions=note:00.11.22.33.44.55.66.77.88.99.aa.bb",
    "priority=23,actions=move:NXM_NX_REG0[0..15]->NXM_NX_REG1[16..31]",
    "priority=24,actions=bundle(eth_src,50,hrw,ofport,slaves:1,2)",
    "priority=25,actions=bundle_load(symmetric_l4,0,active_backup,ofport,NXM_NX_REG0[],members:1,2,4)",
    "priority=26,ip,actions=multipath(symmetric_l3l4,1024,modulo_n,16,0,NXM_NX_REG0[0..7])",
    "priority=27,actions=push:NXM_NX_REG0[],pop:NXM_NX_REG1[],exit",
    "priority=28,tcp,actions=fin_timeout(idle_timeout=5,hard_timeout=10)",
    "priority=29,actions=sample(probability=12345,collector_set_id=1,obs_domain_id=2,obs_point_id=3)",
    "priority=30,actions=clone(set_field:5->reg0,output:1),output:2",
    "priority=31,ip,actions=conjunction(1,1/2)",
    "priority=32,actions=controller(max_len=128,id=0)",
    "priority=33,actions=controller(reason=no_match,max_len=100,id=5)",
    "priority=34,actions=controller(userdata=01.02.03.04.05,pause)",
    "priority=35,actions=write_metadata:0x12/0xff,goto_table:24",
    "priority=36,actions=write_actions(set_field:5->reg0,output:1),goto_table:25",
    "priority=37,actions=clear_actions,goto_table:26",
    "priority=38,ip,actions=meter:1,output:1",
    "priority=39,actions=group:1",
    "priority=40,actions=push_mpls:0x8847,set_field:99->mpls_label,set_mpls_ttl:9,output:1",
    "priority=41,mpls,actions=dec_mpls_ttl,push_vlan:0x88a8,set_field:4097->vlan_vid,output:1",
    "priority=42,actions=check_pkt_larger(1000)->NXM_NX_REG0[0]",
    "priority=43,ip,actions=ct_clear,dec_ttl(1,2)",
    "priority=44,ip,actions=mod_nw_ecn:1,mod_nw_ttl:5",
    "priority=45,actions=output(port=1,max_len=100),enqueue:1:0",
    "priority=46,actions=encap(nsh(md_type=1)),set_field:0x1->nsh_spi,encap(ethernet),output:1",
    "priority=47,dl_type=0x894f,nsh_mdtype=1,nsh_spi=0x123/0xfff,actions=dec_nsh_ttl,decap()",
    "priority=49,tcp_src=0x1000/0xf000,tcp,actions=set_field:02:00:00:00:00:05->eth_src,output:2",
    "priority=50,ip,actions=mod_nw_src:10.0.0.5,mod_nw_dst:10.0.0.6,output:1",
    "priority=51,cookie=0xdeadbeef,idle_timeout=600,hard_timeout=900,send_flow_rem,check_overlap,reset_counts,"
    "no_packet_counts,no_byte_counts,importance=0,actions=normal",
    "priority=52,dl_type=0x88cc,dl_dst=01:80:c2:00:00:0e,actions=controller,in_port",
    "priority=53,ip,actions=set_field:10.0.0.1->tun_dst,set_field:0x1->xreg0,output:1",
    "priority=54,packet_type=(1,0x800),actions=drop",
    "priority=56,dl_type=0x8847,actions=pop_mpls:0x8847,pop_mpls:0x0800,resubmit(,28)",
    "priority=57,icmp,icmp_type=8,icmp_code=0,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],in_port",
    "priority=58,in_port_oxm=1,actions=drop",
    "priority=60,ip,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=drop",
)  # fmt: skip
GROUPS = (
    "group_id=1,type=all,bucket=output:1,bucket=output:2,bucket=set_field:5->reg0,resubmit(,9)",
    "group_id=2,type=select,bucket=weight:3,watch_port:1,output:1,bucket=weight:7,watch_group:1,output:2",
    "group_id=3,type=indirect,bucket=push_mpls:0x8847,set_field:5->mpls_label,output:1",
    "group_id=4,type=ff,bucket=watch_port:1,output:1,bucket=watch_port:2,output:2",
    "group_id=5,type=all",
    "group_id=6,type=select," + ",".join(f"bucket=output:{1 + n % 2}" for n in range(64)),
    "group_id=7,type=all,bucket=learn(table=31,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
)
METERS = (
    "meter=1,kbps,band=type=drop,rate=1000",
    "meter=2,pktps,burst,stats,band=type=drop,rate=100,burst_size=50",
    "meter=3,kbps,burst,band=type=drop,rate=1000,burst_size=10",
)
# Frames come up from here with as much beside them as a packet-in can carry.
_UP = (
    "table=0,priority=65000,in_port=1,actions=set_field:0x7->reg0,write_metadata:0x5,goto_table:8",
    "table=8,priority=5,dl_type=0x88b5,actions=controller",
    "table=8,priority=6,mpls,actions=set_field:5->tun_id,controller",
    "table=8,priority=6,dl_vlan=5,actions=pop_vlan,set_field:0x11->pkt_mark,controller",
    "table=8,priority=6,ip,actions=ct(table=9,zone=3)",
    "table=8,priority=6,arp,actions=group:8",
    "table=8,priority=0,actions=controller(reason=no_match)",
    "table=9,actions=set_field:0x12->xxreg1,controller(max_len=20)",
    "table=8,priority=7,udp,actions=dec_ttl,controller",
)
_UP_GROUP = "group_id=8,type=all,bucket=controller"


@dataclass(frozen=True, slots=True)
class Said:
    """What a bridge was made to say.

    Attributes
    ----------
    messages : list of bytes
        Whole messages in order.
    frames : list of bytes
        Those that were sent through the tables, each of which came up once.
    taken : int
        Foreign flows, groups and meters that the bridge took.
    """

    messages: list[bytes]
    frames: list[bytes]
    taken: int


def converse(made: Stage) -> Said:
    """Make a bridge beside the fabric's, fill it, ask it everything and have it report of its own accord."""
    switch, inside = made.cluster.switch, made.cluster.run.namespace
    switch.configure(
        [
            ("add-br", BRIDGE),
            ("set", "Bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13",
             f"other-config:datapath-id={_DPID:016x}", "other-config:disable-in-band=true"),
            *(word for port in (1, 2) for word in (
                ("add-port", BRIDGE, f"oth{port}"),
                ("set", "Interface", f"oth{port}", "type=internal", f"ofport_request={port}"))),
            ("add-port", BRIDGE, "othvx"),
            ("set", "Interface", "othvx", "type=vxlan", "options:remote_ip=flow", "options:key=flow",
             "ofport_request=9"),
            ("--id=@q0", "create", "Queue", "other-config:min-rate=1000000"),
            ("--id=@q1", "create", "Queue", "other-config:max-rate=5000000"),
            ("--id=@qos", "create", "QoS", "type=linux-htb", "other-config:max-rate=100000000", "queues:0=@q0",
             "queues:1=@q1"),
            ("set", "Port", "oth2", "qos=@qos"),
        ]
    )  # fmt: skip
    try:
        for port in ("oth1", "oth2"):
            made.run("ip", "netns", "exec", inside, "ip", "link", "set", port, "up")
        taken = sum(_ofctl(made, "add-meter", meter) for meter in METERS)
        taken += _take(made, "group", (*GROUPS, _UP_GROUP))
        taken += _take(made, "flow", (*_UP, *(f"table=7,{flow}" for flow in FLOWS)))
        with contextlib.closing(_Client(switch.management_socket(BRIDGE).removeprefix("unix:"))) as client:
            frames = _ask_everything(client)
            _bring_about(made, client)
            return Said(client.messages, frames, taken)
    finally:
        switch.configure([("del-br", BRIDGE)])


class _Client:
    """An OpenFlow connection that a bridge takes on its management socket."""

    def __init__(self, path: str) -> None:
        self.messages: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._xid = 0

    def send(self, kind: int, body: bytes = b"") -> None:
        """Send a message with a transaction id of its own."""
        self._xid += 1
        self._socket.sendall(message(kind, body, self._xid))

    def ask(self, kind: int, body: bytes = b"") -> None:
        """Send a request and take in what comes, up to the last part of its answer."""
        self.send(kind, body)
        self._socket.settimeout(PATIENCE_S)
        while (received := read_message(self._socket)) is not None:
            self.messages.append(received[2])
            answer, xid, data = received
            more = answer == MULTIPART_REPLY and int.from_bytes(data[10:12]) & 1
            if xid == self._xid and not more:
                return

    def listen(self, quiet_s: float = _QUIET_S) -> None:
        """Take in what comes until nothing has come for a while."""
        self._socket.settimeout(quiet_s)
        while (received := read_message(self._socket)) is not None:
            self.messages.append(received[2])

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _ask_everything(client: _Client) -> list[bytes]:
    """Requests of every kind in section 7.3, good and bad, and frames through the tables."""
    client.send(HELLO)
    client.listen(0.2)
    # Whoever has not asked for packets on this socket gets no message of the switch's own accord.
    client.send(9, struct.pack("!HH", 0, 0xFFFF))
    client.ask(5)
    client.ask(7)
    client.ask(2, b"heddle")
    client.ask(20)
    client.ask(24, struct.pack("!I4xQ", 0, 0))
    client.ask(24, struct.pack("!I4xQ", 1, 0))
    client.ask(26)
    for port in (1, 2, _ANY):
        client.ask(22, struct.pack("!I4x", port))
    every_flow = struct.pack("!B3xII4xQQHH4x", 0xFF, _ANY, _ANY, 0, 0, 1, 4)
    bodies: dict[int, bytes] = {
        0: b"", 1: every_flow, 2: every_flow, 3: b"", 4: struct.pack("!I4x", _ANY), 5: struct.pack("!II", _ANY, _ANY),
        6: struct.pack("!I4x", 0xFFFF_FFFC), 7: b"", 8: b"", 9: struct.pack("!I4x", _ANY),
        10: struct.pack("!I4x", _ANY), 11: b"", 12: b"", 13: b"", 0xFFFF: struct.pack("!II", 0x2320, 2),
    }  # fmt: skip
    frames = _frames()
    for frame in frames:
        action = struct.pack("!HHIH6x", 0, 16, _TABLE, 0)
        client.send(13, struct.pack("!IIH6x", _ANY, 1, len(action)) + action + frame)
    client.listen()
    for kind, body in bodies.items():
        client.ask(MULTIPART_REQUEST, struct.pack("!HH4x", kind, 0) + body)
    # Refused, each in another way: unknown type, unknown multipart, an experimenter nobody knows, a flow to no table.
    client.ask(99)
    client.ask(MULTIPART_REQUEST, struct.pack("!HH4x", 77, 0))
    client.ask(4, struct.pack("!II", 0xABCDEF, 1))
    client.ask(15, struct.pack("!HBxII", 0, 1, 1, 0))
    client.ask(29, struct.pack("!HHI", 0, 0x0005, 1))
    client.ask(24, struct.pack("!I4xQ", 9, 0))
    client.ask(14, struct.pack("!QQBBHHHIIIH2xHH4x", 0, 0, 255, 0, 0, 0, 1, _ANY, _ANY, _ANY, 0, 1, 4))
    return frames


def _frames() -> list[bytes]:
    ends = bytes.fromhex("020000000002" + "020000000001")
    ip = bytes.fromhex("4500002e000100004006" + "0000" + "0a000001" + "0a000002")
    udp_ttl_1 = bytes.fromhex("4500002e000100000111" + "0000" + "0a000001" + "0a000002")
    return [
        (ends + kind + rest).ljust(size, b"\0")
        for kind, rest, size in (
            (b"\x88\xb5", b"", 60), (b"\x88\xb5", b"long", 1400),
            (b"\x88\x47", b"\x00\x00\x51\x40" + ip, 64), (b"\x81\x00", b"\x60\x05\x08\x00" + ip, 64),
            (b"\x08\x00", ip, 60), (b"\x08\x00", udp_ttl_1, 60),
            (b"\x08\x06", bytes.fromhex("0001080006040001") + ends[6:] + bytes.fromhex("0a000001") + bytes(10), 60),
            (b"\x86\xdd", bytes.fromhex("60012345002c3a40") + bytes(32) + bytes.fromhex("8700"), 100),
            (b"\x88\xcc", bytes.fromhex("0207040200000000010402053106020078"), 60),
        )
    ]  # fmt: skip


def _bring_about(made: Stage, client: _Client) -> None:
    """Ports that come, change and go; flows that are removed, run out or lose their group."""
    inside = made.cluster.run.namespace
    made.cluster.switch.configure(
        [("add-port", BRIDGE, "oth3"), ("set", "Interface", "oth3", "type=internal", "ofport_request=3")]
    )
    made.run("ip", "netns", "exec", inside, "ip", "link", "set", "oth3", "up")
    made.run("ip", "netns", "exec", inside, "ip", "link", "set", "oth1", "down")
    _ofctl(made, "add-flow", "table=40,priority=1,hard_timeout=1,send_flow_rem,tcp,tp_dst=80,actions=output:1")
    _ofctl(made, "add-flow", "table=40,priority=2,idle_timeout=1,send_flow_rem,reg0=5,actions=drop")
    _ofctl(made, "add-flow", "table=40,priority=3,send_flow_rem,ct_state=+trk,ip,actions=group:3")
    _ofctl(made, "add-flow", "table=40,priority=4,send_flow_rem,cookie=0x99,actions=drop")
    _ofctl(made, "del-flows", "table=40,cookie=0x99/-1")
    _ofctl(made, "del-groups", "group_id=3")
    made.cluster.switch.configure([("del-port", BRIDGE, "oth3")])
    client.listen(2.0)


def _take(made: Stage, what: str, lines: tuple[str, ...]) -> int:
    """How many of these the bridge took: all at once, or one by one where its version does not know some."""
    if _ofctl(made, f"add-{what}s", "-", "\n".join(lines)):
        return len(lines)
    return sum(_ofctl(made, f"add-{what}", line) for line in lines)


def _ofctl(made: Stage, command: str, argument: str, text: str = "") -> bool:
    """Whether the bridge took it."""
    done = subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow13", command, made.cluster.switch.management_socket(BRIDGE), argument],
        input=text.encode(), capture_output=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    return done.returncode == 0
