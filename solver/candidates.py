"""Paths worth choosing among: all shortest ones of a demand, those a little longer, or all up to a length."""

from __future__ import annotations

import numpy as np

from solver.instance import Instance

Links = tuple[int, ...]
"""A path as indices of links."""

_HOP, _TIE = 1e-7, 1e-10
"""Beside the mean delay: the weight of a hop, so that fewer hops win, and what counts as equal."""


class Candidates:
    """Enumerates paths of demands in an instance.

    Parameters
    ----------
    limit : int
        Paths per demand; the walk takes links in an order shuffled by the seed and by the pair, so that
        what a limit cuts off differs from pair to pair.
    """

    def __init__(self, instance: Instance, *, limit: int, seed: int = 0) -> None:
        self._instance = instance
        self._limit = limit
        self._seed = seed
        self._leaving: dict[int, list[int]] = {}
        for link, tail in enumerate(instance.tails.tolist()):
            self._leaving.setdefault(tail, []).append(link)
        scale = float(instance.delays_s.mean()) or 1.0
        self._weights = instance.delays_s + _HOP * scale
        self._slack = _TIE * scale
        self._away = instance.distances(self._weights)
        self._hops = instance.distances(np.ones(instance.links))
        self._shortest: dict[int, dict[int, list[int]]] = {}

    def shortest(self, demand: int) -> list[Links]:
        """Paths of least delay, among equals of fewest hops."""
        row = int(self._instance.rows[demand])
        if row not in self._shortest:
            away, tails, heads = self._away[row], self._instance.tails, self._instance.heads
            with np.errstate(invalid="ignore"):
                tight = np.isfinite(away[heads]) & (self._weights + away[heads] <= away[tails] + self._slack)
            leaving: dict[int, list[int]] = {}
            for link in np.flatnonzero(tight).tolist():
                leaving.setdefault(int(tails[link]), []).append(link)
            self._shortest[row] = leaving
        return self._walk(demand, np.inf, self._shortest[row])

    def longer(self, demand: int, extra_hops: int) -> list[Links]:
        """Loop-free paths of at most so many hops more than the fewest, the short ones first."""
        fewest = float(self._hops[self._instance.rows[demand], self._instance.origins[demand]])
        return self.within(demand, fewest + extra_hops)

    def within(self, demand: int, most_hops: float) -> list[Links]:
        """Loop-free paths of at most so many hops, the short ones first."""
        return sorted(self._walk(demand, most_hops, self._leaving), key=len)

    def _walk(self, demand: int, most_hops: float, leaving: dict[int, list[int]]) -> list[Links]:
        instance, heads = self._instance, self._instance.heads
        row, start = int(instance.rows[demand]), int(instance.origins[demand])
        hops, goal = self._hops[row], int(instance.target_vertices[row])
        shuffle = np.random.default_rng((self._seed, start, row))
        found: list[Links] = []
        path: list[int] = []
        on_path = {start}

        def options(vertex: int) -> list[int]:
            fitting = [
                link
                for link in leaving.get(vertex, ())
                if int(heads[link]) not in on_path
                and len(path) + 1 + hops[heads[link]] <= most_hops
                and np.isfinite(hops[heads[link]])
            ]
            return [fitting[place] for place in shuffle.permutation(len(fitting))]

        stack = [options(start)]
        while stack and len(found) < self._limit:
            if not stack[-1]:
                stack.pop()
                if path:
                    on_path.discard(int(heads[path.pop()]))
                continue
            link = stack[-1].pop()
            vertex = int(heads[link])
            if vertex == goal:
                found.append((*path, link))
                continue
            path.append(link)
            on_path.add(vertex)
            stack.append(options(vertex))
        return sorted(found)
