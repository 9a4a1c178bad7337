"""Paths worth choosing among: all shortest ones of a demand, or those that are a little longer too."""

from __future__ import annotations

import numpy as np

from solver.network import Floats, Network

Links = tuple[int, ...]
"""A path as indices of links."""


class Candidates:
    """Enumerates paths of demands in a network, each kind once per pair of ends.

    Parameters
    ----------
    limit : int
        Paths per demand; the walk takes links in an order shuffled by the seed and by the pair, so that
        what a limit cuts off differs from pair to pair.
    """

    def __init__(self, network: Network, delays_s: Floats, *, limit: int, seed: int) -> None:
        self._network = network
        self._limit = limit
        self._seed = seed
        self._rows = {target: row for row, target in enumerate(network.targets)}
        self._number = {node.id: index for index, node in enumerate(network.fabric.nodes)}
        arcs = network.shortest_arcs(delays_s)
        self._shortest: list[dict[int, list[int]]] = [{} for _ in network.targets]
        for row, link in zip(arcs.rows.tolist(), arcs.links.tolist(), strict=True):
            self._shortest[row].setdefault(int(network.tails[link]), []).append(link)
        self._leaving: dict[int, list[int]] = {}
        for link, tail in enumerate(network.tails.tolist()):
            self._leaving.setdefault(tail, []).append(link)
        self._hops = network.distances(np.ones(len(network.tails)))

    def shortest(self, source: str, target: str) -> list[Links]:
        """Paths of least delay, among equals of fewest hops."""
        row = self._rows[target]
        return self._walk(source, row, self._shortest[row], np.inf)

    def longer(self, source: str, target: str, extra_hops: int) -> list[Links]:
        """Loop-free paths of at most so many hops more than the fewest, the short ones first."""
        row = self._rows[target]
        fewest = float(self._hops[row, self._number[source]])
        return sorted(self._walk(source, row, self._leaving, fewest + extra_hops), key=len)

    def _walk(self, source: str, row: int, leaving: dict[int, list[int]], most_hops: float) -> list[Links]:
        heads, hops = self._network.heads, self._hops[row]
        start, goal = self._number[source], int(self._network.target_vertices[row])
        shuffle = np.random.default_rng((self._seed, start, row))
        found: list[Links] = []
        path: list[int] = []
        on_path = {start}

        def options(vertex: int) -> list[int]:
            fitting = [
                link
                for link in leaving.get(vertex, ())
                if int(heads[link]) not in on_path and len(path) + 1 + hops[heads[link]] <= most_hops
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
