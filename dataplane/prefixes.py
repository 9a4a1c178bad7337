"""Addresses summed up in prefixes: which leaf each address belongs to, and the fewest rules that say so.

Every address of the covering prefix belongs to one leaf, known host there or not, and all switches agree on it. So
whatever a switch makes of the blocks, a packet to an address that nobody has goes the way of its neighbours to one
leaf, and ends there; it cannot go round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

_BITS = 32


@dataclass(frozen=True, slots=True)
class Block:
    """A prefix and what belongs to it: all of it to one leaf, or two halves.

    Attributes
    ----------
    value : int
        The address, the bits behind the prefix 0.
    length : int
        Bits of the prefix, 1 to 32.
    owner : int
        The leaf, where it is one for all; -1 else.
    halves : tuple of Block
        Two, or none where there is one owner.
    owners : int
        All leaves that some of it belongs to, as bits.
    """

    value: int
    length: int
    owner: int
    halves: tuple[Block, ...] = ()
    owners: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        owners = 0 if self.halves else 1 << self.owner
        for half in self.halves:
            owners |= half.owners
        object.__setattr__(self, "owners", owners)

    def __str__(self) -> str:
        address = str(IPv4Address(self.value))
        return address if self.length == _BITS else f"{address}/{self.length}"


def blocks(hosts: Mapping[int, int]) -> tuple[Block, ...]:
    """The blocks that all hosts are in: one, or two where their addresses agree in no bit.

    Parameters
    ----------
    hosts : mapping of int to int
        Leaf by address.
    """
    if not hosts:
        return ()
    known = sorted(hosts.items())
    length = _BITS - (known[0][0] ^ known[-1][0]).bit_length()
    value = known[0][0] >> (_BITS - length) << (_BITS - length)
    block = _block(known, value, length)
    if length == 0:
        return block.halves or _halved(block)
    return (block,)


def _halved(block: Block) -> tuple[Block, ...]:
    return tuple(Block(half << (_BITS - 1), 1, block.owner) for half in (0, 1))


def _block(known: Sequence[tuple[int, int]], value: int, length: int) -> Block:
    """The block of these hosts; an empty half belongs to the leaf of the host next to it."""
    first, last = known[0][1], known[-1][1]
    if first == last and all(leaf == first for _, leaf in known):
        return Block(value, length, first)
    below = 1 << (_BITS - length - 1)
    middle = value | below
    low = [host for host in known if host[0] < middle]
    high = known[len(low) :]
    halves = (
        _block(low, value, length + 1) if low else Block(value, length + 1, first),
        _block(high, middle, length + 1) if high else Block(middle, length + 1, last),
    )
    return Block(value, length, -1, halves)


def fewest(block: Block, choices: Sequence[int]) -> Iterator[tuple[Block, int]]:
    """The fewest prefixes, longest match first, that give every address the choice of its leaf.

    Draves, King, Venkatachary and Zill, "Constructing optimal IP routing tables", INFOCOM 1999.

    Parameters
    ----------
    choices : sequence of int
        A number from 0 for each leaf.
    """
    possible: dict[int, int] = {}
    _find_possible(block, choices, possible)
    stack = [(block, -1)]
    while stack:
        at, inherited = stack.pop()
        mask = possible[id(at)]
        if inherited < 0 or not mask >> inherited & 1:
            inherited = (mask & -mask).bit_length() - 1
            yield at, inherited
        stack += ((half, inherited) for half in reversed(at.halves))


def _find_possible(block: Block, choices: Sequence[int], possible: dict[int, int]) -> int:
    """The choices that cost a block no more rules than any other, as bits."""
    if not block.halves:
        mask = 1 << choices[block.owner]
    else:
        one, other = (_find_possible(half, choices, possible) for half in block.halves)
        mask = one & other or one | other
    possible[id(block)] = mask
    return mask


def exactly(block: Block, choices: Mapping[int, int]) -> Iterator[tuple[Block, int]]:
    """Prefixes for the addresses of the leaves named, and no others: the fewest that do not overlap."""
    found: list[tuple[Block, int]] = []
    wanted = sum(1 << leaf for leaf in choices)
    whole = _cover(block, choices, wanted, found)
    if whole is not None:
        found.append((block, whole))
    yield from found


def _cover(block: Block, choices: Mapping[int, int], wanted: int, found: list[tuple[Block, int]]) -> int | None:
    """The choice of a whole block; where it has none, that of its halves is put among what was found."""
    if not block.owners & wanted:
        return None
    if not block.halves:
        return choices.get(block.owner)
    one, other = (_cover(half, choices, wanted, found) for half in block.halves)
    if one is not None and one == other:
        return one
    found += ((half, choice) for half, choice in zip(block.halves, (one, other), strict=True) if choice is not None)
    return None
