"""A comparison as JSON and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mininet_scenarios import nccl
from mininet_scenarios.all_reduce import ACK_OVERHEAD, DATA_OVERHEAD, SizeResult
from mininet_scenarios.first_light import Comparison, Routing, Run, cores_used, utilisation, worst_link_flows
from mininet_scenarios.verdict import Check
from topologies.fabric import Fabric

TITLES = {Routing.SHORTEST: "Shortest path", Routing.ECMP: "ECMP", Routing.OPTIMISED: "Optimised"}


def to_json(comparison: Comparison, verdict: Sequence[Check]) -> dict[str, Any]:
    """Everything measured; times in seconds, bandwidths in GB/s (1e9 bytes) as nccl-tests has them."""
    return {
        "scenario": "all-reduce",
        "seed": comparison.seed,
        "ranks": list(comparison.ranks),
        "link_capacity_bps": comparison.fabric.access_link(comparison.ranks[0]).capacity_bps,
        "link_efficiency": comparison.link_efficiency,
        "header_overhead": {"data": DATA_OVERHEAD, "acknowledgements": ACK_OVERHEAD},
        "runs": [_run_json(comparison.fabric, run) for run in comparison.runs],
        "checks": [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in verdict],
        "passed": all(check.passed for check in verdict),
    }


def write_picture(comparison: Comparison, path: Path) -> None:
    """Draw the largest size's link loads for each routing, and every size's bus bandwidth."""
    from mininet_scenarios.picture import Bars, Panel, draw, save

    panels, bars = [], []
    for run in comparison.runs:
        last = run.results[-1]
        used, of = cores_used(comparison.fabric, last)
        flows = worst_link_flows(comparison.fabric, last)
        panels.append(Panel(
            TITLES[run.routing],
            f"busiest link carries {flows} flow{'s' if flows != 1 else ''} · {used} of {of} cores used",
            utilisation(comparison.fabric, last),
        ))  # fmt: skip
        bars.append(Bars(TITLES[run.routing], [result.timing.busbw_bytes_per_s * 8 for result in run.results]))
    first = comparison.runs[0].results
    title = f"One ring all-reduce over {len(comparison.ranks)} ranks, {len(panels)} ways to route it"
    sizes = [size_name(result.timing.size_bytes) for result in first]
    save(draw(comparison.fabric, panels, bars, sizes, first[-1].timing.bound_busbw_bytes_per_s * 8, title), path)


def size_name(size_bytes: int) -> str:
    """``4 MiB``."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes >= 1 << shift:
            return f"{size_bytes / (1 << shift):g} {unit}"
    return f"{size_bytes} B"


def _run_json(fabric: Fabric, run: Run) -> dict[str, Any]:
    return {
        "routing": run.routing.value,
        "share": run.share,
        "mpi_starts": run.mpi_starts,
        "plan": [
            {"source": pair.source, "target": pair.target, "links": [str(link) for link in pair.links],
             "data": pair.carries_data}
            for pair in run.plan
        ],
        "sizes": [_size_json(fabric, result) for result in run.results],
    }  # fmt: skip


def _size_json(fabric: Fabric, result: SizeResult) -> dict[str, Any]:
    timing = result.timing
    used, of = cores_used(fabric, result)
    return {
        **dict(zip(nccl.COLUMNS, nccl.row(timing, result.wrong), strict=True)),
        "size_bytes": timing.size_bytes,
        "time_s": timing.time_s,
        "iterations_s": list(timing.seconds),
        "bound_s": timing.bound_s,
        "floor_s": timing.floor_s,
        "ratio_to_bound": timing.ratio_to_bound,
        "algbw_gb_per_s": timing.algbw_bytes_per_s / 1e9,
        "busbw_gb_per_s": timing.busbw_bytes_per_s / 1e9,
        "wrong": result.wrong,
        "sent_bytes": list(result.sent_bytes),
        "received_bytes": list(result.received_bytes),
        "expected_bytes": result.expected_bytes,
        "worst_link_flows": worst_link_flows(fabric, result),
        "cores_used": used,
        "cores": of,
        "cpu_idle": result.cpu_idle,
        "elapsed_s": result.elapsed_s,
        "link_bytes": {str(link): sent for link, sent in result.link_bytes.items()},
    }
