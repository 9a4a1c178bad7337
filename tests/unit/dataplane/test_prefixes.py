"""Prefixes decide for every address as its leaf does, and no table with fewer of them could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.prefixes import Block, blocks, exactly, fewest

_BASE = 10 << 24
_BITS = 32


def universe(block: Block) -> range:
    return range(block.value, block.value + (1 << (_BITS - block.length)))


def owner(block: Block, address: int) -> int:
    while block.halves:
        block = block.halves[address >> (_BITS - block.length - 1) & 1]
    return block.owner


def decided(table: Sequence[tuple[Block, int]], address: int) -> int | None:
    """The choice of the longest prefix that covers an address."""
    covering = [(block.length, choice) for block, choice in table if address in universe(block)]
    return max(covering)[1] if covering else None


def hosts(bits: int) -> st.SearchStrategy[dict[int, int]]:
    """Leaf by address; addresses differ in their last bits only."""
    offsets = st.integers(0, (1 << bits) - 1)
    return st.dictionaries(offsets.map(lambda offset: _BASE + offset), st.integers(0, 4), min_size=1)


CHOICES = st.lists(st.integers(0, 2), min_size=5, max_size=5)


@given(hosts(6))
def test_every_known_host_belongs_to_its_leaf_and_every_other_address_to_some_leaf(known: dict[int, int]) -> None:
    (root,) = blocks(known)
    assert {address: owner(root, address) for address in known} == known
    assert {owner(root, address) for address in universe(root)} <= set(known.values())
    assert all(address in universe(root) for address in known)


@given(hosts(6), CHOICES)
@settings(max_examples=200)
def test_the_longest_prefix_decides_as_the_leaf_of_every_address_does(
    known: dict[int, int], choices: list[int]
) -> None:
    (root,) = blocks(known)
    table = list(fewest(root, choices))
    assert all(decided(table, address) == choices[owner(root, address)] for address in universe(root))
    assert len({block for block, _ in table}) == len(table) <= leaf_blocks(root)


def leaf_blocks(block: Block) -> int:
    return sum(map(leaf_blocks, block.halves)) if block.halves else 1


@given(hosts(3), CHOICES)
@settings(max_examples=60, deadline=None)
def test_no_table_with_fewer_prefixes_decides_the_same(known: dict[int, int], choices: list[int]) -> None:
    """All smaller tables are tried."""
    (root,) = blocks(known)
    wanted = {address: choices[owner(root, address)] for address in universe(root)}
    places = [
        Block(root.value | number << (_BITS - length), length, 0)
        for length in range(root.length, _BITS + 1)
        for number in range(1 << (length - root.length))
    ]
    size = len(list(fewest(root, choices)))
    for smaller in range(1, min(size, 4)):
        for chosen in combinations(places, smaller):
            for values in product(sorted(set(wanted.values())), repeat=smaller):
                table = list(zip(chosen, values, strict=True))
                assert any(decided(table, address) != choice for address, choice in wanted.items())


def test_an_exception_in_the_middle_costs_one_prefix() -> None:
    """Eight leaves of which one is reached another way: two prefixes, where runs would need four."""
    (root,) = blocks({_BASE + offset: offset for offset in range(8)})
    table = list(fewest(root, [0, 0, 1, 0, 0, 0, 0, 0]))
    assert [(str(block), choice) for block, choice in table] == [("10.0.0.0/29", 0), ("10.0.0.2", 1)]


def test_a_choice_that_both_halves_can_have_is_that_of_the_whole() -> None:
    """Halves {1, 2} and {2, 3}: what they share is put above, so three prefixes do (section 3 of the paper)."""
    (root,) = blocks({_BASE + offset: offset for offset in range(4)})
    table = {str(block): choice for block, choice in fewest(root, [1, 2, 2, 3])}
    assert table == {"10.0.0.0/30": 2, "10.0.0.0": 1, "10.0.0.3": 3}


@given(hosts(6), st.dictionaries(st.integers(0, 4), st.integers(0, 2)))
@settings(max_examples=200)
def test_exact_prefixes_cover_the_addresses_of_the_leaves_named_once_and_no_others(
    known: dict[int, int], choices: dict[int, int]
) -> None:
    (root,) = blocks(known)
    table = list(exactly(root, choices))
    for address in universe(root):
        covering = [choice for block, choice in table if address in universe(block)]
        wanted = choices.get(owner(root, address))
        assert covering == ([] if wanted is None else [wanted])
    assert not mergeable(table)


def mergeable(table: Sequence[tuple[Block, int]]) -> bool:
    """Whether two of the prefixes are the halves of one with the same choice."""
    found: Mapping[tuple[int, int], int] = {(block.value, block.length): choice for block, choice in table}
    return any(
        found.get((value ^ 1 << (_BITS - length), length)) == choice for (value, length), choice in found.items()
    )


def test_no_hosts_have_no_blocks() -> None:
    assert blocks({}) == ()


def test_addresses_that_agree_in_no_bit_have_two_blocks() -> None:
    """A prefix of no bits would be no prefix."""
    assert [str(block) for block in blocks({1: 0, 1 << 31: 1})] == ["0.0.0.0/1", "128.0.0.0/1"]
    assert [block.owner for block in blocks({1: 7, 1 << 31: 7})] == [7, 7]
