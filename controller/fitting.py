"""Rules that fit into every switch: where they do not, labels are shared by more paths before a plan is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from controller.service import PlanStatus
from controller.splitting import labelled
from dataplane.budget import Budgets, OverBudget, check_budgets
from dataplane.compiler import Compiled, LabelledPath, TableCompiler
from dataplane.detours import Tunnel
from dataplane.labels import label_paths
from workloads.job import Job


def compiled_within(
    budgets: Budgets,
    compiler: TableCompiler,
    plan: PlanStatus | None,
    jobs: Sequence[Job],
    detours: Mapping[Tunnel, int],
    taken: AbstractSet[int],
) -> tuple[PlanStatus | None, list[LabelledPath], Compiled]:
    """A plan with its paths and rules; it may get other labels.

    Parameters
    ----------
    detours, taken
        As for `TableCompiler.compile`.

    Raises
    ------
    OverBudget
        Some switch has no room for them.
    """
    while True:
        paths = labelled(plan, jobs)
        compiled = compiler.compile(paths, detours=detours, taken=taken)
        try:
            check_budgets(compiled.rules, budgets)
        except OverBudget:
            fewer = _with_fewer_labels(plan, taken | frozenset(detours.values())) if plan is not None else None
            if fewer is None:
                raise
            plan = fewer
        else:
            return plan, paths, compiled


def _with_fewer_labels(plan: PlanStatus, taken: AbstractSet[int]) -> PlanStatus | None:
    """A plan with labels shared anew; None where they are as few already.

    Paths that stayed from plan to plan kept theirs, and may share less than they could.
    """
    labels = label_paths([(path.source, path.target, path.links) for path in plan.paths], {}, quarantined=taken)
    if len(set(labels)) >= len({path.label for path in plan.paths}):
        return None
    paths = tuple(replace(path, label=label) for path, label in zip(plan.paths, labels, strict=True))
    return replace(plan, epoch=plan.epoch + 1, paths=paths)
