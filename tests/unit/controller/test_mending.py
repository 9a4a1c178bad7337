"""Pairs that lost links get other paths at once, within what links carry; all others stay as they were."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.mending import certificate_of, fitting_rates, mended_paths, worst_utilisation
from solver.demand import Demand
from solver.errors import CertificateError
from solver.routing import Objective, Path
from topologies.access import line_rate_bps
from topologies.errors import InputError
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree
from topologies.shortest import distances, next_hops

FABRIC = fat_tree(4, capacity_bps=1e9, delay_s=1e-6)
HOSTS = [host.id for host in FABRIC.hosts]
BETWEEN = [
    link
    for link in FABRIC.links
    if link.source not in FABRIC.access_links and link.target not in FABRIC.access_links and link.source < link.target
]
PAIRS = st.lists(st.permutations(HOSTS).map(lambda hosts: (hosts[0], hosts[1])), min_size=1, max_size=12, unique=True)


def first_path(fabric: Fabric, source: str, target: str) -> Path:
    hops, path, at = next_hops(fabric, target), [], source
    while at != target:
        path.append(hops[at][0])
        at = fabric.link_by_id[path[-1]].target
    return tuple(path)


def without(links: list) -> Fabric:
    return FABRIC.without_links([end for link in links for end in (link.id, link.reverse_id)])


@st.composite
def outages(draw: st.DrawFn) -> tuple[Fabric, list[tuple[str, str]], list[Path], list[float]]:
    """A fabric without some cables, and pairs whose paths may have led over these."""
    pairs = draw(PAIRS)
    fabric = without(draw(st.lists(st.sampled_from(BETWEEN), min_size=1, max_size=4, unique=True)))
    assume(all(source in distances(fabric, target) for source, target in pairs))
    paths = [first_path(FABRIC, *pair) for pair in pairs]
    rates_bps = draw(st.lists(st.floats(1e6, 1e9), min_size=len(pairs), max_size=len(pairs)))
    return fabric, pairs, paths, rates_bps


def living(fabric: Fabric, paths: list[Path]) -> list[Path]:
    return [path if all(link in fabric.link_by_id for link in path) else () for path in paths]


@given(outages())
def test_paths_that_live_stay_and_the_others_become_shortest_ones(outage) -> None:
    fabric, pairs, paths, rates_bps = outage
    former = living(fabric, paths)
    for pair, had, path in zip(pairs, former, mended_paths(fabric, pairs, former, rates_bps), strict=True):
        if had:
            assert path == had
        ends = [fabric.link_by_id[link] for link in path]
        assert (ends[0].source, ends[-1].target) == pair
        assert all(one.target == following.source for one, following in itertools.pairwise(ends))
        if not had:
            assert len(path) == distances(fabric, pair[1])[pair[0]]


@given(outages(), st.floats(0.3, 1.0))
def test_rates_fit_their_paths_and_nobody_gets_more_than_was_asked(outage, max_utilisation: float) -> None:
    fabric, pairs, paths, asked = outage
    mended = mended_paths(fabric, pairs, living(fabric, paths), asked)
    rates_bps, worst = fitting_rates(fabric, mended, asked, max_utilisation)
    assert worst <= max_utilisation * (1 + 1e-6)
    assert worst == pytest.approx(worst_utilisation(fabric, mended, rates_bps))
    assert all(0 < rate <= most * (1 + 1e-9) for rate, most in zip(rates_bps, asked, strict=True))
    if worst_utilisation(fabric, mended, asked) <= max_utilisation:
        assert rates_bps == asked


@given(outages(), st.sampled_from([Objective.MIN_DELAY, Objective.MAX_CONCURRENT_FLOW, Objective.MAX_MIN_FAIR]))
def test_what_is_mended_is_certified_beside_a_bound(outage, objective: Objective) -> None:
    fabric, pairs, paths, asked = outage
    mended = mended_paths(fabric, pairs, living(fabric, paths), asked)
    rates_bps, _ = fitting_rates(fabric, mended, asked, 0.95)
    lines = [Demand(*pair, line_rate_bps(fabric, *pair)) for pair in pairs]
    proof = certificate_of(fabric, lines, mended, rates_bps, objective)
    if objective is Objective.MIN_DELAY:
        delays_s = [sum(fabric.link_by_id[link].delay_s or 0.0 for link in path) for path in mended]
        assert proof.value == pytest.approx(sum(rate * delay for rate, delay in zip(rates_bps, delays_s, strict=True)))
        assert proof.bound <= proof.value * (1 + 1e-6)
    else:
        shares = [rate / line.rate_bps for rate, line in zip(rates_bps, lines, strict=True)]
        assert proof.value == pytest.approx(min(shares))
        assert proof.bound >= proof.value * (1 - 1e-6)


def test_pairs_that_move_spread_over_what_is_left() -> None:
    # Two hosts of one edge switch lost the same uplink's way: with two ways left each gets one.
    pairs = [("h1", "h9"), ("h1", "h10"), ("h2", "h13"), ("h2", "h14")]
    found = mended_paths(FABRIC, pairs, [()] * 4, [2e8] * 4)
    uplinks = [path[1] for path in found]
    assert {uplinks.count(link) for link in uplinks} == {2}


def test_an_overload_is_not_certified() -> None:
    paths = [first_path(FABRIC, "h1", "h5"), first_path(FABRIC, "h2", "h5")]
    lines = [Demand("h1", "h5", 1e9), Demand("h2", "h5", 1e9)]
    with pytest.raises(CertificateError, match="overloads a link"):
        certificate_of(FABRIC, lines, paths, [1e9, 1e9], Objective.MIN_DELAY)


def test_a_pair_that_is_cut_off_is_said() -> None:
    alone = FABRIC.without_links(link.id for link in FABRIC.links if "e0-0" in (link.source, link.target))
    with pytest.raises(InputError, match="no path that takes new rules leads from h1 to h5"):
        mended_paths(alone, [("h1", "h5")], [()], [1e9])
    assert LinkId("e0-0", 1) not in alone.link_by_id
