"""Headers are read back as written, and no bytes make the readers raise, loop, or read past what is there."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.headers import (
    MAX_LABELS,
    MAX_TAGS,
    Arp,
    Headers,
    Ip,
    Lldp,
    Reason,
    Unreadable,
    mac_text,
    read_headers,
    write_arp,
)
from workloads.ip_header import MAX_EXTENSIONS
from workloads.testing import random_frame, whole_frame

macs = st.binary(min_size=6, max_size=6).map(mac_text)
addresses = st.ip_addresses(v=4).map(str)
seeds = st.integers(0, 2**32).map(Random)

ETHERNET = bytes.fromhex("0200000000020200000000 01".replace(" ", ""))
IPV4_TCP = bytes.fromhex("45000028000100004006 0000 0a000001 0a000002".replace(" ", ""))
TCP = bytes.fromhex("9c4019fd 00000001 00000000 5010 2000 0000 0000".replace(" ", ""))
IPV4_SCTP = bytes.fromhex("4500002400010000408400000a0000010a000002")


def ipv6(next_header: int, payload: bytes) -> bytes:
    addresses = bytes(15) + b"\x01" + bytes(15) + b"\x02"
    return b"\x60\0\0\0" + len(payload).to_bytes(2) + bytes([next_header, 64]) + addresses + payload


def reason(eth_type: int, payload: bytes) -> Reason | None:
    read = read_headers(ETHERNET + eth_type.to_bytes(2) + payload)
    return read.reason if isinstance(read, Unreadable) else None


def headers(eth_type: int, payload: bytes) -> Headers:
    read = read_headers(ETHERNET + eth_type.to_bytes(2) + payload)
    assert isinstance(read, Headers)
    return read


@given(st.builds(Arp, st.integers(0, 65535), macs, addresses, macs, addresses), macs)
def test_arp_is_read_back_as_written(arp: Arp, destination: str) -> None:
    written = write_arp(arp, destination)
    assert read_headers(written) == Headers(destination, arp.sender_mac, 0x0806, (), (), arp, None, None, 42)


@given(st.binary(max_size=13))
def test_a_frame_without_a_whole_header_is_none(data: bytes) -> None:
    assert read_headers(data) == Unreadable(Reason.SHORT)


@given(st.binary(max_size=100))
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    read = read_headers(data)
    assert isinstance(read, Headers | Unreadable)
    arp = read.arp if isinstance(read, Headers) else None
    assert arp is None or data[14 + 4 * len(read.vlan_ids) :][:6] == bytes.fromhex("000108000604")


def assert_within(frame: bytes, read: Headers | Unreadable) -> None:
    assert isinstance(read, Unreadable) or 14 <= read.payload_offset <= len(frame)
    assert isinstance(read, Unreadable) or (len(read.vlan_ids) <= MAX_TAGS and len(read.mpls_labels) <= MAX_LABELS)


@given(st.sampled_from((0x0800, 0x86DD, 0x0806, 0x88CC, 0x8847, 0x8100, 0x88A8)), st.binary(max_size=200))
def test_what_is_read_of_any_bytes_lies_within_them(eth_type: int, payload: bytes) -> None:
    frame = ETHERNET + eth_type.to_bytes(2) + payload
    assert_within(frame, read_headers(frame))
    assert_within(payload, read_headers(payload))


@given(seeds)
def test_what_is_read_of_a_damaged_frame_lies_within_it(random: Random) -> None:
    frame = random_frame(random)
    read = read_headers(frame)
    assert_within(frame, read)
    assert read_headers(memoryview(frame)) == read


@given(seeds)
def test_a_frame_cut_anywhere_is_short_or_reads_as_the_whole_one(random: Random) -> None:
    frame = whole_frame(random)
    whole = read_headers(frame)
    for length in range(len(frame)):
        cut = read_headers(frame[:length])
        if isinstance(whole, Headers) and whole.lldp is None and length < whole.payload_offset:
            assert cut == Unreadable(Reason.SHORT)
        elif isinstance(whole, Headers) and whole.lldp is None:
            # Behind a label stack one byte more is needed, which tells what follows.
            assert cut in (whole, Unreadable(Reason.SHORT) if whole.mpls_labels else whole)
        else:
            assert isinstance(cut, Unreadable) or cut.lldp is not None


def test_a_segment_to_a_controller_with_an_openflow_length_of_zero_is_read_at_once() -> None:
    # Ryu's packet library never returns from these two (faucetsdn/ryu issue 130).
    frame = headers(0x0800, IPV4_TCP + TCP + bytes.fromhex("0400000000000000"))
    assert frame.ip == Ip("10.0.0.1", "10.0.0.2", 6, 40000, 6653)
    assert frame.payload_offset == 54


def test_an_sctp_chunk_of_length_zero_is_read_at_once_and_ports_are_not_looked_for() -> None:
    frame = headers(0x0800, IPV4_SCTP + bytes.fromhex("0bb80bb8 00000000 00000000 00000000".replace(" ", "")))
    assert frame.ip == Ip("10.0.0.1", "10.0.0.2", 132, None, None)


@pytest.mark.parametrize("size", [9000, 65535])
@pytest.mark.parametrize("filler", ["81000001", "88a80001", "00000000", "fe00", "0000", "00ff", "ffff", "0800", "3c00"])
@pytest.mark.parametrize("eth_type", [0x8100, 0x8847, 0x88CC, 0x86DD, 0x0800])
def test_a_jumbo_frame_that_repeats_one_header_is_given_up_early(eth_type: int, filler: str, size: int) -> None:
    payload = (bytes.fromhex(filler) * size)[:size]
    frame = ETHERNET + eth_type.to_bytes(2) + payload
    assert_within(frame, read_headers(frame))


def test_as_many_tags_as_allowed_are_read_and_one_more_is_not() -> None:
    tags = b"".join(bytes([0x20, number]) + b"\x81\0" for number in range(1, MAX_TAGS))
    assert headers(0x88A8, tags + b"\x0f\xff\x90\x00").vlan_ids == (1, 2, 3, 4095)
    assert reason(0x8100, tags + b"\x20\x04\x81\x00\x20\x05\x90\x00") is Reason.TOO_MANY_TAGS


def test_labels_are_read_to_the_bottom_of_the_stack_and_what_follows_by_its_first_four_bits() -> None:
    stack = bytes.fromhex("00010040 00fff140".replace(" ", ""))
    behind = headers(0x8847, stack + IPV4_TCP + TCP)
    assert behind.mpls_labels == (16, 4095)
    assert behind.ip == Ip("10.0.0.1", "10.0.0.2", 6, 40000, 6653)
    pseudowire = headers(0x8847, stack + bytes(20))
    assert (pseudowire.mpls_labels, pseudowire.ip, pseudowire.payload_offset) == ((16, 4095), None, 22)
    assert reason(0x8847, bytes.fromhex("00010040") * MAX_LABELS + stack) is Reason.TOO_MANY_LABELS
    assert reason(0x8847, stack) is Reason.SHORT


def test_a_length_in_the_place_of_the_type_is_told() -> None:
    assert reason(0x05DC, b"\x42\x42\x03") is Reason.NO_ETH_TYPE
    assert headers(0x0600, b"").eth_type == 0x0600


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (0, "44", Reason.BAD_LENGTH),
        (0, "4f", Reason.BAD_LENGTH),
        (0, "65", Reason.BAD_VERSION),
        (2, "0013", Reason.BAD_LENGTH),
        (2, "0027", Reason.BAD_LENGTH),
        (32, "4010", Reason.BAD_LENGTH),
        (32, "6010", Reason.BAD_LENGTH),
        (2, "0028", None),
        (2, "05dc", None),
        (2, "0000", None),
    ],
)
def test_lengths_of_ipv4_and_tcp_that_cannot_be_are_refused(at: int, value: str, expected: Reason | None) -> None:
    packet = bytearray(IPV4_TCP + TCP)
    packet[at : at + len(value) // 2] = bytes.fromhex(value)
    assert reason(0x0800, bytes(packet)) is expected


def test_padding_is_not_taken_for_a_part_of_the_packet() -> None:
    packet = bytearray(IPV4_SCTP)
    packet[2:4], packet[9] = (22).to_bytes(2), 17
    assert reason(0x0800, bytes(packet) + bytes(26)) is Reason.BAD_LENGTH


def test_a_later_fragment_has_no_ports() -> None:
    packet = bytearray(IPV4_TCP + TCP)
    packet[6:8] = b"\x20\x01"
    later = headers(0x0800, bytes(packet))
    assert later.ip == Ip("10.0.0.1", "10.0.0.2", 6, None, None)
    assert later.payload_offset == 34
    packet[6:8] = b"\x20\x00"
    first = headers(0x0800, bytes(packet)).ip
    assert first is not None
    assert first.destination_port == 6653


@pytest.mark.parametrize(
    ("chain", "payload", "expected"),
    [
        (0, "2b00010400000000" "3c00000000000000" "0600010400000000", (6, 40000, 6653)),
        (44, "0600000100000000", (6, 40000, 6653)),
        (44, "0600000900000000", (6, None, None)),
        (51, "06040000 00000001 00000001 00000000 00000000 00000000", (6, 40000, 6653)),
        (50, "0600010400000000", (50, None, None)),
    ],
)  # fmt: skip
def test_the_chain_of_ipv6_headers_is_followed_to_the_ports(
    chain: int, payload: str, expected: tuple[int, int | None, int | None]
) -> None:
    read = headers(0x86DD, ipv6(chain, bytes.fromhex(payload) + TCP)).ip
    assert read == Ip("::1", "::2", *expected)


def test_a_chain_of_ipv6_headers_is_bounded_in_number_and_bytes() -> None:
    option = bytes.fromhex("3c00010400000000")
    last = bytes.fromhex("0600010400000000")
    assert reason(0x86DD, ipv6(60, option * (MAX_EXTENSIONS - 1) + last + TCP)) is None
    assert reason(0x86DD, ipv6(60, option * MAX_EXTENSIONS + last + TCP)) is Reason.TOO_MANY_EXTENSIONS
    assert reason(0x86DD, ipv6(60, b"\x06\x40" + bytes(518) + TCP)) is Reason.TOO_MANY_EXTENSIONS
    assert reason(0x86DD, ipv6(60, b"\x06\x3f" + bytes(510) + TCP)) is None


def test_ipv6_headers_of_impossible_length_are_refused() -> None:
    assert reason(0x86DD, ipv6(60, b"\x06\x02" + bytes(6))) is Reason.BAD_LENGTH
    assert reason(0x86DD, ipv6(51, b"\x06\x00" + bytes(6) + TCP)) is Reason.BAD_LENGTH


NEIGHBOUR = (
    bytes.fromhex("0207 04 b8cef6048b14 0407 03 b8cef6048b14 0602 0078".replace(" ", ""))
    + b"\x0a\x07leaf\\\n1"
    + b"\xfe\x04\x00\x80\xc2\x01"
)


def test_an_lldp_neighbour_is_named_by_text_that_is_safe_in_a_log() -> None:
    read = headers(0x88CC, NEIGHBOUR + b"\0\0" + bytes(20))
    assert read.lldp == Lldp("b8:ce:f6:04:8b:14", "b8:ce:f6:04:8b:14", 120, "leaf\\x5c\\x0a1")
    assert read.payload_offset == 14 + len(NEIGHBOUR) + 2
    assert headers(0x88CC, NEIGHBOUR).lldp == read.lldp


@pytest.mark.parametrize(
    ("tlvs", "expected"),
    [
        ("0000", Reason.BAD_LLDP),
        ("0202 0561 0602 0078 0402 0561", Reason.BAD_LLDP),
        ("0202 0561 0402 0561 0602 0078 0202 0561", Reason.BAD_LLDP),
        ("0202 0561 0402 0561 0000", Reason.BAD_LLDP),
        ("0201 05 0402 0561 0602 0078", Reason.BAD_LENGTH),
        ("0202 0561 0400 0602 0078", Reason.BAD_LENGTH),
        ("0202 0561 0402 0561 0601 78", Reason.BAD_LENGTH),
        ("0302" + "05" * 258 + "0402 0561 0602 0078", Reason.BAD_LENGTH),
        ("0202 0561 0402 0561 0602 0078 0b00" + "61" * 256, Reason.BAD_LENGTH),
        ("0202 0561 0402 0561 0602 0078 0a05 61", Reason.SHORT),
        ("0202 0561 0402 0561 0602 0078 0a", Reason.SHORT),
        ("0202 0561 0402 0561 0602 0078", None),
    ],
)
def test_lldp_that_breaks_its_format_is_refused(tlvs: str, expected: Reason | None) -> None:
    assert reason(0x88CC, bytes.fromhex(tlvs)) is expected


def test_arp_for_another_network_is_refused() -> None:
    assert reason(0x0806, bytes.fromhex("000686dd1410") + bytes(60)) is Reason.BAD_ARP
    assert reason(0x0806, bytes.fromhex("0001080006040001")) is Reason.SHORT
