"""Events go on where an earlier run ended; nobody can flood them, and what is held back is accounted for."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.allowance import MAX_SUMMARIES, WINDOW_S, Allowance, Restraint
from controller.eventlog import AT_WILL, MAX_MESSAGE, NEWS, WRITE_S, EventLog
from controller.service import Event
from controller.store import Store

SPOOFED = "ARP at 1:1 names another sender than its frame"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Record:
    """What was written, and in how many writes."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.writes = 0

    def __call__(self, *events: Event) -> None:
        self.events += events
        self.writes += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> EventLog:
    return EventLog((), Record(), clock)


def told(log: EventLog) -> list[str]:
    return [event.message for event in log.after(0)]


def stands_for(message: str) -> int:
    """How many notes a said sentence accounts for."""
    more = re.search(r"\((and|the last of) (\d+) more like it in the last \d+ s\)$", message)
    if more is None:
        return 1
    return int(more[2]) + (more[1] == "and")


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
    log = EventLog(earlier, lambda *_: None)
    log.note("settled", "the fabric is known")
    assert [event.id for event in log.after(0)] == [7, 8]
    assert [event.kind for event in log.after(7)] == ["settled"]


def test_what_somebody_should_look_after_is_a_warning_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog((), lambda *_: None)
    with caplog.at_level(logging.INFO, logger="heddle.events"):
        log.note("miscabled", "e0-0:3 leads elsewhere")
        log.note("switch-up", "switch s1 is connected")
        log.note("lldp-forged", "a forged probe at port 1:1")
        log.note("lldp-foreign", "foreign LLDP at port 1:1 is ignored")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING", "INFO"]


def test_one_source_says_five_different_things_a_minute_and_the_rest_is_told_as_a_number(
    clock: Clock, log: EventLog
) -> None:
    for number in range(100):
        log.note("host-refused", f"address 10.0.0.{number} at port 1:1 is refused", "1:1")
        clock.now_s += 0.1
    assert told(log) == [f"address 10.0.0.{number} at port 1:1 is refused" for number in range(5)]
    clock.now_s += WINDOW_S
    log.tick()
    assert told(log)[5:] == ["address 10.0.0.99 at port 1:1 is refused (the last of 95 more like it in the last 70 s)"]
    assert log.counts["host-refused"] == 100


def test_the_next_sentence_of_a_source_tells_how_many_were_held_back_before_it(clock: Clock, log: EventLog) -> None:
    for _ in range(10):
        log.note("arp-spoofed", SPOOFED, "1:1")
        clock.now_s += 1
    log.note("arp-spoofed", "ARP at 1:1 names a third sender", "1:1")
    assert told(log) == [SPOOFED, "ARP at 1:1 names a third sender (and 9 more like it in the last 9 s)"]
    clock.now_s += 2 * WINDOW_S
    log.tick()
    assert len(told(log)) == 2


def test_who_only_repeats_himself_is_heard_once_a_minute(clock: Clock, log: EventLog) -> None:
    for _ in range(600):
        log.note("arp-spoofed", SPOOFED, "1:1")
        clock.now_s += 1
    assert told(log)[0] == SPOOFED
    assert told(log)[1:] == [f"{SPOOFED} (and 59 more like it in the last 59 s)"] * 9


def test_a_summary_comes_with_an_event_of_any_other_kind_too(clock: Clock, log: EventLog) -> None:
    log.note("arp-spoofed", SPOOFED, "1:1")
    log.note("arp-spoofed", SPOOFED, "1:1")
    clock.now_s += WINDOW_S
    log.note("settled", "the fabric is known")
    assert told(log) == [
        SPOOFED,
        "the fabric is known",
        f"{SPOOFED} (the last of 1 more like it in the last 60 s)",
    ]


def test_a_flapping_port_hides_no_other_and_stays_within_its_allowance(clock: Clock, log: EventLog) -> None:
    for step in range(6000):
        log.note("port-down", "port 1:1 is down", "1:1")
        if step == 3000:
            log.note("port-down", "port 2:1 is down", "2:1")
            assert told(log)[-1] == "port 2:1 is down"
        clock.now_s += 0.1
    assert len(told(log)) <= 10 * (NEWS.per_source + 1) + 1
    assert log.counts["port-down"] == 6001


def test_many_sources_together_stay_within_the_allowance_of_the_kind_and_nothing_is_lost(
    clock: Clock, log: EventLog
) -> None:
    for number in range(10_000):
        log.note("lldp-foreign", f"foreign LLDP at port {number}:1 is ignored", f"{number}:1")
        clock.now_s += 0.001
    assert len(told(log)) == AT_WILL.per_kind
    log.close()
    assert sum(map(stands_for, told(log))) == log.counts["lldp-foreign"] == 10_000
    assert len(told(log)) == AT_WILL.per_kind + 1


def test_of_many_silenced_sources_the_loudest_are_summed_up_by_themselves(clock: Clock, log: EventLog) -> None:
    for number in range(30):
        for _ in range(2 + number):
            log.note("arp-spoofed", f"ARP at {number}:1 names another sender", f"{number}:1")
    log.close()
    summaries = told(log)[30:]
    assert len(summaries) == MAX_SUMMARIES + 1
    assert summaries[0] == "ARP at 29:1 names another sender (the last of 30 more like it in the last 1 s)"
    assert sum(map(stands_for, told(log))) == log.counts["arp-spoofed"]


def test_without_a_source_the_sentence_stands_for_it(log: EventLog) -> None:
    for number in range(10):
        for _ in range(3):
            log.note("rule-refused", f"switch s{number} refused a rule")
    assert told(log) == [f"switch s{number} refused a rule" for number in range(10)]


kinds = st.sampled_from(("arp-spoofed", "lldp-forged", "port-down"))
sources = st.sampled_from([f"{number}:1" for number in range(8)])
notes = st.tuples(st.sampled_from((0.0, 0.01, 1.0, 20.0, 70.0)), kinds, sources, st.integers(0, 6))
floods = st.lists(st.tuples(notes, st.integers(1, 40)), max_size=40)


@given(floods)
def test_every_note_is_accounted_for_by_what_is_said(flood: list[tuple[tuple[float, str, str, int], int]]) -> None:
    clock, record = Clock(), Record()
    log = EventLog((), record, clock, WRITE_S)
    noted: Counter[str] = Counter()
    for (wait_s, kind, source, message), times in flood:
        for _ in range(times):
            clock.now_s += wait_s
            log.note(kind, f"{kind} at {source}: {message}", source)
            noted[kind] += 1
    log.close()
    accounted: Counter[str] = Counter()
    for event in record.events:
        accounted[event.kind] += stands_for(event.message)
    assert accounted == noted == log.counts
    assert tuple(record.events) == log.after(0)
    assert [event.id for event in record.events] == list(range(1, len(record.events) + 1))


@given(floods)
def test_in_no_minute_is_more_said_than_allowed(flood: list[tuple[tuple[float, str, str, int], int]]) -> None:
    allowance = Allowance(per_source=3, per_kind=10, repeats=False)
    restraint, now_s = Restraint(allowance), 0.0
    said: list[tuple[float, str, str]] = []
    summaries: list[float] = []
    for (wait_s, _, source, message), times in flood:
        for _ in range(times):
            now_s += wait_s
            if (text := restraint.admit(str(message), source, now_s)) is not None:
                said.append((now_s, source, text.split(" ")[0]))
            summaries += [now_s] * len(restraint.sum_up(now_s))
    for at_s, source, message in said:
        minute = [entry for entry in said if at_s <= entry[0] < at_s + WINDOW_S]
        assert len(minute) <= allowance.per_kind
        assert sum(entry[1] == source for entry in minute) <= allowance.per_source
        assert sum(entry[1:] == (source, message) for entry in minute) == 1
    for at_s in summaries:
        assert sum(at_s <= other_s < at_s + WINDOW_S for other_s in summaries) <= MAX_SUMMARIES + 1


def test_memory_is_bounded_however_many_sources_there_are() -> None:
    restraint, now_s, most = Restraint(AT_WILL), 0.0, 0
    for number in range(50_000):
        now_s += 0.01
        restraint.admit(f"message {number}", f"source {number}", now_s)
        if number % 100 == 0:
            restraint.sum_up(now_s)
        most = max(most, restraint.sources)
    assert most <= 2 * AT_WILL.per_kind
    restraint.sum_up(now_s + 2 * WINDOW_S)
    assert restraint.sum_up(now_s + 4 * WINDOW_S) == []
    assert restraint.sources == 0


def test_events_are_written_at_most_once_a_second_and_none_waits_longer(clock: Clock) -> None:
    record = Record()
    log = EventLog((), record, clock, WRITE_S)
    log.note("settled", "the fabric is known")
    assert len(record.events) == 1
    for number in range(1000):
        log.note("host-seen", f"host {number} is at port 1:{number}", f"1:{number}")
        clock.now_s += 0.01
        log.tick()
        written = len(record.events)
        assert len(log.after(0)) - written <= 101
    clock.now_s += WRITE_S
    log.tick()
    assert tuple(record.events) == log.after(0)
    assert record.writes <= 13


def test_nothing_is_written_while_nothing_happens(clock: Clock) -> None:
    record = Record()
    log = EventLog((), record, clock, WRITE_S)
    for _ in range(100):
        clock.now_s += 1
        log.tick()
    log.close()
    assert record.writes == 0


def test_the_database_has_what_was_told_once_the_log_is_closed(clock: Clock, tmp_path: Path) -> None:
    with Store(tmp_path / "state") as store:
        log = EventLog(store.events(), store.add_event, clock, WRITE_S)
        for number in range(300):
            log.note("port-down", f"port 1:{number} is down", f"1:{number}")
            clock.now_s += 0.01
        log.close()
        assert store.events() == log.after(0)
        assert len(store.events()) == 300


def test_a_message_is_one_line_of_bounded_length(log: EventLog) -> None:
    log.note("switch-error", "switch s1: \n2026 settled: all is well\x1b[2J \x7f → ü")
    log.note("switch-error", "x" * 5000)
    assert told(log)[0] == "switch s1: \\n2026 settled: all is well\\x1b[2J \\x7f → ü"
    assert told(log)[1] == "x" * MAX_MESSAGE + "…"
