"""Any run of source ports is dealt to the paths as their shares say; what cannot be is refused with the numbers."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.rules import Masked
from dataplane.splits import TOLERANCE, SplitRefused, apportion, deal_buckets, deal_ports
from dataplane.spread import BUCKETS


def owners(port: int, blocks: tuple[tuple[Masked, ...], ...]) -> list[int]:
    """The paths that a source port takes."""
    return [path for path, some in enumerate(blocks) for block in some if port & block.mask == block.value]


def shares() -> st.SearchStrategy[tuple[float, ...]]:
    """Some parts of a whole, none very small."""
    parts = st.lists(st.integers(1, 8), min_size=2, max_size=5)
    return parts.map(lambda some: tuple(part / sum(some) for part in some))


@given(shares(), st.integers(1, 512), st.integers(0, 1), st.integers(0, 60_000))
@settings(max_examples=80, deadline=None)
def test_any_run_of_ports_puts_on_each_path_its_share_within_the_tolerance(
    wanted: tuple[float, ...], flows: int, first_bit: int, first_port: int
) -> None:
    try:
        dealt = deal_ports(wanted, flows, first_bit)
    except SplitRefused as refused:
        off = max(abs(part - share) / share for part, share in zip(refused.closest, wanted, strict=True))
        assert off > TOLERANCE
        return
    ports = range(first_port, first_port + (flows << first_bit), 1 << first_bit)
    taken = Counter[int]()
    for port in ports:
        (owner,) = owners(port % 65_536, dealt.blocks)
        taken[owner] += 1
    for path, share in enumerate(wanted):
        assert abs(taken[path] / flows - share) <= (dealt.worst + 1e-6) * share <= (TOLERANCE + 2e-6) * share


@given(shares(), st.integers(0, 1))
@settings(max_examples=20, deadline=None)
def test_every_port_takes_one_path_by_masks_that_a_switch_takes(wanted: tuple[float, ...], first_bit: int) -> None:
    dealt = deal_ports(wanted, 65_536 >> first_bit, first_bit)
    assert all(len(owners(port, dealt.blocks)) == 1 for port in range(1024))
    for block in (block for some in dealt.blocks for block in some):
        assert 0 < block.mask < 0xFFFF
        assert not block.value & ~block.mask
    assert all(len(some) <= 2 * 10 for some in dealt.blocks)


@pytest.mark.parametrize("paths", [2, 4, 8])
def test_ports_that_follow_each_other_take_the_paths_in_turn(paths: int) -> None:
    dealt = deal_ports((1 / paths,) * paths, 2 * paths)
    taken = [owners(port, dealt.blocks)[0] for port in range(49_152, 49_152 + 2 * paths)]
    assert taken[:paths] == taken[paths:]
    assert sorted(taken[:paths]) == list(range(paths))
    assert all(len(some) == 1 for some in dealt.blocks)


def test_one_flow_is_not_split() -> None:
    with pytest.raises(SplitRefused, match=r"a split of 50 : 50 % is not possible: one flow takes one path"):
        deal_ports((0.5, 0.5), 1)


def test_shares_that_the_flows_do_not_come_to_are_refused_with_the_numbers() -> None:
    with pytest.raises(SplitRefused, match=r"37 : 63 % .* 4 flows come to 25 : 75 at best, and 5 % of each") as caught:
        deal_ports((0.37, 0.63), 4)
    assert caught.value.closest == (0.25, 0.75)
    assert deal_ports((0.37, 0.63), 64).worst < TOLERANCE


def test_few_flows_hold_shares_in_multiples_of_a_flow() -> None:
    assert deal_ports((0.25, 0.75), 4).worst == 0
    with pytest.raises(SplitRefused):
        deal_ports((0.25, 0.75), 2)


@given(shares(), st.integers(1, 500))
def test_seats_are_all_given_and_none_is_a_whole_one_off(wanted: tuple[float, ...], seats: int) -> None:
    given_out = apportion(wanted, seats)
    assert sum(given_out) == seats
    assert all(abs(count - share * seats) < 1 + 1e-9 for count, share in zip(given_out, wanted, strict=True))


@given(shares(), st.integers(1_000, 50_000), st.integers(0, 1 << 32))
@settings(max_examples=30, deadline=None)
def test_where_a_hash_is_said_to_hold_the_shares_it_nearly_always_does(
    wanted: tuple[float, ...], flows: int, seed: int
) -> None:
    buckets = deal_buckets(wanted, flows)
    if buckets is None:
        return
    assert sum(buckets) == BUCKETS
    source, kept = random.Random(seed), 0
    for _ in range(20):
        drawn = Counter(source.choices(range(len(buckets)), weights=buckets, k=flows))
        kept += all(abs(drawn[path] / flows - share) <= TOLERANCE * share for path, share in enumerate(wanted))
    assert kept >= 16


def test_a_hash_over_few_flows_is_not_trusted() -> None:
    assert deal_buckets((0.5, 0.5), 64) is None
    assert deal_buckets((0.5, 0.5), 2_000) is None
    assert deal_buckets((0.5, 0.5), 4_000) == (32, 32)
