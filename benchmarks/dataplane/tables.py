"""How many entries and groups a plan costs each switch, beside a rule for each pair on every hop; without switches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import inf

from benchmarks.dataplane.cases import Case, Setting, at_most, told
from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.labels import label_paths
from dataplane.rules import RuleSet
from solver.share import plan_pairs
from topologies.fabric import Fabric
from topologies.fat_tree import fat_tree

ROW = "tables"
_K, _QUICK_K = 8, 4
_GROUPS = 8
_TIERS = {3: "core", 2: "aggregation", 1: "edge"}


def row(setting: Setting) -> Iterator[Case]:
    """A ring over all hosts of a fat-tree; then all-to-all in groups of its hosts, where many paths share labels."""
    k = _QUICK_K if setting.quick else _K
    fabric = fat_tree(k, capacity_bps=10e9, delay_s=1e-6)
    hosts = [host.id for host in fabric.hosts]
    default = compile_rules(fabric, default=DefaultRouting.ECMP)
    ring = f"k={k}, ring over {len(hosts)} hosts"
    yield from _cases(fabric, ring, list(zip(hosts, hosts[1:] + hosts[:1], strict=True)), default)
    groups = [hosts[number::_GROUPS] for number in range(_GROUPS)]
    among = [(a, b) for group in groups for a in group for b in group if a != b]
    yield from _cases(fabric, f"k={k}, all-to-all in {_GROUPS} jobs of {len(groups[0])}", among, default)
    yield told(
        ROW, f"k={k}: entries of default routing, all switches",
        f"{_total(default):,}; a route to each host in each switch, IPv4 and ARP, {2 * len(hosts) * len(default):,}",
    )  # fmt: skip


def _cases(fabric: Fabric, name: str, pairs: Sequence[tuple[str, str]], default: RuleSet) -> Iterator[Case]:
    paths = _planned(fabric, pairs)
    rules = compile_rules(fabric, default=DefaultRouting.ECMP, paths=paths)
    through = paths_through(paths)
    yield told(ROW, f"{name}: planned paths, labels", f"{len(paths)}, {len({path.label for path in paths})}")
    for tier, called in _TIERS.items():
        switches = [node.id for node in fabric.switches if node.tier == tier]
        yield told(ROW, f"{name}: entries of each {called} switch", _entries(switches, rules, default, through))
        yield told(ROW, f"{name}: groups of each {called} switch", _groups(switches, rules, default))
    for what, (switch, each) in over(rules, default, through).items():
        note = f"worst is {switch}, {through[switch]} paths"
        yield at_most(ROW, f"{name}: {what} above those of default routing, for each path", each, 2, "", note)
    yield told(
        ROW, f"{name}: entries for planned paths, all switches",
        f"{_total(rules) - _total(default):,} with protection; by pair on every hop, without, {through.total():,}",
    )  # fmt: skip


def _planned(fabric: Fabric, pairs: Sequence[tuple[str, str]]) -> list[LabelledPath]:
    """The paths of the best plan, and for pairs that are planned one way only the way back."""
    ways = dict(zip(pairs, plan_pairs(fabric, pairs).paths, strict=True))
    for (source, target), path in list(ways.items()):
        ways.setdefault((target, source), tuple(fabric.link_by_id[link].reverse_id for link in reversed(path)))
    labels = label_paths([(*pair, path) for pair, path in ways.items()], {})
    return [LabelledPath(*pair, path, label) for (pair, path), label in zip(ways.items(), labels, strict=True)]


def _total(rules: RuleSet) -> int:
    return sum(len(own.flows) for own in rules.values())


def paths_through(paths: Sequence[LabelledPath]) -> Counter[str]:
    """How many planned paths cross each switch, ways back included."""
    return Counter(link.node for path in paths for link in path.links[1:])


def over(rules: RuleSet, default: RuleSet, through: Counter[str]) -> dict[str, tuple[str, float]]:
    """For entries and groups the switch where planned paths cost most, and how many each costs there."""
    costs = {
        "entries": {name: len(own.flows) - len(default[name].flows) for name, own in rules.items()},
        "groups": {name: len(own.groups) - len(default[name].groups) for name, own in rules.items()},
    }
    found = {}
    for what, cost in costs.items():
        each = {
            name: count / through[name] if through[name] else (inf if count > 0 else 0.0)
            for name, count in cost.items()
        }
        worst = max(each, key=lambda name: (each[name], name))
        found[what] = (worst, each[worst])
    return found


def _entries(switches: list[str], rules: RuleSet, default: RuleSet, through: Counter[str]) -> str:
    return (
        f"{_range(len(rules[name].flows) for name in switches)} "
        f"({_range(len(default[name].flows) for name in switches)} without the plan), "
        f"{_range(through[name] for name in switches)} paths through it"
    )


def _groups(switches: list[str], rules: RuleSet, default: RuleSet) -> str:
    return (
        f"{_range(len(rules[name].groups) for name in switches)} "
        f"({_range(len(default[name].groups) for name in switches)} without the plan)"
    )


def _range(numbers: Iterable[int]) -> str:
    found = sorted(numbers)
    low, high = found[0], found[-1]
    return str(low) if low == high else f"{low} to {high}"
