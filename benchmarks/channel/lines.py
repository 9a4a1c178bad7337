"""What a measurement says: figures against their limits, and the round trips that a picture shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.channel.fleet import Answers, p99_s


@dataclass(frozen=True, slots=True)
class Line:
    """One figure.

    Attributes
    ----------
    row, framework : str
        What was measured, and on which framework.
    figure : float
        In ``unit``; infinite where what was waited for did not come.
    limit : float or None
        None where it is only told.
    """

    row: str
    framework: str
    what: str
    figure: float
    unit: str
    limit: float | None
    ok: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """A distribution for the picture, in seconds."""

    row: str
    framework: str
    what: str
    seconds: NDArray[np.float64]


@dataclass(slots=True)
class Run:
    """One row on one framework as it is measured.

    Attributes
    ----------
    quick : bool
        Everything shorter, so that it is tried rather than measured.
    """

    row: str
    framework: str
    quick: bool
    tell: Callable[[str], None]
    lines: list[Line] = field(default_factory=list)
    round_trips: list[RoundTrips] = field(default_factory=list)

    def at_most(self, what: str, figure: float, unit: str, limit: float, note: str = "") -> None:
        """A figure that must not be above its limit."""
        self._add(what, figure, unit, limit, figure <= limit, note)

    def at_least(self, what: str, figure: float, unit: str, limit: float, note: str = "") -> None:
        """A figure that must not be below its limit."""
        self._add(what, figure, unit, limit, figure >= limit, note)

    def told(self, what: str, figure: float, unit: str, note: str = "") -> None:
        """A figure without a limit."""
        self._add(what, figure, unit, None, True, note)

    def echoes(self, what: str, answers: Answers, limit_s: float | None = None) -> None:
        """The 99th percentile of echoes' round trips; the picture shows them all."""
        self._trips(f"echo, {what}", answers.echo_s, answers.own_s, limit_s)

    def arps(self, what: str, answers: Answers, limit_s: float | None = None) -> None:
        """The 99th percentile of the times from ARP request to reply; the picture shows them all."""
        self._trips(f"ARP, {what}", answers.arp_s, answers.own_s, limit_s)

    def _trips(
        self, what: str, seconds: NDArray[np.float64], own_s: NDArray[np.float64], limit_s: float | None
    ) -> None:
        self.round_trips.append(RoundTrips(self.row, self.framework, what, seconds))
        answered = seconds[np.isfinite(seconds)]
        median = f"median {np.median(answered) * 1e3:.2g} ms, " if len(answered) else ""
        lost = len(seconds) - len(answered)
        note = f"{median}{len(seconds)} asked" + (f", {lost} without an answer" if lost else "")
        note += f"; our own delay {p99_s(own_s) * 1e3:.2g} ms"
        figure, name = p99_s(seconds) * 1e3, f"{what}, p99"
        if limit_s is None:
            self.told(name, figure, "ms", note)
        else:
            self.at_most(name, figure, "ms", limit_s * 1e3, note)

    def p99_s(self, what: str) -> float:
        """The 99th percentile of round trips that were added before."""
        return p99_s(next(trips.seconds for trips in self.round_trips if trips.what == what))

    def _add(self, what: str, figure: float, unit: str, limit: float | None, ok: bool, note: str) -> None:
        line = Line(self.row, self.framework, what, figure, unit, limit, ok, note)
        self.lines.append(line)
        self.tell(f"{line.row} ({line.framework}): {what} {shown(figure)} {unit}")


def shown(figure: float) -> str:
    """A figure as people read it."""
    if math.isinf(figure):
        return "never"
    return f"{figure:,.0f}" if abs(figure) >= 1000 or figure == int(figure) else f"{figure:.3g}"
