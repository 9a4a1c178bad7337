"""Runs a PuLP program on the solver of choice, silently, and says honestly how it ended."""

from __future__ import annotations

import pulp

from solver.errors import SolverError
from solver.linear import QuietHighs
from topologies.errors import InputError

_INTERIOR_POINT_ABOVE = 20_000
"""Variables from which HiGHS' interior point beats its simplex on fabrics."""
HIGHS, CBC = "highs", "cbc"


def run(program: pulp.LpProblem, backend: str, time_limit_s: float | None, *, seed: int = 0) -> int:
    """Solve a PuLP program and return its ``sol_status``: optimal, integer feasible or infeasible.

    Parameters
    ----------
    backend : str
        ``highs``, ``cbc``, or the name by which PuLP knows a solver (``pulp.listSolvers()``).

    Raises
    ------
    InputError
        PuLP knows no such solver, or finds it not installed.
    SolverError
        The solver stopped without an answer: time limit, unboundedness, or a failure of its own.
    """
    if time_limit_s is not None and time_limit_s <= 0:
        raise SolverError("no time is left for the solver; raise the time limit")
    try:
        program.solve(_solver(program, backend, time_limit_s, seed))
    except InputError:
        raise
    except Exception as error:
        # PuLP reads answers from files, and fails in many ways on one that makes no sense.
        raise SolverError(f"{backend} failed: {error}; see its output, or use another solver") from error
    outcome = int(program.sol_status)
    # At a time limit PuLP calls a linear program "feasible" whatever its values are.
    stopped = outcome == pulp.LpSolutionIntegerFeasible and not program.isMIP()
    if stopped or outcome not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible, pulp.LpSolutionInfeasible):
        limit = f" within {time_limit_s:.3g} s" if time_limit_s is not None else ""
        raise SolverError(
            f"{backend} found no answer{limit} ({pulp.LpSolution[outcome]}); allow more time or use another backend"
        )
    return outcome


class _HighsInProcess(pulp.HiGHS):  # type: ignore[misc]
    def createAndConfigureSolver(self, lp: pulp.LpProblem) -> None:  # noqa: N802 (PuLP's name)
        lp.solverModel = QuietHighs()
        lp.solverModel.setOptionValue("output_flag", False)
        lp.solverModel.setOptionValue("threads", self.threads)
        if self.timeLimit is not None:
            lp.solverModel.setOptionValue("time_limit", float(self.timeLimit))
        for name, value in self.optionsDict.items():
            lp.solverModel.setOptionValue(name, value)


def _solver(program: pulp.LpProblem, backend: str, time_limit_s: float | None, seed: int) -> pulp.LpSolver:
    # One thread: the answer must not depend on a race.
    if backend.lower() == CBC:
        return pulp.PULP_CBC_CMD(msg=False, threads=1, timeLimit=time_limit_s, options=[f"randomSeed {seed}"])
    if backend.lower() == HIGHS:
        large = program.numVariables() > _INTERIOR_POINT_ABOVE and not program.isMIP()
        method = {"solver": "ipm"} if large else {}
        return _HighsInProcess(msg=False, threads=1, timeLimit=time_limit_s, random_seed=seed, **method)
    if backend not in pulp.listSolvers():
        raise InputError(
            f"PuLP knows no solver {backend!r}; take highs, cbc, or one of {', '.join(pulp.listSolvers())}"
        )
    solver = pulp.getSolver(backend, msg=False, timeLimit=time_limit_s)
    if not solver.available():
        installed = ", ".join(pulp.listSolvers(onlyAvailable=True))
        raise InputError(f"PuLP does not find {backend}; install it, or take highs, cbc, or one of {installed}")
    return solver
