"""Cables that fail and are mended under numbered packets, one after another, and what each failure cost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.dataplane.cases import Case, at_most, exactly, told
from benchmarks.dataplane.probes import Udp
from benchmarks.dataplane.stage import median
from mininet_scenarios.cluster import Cluster
from mininet_scenarios.requirements import program
from mininet_scenarios.wiring import interface
from topologies.fabric import LinkId

WORST = 20
MORE_THAN_CONTROL = 3
_BEFORE_S, _AFTER_S = 0.1, 0.5
_FLOWS_ON = 200
_NICENESS = -15

_Spans: TypeAlias = Mapping[Udp, tuple[int, int]]
"""Packets, from the first number to before the second."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A failure and its repair.

    Attributes
    ----------
    end : LinkId
        The port that was taken down.
    crossing : tuple of Udp
        Who sent across the cable.
    failed, repaired : mapping of Udp to (int, int)
        The packets that everybody sent meanwhile.
    """

    end: LinkId
    crossing: tuple[Udp, ...]
    failed: _Spans
    repaired: _Spans


def fail_and_repair(
    cluster: Cluster,
    end: LinkId,
    crossing: Sequence[Udp],
    running: Sequence[Udp],
    meanwhile: Callable[[], None] = lambda: None,
) -> Outage:
    """Take one end of a cable down, wait until traffic flows on, and bring it back.

    Raises
    ------
    HeddleError
        Traffic does not flow on.
    """
    begun = _sent(running)
    time.sleep(_BEFORE_S)
    _set_link(cluster, end, up=False)
    try:
        _flows_on(crossing)
        meanwhile()
        middle = _sent(running)
        time.sleep(_BEFORE_S)
    finally:
        _set_link(cluster, end, up=True)
    _flows_on(crossing)
    after = _sent(running)
    return Outage(end, tuple(crossing), _between(begun, middle), _between(middle, after))


def _set_link(cluster: Cluster, end: LinkId, *, up: bool) -> None:
    """Like `Cluster.set_link`, before all others: while it waits for a processor half way, the kernel drops packets."""
    link = f"{program('ip')} -n {cluster.run.namespace} link set {interface(end)} {'up' if up else 'down'}"
    script = f"{{ echo {_NICENESS} >/proc/self/autogroup; }} 2>/dev/null; exec nice -n {_NICENESS} {link}"
    subprocess.run(["sh", "-c", script], check=True, start_new_session=True, timeout=60)


def _flows_on(running: Sequence[Udp]) -> None:
    time.sleep(_AFTER_S)
    for udp in running:
        udp.await_packets(_FLOWS_ON)


def _sent(running: Sequence[Udp]) -> Mapping[Udp, int]:
    return {udp: udp.sent for udp in running}


def _between(first: Mapping[Udp, int], end: Mapping[Udp, int]) -> _Spans:
    return {udp: (first[udp], end[udp]) for udp in first}


@dataclass(frozen=True, slots=True)
class Losses:
    """What outages cost, once the traffic has ended.

    Attributes
    ----------
    failures, repairs : tuple of int
        Packets lost by each, of each who sent across the cable.
    bystanders : int
        Packets lost by all others.
    twice : int
        Packets that came again, of anybody.
    """

    failures: tuple[int, ...]
    repairs: tuple[int, ...]
    bystanders: int
    twice: int


def losses(outages: Sequence[Outage]) -> Losses:
    """Count."""
    failures: list[int] = []
    repairs: list[int] = []
    bystanders = twice = 0
    for outage in outages:
        for counted, spans in ((failures, outage.failed), (repairs, outage.repaired)):
            for udp, span in spans.items():
                loss = udp.loss(*span)
                twice += loss.twice
                if udp in outage.crossing:
                    counted.append(loss.lost)
                else:
                    bystanders += loss.lost
    return Losses(tuple(failures), tuple(repairs), bystanders, twice)


def judged(row: str, case: str, found: Losses, control: Losses) -> Iterator[Case]:
    """The promises on what failures and repairs cost."""
    most = median(control.failures) + MORE_THAN_CONTROL
    yield at_most(row, f"{case}: packets lost by a failure, median", median(found.failures), most, "",
                  _spread(found.failures))  # fmt: skip
    yield at_most(row, f"{case}: packets lost by a failure, worst", max(found.failures), WORST)
    yield at_most(row, f"{case}: packets lost by a repair, worst", max(found.repairs), WORST, "",
                  _spread(found.repairs))  # fmt: skip
    yield exactly(row, f"{case}: packets lost off the cable", found.bystanders, 0)
    yield exactly(row, f"{case}: packets that came twice", found.twice, 0)


def control_told(row: str, control: Losses) -> Iterator[Case]:
    """What the control lost, against which the others are held."""
    said = f"median {median(control.failures)}, worst {max(control.failures)} ({_spread(control.failures)})"
    yield told(row, "control, a bare failover group: packets lost by a failure", said)
    yield told(row, "control, a bare failover group: packets lost by a repair", f"worst {max(control.repairs)}")


def _spread(values: Sequence[int]) -> str:
    return " ".join(map(str, sorted(values)))
