"""Reads networks of the REPETITA collection: ``NAME.graph``, and the tables of which its files consist.

Source: Gay, Schaus and Vissicchio, "REPETITA: repeatable experiments for performance evaluation of
traffic-engineering algorithms", 2017, arXiv:1710.08665, and the collection's own files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topologies.errors import InputError
from topologies.fabric import Fabric, Link, Node, NodeKind
from topologies.files import number_ports
from topologies.located import read_text

_GRAPH = {"NODES": ("label", "x", "y"), "EDGES": ("label", "src", "dest", "weight", "bw", "delay")}
_DEMANDS = {"DEMANDS": ("label", "src", "dest", "bw")}


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a table.

    Attributes
    ----------
    where : str
        File and line.
    fields : mapping of str to str
        By column.
    """

    where: str
    fields: Mapping[str, str]

    def number(self, column: str) -> float:
        """A finite number that is not negative."""
        try:
            value = float(self.fields[column])
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise self.wrong(column, "write a number that is not negative")
        return value

    def index(self, column: str, nodes: int) -> int:
        """The number of a node."""
        text = self.fields[column]
        if not (text.isascii() and text.isdecimal() and int(text) < nodes):
            raise self.wrong(column, f"nodes are numbered from 0 to {nodes - 1}")
        return int(text)

    def wrong(self, column: str, remedy: str) -> InputError:
        return InputError(f"{self.where}: {column} is {self.fields[column]!r}; {remedy}")


def read_graph(path: str | Path) -> Fabric:
    """Read a ``.graph`` file: switches named by their labels, and one directed link for each row of ``EDGES``.

    Bandwidths are in kbit/s and delays in microseconds. Links get ports in file order, the n-th from a to b
    and the n-th from b to a those of one cable. The collection has a few rows from a node to itself
    (Interoute has four); they join nothing and are left out. Coordinates and weights are not used.

    Raises
    ------
    InputError
        The file cannot be read or a line is not as it should be; the message names it.
    """
    tables = _read_tables(path, _GRAPH)
    names: dict[str, _Row] = {}
    for row in tables["NODES"]:
        label = row.fields["label"]
        if label in names:
            raise InputError(f"{row.where}: label {label!r} is that of {names[label].where} too; rename one")
        names[label] = row
    labels = tuple(names)
    ends: list[tuple[str, str]] = []
    capacities_bps: list[float] = []
    delays_s: list[float] = []
    for row in tables["EDGES"]:
        source, target = (labels[row.index(column, len(labels))] for column in ("src", "dest"))
        capacity_bps, delay_s = row.number("bw") * 1e3, row.number("delay") / 1e6
        if not 0 < capacity_bps < math.inf:
            raise row.wrong("bw", "write a capacity in kbit/s, above 0 and finite")
        if source != target:
            ends.append((source, target))
            capacities_bps.append(capacity_bps)
            delays_s.append(delay_s)
    ports = number_ports([(source, None, target, None) for source, target in ends], pair_directions=True)
    links = (
        Link(source, source_port, target, target_port, capacity_bps, delay_s)
        for (source, target), (source_port, target_port), capacity_bps, delay_s in zip(
            ends, ports, capacities_bps, delays_s, strict=True
        )
    )
    return Fabric(tuple(Node(label, NodeKind.SWITCH) for label in labels), tuple(links))


def read_rates(path: str | Path, fabric: Fabric) -> list[tuple[str, str, float]]:
    """Read a ``.demands`` file: source, target and rate in bit/s of each row that asks for something.

    Rows with a rate of 0 say that there is nothing to carry, and are left out.

    Parameters
    ----------
    fabric : Fabric
        The network of the file, whose nodes it names by their numbers.

    Raises
    ------
    InputError
        The file cannot be read or a line is not as it should be; the message names it.
    """
    names = [node.id for node in fabric.nodes]
    rates: list[tuple[str, str, float]] = []
    for row in _read_tables(path, _DEMANDS)["DEMANDS"]:
        source, target = (names[row.index(column, len(names))] for column in ("src", "dest"))
        rate_bps = row.number("bw") * 1e3
        if rate_bps == 0:
            continue
        if source == target:
            raise row.wrong("dest", "a demand cannot end where it starts")
        if rate_bps == math.inf:
            raise row.wrong("bw", "write a finite rate in kbit/s")
        rates.append((source, target, rate_bps))
    return rates


def _read_tables(path: str | Path, columns: Mapping[str, Sequence[str]]) -> dict[str, list[_Row]]:
    """Split a file into its tables: ``NAME count``, a line with the columns, and so many rows."""
    lines = [
        (f"{path}, line {number}", line.split())
        for number, line in enumerate(read_text(path).splitlines(), start=1)
        if line.strip()
    ]
    lines.reverse()
    tables: dict[str, list[_Row]] = {}
    for name, header in columns.items():
        where, words = lines.pop() if lines else (f"{path}, at its end", [])
        if len(words) != 2 or words[0] != name or not (words[1].isascii() and words[1].isdecimal()):
            raise InputError(f"{where}: a line '{name} count' must stand here; is the count of the table before right?")
        count = int(words[1])
        where, words = lines.pop() if lines else (f"{path}, at its end", [])
        if words != list(header):
            raise InputError(f"{where}: the columns of {name} must stand here: '{' '.join(header)}'")
        rows: list[_Row] = []
        while len(rows) < count:
            if not lines:
                raise InputError(f"{path} ends after {len(rows)} of {count} rows of {name}; is it cut off?")
            where, words = lines.pop()
            if len(words) != len(header):
                raise InputError(f"{where}: {len(words)} fields where {name} has {len(header)}: {' '.join(header)}")
            rows.append(_Row(where, dict(zip(header, words, strict=True))))
        tables[name] = rows
    if lines:
        raise InputError(f"{lines[-1][0]}: more rows than {list(columns)[-1]} counts; correct the count")
    return tables
