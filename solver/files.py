"""Reads demands files: rates as CSV, JSON, YAML or a REPETITA table, or bytes as a matrix."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from solver.demand import Demand
from solver.matrices import matrix_demands, read_byte_matrix
from topologies.documents import explain
from topologies.errors import InputError
from topologies.fabric import Fabric
from topologies.files import NodeName
from topologies.located import read_document, read_text
from topologies.repetita import read_rates

_COLUMNS = ("source", "target", "rate_bps")
_CAP = "cap_bps"
_DOCUMENTS = frozenset({".json", ".yaml", ".yml"})
_MATRICES = frozenset({".matrix", ".txt"})


class _DemandEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: NodeName
    target: NodeName
    rate_bps: float = Field(gt=0, allow_inf_nan=False)
    cap_bps: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class _DemandList(BaseModel):
    demands: list[_DemandEntry]


def read_demands(
    path: str | Path,
    fabric: Fabric | None = None,
    *,
    window_s: float | None = None,
    ranks: Sequence[str] | None = None,
) -> tuple[Demand, ...]:
    """Read a demands file, of the format that its suffix says.

    ``.csv``: the header ``source,target,rate_bps`` or ``source,target,rate_bps,cap_bps``, an empty cap being
    none. ``.json``, ``.yaml``, ``.yml``: see `demands_from_json`. ``.demands``: a table of REPETITA, see
    `read_rates`. ``.matrix``, ``.txt``: bytes from rank to rank, see `read_byte_matrix` and `matrix_demands`.

    Parameters
    ----------
    fabric : Fabric or None
        Needed for ``.demands``, which names nodes by their numbers, and for matrices.
    window_s : float or None
        Time in which the bytes of a matrix are sent, seconds; only and always for matrices.
    ranks : sequence of str or None
        Node of each rank of a matrix; None for the hosts in the fabric's order.

    Raises
    ------
    InputError
        The file cannot be read, is not well-formed, or breaks a rule, or an argument that it needs is
        missing; the message names file and entry.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _MATRICES:
        return _read_matrix(path, fabric, window_s, ranks)
    if window_s is not None or ranks is not None:
        raise InputError(
            f"{path} holds rates; --window and --ranks are for matrices of bytes (.matrix), leave them out"
        )
    if suffix == ".csv":
        return _read_csv(path)
    if suffix in _DOCUMENTS:
        return demands_from_json(read_document(path).content, str(path))
    if suffix == ".demands":
        if fabric is None:
            raise InputError(f"{path} names nodes by number; give the fabric too, whose nodes they are")
        return tuple(Demand(source, target, rate_bps) for source, target, rate_bps in read_rates(path, fabric))
    known = ", ".join(sorted({".csv", ".demands"} | _DOCUMENTS | _MATRICES))
    raise InputError(f"{path} has no suffix that says what it holds; rename it to one of {known}")


def _read_csv(path: Path) -> tuple[Demand, ...]:
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is no CSV: {error}; check the file") from None
    header = [name.strip() for name in rows[0]] if rows else []
    columns = (*_COLUMNS, _CAP)[: max(len(header), len(_COLUMNS))]
    if header != list(columns):
        raise InputError(f"{path} must begin with the line {','.join(_COLUMNS)} or {','.join(_COLUMNS)},{_CAP}; add it")
    demands: list[Demand] = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(columns):
            raise InputError(f"{path}, line {number}: {len(row)} fields; write {','.join(columns)}")
        source, target, rate, cap = (field.strip() for field in (*row, "")[:4])
        try:
            demands.append(Demand(source, target, _number(rate, _COLUMNS[2]), _number(cap, _CAP) if cap else None))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
    return tuple(demands)


def _number(text: str, column: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{column} {text!r} is no number; write bit/s, as in 1e9") from None


def _read_matrix(
    path: Path, fabric: Fabric | None, window_s: float | None, ranks: Sequence[str] | None
) -> tuple[Demand, ...]:
    if fabric is None:
        raise InputError(f"{path} names no nodes; give the fabric too, whose hosts are the ranks")
    if window_s is None:
        raise InputError(f"{path} holds bytes; give the time in which they are sent, as in --window 1")
    matrix = read_byte_matrix(path)
    for rank in ranks or ():
        if rank not in fabric.node_by_id:
            raise InputError(f"rank {rank!r} is not a node of the fabric; correct --ranks")
    if ranks is not None and len(ranks) != len(matrix):
        raise InputError(f"{path} has {len(matrix)} ranks and --ranks names {len(ranks)}; name one node for each")
    try:
        return matrix_demands(matrix, ranks if ranks is not None else [host.id for host in fabric.hosts], window_s)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def demands_from_json(data: Any, where: str) -> tuple[Demand, ...]:
    """Build demands from a list of ``{source, target, rate_bps, cap_bps?}``.

    Parameters
    ----------
    data : parsed JSON or YAML
    where : str
        Name of the file or request, for messages.

    Raises
    ------
    InputError
        It is no list, or an entry has an unknown key or a missing or impossible value.
    """
    wrapped = {"demands": data}
    try:
        entries = _DemandList.model_validate(wrapped).demands
    except ValidationError as error:
        raise explain(error, where, wrapped) from None
    try:
        return tuple(Demand(entry.source, entry.target, entry.rate_bps, entry.cap_bps) for entry in entries)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
