"""When the fabric is known well enough after a start: before that, nothing that carries traffic may be removed."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from controller.service import PlanStatus
from topologies.fabric import Fabric

SETTLE_S = 2.0
"""Nothing new was found for this long, and nothing was declared that could still be missing."""
LATE_S = 15.0
"""Longer where something that is expected is missing: Open vSwitch tries again every 8 s at the least."""

LONGEST_S = 60.0
"""Since the first switch: something may change for ever (a port that flaps), and must not hold up all else."""


class Settling:
    """What to wait for.

    Parameters
    ----------
    declared : Fabric or None
        The fabric file's content.
    plan : PlanStatus or None
        The plan of an earlier run.
    with_hosts : iterable of str
        Switches at which hosts were known.
    """

    def __init__(self, declared: Fabric | None, plan: PlanStatus | None, with_hosts: Iterable[str]) -> None:
        self._declared = declared
        switches = {node.id for node in declared.switches} if declared is not None else set()
        planned = {link.node for path in (plan.paths if plan is not None else ()) for link in path.links[1:]}
        self._expected = frozenset(switches | planned | set(with_hosts))

    def missing(self, connected: AbstractSet[str]) -> list[str]:
        """Expected switches that have not come, by name."""
        return sorted(self._expected - connected)

    def is_over(
        self, fabric: Fabric, connected: AbstractSet[str], *, unread: int, quiet_s: float, since_first_s: float
    ) -> bool:
        """Whether to go on with what is known.

        Parameters
        ----------
        connected : set of str
            Switches whose rules are known.
        unread : int
            How many switches are there whose rules are still being read.
        quiet_s : float
            Time in which nothing has changed.
        since_first_s : float
            Time since the first switch came.
        """
        if not connected:
            return False
        if since_first_s >= LONGEST_S:
            return True
        if unread:
            return False
        if self._declared is not None:
            complete = self._declared.link_by_id.keys() <= fabric.link_by_id.keys()
            return complete or quiet_s >= LATE_S
        return quiet_s >= (LATE_S if self.missing(connected) else SETTLE_S)
