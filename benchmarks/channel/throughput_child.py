"""A controller that sends each packet back: on Heddle's channel, or on the framework's own and nothing of Heddle's.

Run ``python -m benchmarks.channel.throughput_child heddle|bare PORT`` with ``HEDDLE_FRAMEWORK`` set; PORT is where it
listens. It prints a line once it does.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from controller import framework
from controller.framework import MAIN, ofp_event, ofproto, ofproto_parser

HEDDLE, BARE = "heddle", "bare"


class Echoing(framework.App):
    """What both have in common."""

    @framework.set_ev_cls(ofp_event.EventOFPPacketIn, MAIN)
    def _packet_in(self, event: Any) -> None:
        message = event.msg
        actions = [ofproto_parser.OFPActionOutput(1, 0)]
        message.datapath.send_msg(
            ofproto_parser.OFPPacketOut(
                message.datapath, ofproto.OFP_NO_BUFFER, ofproto.OFPP_CONTROLLER, actions, message.data
            )
        )


class OnOurChannel(Echoing):
    """With the channel that the daemon has."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def start(self) -> None:
        from controller.channel import ChannelServer

        super().start()
        self._channel = ChannelServer("127.0.0.1", self._port)
        self._channel.start()
        print("listening", flush=True)

    def close(self) -> None:
        self._channel.close()
        super().close()


def run_bare(port: int) -> None:
    """As the framework's own manager would run it: its handler of the handshake, its listener, and the application."""
    package = "ryu" if framework.FRAMEWORK == "ryu" else "os_ken"
    hub, app_manager, config, controller, handler = (
        importlib.import_module(f"{package}.{name}")
        for name in ("lib.hub", "base.app_manager", "cfg", "controller.controller", "controller.ofp_handler")
    )
    config.CONF([], project=package)
    config.CONF.set_override("ofp_listen_host", "127.0.0.1")
    config.CONF.set_override("ofp_tcp_listen_port", port)
    assert issubclass(controller.Datapath, framework.Datapath)  # noqa: S101 - that nothing of ours is in between
    manager = app_manager.AppManager.get_instance()
    serving = manager.instantiate(handler.OFPHandler).start()
    manager.instantiate(Echoing).start()
    print("listening", flush=True)
    hub.joinall([serving])


def main() -> None:
    """Serve until the process is ended."""
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == HEDDLE:
        framework.run(OnOurChannel, port)
    else:
        run_bare(port)


if __name__ == "__main__":
    main()
