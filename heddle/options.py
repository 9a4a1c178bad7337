"""Flags that several verbs share: what they are called, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def bits(text: str) -> float:
    """Read ``10G``."""
    number, factor = (text[:-1], _FACTORS[text[-1]]) if text[-1:] in _FACTORS else (text, 1.0)
    try:
        return float(number) * factor
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no rate; write bits per second, as in 10G or 1e10") from None


def names(text: str | None) -> tuple[str, ...]:
    """Read ``h1,h2``."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


FabricSource = Annotated[
    str,
    typer.Option(
        "--fabric", metavar="FABRIC", envvar="HEDDLE_FABRIC", help="Node-link or REPETITA file, or topohub:NAME."
    ),
]
DemandsFile = Annotated[
    str,
    typer.Option("--demands", metavar="FILE", envvar="HEDDLE_DEMANDS", help="CSV, JSON, REPETITA demands or a matrix."),
]
Capacity = Annotated[
    float | None,
    typer.Option(
        parser=bits, metavar="BPS", envvar="HEDDLE_CAPACITY", help="Capacity of links that have none, as in 10G."
    ),
]
Window = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", envvar="HEDDLE_WINDOW", help="Time in which the bytes of a matrix are carried."),
]
Ranks = Annotated[
    str | None, typer.Option(metavar="HOST,…", envvar="HEDDLE_RANKS", help="Host of each row of a matrix.")
]
Candidates = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="HEDDLE_CANDIDATES", help="The paths that demands may take (default all)."),
]
MaxHops = Annotated[
    int | None,
    typer.Option(metavar="N", envvar="HEDDLE_MAX_HOPS", help="Links of a path at most, access links included."),
]
