"""The row of tables is measured without switches, so it is run here; what it counts is counted by hand on one path."""

from benchmarks.dataplane import tables
from benchmarks.dataplane.cases import Setting
from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from topologies.fabric import LinkId
from topologies.fat_tree import fat_tree


def test_planned_paths_cost_each_switch_no_more_than_twice_their_number() -> None:
    cases = list(tables.row(Setting(quick=True)))
    judged = [case for case in cases if case.holds is not None]
    assert len(judged) == 4
    assert all(case.holds for case in judged)


def test_a_path_over_a_core_costs_it_a_rule_and_one_for_the_port_where_its_detour_begins() -> None:
    fabric = fat_tree(4, capacity_bps=1e7)
    links = tuple(map(LinkId.parse, ("h1:1", "e0-0:3", "a0-0:3", "c1:4", "a3-0:2", "e3-1:2")))
    paths = [LabelledPath("h1", "h16", links, 77)]
    default = compile_rules(fabric, default=DefaultRouting.ECMP)
    rules = compile_rules(fabric, default=DefaultRouting.ECMP, paths=paths)
    through = tables.paths_through(paths)
    assert through == {"e0-0": 1, "a0-0": 1, "c1": 1, "a3-0": 1, "e3-1": 1}
    assert tables.over(rules, default, through)["entries"][1] == 2
    assert len(rules["c1"].flows) - len(default["c1"].flows) == 2
