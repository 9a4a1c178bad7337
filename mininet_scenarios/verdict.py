"""What a comparison must show before its numbers may be believed, and what it was meant to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from mininet_scenarios.all_reduce import ACK_OVERHEAD, DATA_OVERHEAD, SizeResult
from mininet_scenarios.first_light import Comparison, Routing, Run, cores_used, worst_link_flows
from topologies.fabric import LinkId

BYTES_TOLERANCE = 0.05
STRAY_SHARE = 0.01
EFFICIENCY_SHARE = 0.90
MEAN_GAIN, LEAST_GAIN = 1.5, 1.0
_CLOCK_TOLERANCE = 0.02
"""Bursts, and counters that are read one after the other."""


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation: what it is, whether it held, and the numbers."""

    name: str
    passed: bool
    detail: str


def checks(comparison: Comparison) -> tuple[Check, ...]:
    """All expectations of one comparison."""
    return tuple(_checks(comparison))


def _checks(comparison: Comparison) -> Iterator[Check]:
    everything = [(run, result) for run in comparison.runs for result in run.results]
    wrong = sum(result.wrong for _, result in everything)
    yield Check("every element right on every rank", wrong == 0, f"{wrong} wrong elements")
    least = min(result.accounted[0] for _, result in everything)
    most = max(result.accounted[1] for _, result in everything)
    lost = max(result.sent_again for _, result in everything)
    yield Check(
        "host interfaces account for the data",
        least >= 1 - BYTES_TOLERANCE and most <= 1 + BYTES_TOLERANCE,
        f"received {least:.3f} to {most:.3f} of data, headers ({DATA_OVERHEAD:.2%}) and acknowledgements "
        f"({ACK_OVERHEAD:.2%}); of what was sent, up to {lost:.1%} got lost",
    )
    timings = [result.timing for _, result in everything]
    closest = min(timing.fastest_s / timing.bound_s for timing in timings)
    yield Check(
        "no time below the bound",
        all(timing.fastest_s >= timing.floor_s for timing in timings),
        f"the fastest iteration took {closest:.3f} of its bound",
    )
    yield _capacity(comparison, everything)
    if (optimised := comparison.run_of(Routing.OPTIMISED)) is not None:
        yield _efficiency(comparison, optimised)
        yield from _links(optimised)
    if (ecmp := comparison.run_of(Routing.ECMP)) is not None:
        used, of = cores_used(comparison.fabric, ecmp.results[-1])
        flows = worst_link_flows(comparison.fabric, ecmp.results[-1])
        yield Check("ECMP uses every core", used == of, f"{used} of {of} cores, up to {flows} flows on a link")


def _capacity(comparison: Comparison, everything: Sequence[tuple[Run, SizeResult]]) -> Check:
    """No link may carry more than its capacity: where one does, it is not shaped and no time means anything."""
    fullest = max(
        result.link_bytes[link.id] * 8 / (result.elapsed_s * link.capacity_bps)
        for _, result in everything
        for link in comparison.fabric.links
        if link.capacity_bps
    )
    return Check("no link above its capacity", fullest <= 1 + _CLOCK_TOLERANCE, f"the fullest at {fullest:.3f} of it")


def _efficiency(comparison: Comparison, run: Run) -> Check:
    ratio, wanted = run.results[-1].timing.ratio_to_bound, EFFICIENCY_SHARE * comparison.link_efficiency
    return Check(
        "optimised reaches the bound",
        ratio >= wanted,
        f"{ratio:.3f} of the bound's busbw; {EFFICIENCY_SHARE} x link efficiency "
        f"{comparison.link_efficiency:.3f} = {wanted:.3f}",
    )


def _links(run: Run) -> Iterator[Check]:
    """Bytes on every link of the plan and off it, at every size."""
    data: Counter[LinkId] = Counter()
    acks: Counter[LinkId] = Counter()
    for pair in run.plan:
        (data if pair.carries_data else acks).update(pair.links)
    on_plan = [ratio for result in run.results for ratio in _planned_ratios(result, data, acks)]
    yield Check(
        "planned links carry what was planned",
        bool(on_plan) and max(abs(ratio - 1) for ratio in on_plan) <= BYTES_TOLERANCE,
        f"{min(on_plan):.3f} to {max(on_plan):.3f} of the ring pairs' bytes" if on_plan else "there is no plan",
    )
    strays = [
        sent / (result.pair_bytes * len(result.sent_bytes))
        for result in run.results
        for link, sent in result.link_bytes.items()
        if link not in data
    ]
    worst = max(strays, default=0.0)
    yield Check("other links stay quiet", worst <= STRAY_SHARE, f"at most {worst:.3%} of the job's bytes on one")


def _planned_ratios(result: SizeResult, data: Counter[LinkId], acks: Counter[LinkId]) -> Iterator[float]:
    for link, pairs in data.items():
        expected = result.pair_bytes * (pairs * (1 + DATA_OVERHEAD) + acks[link] * ACK_OVERHEAD)
        yield result.link_bytes[link] / expected


@dataclass(frozen=True, slots=True)
class Gain:
    """Optimised over ECMP for one seed, at the largest size."""

    seed: int
    optimised_bps: float
    ecmp_bps: float
    ecmp_worst_flows: int
    ecmp_cores: tuple[int, int]

    @property
    def ratio(self) -> float:
        return self.optimised_bps / self.ecmp_bps

    @classmethod
    def of(cls, comparison: Comparison) -> Gain | None:
        optimised, ecmp = comparison.run_of(Routing.OPTIMISED), comparison.run_of(Routing.ECMP)
        if optimised is None or ecmp is None:
            return None
        return cls(
            comparison.seed,
            optimised.results[-1].timing.busbw_bytes_per_s * 8,
            ecmp.results[-1].timing.busbw_bytes_per_s * 8,
            worst_link_flows(comparison.fabric, ecmp.results[-1]),
            cores_used(comparison.fabric, ecmp.results[-1]),
        )


def gain_checks(gains: Sequence[Gain]) -> tuple[Check, ...]:
    """What the seeds together must show."""
    average, least = mean(gain.ratio for gain in gains), min(gain.ratio for gain in gains)
    return (
        Check(
            f"optimised over ECMP, mean of {len(gains)} seeds",
            average >= MEAN_GAIN,
            f"{average:.2f}, at least {MEAN_GAIN}",
        ),
        Check("optimised over ECMP, worst seed", least >= LEAST_GAIN, f"{least:.2f}, at least {LEAST_GAIN}"),
    )
