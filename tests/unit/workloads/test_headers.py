"""Headers are read back as written, and no bytes make the reader raise."""

from hypothesis import given
from hypothesis import strategies as st

from workloads.headers import Arp, mac_text, read_arp, read_ethernet, write_arp

macs = st.binary(min_size=6, max_size=6).map(mac_text)
addresses = st.ip_addresses(v=4).map(str)


@given(st.builds(Arp, st.integers(0, 65535), macs, addresses, macs, addresses), macs)
def test_arp_is_read_back_as_written(arp: Arp, destination: str) -> None:
    frame = read_ethernet(write_arp(arp, destination))
    assert frame is not None
    assert (frame.destination, frame.source, frame.eth_type) == (destination, arp.sender_mac, 0x0806)
    assert read_arp(frame.payload) == arp


@given(st.binary(max_size=13))
def test_a_frame_without_a_whole_header_is_none(data: bytes) -> None:
    assert read_ethernet(data) is None


@given(st.binary(max_size=100))
def test_no_bytes_make_the_readers_raise(data: bytes) -> None:
    frame = read_ethernet(data)
    arp = read_arp(data)
    assert frame is None or len(frame.payload) == len(data) - 14
    assert arp is None or data[:6] == bytes.fromhex("000108000604")
