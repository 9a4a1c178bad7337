from __future__ import annotations

from controller.backoff import FIRST_S, FORGIVEN_S, FREE_OFFENCES, LONGEST_S, Backoff


def test_the_first_offences_cost_nothing_and_each_further_one_twice_as_much_up_to_a_bound():
    backoff = Backoff()

    waits = [backoff.offended("peer", 0.0) for _ in range(FREE_OFFENCES + 8)]

    assert waits[:FREE_OFFENCES] == [0.0] * FREE_OFFENCES
    assert waits[FREE_OFFENCES : FREE_OFFENCES + 3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-1] == LONGEST_S


def test_a_peer_waits_only_as_long_as_it_was_told_and_others_do_not():
    backoff = Backoff()
    waits = [backoff.offended("bad", 10.0) for _ in range(FREE_OFFENCES + 2)]

    assert backoff.remaining_s("bad", 10.0) == waits[-1]
    assert backoff.remaining_s("bad", 10.0 + waits[-1]) == 0.0
    assert backoff.remaining_s("good", 10.0) == 0.0


def test_a_peer_that_behaved_for_a_while_starts_afresh():
    backoff = Backoff()
    for _ in range(FREE_OFFENCES + 4):
        backoff.offended("peer", 0.0)

    assert backoff.offended("peer", FORGIVEN_S + 1) == 0.0


def test_peers_without_end_take_no_memory_without_end():
    backoff = Backoff()
    for _ in range(FREE_OFFENCES + 1):
        backoff.offended("first", 0.0)

    for number in range(10_000):
        backoff.offended(number, 1.0)

    assert backoff.remaining_s("first", 0.0) == 0.0
    assert len(backoff) == 4096
