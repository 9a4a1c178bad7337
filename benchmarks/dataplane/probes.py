"""Traffic with numbers on every packet between emulated hosts, and what became of each packet."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.dataplane import in_host
from mininet_scenarios.cluster import Cluster
from topologies.errors import HeddleError

RATE_PER_S = 1000.0
_PATIENCE_S = 30.0
_WARM_S, _AFTER_S = 1.0, 0.5
_LINE = np.dtype([("number", "<u8"), ("sent_ns", "<u8"), ("came_ns", "<u8")])
_names = iter(range(1 << 30))


@dataclass(frozen=True, slots=True)
class Gap:
    """Packets lost in a row.

    Attributes
    ----------
    lost : int
        How many.
    from_s, until_s : float
        Unix time at which the first of them was sent, and the next one that came arrived.
    """

    lost: int
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of packets.

    Attributes
    ----------
    sent, lost, twice, late : int
        Sent in all; never came; came again; came after one with a higher number.
    gaps : tuple of Gap
        What was lost, in order.
    """

    sent: int
    lost: int
    twice: int
    late: int
    gaps: tuple[Gap, ...]

    def __str__(self) -> str:
        return f"{self.lost} lost, {self.twice} twice, {self.late} late of {self.sent}"


class _Program:
    """A program of `in_host`, in a host."""

    def __init__(self, cluster: Cluster, host: str, *arguments: str) -> None:
        self._process = cluster.start_in(
            host, sys.executable, "-B", in_host.__file__, *arguments,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._what = f"'{arguments[0]}' in {host}"
        self.said = self._read()

    def end(self) -> dict[str, Any]:
        """Close its input and return what it says last."""
        self.close_input()
        try:
            last = self._read()
            self._process.wait(_PATIENCE_S)
        finally:
            self.kill()
        return last

    def close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> dict[str, Any]:
        pipe = self._process.stdout
        guard = threading.Timer(_PATIENCE_S, self._process.kill)
        guard.start()
        try:
            line = pipe.readline() if pipe is not None else b""
        finally:
            guard.cancel()
        if not line:
            said = self._process.stderr.read().decode().strip() if self._process.stderr is not None else ""
            raise HeddleError(f"{self._what} ended: {said.splitlines()[-1] if said else 'it said nothing'}")
        read: dict[str, Any] = json.loads(line)
        return read


class Udp:
    """Numbered packets from one host to another from here on; a context manager.

    Attributes
    ----------
    ended : mapping
        What sender and receiver say of themselves, once they have ended.
    """

    def __init__(
        self, cluster: Cluster, source: str, target: str, per_second: float = RATE_PER_S, source_port: int = 0
    ) -> None:
        self.source, self.target = source, target
        self._cluster = cluster
        self._rate, self._source_port = per_second, source_port
        number = next(_names)
        self._paths = [cluster.run.path / f"udp-{number}-{side}" for side in ("sent", "came")]
        self._programs: list[_Program] = []
        self.ended: dict[str, Any] = {}

    def __enter__(self) -> Self:
        address = self._cluster.fabric.node_by_id[self.target].ip or ""
        try:
            self._programs.append(_Program(self._cluster, self.target, "udp-receive", str(self._paths[1])))
            port = self._programs[0].said["port"]
            arguments = (address, str(port), str(self._source_port), str(self._rate), str(self._paths[0]))
            self._programs.append(_Program(self._cluster, self.source, "udp-send", *arguments))
        except BaseException:
            self._kill()
            raise
        self._maps = [np.memmap(path, mode="r") for path in self._paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for program in reversed(self._programs):
                self.ended |= program.end()
        finally:
            self._kill()

    def _kill(self) -> None:
        for program in self._programs:
            program.kill()

    @property
    def sent(self) -> int:
        """Number of the next packet, or a little less."""
        return len(self._lines(0))

    @property
    def came(self) -> int:
        """How many came, those that came twice counted twice."""
        return len(self._lines(1))

    def await_packets(self, count: int, timeout_s: float = _PATIENCE_S) -> None:
        """Return once so many more have come.

        Raises
        ------
        HeddleError
            They do not.
        """
        wanted, deadline_s = self.came + count, time.monotonic() + timeout_s
        while self.came < wanted:
            if time.monotonic() > deadline_s:
                raise HeddleError(f"no traffic flows from {self.source} to {self.target}")
            time.sleep(0.005)

    def loss(self, first: int = 0, end: int | None = None) -> Loss:
        """What became of the packets with numbers from `first` to before `end`; None for all that were sent."""
        sent, came = self._lines(0), self._lines(1)
        numbers = sent["number"][first:end]
        if not len(numbers):
            return Loss(0, 0, 0, 0, ())
        low, high = int(numbers[0]), int(numbers[-1])
        mine = came[(came["number"] >= low) & (came["number"] <= high)]
        missing = np.setdiff1d(numbers, mine["number"])
        late = int(np.sum(mine["number"] < np.maximum.accumulate(mine["number"]))) if len(mine) else 0
        gaps = tuple(self._gaps(missing, sent, came))
        return Loss(len(numbers), len(missing), len(mine) - len(np.unique(mine["number"])), late, gaps)

    def _gaps(self, missing: np.ndarray, sent: np.ndarray, came: np.ndarray) -> Iterator[Gap]:
        for run in np.split(missing, np.flatnonzero(np.diff(missing.astype(np.int64)) > 1) + 1):
            if len(run):
                after = came["came_ns"][came["number"] > run[-1]]
                until_s = float(after.min()) / 1e9 if len(after) else float("inf")
                at = np.searchsorted(sent["number"], run[0])
                yield Gap(len(run), float(sent["sent_ns"][at]) / 1e9, until_s)

    def _lines(self, side: int) -> np.ndarray:
        data = self._maps[side]
        (count,) = in_host.COUNT.unpack_from(data, 0)
        return np.frombuffer(data, _LINE, count, in_host.COUNT.size)


@contextmanager
def both_ways(cluster: Cluster, pair: tuple[str, str]) -> Iterator[tuple[Udp, Udp]]:
    """Packets from each of a pair to the other."""
    with Udp(cluster, *pair) as forth, Udp(cluster, *pair[::-1]) as back:
        time.sleep(_WARM_S)
        yield forth, back
        time.sleep(_AFTER_S)


class Tcp:
    """A paced TCP stream from one host to another; a context manager.

    Attributes
    ----------
    lost, twice : int
        Segments with data that left the sender and never reached the receiver, and the other way round; once ended.
    """

    def __init__(self, cluster: Cluster, source: str, target: str, bits_per_second: float) -> None:
        self._cluster, self.source, self.target, self._rate_bps = cluster, source, target, bits_per_second
        self._programs: list[_Program] = []
        self.sender: dict[str, Any] = {}
        self.receiver: dict[str, Any] = {}

    def __enter__(self) -> Self:
        address = self._cluster.fabric.node_by_id[self.target].ip or ""
        try:
            self._programs.append(_Program(self._cluster, self.target, "tcp-receive"))
            port = self._programs[0].said["port"]
            self._programs.append(
                _Program(self._cluster, self.source, "tcp-send", address, str(port), str(self._rate_bps))
            )
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.sender = self._programs[1].end()
            self.receiver = self._programs[0].end()
        finally:
            self._kill()

    def _kill(self) -> None:
        for program in self._programs:
            program.kill()

    @property
    def lost(self) -> int:
        return max(0, int(self.sender["data_segments"]) - int(self.receiver["data_segments"]))

    @property
    def twice(self) -> int:
        return max(0, int(self.receiver["data_segments"]) - int(self.sender["data_segments"]))

    def __str__(self) -> str:
        rate = self.sender["bytes"] * 8 / self.sender["seconds"] / 1e6
        return (
            f"{self.lost} lost, {self.twice} twice of {self.sender['data_segments']} segments, "
            f"{self.sender['retransmitted']} sent again, {rate:.1f} Mbit/s"
        )
