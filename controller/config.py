"""The daemon's configuration: one YAML file, overridden by flags, frozen once read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from controller.endpoint import Endpoint
from solver.routing import Objective
from topologies.errors import InputError
from topologies.located import explain, first_error, read_document, validate

DEFAULT_OPENFLOW = Endpoint("127.0.0.1", 6653)
DEFAULT_API = Endpoint("127.0.0.1", 8080)
SYSTEM_STATE_DIR = Path("/var/lib/heddle")


def default_state_dir() -> Path:
    """``/var/lib/heddle`` for root, else ``heddle`` under ``$XDG_STATE_HOME`` (``~/.local/state``)."""
    if os.geteuid() == 0:
        return SYSTEM_STATE_DIR
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "heddle"


def _endpoint(value: Any) -> Any:
    if isinstance(value, Endpoint):
        return value
    if not isinstance(value, str):
        raise ValueError("write ADDRESS:PORT, as in '127.0.0.1:6653'")
    try:
        return Endpoint.parse(value)
    except InputError as error:
        raise ValueError(str(error)) from None


_ListenAddress = Annotated[
    Endpoint,
    BeforeValidator(_endpoint),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^.+:\d{1,5}$", "examples": ["127.0.0.1:6653", "[::1]:6653"]}),
]


class RoutingConfig(BaseModel):
    """How traffic is routed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    default: Literal["ecmp", "shortest"] = "ecmp"
    """Routing of all traffic that no plan covers."""
    max_utilisation: float = Field(default=0.95, gt=0, le=1)
    """Share of each link's capacity that a plan may use, above 0 and at most 1."""


class Config(BaseModel):
    """The daemon's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    openflow: _ListenAddress = Field(default=DEFAULT_OPENFLOW, json_schema_extra={"default": str(DEFAULT_OPENFLOW)})
    """Address and port where switches connect."""
    api: _ListenAddress = Field(default=DEFAULT_API, json_schema_extra={"default": str(DEFAULT_API)})
    """Address and port of the HTTP API: a loopback address."""
    state_dir: Path = Field(default_factory=default_state_dir)
    """Directory of the database and the secret; by default /var/lib/heddle for root, else under $XDG_STATE_HOME."""
    fabric: Path | None = None
    """Fabric file with declared names, capacities and delays; without one the fabric is what is discovered."""
    routing: RoutingConfig = RoutingConfig()
    objective: Objective = Objective.MIN_DELAY
    """What plans are best at, once every pair has the largest common share of line rate that fits."""

    @field_validator("api")
    @classmethod
    def _only_loopback(cls, api: Endpoint) -> Endpoint:
        if not api.is_loopback:
            raise ValueError(f"the API has no log-in yet, so it listens on loopback addresses only, not on {api.host}")
        return api


def load_config(path: Path | None = None, flags: Mapping[str, str | None] | None = None) -> Config:
    """Read the configuration.

    Parameters
    ----------
    path : Path, optional
        A YAML file. Relative paths in it are relative to its directory.
    flags : mapping of str to str or None, optional
        Values that win over the file's, by dotted key (``routing.default``); None leaves the file's.
        Relative paths are relative to the working directory.

    Raises
    ------
    InputError
        The file is missing or is no YAML, or a key or a value is not one of those above.
    """
    content: dict[str, Any] = {}
    if path is not None:
        document = read_document(path)
        validate(Config, document)
        content = dict(document.content)
        for key in ("state_dir", "fabric"):
            if content.get(key) is not None:
                content[key] = path.absolute().parent / content[key]
    for key, value in (flags or {}).items():
        if value is None:
            continue
        section, dot, name = key.rpartition(".")
        if dot:
            content[section] = {**content.get(section, {}), name: value}
        else:
            content[name] = Path(value).absolute() if name in ("state_dir", "fabric") else value
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise InputError(explain(first_error(error), Config)) from None
