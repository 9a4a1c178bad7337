"""The picture of a routing: the fabric coloured by utilisation, and how many links are how full."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from scipy.sparse.csgraph import shortest_path

from heddle.output import rate
from heddle.solve import objective_text
from solver.routing import Objective, Routing
from solver.solve import OPTIMAL_GAP, proof_of
from topologies.errors import HeddleError
from topologies.fabric import Fabric, LinkId, NodeKind
from topologies.layout import tier_layout

SUFFIXES = (".png", ".svg", ".pdf")

INK, MUTED, IDLE = "#1d2733", "#6b7785", "#dfe4ea"
# Darkness grows with utilisation, so it reads without colour vision; idle links step back.
HEAT = LinearSegmentedColormap.from_list("utilisation", ["#cfd8e3", "#7fb2d9", "#2f7fc1", "#f0a030", "#c0271d"])

_MOST_WITH_HOSTS = 300
_MOST_SPRINGS = 200
"""Nodes up to which springs between all pairs take a second or two."""
_MOST_FORCES = 1500
"""The same for forces between all pairs."""
_MOST_NAMED = 60
_QUIET = 0.2
"""Utilisation up to which the scale of colours ends below 100 %."""
_FLAT = 0.1
"""Share of cables within a row from which rows show nothing."""

Positions = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Cable:
    """A cable between two nodes; ``used`` is the larger of its directions, ``bend`` how far it bows aside."""

    ends: tuple[str, str]
    used: float
    capacity_bps: float
    bend: float


def draw(routing: Routing) -> Figure:
    """Draw a routing.

    Raises
    ------
    CertificateError
        The routing has no proof to name.
    """
    proof, fabric = proof_of(routing), routing.fabric
    used = routing.utilisations()
    worst = float(used.max(initial=0.0))
    # The full scale, so that red means full; a finer one where that would leave all links pale.
    scale = Normalize(0, max(1.0, worst) if worst > _QUIET else max(0.01, math.ceil(100 * worst) / 100))
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.edgecolor": MUTED}):
        figure = Figure(figsize=(14, 7.4), facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        value, bound = (objective_text(proof.objective, number) for number in (proof.value, proof.bound))
        gap = "no gap" if proof.gap <= OPTIMAL_GAP else f"gap {100 * proof.gap:.2g} %"
        figure.suptitle(
            f"{proof.objective.value}: {value}; bound {bound}, {gap}",
            fontsize=14, fontweight="bold",
        )  # fmt: skip
        left, right = figure.subplots(1, 2, width_ratios=(2.1, 1))
        names = _draw_fabric(left, fabric, used, scale)
        bar = figure.colorbar(ScalarMappable(scale, HEAT), ax=left, orientation="horizontal", fraction=0.04, pad=0.01,
                              aspect=60)  # fmt: skip
        bar.set_label("utilisation of the busier direction of each cable; pale grey: idle")
        bar.ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        _draw_histogram(right, routing, used, scale)
        _drop_overlapping(figure, names)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the picture; the suffix chooses the format.

    Raises
    ------
    HeddleError
        The file cannot be written.
    """
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise HeddleError(f"cannot write {path}: {error.strerror}; check the path and its permissions") from error


def _draw_fabric(axis: Axes, fabric: Fabric, used: NDArray[np.float64], scale: Normalize) -> list[Annotation]:
    """Draw nodes and cables; returns the names written beside nodes."""
    # Where hosts would be a smear, each switch is filled by the fullest link of its hosts.
    folded = len(fabric.nodes) > _MOST_WITH_HOSTS and len(fabric.hosts) < len(fabric.nodes)
    hidden = {host.id for host in fabric.hosts} if folded else set[str]()
    positions = _positions(fabric, hidden)
    cables = _cables(fabric, used, positions)
    most = max((cable.capacity_bps for cable in cables), default=1.0)
    widest = 3.6 if len(cables) <= 100 else 2.4 if len(cables) <= 1000 else 0.6
    axis.add_collection(
        LineCollection(
            [_bowed(positions, cable) for cable in cables],
            colors=[HEAT(scale(cable.used)) if cable.used > 0 else IDLE for cable in cables],
            linewidths=[_width(cable.capacity_bps / most, widest) for cable in cables],
            capstyle="round", zorder=1,
        )
    )  # fmt: skip
    _draw_nodes(axis, fabric, positions, _fullest_access(fabric, used, hidden), scale)
    names = _write_names(axis, fabric, positions) if len(positions) <= _MOST_NAMED else []
    _describe(axis, fabric, cables, widest, hidden)
    axis.margins(0.04, 0.08)
    axis.set_axis_off()
    return names


def _width(of_largest: float, widest: float) -> float:
    """Line width of a capacity: wide enough to show its colour, however small."""
    return widest * (0.3 + 0.7 * math.sqrt(of_largest))


def _draw_nodes(
    axis: Axes, fabric: Fabric, positions: Positions, access: Mapping[str, float], scale: Normalize
) -> None:
    many = len(positions)
    size = 70 if many <= _MOST_NAMED else 22 if many <= 350 else 5
    for kind, marker in ((NodeKind.SWITCH, "s"), (NodeKind.HOST, "o")):
        places = [node.id for node in fabric.nodes if node.kind is kind and node.id in positions]
        filled = [HEAT(scale(access[name])) if name in access else "white" for name in places]
        axis.scatter(
            [positions[name][0] for name in places], [positions[name][1] for name in places],
            s=size if kind is NodeKind.SWITCH else size / 2, marker=marker, zorder=2,
            linewidths=0.9 if many <= 350 else 0.5, edgecolors=INK,
            c=filled if kind is NodeKind.SWITCH else [INK] * len(places),
        )  # fmt: skip


def _write_names(axis: Axes, fabric: Fabric, positions: Positions) -> list[Annotation]:
    return [
        axis.annotate(
            node.id, positions[node.id], xytext=(0, -7 if node.kind is NodeKind.HOST else 7), zorder=3,
            textcoords="offset points", ha="center", va="top" if node.kind is NodeKind.HOST else "bottom", fontsize=7,
            color=INK, parse_math=False, path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        for node in fabric.nodes
    ]  # fmt: skip


def _drop_overlapping(figure: Figure, names: Sequence[Annotation]) -> None:
    """Take away each name that would be written over another."""
    figure.canvas.draw()
    kept: list[Bbox] = []
    for name in names:
        box = name.get_window_extent()
        if any(box.overlaps(other) for other in kept):
            name.remove()
        else:
            kept.append(box)


def _describe(axis: Axes, fabric: Fabric, cables: Sequence[_Cable], widest: float, hidden: set[str]) -> None:
    """Say what is drawn, and what the widths of lines mean where they differ."""
    texts = [f"{len(fabric.switches)} switches, {len(fabric.hosts)} hosts, {len(fabric.links)} directed links"]
    if hidden:
        counts = Counter(link.source for link in fabric.links if link.target in hidden and link.source not in hidden)
        least, most = min(counts.values(), default=0), max(counts.values(), default=0)
        each = f"{least}" if least == most else f"{least} to {most}"
        texts.append(
            f"hosts are not drawn: {len(counts)} switches have {each} each, and the colour of their fullest link"
        )
    axis.set_title("\n".join(texts), fontsize=10, color=MUTED, loc="left")
    capacities = sorted({cable.capacity_bps for cable in cables})
    if len(capacities) > 1:
        shown = capacities if len(capacities) <= 4 else [capacities[0], capacities[-1]]
        lines = [Line2D([], [], color=MUTED, linewidth=_width(one / capacities[-1], widest)) for one in shown]
        axis.legend(
            lines, [rate(one) for one in shown], title="capacity", frameon=False, loc="upper left",
            bbox_to_anchor=(0, 0), ncols=len(lines), fontsize=8, title_fontsize=8, borderaxespad=0,
        )  # fmt: skip


def _fullest_access(fabric: Fabric, used: NDArray[np.float64], hidden: set[str]) -> dict[str, float]:
    """The largest utilisation among the links of each switch to hosts that are not drawn."""
    fullest: defaultdict[str, float] = defaultdict(float)
    for link, share in zip(fabric.links, used.tolist(), strict=True):
        if (link.source in hidden) != (link.target in hidden):
            switch = link.target if link.source in hidden else link.source
            fullest[switch] = max(fullest[switch], share)
    return fullest


def _cables(fabric: Fabric, used: NDArray[np.float64], positions: Positions) -> list[_Cable]:
    """Cables between nodes that are drawn, the fullest last, so that it lies on top."""
    worst: dict[frozenset[LinkId], float] = {}
    about: dict[frozenset[LinkId], tuple[tuple[str, str], float]] = {}
    for link, share in zip(fabric.links, used.tolist(), strict=True):
        if link.source in positions and link.target in positions:
            cable = frozenset((link.id, link.reverse_id))
            worst[cable] = max(worst.get(cable, 0.0), share)
            ends = (min(link.source, link.target), max(link.source, link.target))
            about[cable] = (ends, float(link.capacity_bps or 0.0))
    parallel: Counter[tuple[str, str]] = Counter()
    drawn = []
    for cable, (ends, capacity) in about.items():
        # Parallel cables bow to either side in turn; one along a row would hide behind the nodes between.
        turn = parallel[ends] + (1 if positions[ends[0]][1] == positions[ends[1]][1] else 0)
        parallel[ends] += 1
        drawn.append(_Cable(ends, worst[cable], capacity, 0.1 * ((turn + 1) // 2) * (-1) ** turn))
    return sorted(drawn, key=lambda cable: cable.used)


def _bowed(positions: Positions, cable: _Cable) -> NDArray[np.float64]:
    begin, end = (np.array(positions[name]) for name in cable.ends)
    if not cable.bend:
        return np.array([begin, end])
    along = np.linspace(0, 1, 12)[:, None]
    aside = np.array([begin[1] - end[1], end[0] - begin[0]]) * cable.bend
    bowed: NDArray[np.float64] = begin + along * (end - begin) + 4 * along * (1 - along) * aside
    return bowed


def _positions(fabric: Fabric, hidden: set[str]) -> dict[str, tuple[float, float]]:
    """Rows where the fabric has tiers, else what springs between neighbours make of it, always alike."""
    pairs = [
        (link.source, link.target) for link in fabric.links if link.source not in hidden and link.target not in hidden
    ]
    if fabric.hosts or all(node.tier is not None for node in fabric.nodes):
        rows = tier_layout(fabric)
        flat = sum(rows[a][1] == rows[b][1] for a, b in pairs)
        if flat <= _FLAT * len(pairs):
            return {name: place for name, place in rows.items() if name not in hidden}
    return _springs([node.id for node in fabric.nodes if node.id not in hidden], pairs)


def _springs(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(names)
    graph.add_edges_from(pairs)
    if len(names) <= _MOST_SPRINGS and nx.is_connected(graph):
        found = nx.kamada_kawai_layout(graph)
    else:
        found = dict(zip(names, _by_pivots(graph), strict=True))
        if len(names) <= _MOST_FORCES:
            # From random places, forces alone leave a large graph tangled.
            found = nx.spring_layout(
                graph, pos=found, seed=1, iterations=60, k=0.55 / math.sqrt(len(names)), method="force"
            )
    return {name: (float(x), float(y)) for name, (x, y) in found.items()}


def _by_pivots(graph: nx.Graph[str]) -> NDArray[np.float64]:
    """Places whose distances resemble those to some nodes (Brandes and Pich, Graph Drawing 2006), shape (nodes, 2)."""
    pivots = np.unique(np.linspace(0, len(graph) - 1, 60).astype(np.intp))
    hops = shortest_path(nx.to_scipy_sparse_array(graph), unweighted=True, indices=pivots)
    hops[np.isinf(hops)] = hops[np.isfinite(hops)].max() + 2
    squares = hops**2
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1, keepdims=True) + squares.mean()
    axes = np.linalg.eigh(centred @ centred.T)[1][:, -2:]
    places = centred.T @ axes
    scaled: NDArray[np.float64] = places / (np.abs(places).max() or 1.0)
    return scaled


def _draw_histogram(axis: Axes, routing: Routing, used: NDArray[np.float64], scale: Normalize) -> None:
    busy = used[used > 0]
    # A link at a round share belongs below it, beside the line that marks it.
    counts, edges = np.histogram(busy * (1 - 1e-9), bins=20, range=(0, float(scale.vmax or 1.0)))
    middles = (edges[:-1] + edges[1:]) / 2
    axis.bar(middles, counts, np.diff(edges) * 0.94, color=HEAT(scale(middles)))
    some = counts[counts > 0]
    if len(some) and some.max() > 50 * some.min():
        axis.set_yscale("log")
    proof = proof_of(routing)
    worst = float(used.max(initial=0.0))
    axis.axvline(worst, color=INK, linewidth=1.3, label=f"fullest link {100 * worst:.4g} %")
    if proof.objective is Objective.MIN_MAX_UTILISATION:
        axis.axvline(proof.bound, color="#1f6f43", linewidth=1.8, linestyle=(0, (4, 3)),
                     label=f"bound {100 * proof.bound:.4g} %")  # fmt: skip
    elif routing.max_utilisation_allowed <= float(scale.vmax or 1.0):
        axis.axvline(routing.max_utilisation_allowed, color="#1f6f43", linewidth=1.8, linestyle=(0, (4, 3)),
                     label=f"allowed {100 * routing.max_utilisation_allowed:.4g} %")  # fmt: skip
    axis.set_xlim(0, float(scale.vmax or 1.0) * 1.02)
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axis.set_xlabel("utilisation")
    axis.set_ylabel("links")
    idle = len(used) - len(busy)
    without = f" ({idle} idle ones not shown)" if idle else ""
    axis.set_title(f"How full {len(busy)} directed links are{without}", fontsize=10, color=MUTED, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=9)
