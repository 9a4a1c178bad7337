"""Only two fresh readings with a probe between them speak for silence."""

from __future__ import annotations

from controller.ports import PortId
from controller.silence import CROSS_S, READ_S, SilenceWatch

PORT = PortId(1, 1)


def doubted() -> SilenceWatch:
    watch = SilenceWatch()
    watch.doubt(PORT, 10.0)
    return watch


def test_a_port_is_read_at_once_and_again_after_a_probe_had_time_to_cross() -> None:
    watch = doubted()
    assert watch.readings_due(10.0) == [PORT]
    assert watch.readings_due(10.1) == []
    watch.read(PORT, 5, 10.0, 10.1)
    assert watch.readings_due(10.0 + READ_S) == [], "nothing was sent since"
    watch.probed(PORT, 10.4)
    assert watch.readings_due(10.41 + CROSS_S) == [PORT]
    watch.read(PORT, 5, 10.51, 10.52)
    assert watch.is_still(PORT)


def test_a_question_without_an_answer_is_asked_again() -> None:
    watch = doubted()
    asked = [at / 10 for at in range(100, 130) if watch.readings_due(at / 10)]
    assert len(asked) >= 9


def test_two_readings_without_a_probe_between_them_prove_nothing() -> None:
    watch = doubted()
    watch.probed(PORT, 10.0)
    watch.read(PORT, 5, 10.0, 10.1)
    watch.read(PORT, 5, 11.0, 11.1)
    assert not watch.is_still(PORT)


def test_a_probe_that_may_still_be_on_its_way_proves_nothing() -> None:
    watch = doubted()
    watch.read(PORT, 5, 10.0, 10.1)
    watch.probed(PORT, 10.5)
    watch.read(PORT, 5, 10.5 + CROSS_S / 2, 10.6)
    assert not watch.is_still(PORT)


def test_a_counter_that_moves_makes_a_link_live_and_a_later_stop_counts_anew() -> None:
    watch = doubted()
    for at_s, packets in ((10.0, 5), (11.0, 6), (12.0, 2)):
        watch.read(PORT, packets, at_s, at_s)
        assert not watch.is_still(PORT)
        watch.probed(PORT, at_s + 0.1)
    watch.read(PORT, 2, 13.0, 13.0)
    assert watch.is_still(PORT)
    watch.read(PORT, 3, 14.0, 14.0)
    assert not watch.is_still(PORT)


def test_what_was_asked_before_the_doubt_does_not_count() -> None:
    watch = doubted()
    watch.read(PORT, 5, 9.9, 10.1)
    watch.probed(PORT, 10.2)
    watch.read(PORT, 5, 11.0, 11.0)
    assert not watch.is_still(PORT), "it is the first"


def test_a_port_that_is_trusted_again_is_forgotten() -> None:
    watch = doubted()
    watch.trust(PORT)
    watch.read(PORT, 5, 10.0, 10.1)
    watch.probed(PORT, 10.2)
    assert PORT not in watch
    assert watch.readings_due(20.0) == []
    assert not watch.is_still(PORT)
