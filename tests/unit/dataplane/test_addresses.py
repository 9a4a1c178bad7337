"""Addresses in intervals: sets of them are what the prefixes say."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from dataplane.addresses import AddressSpace, cuts
from dataplane.rules import ETH_TYPE_ARP, ETH_TYPE_IPV4

ADDRESSES = st.integers(0, (1 << 32) - 1).map(lambda number: str(IPv4Address(number)))
PREFIXES = st.one_of(
    ADDRESSES,
    st.tuples(ADDRESSES, st.integers(1, 31)).map(lambda drawn: str(IPv4Network(drawn, strict=False))),
)

FIRST = str(IPv4Address(0))


def space_of(prefixes: list[str]) -> AddressSpace:
    return AddressSpace(frozenset(cut for prefix in prefixes for cut in cuts(prefix)))


def holds(prefix: str, address: str) -> bool:
    return IPv4Address(address) in IPv4Network(prefix)


@given(st.lists(PREFIXES, min_size=1, max_size=8), st.data())
def test_every_address_is_in_the_interval_of_its_sample_and_in_the_same_prefixes(
    prefixes: list[str], data: st.DataObject
) -> None:
    space = space_of(prefixes)
    samples = [
        IPv4Address(address) for eth_type, address in space.samples(space.everything) if eth_type == ETH_TYPE_IPV4
    ]
    address = data.draw(ADDRESSES)
    sample = str(max(first for first in samples if first <= IPv4Address(address)))
    for prefix in prefixes:
        assert holds(prefix, address) == holds(prefix, sample)


@given(st.lists(PREFIXES, min_size=1, max_size=8))
def test_a_set_of_a_prefix_has_the_samples_that_are_in_it(prefixes: list[str]) -> None:
    space = space_of(prefixes)
    for eth_type in (ETH_TYPE_IPV4, ETH_TYPE_ARP):
        every = list(space.samples(space.all_of(eth_type)))
        assert {kind for kind, _ in every} == {eth_type}
        for prefix in prefixes:
            inside = set(space.samples(space.of(eth_type, prefix)))
            assert inside == {(kind, address) for kind, address in every if holds(prefix, address)}


def test_ipv4_and_arp_are_apart() -> None:
    space = space_of(["10.0.0.0/8", "10.1.2.3"])
    assert space.ipv4 & space.arp == 0
    assert space.ipv4 | space.arp == space.everything
    both = space.both("10.1.2.3")
    assert sorted(space.samples(both)) == [(ETH_TYPE_IPV4, "10.1.2.3"), (ETH_TYPE_ARP, "10.1.2.3")]


def test_the_last_and_the_first_address_are_intervals_like_others() -> None:
    space = space_of([FIRST, "255.255.255.255", "128.0.0.0/1"])
    ipv4 = [address for eth_type, address in space.samples(space.everything) if eth_type == ETH_TYPE_IPV4]
    assert ipv4 == [FIRST, "0.0.0.1", "128.0.0.0", "255.255.255.255"]
