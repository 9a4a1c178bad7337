"""The picture of a comparison: the fabric under each routing, coloured by utilisation, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from topologies.fabric import Fabric, LinkId, NodeKind
from topologies.layout import tier_layout

INK, MUTED, IDLE = "#1d2733", "#6b7785", "#dfe4ea"
# From quiet to hot, and light enough at the low end for idle links to step back; readable without colour vision
# because darkness grows with utilisation too.
HEAT = LinearSegmentedColormap.from_list("utilisation", ["#cfd8e3", "#7fb2d9", "#2f7fc1", "#f0a030", "#c0271d"])
BAR_COLOURS = ("#9aa5b1", "#5b9bd5", "#1f6f43", "#8e5ea2")


@dataclass(frozen=True, slots=True)
class Panel:
    """One routing's fabric.

    Attributes
    ----------
    utilisation : mapping of LinkId to float
        Share of each directed link's capacity that was used; missing links carried nothing.
    """

    title: str
    subtitle: str
    utilisation: Mapping[LinkId, float]


@dataclass(frozen=True, slots=True)
class Bars:
    """Bus bandwidth of one routing for each message size, in bit/s, in the order of the sizes."""

    title: str
    busbw_bps: Sequence[float]


def draw(
    fabric: Fabric, panels: Sequence[Panel], bars: Sequence[Bars], sizes: Sequence[str], bound_bps: float, title: str
) -> Figure:
    """Draw panels side by side and the bars below them.

    Parameters
    ----------
    sizes : sequence of str
        Labels of the message sizes.
    bound_bps : float
        Bus bandwidth that no routing can exceed, bit/s.
    """
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.edgecolor": MUTED}):
        figure = Figure(figsize=(5.2 * max(len(panels), 1), 8.2), facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=15, fontweight="bold")
        grid = figure.add_gridspec(2, max(len(panels), 1), height_ratios=(1.25, 1))
        axes = [figure.add_subplot(grid[0, column]) for column in range(len(panels))]
        positions = tier_layout(fabric)
        for axis, panel in zip(axes, panels, strict=True):
            _draw_fabric(axis, fabric, positions, panel)
        scale = figure.colorbar(
            ScalarMappable(Normalize(0, 1), HEAT),
            ax=axes,
            orientation="horizontal",
            fraction=0.045,
            pad=0.02,
            aspect=60,
        )
        scale.set_label("link utilisation during the run (the busier direction of each cable)")
        scale.ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        _draw_bars(figure.add_subplot(grid[1, :]), bars, sizes, bound_bps)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the picture; the suffix chooses the format."""
    figure.savefig(path, dpi=130)


def _draw_fabric(axis: Axes, fabric: Fabric, positions: Mapping[str, tuple[float, float]], panel: Panel) -> None:
    busiest: dict[frozenset[LinkId], float] = {}
    ends: dict[frozenset[LinkId], tuple[str, str]] = {}
    for link in fabric.links:
        cable = frozenset((link.id, link.reverse_id))
        busiest[cable] = max(busiest.get(cable, 0.0), panel.utilisation.get(link.id, 0.0))
        ends[cable] = (link.source, link.target)
    # The busiest cables are drawn last, on top.
    order = sorted(busiest, key=lambda cable: (busiest[cable], ends[cable]))
    used = [min(busiest[cable], 1.0) for cable in order]
    axis.add_collection(
        LineCollection(
            [[positions[end] for end in ends[cable]] for cable in order],
            colors=[HEAT(value) if value >= 0.01 else IDLE for value in used],
            linewidths=[0.8 + 3.4 * value for value in used],
            capstyle="round",
            zorder=1,
        )
    )
    crowded = len(fabric.hosts) > 40
    for node in fabric.nodes:
        x, y = positions[node.id]
        if node.kind is NodeKind.HOST:
            axis.plot(x, y, "o", color=INK, markersize=3 if crowded else 6, zorder=2)
            if not crowded:
                axis.annotate(
                    node.id, (x, y), xytext=(0, -12), textcoords="offset points", ha="center", fontsize=7, color=MUTED
                )
        else:
            axis.plot(
                x,
                y,
                "s",
                color="white",
                markeredgecolor=INK,
                markersize=6 if crowded else 13,
                markeredgewidth=1.1,
                zorder=2,
            )
            if not crowded:
                axis.annotate(node.id, (x, y), ha="center", va="center", fontsize=4.6, color=INK, zorder=3)
    axis.set_title(panel.title, fontsize=13, fontweight="bold", loc="left")
    axis.text(0, 1.0, panel.subtitle, transform=axis.transAxes, fontsize=9, color=MUTED, va="top")
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.35, max(y for _, y in positions.values()) + 0.45)
    axis.set_axis_off()


def _draw_bars(axis: Axes, bars: Sequence[Bars], sizes: Sequence[str], bound_bps: float) -> None:
    width = 0.8 / max(len(bars), 1)
    for place, bar in enumerate(bars):
        left = [index - 0.4 + width * (place + 0.5) for index in range(len(sizes))]
        drawn = axis.bar(
            left, [value / 1e6 for value in bar.busbw_bps], width * 0.92,
            label=bar.title, color=BAR_COLOURS[place % len(BAR_COLOURS)],
        )  # fmt: skip
        axis.bar_label(drawn, fmt="%.1f", fontsize=9, label_type="center", color="white", fontweight="bold")
    axis.axhline(bound_bps / 1e6, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
    axis.annotate(
        f"bound {bound_bps / 1e6:g} Mbit/s", (1.0, bound_bps / 1e6), xycoords=("axes fraction", "data"),
        xytext=(-4, 4), textcoords="offset points", ha="right", fontsize=9,
    )  # fmt: skip
    axis.set_xticks(range(len(sizes)), sizes)
    axis.set_xlabel("message size")
    axis.set_ylabel("bus bandwidth, Mbit/s")
    axis.set_title("Ring all-reduce: what each routing delivered", fontsize=13, fontweight="bold", loc="left")
    axis.set_ylim(0, bound_bps / 1e6 * 1.2)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, ncols=len(bars), loc="upper left", bbox_to_anchor=(0.45, 1.12))
