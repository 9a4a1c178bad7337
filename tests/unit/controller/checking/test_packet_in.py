"""Packets: the port and the frame are found where the frameworks find them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from openflow_bytes import PARSERS, basic, field, match, packet_in, parsed

from controller.checking import PacketInPlace, check_message, check_packet_in

NUMBERS = st.integers(0, 0xFFFF_FFFF)
OTHERS = st.lists(
    st.sampled_from(
        [basic(2, 7, 8), basic(1, 9, 4), basic(38, 5, 8), field(1, 0, bytes(4)), field(0xFFFF, 42, b"ONF\0" + bytes(2))]
    ),
    unique=True,
)


@given(NUMBERS, st.binary(max_size=300))
def test_a_packet_with_the_port_alone_starts_at_byte_42(port: int, frame: bytes):
    assert check_packet_in(packet_in(match(basic(0, port, 4)), frame)) == PacketInPlace(port, 42)


@given(NUMBERS, OTHERS, OTHERS, st.binary(max_size=100), st.integers(0, 0xFFFF))
def test_the_port_and_the_frame_are_those_of_the_frameworks(
    port: int, before: list[bytes], after: list[bytes], frame: bytes, total: int
):
    fields = dict.fromkeys([*before, basic(0, port, 4), *after])
    message = packet_in(match(*fields), frame, total)

    place = check_packet_in(message)

    assert check_message(message) == 0
    for framework in PARSERS:
        seen = parsed(message, framework)
        assert seen.match["in_port"] == place.in_port == port
        assert seen.data == message[place.data_offset :][:total] == frame[:total]
