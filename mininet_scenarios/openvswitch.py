"""An Open vSwitch of our own: private database, private run directory, private namespace for its ports.

The machine's own Open vSwitch, if it has one, is not touched. Bridges use the userspace datapath
(``netdev``) always: a kernel datapath would be shared with the machine, and would make results differ from
one machine to the next.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mininet_scenarios.buffers import SEND_BUFFER_BYTES, raised_buffers
from mininet_scenarios.machine import SWITCH_NICENESS, set_niceness
from mininet_scenarios.requirements import OVS_SCHEMA, program
from mininet_scenarios.rundir import RunDirectory
from topologies.errors import HeddleError

_START_PATIENCE_S = 20.0
_COMMAND_PATIENCE_S = 60
# More than a command is given to end by itself, so that it can say why it did not.
_CALL_PATIENCE_S = 2.0 * _COMMAND_PATIENCE_S
# Reconnecting after at most a second, and noticing a dead daemon after five, keeps experiments short.
_MAX_BACKOFF_MS = 1000
_INACTIVITY_PROBE_MS = 5000
# To a locally administered address, with the Ethernet type that IEEE 802 keeps for experiments.
_HARMLESS_FRAME = bytes.fromhex("02000000000102000000000288b5").ljust(60, b"\0")


@dataclass(frozen=True, slots=True)
class Bridge:
    """A switch to be: its name, datapath id, and the interface on each OpenFlow port."""

    name: str
    dpid: int
    ports: dict[int, str]


class OpenVSwitch:
    """One ``ovsdb-server`` and one ``ovs-vswitchd`` that belong to one emulation."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._path = run.path
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def database(self) -> str:
        """The address for ``ovs-vsctl --db``."""
        return f"unix:{self._path}/db.sock"

    def controller_socket(self, bridge: str) -> Path:
        """Where the bridge's OpenFlow connection arrives.

        Open vSwitch accepts a local socket as controller under this very path only (``<run
        directory>/<bridge>.controller``).
        """
        return self._path / f"{bridge}.controller"

    def management_socket(self, bridge: str) -> str:
        """The address for ``ovs-ofctl`` and its like."""
        return f"unix:{self._path}/{bridge}.mgmt"

    def start(self, bridges: Sequence[Bridge]) -> None:
        """Start both daemons and make all bridges with all their ports, which must exist in the namespace.

        Raises
        ------
        HeddleError
            A daemon does not start or refuses a bridge; the message carries what it said.
        """
        database = self._path / "conf.db"
        self._call("ovsdb-tool", "create", str(database), str(OVS_SCHEMA))
        self._spawn("ovsdb-server", str(database), f"--remote=punix:{self._path}/db.sock")
        self._await(self._path / "db.sock", "ovsdb-server")
        self._call("ovs-vsctl", f"--db={self.database}", "--no-wait", "init")
        # Sockets take their size as they are opened, hence daemon and ports both inside the block.
        with raised_buffers():
            self._spawn("ovs-vswitchd", self.database, namespace=self._run.namespace)
            set_niceness(self._processes[-1].pid, SWITCH_NICENESS)
            self._await(self._path / "ovs-vswitchd.ctl", "ovs-vswitchd")
            self.configure(_bridge_commands(bridges, self))
            self._open_send_socket(bridges)

    def add_bridges(self, bridges: Sequence[Bridge]) -> None:
        """Make bridges later than the others, or again; their ports must exist in the namespace."""
        with raised_buffers():
            self.configure(_bridge_commands(bridges, self))

    def delete_bridge(self, name: str) -> None:
        """Delete a bridge, as if the switch had died: the interfaces on its ports stay up."""
        self.configure([("del-br", name)])

    def cut_channel(self, bridge: str, *, cut: bool) -> None:
        """Have a bridge look for its controller where none is, or where it is again; its rules stay."""
        socket = f"{self.controller_socket(bridge)}{'.cut' if cut else ''}"
        self.configure([("set", "Controller", bridge, f'target="unix:{socket}"')])

    def configure(self, commands: Iterable[Sequence[str]]) -> str:
        """Run ``ovs-vsctl`` commands, all in one call: each call reads the whole database anew."""
        arguments = [word for command in commands for word in ("--", *command)]
        return self._call("ovs-vsctl", f"--db={self.database}", f"--timeout={_COMMAND_PATIENCE_S}", *arguments)

    def stop(self) -> None:
        """End both daemons, the one with the ports first."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def process_ids(self) -> tuple[int, ...]:
        """Process ids of the two daemons."""
        return tuple(process.pid for process in self._processes)

    def _open_send_socket(self, bridges: Sequence[Bridge]) -> None:
        """Have the switch send one packet now, and see that every packet socket got its large buffer.

        The one socket through which all ports send is opened by the first packet, not at the start: opened
        later it would have the usual 212,992 bytes, and drop packets of all links where no counter shows it.
        """
        bridge = next((bridge for bridge in bridges if bridge.ports), None)
        if bridge is None:
            return
        packet = f"in_port=controller,packet={_HARMLESS_FRAME.hex()},actions=output:{min(bridge.ports)}"
        self._call("ovs-ofctl", "-O", "OpenFlow13", "packet-out", self.management_socket(bridge.name), packet)
        ports = sum(len(each.ports) for each in bridges)
        deadline = time.monotonic() + _START_PATIENCE_S
        while len(sizes := self.send_buffers()) <= ports:
            if time.monotonic() > deadline:
                raise HeddleError(f"ovs-vswitchd has not opened its send socket{self._last_words('ovs-vswitchd')}")
            time.sleep(0.01)
        if min(sizes) < SEND_BUFFER_BYTES:
            raise HeddleError(
                f"a socket of ovs-vswitchd can hold {min(sizes)} bytes instead of {SEND_BUFFER_BYTES}, "
                "which would lose packets of idle links; does another program set net.core.wmem_default?"
            )

    def send_buffers(self) -> tuple[int, ...]:
        """Send buffer of each packet socket of the switch, in bytes: one a port, and the one that sends."""
        said = self._call("ip", "netns", "exec", self._run.namespace, program("ss"), "-0", "-a", "-m")
        return tuple(map(int, re.findall(r"skmem:\([^)]*\btb(\d+)", said)))

    def _spawn(self, name: str, *arguments: str, namespace: str | None = None) -> None:
        prefix = [program("ip"), "netns", "exec", namespace] if namespace else []
        command = [
            *prefix, program(name), *arguments, f"--unixctl={self._path}/{name}.ctl",
            f"--log-file={self._path}/{name}.log", "-vconsole:off", "-vsyslog:off",
        ]  # fmt: skip
        # A session of its own: Ctrl-C in the terminal is for the emulation, which then takes its switch down in order.
        self._processes.append(
            subprocess.Popen(
                command, env=self._environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip

    @property
    def _environment(self) -> dict[str, str]:
        return {**self._run.environment, "OVS_RUNDIR": str(self._path), "OVS_LOGDIR": str(self._path)}

    def _await(self, path: Path, name: str) -> None:
        deadline = time.monotonic() + _START_PATIENCE_S
        while not path.exists():
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                raise HeddleError(f"{name} did not start{self._last_words(name)}")
            time.sleep(0.01)

    def _call(self, name: str, *arguments: str) -> str:
        try:
            result = subprocess.run(
                [program(name), *arguments], env=self._environment, capture_output=True, text=True, check=False,
                timeout=_CALL_PATIENCE_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise HeddleError(
                f"{name} did not end within {_CALL_PATIENCE_S:g} s{self._last_words('ovs-vswitchd')}"
            ) from None
        if result.returncode:
            said = result.stderr.strip().splitlines()
            raise HeddleError(
                f"{name} failed: {said[-1] if said else 'no reason given'}{self._last_words('ovs-vswitchd')}"
            )
        return result.stdout

    def _last_words(self, name: str) -> str:
        """The end of a daemon's log, for a message: the log itself goes with the run directory."""
        log = self._path / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return f"; {name} last said: {lines[-1]}" if lines else ""


def _bridge_commands(bridges: Sequence[Bridge], switch: OpenVSwitch) -> Iterable[Sequence[str]]:
    """Secure bridges: without a controller they keep their rules and never turn into learning switches.

    Left alone, Open vSwitch deletes the queueing discipline of every port that it takes, and with it the
    shaping of the link: four flows then cross a 10 Mbit/s link at 39 Mbit/s. ``linux-noop`` tells it that
    somebody else looks after that.
    """
    yield "--id=@unmanaged", "create", "QoS", "type=linux-noop"
    for number, bridge in enumerate(bridges):
        reference = f"@controller{number}"
        yield (
            f"--id={reference}", "create", "Controller", f'target="unix:{switch.controller_socket(bridge.name)}"',
            f"max_backoff={_MAX_BACKOFF_MS}", f"inactivity_probe={_INACTIVITY_PROBE_MS}",
            "connection_mode=out-of-band",
        )  # fmt: skip
        yield "add-br", bridge.name
        yield (
            "set", "Bridge", bridge.name, "datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13",
            f"controller={reference}", f"other-config:datapath-id={bridge.dpid:016x}",
            "other-config:disable-in-band=true",
        )  # fmt: skip
        for port, interface in sorted(bridge.ports.items()):
            yield "add-port", bridge.name, interface
            yield "set", "Port", interface, "qos=@unmanaged"
            yield "set", "Interface", interface, f"ofport_request={port}"
