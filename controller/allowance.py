"""How much of one kind of event is said: enough to know of it, and never as much as somebody can make of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0
MAX_SUMMARIES = 10
"""Sources whose silence is broken by a summary of their own; what others say beside them is summed up as one."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be said of a kind in any `WINDOW_S`.

    Attributes
    ----------
    per_source, per_kind : int
        Sentences of one source, and of all. Summaries come on top: at most one for a source, and `MAX_SUMMARIES` + 1.
    repeats : bool
        Whether the same sentence of a source may be said again: it is news each time.
    """

    per_source: int
    per_kind: int
    repeats: bool


@dataclass(slots=True)
class _Voice:
    """One source: what it was heard with, and what was held back of it since."""

    said: deque[tuple[float, str]] = field(default_factory=deque)
    held: int = 0
    held_since_s: float = 0.0
    last: str = ""

    def hold(self, message: str, now_s: float) -> None:
        if not self.held:
            self.held_since_s = now_s
        self.held += 1
        self.last = message

    def absorb(self, other: _Voice) -> None:
        self.held_since_s = min(self.held_since_s, other.held_since_s) if self.held else other.held_since_s
        self.held += other.held
        self.last = other.last
        other.held = 0

    def released(self, message: str, now_s: float) -> str:
        """A sentence that is said, with how many were held back before it."""
        held, self.held = self.held, 0
        return (
            f"{message} (and {held} more like it in the last {_seconds(now_s - self.held_since_s)})"
            if held
            else message
        )

    def summary(self, now_s: float) -> str:
        """The latest of those held back, with how many there were."""
        held, self.held = self.held, 0
        return f"{self.last} (the last of {held} more like it in the last {_seconds(now_s - self.held_since_s)})"


class Restraint:
    """Says which sentences of one kind are said, and sums up the rest.

    Its memory is bounded by the allowance: a source is remembered once something of it was said.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._said_s: deque[float] = deque()
        self._voices: dict[str, _Voice] = {}
        self._others = _Voice()

    def admit(self, message: str, source: str, now_s: float) -> str | None:
        """The sentence as it is to be said, or None where it is held back."""
        while self._said_s and now_s - self._said_s[0] >= WINDOW_S:
            self._said_s.popleft()
        full = len(self._said_s) >= self._allowance.per_kind
        voice = self._voices.get(source)
        if voice is None:
            voice = self._others if full else self._voices.setdefault(source, _Voice())
        if full or not self._may_say(voice, message, now_s):
            voice.hold(message, now_s)
            return None
        voice.said.append((now_s, message))
        self._said_s.append(now_s)
        return voice.released(message, now_s)

    def _may_say(self, voice: _Voice, message: str, now_s: float) -> bool:
        while voice.said and now_s - voice.said[0][0] >= WINDOW_S:
            voice.said.popleft()
        if len(voice.said) >= self._allowance.per_source:
            return False
        return self._allowance.repeats or all(message != said for _, said in voice.said)

    def sum_up(self, now_s: float, *, at_once: bool = False) -> list[str]:
        """What is to be said of the sentences held back, once the first of them has waited for `WINDOW_S`.

        Parameters
        ----------
        at_once : bool
            However long they have waited: nothing comes after this.
        """
        summaries = []
        silenced = sorted((voice for voice in self._voices.values() if voice.held), key=lambda voice: -voice.held)
        held_since_s = min((voice.held_since_s for voice in (*silenced, self._others) if voice.held), default=now_s)
        if at_once or now_s - held_since_s >= WINDOW_S:
            for voice in silenced[MAX_SUMMARIES:]:
                self._others.absorb(voice)
            for voice in silenced[:MAX_SUMMARIES]:
                # It counts as said, so that one who only repeats himself is not heard twice.
                voice.said.append((now_s, voice.last))
                summaries.append(voice.summary(now_s))
            if self._others.held:
                summaries.append(self._others.summary(now_s))
        self._voices = {
            source: voice
            for source, voice in self._voices.items()
            if voice.held or (voice.said and now_s - voice.said[-1][0] < WINDOW_S)
        }
        return summaries

    @property
    def sources(self) -> int:
        """How many sources are remembered."""
        return len(self._voices)


def _seconds(duration_s: float) -> str:
    return f"{max(1, round(duration_s))} s"
