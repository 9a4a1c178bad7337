"""What an attack is judged by: a number, the limit it is held to, and whether it kept to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one row.

    Attributes
    ----------
    row : str
        The attack, and the circumstances where it was tried under several: ``lldp-relayed/undeclared``.
    limit : float or None
        What was promised; None for a number that is only told.
    ok : bool
        Whether it kept to the limit; true where there is none.
    """

    row: str
    name: str
    value: float
    limit: float | None = None
    ok: bool = True
    note: str = ""

    @property
    def depends_on_speed(self) -> bool:
        """Whether a slow machine alone can miss the limit."""
        return self.name.endswith(", s") or self.name.startswith("CPU")

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"limit {self.limit:g}"
        verdict = "" if self.limit is None else ("ok" if self.ok else "MISSED")
        return f"{self.row:40} {self.name:52} {self.value:>10.4g}  {limit:12} {verdict:7} {self.note}".rstrip()


def at_most(row: str, name: str, value: float, limit: float, note: str = "") -> Figure:
    """A number that may not exceed its limit."""
    return Figure(row, name, value, limit, value <= limit, note)


def at_least(row: str, name: str, value: float, limit: float, note: str = "") -> Figure:
    """A number that may not stay below its limit."""
    return Figure(row, name, value, limit, value >= limit, note)


def told(row: str, name: str, value: float, note: str = "") -> Figure:
    """A number without a limit."""
    return Figure(row, name, value, note=note)
