"""Whether a peer lives: when to ask it, and when its silence counts. Reads no clock; every call takes the time."""

from __future__ import annotations


class Liveness:
    """What was heard of one peer.

    Parameters
    ----------
    ask_after_s, silent_after_s : float
        A peer that said nothing for so long is asked, and counts as silent.
    max_answer_s : float
        Longest time for an answer from a peer that says other things meanwhile: it does not read.
    """

    def __init__(self, ask_after_s: float, silent_after_s: float, max_answer_s: float, now_s: float) -> None:
        self._ask_after_s = ask_after_s
        self._silent_after_s = silent_after_s
        self._max_answer_s = max_answer_s
        self.heard_s = self._asked_s = now_s
        self._unanswered_s: float | None = None

    def answered(self) -> None:
        """It answered what it was asked."""
        self._unanswered_s = None

    def excuse(self, seconds: float) -> None:
        """Nothing could be heard for a while, and that was our own doing."""
        self.heard_s += seconds
        if self._unanswered_s is not None:
            self._unanswered_s += seconds

    def fault(self, now_s: float) -> str | None:
        """Why the peer counts as dead; None where it does not."""
        quiet_s = now_s - self.heard_s
        if quiet_s >= self._silent_after_s:
            return f"silent: nothing was heard for {quiet_s:.1f} s"
        if self._unanswered_s is not None and now_s - self._unanswered_s >= self._max_answer_s:
            return f"it sends, but has not answered an echo request for {self._max_answer_s:g} s"
        return None

    def ask_now(self, now_s: float) -> bool:
        """Whether to ask it now; often where it is quiet, seldom where it is heard anyway."""
        quiet = now_s - self.heard_s >= self._ask_after_s
        if now_s - self._asked_s < (self._ask_after_s if quiet else self._max_answer_s / 3):
            return False
        self._asked_s = now_s
        if self._unanswered_s is None:
            self._unanswered_s = now_s
        return True
