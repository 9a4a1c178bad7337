"""In the rounds that are found, no link gets more than it carries or than is said; if no order exists, that is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.flips import FlipOrder, Move, along, order_flips, overloads_while
from topologies.fabric import LinkId

A, B, C = (LinkId("s", port) for port in (1, 2, 3))
EXACT = 1 + 1e-6


def loads(moves: Sequence[Move], flipped: Sequence[bool]) -> dict[LinkId, float]:
    found: dict[LinkId, float] = {}
    for move, new in zip(moves, flipped, strict=True):
        for link, load in (move.after if new else move.before).items():
            found[link] = found.get(link, 0.0) + load
    return found


def moments(moves: Sequence[Move], order: FlipOrder) -> Iterator[dict[LinkId, float]]:
    """What links get at each moment: before and after a round all is settled, within it any part has flipped."""
    rounds = order.round_of
    for now in range(len(order.rounds)):
        choices = [
            (False, True) if rounds.get(move.pair) == now else (rounds.get(move.pair, now) < now,) for move in moves
        ]
        for flipped in product(*choices):
            yield loads(moves, flipped)


def limits(moves: Sequence[Move], capacities_bps: Mapping[LinkId, float]) -> dict[LinkId, float]:
    """What links carry, or what one of the plans puts on them."""
    plans = [loads(moves, [new] * len(moves)) for new in (False, True)]
    return {link: max(cap, *(plan.get(link, 0.0) for plan in plans)) for link, cap in capacities_bps.items()}


def an_order_exists(moves: Sequence[Move], capacities_bps: Mapping[LinkId, float]) -> bool:
    """Whether moves can flip one by one without overload, by looking at every state that can be reached."""
    most = limits(moves, capacities_bps)
    reached, fresh = set(), {tuple(False for _ in moves)}
    while fresh:
        reached |= fresh
        nexts = {(*state[:i], True, *state[i + 1 :]) for state in fresh for i in range(len(moves))} - reached
        fresh = {
            state
            for state in nexts
            if all(load <= most.get(link, load) * EXACT for link, load in loads(moves, state).items())
        }
    return tuple(True for _ in moves) in reached


def test_a_pair_waits_until_another_has_made_room() -> None:
    moves = [along("1", "9", 6.0, [A], [B]), along("2", "9", 6.0, [B], [C])]
    order = order_flips(moves, {A: 10.0, B: 10.0, C: 10.0})
    assert order == FlipOrder((frozenset({("2", "9")}), frozenset({("1", "9")})))


def test_pairs_that_contend_for_nothing_flip_at_once() -> None:
    moves = [along("1", "9", 4.0, [A], [B]), along("2", "9", 4.0, [B], [C])]
    assert order_flips(moves, {A: 10.0, B: 10.0, C: 10.0}).rounds == (frozenset({("1", "9"), ("2", "9")}),)


def test_two_pairs_that_change_places_on_full_links_have_no_order_and_it_is_said_what_they_may_get() -> None:
    moves = [along("1", "9", 8.0, [A], [B]), along("2", "9", 8.0, [B], [A])]
    order = order_flips(moves, {A: 10.0, B: 10.0})
    assert order.proven
    assert [(over.link, over.load_bps, over.capacity_bps) for over in order.overloads] == [
        (A, 16.0, 10.0),
        (B, 16.0, 10.0),
    ]
    assert len(order.rounds) == 1


def test_room_on_a_third_link_breaks_a_circle_one_pair_at_a_time() -> None:
    # 1 and 2 change places; 3 leaves one of the links, and then there is room for one of the two, then for the other.
    moves = [
        along("1", "9", 4.0, [A], [B]),
        along("2", "9", 4.0, [B], [A]),
        along("3", "9", 5.0, [B], [C]),
        along("4", "9", 5.0, [A], [A]),
    ]
    order = order_flips(moves, {A: 10.0, B: 10.0, C: 10.0})
    assert [sorted(pairs) for pairs in order.rounds] == [[("3", "9")], [("1", "9")], [("2", "9")]]
    assert not order.overloads


def test_no_order_is_claimed_not_to_exist_where_it_was_not_searched_for() -> None:
    moves = [along("1", "9", 8.0, [A], [B]), along("2", "9", 8.0, [B], [A])]
    order = order_flips(moves, {A: 10.0, B: 10.0}, searched=1)
    assert not order.proven
    assert order.overloads


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Move], dict[LinkId, float]]:
    """Up to six pairs on up to four links that are nearly full, some split, some new, some gone."""
    links = [LinkId("s", port) for port in range(1, draw(st.integers(2, 4)) + 1)]
    sides = st.dictionaries(st.sampled_from(links), st.integers(1, 6).map(float), max_size=2)
    moves = [Move(str(number), "9", draw(sides), draw(sides)) for number in range(draw(st.integers(1, 6)))]
    return moves, {link: float(draw(st.integers(4, 14))) for link in links if draw(st.integers(0, 5))}


@given(cases())
@settings(max_examples=150)
@example(([along("1", "9", 8.0, [A], [B]), along("2", "9", 8.0, [B], [A])], {A: 10.0, B: 10.0}))
def test_at_no_moment_does_a_link_get_more_than_it_carries_or_than_is_said(
    case: tuple[list[Move], dict[LinkId, float]],
) -> None:
    moves, capacities_bps = case
    order = order_flips(moves, capacities_bps)
    most = limits(moves, capacities_bps)
    for over in order.overloads:
        most[over.link] = max(most[over.link], over.load_bps)
    for now in moments(moves, order):
        for link, load in now.items():
            assert load <= most.get(link, load) * EXACT
    moving = {move.pair for move in moves if move.before != move.after}
    assert sum(map(len, order.rounds)) == len(moving)
    assert set().union(*order.rounds) == moving


@given(cases())
@settings(max_examples=150)
def test_an_order_is_found_exactly_where_one_exists(case: tuple[list[Move], dict[LinkId, float]]) -> None:
    moves, capacities_bps = case
    order = order_flips(moves, capacities_bps)
    assert order.proven
    assert (not order.overloads) is an_order_exists(moves, capacities_bps)


@given(cases(), st.randoms(use_true_random=False))
def test_what_may_be_too_much_meanwhile_is_the_worst_that_unknown_pairs_can_do(
    case: tuple[list[Move], dict[LinkId, float]], random: Random
) -> None:
    moves, capacities_bps = case
    settled = {move.pair: random.choice((True, False, None)) for move in moves}
    said = {over.link: over.load_bps for over in overloads_while(moves, capacities_bps, settled.__getitem__)}
    choices = [(False, True) if settled[move.pair] is None else (settled[move.pair],) for move in moves]
    worst: dict[LinkId, float] = {}
    for flipped in product(*choices):
        for link, load in loads(moves, flipped).items():
            worst[link] = max(worst.get(link, 0.0), load)
    most = limits(moves, capacities_bps)
    assert said == {link: pytest.approx(load) for link, load in worst.items() if load > most.get(link, load) * EXACT}
