"""How fast rules get into one Open vSwitch, beside ``ovs-ofctl --bundle`` in the same run, while packets pass.

Run ``sudo python -m benchmarks.dataplane.installation`` in the repository's root. It starts a switch of its own in a
namespace of its own, and exits with 4 where a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.dataplane.cases import Case, Setting, exactly, told, true
from mininet_scenarios.machine import set_niceness
from mininet_scenarios.openvswitch import Bridge, OpenVSwitch
from mininet_scenarios.requirements import program
from mininet_scenarios.rundir import RunDirectory
from topologies.errors import HeddleError

ROW = "installation"
RULES = 10_000
REPEATS = 7
_QUICK_REPEATS = 3
LEAST_RATIO = 0.5
RATE_PPS = 1000.0
FAILED = 4
FRAMEWORKS = ("ryu", "os-ken")
_ROOT = Path(__file__).parents[2]
_BRIDGE = "br"
_PATIENCE_S = 60.0
_TEST_NET = "192.0.2."
"""Addresses of the packets under way (RFC 5737), whose rules stay."""
_PACKETS_NICENESS = -15


@dataclass(frozen=True, slots=True)
class Installation:
    """What was measured with one framework; rates in rules a second, one for each repeat, in the same order.

    Attributes
    ----------
    bundled, plain, ofctl : tuple of float
        Heddle in bundles; Heddle plainly, between barriers; ``ovs-ofctl --bundle add-flows``, its start included.
    read, removed : tuple of float
        Heddle's reading of all rules, and its removal of them, in bundles.
    longest_wait_s : float
        Longest time for which Heddle's other tasks waited while rules were sent in bundles.
    sent, lost, doubled : int
        Packets, at 1,000 a second all the while.
    """

    framework: str
    rules: int
    bundled: tuple[float, ...]
    plain: tuple[float, ...]
    ofctl: tuple[float, ...]
    read: tuple[float, ...]
    removed: tuple[float, ...]
    longest_wait_s: float
    sent: int
    lost: int
    doubled: int

    @property
    def ratios(self) -> tuple[float, ...]:
        """Bundles beside ``ovs-ofctl`` of the same repeat."""
        return tuple(ours / theirs for ours, theirs in zip(self.bundled, self.ofctl, strict=True))

    @property
    def ok(self) -> bool:
        """Whether the limits are kept: half of the rate of ``ovs-ofctl``, and no packet lost or doubled."""
        return median(self.ratios) >= LEAST_RATIO and self.lost == self.doubled == 0


def run(framework: str, *, rules: int = RULES, repeats: int = REPEATS) -> Installation:
    """Measure with one framework; needs root, and takes about a second for each repeat.

    Raises
    ------
    HeddleError
        A part does not start, or a rule is refused.
    """
    with _bench(framework, rules) as bench:
        return bench.measure(framework, rules, repeats)


def row(setting: Setting) -> Iterator[Case]:
    """The promises, for one framework."""
    found = run(setting.framework, repeats=_QUICK_REPEATS if setting.quick else REPEATS)
    ratio, case = median(found.ratios), f"{found.rules:,} rules on one switch"
    yield true(
        ROW, f"{case}: rate beside ovs-ofctl --bundle", holds=ratio >= LEAST_RATIO, wanted=f"≥ {LEAST_RATIO}",
        measured=f"{ratio:.2f} ({min(found.ratios):.2f} to {max(found.ratios):.2f} in {len(found.ratios)} repeats)",
    )  # fmt: skip
    yield exactly(ROW, f"{case}: packets lost meanwhile", found.lost, 0, "", f"of {found.sent}")
    yield exactly(ROW, f"{case}: packets doubled meanwhile", found.doubled, 0)
    yield told(
        ROW, f"{case}: rules a second, medians",
        f"{median(found.bundled):,.0f} in bundles, {median(found.ofctl):,.0f} by ovs-ofctl, "
        f"{median(found.plain):,.0f} between barriers",
    )  # fmt: skip


@dataclass(slots=True)
class _Rates:
    bundled: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    ofctl: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    removed: list[float] = field(default_factory=list)


class _Bench:
    """A running switch with its controller, and packets that pass through it."""

    def __init__(self, switch: OpenVSwitch, controller: _Child, packets: _Child, path: Path) -> None:
        self._switch = switch
        self._controller = controller
        self._packets = packets
        self._rules_file = path / "rules.txt"

    def measure(self, framework: str, rules: int, repeats: int) -> Installation:
        rates = _Rates()
        longest_s = 0.0
        # The first of each kind finds cold caches, and is no part of the figures.
        self._ask("bundled")
        self._write_rules(rules)
        self._ask("clear")
        for repeat in range(-1, repeats):
            ways: list[tuple[list[float], Callable[[], dict[str, Any]]]] = [
                (rates.bundled, lambda: self._ask("bundled")),
                (rates.ofctl, self._by_ofctl),
                (rates.plain, lambda: self._ask("plain")),
            ]
            for found, install in ways if repeat % 2 else reversed(ways):
                said = install()
                read, cleared = self._ask("read"), self._ask("clear")
                if not read["whole"]:
                    raise HeddleError("the switch does not have the rules that it was given")
                if repeat >= 0:
                    found.append(rules / said["seconds"])
                    rates.read.append(rules / read["seconds"])
                    rates.removed.append(rules / cleared["seconds"])
                    if found is rates.bundled:
                        longest_s = max(longest_s, said["longest_s"])
        packets = self._packets.ended()
        return Installation(
            framework, rules, tuple(rates.bundled), tuple(rates.plain), tuple(rates.ofctl), tuple(rates.read),
            tuple(rates.removed), longest_s, packets["sent"], packets["lost"], packets["doubled"],
        )  # fmt: skip

    def _ask(self, command: str) -> dict[str, Any]:
        said = self._controller.ask(command)
        if said.get("refused"):
            raise HeddleError(f"the switch refused a rule: {said['refused'][0]}")
        return said

    def _by_ofctl(self) -> dict[str, Any]:
        begun_s = time.perf_counter()
        self._ofctl("--bundle", "add-flows", self._switch.management_socket(_BRIDGE), str(self._rules_file))
        return {"seconds": time.perf_counter() - begun_s}

    def _write_rules(self, rules: int) -> None:
        """The same rules, as the switch itself puts them."""
        dumped = self._ofctl("--no-stats", "--no-names", "dump-flows", self._switch.management_socket(_BRIDGE))
        lines = [line.strip() for line in dumped.splitlines() if "cookie=0x4844" in line]
        # The packets' own rules are there already: two name their addresses, and two lead on from table to table.
        lines = [line for line in lines if _TEST_NET not in line and "priority=0 " not in line]
        if len(lines) != rules:
            raise HeddleError(f"the switch shows {len(lines)} of {rules} rules")
        self._rules_file.write_text("\n".join(lines) + "\n")

    def _ofctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [program("ovs-ofctl"), "-O", "OpenFlow13", *arguments],
            capture_output=True, text=True, check=False, timeout=_PATIENCE_S,
        )  # fmt: skip
        if done.returncode:
            raise HeddleError(f"ovs-ofctl failed: {done.stderr.strip()}")
        return done.stdout


class _Child:
    """A process that takes lines and says lines of JSON."""

    def __init__(self, run: RunDirectory, *command: str, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [program("ip"), "netns", "exec", run.namespace, sys.executable, "-B", "-m", *command],
            cwd=_ROOT, env=run.environment | (environment or {}), text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.pid = self._process.pid

    def hear(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise HeddleError("a process of the benchmark has ended; see above")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise HeddleError(said["error"])
        return said

    def ask(self, command: str) -> dict[str, Any]:
        if self._process.stdin is not None:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        return self.hear()

    def ended(self) -> dict[str, Any]:
        """Close its input, and hear its last word."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        return self.hear()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(_PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def _bench(framework: str, rules: int) -> Iterator[_Bench]:
    with ExitStack() as stack:
        run = RunDirectory.create()
        stack.callback(run.remove)
        _wire(run)
        switch = OpenVSwitch(run)
        stack.callback(switch.stop)
        switch.start([Bridge(_BRIDGE, 0xABC, {1: "p1", 2: "p2"})])
        controller = _Child(
            run, "benchmarks.dataplane.installation_child", str(rules), environment={"HEDDLE_FRAMEWORK": framework}
        )
        stack.callback(controller.stop)
        port = controller.hear()["port"]
        switch.configure([("set-controller", _BRIDGE, f"tcp:127.0.0.1:{port}")])
        if refused := controller.hear()["refused"]:
            raise HeddleError(f"the switch refused a rule: {refused[0]}")
        packets = _Child(run, "benchmarks.dataplane.numbered_packets", "h1", "h2", str(RATE_PPS))
        stack.callback(packets.stop)
        # A packet that is sent late, or counted late, says nothing about the switch.
        set_niceness(packets.pid, _PACKETS_NICENESS)
        packets.hear()
        yield _Bench(switch, controller, packets, run.path)


def _wire(run: RunDirectory) -> None:
    """Two cables of which the switch gets one end each."""
    subprocess.run([program("ip"), "netns", "add", run.namespace], check=True)
    lines = ["link set lo up"]
    for number in (1, 2):
        lines.append(f"link add p{number} type veth peer name h{number}")
        lines += (f"link set {end}{number} up" for end in "ph")
    subprocess.run(
        [program("ip"), "-netns", run.namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True
    )


def lines(found: Installation) -> Iterator[str]:
    """What was found, for people."""
    yield f"{found.rules:,} rules on one Open vSwitch, {found.framework}; rules/s, median (least to most)"
    for what, rates in (
        ("Heddle, in bundles", found.bundled), ("ovs-ofctl --bundle", found.ofctl),
        ("Heddle, between barriers", found.plain), ("Heddle, removed in bundles", found.removed),
        ("Heddle, read back", found.read),
    ):  # fmt: skip
        yield f"  {what:28} {median(rates):9,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
    ratios = found.ratios
    yield (
        f"  ratio, bundles to ovs-ofctl  {median(ratios):9.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        f"; at least {LEAST_RATIO}: {'met' if median(ratios) >= LEAST_RATIO else 'missed'}"
    )
    yield f"  longest wait of other tasks  {found.longest_wait_s * 1e3:9.1f} ms"
    yield (
        f"  packets at {RATE_PPS:,.0f}/s         {found.sent:9,} sent, {found.lost} lost, {found.doubled} doubled"
        f": {'met' if found.lost == found.doubled == 0 else 'missed'}"
    )


def main() -> int:
    """Measure, print, and return 4 where a limit is missed."""
    parser = argparse.ArgumentParser("python -m benchmarks.dataplane.installation", description=__doc__)
    parser.add_argument("--framework", choices=[*FRAMEWORKS, "both"], default="both")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("it makes switches, so it needs root: run it by sudo", file=sys.stderr)
        return 1
    met = True
    for framework in FRAMEWORKS if options.framework == "both" else (options.framework,):
        found = run(framework, repeats=options.repeats)
        print("\n".join(lines(found)), flush=True)
        met = met and found.ok
    return 0 if met else FAILED


if __name__ == "__main__":
    sys.exit(main())
