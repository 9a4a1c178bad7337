"""Peers that keep breaking the rules wait before they may try again, longer each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from controller.buckets import Buckets

FREE_OFFENCES = 3
"""So many in a row cost nothing: a switch that is being configured may try a few times."""
FIRST_S, LONGEST_S = 0.5, 10.0
SHARED_PER_S, _SHARED_BURST = 10.0, 10
"""Connections taken all the same from an address that has to wait, where several switches are at home there."""
FORGIVEN_S = 120.0
"""Without an offence for this long, a peer starts afresh."""
_MAX_PEERS = 4096


@dataclass(slots=True)
class _Record:
    offences: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


class Backoff:
    """Offences by peer, bounded: the peer that offended longest ago is forgotten first."""

    def __init__(self) -> None:
        self._peers: OrderedDict[Hashable, _Record] = OrderedDict()
        self._shared: Buckets[Hashable] = Buckets(SHARED_PER_S, _SHARED_BURST)

    def __len__(self) -> int:
        return len(self._peers)

    def offended(self, peer: Hashable, now_s: float) -> float:
        """A peer broke a rule; how long it has to wait now, in seconds."""
        record = self._peers.get(peer)
        if record is None or now_s - record.last_s > FORGIVEN_S:
            record = self._peers[peer] = _Record()
        self._peers.move_to_end(peer)
        if len(self._peers) > _MAX_PEERS:
            self._peers.popitem(last=False)
        record.offences += 1
        record.last_s = now_s
        excess = record.offences - FREE_OFFENCES
        wait_s = min(LONGEST_S, FIRST_S * 2 ** min(excess - 1, 16)) if excess > 0 else 0.0
        record.until_s = now_s + wait_s
        return wait_s

    def admits_shared(self, peer: Hashable, now_s: float) -> bool:
        """Whether an address that has to wait may try all the same, since others too are at home there."""
        return self._shared.take(peer, now_s)

    def remaining_s(self, peer: Hashable, now_s: float) -> float:
        """How long a peer has to wait still; 0 where it may try."""
        record = self._peers.get(peer)
        return max(0.0, record.until_s - now_s) if record is not None else 0.0
