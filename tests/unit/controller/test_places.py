from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.places import Places

KNOWN = frozenset(range(1, 9))
arrivals = st.lists(st.tuples(st.integers(1, 200), st.sampled_from("abcd")), max_size=150)


def connected_after(places: Places, arriving: list[tuple[int, str]]) -> dict[int, str]:
    connected: dict[int, str] = {}
    for dpid, host in arriving:
        full = len(connected) >= places.total
        if dpid not in connected and not full and places.refusal(dpid, host, connected.items()) is None:
            connected[dpid] = host
    return connected


@given(arrivals)
def test_strangers_never_take_the_places_of_switches_that_are_known(arriving: list[tuple[int, str]]):
    places = Places(16, KNOWN)
    connected = connected_after(places, [(dpid + 8, host) for dpid, host in arriving])

    assert len(connected) <= 8
    for dpid in KNOWN:
        assert places.refusal(dpid, "a", connected.items()) is None


@given(arrivals)
def test_one_address_never_takes_more_than_half_of_the_places(arriving: list[tuple[int, str]]):
    places = Places(16, frozenset())
    connected = connected_after(places, [(dpid, "crowd") for dpid, _ in arriving])

    assert len(connected) <= 8
    assert places.refusal(1000, "elsewhere", connected.items()) is None


def test_known_switches_may_all_share_an_address():
    places = Places(8, KNOWN)

    assert connected_after(places, [(dpid, "nat") for dpid in KNOWN]) == dict.fromkeys(KNOWN, "nat")


def test_the_reason_says_what_there_is_too_much_of():
    places = Places(4, KNOWN)
    connected = [(100, "a"), (101, "a")]

    assert "an address that has 2 switches" in places.refusal(102, "a", connected)
    assert "not declared, and 2 such switches" in places.refusal(102, "b", connected)
