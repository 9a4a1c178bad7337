"""Where attacks take place: a small leaf-spine fabric of real switches, its daemon, and ways to act in its hosts."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks import in_host
from controller.cabling import SETTLED_S
from controller.client import Client
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.daemon import Daemon, free_address
from mininet_scenarios.wiring import interface
from topologies.errors import HeddleError
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind

PATIENCE_S = 60.0
CAPACITY_BPS = 100e6
SPARE = "h7"
"""A host that no declaration knows."""
_POLL_S = 0.02
_MARGIN_S = 2.0


def leaf_spine(leaves: int = 2, spines: int = 2, hosts_per_leaf: int = 4) -> Fabric:
    """Every leaf on every spine; hosts ``h1``, … in leaf order on the first ports of leaves ``l1``, …"""
    nodes = [Node(f"s{n}", NodeKind.SWITCH, tier=2, dpid=0x20000 + n) for n in range(1, spines + 1)]
    cables: list[tuple[str, int, str, int]] = []
    for leaf in range(1, leaves + 1):
        nodes.append(Node(f"l{leaf}", NodeKind.SWITCH, tier=1, dpid=0x10000 + leaf))
        for port in range(1, hosts_per_leaf + 1):
            number = (leaf - 1) * hosts_per_leaf + port
            nodes.append(
                Node(
                    f"h{number}",
                    NodeKind.HOST,
                    tier=0,
                    ip=f"10.0.{leaf}.{port}",
                    mac=f"02:00:0a:00:{leaf:02x}:{port:02x}",
                )
            )
            cables.append((f"h{number}", 1, f"l{leaf}", port))
        cables += [(f"l{leaf}", hosts_per_leaf + spine, f"s{spine}", leaf) for spine in range(1, spines + 1)]
    both = [end for cable in cables for end in (cable, (*cable[2:], *cable[:2]))]
    return Fabric(tuple(nodes), tuple(Link(*ends, capacity_bps=CAPACITY_BPS, delay_s=1e-5) for ends in both))


def without(fabric: Fabric, host: str) -> Fabric:
    """The same fabric, less one host."""
    links = (link for link in fabric.links if host not in (link.source, link.target))
    return Fabric(tuple(node for node in fabric.nodes if node.id != host), tuple(links))


class Tap:
    """A host's card: frames of one type in, any frames out.

    Attributes
    ----------
    frames : list of (float, bytes)
        What came in, each with the moment on the monotonic clock, in seconds.
    """

    def __init__(
        self, stage: Stage, host: str, ethertype: int, on_frame: Callable[[bytes], None] | None = None
    ) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self.on_frame = on_frame
        self._process = stage.start_script(host, "tap", stage.device(host), hex(ethertype))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        for line in pipe:
            at_ns, frame = line.split()
            self.frames.append((int(at_ns) / 1e9, bytes.fromhex(frame.decode())))
            if self.on_frame is not None:
                self.on_frame(self.frames[-1][1])

    def send(self, *frames: bytes) -> None:
        """Send frames, in order."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._process.stdin.write(b"".join(frame.hex().encode() + b"\n" for frame in frames))
                self._process.stdin.flush()

    def close(self) -> None:
        """End it; what it saw stays."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@dataclass(frozen=True)
class Stage:
    """A running cluster and its daemon."""

    fabric: Fabric
    cluster: Cluster
    daemon: Daemon
    openflow: tuple[str, int]
    declared: bool
    ready_s: float

    @property
    def client(self) -> Client:
        return self.daemon.client

    def device(self, host: str) -> str:
        """A host's card."""
        return interface(self.fabric.access_link(host).id)

    def ip(self, host: str) -> str:
        """A host's address."""
        return self.fabric.node_by_id[host].ip or ""

    def mac(self, host: str) -> str:
        """A host's MAC address."""
        return self.fabric.node_by_id[host].mac or ""

    def start_script(self, host: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `in_host` in a host; returns once it is ready."""
        process = self.cluster.start_in(
            host, sys.executable, "-B", in_host.__file__, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise HeddleError(f"{in_host.__file__} does not run in {host}")
        return process

    def run_in(self, host: str, *command: str) -> tuple[int, str]:
        """Run a command in a host to its end; exit code and output."""
        process = self.cluster.start_in(host, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output.decode()

    @staticmethod
    def run(*command: str) -> None:
        """Run a command of the machine's own.

        Raises
        ------
        HeddleError
            It failed; the message carries what it said.
        """
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode:
            raise HeddleError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")

    def reaches(self, source: str, address: str, wait_s: float = 1.0) -> bool:
        """Whether one ping is answered."""
        return self.run_in(source, "ping", "-n", "-q", "-c", "1", "-W", f"{wait_s:g}", address)[0] == 0

    def acquaint(self, *hosts: str) -> None:
        """Have hosts ping each other until all answer: afterwards the controller knows them."""
        for source, target in zip(hosts, (*hosts[1:], hosts[0]), strict=True):
            wait_until(
                lambda source=source, target=target: self.reaches(source, self.ip(target)),  # type: ignore[misc]
                f"{source} reaches {target}",
            )

    @contextmanager
    def tap(self, host: str, ethertype: int, on_frame: Callable[[bytes], None] | None = None) -> Iterator[Tap]:
        """Frames in and out of a host's card."""
        tap = Tap(self, host, ethertype, on_frame)
        try:
            yield tap
        finally:
            tap.close()

    def wait_settled(self) -> None:
        """Wait until ports have been edge ports for so long that no cable can have been meant."""
        time.sleep(max(0.0, self.ready_s + SETTLED_S + _MARGIN_S - time.monotonic()))

    def between(self) -> list[Link]:
        """Links between switches, both directions."""
        kinds = {node.id: node.kind for node in self.fabric.nodes}
        return [link for link in self.fabric.links if kinds[link.source] is kinds[link.target] is NodeKind.SWITCH]

    def name(self, switch: str) -> str:
        """What the daemon calls a switch."""
        return switch if self.declared else f"s-{self.fabric.node_by_id[switch].dpid:016x}"

    def link_ids(self) -> frozenset[LinkId]:
        """Ids of the links between switches as the daemon should know them."""
        return frozenset(LinkId(self.name(link.source), link.source_port) for link in self.between())


@contextmanager
def stage(
    framework: str, *, declared: bool, through: Callable[[tuple[str, int]], tuple[str, int]] | None = None
) -> Iterator[Stage]:
    """Build a fabric and its daemon, both gone at the end.

    Parameters
    ----------
    through : callable, optional
        Given the daemon's OpenFlow address, returns the address that the switches connect to instead.
    """
    fabric, openflow = leaf_spine(), free_address()
    with (
        Cluster(fabric, through(openflow) if through else openflow) as cluster,
        tempfile.TemporaryDirectory() as directory,
    ):
        environment = cluster.run.environment | {"HEDDLE_FRAMEWORK": framework}
        given = without(fabric, SPARE) if declared else None
        with Daemon(Path(directory), given, openflow, environment=environment) as daemon:
            daemon.wait_ready()
            made = Stage(fabric, cluster, daemon, openflow, declared, time.monotonic())
            wait_until(lambda: made.link_ids() <= daemon.client.fabric().link_by_id.keys(), "every link is in the view")
            yield made


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> float:
    """Wait for a condition, looking often; returns the seconds it took.

    Raises
    ------
    TimeoutError
        It did not come true.
    """
    begun_s = time.monotonic()
    while not condition():
        if time.monotonic() - begun_s > timeout_s:
            raise TimeoutError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(_POLL_S)
    return time.monotonic() - begun_s


def seconds_until(condition: Callable[[], object], timeout_s: float) -> float:
    """Seconds until a condition came true; infinite where it did not in time."""
    try:
        return wait_until(condition, "", timeout_s)
    except TimeoutError:
        return float("inf")
