"""What becomes of a switch that has come: its rules are read, and it gets those by which its cables are found."""

from __future__ import annotations

from collections.abc import Callable

from controller.commits import AccountedSwitch
from controller.eventlog import EventLog
from controller.foreign import ForeignFlows
from controller.installer import add_missing, turns
from controller.runtime import Runtime
from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.rules import SwitchRules
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Node, NodeKind

RETRY_S = 1.0
"""Wait before a switch that did not take its first rules is asked again."""


class Welcomes:
    """Switches on their way into the fabric, each in a task of its own.

    Parameters
    ----------
    is_there : callable
        Whether a switch is still the one that is connected under its dpid.
    ready : callable
        Takes a switch by name, and the rules of ours that it has then.
    """

    def __init__(
        self,
        runtime: Runtime,
        events: EventLog,
        foreign: ForeignFlows,
        default: DefaultRouting,
        is_there: Callable[[AccountedSwitch], bool],
        ready: Callable[[str, AccountedSwitch, SwitchRules], None],
    ) -> None:
        self._runtime = runtime
        self._events = events
        self._foreign = foreign
        # What a switch needs before anything is known of its ports: LLDP comes up, the rest is dropped.
        alone = Fabric((Node("alone", NodeKind.SWITCH, dpid=1),), ())
        self._first_rules = compile_rules(alone, default=default)["alone"]
        self._is_there = is_there
        self._ready = ready

    def begin(self, name: str, switch: AccountedSwitch) -> None:
        """A switch has come."""
        self._runtime.spawn(lambda: self._meet(name, switch))

    def _meet(self, name: str, switch: AccountedSwitch) -> None:
        try:
            read = switch.read_rules()
            rules, refused = add_missing(switch, read.held, self._first_rules, turns(self._runtime))
        except HeddleError as error:
            if switch.is_connected:
                self._events.note("switch-silent", f"switch {name} did not take its first rules: {error}", name)
                self._runtime.spawn(lambda: self._again(name, switch))
            return
        if not self._is_there(switch):
            return
        self._foreign.seen(name, read.foreign)
        for sentence in refused:
            self._events.note("rule-refused", f"switch {name} refused a rule: {sentence}", name)
        self._ready(name, switch, rules)

    def _again(self, name: str, switch: AccountedSwitch) -> None:
        self._runtime.sleep(RETRY_S)
        if self._is_there(switch):
            self._meet(name, switch)
