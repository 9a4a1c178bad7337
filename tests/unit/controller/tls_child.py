"""The child of `channel_child` with TLS: files and trust come with the limits, and refusals go out as events too."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from channel_child import Child, say

from controller import framework
from controller.channel import ChannelLimits, ChannelServer
from controller.config import SwitchesConfig, TlsConfig
from controller.framework import DEAD, MAIN, ofp_event
from controller.tls import TlsIdentity
from controller.trust import trusted_switches


class TlsChild(Child):
    def __init__(self, limits: ChannelLimits, files: TlsConfig, switches: SwitchesConfig) -> None:
        super().__init__(limits)
        self.identity, self.trust = TlsIdentity(files), trusted_switches(switches, None)

    def start(self) -> None:
        framework.App.start(self)
        self.channel = ChannelServer(
            "127.0.0.1", 0, self.limits, lambda kind, sentence, _peer: say("refused", kind=kind, sentence=sentence),
            tls=self.identity, trust=self.trust,
        )  # fmt: skip
        self.channel.start()
        threading.Thread(target=self.read_commands, daemon=True).start()
        say("listening", port=self.channel.port, framework=framework.FRAMEWORK)

    @framework.set_ev_cls(ofp_event.EventOFPStateChange, [MAIN, DEAD])
    def on_state(self, event: Any) -> None:
        if event.state == MAIN:
            say("certificate", dpid=event.datapath.id, fingerprint=event.datapath.fingerprint)
        super().on_state(event)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    framework.run(
        TlsChild,
        ChannelLimits(**given["limits"]),
        TlsConfig(**{name: Path(path) for name, path in given["files"].items()}),
        SwitchesConfig(**given["switches"]),
    )
