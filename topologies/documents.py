"""Writes our structured files, JSON or YAML by suffix, and words what is wrong with those of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from topologies.errors import HeddleError, InputError

_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


def write_document(data: Any, path: str | Path) -> None:
    """Write JSON, or YAML where the suffix is ``.yaml`` or ``.yml``.

    Raises
    ------
    HeddleError
        The file cannot be written.
    """
    path = Path(path)
    as_yaml = path.suffix.lower() in _YAML_SUFFIXES
    text = yaml.safe_dump(data, sort_keys=False) if as_yaml else json.dumps(data, indent=1) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HeddleError(f"cannot write {path}: {error.strerror}; check the path and its permissions") from error


def explain(error: ValidationError, where: str, data: Any) -> InputError:
    """Word the first thing that is wrong: file, object, what to do."""
    first = error.errors(include_url=False)[0]
    place, rest = _place(first["loc"], data)
    if first["type"] == "extra_forbidden":
        problem = f"has an unknown key {str(rest[-1])!r}; remove it or correct its name"
    elif first["type"] == "missing":
        problem = f"lacks {str(rest[-1])!r}; add it"
    else:
        given = repr(first["input"])
        shown = given if len(given) <= 60 else given[:57] + "..."
        said = first["msg"].removeprefix("Value error, ")
        if rest:
            problem = f"has {_dotted(rest)} {shown}: {said[:1].lower()}{said[1:]}"
        else:
            problem = f"is {shown}: {said[:1].lower()}{said[1:]}" if said.startswith("Input ") else said
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InputError(f"{where}: {place} {problem}{more}")


def _place(location: tuple[int | str, ...], data: Any) -> tuple[str, tuple[int | str, ...]]:
    """Name the innermost listed object on the way to a field, and say how the field is reached from there.

    An object is named by its id where it has one, else by its place.
    """
    name, rest, value = "the file", location, data
    for depth, step in enumerate(location):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(step, int) and (isinstance(value, dict) or depth == 1):
            kind = str(location[depth - 1]).removesuffix("s")
            name, rest = f"{kind} {step + 1}", location[depth + 1 :]
            if isinstance(value, dict):
                # networkx graphs often number their nodes, from 0.
                label = str(value.get("id", "")) or " → ".join(
                    str(value[end]) for end in ("source", "target") if end in value
                )
                name = f"{kind} {label!r}" if label else name
    return name, rest


def _dotted(location: tuple[int | str, ...]) -> str:
    """``("paths", 0, 1)`` as ``paths[0][1]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).removeprefix(".")
