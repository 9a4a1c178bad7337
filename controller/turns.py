"""Who of the connections works next: those that have lately taken least, so that nobody waits behind the busy ones.

Tasks switch only where they wait, and a hundred connections that each work for a moment whenever they wake would keep
everybody else waiting for a hundred moments. So a connection that is not nearly idle queues before it works, and one
of them at a time gets a turn; between two turns everything else runs, and whoever wakes meanwhile with less on its
account goes first.
"""

from __future__ import annotations

import heapq
import itertools
import math

from controller import framework

TURN_S = 0.001
"""How long a connection works before others get their turn."""
_MEMORY_S = 1.0
"""What was taken so long ago counts a third."""
_LIGHT_S = 0.002
"""Whoever has taken less lately need not queue, within the allowance for all of them."""
_LIGHT_IN_ALL_S, _WINDOW_S = 0.004, 0.01
"""What those who do not queue may take together in any such window: many may wake at once."""


class Account:
    """What one connection has taken lately, fading."""

    def __init__(self) -> None:
        self._taken_s = 0.0
        self._at_s = 0.0

    def taken_s(self, now_s: float) -> float:
        """Seconds of work, older ones counting less."""
        return self._taken_s * math.exp((self._at_s - now_s) / _MEMORY_S)

    def charge(self, seconds: float, now_s: float) -> None:
        """Add work that was just done."""
        self._taken_s = self.taken_s(now_s) + seconds
        self._at_s = now_s


class Turns:
    """The queue of connections that want to work; in the OpenFlow thread."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, framework.Event]] = []
        self._count = itertools.count()
        self._somebody_waits = framework.Event()
        self._window_s = self._light_s = 0.0
        self._closed = False

    def take(self, account: Account) -> float:
        """Wait for a turn; returns the time at which it begins, for `give`."""
        now_s = framework.now_s()
        if self._is_light(account, now_s):
            return now_s
        # Accounts fade alike, so the logarithm in the units of one moment compares those of different moments.
        rank = math.log(account.taken_s(now_s) + 1e-6) + now_s / _MEMORY_S
        turn = framework.Event()
        heapq.heappush(self._waiting, (rank, next(self._count), turn))
        self._somebody_waits.set()
        turn.wait()
        return framework.now_s()

    def give(self, account: Account, began_s: float) -> None:
        """The turn is over."""
        now_s = framework.now_s()
        account.charge(now_s - began_s, now_s)
        self._light_s += now_s - began_s

    def _is_light(self, account: Account, now_s: float) -> bool:
        if now_s - self._window_s >= _WINDOW_S:
            self._window_s, self._light_s = now_s, 0.0
        if self._closed:
            return True
        return not self._waiting and account.taken_s(now_s) < _LIGHT_S and self._light_s < _LIGHT_IN_ALL_S

    def serve(self) -> None:
        """Give turns for ever; the task of the server."""
        while True:
            while not self._waiting:
                self._somebody_waits.clear()
                self._somebody_waits.wait()
            heapq.heappop(self._waiting)[2].set()
            # The one that was called works before this goes on, and so does all that has become ready.
            framework.sleep(0)

    def close(self) -> None:
        """Let everybody go who waits, and whoever comes."""
        self._closed = True
        for _, _, turn in self._waiting:
            turn.set()
        self._waiting.clear()
