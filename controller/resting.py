"""Labels that were given up, and rest until no packet can carry them any more."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from controller.store import Store
from topologies.errors import HeddleError

log = logging.getLogger(__name__)

REST_S = 10.0
"""Rest of a label once the switch that pushed it is known to do so no more."""


class RestingLabels:
    """Labels at rest, each with the ingress switch that pushed it.

    An ingress that is out of reach goes on pushing: its labels rest for as long as it stays away. Those of an
    earlier run, whose end nobody saw, rest anew.

    Parameters
    ----------
    store : Store
        Has the labels from `Store.save_plan`, in the same step that gives them up.
    """

    def __init__(self, store: Store, now_s: float) -> None:
        self._store = store
        self._resting = {label: (ingress, now_s) for label, ingress in store.resting_labels().items()}

    def give_up(self, labels: Mapping[int, str], now_s: float) -> None:
        """Lay labels to rest, each with its ingress."""
        self._resting |= {label: (ingress, now_s) for label, ingress in labels.items()}

    def of(self, ingresses: AbstractSet[str]) -> frozenset[int]:
        """Resting labels that these switches pushed."""
        return frozenset(label for label, (ingress, _) in self._resting.items() if ingress in ingresses)

    def at(self, now_s: float, connected: AbstractSet[str]) -> frozenset[int]:
        """Labels that must not be used again yet.

        Parameters
        ----------
        connected : set of str
            Switches within reach, whose rules are known.
        """
        over = []
        for label, (ingress, since_s) in self._resting.items():
            if ingress not in connected:
                self._resting[label] = (ingress, now_s)
            elif now_s - since_s >= REST_S:
                over.append(label)
        for label in over:
            del self._resting[label]
        if over:
            try:
                self._store.release_labels(over)
            except HeddleError as error:
                # They rest once more after a restart, which harms nobody.
                log.warning("labels stay in the store: %s", error)
        return frozenset(self._resting)
