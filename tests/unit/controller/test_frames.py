"""Frames that the controller sends are what an independent reader (Scapy) takes them for.

Scapy is GPL-2.0-only; only tests import it.
"""

from scapy.contrib.lldp import (
    LLDPDU,
    LLDPDUChassisID,
    LLDPDUGenericOrganisationSpecific,
    LLDPDUPortID,
    LLDPDUTimeToLive,
)
from scapy.layers.l2 import ARP, Ether

from controller.lldp import Probe, write_probe
from workloads.headers import ARP_REPLY, Arp, write_arp


def test_a_probe_is_a_valid_lldp_frame() -> None:
    frame = Ether(write_probe(Probe(0xAB, 7, 1, 2), b"k" * 32))
    assert (frame.dst, frame.type) == ("01:80:c2:00:00:0e", 0x88CC)
    assert frame.haslayer(LLDPDU)
    assert frame[LLDPDUChassisID].id == b"00000000000000ab"
    assert frame[LLDPDUPortID].id == b"00000007"
    assert frame[LLDPDUTimeToLive].ttl == 5
    assert len(frame[LLDPDUGenericOrganisationSpecific].data) == 28 + 32


def test_an_arp_reply_is_a_valid_arp_frame() -> None:
    reply = Arp(ARP_REPLY, "02:00:00:00:00:01", "10.0.0.1", "02:00:00:00:00:02", "10.0.0.2")
    frame = Ether(write_arp(reply, "02:00:00:00:00:02"))
    assert (frame.src, frame.dst) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert (frame[ARP].op, frame[ARP].psrc, frame[ARP].pdst) == (2, "10.0.0.1", "10.0.0.2")
    assert (frame[ARP].hwsrc, frame[ARP].hwdst) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
