"""Reads the files that people write (YAML or JSON), with errors that name file, line and key."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from topologies.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Location: TypeAlias = tuple[str | int, ...]

MAX_FILE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and the line (from 1) on which each of its keys stands (YAML only)."""

    path: Path
    content: Any
    lines: Mapping[Location, int]

    def where(self, location: Location) -> str:
        """The file, with the line of the innermost part of ``location`` that has one."""
        for length in range(len(location), 0, -1):
            line = self.lines.get(location[:length])
            if line is not None:
                return f"{self.path}, line {line}"
        return str(self.path)


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises
    ------
    InputError
        The file cannot be read, is too large or is no text.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; is it the right file?")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8; is it the right file?") from None


def read_document(path: str | Path) -> Document:
    """Read a YAML file, or a JSON file where the name ends in ``.json``; an empty file has no keys.

    Raises
    ------
    InputError
        The file cannot be read, is no YAML or JSON, is too large, or has a key twice.
    """
    path = Path(path)
    text = read_text(path)
    lines: dict[Location, int] = {}
    try:
        content = _read_json(text, path) if path.suffix.lower() == ".json" else _read_yaml(text, path, lines)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: no JSON: {error.msg}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise InputError(f"{path}, line {line}: no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path}: {reason}; is it the right file?") from None
    return Document(path, {} if content is None else content, lines)


def _read_json(text: str, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
            raise InputError(f"{path}: key {twice!r} is here twice; remove one")
        return content

    return json.loads(text, object_pairs_hook=unique, parse_constant=_refuse_constant)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON knows")


def _read_yaml(text: str, path: Path, lines: dict[Location, int]) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _note_lines(node, (), path, lines)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, location: Location, path: Path, lines: dict[Location, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, str(key.value))
            line = key.start_mark.line + 1
            if inner in lines:
                raise InputError(f"{path}, line {line}: key {key.value!r} is here twice; remove one")
            lines[inner] = line
            _note_lines(value, inner, path, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*location, index)] = value.start_mark.line + 1
            _note_lines(value, (*location, index), path, lines)


def validate(model: type[Model], document: Document) -> Model:
    """Make a model of a document.

    Raises
    ------
    InputError
        No mapping, an unknown key (with the known ones and the nearest), a missing one, or a value that does not fit.
    """
    if not isinstance(document.content, dict):
        raise InputError(f"{document.path} holds a {type(document.content).__name__}; it must hold keys with values")
    try:
        return model.model_validate(document.content)
    except ValidationError as error:
        first = first_error(error)
        raise InputError(f"{document.where(first['loc'])}: {explain(first, model)}") from None


def first_error(error: ValidationError) -> Mapping[str, Any]:
    """The error that says most: an unknown key explains a missing one."""
    errors = error.errors(include_url=False, include_input=False)
    return min(errors, key=lambda one: one["type"] != "extra_forbidden")


def explain(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One sentence for one of pydantic's errors."""
    location: Location = tuple(error["loc"])
    key = _dotted(location)
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"unknown key {key!r}{hint}; known keys: {', '.join(known)}"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:] if message.startswith(("Input ", "Value ")) else message
    return f"{key}: {message}" if key else message


def _dotted(location: Sequence[str | int]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_model(kind)]
        if inner:
            model = inner[0]
    return sorted(model.model_fields)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
