"""Pairs that declare flows enough are split where whole pairs do worse; all others are not, and the reason is said."""

from __future__ import annotations

import pytest

from controller.planning import PlanAnswer, PlanRequest, make_plan
from controller.service import PlannedPath, PlanStatus, shares
from controller.splitting import caps_of, flows_of
from dataplane.compiler import DefaultRouting
from dataplane.rules import Match, RateCap, Table
from solver.routing import Objective
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind
from topologies.fat_tree import fat_tree
from workloads.job import Job


def leaf_spine(*uplinks_bps: float) -> Fabric:
    """Two hosts with 10 Mbit/s on two leaves, and a spine between these for each capacity."""
    nodes = [Node(f"l{leaf}", NodeKind.SWITCH, tier=1, dpid=leaf) for leaf in (1, 2)]
    nodes += [Node(f"s{spine}", NodeKind.SWITCH, tier=2, dpid=10 + spine) for spine, _ in enumerate(uplinks_bps)]
    nodes += [
        Node(f"h{n}", NodeKind.HOST, tier=0, ip=f"10.0.0.{n}", mac=f"02:00:00:00:00:{n:02x}") for n in (1, 2)
    ]  # fmt: skip
    cables = [(f"h{leaf}", 1, f"l{leaf}", 1, 1e7) for leaf in (1, 2)]
    cables += [
        (f"l{leaf}", 2 + spine, f"s{spine}", leaf, up) for leaf in (1, 2) for spine, up in enumerate(uplinks_bps)
    ]  # fmt: skip
    links = [
        link
        for a, a_port, b, b_port, capacity_bps in cables
        for link in (Link(a, a_port, b, b_port, capacity_bps, 1e-6), Link(b, b_port, a, a_port, capacity_bps, 1e-6))
    ]
    return Fabric(tuple(nodes), tuple(links))


def request(fabric: Fabric, *jobs: Job, after: PlanAnswer | None = None, hurried: bool = False) -> PlanRequest:
    return PlanRequest(
        fabric=fabric,
        edge_ports={},
        jobs=jobs,
        default=DefaultRouting.ECMP,
        max_utilisation=0.95,
        objective=Objective.MIN_DELAY,
        active=after.plan if after is not None else None,
        solved_on=after.solved_on if after is not None else None,
        detours=after.detours if after is not None else {},
        hurried=hurried,
    )


def job(flows: int = 1, name: str = "j", cap_bps: float | None = None) -> Job:
    return Job(name, ("h1", "h2"), 1 << 20, flows_per_pair=flows, rate_cap_bps=cap_bps)


def planned(answer: PlanAnswer) -> PlanStatus:
    assert answer.failures == {}
    assert answer.plan is not None
    return answer.plan


def towards(plan: PlanStatus, target: str) -> list[tuple[str, float]]:
    """Spine and share of the paths to a host."""
    return [
        (path.links[1].node + f":{path.links[1].port}", round(share, 4))
        for path, share in zip(plan.paths, shares(plan.paths), strict=True)
        if path.target == target
    ]


EVEN, UNEVEN, ODD = leaf_spine(5e6, 5e6), leaf_spine(2.5e6, 7.5e6), leaf_spine(3.7e6, 6.3e6)


def test_a_pair_that_no_path_carries_whole_is_split_in_the_shares_that_its_paths_carry() -> None:
    plan = planned(make_plan(request(UNEVEN, job(flows=4))))
    assert plan.share == pytest.approx(0.95)
    assert towards(plan, "h2") == [("l1:3", 0.75), ("l1:2", 0.25)]
    assert plan.worst_link_utilisation == pytest.approx(0.95)
    assert "2 pairs are split over up to 2 paths" in plan.reason


def test_one_flow_is_not_split_and_that_is_said() -> None:
    plan = planned(make_plan(request(UNEVEN, job())))
    assert plan.share == pytest.approx(0.95 * 0.75)
    assert [share for _, share in towards(plan, "h2")] == [1.0]
    assert "its pairs declare one flow each, so none is split" in plan.reason


def test_shares_that_the_flows_do_not_come_to_are_said_with_the_numbers() -> None:
    plan = planned(make_plan(request(ODD, job(flows=4))))
    assert [share for _, share in towards(plan, "h2")] == [1.0]
    assert (
        "2 pairs are not split (h1 → h2: a split of 63 : 37 % is not possible: 4 flows come to 75 : 25" in plan.reason
    )
    assert planned(make_plan(request(ODD, job(flows=64)))).share == pytest.approx(0.95)


def test_pairs_that_do_as_well_whole_are_not_split() -> None:
    plan = planned(make_plan(request(leaf_spine(1e7, 1e7), job(flows=64))))
    assert {share for _, share in towards(plan, "h2")} == {1.0}
    assert "split" not in plan.reason.partition("single paths")[2]


def test_a_split_plan_is_kept_with_its_labels_and_rules() -> None:
    first = make_plan(request(UNEVEN, job(flows=64)))
    again = make_plan(request(UNEVEN, job(flows=64), after=first))
    assert planned(again) == planned(first)
    assert again.rules == first.rules


def test_a_split_pair_that_loses_a_path_is_planned_anew_even_in_a_hurry() -> None:
    first = make_plan(request(EVEN, job(flows=4)))
    dead = LinkId("l1", 2)
    lame = EVEN.without_links((dead, EVEN.link_by_id[dead].reverse_id))
    plan = planned(make_plan(request(lame, job(flows=4), after=first, hurried=True)))
    assert towards(plan, "h2") == [("l1:3", 1.0)]


def test_acknowledgements_go_back_by_the_widest_path_and_whole() -> None:
    """Only h1 → h5 is planned where each of three hosts has a pair of its own; h5 → h1 carries what it acknowledges."""
    fabric = fat_tree(4, capacity_bps=1e7)
    ring = Job("r", ("h1", "h5", "h9"), 1 << 20, flows_per_pair=4)
    plan = planned(make_plan(request(fabric, ring)))
    back = [path for path in plan.paths if not path.rate_bps]
    assert sorted((path.source, path.target) for path in back) == [("h1", "h9"), ("h5", "h1"), ("h9", "h5")]
    assert {share for path, share in zip(plan.paths, shares(plan.paths), strict=True) if path in back} == {1.0}


def test_a_cap_is_a_meter_at_the_ingress_of_each_pair() -> None:
    rules = make_plan(request(EVEN, job(flows=4, cap_bps=2.5e6))).rules
    for leaf in ("l1", "l2"):
        (cap,) = [meter for meter in rules[leaf].meters if isinstance(meter, RateCap)]
        assert cap.rate_kbps == 2500
        metered = [flow for flow in rules[leaf].flows if flow.table is Table.CLASSIFY and flow.match != Match()]
        assert {flow.meter_id for flow in metered} == {cap.id}
        assert len(metered) == 3


def test_a_capped_pair_is_planned_its_part_of_what_it_may_send_and_leaves_the_rest_to_others() -> None:
    fabric = fat_tree(4, capacity_bps=1e7)
    up = LinkId("e0-0", 4)
    lame = fabric.without_links((up, fabric.link_by_id[up].reverse_id))
    capped = Job("capped", ("h1", "h5"), 1 << 20, rate_cap_bps=2e6)
    free = Job("free", ("h2", "h6"), 1 << 20)
    first = make_plan(request(lame, capped, free))
    rates_bps = {(path.source, path.target): path.rate_bps for path in planned(first).paths}
    # 9.5 of the 12 Mbit/s that the two want fit on the only uplink.
    assert planned(first).share == pytest.approx(9.5 / 12)
    assert rates_bps["h1", "h5"] == pytest.approx(2e6 * 9.5 / 12)
    assert rates_bps["h2", "h6"] == pytest.approx(1e7 * 9.5 / 12)
    assert planned(first).worst_link_utilisation <= 0.95 * (1 + 1e-6)
    again = make_plan(request(lame, capped, free, after=first))
    assert planned(again) == planned(first)


def test_jobs_that_share_a_pair_share_its_flows_and_may_together_send_what_each_may() -> None:
    assert flows_of([job(4, "a"), job(64, "b")]) == {("h1", "h2"): 4, ("h2", "h1"): 4}
    assert caps_of([job(name="a", cap_bps=1e6), job(name="b", cap_bps=2e6)])["h1", "h2"] == 3e6
    assert caps_of([job(name="a", cap_bps=1e6), job(name="b")]) == {}
    assert caps_of([job(name="a"), job(name="b", cap_bps=1e6)]) == {}


def test_shares_of_a_pair_are_parts_of_its_rate() -> None:
    paths = [PlannedPath("j", "h1", "h2", 16 + n, (LinkId("h1", 1),), rate) for n, rate in enumerate((3.0, 1.0, 0.0))]
    assert shares(paths) == [0.75, 0.25, 1.0]
