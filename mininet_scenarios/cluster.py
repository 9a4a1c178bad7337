"""An emulated cluster: a fabric as Mininet hosts, shaped cables and Open vSwitch bridges."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mininet_scenarios import wiring
from mininet_scenarios.openvswitch import Bridge, OpenVSwitch
from mininet_scenarios.relay import Relay
from mininet_scenarios.requirements import check_machine, program
from mininet_scenarios.rundir import RunDirectory
from topologies.errors import HeddleError, InputError
from topologies.fabric import Fabric, LinkId, NodeKind

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HOST_PREFIX = 8
_COMMAND_PATIENCE_S = 300.0
_ARP_ATTEMPTS = 10
# Loss-based congestion control with windows that outlive a pause: a collective is a series of bursts, and
# the machine's default (BBR, say) probes for bandwidth anew and paces below what the link gives.
_TCP_SETTINGS = {
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_slow_start_after_idle": "0",
    "net/ipv4/tcp_no_metrics_save": "1",
}
_NO_IPV6 = {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}


@dataclass(frozen=True, slots=True)
class Counters:
    """Bytes and packets that have left each link's sending interface since the cluster started."""

    sent_bytes: Mapping[LinkId, int]
    sent_packets: Mapping[LinkId, int]


class Cluster:
    """A fabric that runs. Use it as a context manager: whatever happens inside, nothing is left behind.

    Parameters
    ----------
    fabric : Fabric
        Every link needs a capacity and a link back, every switch a dpid, every host an address.
    openflow : (str, int)
        Where the controller listens; it may come and go.

    Raises
    ------
    MissingRequirement
        The machine lacks something.
    InputError
        The fabric cannot be emulated; the message says why.
    """

    def __init__(self, fabric: Fabric, openflow: tuple[str, int], shaping: wiring.Shaping | None = None) -> None:
        _check(fabric)
        check_machine()
        self.fabric = fabric
        self.shaping = shaping or wiring.Shaping()
        self.run = RunDirectory.create()
        self.switch = OpenVSwitch(self.run)
        self.net: Any = None
        self._relay = Relay([self.switch.controller_socket(node.id) for node in fabric.switches], openflow)

    def __enter__(self) -> Cluster:
        try:
            self._build()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take everything down, whatever of it fails; calling it twice is harmless."""
        # The last one pushed goes first; what it raises is told once the others have had their turn.
        with deaf_to_interrupts(), ExitStack() as steps:
            steps.callback(self.run.remove)
            if self.net is not None:
                steps.callback(self.net.stop)
                self.net = None
            steps.callback(self.switch.stop)
            steps.callback(self._relay.stop)

    def host_pid(self, host: str) -> int:
        """Process whose namespaces are the host's.

        Raises
        ------
        InputError
            No such host.
        """
        if host not in self.fabric.node_by_id or self.fabric.node_by_id[host].kind is not NodeKind.HOST:
            raise InputError(f"{host!r} is not a host of the emulated fabric")
        return int(self.net[host].pid)

    def enter(self, host: str, *command: str) -> list[str]:
        """The command line that runs a command in a host."""
        from mininet_scenarios.nodes import ENTER

        return [program("nsenter"), "--target", str(self.host_pid(host)), *ENTER, "--", *command]

    def start_in(self, host: str, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a process in a host; it ends with the cluster at the latest."""
        return subprocess.Popen(self.enter(host, *command), **{"env": self.run.environment, **options})

    def counters(self) -> Counters:
        """Read the counters of all interfaces, host ends included."""
        sent_bytes: dict[LinkId, int] = {}
        sent_packets: dict[LinkId, int] = {}
        ports = _interface_counters(self.switch.process_ids()[-1])
        for link in self.fabric.links:
            host = self.fabric.node_by_id[link.source].kind is NodeKind.HOST
            table = _interface_counters(self.host_pid(link.source)) if host else ports
            sent_bytes[link.id], sent_packets[link.id] = table[wiring.interface(link.id)]
        return Counters(sent_bytes, sent_packets)

    def forget_rules(self) -> None:
        """Empty all tables, groups and meters, as if the switches were new."""
        ofctl = [program("ovs-ofctl"), "-O", "OpenFlow13"]
        for node in self.fabric.switches:
            for what in ("del-flows", "del-groups", "del-meters"):
                _run([*ofctl, what, self.switch.management_socket(node.id)], self.run)

    def set_link(self, link: LinkId, *, up: bool) -> None:
        """Take a switch's port down or bring it back, as pulling its cable would."""
        command = [
            program("ip"),
            "-n",
            self.run.namespace,
            "link",
            "set",
            wiring.interface(link),
            "up" if up else "down",
        ]
        _run(command, self.run)

    def _build(self) -> None:
        from mininet_scenarios.nodes import PortSwitch, RankHost, empty_network

        fabric, run = self.fabric, self.run
        _run([program("ip"), "netns", "add", run.namespace], run)
        inside = [program("ip"), "netns", "exec", run.namespace]
        _run([*inside, "sh", "-c", _settings_script(_NO_IPV6)], run)
        self.net = empty_network()
        for node in fabric.switches:
            self.net.addSwitch(node.id, cls=PortSwitch, environment=run.environment, namespace=run.namespace,
                               dpid=f"{node.dpid:016x}")  # fmt: skip
        for node in fabric.hosts:
            self.net.addHost(node.id, cls=RankHost, environment=run.environment, ip=None)
        pids = {node.id: self.host_pid(node.id) for node in fabric.hosts}
        self._write_names()
        for node in fabric.hosts:
            self._furnish_host(node.id)
        _batch([program("ip"), "-batch", "-"], wiring.cable_lines(fabric, pids, run.namespace), run)
        _batch([*inside, "ip", "-batch", "-"], wiring.up_lines(fabric), run)
        for node in fabric.hosts:
            self._configure_host(node.id)
        for link in wiring.cables(fabric):
            params = [{"ip": f"{ip}/{_HOST_PREFIX}"} if (ip := fabric.node_by_id[end].ip) else {}
                      for end in (link.source, link.target)]  # fmt: skip
            self.net.addLink(
                link.source, link.target, port1=link.source_port, port2=link.target_port,
                params1=params[0], params2=params[1],
                addr1=fabric.node_by_id[link.source].mac, addr2=fabric.node_by_id[link.target].mac,
            )  # fmt: skip
        self._relay.start()
        self.switch.start([
            Bridge(node.id, node.dpid or 0, {
                link.source_port: wiring.interface(link.id) for link in fabric.links if link.source == node.id
            })
            for node in fabric.switches
        ])  # fmt: skip
        _batch([*inside, "tc", "-batch", "-"], wiring.shaping_lines(fabric, self.shaping), run)
        self.check_shaping()

    def check_shaping(self) -> None:
        """Make sure that every link is held to its capacity: all else would measure the processor.

        Raises
        ------
        HeddleError
            An interface has lost its queueing discipline; the message names it.
        """
        inside = [program("ip"), "netns", "exec", self.run.namespace]
        show = (program("tc"), "qdisc", "show")
        shaped = wiring.shaped_interfaces(_run([*inside, *show], self.run))
        for node in self.fabric.hosts:
            shaped |= wiring.shaped_interfaces(_run(self.enter(node.id, *show), self.run))
        for link in self.fabric.links:
            if wiring.interface(link.id) not in shaped:
                raise HeddleError(
                    f"link {link.id} is not held to its capacity: {wiring.interface(link.id)} has lost its queue; "
                    "does another program change queueing disciplines here?"
                )

    def _write_names(self) -> None:
        """The hosts' own ``/etc/hosts``: without it every look-up waits for a name server that nobody reaches."""
        names = [f"{node.ip} {node.id}\n" for node in self.fabric.hosts]
        (self.run.path / "hosts").write_text("127.0.0.1 localhost\n" + "".join(names))

    def _furnish_host(self, host: str) -> None:
        script = (
            f"mount -t tmpfs tmpfs /dev/shm && mount --bind {self.run.path}/hosts /etc/hosts && hostname {host} && "
            f"ip link set lo up && {{ {_settings_script(_NO_IPV6 | _TCP_SETTINGS)}; }}"
        )
        _run(self.enter(host, "sh", "-c", script), self.run)

    def _configure_host(self, host: str) -> None:
        link = self.fabric.access_link(host)
        device = wiring.interface(link.id)
        # Checksums: the userspace datapath forwards what the host left to its card to fill in, so pings pass
        # and every TCP connection times out. Segmentation: a card's super-frames would leave the shaped link
        # as one burst of 64 kB and overrun the first queue.
        script = (
            f"ip addr add {self.fabric.node_by_id[host].ip}/{_HOST_PREFIX} dev {device} && "
            f"ethtool -K {device} tx off tso off gso off gro off >/dev/null && "
            f"printf '%s\\n' {' '.join(repr(line) for line in wiring.shape(link, self.shaping))} | tc -batch - && "
            f"ip link set {device} up && for kind in mcast ucast; do "
            # Three attempts in three seconds are few on a machine that is busy starting ranks: MPI gives up at once.
            f"echo {_ARP_ATTEMPTS} > /proc/sys/net/ipv4/neigh/{device}/${{kind}}_solicit; done"
        )
        _run(self.enter(host, "sh", "-c", script), self.run)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP inside the block: a second Ctrl-C must not stop the clearing away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _check(fabric: Fabric) -> None:
    for node in fabric.switches:
        if node.dpid is None:
            raise InputError(f"switch {node.id!r} has no dpid; an emulated switch needs one")
    for node in fabric.hosts:
        if node.ip is None:
            raise InputError(f"host {node.id!r} has no ip; an emulated host needs one")
        fabric.access_link(node.id)
    for link in wiring.cables(fabric):
        wiring.interface(link.id)
        wiring.interface(link.reverse_id)
    _ = fabric.capacities_bps


def _settings_script(settings: dict[str, str]) -> str:
    return "; ".join(
        f"[ ! -e /proc/sys/{name} ] || echo {value} > /proc/sys/{name}" for name, value in settings.items()
    )


def _interface_counters(pid: int) -> dict[str, tuple[int, int]]:
    """Bytes and packets sent by each interface of a process's network namespace."""
    table = {}
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        table[name.strip()] = (int(fields[8]), int(fields[9]))
    return table


def _batch(command: list[str], lines: Iterable[str], run: RunDirectory) -> None:
    _run(command, run, "\n".join(lines) + "\n")


def _run(command: list[str], run: RunDirectory, text: str | None = None) -> str:
    path = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"}
    where = f"building the cluster failed at '{' '.join(command[:8])}'"
    try:
        result = subprocess.run(
            command, input=text, env={**run.environment, **path}, capture_output=True, text=True, check=False,
            timeout=_COMMAND_PATIENCE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HeddleError(f"{where}: it did not end within {_COMMAND_PATIENCE_S:g} s") from None
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise HeddleError(f"{where}: {said[-1] if said else 'no reason given'}")
    return result.stdout
