"""The addresses that no rule tells apart, and sets of them as the bits of one number.

Prefixes cut the address space into intervals; whatever holds for one address of an interval holds for all. A set of
intervals is an integer, so that one machine operation speaks of them all (atomic predicates; Yang and Lam, "Real-time
verification of network properties using atomic predicates", ICNP 2013).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from ipaddress import IPv4Address

from dataplane.matching import prefix_range
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4

_END = 1 << 32


def cuts(prefix: str) -> tuple[int, int]:
    """Where the interval of a prefix or address begins, and where what follows it does."""
    start, size = prefix_range(prefix)
    return start, start + size


class AddressSpace:
    """All destinations of packets: those of IPv4, and those that ARP asks for.

    Attributes
    ----------
    cuts : frozenset of int
        Where intervals begin.
    ipv4, arp, everything : int
        All intervals as destinations of either kind, and both.
    """

    def __init__(self, cuts: frozenset[int]) -> None:
        self.cuts = cuts
        self._starts = sorted((cuts | {0}) - {_END})
        self._count = len(self._starts)
        self.ipv4 = (1 << self._count) - 1
        self.arp = self.ipv4 << self._count
        self.everything = self.ipv4 | self.arp
        self._known: dict[str, int] = {}

    def all_of(self, eth_type: int) -> int:
        """All destinations of an Ethernet type."""
        return self.ipv4 if eth_type == ETH_TYPE_IPV4 else self.arp

    def of(self, eth_type: int, prefix: str) -> int:
        """The destinations in a prefix whose bounds are among the cuts."""
        known = self._known.get(prefix)
        if known is None:
            start, end = (bisect_left(self._starts, cut) for cut in cuts(prefix))
            known = self._known[prefix] = (1 << end) - (1 << start)
        return known if eth_type == ETH_TYPE_IPV4 else known << self._count

    def both(self, address: str) -> int:
        """An address as destination of IPv4 and of ARP."""
        return self.of(ETH_TYPE_IPV4, address) | self.of(ETH_TYPE_ARP, address)

    def samples(self, atoms: int) -> Iterator[tuple[int, str]]:
        """Ethernet type and first address of each interval in a set."""
        while atoms:
            place = (atoms & -atoms).bit_length() - 1
            atoms &= atoms - 1
            is_ipv4 = place < self._count
            address = str(IPv4Address(self._starts[place if is_ipv4 else place - self._count]))
            yield (ETH_TYPE_IPV4 if is_ipv4 else ETH_TYPE_ARP), address
