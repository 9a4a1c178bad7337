"""Where nothing is forwarded yet, the order of changes is the one that looking at every destination would give."""

import pytest

from dataplane import order
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.update import StageKind, schedule
from topologies.fabric import Fabric, Node, NodeKind
from topologies.fat_tree import fat_tree


@pytest.mark.parametrize("routing", DefaultRouting)
def test_at_a_start_everything_comes_in_one_round_as_it_would_by_looking_at_each_destination(
    routing: DefaultRouting, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = fat_tree(4, capacity_bps=1e9)
    new = compile_rules(fabric, default=routing)
    alone = Fabric((Node("alone", NodeKind.SWITCH, dpid=1),), ())
    old = dict.fromkeys(new, compile_rules(alone, default=routing)["alone"])
    found = schedule(old, new, fabric=fabric)
    assert [stage.kind for stage in found.stages].count(StageKind.FLIP) == 1
    monkeypatch.setattr(order, "_forwards", lambda _: True)
    assert schedule(old, new, fabric=fabric) == found
