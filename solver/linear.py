"""Linear programs handed to HiGHS as a matrix, and re-solved warm after a change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from solver.errors import SolverError
from solver.instance import Floats

INFINITE = highspy.kHighsInf
_TOLERANCE = 1e-9
"""Of feasibility; HiGHS allows 1e-10 at the least, and its default of 1e-7 shows in the flows."""


class Method(StrEnum):
    """How HiGHS goes about it."""

    SIMPLEX = "simplex"
    INTERIOR_POINT = "ipm"
    FIRST_ORDER = "pdlp"


class OutOfTime(SolverError):
    """The time limit came before an optimum."""


@dataclass(frozen=True)
class Optimum:
    """An optimal solution.

    Attributes
    ----------
    value : float
    columns : array, shape (columns,)
    duals : array, shape (rows,)
        How much the minimum grows for each unit that a row's bounds are raised.
    """

    value: float
    columns: Floats
    duals: Floats


class LinearProgram:
    """``min c x`` subject to ``row_lower <= A x <= row_upper`` and ``lower <= x <= upper``.

    Parameters
    ----------
    matrix : sparse array, shape (rows, columns)
    """

    def __init__(
        self,
        costs: Floats,
        matrix: csc_array[np.float64],
        row_lower: Floats,
        row_upper: Floats,
        lower: Floats,
        upper: Floats,
        *,
        method: Method = Method.SIMPLEX,
        seed: int = 0,
    ) -> None:
        self._highs = _quiet(method, seed)
        model = highspy.HighsLp()
        model.num_row_, model.num_col_ = matrix.shape
        model.col_cost_, model.col_lower_, model.col_upper_ = costs, lower, upper
        model.row_lower_, model.row_upper_ = row_lower, row_upper
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.num_row_, model.a_matrix_.num_col_ = matrix.shape
        model.a_matrix_.start_ = matrix.indptr
        model.a_matrix_.index_ = matrix.indices
        model.a_matrix_.value_ = matrix.data
        if self._highs.passModel(model) == highspy.HighsStatus.kError:
            raise SolverError("HiGHS refuses the model; report it, and use another engine")

    def minimise(self, time_limit_s: float = math.inf) -> Optimum | None:
        """The optimum, warm from the last one; None where nothing satisfies the rows.

        Raises
        ------
        OutOfTime
            The limit came first.
        SolverError
            HiGHS failed, or calls the program unbounded.
        """
        if time_limit_s <= 0:
            raise OutOfTime("no time is left for the solver; raise the time limit")
        # HiGHS counts its limit from when the model was made.
        self._highs.setOptionValue("time_limit", min(time_limit_s + self._highs.getRunTime(), 1e30))
        try:
            self._highs.run()
        except RuntimeError as error:
            raise SolverError(f"HiGHS failed: {error}; use another engine") from error
        status = self._highs.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status in (highspy.HighsModelStatus.kTimeLimit, highspy.HighsModelStatus.kIterationLimit):
            raise OutOfTime(f"HiGHS found no optimum within {time_limit_s:.3g} s; allow more time")
        if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            # Presolve cannot tell the two apart; our programs are bounded.
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"HiGHS ended with {self._highs.modelStatusToString(status)!r}; use another engine")
        solution = self._highs.getSolution()
        return Optimum(
            float(self._highs.getInfo().objective_function_value),
            np.array(solution.col_value, dtype=np.float64),
            np.array(solution.row_dual, dtype=np.float64),
        )

    def set_costs(self, costs: Floats) -> None:
        """Replace all costs."""
        count = len(costs)
        self._check(self._highs.changeColsCost(count, np.arange(count, dtype=np.int32), costs))

    def set_column_bounds(self, columns: NDArray[np.intp], lower: Floats, upper: Floats) -> None:
        """Replace the bounds of some columns."""
        self._check(self._highs.changeColsBounds(len(columns), columns.astype(np.int32), lower, upper))

    def set_row_bounds(self, rows: NDArray[np.intp], lower: Floats, upper: Floats) -> None:
        """Replace the bounds of some rows."""
        for row, low, high in zip(rows.tolist(), lower.tolist(), upper.tolist(), strict=True):
            self._check(self._highs.changeRowBounds(row, low, high))

    def _check(self, status: Any) -> None:
        if status == highspy.HighsStatus.kError:
            raise SolverError("HiGHS refuses a change of the model; report it, and use another engine")


class QuietHighs(highspy.Highs):  # type: ignore[misc]
    """HiGHS prints a banner on standard output as soon as callbacks are enabled, before any option is set."""

    def enableCallbacks(self) -> None:  # noqa: N802 (HiGHS' name)
        self.setOptionValue("output_flag", False)
        super().enableCallbacks()


def _quiet(method: Method, seed: int) -> Any:
    highs = QuietHighs()
    # One thread: the answer must not depend on a race.
    for name, value in (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", seed),
        ("solver", str(method)),
        ("primal_feasibility_tolerance", _TOLERANCE),
        ("dual_feasibility_tolerance", _TOLERANCE),
    ):
        highs.setOptionValue(name, value)
    return highs
