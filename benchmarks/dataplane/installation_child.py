"""A daemon's channel and its switch, told by lines of standard input what to commit; it says how long that took."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from functools import partial
from typing import Any

from benchmarks.dataplane.installation_rules import base_flows, flows, groups
from controller import framework, wire
from controller.app import ConnectedSwitch
from controller.channel import ChannelServer, Connection
from controller.framework import DEAD, MAIN, ofp_event
from dataplane.update import AddFlow, AddGroup, Operation, RemoveFlow
from topologies.errors import HeddleError


class Child(framework.App):
    """Listens for one switch; ``bundled`` and ``plain`` add the rules, ``read`` reads them, ``clear`` removes them."""

    def __init__(self, rules: int) -> None:
        super().__init__()
        self._wanted = flows(rules)
        self._switch: Connection | None = None
        self._longest_s = 0.0

    def start(self) -> None:
        super().start()
        self._channel = ChannelServer("127.0.0.1", 0)
        self._channel.start()
        # As the daemon does.
        gc.collect()
        gc.freeze()
        framework.spawn(self._watch)
        threading.Thread(target=self._read_commands, daemon=True).start()
        _say(port=self._channel.port)

    def close(self) -> None:
        self._channel.close()

    @framework.set_ev_cls(ofp_event.EventOFPStateChange, [MAIN, DEAD])
    def on_state(self, event: Any) -> None:
        if event.state == MAIN:
            self._switch = event.datapath
            framework.spawn(self._begin, event.datapath)
        else:
            _say(error=f"the switch is gone: {event.datapath.close_reason}")

    def _begin(self, switch: Connection) -> None:
        known: list[Operation] = [*map(AddGroup, groups()), *map(AddFlow, base_flows())]
        _say(refused=ConnectedSwitch(switch).commit(known))

    def _watch(self) -> None:
        """Notice how long other tasks have to wait at most."""
        while True:
            before_s = time.perf_counter()
            framework.sleep(0)
            self._longest_s = max(self._longest_s, time.perf_counter() - before_s)
            framework.sleep(0.0005)

    def _read_commands(self) -> None:
        for line in sys.stdin:
            command = line.strip()
            framework.call_soon(partial(framework.spawn, self._obey, command))
        framework.stop()

    def _obey(self, command: str) -> None:
        if self._switch is None:
            return
        try:
            _say(**self._measured(self._switch, command))
        except HeddleError as error:
            _say(error=str(error))

    def _measured(self, switch: Connection, command: str) -> dict[str, Any]:
        clears = command == "clear"
        operations: list[Operation] = [RemoveFlow(flow) if clears else AddFlow(flow) for flow in self._wanted]
        self._longest_s = 0.0
        begun_s = time.perf_counter()
        if command == "read":
            rules = wire.read_rules(switch).rules
            said: dict[str, Any] = {"whole": rules.flows == {*self._wanted, *base_flows()}}
        elif command == "plain":
            result = switch.send_batch(operations, wire.encode, bundled=False)
            said = {"refused": [wire.describe_error(refusal.error) for refusal in result.errors]}
        else:
            said = {"refused": ConnectedSwitch(switch).commit(operations)}
        return said | {"seconds": time.perf_counter() - begun_s, "longest_s": self._longest_s}


def _say(**said: Any) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    framework.run(Child, int(sys.argv[1]))
