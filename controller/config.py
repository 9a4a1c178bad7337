"""The daemon's configuration: one YAML file, overridden by flags, frozen once read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from controller.endpoint import Endpoint
from dataplane.budget import Budget, Budgets
from dataplane.rules import Table
from solver.routing import Objective
from topologies.errors import InputError
from topologies.located import explain, first_error, read_document, validate

DEFAULT_OPENFLOW = Endpoint("127.0.0.1", 6653)
DEFAULT_API = Endpoint("127.0.0.1", 8080)
SYSTEM_STATE_DIR = Path("/var/lib/heddle")
_PATHS = ("state_dir", "fabric", "openflow_tls.certificate", "openflow_tls.key", "openflow_tls.authority")
_DPID = re.compile("[0-9a-fA-F]{16}")
_FINGERPRINT = re.compile("[0-9a-f]{64}")
_NAMED_FINGERPRINT = re.compile(r"\s*sha-?256 fingerprint\s*=\s*", re.IGNORECASE)
"""How the line begins that openssl prints a fingerprint in."""


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


def _dpid(value: object) -> int:
    # Without quotes, YAML reads 0000000000000010 as the octal number 8.
    if not isinstance(value, str) or not _DPID.fullmatch(value) or int(value, 16) == 0:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        why = " (YAML read it as a number)" if number else ""
        raise ValueError(f"{value!r} is no dpid{why}; write it as 16 hexadecimal digits in quotes, not all 0")
    return int(value, 16)


def _allowed(value: object) -> Literal["declared"] | frozenset[int] | None:
    if value is None or value == "declared":
        return value
    if not isinstance(value, list | tuple):
        raise ValueError("write 'declared', or a list of dpids, as in ['0000000000000001']")
    if not value:
        raise ValueError("an empty list lets no switch connect; list the dpids of yours, or leave it out to let all")
    return frozenset(map(_dpid, value))


def _allowed_as_written(allowed: Literal["declared"] | frozenset[int] | None) -> str | list[str] | None:
    return [f"{dpid:016x}" for dpid in sorted(allowed)] if isinstance(allowed, frozenset) else allowed


def _certificates(value: object) -> dict[int, frozenset[str]]:
    if not isinstance(value, dict):
        raise ValueError("write a fingerprint for each dpid, as in {'0000000000000001': '5f:a2:…'}")
    return {_dpid(dpid): _fingerprints(dpid, given) for dpid, given in value.items()}


def _fingerprints(dpid: str, given: object) -> frozenset[str]:
    texts = given if isinstance(given, list | tuple) else [given]
    found = frozenset(_digits(text) if isinstance(text, str) else "" for text in texts)
    if not found or not all(map(_FINGERPRINT.fullmatch, found)):
        raise ValueError(
            f"{given!r} of {dpid} is no fingerprint; write the 64 hexadecimal digits in quotes that "
            "'openssl x509 -noout -fingerprint -sha256 -in FILE' prints, with or without colons"
        )
    return found


def _digits(fingerprint: str) -> str:
    return _NAMED_FINGERPRINT.sub("", fingerprint, count=1).strip().replace(":", "").lower()


def _certificates_as_written(pins: Mapping[int, frozenset[str]]) -> dict[str, list[str]]:
    return {f"{dpid:016x}": sorted(fingerprints) for dpid, fingerprints in sorted(pins.items())}


_DPID_SCHEMA = {"type": "string", "pattern": f"^{_DPID.pattern}$"}
_FINGERPRINT_SCHEMA = {
    "type": "string",
    "pattern": "^([sS][hH][aA]-?256 [fF]ingerprint=)?([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$",
}
_Allowed = Annotated[
    Literal["declared"] | frozenset[int] | None,
    PlainValidator(_allowed),
    PlainSerializer(_allowed_as_written),
    WithJsonSchema(
        {"anyOf": [{"const": "declared"}, {"type": "array", "items": _DPID_SCHEMA, "minItems": 1}, {"type": "null"}]},
    ),
]
_Certificates = Annotated[
    Mapping[int, frozenset[str]],
    PlainValidator(_certificates),
    PlainSerializer(_certificates_as_written),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": _DPID_SCHEMA,
            "additionalProperties": {"anyOf": [_FINGERPRINT_SCHEMA, {"type": "array", "items": _FINGERPRINT_SCHEMA}]},
        }
    ),
]


_Room = Annotated[int | None, Field(ge=0)]


class TlsConfig(BaseModel):
    """TLS to switches: both sides show certificates."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    certificate: Path
    """Our certificate in PEM, with the authorities between it and the one that switches trust."""
    key: Path
    """The certificate's private key in PEM, without a passphrase."""
    authority: Path
    """Certificates in PEM of the authorities that sign the switches' certificates; no other switch connects."""


class SwitchesConfig(BaseModel):
    """Which switches may connect."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    allowed: _Allowed = None
    """Dpids that may connect: a list, or 'declared' for those of the fabric file; by default all may."""
    certificates: _Certificates = Field(default_factory=dict)
    """By dpid, SHA-256 fingerprints of the certificates that it may come with; others come with any."""


class BudgetConfig(BaseModel):
    """The most that a switch may hold; what is left out has no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    entries: _Room = None
    """Flow entries in all tables together."""
    guard: _Room = None
    """Flow entries in the guard table."""
    classify: _Room = None
    """Flow entries in the classify table."""
    transit: _Room = None
    """Flow entries in the transit table."""
    default: _Room = None
    """Flow entries in the table of default routing."""
    groups: _Room = None
    """Groups."""
    meters: _Room = None
    """Meters."""
    labels: _Room = None
    """Different MPLS labels that entries match."""

    def to_budget(self) -> Budget:
        """The budget as the compiler knows it."""
        tables = {table: getattr(self, table.name.lower()) for table in Table}
        limited = {table: room for table, room in tables.items() if room is not None}
        return Budget(self.entries, limited, self.groups, self.meters, self.labels)


class RoutingConfig(BaseModel):
    """How traffic is routed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    default: Literal["ecmp", "shortest"] = "ecmp"
    """Routing of all traffic that no plan covers."""
    max_utilisation: float = Field(default=0.95, gt=0, le=1)
    """Share of each link's capacity that a plan may use, above 0 and at most 1."""
    buffer_bytes: int | None = Field(default=None, ge=1, le=1 << 40)
    """What the queue of one port holds, bytes: old rules go once full queues have emptied; without it, after 2 s."""
    hold_down_s: float = Field(default=60.0, ge=0, le=3600)
    """Longest time, seconds, for which a link that keeps failing has to stay up before it is used again; 0: none."""
    budget: BudgetConfig | None = None
    """Table budget of every switch that has none of its own; a plan that does not fit is refused."""
    budgets: Mapping[str, BudgetConfig] = Field(default_factory=dict)
    """Table budgets of single switches, by name."""

    def to_budgets(self) -> Budgets:
        """The budgets as the compiler knows them."""
        every = self.budget.to_budget() if self.budget is not None else Budget()
        return Budgets(every, {switch: own.to_budget() for switch, own in self.budgets.items()})


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
    openflow_tls: TlsConfig | None = None
    """TLS to switches; without it they connect in the clear."""
    switches: SwitchesConfig = SwitchesConfig()
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
        The file is missing or is no YAML, a key or a value is not one of those above, or one needs another.
    """
    content: dict[str, Any] = {}
    if path is not None:
        document = read_document(path)
        validate(Config, document)
        content = dict(document.content)
        for key in _PATHS:
            section, _, name = key.rpartition(".")
            inside = content.get(section) if section else content
            if inside and inside.get(name) is not None:
                _set(content, key, path.absolute().parent / inside[name])
    for key, value in (flags or {}).items():
        if value is not None:
            _set(content, key, Path(value).absolute() if key in _PATHS else value)
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise InputError(explain(first_error(error), Config)) from None
    # Only here: the flags may bring what the file lacks.
    if config.switches.allowed == "declared" and config.fabric is None:
        raise InputError("switches.allowed is 'declared', but no fabric is; name its file under 'fabric'")
    if config.switches.certificates and config.openflow_tls is None:
        raise InputError("switches.certificates needs TLS, for no certificate is shown without; set openflow_tls")
    return config


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    """Set a value by its dotted key, in a copy of its section."""
    section, dot, name = key.rpartition(".")
    if dot:
        content[section] = {**(content.get(section) or {}), name: value}
    else:
        content[name] = value
