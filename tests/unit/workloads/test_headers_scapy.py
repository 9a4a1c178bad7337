"""Headers are read as Scapy reads them: in frames that Scapy builds, in random ones of ours, and in real captures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import lldp
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw, bind_bottom_up
from scapy.utils import RawPcapReader

from workloads.headers import MAX_LABELS, MAX_TAGS, Headers, Lldp, Reason, read_headers
from workloads.ip_header import MAX_EXTENSIONS
from workloads.testing import whole_frame

DATA = os.environ.get("HEDDLE_TEST_DATA")
CAPTURES = (
    "roce_rw_ecn.pcap", "tcpreplay_test.pcap", "td_802.1ad_QinQ.pcap", "td_gso-ipv4.pcap", "td_mptcp-v0.pcap",
    "td_of13_ericsson.pcapng", "td_tcp-handshake-nano.pcap", "td_vxlan.pcap",
)  # fmt: skip
FRAMES_OF_EACH = 300
EXTENSIONS = {
    0: IPv6ExtHdrHopByHop,
    43: IPv6ExtHdrRouting,
    44: IPv6ExtHdrFragment,
    51: AH,
    60: IPv6ExtHdrDestOpt,
}

# What Scapy can read and does not look for behind these by itself.
for outer in (Ether, Dot1Q, Dot1AD):
    for number in (0x8847, 0x8848):
        bind_bottom_up(outer, MPLS, type=number)
    bind_bottom_up(outer, Dot1Q, type=0x8100)
    bind_bottom_up(outer, Dot1AD, type=0x88A8)
for extension in EXTENSIONS.values():
    bind_bottom_up(extension, AH, nh=51)
# Its own bindings take a 0 behind AH for IPv4.
AH.payload_guess = [({"nh": number}, layer) for number, layer in (EXTENSIONS | {6: TCP, 17: UDP}).items()]
lldp.conf.contribs["LLDP"].strict_mode_disable()


@dataclass(frozen=True)
class Account:
    """What one reader says of a frame, in terms that the other has too."""

    macs: tuple[str, str]
    eth_type: int
    vlan_ids: tuple[int, ...]
    mpls_labels: tuple[int, ...]
    arp: tuple[int, str, str, str, str] | None = None
    ip: tuple[str, str, int] | None = None
    ports: tuple[int, int] | None = None


def by_us(read: Headers) -> Account:
    arp, ip = read.arp, read.ip
    return Account(
        (read.destination, read.source),
        read.eth_type,
        read.vlan_ids,
        read.mpls_labels,
        (arp.operation, arp.sender_mac, arp.sender_ip, arp.target_mac, arp.target_ip) if arp is not None else None,
        (ip.source, ip.destination, ip.protocol) if ip is not None else None,
        (ip.source_port, ip.destination_port)
        if ip is not None and ip.source_port is not None and ip.destination_port is not None
        else None,
    )


def by_scapy(frame: bytes) -> tuple[Account, int]:
    """Scapy's account, and how many IPv6 extension headers it found."""
    layer: Any = Ether(frame)
    # A frame with a length is a Dot3 to Scapy, and has no type.
    macs, eth_type, layer = (layer.dst, layer.src), layer.fields.get("type", 0), layer.payload
    tags, labels = [], []
    while isinstance(layer, Dot1Q | Dot1AD):
        tags.append(layer.vlan)
        eth_type, layer = layer.type, layer.payload
    while isinstance(layer, MPLS):
        labels.append(layer.label)
        layer = layer.payload
    base = Account(macs, eth_type, tuple(tags), tuple(labels))
    arp = ip = ports = None
    later, extensions = False, 0
    if isinstance(layer, ARP) and (layer.hwtype, layer.ptype, layer.hwlen, layer.plen) == (1, 0x0800, 6, 4):
        arp = (layer.op, layer.hwsrc, layer.psrc, layer.hwdst, layer.pdst)
    elif isinstance(layer, IP):
        ip, later = (layer.src, layer.dst, layer.proto), layer.frag > 0
    elif isinstance(layer, IPv6):
        # Scapy writes addresses of ::ffff:0:0/96 with a dotted quad.
        source, destination = str(IPv6Address(layer.src)), str(IPv6Address(layer.dst))
        while isinstance(layer.payload, tuple(EXTENSIONS.values())) and not later:
            layer, extensions = layer.payload, extensions + 1
            later = isinstance(layer, IPv6ExtHdrFragment) and layer.offset > 0
        ip = (source, destination, layer.nh)
    if ip is not None and isinstance(layer.payload, TCP | UDP) and not later:
        ports = (layer.payload.sport, layer.payload.dport)
    return Account(base.macs, eth_type, base.vlan_ids, base.mpls_labels, arp, ip, ports), extensions


def assert_read_as_scapy_reads(frame: bytes) -> None:
    """Every field is the same, and what we refuse is beyond a limit, or no frame of ours, by Scapy's account too."""
    read = read_headers(frame)
    account, extensions = by_scapy(frame)
    if isinstance(read, Headers):
        assert by_us(read) == account
        return
    beyond = {
        Reason.TOO_MANY_TAGS: len(account.vlan_ids) > MAX_TAGS,
        Reason.TOO_MANY_LABELS: len(account.mpls_labels) > MAX_LABELS,
        Reason.TOO_MANY_EXTENSIONS: extensions > MAX_EXTENSIONS,
        Reason.NO_ETH_TYPE: account.eth_type < 0x0600,
        Reason.BAD_ARP: account.eth_type == 0x0806 and account.arp is None,
        Reason.BAD_LLDP: account.eth_type == 0x88CC,
        # One byte of padding behind an LLDP frame that has no end TLV.
        Reason.SHORT: account.eth_type == 0x88CC,
    }
    assert beyond.get(read.reason, False), (read.reason, frame.hex())


@given(st.integers(0, 2**32).map(Random))
def test_random_frames_are_read_as_scapy_reads_them(random: Random) -> None:
    assert_read_as_scapy_reads(whole_frame(random))


macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).map(str)
ports = st.integers(0, 65535)
tags = st.builds(Dot1Q, vlan=st.integers(0, 4095)) | st.builds(Dot1AD, vlan=st.integers(0, 4095))
labels = st.builds(MPLS, label=st.integers(0, (1 << 20) - 1))
extensions = (
    st.builds(IPv6ExtHdrHopByHop)
    | st.builds(IPv6ExtHdrDestOpt)
    | st.builds(IPv6ExtHdrRouting, addresses=st.lists(ipv6, max_size=2))
    | st.builds(IPv6ExtHdrFragment, offset=st.sampled_from((0, 0, 185)))
)
transports = st.builds(TCP, sport=ports, dport=ports) | st.builds(UDP, sport=ports, dport=ports)
packets = st.builds(IP, src=ipv4, dst=ipv4, frag=st.sampled_from((0, 0, 185))) | st.builds(IPv6, src=ipv6, dst=ipv6)
arps = st.builds(ARP, op=st.integers(0, 65535), hwsrc=macs, psrc=ipv4, hwdst=macs, pdst=ipv4)


@given(
    st.builds(Ether, dst=macs, src=macs), st.lists(tags, max_size=MAX_TAGS), st.lists(labels, max_size=MAX_LABELS),
    arps | packets, st.lists(extensions, max_size=3), transports, st.binary(max_size=30),
)  # fmt: skip
def test_frames_that_scapy_builds_are_read_as_it_reads_them(
    ether: Any, vlans: list[Any], stack: list[Any], inside: Any, chain: list[Any], transport: Any, payload: bytes
) -> None:
    frame = ether
    for layer in vlans:
        frame /= layer
    if not isinstance(inside, ARP):
        for place, label in enumerate(stack):
            label.s = place == len(stack) - 1
            frame /= label
        for extension in chain if isinstance(inside, IPv6) else ():
            inside /= extension
        inside = inside / transport / Raw(payload)
    raw = bytes(frame / inside)
    assert isinstance(read_headers(raw), Headers)
    assert_read_as_scapy_reads(raw)


names = st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=40)


@given(macs, names, names, st.integers(0, 65535))
def test_lldp_that_scapy_builds_is_read_back(chassis: str, port: str, name: str, ttl_s: int) -> None:
    frame = Ether(dst="01:80:c2:00:00:0e", src=chassis) / (
        lldp.LLDPDUChassisID(subtype=4, id=chassis)
        / lldp.LLDPDUPortID(subtype=5, id=port.encode())
        / lldp.LLDPDUTimeToLive(ttl=ttl_s)
        / lldp.LLDPDUSystemName(system_name=name.encode())
        / lldp.LLDPDUEndOfLLDPDU()
    )
    read = read_headers(bytes(frame))
    assert isinstance(read, Headers)
    assert read.lldp == Lldp(chassis, port, ttl_s, name)


@pytest.mark.skipif(DATA is None, reason="HEDDLE_TEST_DATA names no folder with the captures")
@pytest.mark.parametrize("name", CAPTURES)
def test_real_captures_are_read_as_scapy_reads_them(name: str) -> None:
    path = Path(DATA or "") / "captures" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with RawPcapReader(str(path)) as capture:
        frames = [frame for frame, _ in islice(capture, FRAMES_OF_EACH)]
    if name == "td_tcp-handshake-nano.pcap":
        # Linux's cooked capture: 16 bytes in the place of Ethernet's 14, with the type at their end.
        frames = [bytes(12) + frame[14:] for frame in frames]
    assert frames
    for frame in frames:
        assert_read_as_scapy_reads(frame)
