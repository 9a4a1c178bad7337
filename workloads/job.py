"""A training job as the network sees it: ranks on hosts and the collective they run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from topologies.errors import InputError

MAX_RANKS = 65_536
MAX_MESSAGE_BYTES = 1 << 50
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Collective(StrEnum):
    """The collective operation that a job repeats."""

    ALL_REDUCE = "all-reduce"


class Algorithm(StrEnum):
    """How the collective moves its data."""

    RING = "ring"


@dataclass(frozen=True, slots=True)
class Job:
    """A training job.

    Attributes
    ----------
    name : str
        Unique among the jobs of a controller: letters, digits, ``.``, ``_`` and ``-``, at most 63.
    ranks : tuple of str
        Host of each rank, in ring order; no host twice.
    message_bytes : int
        Size of the vector that the collective reduces, greater than 0.

    Raises
    ------
    InputError
        A name that does not fit, fewer than two ranks, a host with two ranks, or no bytes.
    """

    name: str
    ranks: tuple[str, ...]
    message_bytes: int
    collective: Collective = Collective.ALL_REDUCE
    algorithm: Algorithm = Algorithm.RING

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"job name {self.name!r} does not fit: 1 to 63 letters, digits, '.', '_' or '-', "
                "the first a letter or digit"
            )
        if not 2 <= len(self.ranks) <= MAX_RANKS:
            raise InputError(f"job {self.name!r} has {len(self.ranks)} ranks; it needs 2 to {MAX_RANKS}")
        seen: set[str] = set()
        for rank, host in enumerate(self.ranks):
            if host in seen:
                raise InputError(f"job {self.name!r} has host {host!r} twice (again at rank {rank}); one rank a host")
            seen.add(host)
        if not 0 < self.message_bytes <= MAX_MESSAGE_BYTES:
            raise InputError(
                f"job {self.name!r} has message_bytes {self.message_bytes}; it must be 1 to {MAX_MESSAGE_BYTES}"
            )
