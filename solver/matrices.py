"""Reads matrices of the bytes that ranks send each other, and makes demands of them.

Source of the format: the test alltoallv_perf of nccl-tests, matrix file mode: a square of numbers, of
which entry [i][j] is what rank i sends to rank j. Commas between the numbers and comments are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solver.demand import Demand
from topologies.errors import InputError
from topologies.located import read_text


def read_byte_matrix(path: str | Path) -> NDArray[np.float64]:
    """Read a matrix: one row a line, numbers apart by spaces, tabs or commas, ``#`` before a comment.

    Returns
    -------
    array of float, shape (ranks, ranks), bytes
        Row i holds what rank i sends to each rank.

    Raises
    ------
    InputError
        The file cannot be read, an entry is no number of bytes, or the rows make no square; the message
        names the line.
    """
    rows: list[NDArray[np.float64]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        content = line.partition("#")[0]
        fields = content.split(",") if "," in content else content.split()
        if not content.strip():
            continue
        row = _numbers(fields, f"{path}, line {number}")
        if rows and len(row) != len(rows[0]):
            raise InputError(
                f"{path}, line {number}: {len(row)} numbers where the rows above have {len(rows[0])}; "
                "write one for each rank"
            )
        rows.append(row)
    if not rows:
        raise InputError(f"{path} holds no numbers; write a row for each rank")
    if len(rows) != len(rows[0]):
        raise InputError(f"{path} has {len(rows)} rows of {len(rows[0])} numbers; write as many rows as columns")
    return np.array(rows)


def _numbers(fields: Sequence[str], where: str) -> NDArray[np.float64]:
    try:
        row = np.array([float(field) for field in fields])
        wrong = np.flatnonzero(~(np.isfinite(row) & (row >= 0)))
        place = int(wrong[0]) if len(wrong) else None
    except ValueError:
        place = next(index for index, field in enumerate(fields) if not _is_number(field))
    if place is not None:
        given = fields[place].strip()
        raise InputError(f"{where}: number {place + 1} is {given!r}; write bytes: a finite number, not negative")
    return row


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def matrix_demands(matrix: NDArray[np.float64], hosts: Sequence[str], window_s: float) -> tuple[Demand, ...]:
    """Demands that carry a matrix in a window of time: 8 · bytes / window_s bit/s from rank to rank.

    Entries of 0 ask for nothing. The diagonal is skipped too: what a rank sends itself stays in its host.

    Parameters
    ----------
    matrix : array of float, shape (ranks, ranks), bytes
        Row i holds what rank i sends to each rank.
    hosts : sequence of str
        Node of each rank; those beyond the matrix have none.
    window_s : float
        Time in which all is to be sent, seconds, above 0.

    Returns
    -------
    tuple of Demand, by source and then target

    Raises
    ------
    InputError
        The matrix is not square, has an entry that is negative or not finite, or more ranks than there are
        hosts; two ranks are on one host; or the window is not above 0 and finite.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"the matrix has the shape {matrix.shape}; give as many rows as columns")
    if not 0 < window_s < math.inf:
        raise InputError(f"the window is {window_s:g} s; give one above 0 and finite, as in --window 1")
    wrong = np.argwhere(~(np.isfinite(matrix) & (matrix >= 0)))
    if len(wrong):
        source, target = wrong[0].tolist()
        raise InputError(
            f"rank {source} sends {matrix[source, target]:g} bytes to rank {target}; "
            "give a finite number that is not negative"
        )
    ranks = len(matrix)
    if ranks > len(hosts):
        raise InputError(
            f"the matrix has {ranks} ranks for {len(hosts)} hosts; name a node for each, as in --ranks h1,h2"
        )
    if len(set(hosts[:ranks])) < ranks:
        twice = next(host for number, host in enumerate(hosts) if host in hosts[:number])
        raise InputError(f"two ranks are on {twice!r}; give each its own node")
    # The diagonal stays in its host.
    sources, targets = np.nonzero(matrix * ~np.eye(ranks, dtype=bool))
    with np.errstate(over="ignore"):
        # An infinite rate is refused by `Demand`, by name.
        rates_bps = 8 * matrix[sources, targets] / window_s
    return tuple(
        Demand(hosts[source], hosts[target], rate_bps)
        for source, target, rate_bps in zip(sources.tolist(), targets.tolist(), rates_bps.tolist(), strict=True)
    )
