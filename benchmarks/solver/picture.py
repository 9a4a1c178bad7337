"""The picture of a run: seconds of all engines and peers in each case, and how the cost grows with the fabric."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.solver.lines import Line

INK, MUTED = "#1d2733", "#6b7785"
OURS = "Heddle"
_OUR_COLOUR = "#1f6f43"
_COLOURS = ("#c0271d", "#f0a030", "#8e5ea2", "#5b9bd5", "#2f5d8a", "#9aa5b1", "#b08968")
_MARKERS = "sD^vP*X"


def draw(lines: Sequence[Line]) -> Figure:
    """Two panels; a run that was cut off is hatched in the first and has an arrow in the second.

    A bar is the slowest question of its case.
    """
    timed = [line for line in lines if line.seconds is not None]
    peers = list(dict.fromkeys(line.engine for line in timed if not line.ours))
    colours = {OURS: _OUR_COLOUR} | {peer: _COLOURS[number % len(_COLOURS)] for number, peer in enumerate(peers)}
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.edgecolor": MUTED}):
        figure = Figure(figsize=(12, 6), facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        bars, growth = figure.subplots(1, 2, width_ratios=(1.5, 1))
        _draw_bars(bars, timed, colours)
        _draw_growth(growth, timed, colours)
        for axes in (bars, growth):
            axes.spines[["top", "right"]].set_visible(False)
        handles = [mpl.patches.Patch(color=colour, label=name) for name, colour in colours.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _who(line: Line) -> str:
    return OURS if line.ours else line.engine


def _draw_bars(axes: Axes, lines: Sequence[Line], colours: dict[str, str]) -> None:
    slowest: dict[tuple[str, str], Line] = {}
    for line in lines:
        key = (line.case, _who(line))
        if key not in slowest or (line.seconds or 0) > (slowest[key].seconds or 0):
            slowest[key] = line
    cases = list(dict.fromkeys(line.case for line in lines))
    at, ticks = 0.0, list[float]()
    for case in cases:
        group = [(who, slowest[case, who]) for who in colours if (case, who) in slowest]
        places = at + np.arange(len(group))
        ticks.append(float(places.mean()))
        for place, (who, line) in zip(places.tolist(), group, strict=True):
            hatch, alpha = ("///", 0.6) if line.cut_off else (None, 1.0)
            axes.barh(
                place, line.seconds or 0.0, height=0.85, color=colours[who], edgecolor="white", linewidth=0,
                hatch=hatch, alpha=alpha,
            )  # fmt: skip
        at = float(places[-1]) + 2
    axes.set_yticks(ticks, cases)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds, slowest question of each case (hatched: cut off)")
    axes.grid(axis="x", color=MUTED, alpha=0.2)


def _draw_growth(axes: Axes, lines: Sequence[Line], colours: dict[str, str]) -> None:
    markers = dict(zip(colours, "o" + _MARKERS, strict=False))
    sizes = sorted({line.ports for line in lines if line.ports is not None})
    for who, colour in colours.items():
        points: dict[int, Line] = {}
        for line in lines:
            if line.ports is not None and _who(line) == who:
                before = points.get(line.ports)
                if before is None or (line.seconds or 0) > (before.seconds or 0):
                    points[line.ports] = line
        if not points:
            continue
        seconds = [points[size].seconds or 0.0 for size in sorted(points)]
        axes.plot(sorted(points), seconds, color=colour, marker=markers.get(who, "o"), markersize=5)
        for size, line in points.items():
            if line.cut_off and line.seconds is not None:
                axes.annotate(
                    "", (size, line.seconds * 4), (size, line.seconds),
                    arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.5},
                )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.margins(y=0.12)
    axes.set_xlabel("k of the fat-tree, all-to-all (arrows: cut off)")
    axes.set_ylabel("seconds")
    axes.grid(color=MUTED, alpha=0.2)
