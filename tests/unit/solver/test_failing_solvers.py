"""A linear solver that gives up, crashes or lies never makes a routing that nobody checked."""

import os
import stat

import highspy
import numpy as np
import pulp
import pytest

from solver.certificate import Claim, certify
from solver.demand import Demand
from solver.errors import SolverError
from solver.linear import LinearProgram, Optimum, OutOfTime
from solver.routing import Objective
from solver.solve import solve
from topologies.fat_tree import fat_tree

FAT_TREE = fat_tree(4, capacity_bps=1e7)
# Rates differ, so that a program is needed, and colours are not.
DEMANDS = [Demand(f"h{n}", f"h{17 - n}", 1e6 * n) for n in range(1, 9)]


def spoil(monkeypatch, change):
    """Let every program's optimum be changed before anybody sees it."""
    honest = LinearProgram.minimise

    def minimise(self, *args):
        optimum = honest(self, *args)
        return None if optimum is None else change(optimum)

    monkeypatch.setattr(LinearProgram, "minimise", minimise)


def assert_checked_or_refused(objective):
    """Either an error, or a routing that passes the check again."""
    try:
        routing = solve(FAT_TREE, DEMANDS, objective)
    except SolverError:
        return False
    proof = routing.certificate
    levels = tuple(level.prices for level in proof.levels if level.prices.any())
    claim = Claim(routing.targets, routing.flow_bps, routing.carried_bps, proof.prices, routing.path_flows, levels)
    again = certify(FAT_TREE, DEMANDS, claim, objective=objective)
    assert (again.value, again.bound) == pytest.approx((proof.value, proof.bound))
    assert again.gap <= 1e-6
    return True


LIES = {
    "nothing flows": lambda optimum: Optimum(optimum.value, np.zeros_like(optimum.columns), optimum.duals),
    "not a number": lambda optimum: Optimum(optimum.value, np.full_like(optimum.columns, np.nan), optimum.duals),
    "negative": lambda optimum: Optimum(optimum.value, -optimum.columns, optimum.duals),
    "endless": lambda optimum: Optimum(np.inf, np.full_like(optimum.columns, np.inf), optimum.duals),
    "shuffled": lambda optimum: Optimum(optimum.value, optimum.columns[::-1].copy(), optimum.duals),
    "half": lambda optimum: Optimum(optimum.value, optimum.columns / 2, optimum.duals),
    "no prices": lambda optimum: Optimum(optimum.value, optimum.columns, np.zeros_like(optimum.duals)),
    "wrong prices": lambda optimum: Optimum(optimum.value, optimum.columns, optimum.duals[::-1].copy()),
    "prices that are no numbers": lambda optimum: Optimum(
        optimum.value, optimum.columns, np.full_like(optimum.duals, np.nan)
    ),
    "too good a value": lambda optimum: Optimum(optimum.value / 2, optimum.columns, optimum.duals),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("objective", list(Objective))
def test_what_a_solver_makes_up_is_refused_or_right_all_the_same(monkeypatch, objective, lie):
    spoil(monkeypatch, LIES[lie])
    with np.errstate(all="ignore"):
        assert_checked_or_refused(objective)


def test_a_lie_about_flows_is_an_error(monkeypatch):
    spoil(monkeypatch, LIES["nothing flows"])
    assert not assert_checked_or_refused(Objective.MIN_MAX_UTILISATION)


@pytest.mark.parametrize("objective", list(Objective))
def test_a_solver_that_crashes_is_an_error_that_names_it(monkeypatch, objective):
    def crash(self):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(highspy.Highs, "run", crash)
    with pytest.raises(SolverError, match="HiGHS failed: out of memory"):
        solve(FAT_TREE, DEMANDS, objective, engine="aggregated")


@pytest.mark.parametrize("objective", list(Objective))
def test_a_solver_that_never_ends_in_time_leaves_a_routing_with_its_gap_or_says_so(monkeypatch, objective):
    def never(self, *args):
        raise OutOfTime("never")

    monkeypatch.setattr(LinearProgram, "minimise", never)
    with pytest.raises(OutOfTime):
        solve(FAT_TREE, DEMANDS, objective, engine="aggregated", single_path=objective.may_carry_less)
    routing = solve(FAT_TREE, DEMANDS, objective, engine="aggregated", time_limit_s=30.0)
    assert routing.certificate.violation <= 1e-6
    assert routing.certificate.gap < 1


@pytest.mark.parametrize(
    "does",
    ["exit 3", "kill -9 $$", "exit 0", "echo nonsense > $SOLUTION; exit 0"],
    ids=["fails", "is killed", "writes nothing", "writes nonsense"],
)
def test_a_program_of_pulps_that_misbehaves_is_an_error(monkeypatch, tmp_path, does):
    path = tmp_path / "cbc"
    path.write_text(f'#!/bin/sh\nfor SOLUTION in "$@"; do case "$SOLUTION" in *.sol) break;; esac; done\n{does}\n')
    os.chmod(path, path.stat().st_mode | stat.S_IXUSR)  # noqa: PTH101 (one way to say it)
    ours = pulp.COIN_CMD

    def fake(**options):
        return ours(path=str(path), **options)

    monkeypatch.setattr(pulp, "PULP_CBC_CMD", fake)
    with pytest.raises(SolverError):
        solve(FAT_TREE, DEMANDS, engine="pulp:cbc")
