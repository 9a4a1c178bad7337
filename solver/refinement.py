"""Colour refinement of an instance: which (destination, vertex) pairs and which links no program can tell apart.

Pairs and links get the coarsest colours for which every two pairs of one colour have equally many links of
each kind, out and in, and every two links of one colour carry equally many flows of each kind. Giving equal
flow to what has equal colour then loses nothing, and a program needs one column for each kind of flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solver.errors import SolverError
from solver.instance import Floats, Instance, Ints

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int32]
_Sums = csr_array[np.uint64, tuple[int, int]]

_MOST_PAIRS = 20_000_000
"""(destination, vertex) pairs up to which their table is affordable: 160 MB a copy."""
_MOST_COLUMNS = 20_000
"""Of a reduced program; with 14,000 it takes 1 to 2 s."""
_GAIN = 4
"""(destination, link) pairs to a column: below, programs that grow by what their prices ask for are as fast."""
_CELLS = 1 << 17
"""Of a block: 1 MB, which stays in the cache."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Refinement:
    """Colours that are stable, and the graph that they make: its vertices are colours of pairs.

    All members of a colour have the same number of links of each kind, so total flows of whole colours are
    a flow in this graph. Colours are numbered alike however vertices and links are numbered.

    Attributes
    ----------
    links : array of int, shape (used,)
        Links of the instance on which anything can flow: not those of idle hosts.
    tails, heads : array of int, shape (used,)
        Where these start and end, in numbers from 0 of the vertices that are left.
    link_colours : array of int, shape (used,)
    pair_colours : array of int, shape (targets, vertices left)
    link_sizes : array of int, shape (link colours,)
        How many links have each colour.
    pair_sizes : array of int, shape (pair colours,)
    supplies_bps : array of float, shape (pair colours,)
        What each member offers towards its destination; 0 for destinations themselves.
    is_goal : array of bool, shape (pair colours,)
        Whether its members are destinations themselves.
    offers_bps : array of float, shape (targets, vertices left)
        What each pair offers, whatever its colour; NaN for destinations themselves.
    column_links, column_tails, column_heads : array of int, shape (columns,)
        Kinds of (destination, link) pairs: colours of the link and of the pairs at its ends.
    column_sizes : array of int, shape (columns,)
        How many (destination, link) pairs are of each kind.
    """

    links: Ints
    tails: Ints
    heads: Ints
    link_colours: Ints
    pair_colours: Numbers
    link_sizes: Ints
    pair_sizes: Ints
    supplies_bps: Floats
    is_goal: NDArray[np.bool_]
    offers_bps: Floats
    column_links: Ints
    column_tails: Ints
    column_heads: Ints
    column_sizes: Ints

    def of_links(self, values: Floats) -> Floats:
        """What all links of each colour have of a value of the instance's links, shape (link colours,)."""
        found = np.zeros(len(self.link_sizes))
        found[self.link_colours] = values[self.links]
        return found

    @property
    def columns(self) -> int:
        return len(self.column_links)

    @property
    def pairs(self) -> int:
        return len(self.pair_sizes)


def classes(instance: Instance, *, seed: int = 0) -> Refinement:
    """The coarsest stable colouring.

    Parameters
    ----------
    seed : int
        Of the hashes.

    Raises
    ------
    SolverError
        Two different colours got the same hash.

    Notes
    -----
    Colours are hashes of 64 bits. A round adds up, for each pair, the products of the hashes of its links
    and of the pairs at their other ends: a sparse matrix times a dense one. Since the demands are first
    refined as coloured arcs between vertices, links hardly ever need the pairs to be told apart, and the
    pass over all (destination, link) pairs is a check.

    References
    ----------
    Grohe, Kersting, Mladenov and Selman, "Dimension reduction via colour refinement", ESA 2014
    (arXiv 1307.5697).
    """
    found = _refine(instance, seed, None)
    if found is None:
        raise SolverError("a refinement without a limit went over it; report it, and use another engine")
    return found


def worthwhile(
    instance: Instance, *, most_columns: int = _MOST_COLUMNS, gain: float = _GAIN, seed: int = 0
) -> Refinement | None:
    """The coarsest stable colouring where its program is small; None as soon as it is known not to be.

    Parameters
    ----------
    most_columns : int
        That the reduced program may have.
    gain : float
        The least ratio of (destination, link) pairs to columns of the reduced program.
    seed : int
        Of the hashes.

    Raises
    ------
    SolverError
        Two different colours got the same hash.

    Notes
    -----
    Graphs without symmetry are known by the colours of their vertices alone: 1 ms for all-to-all between 100.
    """
    return _refine(instance, seed, int(min(most_columns, instance.targets * instance.links / gain)))


def _refine(instance: Instance, seed: int, most: int | None) -> Refinement | None:
    """Refine until there are more than ``most`` colours of pairs or columns, if that is not None."""
    kept, vertices = _in_use(instance)
    number = np.full(instance.vertices, -1, dtype=np.intp)
    number[vertices] = np.arange(len(vertices))
    tails, heads, goals = number[instance.tails[kept]], number[instance.heads[kept]], number[instance.target_vertices]
    graph = _Graph(len(vertices), tails, heads)
    supply = instance.supply().tocoo()
    rows, origins, rates = supply.row.astype(np.intp), number[supply.col], supply.data
    # Sums of demands depend on their order in the last bits; a part of 2e-13 is no difference.
    hashed_rates = _mixed((_bits(rates) + np.uint64(1 << 9)) >> np.uint64(10), seed)

    links = _mixed(_bits(instance.capacities_bps[kept]), seed + 1)
    links = _mixed(links + _bits(instance.delays_s[kept]), seed + 2)
    links = _mixed(links + _bits(instance.allowed_bps[kept]), seed + 3)
    of_vertices = _vertex_hashes(graph, links, hashed_rates, origins, goals[rows], seed + 4)
    links = _mixed(links + of_vertices[tails] * _GOLDEN + _mixed(of_vertices[heads], seed + 5), seed + 6)
    if most is not None and (
        _count(of_vertices) * _count(of_vertices[goals]) > most or len(vertices) * instance.targets > _MOST_PAIRS
    ):
        return None

    pairs = _mixed(of_vertices, seed + 7)[:, None] + _mixed(of_vertices[goals], seed + 8)[None, :]
    pairs[origins, rows] += hashed_rates
    pairs[goals, np.arange(instance.targets)] *= _GOLDEN
    pairs = _mixed(pairs, seed + 9)
    while True:
        stable = _stable_pairs(graph, links, pairs, most, seed + 10)
        if stable is None:
            return None
        pairs = stable
        seen = graph.joined(_mixed(pairs, seed + 11), _mixed(pairs, seed + 12))
        finer = _mixed(links + seen, seed + 13)
        if _count(finer) == _count(links):
            break
        links = finer
    return _quotient(instance, graph, kept, goals, supply.data, (rows, origins), links, pairs, most)


class _Graph:
    """Sums over the links of each vertex.

    Parameters
    ----------
    vertices : int
    tails, heads : array of int, shape (links,)
    """

    def __init__(self, vertices: int, tails: Ints, heads: Ints) -> None:
        self.vertices, self.tails, self.heads = vertices, tails, heads

    def around(self, weights: Hashes) -> tuple[_Sums, _Sums]:
        """Sum of the weights of the links to each vertex from each, and the other way round."""
        shape = (self.vertices, self.vertices)
        out = csr_array((weights, (self.tails, self.heads)), shape=shape)
        return out, csr_array((_mixed(weights, 1), (self.heads, self.tails)), shape=shape)

    def joined(self, at_tails: Hashes, at_heads: Hashes) -> Hashes:
        """For each link, the sum over all columns of the products of what stands at its ends, shape (links,)."""
        sums = np.empty(len(self.tails), dtype=np.uint64)
        step = max(1, _CELLS // max(1, at_tails.shape[1]))
        for start in range(0, len(sums), step):
            part = slice(start, start + step)
            np.einsum("ij,ij->i", at_tails[self.tails[part]], at_heads[self.heads[part]], out=sums[part])
        return sums


def _in_use(instance: Instance) -> tuple[Ints, Ints]:
    """Links on which something can flow, and vertices that have one or that offer or take something."""
    starts = np.zeros(instance.vertices, dtype=bool)
    ends = starts.copy()
    starts[instance.origins] = True
    ends[instance.target_vertices] = True
    kept = np.arange(instance.links)
    while True:
        tails, heads = instance.tails[kept], instance.heads[kept]
        entered = starts.copy()
        left = ends.copy()
        entered[heads] = True
        left[tails] = True
        useful = entered[tails] & left[heads]
        if useful.all():
            break
        kept = kept[useful]
    used = starts | ends
    used[tails] = True
    used[heads] = True
    return kept, np.flatnonzero(used)


def _vertex_hashes(
    graph: _Graph, links: Hashes, rates: Hashes, origins: Ints, goals: Ints, seed: int
) -> Hashes:  # fmt: skip
    """Stable colours of the vertices, demands being arcs coloured by their rates; shape (vertices,)."""
    out, into = graph.around(links)
    asked, offered = _Graph(graph.vertices, origins, goals).around(rates)
    colours = np.zeros(graph.vertices, dtype=np.uint64)
    count = 1
    while True:
        first, second, third, fourth = (_mixed(colours, seed * 8 + salt) for salt in range(4))
        seen = _mixed(_summed(out, first), seed) + _mixed(_summed(into, second), seed + 1)
        seen += _mixed(_summed(asked, third), seed + 2) + _mixed(_summed(offered, fourth), seed + 3)
        colours = _mixed(colours + seen, seed + 4)
        finer = _count(colours)
        if finer == count:
            return colours
        count = finer


def _stable_pairs(graph: _Graph, links: Hashes, pairs: Hashes, most: int | None, seed: int) -> Hashes | None:
    """Refine pairs until they are stable beside given colours of links; None where they are too many."""
    out, into = graph.around(_mixed(links, seed))
    count = _count(pairs)
    while True:
        seen = _mixed(_summed(out, _mixed(pairs, seed + 1)), seed + 2)
        seen += _summed(into, _mixed(pairs, seed + 3))
        finer = _mixed(pairs + seen, seed + 4)
        more = _count(finer)
        if more == count:
            return pairs
        if most is not None and more > most:
            return None
        pairs, count = finer, more


def _quotient(
    instance: Instance,
    graph: _Graph,
    kept: Ints,
    goals: Ints,
    rates: Floats,
    places: tuple[Ints, Ints],
    links: Hashes,
    pairs: Hashes,
    most: int | None,
) -> Refinement | None:
    """Number the colours, and see on one member of each what all have.

    Parameters
    ----------
    rates, places
        Supply, and the row and vertex of each.
    pairs : array, shape (vertices, targets)
    """
    link_colours, link_sizes, _ = _numbered(links)
    flat, pair_sizes, members = _numbered(pairs.T.ravel())
    pair_colours = flat.reshape(pairs.T.shape)
    offers = np.zeros(pair_colours.shape)
    offers[places] = rates
    offers[np.arange(len(goals)), goals] = np.nan
    rows, vertices = np.divmod(members, max(1, graph.vertices))
    supplies = offers[rows, vertices]
    sides = []
    for near, far in ((graph.tails, graph.heads), (graph.heads, graph.tails)):
        order = np.argsort(near, kind="stable")
        starts = np.searchsorted(near[order], np.arange(graph.vertices + 1))
        counts = np.diff(starts)[vertices]
        owner = np.repeat(np.arange(len(members)), counts)
        entry = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[vertices][owner]
        link = order[entry]
        sides.append((owner, pair_colours[rows[owner], far[link]], link_colours[link]))
    (tail, head, colour), (head_in, tail_in, colour_in) = sides
    keys, amounts = _kinds((colour, tail, head), (len(link_sizes), len(pair_sizes)))
    keys_in, amounts_in = _kinds((colour_in, tail_in, head_in), (len(link_sizes), len(pair_sizes)))
    if most is not None and len(keys) > most:
        return None
    rest, column_heads = np.divmod(keys, max(1, len(pair_sizes)))
    column_links, column_tails = np.divmod(rest, max(1, len(pair_sizes)))
    sizes = amounts * pair_sizes[column_tails]
    entered = np.bincount(column_links, weights=sizes, minlength=len(link_sizes))
    if (
        not np.array_equal(keys, keys_in)
        or np.any(sizes != amounts_in * pair_sizes[column_heads])
        or np.any(entered != link_sizes * instance.targets)
    ):
        raise SolverError("two colours share a hash; use another seed or another engine")
    return Refinement(
        links=kept, tails=graph.tails, heads=graph.heads,
        link_colours=link_colours.astype(np.intp), pair_colours=pair_colours,
        link_sizes=link_sizes, pair_sizes=pair_sizes,
        supplies_bps=np.nan_to_num(supplies), is_goal=np.isnan(supplies), offers_bps=offers,
        column_links=column_links, column_tails=column_tails, column_heads=column_heads, column_sizes=sizes,
    )  # fmt: skip


def _summed(weights: _Sums, hashes: Hashes) -> Hashes:
    """Product that wraps around at 2**64."""
    sums: Hashes = np.asarray(weights @ hashes)
    return sums


def _kinds(parts: tuple[Ints, Ints, Ints], sizes: tuple[int, int]) -> tuple[Ints, Ints]:
    """Distinct triples of link, tail and head colour as one number each, and how often each comes."""
    colour, tail, head = (part.astype(np.intp) for part in parts)
    keys, amounts = np.unique((colour * sizes[1] + tail) * sizes[1] + head, return_counts=True)
    return keys, amounts


def _numbered(hashes: Hashes) -> tuple[Numbers, Ints, Ints]:
    """Number of each hash in their order, how many have each number, and a place where each stands."""
    distinct = _distinct(hashes)
    numbers = np.searchsorted(distinct, hashes).astype(np.int32)
    member = np.zeros(len(distinct), dtype=np.intp)
    member[numbers] = np.arange(len(numbers))
    return numbers, np.bincount(numbers, minlength=len(distinct)), member


def _distinct(hashes: Hashes) -> Hashes:
    ordered = np.sort(hashes, axis=None)
    # numpy.unique takes ten times as long: 15 ms against 1.4 ms for 655,360 hashes of 100 kinds.
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def _count(hashes: Hashes) -> int:
    return len(_distinct(hashes))


def _bits(values: Floats) -> Hashes:
    """The bits of floats; those of 0 and -0 are the same."""
    bits: Hashes = (values + 0.0).view(np.uint64)
    return bits


def _mixed(hashes: Hashes, salt: int) -> Hashes:
    """Other hashes, that have nothing to do with these; the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    mixed = hashes + np.uint64((salt + 1) * int(_GOLDEN) % 2**64)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
