"""A training job as the network sees it: ranks on hosts and the collective they run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from topologies.errors import InputError

MAX_RANKS = 65_536
MAX_PAIRS = 262_144
"""An all-to-all over 512 ranks."""
MAX_MESSAGE_BYTES = 1 << 50
MAX_FLOWS_PER_PAIR = 65_536
MAX_RATE_CAP_BPS = 1e12
MIN_RATE_CAP_BPS = 1e4
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Collective(StrEnum):
    """The collective operation that a job repeats."""

    ALL_REDUCE = "all-reduce"
    ALL_TO_ALL = "all-to-all"


class Algorithm(StrEnum):
    """How the collective moves its data."""

    RING = "ring"
    PAIRWISE = "pairwise"


ALGORITHMS = {Collective.ALL_REDUCE: Algorithm.RING, Collective.ALL_TO_ALL: Algorithm.PAIRWISE}
"""How each collective moves its data."""


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
        Size of the vector that each rank brings, greater than 0.
    algorithm : Algorithm
        That of the collective.
    flows_per_pair : int
        Connections, or UDP flows, over which a rank deals its data for each peer: equal ones, from source ports that
        follow each other. With one, a pair takes one path; with more it may be split.
    rate_cap_bps : float or None
        What each pair may send at most; more is dropped where it enters the fabric.

    Raises
    ------
    InputError
        A name that does not fit, fewer than two ranks, more pairs than are planned for, another algorithm, a host with
        two ranks, no bytes, no flows, or a cap that no meter has.
    """

    name: str
    ranks: tuple[str, ...]
    message_bytes: int
    collective: Collective = Collective.ALL_REDUCE
    algorithm: Algorithm = Algorithm.RING
    flows_per_pair: int = 1
    rate_cap_bps: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"job name {self.name!r} does not fit: 1 to 63 letters, digits, '.', '_' or '-', "
                "the first a letter or digit"
            )
        if not 2 <= len(self.ranks) <= MAX_RANKS:
            raise InputError(f"job {self.name!r} has {len(self.ranks)} ranks; it needs 2 to {MAX_RANKS}")
        if self.collective is Collective.ALL_TO_ALL and len(self.ranks) * (len(self.ranks) - 1) > MAX_PAIRS:
            raise InputError(
                f"job {self.name!r} has {len(self.ranks)} ranks, each with each other; "
                f"an all-to-all has at most {MAX_PAIRS:,} pairs"
            )
        if self.algorithm is not (own := ALGORITHMS[self.collective]):
            raise InputError(
                f"job {self.name!r} has algorithm {self.algorithm}; {self.collective} is {own}, also if it is left out"
            )
        seen: set[str] = set()
        for rank, host in enumerate(self.ranks):
            if host in seen:
                raise InputError(f"job {self.name!r} has host {host!r} twice (again at rank {rank}); one rank a host")
            seen.add(host)
        if not 0 < self.message_bytes <= MAX_MESSAGE_BYTES:
            raise InputError(
                f"job {self.name!r} has message_bytes {self.message_bytes}; it must be 1 to {MAX_MESSAGE_BYTES}"
            )
        if not 1 <= self.flows_per_pair <= MAX_FLOWS_PER_PAIR:
            raise InputError(
                f"job {self.name!r} has flows_per_pair {self.flows_per_pair}; it must be 1 to {MAX_FLOWS_PER_PAIR}"
            )
        if self.rate_cap_bps is not None and not MIN_RATE_CAP_BPS <= self.rate_cap_bps <= MAX_RATE_CAP_BPS:
            raise InputError(
                f"job {self.name!r} has rate_cap_bps {self.rate_cap_bps:g}; "
                f"it must be {MIN_RATE_CAP_BPS:g} to {MAX_RATE_CAP_BPS:g}"
            )
