"""How much time is left, and who wants to know how far a solve has come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a solve has come.

    Attributes
    ----------
    seconds : float
        Since the solve began.
    phase : str
        What is being done, in a few words.
    value, bound : float or None
        Of the best routing so far, and what none can better; None while there is none.
    """

    seconds: float
    phase: str
    value: float | None = None
    bound: float | None = None

    @property
    def gap(self) -> float | None:
        """``|value - bound| / max(|value|, |bound|)``; None while one of them is missing."""
        if self.value is None or self.bound is None:
            return None
        largest = max(abs(self.value), abs(self.bound))
        return abs(self.value - self.bound) / largest if largest else 0.0


@dataclass(frozen=True, slots=True)
class Watch:
    """The clock of one solve.

    Attributes
    ----------
    limit_s : float
        Seconds that it may take; infinite where nobody set a limit.
    report : callable or None
        Told of every step forward.
    """

    limit_s: float = math.inf
    report: Callable[[Progress], None] | None = None
    started_s: float = field(default_factory=time.perf_counter)

    def spent_s(self) -> float:
        return time.perf_counter() - self.started_s

    def left_s(self) -> float:
        return self.limit_s - self.spent_s()

    def expired(self) -> bool:
        return self.left_s() <= 0

    def tell(self, phase: str, value: float | None = None, bound: float | None = None) -> None:
        """Report progress, where somebody wants to know."""
        if self.report is not None:
            self.report(Progress(self.spent_s(), phase, value, bound))

    def until(self, share: float) -> Watch:
        """The same watch with only a share of what is left of the limit."""
        limit_s = self.limit_s if math.isinf(self.limit_s) else self.spent_s() + share * max(self.left_s(), 0.0)
        return Watch(limit_s, self.report, self.started_s)
