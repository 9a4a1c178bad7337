"""The picture of a run: which share of the questions took longer than so long, quiet and disturbed."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.channel.lines import RoundTrips

INK, MUTED = "#1d2733", "#6b7785"
_QUIET = "#9aa5b1"
_COLOURS = ("#1f6f43", "#c0271d", "#f0a030", "#5b9bd5", "#8e5ea2", "#2f5d8a")
_COLUMNS = 3
_QUIET_WORD = ", quiet"


def draw(round_trips: Sequence[RoundTrips]) -> Figure:
    """A panel for each row and framework; quiet times are grey, one line for each thing that was asked."""
    panels = list(dict.fromkeys((trips.row, trips.framework) for trips in round_trips))
    across = max(1, min(_COLUMNS, len(panels)))
    down = max(1, -(-len(panels) // across))
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.edgecolor": MUTED}):
        figure = Figure(figsize=(4.5 * across, 3.5 * down), facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        all_axes = figure.subplots(down, across, squeeze=False).flat
        for axes, (row, framework) in zip(all_axes, panels, strict=False):
            _draw_panel(axes, [trips for trips in round_trips if (trips.row, trips.framework) == (row, framework)])
            axes.set_title(f"{row} ({framework})")
        for axes in list(figure.axes)[len(panels) :]:
            axes.set_axis_off()
    return figure


def _draw_panel(axes: Axes, round_trips: Sequence[RoundTrips]) -> None:
    colours = iter(_COLOURS * len(round_trips))
    for trips in round_trips:
        quiet = trips.what.endswith(_QUIET_WORD)
        answered_ms = np.sort(trips.seconds[np.isfinite(trips.seconds)]) * 1e3
        # Those without an answer stay above every time.
        longer = 1 - np.arange(1, len(answered_ms) + 1) / max(1, len(trips.seconds))
        axes.plot(
            answered_ms, np.maximum(longer, 1 / max(1, len(trips.seconds)) / 2), linewidth=1.5,
            color=_QUIET if quiet else next(colours), linestyle=":" if quiet and "ARP" in trips.what else "-",
            label=trips.what,
        )  # fmt: skip
    axes.axhline(0.01, color=MUTED, linewidth=0.5)
    axes.text(0.99, 0.01, "p99", color=MUTED, fontsize=7, ha="right", va="bottom", transform=axes.get_yaxis_transform())
    axes.set_xscale("log")
    axes.set_yscale("log")
    # Less than a decade would have every tick labelled, one over the other.
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("share that took longer")
    axes.grid(color=MUTED, alpha=0.2)
    axes.legend(frameon=False, fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
