"""What is seen of the daemon and the traffic while an attack goes on, from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

from benchmarks.attacks.stage import PATIENCE_S, Stage
from controller.client import Client
from topologies.errors import HeddleError

_POLL_S = 0.05
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_COUNTER = re.compile(r'^heddle_events_total\{kind="([^"]+)"\} (\S+)$', re.MULTILINE)
_LOSSES = frozenset({"link-silent", "link-moved", "port-down"})


@dataclass(frozen=True, slots=True)
class Load:
    """What the daemon holds at one moment; ``cpu_s`` since it started."""

    rss_bytes: int
    threads: int
    descriptors: int
    cpu_s: float


def load(pid: int) -> Load:
    """Of one process."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    rss = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    threads, descriptors = (len(list((process / what).iterdir())) for what in ("task", "fd"))
    return Load(rss, threads, descriptors, (int(fields[11]) + int(fields[12])) / _TICKS_PER_S)


def cpu_share(pid: int, seconds: float) -> float:
    """Processor time that a process takes in the next seconds, as a share of one core."""
    before_s, begun_s = load(pid).cpu_s, time.monotonic()
    time.sleep(seconds)
    return (load(pid).cpu_s - before_s) / (time.monotonic() - begun_s)


def counters(client: Client) -> Counter[str]:
    """What happened since the daemon's start, by kind, as Prometheus reads it."""
    text = httpx.get(f"{client.url}/metrics", trust_env=False, timeout=PATIENCE_S).text
    return Counter({kind: round(float(value)) for kind, value in _COUNTER.findall(text)})


@dataclass
class Watch:
    """Looks at the API twenty times a second, in a thread, for as long as the block lasts.

    Attributes
    ----------
    missing_links : set of str
        Links between switches that were not in the view at some look.
    invented_links : set of str
        Links between switches that should not be there and were.
    down_switches : set of str
        Switches that were not connected at some look.
    most_hosts_at_a_port : int
    api_worst_s : float
        Longest time that GET /api/v1/fabric took.
    """

    stage: Stage
    missing_links: set[str] = field(default_factory=set)
    invented_links: set[str] = field(default_factory=set)
    down_switches: set[str] = field(default_factory=set)
    most_hosts_at_a_port: int = 0
    most_threads: int = 0
    most_descriptors: int = 0
    api_s: list[float] = field(default_factory=list)
    unanswered: int = 0

    def __enter__(self) -> Watch:
        self._switches = {self.stage.name(node.id) for node in self.stage.fabric.switches}
        self._last_event = max((event.id for event in self.stage.client.events()), default=0)
        self._counters = counters(self.stage.client)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_often, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(PATIENCE_S)

    @property
    def api_worst_s(self) -> float:
        return max(self.api_s, default=float("inf"))

    def new_events(self) -> Counter[str]:
        """Events since the block began, by kind."""
        return Counter(event.kind for event in self.stage.client.events(self._last_event))

    def counted(self) -> Counter[str]:
        """What the counters have gained since the block began, by kind."""
        return counters(self.stage.client) - self._counters

    def losses(self) -> int:
        """Links, ports and switches that were lost, by what was seen and by what the daemon told."""
        told = sum(count for kind, count in self.new_events().items() if kind in _LOSSES or kind == "switch-down")
        return len(self.missing_links) + len(self.down_switches) + told

    def _look_often(self) -> None:
        wanted = self.stage.link_ids()
        with Client(self.stage.client.url) as client:
            while not self._over.wait(_POLL_S):
                try:
                    self._look(client, wanted)
                except HeddleError:
                    self.unanswered += 1

    def _look(self, client: Client, wanted: frozenset[object]) -> None:
        held = load(self.stage.daemon.pid)
        self.most_threads = max(self.most_threads, held.threads)
        self.most_descriptors = max(self.most_descriptors, held.descriptors)
        begun_s = time.monotonic()
        fabric = client.fabric()
        self.api_s.append(time.monotonic() - begun_s)
        switches = {node.id for node in fabric.switches}
        found = {link.id for link in fabric.links if link.source in switches and link.target in switches}
        self.missing_links |= {str(link) for link in wanted - found}
        self.invented_links |= {str(link) for link in found - wanted}
        up = {switch.id for switch in client.switches() if switch.connected}
        self.down_switches |= self._switches - up
        places = Counter(str(host.attached_to) for host in client.hosts())
        self.most_hosts_at_a_port = max(self.most_hosts_at_a_port, *places.values(), 0)


class Pings:
    """Pings between pairs of hosts that go on until told to stop; counts those that were never answered."""

    def __init__(self, stage: Stage, pairs: tuple[tuple[str, str], ...], interval_s: float = 0.02) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self._directory = tempfile.TemporaryDirectory()
        self._outputs: list[Path] = []
        for number, (source, target) in enumerate(pairs):
            self._outputs.append(Path(self._directory.name) / str(number))
            with self._outputs[-1].open("wb") as output:
                command = ("ping", "-n", "-i", f"{interval_s:g}", stage.ip(target))
                self._running.append(stage.cluster.start_in(source, *command, stdout=output))

    def stop(self) -> tuple[int, int]:
        """How many were sent, and how many of them were lost."""
        sent = lost = 0
        for process, output in zip(self._running, self._outputs, strict=True):
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
            text = output.read_text()
            answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", text)}
            transmitted = int(re.findall(r"(\d+) packets transmitted", text)[0])
            # The last one may still be on its way.
            last = transmitted if transmitted - max(answered, default=0) > 1 else max(answered)
            sent, lost = sent + transmitted, lost + len(set(range(1, last + 1)) - answered)
        self._directory.cleanup()
        return sent, lost


@contextmanager
def pings(stage: Stage, *pairs: tuple[str, str], interval_s: float = 0.02) -> Iterator[list[int]]:
    """Ping between pairs inside the block; afterwards the list holds how many were sent and how many lost."""
    result: list[int] = []
    running = Pings(stage, pairs, interval_s)
    try:
        yield result
    finally:
        result += running.stop()
