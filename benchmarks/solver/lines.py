"""What a benchmark prints: one line for each engine or peer on each instance, and what is thought of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from benchmarks.solver.child import Measurement

SAME = 1e-6
"""Relative difference up to which two exact solvers found the same optimum."""


class Verdict(StrEnum):
    """Whether a line is as it should be."""

    MET = "met"
    MISSED = "missed"
    WRONG = "wrong"
    CORRECT = "correct"
    COMPARED = "compared"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of a line; None asks nothing.

    Attributes
    ----------
    seconds, peak_bytes : float or None
        Missed where more is taken.
    gap : float or None
        Wrong where the proof leaves more open.
    value : tuple of float or None
        Wrong where the value is not between these.
    """

    seconds: float | None = None
    peak_bytes: float | None = None
    gap: float | None = None
    value: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One engine or peer on one instance.

    Attributes
    ----------
    case, what, engine : str
        Instance, question, and who answers.
    ours : bool
        Whether Heddle answers.
    seconds : float or None
        Median of ``runs``, or the time after which it was cut off; None where nobody was timed.
    cut_off : bool
        ``seconds`` is less than it would take.
    ratio : float or None
        Of a peer's seconds to ours; more than this where it was cut off.
    peak_bytes : int or None
        Largest resident memory of its process, interpreter and libraries included.
    value, bound, gap : float or None
        As in `solver.routing.Certificate`; peers prove nothing.
    ports : int or None
        Ports of a switch, where a picture shows how the cost grows with it.
    note : str
        What else there is to say, and why a line is wrong.
    """

    case: str
    what: str
    engine: str
    ours: bool
    verdict: Verdict
    seconds: float | None = None
    runs: int = 0
    cut_off: bool = False
    limit_s: float | None = None
    ratio: float | None = None
    peak_bytes: int | None = None
    value: float | None = None
    bound: float | None = None
    gap: float | None = None
    ports: int | None = None
    note: str = ""

    @property
    def failed(self) -> bool:
        return self.verdict in (Verdict.MISSED, Verdict.WRONG)


def our_line(case: str, what: str, measured: Measurement, limits: Limits, *, ports: int | None = None) -> Line:
    """The line of an engine of ours."""
    if not measured.readings:
        why = f"cut off after {measured.limit_s:g} s" if measured.cut_off else measured.error
        verdict = Verdict.MISSED if measured.cut_off else Verdict.WRONG
        seconds = measured.limit_s if measured.cut_off else None
        return Line(
            case, what, "Heddle", True, verdict, seconds, cut_off=measured.cut_off, limit_s=limits.seconds,
            peak_bytes=measured.peak_bytes, ports=ports, note=why,
        )  # fmt: skip
    last, seconds = measured.readings[-1], median(reading.seconds for reading in measured.readings)
    notes = [last.note] if last.note else []
    wrong = [last.wrong] if last.wrong else []
    if limits.gap is not None and not (last.gap is not None and last.gap <= limits.gap):
        wrong.append(f"the gap must not be above {limits.gap:g}")
    if limits.value is not None and not (last.value is not None and limits.value[0] <= last.value <= limits.value[1]):
        wrong.append(f"the value must be from {limits.value[0]:.7g} to {limits.value[1]:.7g}")
    late = limits.seconds is not None and seconds > limits.seconds
    large = limits.peak_bytes is not None and (measured.peak_bytes or 0) > limits.peak_bytes
    if limits.peak_bytes is not None:
        notes.append(f"limit of memory {limits.peak_bytes / 2**30:g} GiB")
    if wrong:
        verdict = Verdict.WRONG
    elif late or large:
        verdict = Verdict.MISSED
    else:
        verdict = Verdict.MET if limits.seconds is not None else Verdict.CORRECT
    return Line(
        case, what, last.engine, True, verdict, seconds, len(measured.readings), limit_s=limits.seconds,
        peak_bytes=measured.peak_bytes, value=last.value, bound=last.bound, gap=last.gap, ports=ports,
        note="; ".join(wrong + notes),
    )  # fmt: skip


def peer_line(ours: Line, engine: str, measured: Measurement, *, exact: bool) -> Line:
    """The line of a peer beside ours: wrong where both are exact and differ, for then one of them is.

    Parameters
    ----------
    exact : bool
        Whether the peer goes on to the optimum; the others stop near it.
    """
    verdict, note, value = Verdict.COMPARED, measured.error, None
    seconds = measured.limit_s if measured.cut_off else None
    if measured.readings:
        seconds = median(reading.seconds for reading in measured.readings)
        last = measured.readings[-1]
        value, note = last.value, last.note
        if value is not None and ours.value is not None:
            apart = abs(value - ours.value) / max(abs(value), abs(ours.value))
            if exact and apart > SAME:
                verdict, note = Verdict.WRONG, f"not our value: {apart:.1e} apart"
            elif not exact:
                note = f"{apart:.0e} from our value"
    ratio = seconds / ours.seconds if seconds and ours.seconds else None
    return Line(
        ours.case, ours.what, engine, False, verdict, seconds, len(measured.readings),
        cut_off=measured.cut_off and not measured.readings, ratio=ratio, peak_bytes=measured.peak_bytes, value=value,
        ports=ours.ports, note=note,
    )  # fmt: skip


def hashing_line(ours: Line, worst: Mapping[int, float]) -> Line:
    """The line of ECMP beside ours: how full its worst link is, on average over the seeds of the hash."""
    mean = sum(worst.values()) / len(worst)
    times = f", {mean / ours.value:.2f} times ours" if ours.value else ""
    note = f"worst link, mean of {len(worst)} hashes ({min(worst.values()):.3g} to {max(worst.values()):.3g}){times}"
    return Line(ours.case, ours.what, "ECMP", False, Verdict.COMPARED, value=mean, note=note)


def splitting_line(ours: Line, worst: float) -> Line:
    """The line of equal splitting beside ours: how full its worst link is, above 1 where it is overloaded."""
    times = f"{worst / ours.value:.2f} times ours" if ours.value else ""
    return Line(ours.case, ours.what, "ECMP, split equally", False, Verdict.COMPARED, value=worst, note=times)
