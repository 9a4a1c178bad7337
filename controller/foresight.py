"""A plan for the fabric that is declared, made while its switches still connect: it is there once they have."""

from __future__ import annotations

from dataclasses import replace

from controller.planning import PlanAnswer, PlanRequest
from topologies.errors import HeddleError


class Foresight:
    """What was asked ahead, and what became of it.

    Attributes
    ----------
    request : PlanRequest or None
        None before something is asked ahead, and once that is no longer of use.
    """

    def __init__(self) -> None:
        self.request: PlanRequest | None = None
        self._answer: PlanAnswer | None = None
        self._waiting: PlanRequest | None = None

    def asked(self, request: PlanRequest) -> None:
        """The planner was asked this."""
        self.request = request

    def answered(self, answer: PlanAnswer | HeddleError) -> PlanRequest | None:
        """The answer is there; the real question that waits for it, if there is one."""
        waiting, self._waiting = self._waiting, None
        if isinstance(answer, HeddleError):
            self.request = None
        else:
            self._answer = answer
        return waiting

    def foresaw(self, request: PlanRequest) -> bool:
        """Whether a real question need not be asked, since the same was asked ahead; any other ends the foresight."""
        ahead = self.request
        if ahead is None or replace(ahead, lacking=request.lacking, quarantined=request.quarantined) != request:
            self.request = self._answer = self._waiting = None
            return False
        self._waiting = request
        return True

    @property
    def is_answered(self) -> bool:
        """Whether the answer is there."""
        return self._answer is not None

    def take(self, request: PlanRequest) -> PlanAnswer | None:
        """The answer to a question that was foreseen; None where it uses a label that some switch knows by now."""
        answer, self._answer = self._answer, None
        self.request = self._waiting = None
        if answer is None:
            return None
        active = request.active.paths if request.active is not None else ()
        new = {label for tunnel, label in answer.detours.items() if request.detours.get(tunnel) != label}
        new |= {path.label for path in (answer.plan.paths if answer.plan is not None else ())}
        new -= {path.label for path in active}
        return answer if new.isdisjoint(request.quarantined) else None
