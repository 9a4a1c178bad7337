"""Says, while the daemon runs, that our certificate for TLS or the authority's expires, or that nobody can use it."""

from __future__ import annotations

import time
from collections.abc import Callable

from controller.certificates import day
from controller.tls import TlsIdentity
from topologies.errors import InputError

LOOK_S = 3_600.0
"""How often to look."""
SOON_S = 30 * 86_400.0
_DAY_S = 86_400.0
_WHOSE = {"certificate": "our certificate", "authority": "the authority's certificate"}

Observer = Callable[[str, str], None]


class ExpiryWatch:
    """Looks at the files of TLS; says what is wrong with them once, and again each day (UTC).

    Parameters
    ----------
    observer : callable
        Told what is wrong: kind of event, and sentence.
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, identity: TlsIdentity, observer: Observer, clock: Callable[[], float] = time.time) -> None:
        self._identity = identity
        self._tell = observer
        self._clock = clock
        self._said: dict[str, int] = {}
        self._said_before: dict[str, int] = {}

    def look(self) -> None:
        """Say what is to be said now; to be called each `LOOK_S`."""
        now_s = self._clock()
        self._said_before, self._said = self._said, {}
        expired = False
        for which, until_s in self._identity.expiries().items():
            what = f"{getattr(self._identity.files, which)}: {_WHOSE[which]}"
            if now_s >= until_s:
                expired = True
                self._note(
                    "certificate-expired",
                    f"{what} expired on {day(until_s)}, so no switch can connect; replace it (docs/tls.md)",
                    now_s,
                )
            elif until_s - now_s < SOON_S:
                self._note(
                    "certificate-expiring", f"{what} expires on {day(until_s)}; replace it before (docs/tls.md)", now_s
                )
        if not expired:
            try:
                self._identity.context()
            except InputError as error:
                self._note("certificate-unusable", f"no switch can connect: {error}", now_s)

    def _note(self, kind: str, sentence: str, now_s: float) -> None:
        today = int(now_s // _DAY_S)
        self._said[sentence] = today
        if self._said_before.get(sentence) != today:
            self._tell(kind, sentence)
