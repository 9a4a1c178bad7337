"""The fuzzing run: what it draws, what it counts, and when it says that a limit is missed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import count, islice
from mmap import mmap
from random import Random

import pytest

from benchmarks import fuzzing
from benchmarks.fuzzing import Tally, campaign, message_pool, probes, spoilt_frames, spoilt_messages
from benchmarks.judging import Forged, Frames, Messages, Verdict
from benchmarks.mutations import MUTATIONS, WITHOUT_STRUCTURES, stretched
from controller.lldp import Probe


def numbers() -> Iterator[bytes]:
    return (bytes([number % 256]) for number in count())


def judged(judge: object, inputs: int = 1000) -> Tally:
    tally = Tally("ryu", "messages")
    campaign(tally, numbers(), judge, inputs, lambda _: None)  # type: ignore[arg-type]
    return tally


def test_an_exception_that_escapes_is_counted_and_its_input_kept():
    def judge(data: bytes) -> Verdict:
        if data == b"\x07":
            raise KeyError("seven")
        return Verdict.READ

    tally = judged(judge)

    assert tally.failed == 4
    assert tally.failures == [("KeyError: 'seven'", "07")] * 4
    assert tally.verdicts == {"read": 996, "failed": 4}
    assert not tally.within_limits


def test_the_slowest_input_is_named_and_more_than_the_limit_is_a_miss():
    def judge(data: bytes) -> Verdict:
        sum(range(20_000_000 if data == b"\x07" else 1))
        return Verdict.READ

    tally = judged(judge, inputs=100)

    assert tally.slowest == "07"
    assert tally.slowest_ms > fuzzing.SLOWEST_LIMIT_MS
    assert not tally.within_limits


def test_memory_that_is_kept_is_a_miss():
    kept = []

    def judge(data: bytes) -> Verdict:
        # Pages of its own: what the process has lately freed cannot serve for them.
        kept.append(mmap(-1, 1 << 16))
        kept[-1].write(b"\1" * (1 << 16))
        return Verdict.READ

    tally = judged(judge)

    assert tally.growth_mib > 20
    assert not tally.within_limits


@pytest.mark.parametrize("mutation", sorted(set(MUTATIONS), key=lambda mutation: mutation.__name__))
def test_each_way_to_spoil_a_message_changes_it_and_gets_past_the_header_now_and_then(mutation):
    random, messages = Random(1), Messages()
    pool = message_pool(random)
    fitting = [good for good in pool if len(good.lengths) > 1 or mutation in WITHOUT_STRUCTURES]
    pairs = [(good, mutation(random, good, pool)) for good in fitting]

    changed = sum(good.message != spoilt for good, spoilt in pairs)
    assert changed > len(pairs) / 2 or (mutation.__name__ == "unchanged" and not changed)
    verdicts = [messages.judge(spoilt) for _, spoilt in pairs]
    assert verdicts.count(Verdict.READ) > len(pairs) / 50
    assert verdicts.count(Verdict.INCOMPLETE) < len(pairs) / 5


def test_a_stretched_message_is_as_long_as_messages_get_and_often_read_whole():
    random, messages = Random(1), Messages()
    pool = [good for good in message_pool(random) if len(good.lengths) > 1]
    long = [stretched(random, good, pool) for good in pool[::8]]

    assert all(60_000 < len(message) <= 0xFFFF for message in long)
    assert [messages.judge(message) for message in long].count(Verdict.READ) > len(long) / 4


def test_the_same_seed_draws_the_same_messages_and_frames():
    def drawn(seed: int) -> list[bytes]:
        random = Random(seed)
        return [*islice(spoilt_messages(random), 500), *islice(spoilt_frames(random, [b"signed"]), 500)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_probe_that_was_never_sent_is_forged():
    sent, other = probes(Random(1)), Probe(1, 1, 99, 1)
    frames = Frames(sent)

    assert {frames.judge(frame) for frame in frames.signed()} == {Verdict.READ}
    with pytest.raises(Forged):
        frames.judge(Frames([other]).signed()[0])


def test_a_small_run_on_every_framework_is_within_the_limits(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzzing", "--messages", "3001", "--frames", "2000", "--json"])

    code = fuzzing.main()

    results = json.loads(capsys.readouterr().out)
    assert sum(each["inputs"] for each in results if each["kind"] == "messages") == 3001
    assert sum(each["inputs"] for each in results if each["kind"] == "frames") == 2000
    assert [each["escaped_first"] for each in results] == [[]] * len(results)
    assert code == 0


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 4)])
def test_the_exit_code_says_whether_a_limit_was_missed(failed, code, monkeypatch, capsys):
    tally = Tally("ryu", "messages", inputs=1, failed=failed, failures=[("KeyError: 7", "0403")] * failed)
    monkeypatch.setattr(fuzzing, "run", lambda *_: [tally])
    monkeypatch.setattr(sys, "argv", ["fuzzing"])

    assert fuzzing.main() == code
    out = capsys.readouterr().out
    assert ("ryu: KeyError: 7 escaped from 0403" in out) == bool(failed)
    assert ("missed" if failed else "met") in out.splitlines()[1]
    assert out.splitlines()[-1] == (
        "Of 1 inputs, these missed a limit: messages by ryu."
        if failed
        else "All limits are met: of 1 inputs none escaped, took long or leaked."
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--messages 0 --frames 0", "nothing is tried"),
        ("--messages -1", "invalid count value: '-1'"),
        ("--frames many", "invalid count value: 'many'"),
    ],
)
def test_a_run_that_would_try_nothing_is_refused(flags, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzzing", *flags.split()])

    with pytest.raises(SystemExit) as ended:
        fuzzing.main()

    assert ended.value.code == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.startswith("usage: python -m benchmarks.fuzzing ")


def test_one_kind_of_input_alone_is_fine_and_the_other_has_no_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzzing", "--messages", "0", "--frames", "100", "--json"])

    assert fuzzing.main() == 0
    assert {each["kind"] for each in json.loads(capsys.readouterr().out)} == {"frames"}


def test_every_flag_has_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzzing", "--help"])

    with pytest.raises(SystemExit):
        fuzzing.main()

    shown = capsys.readouterr().out
    for words in ("OpenFlow messages", "frames of hosts", "draws the inputs", "print JSON"):
        assert words in shown
