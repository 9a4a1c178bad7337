"""Reads networks of the package topohub: SNDlib, the Topology Zoo, CAIDA, backbones and Gabriel graphs by name.

Source: Jurkiewicz, "TopoHub: A repository of reference Gabriel graph and real-world topologies for
networking research", SoftwareX 24, 2023.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.resources
import warnings
from types import ModuleType
from typing import Any

from topologies.errors import InputError
from topologies.fabric import Fabric
from topologies.files import fabric_from_json

PREFIX = "topohub:"

DELAY_S_PER_KM = 5e-6
"""Of light in fibre, about 2/3 of its speed in vacuum: ITU-T G.114 (05/2003), annex A."""


def read_topohub(name: str, capacity_bps: float | None = None) -> Fabric:
    """Read a network that the package topohub holds.

    All nodes are switches, with their names, or their numbers in the networks where a name is missing or
    given twice. Each link has both directions, with the delay of its length.

    Parameters
    ----------
    name : str
        Group and name, as in ``sndlib/germany50``.
    capacity_bps : float or None
        Of every link, bit/s: the package states none.

    Raises
    ------
    InputError
        The package is not installed or has no such network, or no capacity is given.
    """
    package = _package()
    if capacity_bps is None:
        raise InputError(f"{PREFIX}{name} states no capacities; give that of its links, as in --capacity 10G")
    try:
        with warnings.catch_warnings():
            # topohub 1.5 leaves it to the garbage collector to close its file.
            warnings.simplefilter("ignore", ResourceWarning)
            data = package.get(name)
    except KeyError:
        near = difflib.get_close_matches(name, _names(name.partition("/")[0]), n=1, cutoff=0.85)
        hint = f"did you mean {near[0]!r}?" if near else "names look like 'sndlib/germany50' and 'topozoo/Abilene'"
        raise InputError(f"{PREFIX}{name}: topohub has no network {name!r}; {hint}") from None
    return fabric_from_json(_node_link(data, capacity_bps), f"{PREFIX}{name}")


def _package() -> ModuleType:
    try:
        return importlib.import_module("topohub")
    except ModuleNotFoundError:
        raise InputError(
            f'networks named {PREFIX}… need the package topohub; install it: pip install "heddle-sdn[topohub]"'
        ) from None


def _names(group: str) -> list[str]:
    """What a group holds by itself, without its folders."""
    folder = importlib.resources.files("topohub") / "data" / group
    if not folder.is_dir():
        return []
    return [f"{group}/{entry.name.removesuffix('.json')}" for entry in folder.iterdir() if entry.is_file()]


def _node_link(data: dict[str, Any], capacity_bps: float) -> dict[str, Any]:
    """The keys that a fabric file has, from those of the package."""
    labels = [node.get("name") for node in data["nodes"]]
    named = all(labels) and len(set(labels)) == len(labels)
    names = {node["id"]: node["name"] if named else node["id"] for node in data["nodes"]}
    links = []
    for edge in data["edges"]:
        link = {"source": names[edge["source"]], "target": names[edge["target"]], "capacity_bps": capacity_bps}
        if "dist" in edge:
            link["delay_s"] = edge["dist"] * DELAY_S_PER_KM
        links.append(link)
    return {"directed": data["directed"], "nodes": [{"id": name} for name in names.values()], "links": links}
