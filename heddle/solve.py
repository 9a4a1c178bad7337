"""``heddle solve``: demands routed as well as can be on a fabric, with the proof, as a table, a file or a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dataplane.matching import RuleError
from dataplane.network import VerificationError
from heddle.output import NOTHING, amount, percent, print_json, print_table, rate
from solver.distance import Allowed
from solver.errors import CertificateError, Infeasible
from solver.routing import Objective, Routing, Status
from solver.watch import Progress
from topologies.errors import HeddleError, InputError
from topologies.fabric import Fabric

if TYPE_CHECKING:
    from solver.demand import Demand

_FULLEST = 10
_FEW_DEMANDS = 20
_SHOWN_AFTER_S = 1.0
_LINE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Given:
    """The files that a question is made of, as the flags name them.

    Attributes
    ----------
    fabric, demands : str
        As `read_fabric` and `read_demands` take them.
    capacity_bps : float or None
        Of links for which the fabric states none.
    window_s : float or None
        Time in which the bytes of a matrix are to be carried.
    ranks : tuple of str
        Host of each row of a matrix.
    candidates : Path or None
        The paths that demands may take.
    max_hops : int or None
        Links of a path at most.
    """

    fabric: str
    demands: str
    capacity_bps: float | None = None
    window_s: float | None = None
    ranks: tuple[str, ...] = ()
    candidates: Path | None = None
    max_hops: int | None = None

    def read(self) -> tuple[Fabric, tuple[Demand, ...], Allowed | None]:
        """Read all of it.

        Raises
        ------
        InputError
            A file cannot be read, or they do not belong together.
        """
        from solver.candidate_files import read_candidates
        from solver.files import read_demands
        from topologies.files import read_fabric

        if self.max_hops is not None and self.max_hops < 1:
            raise InputError(f"max_hops is {self.max_hops}; a path has 1 link or more")
        fabric = read_fabric(self.fabric, capacity_bps=self.capacity_bps)
        demands = read_demands(self.demands, fabric=fabric, window_s=self.window_s, ranks=self.ranks or None)
        if self.candidates is None and self.max_hops is None:
            return fabric, demands, None
        paths = None if self.candidates is None else read_candidates(self.candidates, fabric)
        return fabric, demands, Allowed(self.max_hops, paths)


def solve_demands(
    given: Given,
    *,
    objective: str,
    single_path: bool,
    engine: str,
    time_limit_s: float | None,
    max_utilisation: float,
    on_overload: str,
    gap: float,
    seed: int,
    every_path: bool,
    output: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Route the demands and show the routing.

    Raises
    ------
    InputError
        A flag or a file is wrong.
    Infeasible
        Not all demands fit.
    HeddleError
        The solver failed, or a file cannot be written.
    """
    with told_as_json(as_json):
        from solver.routing_files import routing_to_json
        from solver.solve import OnOverload, solve
        from topologies.documents import write_document

        _refuse_outputs(output, plot)
        if time_limit_s is not None and not time_limit_s > 0:
            raise InputError(f"the time limit is {time_limit_s:g} s; give more than 0")
        fabric, demands, allowed = given.read()
        with _progress() as report:
            routing = solve(
                fabric, demands, Objective(objective), max_utilisation=max_utilisation, single_path=single_path,
                allowed=allowed, on_overload=OnOverload(on_overload), engine=engine, time_limit_s=time_limit_s,
                gap=gap, seed=seed, report=report,
            )  # fmt: skip
        if output is not None:
            write_document(routing_to_json(routing, every_path=True), output)
        if plot is not None:
            from heddle.routing_picture import draw, save

            save(draw(routing), plot)
        if as_json:
            print_json(routing_to_json(routing, every_path=every_path))
            return
        _print_summary(routing)
        _print_fullest(routing)
        if len(demands) <= _FEW_DEMANDS:
            _print_routes(routing)
        for what, path in (("Routing", output), ("Picture", plot)):
            if path is not None:
                print(f"{what}: {path}")


@contextmanager
def told_as_json(wanted: bool) -> Iterator[None]:
    """Where JSON is wanted, have errors on standard output as JSON too."""
    try:
        yield
    except HeddleError as error:
        if wanted:
            print_json(_error_json(error))
        raise


def _error_json(error: HeddleError) -> dict[str, object]:
    if not isinstance(error, Infeasible):
        refused = isinstance(error, CertificateError | VerificationError | RuleError)
        return {"status": "refused" if refused else "error", "message": str(error)}
    cut: dict[str, object] = {
        "links": [str(link) for link in error.cut], "capacity_bps": error.capacity_bps, "demand_bps": error.demand_bps,
    }  # fmt: skip
    if error.weights is not None:
        cut["weights"] = list(error.weights)
    return {"status": "infeasible", "cut": cut, "message": str(error)}


def _refuse_outputs(output: Path | None, plot: Path | None) -> None:
    """Refuse before the solve what could not be written after it."""
    if output is not None and output.suffix.lower() != ".json":
        raise InputError(f"a routing is written as JSON; name the file {output.with_suffix('.json')}")
    if plot is not None:
        from heddle.routing_picture import SUFFIXES

        if plot.suffix.lower() not in SUFFIXES:
            raise InputError(f"a picture cannot be written as {plot.name!r}; end its name in {', '.join(SUFFIXES)}")
    for path in (output, plot):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"there is no directory {path.parent} for {path.name}; make it, or write elsewhere")


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Tell on standard error how far the solve has come: in place on a terminal, else a line now and then."""
    console = Console(stderr=True, highlight=False)
    begun = told = time.monotonic()
    last = Progress(0.0, "building")

    def remember(progress: Progress) -> None:
        nonlocal last
        last = progress

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _LINE_EVERY_S:
            told = time.monotonic()
            console.print(_told(progress, progress.seconds), markup=False, soft_wrap=True)

    def show() -> Text | Group:
        spent_s = time.monotonic() - begun
        return Text(_told(last, spent_s)) if spent_s >= _SHOWN_AFTER_S else Group()

    if not console.is_terminal:
        yield tell
        return
    with Live(get_renderable=show, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
        yield remember


def _told(progress: Progress, seconds: float) -> str:
    parts = [progress.phase]
    parts += [f"{name} {number:.6g}" for name, number in (("value", progress.value), ("bound", progress.bound))
              if number is not None]  # fmt: skip
    if progress.gap is not None:
        parts.append(f"gap {100 * progress.gap:.2g} %")
    return f"{', '.join(parts)} ({seconds:.0f} s)"


def objective_text(objective: Objective, number: float) -> str:
    """A value of an objective, or a bound, with its unit."""
    if objective is Objective.MIN_DELAY:
        return f"{amount(number, 'bit', 6)} on the way"
    if objective is Objective.MIN_QUEUEING_DELAY:
        return f"{number:.6g}"
    return f"{100 * number:.6g} %" + ("" if objective is Objective.MIN_MAX_UTILISATION else " of what is asked")


def quality(gap: float, *, optimal: bool) -> str:
    """How good a routing is known to be."""
    return "optimal" if optimal else f"feasible, at most {100 * gap:.2g} % from the best"


def _print_summary(routing: Routing) -> None:
    from solver.solve import proof_of

    proof, fabric, seconds = proof_of(routing), routing.fabric, routing.seconds
    used = routing.utilisations()
    worst = int(np.argmax(used))
    delays_known = all(link.delay_s is not None for link in fabric.links)
    rows = (
        ("objective", proof.objective.value),
        ("value", objective_text(proof.objective, proof.value)),
        ("bound", objective_text(proof.objective, proof.bound)),
        ("gap", f"{proof.gap:.2g}: {quality(proof.gap, optimal=routing.status is Status.OPTIMAL)}"),
        ("worst link", f"{fabric.link_ids[worst]} → {fabric.links[worst].target}, {percent(float(used[worst]))} used"),
        ("total delay", f"{amount(routing.total_delay(), 'bit')} on the way" if delays_known else NOTHING),
        ("engine", f"{routing.engine} ({routing.reason})"),
        ("time", f"{seconds.total:.2f} s: {seconds.build:.2f} to build, {seconds.solve:.2f} to solve, "
                 f"{seconds.certify:.2f} to check"),
    )  # fmt: skip
    for name, text in rows:
        print(f"{name:<12} {text}")
    if proof.objective is Objective.MIN_MAX_UTILISATION and proof.value > 1:
        print(f"The demands do not fit: the worst link would have to carry {percent(proof.value)} of its capacity.")


def _print_fullest(routing: Routing) -> None:
    used, loads = routing.utilisations(), routing.loads_bps()
    order = [link for link in np.argsort(-used, kind="stable")[:_FULLEST].tolist() if loads[link] > 0]
    links = [routing.fabric.links[link] for link in order]
    rows = [
        (
            str(link.id), f"{link.target}:{link.target_port}", rate(link.capacity_bps), rate(float(loads[number])),
            percent(float(used[number])),
        )
        for number, link in zip(order, links, strict=True)
    ]  # fmt: skip
    print()
    print_table(("link", "to", "capacity>", "load>", "used>"), rows, "No link carries anything.")


def _print_routes(routing: Routing) -> None:
    from solver.decompose import all_paths

    rows = []
    for demand, carried, paths in zip(routing.demands, routing.carried_bps.tolist(), all_paths(routing), strict=True):
        largest = paths[0].rate_bps / carried if paths and carried > 0 else None
        rows.append(
            (demand.source, demand.target, rate(demand.rate_bps), rate(carried), str(len(paths)), percent(largest))
        )
    print()
    print_table(("from", "to", "asked>", "carried>", "paths>", "on the largest>"), rows, "Nothing is asked for.")
