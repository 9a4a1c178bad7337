"""Events are all told, but for those that repeat themselves; they go on where an earlier run ended."""

from __future__ import annotations

import logging

import pytest

from controller.eventlog import EventLog
from controller.service import Event


def test_every_failure_of_a_link_is_told_however_soon_it_follows() -> None:
    kept: list[Event] = []
    log = EventLog((), kept.append)
    for _ in range(3):
        log.note("port-down", "port 1:1 is down")
    assert [event.kind for event in kept] == ["port-down"] * 3
    assert [event.id for event in kept] == [1, 2, 3]


def test_what_others_can_bring_about_at_will_is_told_once_and_counted_every_time() -> None:
    kept: list[Event] = []
    log = EventLog((), kept.append)
    for _ in range(3):
        log.note("arp-spoofed", "ARP at 1:1 names another sender than its frame")
    log.note("arp-spoofed", "ARP at 1:2 names another sender than its frame")
    assert len(kept) == 2
    assert log.counts["arp-spoofed"] == 4


def test_events_of_an_earlier_run_are_there_and_new_ones_follow_them() -> None:
    earlier = (Event(7, 1.0, "switch-up", "switch s1 is connected"),)
    log = EventLog(earlier, lambda _: None)
    log.note("settled", "the fabric is known")
    assert [event.id for event in log.after(0)] == [7, 8]
    assert [event.kind for event in log.after(7)] == ["settled"]


def test_what_somebody_should_look_after_is_a_warning_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog((), lambda _: None)
    with caplog.at_level(logging.INFO, logger="heddle.events"):
        log.note("miscabled", "e0-0:3 leads elsewhere")
        log.note("switch-up", "switch s1 is connected")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
