"""Jobs as users write them: the model of files and requests, and its reader (JSON or YAML)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from topologies.errors import InputError
from topologies.located import read_document, validate
from workloads.job import (
    ALGORITHMS,
    MAX_FLOWS_PER_PAIR,
    MAX_MESSAGE_BYTES,
    MAX_RANKS,
    MAX_RATE_CAP_BPS,
    MIN_RATE_CAP_BPS,
    Algorithm,
    Collective,
    Job,
)


class JobFile(BaseModel):
    """A job as users write it, in a file or a request."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Unique among the controller's jobs: 1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit."""
    ranks: Annotated[
        tuple[str, ...], Field(json_schema_extra={"minItems": 2, "maxItems": MAX_RANKS, "uniqueItems": True})
    ]
    """Host of each rank, in ring order; no host twice."""
    message_bytes: Annotated[
        int, Field(strict=True, json_schema_extra={"minimum": 1, "maximum": MAX_MESSAGE_BYTES})
    ]  # fmt: skip
    """Size of the vector that each rank brings to the collective, in bytes."""
    collective: Annotated[Collective, WithJsonSchema({"enum": list(Collective)})] = Collective.ALL_REDUCE
    """The operation that the job repeats."""
    algorithm: Annotated[Algorithm | None, WithJsonSchema({"enum": [*Algorithm, None]})] = None
    """How the operation moves its data: all-reduce by 'ring', all-to-all 'pairwise', also if it is left out."""
    flows_per_pair: Annotated[
        int, Field(strict=True, json_schema_extra={"minimum": 1, "maximum": MAX_FLOWS_PER_PAIR})
    ] = 1  # fmt: skip
    """Equal flows for each pair, from source ports that follow each other; with one, a pair takes one path."""
    rate_cap_bps: Annotated[
        float | None, Field(strict=True, json_schema_extra={"minimum": MIN_RATE_CAP_BPS, "maximum": MAX_RATE_CAP_BPS})
    ] = None
    """What each pair may send at most, bits per second; more is dropped where it enters the fabric."""

    def to_job(self) -> Job:
        """The job.

        Raises
        ------
        InputError
            The values do not make a job (see `Job`).
        """
        return Job(
            self.name,
            self.ranks,
            self.message_bytes,
            self.collective,
            self.algorithm or ALGORITHMS[self.collective],
            self.flows_per_pair,
            self.rate_cap_bps,
        )

    @classmethod
    def from_job(cls, job: Job) -> JobFile:
        return cls(
            name=job.name,
            ranks=job.ranks,
            message_bytes=job.message_bytes,
            collective=job.collective,
            algorithm=job.algorithm,
            flows_per_pair=job.flows_per_pair,
            rate_cap_bps=job.rate_cap_bps,
        )


def read_job(path: str | Path) -> Job:
    """Read a job file.

    Raises
    ------
    InputError
        The file cannot be read or is no job; the message names file, line and key.
    """
    asked = validate(JobFile, read_document(path))
    try:
        return asked.to_job()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
