"""Minutes of a ring all-reduce that keeps every host's link full: discovery must not take that for dead links."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.dataplane.cases import Case, Setting, exactly, told
from benchmarks.dataplane.stage import ACTIVE_S, Stage, stage
from controller.client import JobState
from mininet_scenarios.all_reduce import Sweep, run_all_reduce
from mininet_scenarios.first_light import utilisation
from mininet_scenarios.reachability import await_reachable
from workloads.job import Job
from workloads.placement import scatter

ROW = "soak"
_SOAK_S, _QUICK_SOAK_S = 600.0, 60.0
_MESSAGE_BYTES = 8 << 20
_MOST_ITERATIONS = 10_000
_SEED = 1
_LOOK_S = 0.5
_DOWN = frozenset({"link-silent", "link-moved", "link-damped", "port-down", "switch-down", "switch-dead"})
_JOB = "soak"


@dataclass
class _Seen:
    looks: int = 0
    missing: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def row(setting: Setting) -> Iterator[Case]:
    """One job over all hosts, its ranks scattered, on planned paths."""
    soak_s = _QUICK_SOAK_S if setting.quick else _SOAK_S
    with stage(setting.framework, jobs=False) as made:
        ranks = scatter([host.id for host in made.fabric.hosts], len(made.fabric.hosts), _SEED)
        made.client.submit_job(Job(_JOB, ranks, _MESSAGE_BYTES))
        made.client.wait_job(_JOB, JobState.ACTIVE, ACTIVE_S)
        await_reachable(made.cluster, ranks)
        sweep = Sweep((_MESSAGE_BYTES,), max_iterations=_MOST_ITERATIONS, budget_s=soak_s)
        with _watching(made) as seen:
            (result,) = run_all_reduce(made.cluster, ranks, sweep, made.daemon.directory / "mpi.log")
    used = utilisation(made.fabric, result)
    busy = [used[made.fabric.access_link(rank).id] for rank in ranks]
    case = f"{result.elapsed_s:.0f} s of all-reduce"
    downs = sum(seen.kinds[kind] for kind in _DOWN)
    yield exactly(ROW, f"{case}: links and switches declared down", downs, 0)
    yield exactly(
        ROW, f"{case}: looks at the view in which a link was missing", seen.missing, 0, "", f"of {seen.looks}"
    )
    yield exactly(ROW, f"{case}: wrong elements", result.wrong, 0)
    yield told(ROW, f"{case}: hosts' links used", f"{min(busy):.1%} to {max(busy):.1%}")
    yield told(ROW, f"{case}: of the shortest possible time", f"{result.timing.ratio_to_bound:.1%}")
    told_of = ", ".join(f"{count} {kind}" for kind, count in sorted(seen.kinds.items())) or "none"
    yield told(ROW, f"{case}: events", f"{told_of}; processors idle {result.cpu_idle:.0%}")


@contextmanager
def _watching(made: Stage) -> Iterator[_Seen]:
    """Look at the view now and then, and in the end at what was told meanwhile."""
    seen, over, after = _Seen(), threading.Event(), made.last_event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            seen.looks += 1
            seen.missing += not made.whole()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    seen.kinds.update(event.kind for event in made.client.events(after))
