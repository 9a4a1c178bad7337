"""Why a frame cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a frame cannot be read; few and fixed, so that they can be counted by name."""

    SHORT = "short"
    BAD_LENGTH = "bad-length"
    BAD_VERSION = "bad-version"
    BAD_ARP = "bad-arp"
    BAD_LLDP = "bad-lldp"
    NO_ETH_TYPE = "no-eth-type"
    TOO_MANY_TAGS = "too-many-tags"
    TOO_MANY_LABELS = "too-many-labels"
    TOO_MANY_EXTENSIONS = "too-many-extensions"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A frame that breaks its format, or a limit of ours.

    Attributes
    ----------
    reason : Reason
        ``SHORT``: the frame ends within a header. ``BAD_LENGTH``: a header claims a length that it cannot have.
        ``BAD_VERSION``: an IP header of another version than announced. ``BAD_ARP``: not IPv4 over Ethernet.
        ``BAD_LLDP``: the mandatory TLVs are not there in their order. ``NO_ETH_TYPE``: a length stands in its place.
        ``TOO_MANY_…``: more than the readers go through.
    """

    reason: Reason
