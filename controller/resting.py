"""Labels that were given up, and rest until no packet can carry them any more."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from controller.store import Pushed, Store
from topologies.errors import HeddleError

log = logging.getLogger(__name__)

REST_S = 10.0
"""Rest of a label once a switch that pushed it is known to do so no more."""


class RestingLabels:
    """Labels at rest, each with the switches that pushed it.

    A switch that is out of reach goes on pushing: what it pushes rests for as long as it stays away. Labels of an
    earlier run, whose end nobody saw, rest anew. A label may rest because of one switch while paths of others use it.

    Parameters
    ----------
    store : Store
        Has the labels from `Store.save_plan`, in the same step that gives them up.
    """

    def __init__(self, store: Store, now_s: float) -> None:
        self._store = store
        self._resting = dict.fromkeys(store.resting_labels(), now_s)

    def give_up(self, pushed: Iterable[Pushed], now_s: float) -> None:
        """Lay labels to rest."""
        self._resting |= dict.fromkeys(pushed, now_s)

    def of(self, switches: AbstractSet[str]) -> frozenset[int]:
        """Resting labels that these switches pushed."""
        return frozenset(label for label, switch in self._resting if switch in switches)

    def at(
        self, now_s: float, connected: AbstractSet[str], pushed_now: AbstractSet[tuple[int, str]] = frozenset()
    ) -> frozenset[int]:
        """Labels that must not be used again yet.

        Parameters
        ----------
        connected : set of str
            Switches within reach, whose rules are known.
        pushed_now : set of (int, str)
            What these push still, by the rules that they have: a switch may refuse to stop.
        """
        over = []
        for pushed, since_s in self._resting.items():
            if pushed.switch not in connected or pushed in pushed_now:
                self._resting[pushed] = now_s
            elif now_s - since_s >= REST_S:
                over.append(pushed)
        for pushed in over:
            del self._resting[pushed]
        if over:
            try:
                self._store.release_labels(over)
            except HeddleError as error:
                # They rest once more after a restart, which harms nobody.
                log.warning("labels stay in the store: %s", error)
        return frozenset(label for label, _ in self._resting)
