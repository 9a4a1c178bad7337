from collections.abc import Sequence
from itertools import pairwise
from random import Random

import networkx as nx
import pytest

from controller.service import PlannedPath, PlanStatus
from controller.shifting import capacities, moves
from dataplane.flips import Move
from topologies.fabric import LinkId
from topologies.fat_tree import fat_tree

FABRIC = fat_tree(4, capacity_bps=1e9, delay_s=1e-6)
_HOSTS = [host.id for host in FABRIC.hosts]
_ADDRESS = {host.id: host.ip or "" for host in FABRIC.hosts}
_PORT = {(link.source, link.target): link.id for link in FABRIC.links}


def path(source: str, target: str, core: int, rate_bps: float = 1e8, label: int = 16) -> PlannedPath:
    """The path between hosts in different pods by one of four cores."""
    ways = sorted(nx.all_shortest_paths(nx.Graph(FABRIC.graph), source, target))
    return PlannedPath("job", source, target, label, tuple(map(_PORT.__getitem__, pairwise(ways[core]))), rate_bps)


def plan(paths: Sequence[PlannedPath]) -> PlanStatus:
    return PlanStatus(1, 1, "min-max-utilisation", 1.0, 0.5, 0.5, 0.0, 0.5, 1.0, "pulp", "", tuple(paths))


def loads(found: Sequence[Move], *, after: bool) -> dict[LinkId, float]:
    total: dict[LinkId, float] = {}
    for move in found:
        for link, load_bps in (move.after if after else move.before).items():
            total[link] = total.get(link, 0.0) + load_bps
    return total


def test_plans_alike_move_nothing() -> None:
    one = [path("h1", "h5", 0), path("h2", "h9", 1)]
    assert moves(FABRIC, plan(one), plan(list(one))) == ()
    assert moves(FABRIC, None, None) == ()


def test_pairs_that_stay_are_one_move_with_the_smaller_rate_on_the_links_that_others_use() -> None:
    before = [path("h1", "h5", 0), path("h2", "h6", 1, 3e8), path("h3", "h9", 2)]
    after = [path("h1", "h5", 1), path("h2", "h6", 1, 2e8), path("h3", "h9", 2)]
    stays, moved = moves(FABRIC, plan(before), plan(after))
    shared = (set(after[0].links) | set(before[0].links)) & set(before[1].links)
    assert shared
    assert stays.before == stays.after == dict.fromkeys(shared, 2e8)
    assert moved.pair == (_ADDRESS["h1"], _ADDRESS["h5"])
    assert moved.before == dict.fromkeys(before[0].links, 1e8)
    assert moved.after == dict.fromkeys(after[0].links, 1e8)


def test_a_split_pair_moves_where_its_shares_change_and_stays_where_only_its_rate_does() -> None:
    before = [path("h1", "h5", 0, 6e8), path("h1", "h5", 1, 2e8)]
    slower = [path("h1", "h5", 0, 3e8), path("h1", "h5", 1, 1e8)]
    dealt_anew = [path("h1", "h5", 0, 4e8), path("h1", "h5", 1, 4e8)]
    assert moves(FABRIC, plan(before), plan(slower)) == ()
    assert len(moves(FABRIC, plan(before), plan(dealt_anew))) == 2


@pytest.mark.parametrize("seed", range(20))
def test_loads_are_those_of_the_plans_wherever_anything_moves(seed: int) -> None:
    random = Random(seed)
    pod = {host: number // 4 for number, host in enumerate(_HOSTS)}
    drawn_pairs = dict.fromkeys((random.choice(_HOSTS), random.choice(_HOSTS)) for _ in range(40))
    pairs = [pair for pair in drawn_pairs if pod[pair[0]] != pod[pair[1]]]

    def drawn(old: dict[tuple[str, str], PlannedPath]) -> list[PlannedPath]:
        chosen = random.sample(pairs, len(pairs) - 3)
        made = [path(*pair, random.randrange(4), random.choice((1e7, 2e7))) for pair in chosen]
        return [old.get((one.source, one.target), one) if random.random() < 0.6 else one for one in made]

    before = drawn({})
    after = drawn({(one.source, one.target): one for one in before})
    found = moves(FABRIC, plan(before), plan(after))
    old, new = ({(one.source, one.target): one for one in paths} for paths in (before, after))
    both = old.keys() & new.keys()
    stays = {pair for pair in both if old[pair].links == new[pair].links}
    assert {move.pair for move in found[1:]} == {
        (_ADDRESS[source], _ADDRESS[target]) for source, target in (old.keys() | new.keys()) - stays
    }
    used = {link for move in found[1:] for link in (*move.before, *move.after)}
    for side, paths in ((False, old), (True, new)):
        wanted = dict.fromkeys(used, 0.0)
        for pair, one in paths.items():
            rate_bps = min(old[pair].rate_bps, new[pair].rate_bps) if pair in stays else one.rate_bps
            for link in used.intersection(one.links):
                wanted[link] += rate_bps
        assert loads(found, after=side) == pytest.approx({link: load for link, load in wanted.items() if load})


def test_capacities_are_those_of_the_links_that_have_one() -> None:
    assert capacities(FABRIC) == dict.fromkeys(FABRIC.link_by_id, 1e9)
