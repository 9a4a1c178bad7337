"""Ports by number, what is known of each, and what an input changed about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from controller.service import PortRole


class PortId(NamedTuple):
    """A port of the fabric by numbers."""

    dpid: int
    port: int

    def __str__(self) -> str:
        return f"{self.dpid:016x}:{self.port}"


@dataclass(frozen=True, slots=True)
class Change:
    """What an input changed.

    Attributes
    ----------
    urgent : bool
        Something was lost, so tell readers at once.
    message : str
        Empty where there is nothing to tell: it is only counted.
    at : PortId or None
        The port whose peer brought it about; what one port can repeat at will is not said each time.
    """

    urgent: bool
    kind: str
    message: str
    at: PortId | None = None


@dataclass(slots=True)
class PortState:
    """What discovery knows of a port. All times are of the monotonic clock, seconds.

    Attributes
    ----------
    since_s : float
        Since when it has link, as far as was seen.
    listed : bool
        Whether its switch has named it since it connected.
    edge_since_s : float
        Since when it counts as an edge port; only meaningful while it does.
    nonces : dict of int to float
        Probes that it sent lately and that nobody has confirmed, with the time of each.
    peer, heard_from : PortId or None
        Where its probes arrive, and whose probes arrive at it. Each port has one cable: a port's peer hears from it.
    missed : int
        Probes sent since one last arrived.
    former : PortId or None
        The other end of a cable that fell silent while both ports kept link: it may come back.
    presumed : bool
        It counts as an edge port since it is declared to lead to a host, and has not been silent for long.
    miscabled : bool
        It is declared to lead to a host, but probes of a switch come in, or its own come in at one.
    """

    up: bool
    since_s: float = 0.0
    listed: bool = True
    role: PortRole = PortRole.UNKNOWN
    edge_since_s: float = 0.0
    nonces: dict[int, float] = field(default_factory=dict)
    peer: PortId | None = None
    heard_from: PortId | None = None
    missed: int = 0
    former: PortId | None = None
    presumed: bool = False
    miscabled: bool = False
    foreign_said_s: float | None = None


@dataclass(slots=True)
class SwitchState:
    """A switch as discovery sees it: whether its channel lives, since when, and its ports.

    Attributes
    ----------
    returning : frozenset of int
        While its channel is lost: ports at which its rules return what neighbours send to see whether it lives.
    dead : bool
        Its channel is lost, and it returns nothing.
    """

    connected: bool = False
    connected_s: float = 0.0
    returning: frozenset[int] = frozenset()
    dead: bool = False
    ports: dict[int, PortState] = field(default_factory=dict)
