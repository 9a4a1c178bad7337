from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from controller.channel import ChannelServer
from topologies.errors import HeddleError, InputError

DPIDS = itertools.count(0x100)
HELLO_THAT_NEVER_ENDS = bytes.fromhex("04000010000000130001000000000010")
EVERYTHING = ("HELLO", "ECHO_REQUEST", "FEATURES_REQUEST", "MULTIPART_REQUEST", "BARRIER_REQUEST")


@pytest.fixture
def dpid() -> int:
    return next(DPIDS)


def test_a_switch_comes_up_with_its_ports_and_goes_down_once(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid, ports=(1, 2, 7))

    assert daemon.expect("up", dpid=dpid)["ports"] == [1, 2, 7]

    switch.close()
    assert "closed" in daemon.expect("down", dpid=dpid)["reason"]


def test_packets_and_port_changes_reach_the_application(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)

    switch.send(switch.packet_in(2, b"frame") + switch.port_status(9, reason=0))
    assert bytes.fromhex(daemon.expect("packet-in", dpid=dpid)["data"]) == b"frame"
    assert daemon.expect("port-status", dpid=dpid)["ports"] == [1, 2, 9]

    switch.send(switch.port_status(1, reason=1))
    assert daemon.expect("port-status", dpid=dpid)["ports"] == [2, 9]


def test_messages_are_framed_by_their_length_however_they_are_cut(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)

    switch.send_in_pieces(switch.packet_in(1, b"slow"))

    assert bytes.fromhex(daemon.expect("packet-in", dpid=dpid)["data"]) == b"slow"


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("hello", HELLO_THAT_NEVER_ENDS),
        ("hello", struct.pack("!BBHIHH", 4, 0, 12, 1, 1, 400)),
        ("hello", struct.pack("!BBHIHHI", 4, 0, 14, 1, 1, 6, 16)[:14]),
        ("hello", struct.pack("!BBHIH", 4, 0, 10, 1, 1)),
        ("version", struct.pack("!BBHI", 1, 0, 8, 1)),
        ("version", struct.pack("!BBHI", 5, 0, 8, 1)),
        ("version", struct.pack("!BBHIHHI", 6, 0, 16, 1, 1, 8, 1 << 6)),
        ("length", struct.pack("!BBHI", 4, 0, 4097, 1)),
        ("length", struct.pack("!BBHI", 4, 0, 7, 1)),
        ("type", struct.pack("!BBHI", 4, 2, 8, 1)),
        ("type", struct.pack("!BBHI", 4, 99, 8, 1)),
    ],
)
def test_a_first_message_that_breaks_the_rules_ends_only_its_own_connection(
    daemon: Any, connect: Callable[..., Any], dpid: int, name: str, first: bytes
):
    before = daemon.counts().get(name, 0)

    bad = connect(dpid=dpid, without=EVERYTHING)
    bad.send(first)

    assert bad.is_closed_by_controller()
    assert daemon.counts()[name] == before + 1
    connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)


def test_a_switch_without_openflow_13_is_told_so(connect: Callable[..., Any], dpid: int):
    old = connect(dpid=dpid, without=EVERYTHING)

    old.send(old.message(old.HELLO, version=1))

    _, body = old.expect(old.ERROR)
    assert struct.unpack_from("!HH", body) == (0, 0)
    assert b"OpenFlow 1.3" in body
    assert old.is_closed_by_controller()


def test_a_newer_switch_that_offers_openflow_13_comes_up(daemon: Any, connect: Callable[..., Any], dpid: int):
    newer = connect(dpid=dpid, without={"HELLO"})

    newer.send(newer.message(newer.HELLO, struct.pack("!HHI", 1, 8, 1 << 4 | 1 << 6), version=6))

    daemon.expect("up", dpid=dpid)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("version", lambda s: s.message(s.ECHO_REQUEST, version=1)),
        ("version", lambda s: s.message(s.PACKET_IN, bytes(40), version=5)),
        ("type", lambda s: s.message(s.FLOW_MOD, bytes(48))),
        ("type", lambda s: s.message(s.FEATURES_REPLY, bytes(24))),
        ("type", lambda s: s.message(s.HELLO)),
        ("type", lambda s: s.message(24, bytes(16))),
        ("length", lambda s: struct.pack("!BBHI", 4, s.ECHO_REQUEST, 0, 1)),
        ("length", lambda s: struct.pack("!BBHI", 4, s.PACKET_IN, 32_769, 1)),
        ("length", lambda s: s.message(s.PORT_STATUS, bytes(8))),
        ("malformed", lambda s: s.message(s.PACKET_IN, bytes(18) + b"\xff\xff" + bytes(20))),
    ],
)
def test_a_connected_switch_that_breaks_the_rules_is_disconnected(
    daemon: Any, connect: Callable[..., Any], dpid: int, name: str, build: Callable[[Any], bytes]
):
    good, bad = connect(dpid=next(DPIDS)), connect(dpid=dpid)
    daemon.expect("up", dpid=good.dpid)
    daemon.expect("up", dpid=dpid)
    before = daemon.counts().get(name, 0)

    bad.send(build(bad))

    assert bad.is_closed_by_controller()
    daemon.expect("down", dpid=dpid)
    assert daemon.counts()[name] == before + 1
    good.send(good.message(good.ECHO_REQUEST, b"still there?", xid=77))
    assert good.expect(good.ECHO_REPLY) == (77, b"still there?")


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        ("PACKET_IN", 16_384),
        ("ERROR", 4_096),
        ("ECHO_REQUEST", 4_096),
        ("ECHO_REPLY", 4_096),
        ("MULTIPART_REPLY", 32_768),
    ],
)
def test_a_message_too_long_for_its_type_ends_the_connection_with_the_reason(
    daemon: Any, connect: Callable[..., Any], dpid: int, kind: str, longest: int
):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)

    switch.send(struct.pack("!BBHI", 4, getattr(switch, kind), longest + 1, 1))

    assert switch.is_closed_by_controller()
    assert f"sent a {kind} of {longest + 1} bytes" in daemon.expect("down", dpid=dpid)["reason"]


def test_the_longest_packet_reaches_the_application(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)
    overhead = len(switch.packet_in(1, b""))

    switch.send(switch.packet_in(1, bytes(16_384 - overhead)))

    assert daemon.expect("packet-in", dpid=dpid)["data"] == "00" * (16_384 - overhead)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("MULTIPART_REPLY", struct.pack("!HH4x", 1, 0)), (23, bytes(8)), (25, bytes(16)), (27, bytes(24)), (8, bytes(4))],
)
def test_a_reply_that_nobody_waits_for_is_counted_and_not_read(
    daemon: Any, connect: Callable[..., Any], dpid: int, kind: str | int, body: bytes
):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)
    before = daemon.counts().get("unasked-reply", 0)

    switch.send(switch.message(getattr(switch, kind) if isinstance(kind, str) else kind, body))
    switch.send(switch.packet_in(1, b"after"))

    daemon.expect("packet-in", dpid=dpid)
    assert daemon.counts()["unasked-reply"] == before + 1


def test_a_broken_reply_ends_the_connection_even_where_nobody_waits_for_it(
    daemon: Any, connect: Callable[..., Any], dpid: int
):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)

    # Flow statistics whose entry is 0 bytes long would keep the framework's parser busy for ever.
    switch.send(switch.message(switch.MULTIPART_REPLY, struct.pack("!HH4x", 1, 0) + bytes(64)))

    assert switch.is_closed_by_controller()
    reason = daemon.expect("down", dpid=dpid)["reason"]
    assert "malformed MULTIPART_REPLY" in reason
    assert "at byte 16" in reason


def test_packets_sent_before_the_handshake_is_over_do_no_harm(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid, without={"FEATURES_REQUEST"})
    xid, _ = switch.expect(switch.FEATURES_REQUEST)

    switch.send(switch.packet_in(1, b"early") + switch.port_status(1, reason=2))
    switch.send(switch.message(switch.FEATURES_REPLY, struct.pack("!QIBB2xII", dpid, 0, 254, 0, 0, 0), xid))

    daemon.expect("up", dpid=dpid)


@pytest.mark.parametrize("silent_at", ["HELLO", "FEATURES_REQUEST", "MULTIPART_REQUEST"])
def test_a_handshake_that_does_not_end_is_given_up(daemon: Any, connect: Callable[..., Any], dpid: int, silent_at: str):
    before = daemon.counts().get("handshake-timeout", 0)

    switch = connect(dpid=dpid, without={silent_at})

    assert switch.is_closed_by_controller()
    assert daemon.counts()["handshake-timeout"] == before + 1


def test_a_silent_switch_is_dropped_and_an_answering_one_is_not(daemon: Any, connect: Callable[..., Any], dpid: int):
    answering, silent = connect(dpid=dpid), connect(dpid=next(DPIDS))
    daemon.expect("up", dpid=answering.dpid)
    daemon.expect("up", dpid=silent.dpid)
    silent.answers = set()

    assert "silent" in daemon.expect("down", dpid=silent.dpid)["reason"]

    daemon.do(do="ports", dpid=answering.dpid, timeout_s=30)
    assert daemon.expect("ports", dpid=answering.dpid)["ports"] == [1, 2]


def test_a_switch_that_sends_but_answers_nothing_is_dropped(daemon: Any, connect: Callable[..., Any], dpid: int):
    chatty = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)
    chatty.answers = set()

    while not chatty.over.wait(0.2):
        chatty.send(chatty.packet_in(1, b"no answer, but a packet"))

    assert "has not answered" in daemon.expect("down", dpid=dpid)["reason"]


def test_a_peer_that_keeps_breaking_rules_has_to_wait_while_others_come_and_go(
    daemon: Any, connect: Callable[..., Any], dpid: int
):
    before = daemon.counts().get("backed-off", 0)

    while daemon.counts().get("backed-off", 0) == before:
        bad = connect(dpid=dpid, without=EVERYTHING, address="127.200.0.1")
        bad.send(HELLO_THAT_NEVER_ENDS)
        assert bad.is_closed_by_controller()

    connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)


def test_a_switch_that_keeps_breaking_rules_does_not_keep_out_others_where_several_share_its_address(
    daemon: Any, connect: Callable[..., Any], dpid: int
):
    home = "127.200.0.2"
    for _ in range(2):
        good = connect(dpid=next(DPIDS), address=home)
        daemon.expect("up", dpid=good.dpid)
    before = daemon.counts().get("backed-off", 0)

    while daemon.counts().get("backed-off", 0) == before:
        bad = connect(dpid=dpid, address=home)
        bad.send(bad.message(bad.FLOW_MOD, bytes(48)))
        assert bad.is_closed_by_controller()

    # As a switch does, it tries again until it is let in.
    other, was_up = next(DPIDS), daemon.counts()["up"]
    attempt = connect(dpid=other, address=home)
    while daemon.counts()["up"] == was_up:
        if attempt.over.wait(0.05):
            attempt = connect(dpid=other, address=home)
    daemon.expect("up", dpid=other)


def test_one_good_connection_frees_nobody_from_waiting(daemon: Any, connect: Callable[..., Any], dpid: int):
    home = "127.200.0.3"
    connect(dpid=dpid, address=home)
    daemon.expect("up", dpid=dpid)
    before = daemon.counts().get("backed-off", 0)

    while daemon.counts().get("backed-off", 0) == before:
        bad = connect(dpid=next(DPIDS), without=EVERYTHING, address=home)
        bad.send(HELLO_THAT_NEVER_ENDS)
        assert bad.is_closed_by_controller()


def test_a_switch_that_stops_reading_is_disconnected_while_the_others_go_on(
    daemon: Any, connect: Callable[..., Any], dpid: int
):
    stuck, other = connect(dpid=dpid), connect(dpid=next(DPIDS))
    daemon.expect("up", dpid=other.dpid)
    daemon.expect("up", dpid=stuck.dpid)
    stuck.stop_reading()

    daemon.do(do="flood", dpid=stuck.dpid, messages=20_000, bytes=1500)

    assert daemon.expect("flooded", dpid=stuck.dpid)["sent"] < 20_000
    assert "does not read" in daemon.expect("down", dpid=stuck.dpid)["reason"]
    other.send(other.message(other.ECHO_REQUEST, b"", xid=5))
    assert other.expect(other.ECHO_REPLY) == (5, b"")


def test_a_second_connection_of_a_connected_switch_is_refused(daemon: Any, connect: Callable[..., Any], dpid: int):
    first = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)

    second = connect(dpid=dpid)

    assert second.is_closed_by_controller()
    first.send(first.packet_in(1, b"undisturbed"))
    assert bytes.fromhex(daemon.expect("packet-in", dpid=dpid)["data"]) == b"undisturbed"
    assert daemon.counts()["duplicate"] >= 1


def test_a_switch_may_return_after_it_went_down(daemon: Any, connect: Callable[..., Any], dpid: int):
    first = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)
    first.close()
    daemon.expect("down", dpid=dpid)

    connect(dpid=dpid)

    daemon.expect("up", dpid=dpid)


def test_half_open_connections_do_not_keep_a_switch_out(daemon: Any, connect: Callable[..., Any], dpid: int):
    idle = [connect(dpid=0, without=EVERYTHING) for _ in range(20)]

    connect(dpid=dpid)

    daemon.expect("up", dpid=dpid)
    assert all(connection.is_closed_by_controller() for connection in idle)


def test_connections_beyond_the_limit_are_refused(daemon: Any, connect: Callable[..., Any], dpid: int):
    for _ in range(24):
        switch = connect(dpid=next(DPIDS))
        daemon.expect("up", dpid=switch.dpid)

    surplus = connect(dpid=dpid)

    assert surplus.is_closed_by_controller()
    assert daemon.counts()["too-many"] >= 1


def test_a_batch_names_the_messages_that_the_switch_refused(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid)
    switch.refused_priorities = {3, 7}
    daemon.expect("up", dpid=dpid)

    daemon.do(do="batch", dpid=dpid, messages=10, timeout_s=30)

    assert daemon.expect("batch", dpid=dpid)["refused"] == [3, 7]


def test_a_batch_longer_than_the_send_queue_arrives_whole(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)

    daemon.do(do="batch", dpid=dpid, messages=20_000, timeout_s=60)

    assert daemon.expect("batch", dpid=dpid)["refused"] == []
    assert sum(kind == switch.FLOW_MOD for kind, _, _ in list(switch.received.queue)) == 20_000


def test_a_request_fails_when_no_answer_comes(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)
    switch.answers = switch.answers - {switch.MULTIPART_REQUEST}

    daemon.do(do="ports", dpid=dpid, timeout_s=0.2)

    assert daemon.expect("failed", dpid=dpid)["error"] == "NoAnswer"


def test_a_request_fails_at_once_when_the_switch_goes(daemon: Any, connect: Callable[..., Any], dpid: int):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)
    switch.answers = switch.answers - {switch.MULTIPART_REQUEST}
    xid, _ = switch.expect(switch.MULTIPART_REQUEST)

    daemon.do(do="ports", dpid=dpid, timeout_s=3600)
    assert switch.expect(switch.MULTIPART_REQUEST)[0] != xid
    switch.close()

    assert daemon.expect("failed", dpid=dpid)["error"] == "NoAnswer"


def test_a_port_in_use_and_a_bad_address_are_refused_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HeddleError, match="in use") as error:
        ChannelServer("127.0.0.1", taken.getsockname()[1])
    assert not isinstance(error.value, InputError)
    with pytest.raises(InputError, match="no address"):
        ChannelServer("localhost!", 6653)
