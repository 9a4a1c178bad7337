"""The OpenFlow application: events in, messages out, no decisions (those are `controller.core`'s)."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

from controller import framework, wire
from controller.api import ApiServer
from controller.channel import ChannelServer, Connection
from controller.config import Config
from controller.core import Core
from controller.endpoint import Endpoint
from controller.expiry import LOOK_S, ExpiryWatch
from controller.runtime import Task
from controller.store import Store
from controller.strays import Mend, TablesRead
from controller.tls import TlsIdentity
from controller.trust import trusted_switches
from dataplane.update import Operation
from topologies.errors import HeddleError
from topologies.fabric import Fabric

log = logging.getLogger(__name__)

_GC_THRESHOLDS = (2_000, 5, 50)
"""New objects before the young, the middle and all are searched for cycles, each in units of the one before."""

T = TypeVar("T")

Listening: TypeAlias = Callable[[Endpoint, str], None]

TICK_S = 0.05
COUNTERS_S = 1.0


class GreenRuntime:
    """The framework's hub as `controller.runtime.Runtime`."""

    def now_s(self) -> float:
        return framework.now_s()

    def sleep(self, seconds: float) -> None:
        framework.sleep(seconds)

    def spawn(self, function: Callable[[], None]) -> Task:
        return framework.spawn(function)

    def call_soon(self, function: Callable[[], T]) -> Future[T]:
        return framework.call_soon(function)


class ConnectedSwitch:
    """A connection as `controller.runtime.Switch`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dpid(self) -> int:
        return self._connection.id or 0

    @property
    def address(self) -> str:
        return self._connection.peer

    @property
    def is_connected(self) -> bool:
        return self._connection.close_reason is None

    def disconnect(self, reason: str) -> None:
        self._connection.close(reason, "uncertain")

    def ports(self) -> list[wire.Port]:
        descriptions = self._connection.port_descriptions.values()
        return [wire.read_port(port) for port in descriptions if wire.is_physical(port)]

    def send_frame(self, port: int, frame: bytes) -> None:
        self._connection.send(wire.packet_out(port, frame))

    def read_counters(self, ports: Sequence[int]) -> list[wire.PortCounters]:
        return wire.read_counters(self._connection, ports)

    def read_rules(self) -> TablesRead:
        return wire.read_rules(self._connection)

    def commit(self, operations: Sequence[Operation | Mend]) -> tuple[str, ...]:
        result = self._connection.send_batch(operations, wire.encode)
        return tuple(wire.describe_error(refusal.error) for refusal in result.errors)


class HeddleApp(framework.App):
    """Joins the channel, the core and the API.

    Parameters
    ----------
    listening : callable, optional
        Told the switches' address and the API's URL once both listen.

    Raises
    ------
    InputError
        A file for TLS is missing or wrong, or a declared switch that has to be known by its dpid has none.
    HeddleError
        An address is in use.
    """

    def __init__(
        self, config: Config, store: Store, declared: Fabric | None, listening: Listening | None = None
    ) -> None:
        super().__init__()
        self.name = "heddle"
        tls = TlsIdentity(config.openflow_tls) if config.openflow_tls is not None else None
        if tls is not None:
            tls.check()
        trust = trusted_switches(config.switches, declared)
        self._channel = ChannelServer(
            config.openflow.host,
            config.openflow.port,
            observer=self._peer_did,
            tls=tls,
            trust=trust,
            known={switch.dpid for switch in (declared.switches if declared is not None else ()) if switch.dpid}
            | (trust.allowed or frozenset()),
        )
        self._unprotected = tls is None and not config.openflow.is_loopback
        self._core = Core(
            config,
            store,
            declared,
            GreenRuntime(),
            channel_counts=self._channel.counts,
            certificate_expiries=tls.expiries if tls is not None else dict,
        )
        self._expiry = ExpiryWatch(tls, self._core.note) if tls is not None else None
        self._api = ApiServer(self._core, config.api.host, config.api.port)
        self._listening = listening
        self._periodic: list[framework.Task] = []

    def start(self) -> None:
        """Listen for users, then for switches."""
        super().start()
        try:
            self._api.start()
        except HeddleError:
            self._channel.close()
            raise
        self._core.start()
        if self._unprotected:
            self._core.note(
                "openflow-unprotected",
                f"switches connect to {self._channel.address} without TLS, so whoever reaches that can pose as one; "
                "set openflow_tls (docs/tls.md) or listen on a loopback address",
            )
        self._channel.start()
        # A full collection walks all that the imports made, and took 100 ms each few long replies from a switch.
        gc.collect()
        gc.freeze()
        # 65,000 rules of one switch are walked as they come, by default a dozen times: 100 ms each.
        gc.set_threshold(*_GC_THRESHOLDS)
        self._periodic = [framework.every(TICK_S, self._core.tick), framework.every(COUNTERS_S, self._poll)]
        if self._expiry is not None:
            self._periodic.append(framework.every(LOOK_S, self._expiry.look))
        if self._listening is not None:
            self._listening(Endpoint(self._channel.address, self._channel.port), self._api.url)

    def close(self) -> None:
        """Stop; the switches keep their rules and go on forwarding."""
        for task in self._periodic:
            task.cancel()
        self._api.stop()
        self._core.stop()
        self._channel.close()
        super().close()

    @framework.set_ev_cls(framework.ofp_event.EventOFPStateChange, [framework.MAIN, framework.DEAD])
    def _state_changed(self, event: Any) -> None:
        connection: Connection = event.datapath
        if event.state == framework.MAIN:
            self._core.switch_up(ConnectedSwitch(connection))
        elif connection.id is not None:
            self._core.switch_down(connection.id, connection.close_reason or "closed")

    @framework.set_ev_cls(framework.ofp_event.EventOFPPacketIn, framework.MAIN)
    def _packet_in(self, event: Any) -> None:
        connection: Connection = event.msg.datapath
        self._core.packet_in(connection.id or 0, wire.read_packet_in(event.msg))

    @framework.set_ev_cls(framework.ofp_event.EventOFPPortStatus, framework.MAIN)
    def _port_status(self, event: Any) -> None:
        connection: Connection = event.msg.datapath
        if wire.is_physical(event.msg.desc):
            change = wire.read_port_status(event.msg)
            self._core.port_changed(connection.id or 0, change.port, gone=change.gone)

    @framework.set_ev_cls(framework.ofp_event.EventOFPErrorMsg, framework.MAIN)
    def _error(self, event: Any) -> None:
        self._core.switch_error(event.msg.datapath.id or 0, wire.describe_error(event.msg))

    def _peer_did(self, kind: str, message: str, peer: str) -> None:
        self._core.note(kind, message, peer)

    def _poll(self) -> None:
        if not self._core.is_settled:
            # Nobody looks at loads yet, and at a start there is enough to read.
            return
        for connection in tuple(self._channel.switches.values()):
            framework.spawn(self._read_counters, connection)

    def _read_counters(self, connection: Connection) -> None:
        try:
            counters = wire.read_counters(connection)
        except HeddleError as error:
            log.debug("no counters from %s: %s", connection, error)
            return
        self._core.counters_read(connection.id or 0, counters)
