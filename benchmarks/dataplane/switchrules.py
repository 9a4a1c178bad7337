"""The rules in real switches, as Open vSwitch itself tells of them: what is there, and every change with its moment."""

from __future__ import annotations

import datetime
import re
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from benchmarks.attacks.stage import wait_until
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.requirements import program
from topologies.errors import HeddleError

_COUNTED = re.compile(r"duration=([\d.]+)s, |n_packets=\d+, |n_bytes=\d+, |(?:idle|hard)_age=\d+, ")
_FLOW = re.compile(r"\bduration=([\d.]+)s")
_GROUP = re.compile(r"group_id=(\d+),duration=([\d.]+)s")
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+): ")
_EVENT = re.compile(r"^ event=(\w+) (?:reason=\w+ )?table=(\d+) (.*)$")


@dataclass(frozen=True, slots=True)
class Held:
    """What a switch holds.

    Attributes
    ----------
    flows : mapping of str to float
        Each flow as text without its counters, and for how many seconds it has been there.
    groups, meters : frozenset of str
        As text.
    group_ages_s : mapping of int to float
        For how long each group has been there.
    """

    flows: dict[str, float]
    groups: frozenset[str]
    meters: frozenset[str]
    group_ages_s: dict[int, float]

    @property
    def content(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """All that is not a counter."""
        return frozenset(self.flows), self.groups, self.meters


def ofctl(cluster: Cluster, command: str, switch: str, *arguments: str, options: Iterable[str] = ()) -> str:
    """Run ``ovs-ofctl`` on a switch.

    Raises
    ------
    HeddleError
        It fails; the message carries what it said.
    """
    socket = cluster.switch.management_socket(switch)
    line = [program("ovs-ofctl"), "-O", "OpenFlow13", *options, command, socket, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise HeddleError(f"ovs-ofctl {command} {switch} failed: {done.stderr.strip()}")
    return done.stdout


def held(cluster: Cluster, switch: str) -> Held:
    """What one switch holds now."""
    groups = {line.strip() for line in ofctl(cluster, "dump-groups", switch).splitlines() if "group_id=" in line}
    stats = ofctl(cluster, "dump-group-stats", switch)
    # The bands of a meter are on lines of their own, and so is what begins the answer.
    meters = {" ".join(part.split()) for part in ofctl(cluster, "dump-meters", switch).split("meter=")[1:]}
    ages_s = {int(number): float(age) for number, age in _GROUP.findall(stats)}
    return Held(flows_held(cluster, switch), frozenset(groups), frozenset(meters), ages_s)


def flows_held(cluster: Cluster, switch: str) -> dict[str, float]:
    """The flows of one switch, as text without their counters, and for how many seconds each has been there."""
    flows = {}
    for line in ofctl(cluster, "dump-flows", switch).splitlines():
        if (age := _FLOW.search(line)) is not None:
            flows[_COUNTED.sub("", line).strip()] = float(age[1])
    return flows


def held_by_all(cluster: Cluster, switches: Iterable[str]) -> dict[str, Held]:
    """What switches hold now."""
    return {switch: held(cluster, switch) for switch in switches}


@dataclass(frozen=True, slots=True)
class FlowChange:
    """A flow that came, changed or went: ``ADDED`` is said of one that was sent again, too.

    Attributes
    ----------
    at_s : float
        Unix time, to the millisecond.
    """

    switch: str
    at_s: float
    event: str
    table: int
    flow: str


class FlowWatch:
    """Listens to what Open vSwitch tells of changes of flows; a context manager.

    Parameters
    ----------
    switches : iterable of str
        Whose flows.
    """

    def __init__(self, cluster: Cluster, switches: Iterable[str]) -> None:
        self._cluster = cluster
        self._switches = tuple(switches)
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []
        self._ready: set[str] = set()
        self.changes: list[FlowChange] = []

    def __enter__(self) -> Self:
        for switch in self._switches:
            socket = self._cluster.switch.management_socket(switch)
            line = [program("ovs-ofctl"), "-O", "OpenFlow13", "--timestamp", "monitor", socket, "watch:"]
            process = subprocess.Popen(
                ["stdbuf", "-oL", *line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env=self._cluster.run.environment,
            )  # fmt: skip
            thread = threading.Thread(target=self._read, args=(switch, process), daemon=True)
            thread.start()
            self._processes.append(process)
            self._threads.append(thread)
        wait_until(lambda: len(self._ready) == len(self._switches), "all switches tell of their flows")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process, thread in zip(self._processes, self._threads, strict=True):
            process.wait(10)
            thread.join(10)
            if process.stdout is not None:
                process.stdout.close()

    def since(self, unix_s: float, switches: Iterable[str] | None = None) -> list[FlowChange]:
        """Changes from a moment on, in the order of their moments."""
        wanted = None if switches is None else frozenset(switches)
        chosen = (each for each in list(self.changes) if each.at_s >= unix_s)
        return sorted((each for each in chosen if wanted is None or each.switch in wanted), key=lambda each: each.at_s)

    def _read(self, switch: str, process: subprocess.Popen[str]) -> None:
        at_s: float | None = None
        for line in process.stdout or ():
            if (stamp := _STAMP.match(line)) is not None:
                at_s = datetime.datetime.fromisoformat(stamp[1]).timestamp()
            elif line.startswith("ONFST_FLOW_MONITOR"):
                # The first answer, without a time, is what was there before.
                self._ready.add(switch)
            elif at_s is not None and (event := _EVENT.match(line)) is not None:
                self.changes.append(FlowChange(switch, at_s, event[1], int(event[2]), event[3]))
