"""What each host sends, as far as it was proved, and what of that later proofs need not look at again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dataplane.survival import Crossing
from dataplane.wiring import Attached


@dataclass(frozen=True, slots=True)
class Sender:
    """What a host sends, by where it goes.

    Attributes
    ----------
    asked : int
        All that is looked at.
    by_default : int
        What default routing is proved to bring there, or to end.
    doubtful : int
        What is not proved to be right.
    crossings : mapping of int to mapping of Crossing to int
        By link, the packets of planned pairs that are sent into it, and where they go.
    labels : frozenset of int
        The labels that these are given at first.
    seen : tuple
        What this was found from, beside what these labels do and what becomes of packets without one.
    """

    one: Attached
    asked: int
    by_default: int
    doubtful: int
    crossings: Mapping[int, Mapping[Crossing, int]]
    labels: frozenset[int]
    seen: tuple[object, ...]


class Senders:
    """Those of the proof before, by host; those of which there is doubt are looked at every time."""

    def __init__(self) -> None:
        self._known: dict[str, Sender] = {}
        self._all: dict[str, Sender] = {}
        # Those whose packets some outage that is kept may not have seen.
        self._fresh: dict[str, Sender] = {}

    def forget(self, labels: AbstractSet[int] | None) -> None:
        """Labels may do otherwise; None: everything may."""
        if labels is None:
            self._known, self._fresh = {}, {}
        else:
            self._known = {host: one for host, one in self._known.items() if one.labels.isdisjoint(labels)}

    def known(self, host: str, seen: tuple[object, ...]) -> Sender | None:
        """What is known of a host that is seen to send like this."""
        known = self._known.get(host)
        return known if known is not None and known.seen == seen else None

    def found(self, senders: Iterable[Sender], passing: AbstractSet[int]) -> None:
        """All senders of a proof; where labels are changed under way nothing is kept."""
        self._all = {sender.one.host.id: sender for sender in senders}
        fresh = {host: one for host, one in self._all.items() if self._known.get(host) is not one}
        self._fresh = {host: one for host, one in self._fresh.items() if host in self._all} | fresh
        self._known = {
            host: one for host, one in self._all.items() if not one.doubtful and one.labels.isdisjoint(passing)
        }

    def into(self, link: int, *, all_of_them: bool) -> Iterator[tuple[Crossing, int]]:
        """What is sent into a link, by all or by those that not every outage has seen."""
        for sender in (self._all if all_of_them else self._fresh).values():
            yield from sender.crossings.get(link, {}).items()

    def all_seen(self) -> None:
        """Every outage has seen what all senders send."""
        self._fresh = {}
