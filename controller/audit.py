"""Looks at every switch again and again: what others changed of its rules is told and put right.

Each switch's tables are read every few seconds, a few switches at a time, and compared with what the switch has
confirmed. What differs is put back by itself, at once and beside whatever is being installed: neither the plan nor
another switch is touched. Where a switch refuses that, its rules count as what was read, and it is planned for anew.

Reading takes a tenth of the time at most: up to some 40,000 rules in all every switch is looked at each `EVERY_S`,
beyond that in proportion less often.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from controller.commits import AccountedSwitch
from controller.drift import Drift, Rule, find_drift
from controller.eventlog import EventLog
from controller.foreign import ForeignFlows
from controller.installer import turns
from controller.runtime import Runtime
from controller.strays import TablesRead
from dataplane.rules import SwitchRules
from topologies.errors import HeddleError

EVERY_S = 5.0
"""Time from one look at a switch to the next."""
SOON_S = 0.5
"""Where something was being installed meanwhile."""
AT_ONCE = 4
"""Switches looked at together, so that one that answers late does not keep the others waiting."""
REST_S = 5e-4
"""Rest for each rule that was read and compared, which takes some 15 µs, before another switch has its turn."""
_ROUNDS = 4


class Audit:
    """Who is looked at when, and what comes of it.

    Parameters
    ----------
    lacks : callable
        Told of a switch that refused to be put right, with the rules that it has.
    """

    def __init__(
        self,
        runtime: Runtime,
        events: EventLog,
        foreign: ForeignFlows,
        lacks: Callable[[str, AccountedSwitch, SwitchRules], None],
    ) -> None:
        self._runtime = runtime
        self._events = events
        self._foreign = foreign
        self._lacks = lacks
        self._switches: dict[str, AccountedSwitch] = {}
        self._due_s: dict[str, float] = {}
        self._looking: set[str] = set()
        # Rules that a switch has and describes in other words than they were sent in.
        self._otherwise: dict[str, frozenset[Rule]] = {}

    def came(self, name: str, switch: AccountedSwitch, now_s: float) -> None:
        """A switch is there, and its rules are known."""
        self._switches[name] = switch
        self._due_s[name] = now_s + EVERY_S

    def went(self, name: str) -> None:
        """A switch is out of reach."""
        self._switches.pop(name, None)
        self._due_s.pop(name, None)
        self._otherwise.pop(name, None)

    def tick(self, now_s: float, lacking: AbstractSet[str]) -> None:
        """Begin to look at those that are due, as far as others are done.

        Parameters
        ----------
        lacking : set of str
            Switches left alone: they may lack rules of the plan, so what nobody knows there may carry its traffic.
        """
        waiting = sorted((due_s, name) for name, due_s in self._due_s.items() if name not in self._looking | lacking)
        for due_s, name in waiting[: AT_ONCE - len(self._looking)]:
            if due_s > now_s:
                break
            self._looking.add(name)
            self._due_s[name] = now_s + EVERY_S
            switch = self._switches[name]
            self._runtime.spawn(lambda name=name, switch=switch: self._look(name, switch))  # type: ignore[misc]

    def _look(self, name: str, switch: AccountedSwitch) -> None:
        try:
            self._put_right(name, switch)
        except HeddleError:
            # It does not answer: others tell of that, and its rules are read when it is back.
            return
        finally:
            self._looking.discard(name)

    def _put_right(self, name: str, switch: AccountedSwitch) -> None:
        put_back: frozenset[Rule] = frozenset()
        for number in range(_ROUNDS):
            rest = turns(self._runtime)
            wanted, mark = switch.holds(rest), switch.mark()
            # Where nobody knows what it holds, that is known from here on.
            read = switch.read_rules()
            if self._switches.get(name) is not switch:
                return
            if wanted is None or mark is None or switch.mark() != mark:
                self._due_s[name] = self._runtime.now_s() + SOON_S
                return
            self._foreign.seen(name, read.foreign)
            drift = find_drift(wanted, read, self._otherwise.get(name, frozenset()), rest)
            if not drift:
                self._runtime.sleep(REST_S * _size(read))
                return
            if unseen := drift.restored & put_back:
                # It took them, and shows something else: that is how it says them.
                self._otherwise[name] = self._otherwise.get(name, frozenset()) | unseen
                self._events.note(
                    "rules-otherwise",
                    f"switch {name} shows {len(unseen)} rules in other words than they were sent in; they are left so",
                    name,
                )
                continue
            if number == 0:
                self._events.note("rules-drifted", f"somebody changed rules of switch {name}: {drift}", name)
            if not self._mend(name, switch, drift, read, mark):
                return
            put_back |= drift.restored

    def _mend(self, name: str, switch: AccountedSwitch, drift: Drift, read: TablesRead, mark: int) -> bool:
        """Put a switch's rules right; False where it would not, or was told something else meanwhile."""
        try:
            refused = switch.restore(drift.mends, mark)
        except HeddleError as error:
            switch.disconnect(f"its rules are uncertain: {error}")
            raise
        if refused is None:
            if self._switches.get(name) is switch:
                self._due_s[name] = self._runtime.now_s() + SOON_S
            return False
        if not refused:
            self._events.counts["rules-healed"] += len(drift.mends)
            return True
        for sentence in refused:
            self._events.note("rule-refused", f"switch {name} refused a rule: {sentence}", name)
        if self._switches.get(name) is switch:
            self._lacks(name, switch, read.held)
        return False


def _size(read: TablesRead) -> int:
    rules = read.rules
    return len(rules.flows) + len(rules.groups) + len(rules.meters) + read.foreign + len(read.flows)
