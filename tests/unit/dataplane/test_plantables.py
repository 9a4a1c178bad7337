from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import networkx as nx
import pytest

from dataplane.compiler import DefaultRouting, TableCompiler, compile_rules
from dataplane.labels import label_paths
from dataplane.planned import LabelledPath
from solver.routing import Path
from topologies.errors import InputError
from topologies.fabric import LinkId
from topologies.fat_tree import fat_tree

K4 = fat_tree(4, capacity_bps=1e9, delay_s=1e-6)
_HOSTS = [host.id for host in K4.hosts]
_SPLITS = ((0.5, 0.5), (0.75, 0.25), (0.5, 0.25, 0.25))


def _shortest(source: str, target: str) -> list[Path]:
    """All hop-shortest paths, cable by cable."""
    port = {(link.source, link.target): LinkId(link.source, link.source_port) for link in K4.links}
    nodes = nx.all_shortest_paths(nx.Graph(K4.graph), source, target)
    return sorted(tuple(port[step] for step in pairwise(way)) for way in nodes)


def _other_plan(random: Random, before: Sequence[LabelledPath]) -> list[LabelledPath]:
    """A plan that keeps most of another one's pairs, with splits and caps here and there."""
    pairs: dict[tuple[str, str], list[LabelledPath]] = {}
    pairs |= {(path.source, path.target): [] for path in before if random.random() < 0.8}
    for path in before:
        if (path.source, path.target) in pairs:
            pairs[path.source, path.target].append(path)
    for _ in range(random.randrange(6)):
        source, target = random.sample(_HOSTS, 2)
        ways = _shortest(source, target)
        cap_bps = random.choice((None, None, 2e8, 5e8))
        shares = random.choice([(1.0,), (1.0,), *(split for split in _SPLITS if len(split) <= len(ways))])
        pairs[source, target] = [
            LabelledPath(source, target, way, 0, share, 64, cap_bps)
            for way, share in zip(random.sample(ways, len(shares)), shares, strict=True)
        ]
    wanted = [path for together in pairs.values() for path in together]
    random.shuffle(wanted)
    in_force = {(path.source, path.target, path.links): path.label for path in before}
    labels = label_paths([(path.source, path.target, path.links) for path in wanted], in_force)
    return [replace(path, label=label) for path, label in zip(wanted, labels, strict=True)]


@pytest.mark.parametrize("seed", range(10))
def test_plan_after_plan_has_the_rules_that_it_has_alone(seed: int) -> None:
    random = Random(seed)
    compiler = TableCompiler(K4, DefaultRouting.ECMP)
    paths: list[LabelledPath] = []
    for _ in range(12):
        paths = _other_plan(random, paths)
        assert compiler.compile(paths).rules == compile_rules(K4, default=DefaultRouting.ECMP, paths=paths)
    assert compiler.compile().rules == compile_rules(K4, default=DefaultRouting.ECMP)


def test_switches_in_which_nothing_changes_keep_the_same_rules() -> None:
    compiler = TableCompiler(K4, DefaultRouting.ECMP)
    first, second = (LabelledPath("h1", "h5", way, 16) for way in _shortest("h1", "h5")[:2])
    other = LabelledPath("h16", "h9", _shortest("h16", "h9")[0], 17)
    before = compiler.compile([first, other]).rules
    after = compiler.compile([second, other]).rules
    touched = {link.node for path in (first, second) for link in path.links[1:]}
    changed = {name for name in before if before[name] is not after[name]}
    assert {name for name in before if before[name] != after[name]} == changed
    assert changed <= touched


def test_a_refused_plan_leaves_the_next_one_right() -> None:
    compiler = TableCompiler(K4, DefaultRouting.ECMP)
    good = [LabelledPath("h1", "h5", _shortest("h1", "h5")[0], 16, rate_cap_bps=1e8)]
    compiler.compile(good)
    broken = LabelledPath("h1", "h9", good[0].links, 17)
    clashing = LabelledPath("h2", "h9", _shortest("h2", "h9")[0], 16)
    for bad in (broken, clashing):
        with pytest.raises(InputError):
            compiler.compile([*good, bad])
        assert compiler.compile(good).rules == compile_rules(K4, default=DefaultRouting.ECMP, paths=good)
