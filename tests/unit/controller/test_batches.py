from __future__ import annotations

import itertools
import queue
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import framework
from controller.batches import Batches, Message, Window
from controller.framing import MessageType
from controller.pending import Pending, answer_limits

ONF, CONTROL, ADD = 0x4F4E4600, 2300, 2301
OPEN, CLOSE, COMMIT, DISCARD = 0, 2, 4, 6
ATOMIC_AND_ORDERED = 3
MESSAGE_FAILED, UNSUPPORTED = 2313, 2310
BAD_REQUEST, BAD_EXPERIMENTER, TABLE_FULL = 1, 3, (5, 1)
_DPIDS = itertools.count(0xB000)


@pytest.fixture
def dpid() -> int:
    return next(_DPIDS)


class Bundler:
    """The part of a fake switch that makes bundles, and can be told to make them badly."""

    def __init__(self, switch: Any) -> None:
        self.switch = switch
        self.open: dict[int, list[bytes]] = {}
        self.carried_out: list[int] = []
        self.committed: list[int] = []
        self.steps: list[int] = []
        self.refused_at_once: set[int] = set()
        self.refused_at_commit: set[int] = set()
        self.refuses_bundles = False
        self.takes_messages = True
        self.answer_step: Callable[[int, int, int], None] = self.answer
        switch.on_experimenter = self.take

    def take(self, xid: int, body: bytes) -> None:
        experimenter, kind, bundle = struct.unpack_from("!III", body)
        assert experimenter == ONF
        if kind == ADD:
            self.add(xid, bundle, body)
            return
        assert kind == CONTROL
        step, flags = struct.unpack_from("!HH", body, 12)
        assert flags == ATOMIC_AND_ORDERED
        self.steps.append(step)
        if self.refuses_bundles:
            self.error(xid, BAD_REQUEST, BAD_EXPERIMENTER)
            return
        if step == OPEN:
            self.open[bundle] = []
        elif step == COMMIT and not self.commit(xid, self.open.pop(bundle)):
            return
        elif step == DISCARD:
            self.open.pop(bundle)
        self.answer_step(xid, bundle, step)

    def add(self, xid: int, bundle: int, body: bytes) -> None:
        message = body[16:]
        assert struct.unpack_from("!HBBHI", body, 14) == (ATOMIC_AND_ORDERED, 4, 14, len(message), xid)
        if not self.takes_messages:
            self.bundle_error(xid, UNSUPPORTED)
        elif priority(message) in self.refused_at_once:
            self.error(xid, *TABLE_FULL)
        else:
            self.open[bundle].append(message)

    def commit(self, xid: int, messages: list[bytes]) -> bool:
        wrong = [message for message in messages if priority(message) in self.refused_at_commit]
        for message in wrong:
            self.error(struct.unpack_from("!I", message, 4)[0], *TABLE_FULL)
        if wrong:
            self.bundle_error(xid, MESSAGE_FAILED)
            return False
        self.carried_out += map(priority, messages)
        self.committed.append(len(messages))
        return True

    def answer(self, xid: int, bundle: int, step: int) -> None:
        body = struct.pack("!IIIHH", ONF, CONTROL, bundle, step + 1, ATOMIC_AND_ORDERED)
        self.switch.send(self.switch.message(self.switch.EXPERIMENTER, body, xid))

    def error(self, xid: int, kind: int, code: int) -> None:
        self.switch.send(self.switch.message(self.switch.ERROR, struct.pack("!HH", kind, code) + bytes(8), xid))

    def bundle_error(self, xid: int, number: int) -> None:
        body = struct.pack("!HHI", 0xFFFF, number, ONF)
        self.switch.send(self.switch.message(self.switch.ERROR, body, xid))


def priority(message: bytes) -> int:
    (found,) = struct.unpack_from("!H", message, 30)
    return int(found)


def plain_rules(switch: Any) -> list[int]:
    """Priorities of the rules that came without a bundle."""
    found = []
    while True:
        try:
            kind, _, body = switch.received.get_nowait()
        except queue.Empty:
            return found
        if kind == switch.FLOW_MOD:
            found.append(struct.unpack_from("!H", body, 22)[0])


@pytest.fixture
def bundler(daemon: Any, connect: Callable[..., Any], dpid: int) -> Bundler:
    """A connected switch that makes bundles."""
    switch = connect(dpid=dpid)
    bundler = Bundler(switch)
    daemon.expect("up", dpid=dpid)
    return bundler


def batch(daemon: Any, dpid: int, messages: int) -> list[int]:
    """Give a switch rules with rising priorities; those that it refused."""
    daemon.do(do="batch", dpid=dpid, messages=messages, timeout_s=60)
    refused: list[int] = daemon.expect("batch", dpid=dpid)["refused"]
    return refused


def test_a_batch_goes_in_one_bundle_that_is_committed_at_last(daemon: Any, bundler: Bundler, dpid: int):
    assert batch(daemon, dpid, 50) == []

    assert bundler.committed == [50]
    assert bundler.carried_out == list(range(50))
    assert bundler.steps == [OPEN, CLOSE, COMMIT]
    assert plain_rules(bundler.switch) == []


def test_a_single_message_needs_no_bundle(daemon: Any, bundler: Bundler, dpid: int):
    assert batch(daemon, dpid, 1) == []

    assert bundler.steps == []
    assert plain_rules(bundler.switch) == [0]


def test_a_very_long_batch_takes_several_bundles_larger_and_larger_in_order(daemon: Any, bundler: Bundler, dpid: int):
    assert batch(daemon, dpid, 30_000) == []

    assert bundler.carried_out == list(range(30_000))
    assert bundler.committed[0] == 64
    assert max(bundler.committed) <= 16_384
    assert not bundler.open


def test_what_is_refused_when_it_is_added_discards_the_bundle(daemon: Any, bundler: Bundler, dpid: int):
    bundler.refused_at_once = {7, 9}

    assert batch(daemon, dpid, 20) == [7, 9]

    assert bundler.carried_out == []
    assert bundler.steps == [OPEN, CLOSE, DISCARD]


def test_what_is_refused_at_the_commit_is_named_and_nothing_is_sent_behind_it(
    daemon: Any, bundler: Bundler, dpid: int
):  # fmt: skip
    bundler.refused_at_commit = {70}

    assert batch(daemon, dpid, 20_000) == [70]

    assert bundler.carried_out == list(range(64))
    assert bundler.steps == [OPEN, CLOSE, COMMIT, OPEN, CLOSE, COMMIT]


def test_a_switch_that_refuses_bundles_is_asked_once_and_gets_its_rules_plainly(
    daemon: Any, bundler: Bundler, dpid: int
):  # fmt: skip
    before = daemon.counts().get("unbundled", 0)
    bundler.refuses_bundles = True

    assert batch(daemon, dpid, 50) == []
    assert batch(daemon, dpid, 50) == []

    assert plain_rules(bundler.switch) == [*range(50), *range(50)]
    assert bundler.steps == [OPEN]
    assert daemon.counts()["unbundled"] == before + 1


def test_a_switch_that_says_nothing_of_bundles_gets_its_rules_plainly(
    daemon: Any, connect: Callable[..., Any], dpid: int
):
    switch = connect(dpid=dpid)
    daemon.expect("up", dpid=dpid)

    assert batch(daemon, dpid, 50) == []

    assert plain_rules(switch) == list(range(50))


def test_a_switch_whose_bundles_take_no_such_message_gets_its_rules_plainly(daemon: Any, bundler: Bundler, dpid: int):
    bundler.takes_messages = False

    assert batch(daemon, dpid, 50) == []

    assert plain_rules(bundler.switch) == list(range(50))
    assert bundler.carried_out == []


@pytest.mark.parametrize("wrong", [(0, 1), (1, 0)], ids=["bundle", "step"])
def test_an_answer_about_another_bundle_or_step_costs_the_connection(
    daemon: Any, bundler: Bundler, dpid: int, wrong: tuple[int, int]
):
    bundler.answer_step = lambda xid, bundle, step: bundler.answer(xid, bundle + wrong[1], step + 2 * wrong[0])

    daemon.do(do="batch", dpid=dpid, messages=50, timeout_s=60)

    assert daemon.expect("failed", dpid=dpid)["error"] == "NoAnswer"
    assert "another type" in daemon.expect("down", dpid=dpid)["reason"]


def test_a_bundles_answer_that_nobody_asked_for_is_not_taken_for_one(daemon: Any, bundler: Bundler, dpid: int):
    before = daemon.counts().get("unasked-reply", 0)
    for xid in range(10):
        bundler.answer(xid, 1, COMMIT)

    assert batch(daemon, dpid, 50) == []
    assert daemon.counts()["unasked-reply"] == before + 10


def test_a_flood_of_answers_about_bundles_costs_the_connection(daemon: Any, bundler: Bundler, dpid: int):
    for xid in range(20_000):
        bundler.answer(xid, 1, COMMIT)

    assert "nobody asked for" in daemon.expect("down", dpid=dpid)["reason"]


def test_other_messages_of_experimenters_are_passed_over(daemon: Any, bundler: Bundler, dpid: int):
    before = daemon.counts().get("unread", 0)
    bundler.switch.send(bundler.switch.message(bundler.switch.EXPERIMENTER, struct.pack("!II", 5, CONTROL)))

    assert batch(daemon, dpid, 50) == []
    assert daemon.counts()["unread"] == before + 1


def test_the_daemon_serves_others_while_a_switch_does_not_read_its_bundle(
    daemon: Any, bundler: Bundler, connect: Callable[..., Any], dpid: int
):
    assert batch(daemon, dpid, 2000) == []
    bundler.switch.stop_reading()
    other = connect(dpid=(other_dpid := next(_DPIDS)))
    Bundler(other)
    daemon.expect("up", dpid=other_dpid)

    daemon.do(do="batch", dpid=dpid, messages=100_000, timeout_s=5)

    assert batch(daemon, other_dpid, 5000) == []
    # It is asked whether it lives meanwhile, and does not read that either.
    assert daemon.expect("failed", dpid=dpid)["error"] == "NoAnswer"
    assert "silent" in daemon.expect("down", dpid=dpid)["reason"]


def test_windows_grow_with_quick_switches_and_shrink_with_slow_ones():
    window = Window(16, 1024, 2)

    for _ in range(20):
        window.took(0.01)
    assert window.size == 1024
    window.took(0.3)
    assert window.size == 1024
    for _ in range(20):
        window.took(1.0)
    assert window.size == 16


class MemorySwitch:
    """A connection and the switch behind it, without a socket; it carries out what it is sent, and never waits."""

    def __init__(self, *, makes_bundles: bool) -> None:
        self.makes_bundles = makes_bundles
        self.pending = Pending(answer_limits(1000, 1000, 1000, 1000, 1000))
        self.batches = Batches(self, self.pending)  # type: ignore[arg-type]
        self.carried_out: list[bytes] = []
        self.bundle: list[bytes] | None = None
        self.told = 0
        self.most_in_a_turn = 0
        self._xid = 0

    def take_xids(self, count: int) -> int:
        self._xid += count
        return self._xid - count + 1

    def send(self, data: bytes) -> bool:
        sent = 0
        while data:
            _, kind, size, xid = struct.unpack_from("!BBHI", data)
            self.take(kind, xid, data[8:size])
            data = data[size:]
            sent += 1
        self.most_in_a_turn = max(self.most_in_a_turn, sent)
        return True

    def take(self, kind: int, xid: int, body: bytes) -> None:
        if kind != MessageType.EXPERIMENTER:
            self.carried_out.append(body)
        elif not self.makes_bundles:
            self.pending.error(xid, "no such experimenter")
        elif struct.unpack_from("!I", body, 4)[0] == ADD:
            assert self.bundle is not None
            self.bundle.append(body[24:])
        elif struct.unpack_from("!H", body, 12)[0] == OPEN:
            assert self.bundle is None
            self.bundle = []
            self.pending.reply(xid, b"", more=False)

    def exchange(self, *asked: Any) -> None:
        if "COMMIT" in asked[-1]:
            assert self.bundle is not None
            self.carried_out += self.bundle
            self.bundle = None

    def wait_for_room(self, *_: Any) -> bool:
        return True

    def makes_no_bundles(self) -> None:
        self.told += 1


FLOW_MOD, GROUP_MOD, METER_MOD = 14, 15, 29


@given(st.lists(st.sampled_from([FLOW_MOD, GROUP_MOD, METER_MOD]), max_size=40), st.booleans(), st.booleans())
def test_messages_are_carried_out_in_order_each_once(kinds: list[int], makes_bundles: bool, bundled: bool):
    messages = [Message(kind, bytes((number,))) for number, kind in enumerate(kinds)]
    switch = MemorySwitch(makes_bundles=makes_bundles)

    for _ in range(2):
        switch.carried_out.clear()
        assert switch.batches.send(messages, lambda message: message, 10.0, bundled=bundled).errors == ()
        assert switch.carried_out == [message.body for message in messages]
    assert switch.bundle is None
    assert switch.told <= (not makes_bundles)


@pytest.mark.parametrize("makes_bundles", [True, False])
def test_others_get_their_turn_after_a_millisecond_of_encoding(makes_bundles: bool, monkeypatch: pytest.MonkeyPatch):
    clock_s = itertools.count(0, 0.0001)
    slept: list[float] = []
    monkeypatch.setattr(framework, "now_s", lambda: next(clock_s))
    monkeypatch.setattr(framework, "sleep", slept.append)
    switch = MemorySwitch(makes_bundles=makes_bundles)

    switch.batches.send([Message(FLOW_MOD, b"")] * 5000, lambda message: message, 60.0)

    assert len(switch.carried_out) == 5000
    assert switch.most_in_a_turn <= 12
    assert len(slept) >= 400
