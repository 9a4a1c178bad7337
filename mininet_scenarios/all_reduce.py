"""A real ring all-reduce over an emulated cluster, with what the interface counters say of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mininet_scenarios.cluster import Cluster, Counters
from mininet_scenarios.machine import CpuTime
from mininet_scenarios.nccl import Timing
from mininet_scenarios.requirements import mpi_program, program
from mininet_scenarios.wiring import HOST_MTU, interface
from topologies.errors import HeddleError
from topologies.fabric import LinkId
from workloads.collectives import ring_all_reduce_bound_s, ring_all_reduce_bytes

_PROGRAM = Path(__file__).with_name("mpi_ring.py")
_POLL_S = 0.01
_PATIENCE_S = 900.0
_ABORT = "Abort("
_ETHERNET, _IP_AND_TCP = 14, 20 + 20 + 12
_SEGMENT = HOST_MTU - _IP_AND_TCP
DATA_OVERHEAD = (_ETHERNET + _IP_AND_TCP) / _SEGMENT
"""Ethernet, IPv4 and TCP with timestamps on each full segment of 8,948 bytes: 0.74 % on top of the data."""
ACK_OVERHEAD = DATA_OVERHEAD / 2
"""One acknowledgement, a header without data, for every second segment: 0.37 %, the other way."""
_ENVIRONMENT = {
    # The ring, whatever MPICH would choose for this size; the rank program's calls are non-blocking.
    "MPIR_CVAR_IALLREDUCE_INTRA_ALGORITHM": "tsp_ring",
    # UCX on plain TCP: 0.98 of the bound for 2 MiB on conflict-free paths, libfabric's tcp provider 0.93.
    "MPIR_CVAR_CH4_NETMOD": "ucx",
    "UCX_TLS": "tcp",
    "UCX_WARN_UNUSED_ENV_VARS": "n",
    "OPENBLAS_NUM_THREADS": "1",
}


class StartFailed(HeddleError):
    """MPI gave up before the first all-reduce: a rank did not reach another. Nothing was measured yet."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to run.

    Attributes
    ----------
    sizes_bytes : tuple of int
        Message sizes, multiples of 4 bytes (float32).
    warmup : int
        Iterations before the timed ones, at every size.
    min_iterations, max_iterations : int
        Timed ones; as many as fit in ``budget_s`` by the warm-up's time.
    """

    sizes_bytes: tuple[int, ...]
    warmup: int = 1
    min_iterations: int = 2
    max_iterations: int = 10
    budget_s: float = 8.0


@dataclass(frozen=True)
class SizeResult:
    """One message size.

    Attributes
    ----------
    timing : Timing
        Times and bandwidths, as nccl-tests has them.
    wrong : int
        Elements that differ from the exact sum, over all ranks and iterations.
    sent_bytes : tuple of int
        What each rank's host interface sent during the timed iterations.
    received_bytes : tuple of int
        What came in at each rank's host interface meanwhile.
    expected_bytes : float
        What each should have sent and received: data, headers and acknowledgements.
    link_bytes : mapping of LinkId to int
        What each directed link carried meanwhile.
    elapsed_s : float
        From one reading of the counters to the other.
    cpu_idle : float
        Share of the machine's processor time that nobody used meanwhile, 0 to 1.
    """

    timing: Timing
    wrong: int
    sent_bytes: tuple[int, ...]
    received_bytes: tuple[int, ...]
    expected_bytes: float
    link_bytes: Mapping[LinkId, int]
    elapsed_s: float
    cpu_idle: float

    @property
    def accounted(self) -> tuple[float, float]:
        """Least and most of received over expected bytes among the ranks.

        Sent bytes would not do: what a full queue dropped on a shared link was sent twice, and moved once.
        """
        return min(self.received_bytes) / self.expected_bytes, max(self.received_bytes) / self.expected_bytes

    @property
    def sent_again(self) -> float:
        """Share of all bytes sent that never arrived, and so were sent again."""
        return 1 - sum(self.received_bytes) / sum(self.sent_bytes)

    @property
    def pair_bytes(self) -> float:
        """Data that each ring pair moved during the timed iterations."""
        return ring_all_reduce_bytes(self.timing.size_bytes, len(self.sent_bytes)) * self.timing.iterations


def run_all_reduce(
    cluster: Cluster, ranks: Sequence[str], sweep: Sweep, log: Path, progress: Callable[[str], None] | None = None
) -> tuple[SizeResult, ...]:
    """Run the sweep with one rank on each host named, in ring order.

    Parameters
    ----------
    log : Path
        Takes what MPI and the ranks say.

    Raises
    ------
    HeddleError
        MPI fails or hangs; the message has its last words.
    """
    tell = progress or (lambda _: None)
    directory = cluster.run.path / f"mpi-{time.monotonic_ns()}"
    directory.mkdir()
    (directory / "spec.json").write_text(json.dumps({
        "directory": str(directory), "ranks": len(ranks), "sizes_bytes": sweep.sizes_bytes, "warmup": sweep.warmup,
        "min_iterations": sweep.min_iterations, "max_iterations": sweep.max_iterations, "budget_s": sweep.budget_s,
    }))  # fmt: skip
    tell(f"starting {len(ranks)} MPI ranks")
    with log.open("wb") as output:
        process = _start(cluster, ranks, directory, output.fileno())
        try:
            readings = [
                _watch(cluster, process, directory, number, log, size, tell)
                for number, size in enumerate(sweep.sizes_bytes)
            ]
            if process.wait(_PATIENCE_S):
                raise HeddleError(_failure(log))
        except HeddleError as error:
            if (directory / "0-before.ready").exists():
                raise
            raise StartFailed(str(error)) from error
        except subprocess.TimeoutExpired as error:
            raise HeddleError(f"the MPI ranks do not end; their output is in {log}") from error
        finally:
            process.kill()
            process.wait()
            _end_ranks(cluster)
    results = json.loads((directory / "results.json").read_text())
    rate_bps = min(cluster.fabric.access_link(rank).capacity_bps or 0.0 for rank in ranks)
    return tuple(
        _result(cluster, ranks, result, reading, rate_bps) for result, reading in zip(results, readings, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    before: Counters
    after: Counters
    elapsed_s: float
    cpu_idle: float


def _start(cluster: Cluster, ranks: Sequence[str], directory: Path, output: int) -> subprocess.Popen[bytes]:
    """Start mpiexec in rank 0's host: the ranks must reach it, and the fabric is the way between them."""
    launcher = directory / "launch"
    launcher.write_text(_launcher_script(cluster))
    launcher.chmod(0o755)
    addresses = ",".join(cluster.fabric.node_by_id[rank].ip or "" for rank in ranks)
    return cluster.start_in(
        ranks[0], str(mpi_program()), "-launcher", "ssh", "-launcher-exec", str(launcher),
        "-iface", interface(cluster.fabric.access_link(ranks[0]).id), "-hosts", addresses, "-ppn", "1",
        sys.executable, str(_PROGRAM), str(directory / "spec.json"),
        env={**cluster.run.environment, **_ENVIRONMENT}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        start_new_session=True,
    )  # fmt: skip


def _launcher_script(cluster: Cluster) -> str:
    """What Hydra takes for ssh: it drops the options and enters the host instead of logging in."""
    cases = [f"{node.ip}) pid={cluster.host_pid(node.id)} ;;" for node in cluster.fabric.hosts]
    enter = f"{program('nsenter')} --target $pid --net --mount --uts --ipc"
    return "\n".join((
        "#!/bin/sh",
        'while [ "${1#-}" != "$1" ]; do shift; done',
        'case "$1" in', *cases, '*) echo "no emulated host has address $1" >&2; exit 1 ;;', "esac",
        f'shift; exec {enter} -- sh -c "exec $*"', "",
    ))  # fmt: skip


def _watch(
    cluster: Cluster,
    process: subprocess.Popen[bytes],
    directory: Path,
    number: int,
    log: Path,
    size_bytes: int,
    tell: Callable[[str], None],
) -> _Reading:
    """Read the counters just before and just after the timed iterations of one size, while the ranks stand still."""
    tell(f"all-reduce of {size_bytes:,} bytes: warming up")
    _await(process, directory / f"{number}-before.ready", log)
    before, cpu, start_s = cluster.counters(), CpuTime.now(), time.monotonic()
    (directory / f"{number}-before.go").touch()
    tell(f"all-reduce of {size_bytes:,} bytes: timed iterations")
    _await(process, directory / f"{number}-after.ready", log)
    after, elapsed_s, idle = cluster.counters(), time.monotonic() - start_s, CpuTime.now().idle_share_since(cpu)
    (directory / f"{number}-after.go").touch()
    return _Reading(before, after, elapsed_s, idle)


def _end_ranks(cluster: Cluster) -> None:
    """End what mpiexec left: ranks that lost a peer spin for ever."""
    for pid in cluster.run.processes():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if _PROGRAM.name.encode() in command or b"hydra" in command:
                os.kill(pid, signal.SIGKILL)


def _await(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not path.exists():
        # A rank that gave up leaves the others spinning, and mpiexec waiting for them.
        if process.poll() is not None or _ABORT in log.read_text(errors="replace"):
            raise HeddleError(_failure(log))
        if time.monotonic() > deadline:
            raise HeddleError(f"the MPI ranks have not come on for {_PATIENCE_S:g} s; their output is in {log}")
        time.sleep(_POLL_S)


def _failure(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    words = next((line for line in lines if _ABORT in line), lines[-1] if lines else "it said nothing")
    return f"MPI failed, its output is in {log}: {words}"


def _result(
    cluster: Cluster, ranks: Sequence[str], result: dict[str, Any], reading: _Reading, rate_bps: float
) -> SizeResult:
    size_bytes, seconds = int(result["size_bytes"]), tuple(map(float, result["seconds"]))
    links = {link: sent - reading.before.sent_bytes[link] for link, sent in reading.after.sent_bytes.items()}
    each = ring_all_reduce_bytes(size_bytes, len(ranks))
    data, bound_s = each * len(seconds), ring_all_reduce_bound_s(size_bytes, len(ranks), rate_bps)
    least_wire = each * (1 + DATA_OVERHEAD) - cluster.shaping.burst_bytes
    timing = Timing(
        size_bytes=size_bytes, ranks=len(ranks), seconds=seconds,
        bound_s=bound_s,
        floor_s=min(bound_s, least_wire * 8 / rate_bps),
    )  # fmt: skip
    return SizeResult(
        timing=timing, wrong=int(result["wrong"]),
        sent_bytes=tuple(links[cluster.fabric.access_link(rank).id] for rank in ranks),
        received_bytes=tuple(links[cluster.fabric.access_link(rank).reverse_id] for rank in ranks),
        expected_bytes=data * (1 + DATA_OVERHEAD + ACK_OVERHEAD), link_bytes=links,
        elapsed_s=reading.elapsed_s, cpu_idle=reading.cpu_idle,
    )  # fmt: skip
