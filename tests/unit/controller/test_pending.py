from __future__ import annotations

import struct
from typing import Any

import pytest

from controller import bundles, framework
from controller.framework import ofproto_parser
from controller.framing import Header, MessageType, Violation
from controller.pending import Pending, Refusal, Waiter, answer_limits

PROTOCOL = framework.Protocol13(framework.OFP_VERSION)
FLOWS, PORT_COUNTERS, GROUPS, METERS = 1, 4, 7, 10
REQUESTS = {
    FLOWS: lambda: ofproto_parser.OFPFlowStatsRequest(PROTOCOL),
    PORT_COUNTERS: lambda: ofproto_parser.OFPPortStatsRequest(PROTOCOL, 0, 1),
    GROUPS: lambda: ofproto_parser.OFPGroupDescStatsRequest(PROTOCOL, 0),
    METERS: lambda: ofproto_parser.OFPMeterConfigStatsRequest(PROTOCOL, 0, 1),
}


@pytest.fixture
def pending() -> Pending:
    return Pending(answer_limits(flow_bytes=4000, group_bytes=2000, other_bytes=1000, elements=50, ports=5))


def part(kind: int, xid: int, size: int = 100, *, more: bool = True) -> tuple[Header, bytes]:
    header = Header(4, MessageType.MULTIPART_REPLY, size, xid)
    return header, struct.pack("!BBHIHH4x", *header, kind, more) + bytes(size - 16)


def ask(pending: Pending, kind: int, xid: int) -> list[Any]:
    parts: list[Any] = []
    pending.add(xid, REQUESTS[kind](), parts.append)
    return parts


@pytest.mark.parametrize(("kind", "most"), [(FLOWS, 4000), (GROUPS, 2000), (METERS, 1000), (PORT_COUNTERS, 1000)])
def test_the_bytes_of_an_answer_are_bounded_by_what_was_asked(pending: Pending, kind: int, most: int):
    ask(pending, kind, 7)

    assert all(pending.expects(*part(kind, 7)) for _ in range(most // 100))
    with pytest.raises(Violation, match=f"more than {most} bytes") as broken:
        pending.expects(*part(kind, 7))
    assert broken.value.kind == "reply"


@pytest.mark.parametrize(("kind", "most"), [(FLOWS, 50), (GROUPS, 50), (PORT_COUNTERS, 5)])
def test_what_an_answer_lists_is_bounded(pending: Pending, kind: int, most: int):
    ask(pending, kind, 7)

    pending.listed(7, most)
    with pytest.raises(Violation, match=f"more than {most} elements"):
        pending.listed(7, 1)


def test_an_answer_to_another_question_is_a_violation(pending: Pending):
    ask(pending, FLOWS, 7)

    with pytest.raises(Violation, match="another type"):
        pending.expects(*part(GROUPS, 7))


def test_what_follows_the_last_part_is_not_expected(pending: Pending):
    parts = ask(pending, FLOWS, 7)
    assert pending.expects(*part(FLOWS, 7, more=False))
    pending.reply(7, "the last part", more=False)

    assert not pending.expects(*part(FLOWS, 7))
    assert parts == ["the last part"]


def test_replies_that_nobody_asked_for_have_a_budget(pending: Pending):
    with pytest.raises(Violation, match="nobody asked for") as broken:
        any(pending.expects(*part(FLOWS, xid, 60_000)) for xid in range(100))
    assert broken.value.kind == "reply"


def test_the_budget_for_unasked_replies_is_renewed(pending: Pending, monkeypatch: pytest.MonkeyPatch):
    for second in range(100):
        monkeypatch.setattr(framework, "now_s", lambda second=second: 1e9 + second)
        assert not pending.expects(*part(FLOWS, second, 60_000))


def test_an_answer_that_comes_too_late_is_not_held_against_the_switch_but_bounded(pending: Pending):
    for xid in range(1000, 1200):
        ask(pending, FLOWS, xid)
        pending.forget(xid)
        # 800 kB, three times what may come unasked.
        assert not pending.expects(*part(FLOWS, xid, 2000))
        assert not pending.expects(*part(FLOWS, xid, 2000, more=False))

    ask(pending, FLOWS, 7)
    pending.forget(7)
    pending.expects(*part(FLOWS, 7, 4000))
    with pytest.raises(Violation, match="more than 4000 bytes"):
        pending.expects(*part(FLOWS, 7, 100))


def test_a_hundred_errors_of_a_batch_are_kept_however_many_come(pending: Pending):
    refusals: list[Refusal] = []

    with pending.watch(7, 1, 0, refusals):
        assert all(pending.error(7, "an error") for _ in range(1000))

    assert len(refusals) == 100
    assert not pending.error(7, "an error")


def test_an_error_is_known_by_its_transaction_id_for_the_message_it_answers(pending: Pending):
    refusals: list[Refusal] = []

    with pending.watch(100, 10, 40, refusals), pending.watch(200, 10, 0, []):
        assert pending.error(100, "the first")
        assert pending.error(109, "the last")
        assert not pending.error(99, "of another")
        assert not pending.error(110, "of another")

    assert refusals == [Refusal(40, "the first"), Refusal(49, "the last")]


def control(step: int, xid: int, bundle: int = 3) -> tuple[Header, bytes]:
    """What a switch says about a bundle."""
    message = struct.pack("!BBHIIIIHH", 4, MessageType.EXPERIMENTER, 24, xid, bundles.ONF, 2300, bundle, step, 3)
    return Header(4, MessageType.EXPERIMENTER, 24, xid), message


def commit(pending: Pending, xid: int, bundle: int = 3) -> Waiter:
    return pending.expect(xid, MessageType.EXPERIMENTER, bundles.answer(bundle, bundles.Step.COMMIT))


COMMITTED = bundles.Step.COMMIT + 1


def test_the_answer_about_a_bundle_is_expected_once(pending: Pending):
    waiter = commit(pending, 7)

    assert pending.expects(*control(COMMITTED, 7))
    pending.reply(7, b"", more=False)
    assert waiter.over.is_set()
    assert not pending.expects(*control(COMMITTED, 7))


@pytest.mark.parametrize(("step", "bundle"), [(COMMITTED, 4), (bundles.Step.CLOSE + 1, 3), (bundles.Step.COMMIT, 3)])
def test_an_answer_about_another_bundle_or_step_is_a_violation(pending: Pending, step: int, bundle: int):
    commit(pending, 7)

    with pytest.raises(Violation, match="another type") as broken:
        pending.expects(*control(step, 7, bundle))
    assert broken.value.kind == "reply"


def test_answers_about_bundles_that_nobody_asked_about_have_a_budget(pending: Pending):
    commit(pending, 7)

    assert not pending.expects(*control(COMMITTED, 8))
    with pytest.raises(Violation, match="nobody asked for") as broken:
        any(pending.expects(*control(COMMITTED, xid)) for xid in range(1000, 20_000))
    assert broken.value.kind == "reply"
