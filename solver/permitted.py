"""The candidate paths of a question as arrays: a given list, or all paths of at most so many hops."""

from __future__ import annotations

from itertools import chain

import numpy as np

from solver.candidates import Candidates, Links
from solver.engines.paths import Choice
from solver.errors import Infeasible
from solver.linear import OutOfTime
from solver.question import Question
from topologies.errors import InputError

MOST_PATHS = 500_000
"""In all; more would take minutes and gigabytes."""


def permitted_paths(question: Question) -> Choice:
    """The paths that each demand may take.

    Raises
    ------
    InputError
        A pair has no list of paths, or there are too many paths.
    OutOfTime
        The time limit came first.
    Infeasible
        No permitted path leads from a demand's source to its target.
    """
    allowed, fabric = question.allowed, question.fabric
    if allowed is None:
        raise InputError("the engine 'paths' needs candidate paths; give a list of them, or a number of hops")
    most = np.inf if allowed.max_hops is None else allowed.max_hops
    index = fabric.link_index
    options: list[list[Links]] = []
    walks = None if allowed.paths is not None else Candidates(question.instance, limit=MOST_PATHS, seed=question.seed)
    total = 0
    for number, demand in enumerate(question.demands):
        if allowed.paths is not None:
            pair = (demand.source, demand.target)
            if pair not in allowed.paths:
                raise InputError(f"no candidate paths are given for {demand.source} → {demand.target}; add some")
            try:
                given = [tuple(index[link] for link in path) for path in allowed.paths[pair]]
            except KeyError as error:
                raise InputError(f"a candidate path of {pair[0]} → {pair[1]} has no such link: {error}") from None
            found = [path for path in given if path and len(path) <= most]
        elif walks is not None:
            found = walks.within(number, most)
        if question.watch.expired():
            raise OutOfTime(f"the time limit came while paths of {most:g} hops were listed; allow fewer, or more time")
        total += len(found)
        if total > MOST_PATHS:
            raise InputError(f"there are more than {MOST_PATHS} paths of {most:g} hops; allow fewer hops")
        if not found:
            raise Infeasible((), 0.0, demand.rate_bps, pair=(demand.source, demand.target))
        options.append(found)
    lengths = np.array([len(path) for path in chain.from_iterable(options)], dtype=np.intp)
    return Choice(
        np.repeat(np.arange(len(options)), [len(found) for found in options]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.fromiter(chain.from_iterable(chain.from_iterable(options)), dtype=np.intp, count=int(lengths.sum())),
    )
