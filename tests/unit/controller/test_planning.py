"""A plan is kept while it serves, made anew when it no longer does, and bettered when the fabric allows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.planmemory import PlanMemory
from controller.planning import PlanAnswer, PlanRequest, make_plan
from controller.service import PlanStatus
from dataplane.compiler import DefaultRouting
from dataplane.rules import Table
from solver.routing import Objective
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree
from workloads.job import Job

FABRIC = fat_tree(4, capacity_bps=1e7, delay_s=1e-5)
RING = Job("r", ("h1", "h5", "h9", "h13"), 1 << 20)
# Both pairs leave edge switch e0-0 upwards: with one uplink left they share it.
TWO_FROM_ONE_EDGE = Job("t", ("h1", "h5", "h2", "h6"), 1 << 20)


def request(fabric: Fabric = FABRIC, job: Job = RING, after: PlanAnswer | None = None, **more: object) -> PlanRequest:
    values: dict[str, object] = {
        "fabric": fabric, "edge_ports": {}, "jobs": (job,), "default": DefaultRouting.ECMP, "max_utilisation": 0.95,
        "objective": Objective.MIN_DELAY,
        "active": after.plan if after is not None else None,
        "solved_on": after.solved_on if after is not None else None,
    }  # fmt: skip
    return PlanRequest(**(values | more))  # type: ignore[arg-type]


def planned(answer: PlanAnswer) -> PlanStatus:
    assert answer.failures == {}
    assert answer.plan is not None
    return answer.plan


def without(fabric: Fabric, link: LinkId) -> Fabric:
    return fabric.without_links((link, fabric.link_by_id[link].reverse_id))


def widened(fabric: Fabric, factor: float, *names: LinkId) -> Fabric:
    links = tuple(
        replace(link, capacity_bps=link.capacity_bps * factor) if not names or link.id in names else link
        for link in fabric.links
    )
    return replace(fabric, links=links)


def test_the_same_situation_keeps_plan_and_labels_without_solving() -> None:
    first = make_plan(request())
    again = make_plan(request(after=first))
    assert planned(again) == planned(first)
    assert again.solved_on is first.solved_on


def test_after_a_restart_the_plan_is_compared_with_the_best_and_kept() -> None:
    first = make_plan(request())
    again = make_plan(request(after=first, solved_on=None))
    assert planned(again).paths == planned(first).paths
    assert planned(again).epoch == planned(first).epoch
    assert again.solved_on == FABRIC


def test_a_share_lost_with_a_link_is_won_back_with_it() -> None:
    whole = make_plan(request(job=TWO_FROM_ONE_EDGE))
    assert planned(whole).share == pytest.approx(0.95)
    broken = without(FABRIC, LinkId("e0-0", 3))
    degraded = make_plan(request(broken, TWO_FROM_ONE_EDGE, whole))
    assert planned(degraded).share == pytest.approx(0.475)
    restored = make_plan(request(FABRIC, TWO_FROM_ONE_EDGE, degraded))
    assert planned(restored).share == pytest.approx(0.95)


def test_a_link_elsewhere_that_goes_and_comes_back_moves_nothing() -> None:
    first = make_plan(request())
    used = {link for path in planned(first).paths for link in path.links}
    spare = next(
        link.id
        for link in FABRIC.links
        if link.source.startswith("a") and link.target.startswith("c") and not {link.id, link.reverse_id} & used
    )
    second = make_plan(request(without(FABRIC, spare), after=first))
    third = make_plan(request(after=second))
    assert planned(first).paths == planned(second).paths == planned(third).paths


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_other_capacities_make_the_plan_anew(factor: float) -> None:
    first = make_plan(request())
    second = make_plan(request(widened(FABRIC, factor), after=first))
    rates = [path.rate_bps for path in planned(second).paths if path.rate_bps]
    assert rates == pytest.approx([0.95 * factor * 1e7] * 4)


def test_a_narrower_link_on_the_way_makes_the_plan_anew() -> None:
    first = make_plan(request())
    link = next(path.links[2] for path in planned(first).paths if path.rate_bps)
    second = make_plan(request(widened(FABRIC, 0.5, link), after=first))
    assert all(link not in path.links for path in planned(second).paths if path.rate_bps)


def test_another_allowed_utilisation_makes_the_plan_anew() -> None:
    first = make_plan(request())
    second = make_plan(request(after=first, max_utilisation=0.5))
    assert planned(second).share == pytest.approx(0.5)
    assert planned(second).max_utilisation == 0.5


# ── in a hurry ───────────────────────────────────────────────────────────────────────────────────


def test_in_a_hurry_pairs_that_lost_a_link_move_and_the_others_keep_path_and_label() -> None:
    first = make_plan(request(hurried=True))
    used = planned(first).paths[0].links[1]
    second = make_plan(request(without(FABRIC, used), after=first, hurried=True))
    cable = {used, FABRIC.link_by_id[used].reverse_id}
    former = {(path.source, path.target): path for path in planned(first).paths}
    for path in planned(second).paths:
        before = former[path.source, path.target]
        assert cable.isdisjoint(path.links)
        assert (path == before) is cable.isdisjoint(before.links)
    assert planned(second).engine == "mending"
    assert planned(second).epoch == planned(first).epoch + 1
    assert second.betterable
    assert second.solved_on is None


def test_what_was_mended_is_bettered_or_proved_afterwards() -> None:
    whole = make_plan(request(job=TWO_FROM_ONE_EDGE, hurried=True))
    broken = without(FABRIC, LinkId("e0-0", 3))
    mended = make_plan(request(broken, TWO_FROM_ONE_EDGE, whole, hurried=True))
    best = make_plan(request(broken, TWO_FROM_ONE_EDGE, mended))
    assert planned(mended).share == pytest.approx(0.475)
    assert planned(mended).worst_link_utilisation <= 0.95 * (1 + 1e-9)
    assert planned(best).share >= planned(mended).share * (1 - 1e-6)
    assert not best.betterable
    assert planned(best).engine != "mending"


def test_in_a_hurry_a_link_that_comes_back_changes_no_path_and_is_worth_a_look() -> None:
    whole = make_plan(request(job=TWO_FROM_ONE_EDGE, hurried=True))
    broken = without(FABRIC, LinkId("e0-0", 3))
    mended = make_plan(request(broken, TWO_FROM_ONE_EDGE, whole, hurried=True))
    restored = make_plan(request(FABRIC, TWO_FROM_ONE_EDGE, mended, hurried=True))
    assert planned(restored).paths == planned(mended).paths
    assert restored.betterable
    best = make_plan(request(FABRIC, TWO_FROM_ONE_EDGE, restored))
    assert planned(best).share == pytest.approx(0.95)


def test_in_a_hurry_jobs_that_changed_are_planned_as_ever() -> None:
    first = make_plan(request(hurried=True))
    second = make_plan(request(job=TWO_FROM_ONE_EDGE, after=first, hurried=True))
    assert {path.job for path in planned(second).paths} == {"t"}
    assert not second.betterable


def test_pairs_flip_in_an_order_that_no_link_minds() -> None:
    first = make_plan(request(hurried=True))
    used = planned(first).paths[0].links[1]
    second = make_plan(request(without(FABRIC, used), after=first, hurried=True))
    moved = {
        (path.source, path.target)
        for path in set(planned(first).paths) ^ set(planned(second).paths)
        if path.rate_bps > 0
    }
    addresses = {host.id: host.ip for host in FABRIC.hosts}
    flipping = {pair for pairs in second.flips.rounds for pair in pairs}
    assert {(addresses[source], addresses[target]) for source, target in moved} <= flipping
    assert second.flips.overloads == ()


def test_pairs_move_before_default_routing_does() -> None:
    memory = PlanMemory()
    first = make_plan(request(hurried=True), memory)
    used = planned(first).paths[0].links[1]
    broken = without(FABRIC, used)
    second = make_plan(request(broken, after=first, hurried=True, routed=first.routed), memory)
    assert not second.rerouted
    assert second.routed == first.routed
    assert {used, FABRIC.link_by_id[used].reverse_id}.isdisjoint(
        link for path in planned(second).paths for link in path.links
    )
    for name, rules in second.rules.items():
        changed = rules.flows ^ first.rules[name].flows
        assert {flow.table for flow in changed} <= {Table.CLASSIFY, Table.TRANSIT}
    third = make_plan(request(broken, after=second, hurried=True, routed=second.routed), memory)
    assert third.rerouted
    assert planned(third).paths == planned(second).paths
    assert third.rules == make_plan(request(broken, after=second, hurried=True)).rules
    assert third.routed not in ("", second.routed)


@pytest.mark.parametrize("routed", ["", "another"])
def test_default_routing_moves_at_once_where_it_is_not_known_what_is_in_force(routed: str) -> None:
    memory = PlanMemory()
    first = make_plan(request(hurried=True), memory)
    broken = without(FABRIC, planned(first).paths[0].links[1])
    assert make_plan(request(broken, after=first, hurried=True, routed=routed), memory).rerouted


def test_default_routing_moves_at_once_where_more_than_a_cable_was_lost() -> None:
    memory = PlanMemory()
    first = make_plan(request(hurried=True), memory)
    used = planned(first).paths[0].links
    broken = without(without(FABRIC, used[1]), used[2])
    assert make_plan(request(broken, after=first, hurried=True, routed=first.routed), memory).rerouted


def test_the_same_default_routing_has_the_same_name_whoever_made_it() -> None:
    first, other = (make_plan(request(hurried=hurried), PlanMemory()) for hurried in (True, False))
    assert first.routed == other.routed != ""
