"""Reads demands files: CSV with the header ``source,target,rate_bps``, or a JSON list of the same."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from solver.demand import Demand
from topologies.documents import explain
from topologies.errors import InputError
from topologies.located import read_document

_COLUMNS = ["source", "target", "rate_bps"]


class _DemandEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: str
    target: str
    rate_bps: float = Field(gt=0, allow_inf_nan=False)


class _DemandList(BaseModel):
    demands: list[_DemandEntry]


def read_demands(path: str | Path) -> tuple[Demand, ...]:
    """Read a demands file: CSV where the suffix is ``.csv``, JSON where it is ``.json``, else YAML.

    Raises
    ------
    InputError
        The file cannot be read, is not well-formed, or breaks a rule; the message names file and entry.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        return demands_from_json(read_document(path).content, str(path))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be read: {reason}; check the path and the file") from error
    if not rows or [name.strip() for name in rows[0]] != _COLUMNS:
        raise InputError(f"{path} must begin with the line {','.join(_COLUMNS)}; add it")
    entries: list[dict[str, str]] = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(_COLUMNS):
            raise InputError(f"{path}: line {number} has {len(row)} fields; write {','.join(_COLUMNS)}")
        entries.append({name: field.strip() for name, field in zip(_COLUMNS, row, strict=True)})
    return demands_from_json(entries, str(path))


def demands_from_json(data: Any, where: str) -> tuple[Demand, ...]:
    """Build demands from a list of ``{source, target, rate_bps}``.

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
        return tuple(Demand(entry.source, entry.target, entry.rate_bps) for entry in entries)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
