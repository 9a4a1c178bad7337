"""Plans fit into every switch: the job that came last is left out with the numbers, the others go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.config import load_config
from controller.planning import PlanAnswer, PlanRequest, make_plan
from dataplane.budget import Budget, Budgets, OverBudget, usage
from dataplane.compiler import DefaultRouting
from dataplane.rules import Table
from solver.routing import Objective
from topologies.errors import InputError
from topologies.fat_tree import fat_tree
from workloads.job import Job

K4 = fat_tree(4, capacity_bps=1e7, delay_s=1e-5)
FIRST = Job("first", ("h1", "h5", "h9", "h13"), 1 << 20)
SECOND = Job("second", ("h2", "h6", "h10", "h14"), 1 << 20)


def request(*jobs: Job, budgets: Budgets | None = None, after: PlanAnswer | None = None) -> PlanRequest:
    return PlanRequest(
        fabric=K4,
        edge_ports={},
        jobs=jobs,
        default=DefaultRouting.ECMP,
        max_utilisation=0.95,
        objective=Objective.MIN_DELAY,
        active=after.plan if after is not None else None,
        solved_on=after.solved_on if after is not None else None,
        detours=after.detours if after is not None else {},
        budgets=budgets or Budgets(),
    )


def room_for(answer: PlanAnswer, table: Table) -> Budgets:
    """What the rules of an answer take in a table, and no more."""
    return Budgets(
        by_switch={name: Budget(tables={table: usage(own).tables[table]}) for name, own in answer.rules.items()}
    )


def test_the_job_that_came_last_is_left_out_and_the_plan_in_force_stays() -> None:
    before = make_plan(request(FIRST))
    budgets = room_for(before, Table.CLASSIFY)
    after = make_plan(request(FIRST, SECOND, budgets=budgets, after=before))
    assert after.rules == before.rules
    assert after.plan == before.plan
    assert after.failures.keys() == {"second"}
    assert "entries in its classify table, its budget is" in after.failures["second"]


def test_with_room_for_both_both_are_planned() -> None:
    whole = make_plan(request(FIRST, SECOND))
    again = make_plan(request(FIRST, SECOND, budgets=room_for(whole, Table.CLASSIFY)))
    assert again.failures == {}
    assert again.rules == whole.rules


def test_where_default_routing_alone_does_not_fit_nothing_may_be_installed() -> None:
    with pytest.raises(OverBudget, match="flow entries, its budget is 5"):
        make_plan(request(FIRST, budgets=Budgets(Budget(entries=5))))


def test_labels_that_could_be_shared_by_more_paths_are_before_a_job_is_left_out() -> None:
    """Paths that stay from plan to plan keep their labels, each here one of its own."""
    before = make_plan(request(FIRST, SECOND))
    assert before.plan is not None
    apart = replace(before.plan, paths=tuple(replace(path, label=1000 + n) for n, path in enumerate(before.plan.paths)))
    scattered = make_plan(request(FIRST, SECOND, after=replace(before, plan=apart)))
    most = max(usage(own).labels for own in scattered.rules.values())
    few = max(usage(own).labels for own in before.rules.values())
    assert few < most
    compressed = make_plan(
        request(FIRST, SECOND, after=replace(before, plan=apart), budgets=Budgets(Budget(labels=few)))
    )
    assert compressed.failures == {}
    assert compressed.plan is not None
    assert compressed.plan.epoch == apart.epoch + 1
    assert not {path.label for path in compressed.plan.paths} & {path.label for path in apart.paths}


def test_budgets_come_from_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "heddle.yaml"
    file.write_text("routing:\n  budget: {entries: 4000, transit: 1000}\n  budgets:\n    c1: {groups: 0}\n")
    budgets = load_config(file).routing.to_budgets()
    assert budgets.of("e0-0") == Budget(entries=4000, tables={Table.TRANSIT: 1000})
    assert budgets.of("c1") == Budget(groups=0)
    assert load_config().routing.to_budgets() == Budgets()


@pytest.mark.parametrize("written", ["budget: {entries: -1}", "budget: {flows: 1}", "budgets: {c1: 5}"])
def test_what_is_no_budget_is_refused(written: str, tmp_path: Path) -> None:
    file = tmp_path / "heddle.yaml"
    file.write_text(f"routing:\n  {written}\n")
    with pytest.raises(InputError, match=r"line 2: .*routing\.budget"):
        load_config(file)
