"""Who may hold a connection: strangers together, and each address alone, cannot take the places of everybody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet


class Places:
    """What may be connected at a time.

    Parameters
    ----------
    total : int
        Connections in all.
    known : set of int
        Dpids that are declared or allowed by name; they find a place as long as there is one.
    """

    def __init__(self, total: int, known: AbstractSet[int]) -> None:
        self.total = total
        self._known = known
        self._part = max(1, total // 2)

    def refusal(self, dpid: int, host: str, connected: Iterable[tuple[int, str]]) -> str | None:
        """Why a switch at an address finds no place; None where it does.

        Parameters
        ----------
        connected : iterable of (int, str)
            Dpid and address of each connected switch.
        """
        if dpid in self._known:
            return None
        strangers = Counter(home for other, home in connected if other not in self._known)
        if strangers[host] >= self._part:
            return f"comes from an address that has {strangers[host]} switches connected, as many as one may have"
        if self._known and strangers.total() >= self._part:
            return f"is not declared, and {strangers.total()} such switches are connected, as many as may be"
        return None
