"""Reads job files, JSON or YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topologies.documents import explain, read_document
from topologies.errors import InputError
from workloads.job import Algorithm, Collective, Job


class _JobEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    ranks: list[str]
    collective: Collective = Collective.ALL_REDUCE
    algorithm: Algorithm = Algorithm.RING
    message_bytes: int = Field(strict=True)


def read_job(path: str | Path) -> Job:
    """Read a job file.

    Raises
    ------
    InputError
        The file cannot be read, is not well-formed or breaks a rule; the message names it.
    """
    return job_from_json(read_document(path), str(path))


def job_from_json(data: Any, where: str) -> Job:
    """Build a job from ``{name, ranks, collective, algorithm, message_bytes}``.

    ``collective`` is ``all-reduce`` and ``algorithm`` ``ring`` where they are left out.

    Parameters
    ----------
    data : parsed JSON or YAML
    where : str
        Name of the file or request, for messages.

    Raises
    ------
    InputError
        An unknown key, a missing or impossible value.
    """
    try:
        entry = _JobEntry.model_validate(data)
    except ValidationError as error:
        raise explain(error, where, data) from None
    try:
        return Job(entry.name, tuple(entry.ranks), entry.message_bytes, entry.collective, entry.algorithm)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
