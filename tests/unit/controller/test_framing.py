from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.framing import Header, MessageType, Phase, Violation, check_header, check_hello, multipart, read_header

HELLO_OF_CVE_2024_34489 = bytes.fromhex("04000010000000130001000000000010")


def hello(*elements: bytes, version: int = 4) -> bytes:
    body = b"".join(elements)
    return struct.pack("!BBHI", version, 0, 8 + len(body), 0) + body


def bitmap(*versions: int) -> bytes:
    return struct.pack("!HHI", 1, 8, sum(1 << version for version in versions))


def refused_for(check: Callable[[], object]) -> str | None:
    """The rule that was broken; None where none was."""
    try:
        check()
    except Violation as violation:
        return violation.kind
    return None


@pytest.mark.parametrize(
    "message",
    [
        hello(),
        hello(bitmap(4)),
        hello(bitmap(1, 4)),
        hello(bitmap(1, 4, 6), version=6),
        hello(struct.pack("!HH4x", 77, 4), bitmap(4)),
        hello(struct.pack("!HHII", 1, 12, 1 << 4, 1) + bytes(4)),
    ],
)
def test_a_hello_that_offers_openflow_13_is_accepted(message: bytes):
    check_hello(message)


@pytest.mark.parametrize(
    "message",
    [hello(version=5), hello(bitmap(1)), hello(bitmap(5, 6), version=6), hello(bitmap())],
)
def test_a_hello_without_openflow_13_is_refused_for_its_version(message: bytes):
    with pytest.raises(Violation) as violation:
        check_hello(message)
    assert violation.value.kind == "version"


@given(st.binary(max_size=200))
@example(HELLO_OF_CVE_2024_34489[8:])
def test_any_hello_is_accepted_or_refused_and_nothing_else(body: bytes):
    assert refused_for(lambda: check_hello(hello(body))) in (None, "hello", "version")


def test_an_element_of_length_0_is_refused():
    with pytest.raises(Violation, match="element of 0 bytes"):
        check_hello(HELLO_OF_CVE_2024_34489)


@given(
    st.builds(Header, *[st.integers(0, limit) for limit in (0xFF, 0xFF, 0xFFFF, 0xFFFF_FFFF)]), st.sampled_from(Phase)
)
def test_what_is_let_through_has_the_version_a_known_type_and_a_bounded_length(header: Header, phase: Phase):
    refused = refused_for(lambda: check_header(header, phase, 4096))

    assert refused in (None, "version", "type", "length")
    if refused is None:
        assert header.version == 4 or (phase is Phase.HELLO and header.version > 4)
        assert header.type in set(MessageType)
        assert 8 <= header.length <= 4096


@pytest.mark.parametrize("kind", [MessageType.PACKET_IN, MessageType.PORT_STATUS, MessageType.ECHO_REQUEST])
def test_nothing_but_a_hello_comes_first(kind: MessageType):
    with pytest.raises(Violation, match="no place"):
        check_header(Header(4, kind, 80, 0), Phase.HELLO, 65_535)


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        (MessageType.PACKET_IN, 16_384),
        (MessageType.ERROR, 4_096),
        (MessageType.ECHO_REQUEST, 4_096),
        (MessageType.ECHO_REPLY, 4_096),
        (MessageType.MULTIPART_REPLY, 65_535),
    ],
)
def test_each_type_has_a_longest_message(kind: MessageType, longest: int):
    assert check_header(Header(4, kind, longest, 0), Phase.UP, 65_535)

    assert refused_for(lambda: check_header(Header(4, kind, longest + 1, 0), Phase.UP, 65_535)) == "length"


def test_a_message_of_a_wrong_length_is_refused_with_the_lengths_that_are_right():
    with pytest.raises(Violation, match="sent a PACKET_IN of 20000 bytes, not of 34 to 16384"):
        check_header(Header(4, MessageType.PACKET_IN, 20_000, 0), Phase.UP, 65_535)


def test_packets_before_the_handshake_is_over_are_passed_over_and_afterwards_read():
    packet = Header(4, MessageType.PACKET_IN, 100, 0)

    assert [check_header(packet, phase, 65_535) for phase in (Phase.FEATURES, Phase.PORTS, Phase.UP)] == [
        False, False, True,
    ]  # fmt: skip


def test_a_header_is_read_where_it_stands():
    assert read_header(b"??" + bytes.fromhex("040a00200000002a"), 2) == Header(4, 10, 32, 42)


def test_a_multipart_reply_says_whether_more_follows():
    reply = bytes(8) + struct.pack("!HH4x", 13, 1)

    assert multipart(reply) == (13, True)


def test_what_is_no_openflow_is_told_by_its_first_bytes():
    with pytest.raises(Violation, match="47 45 54 20") as violation:
        check_header(read_header(b"GET / HTTP/1.1"), Phase.HELLO, 4096)
    assert violation.value.kind == "version"
