"""Changes that a switch collects and carries out together or not at all: the ONF's bundles for OpenFlow 1.3.

Source: Open Networking Foundation, "Bundles", extension EXT-230 (2014); as far as Open vSwitch offers it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from benchmarks.channel import messages as of
from benchmarks.fleet.openflow import BAD_REQUEST, EXPERIMENTER_ERROR, GROUP_MOD, Refused
from benchmarks.fleet.tables import Tables

ONF = 0x4F4E_4600
CONTROL, ADD = 2300, 2301
OPEN, CLOSE, COMMIT, DISCARD = 0, 2, 4, 6

_BAD_ID, _EXISTS, _CLOSED, _BAD_TYPE, _BAD_XID, _UNSUPPORTED, _FAILED = 2302, 2303, 2304, 2306, 2309, 2310, 2313
_IN_BUNDLES = frozenset({of.FLOW_MOD, GROUP_MOD})
"""What Open vSwitch 3.1 takes into a bundle, of what we send: no meters."""


class CommitFailed(Exception):
    """A message of a bundle was refused; nothing of the bundle was carried out.

    Attributes
    ----------
    refused : Refused
    message : bytes
        The one that was refused.
    """

    def __init__(self, refused: Refused, message: bytes) -> None:
        super().__init__(str(refused))
        self.refused, self.message = refused, message


class Bundles:
    """The bundles that are open on one connection."""

    def __init__(self) -> None:
        self._open: dict[int, list[bytes]] = {}
        self._closed: set[int] = set()

    def add(self, whole: bytes) -> None:
        """Take a message into a bundle, which is opened where it is not there.

        Raises
        ------
        Refused
            The bundle is closed, or takes no such message.
        """
        if len(whole) < 32:
            raise Refused(BAD_REQUEST, 6)
        (number,) = struct.unpack_from("!I", whole, 16)
        _, kind, length, xid = of.HEADER.unpack_from(whole, 24)
        if number in self._closed:
            raise _refused(_CLOSED)
        if xid != int.from_bytes(whole[4:8]):
            raise _refused(_BAD_XID)
        if kind not in _IN_BUNDLES:
            raise _refused(_UNSUPPORTED)
        self._open.setdefault(number, []).append(whole[24 : 24 + length])

    def control(self, kind: int, number: int) -> tuple[bytes, ...]:
        """Open, close, commit or discard a bundle.

        Returns
        -------
        tuple of bytes
            On commit, the messages to carry out.

        Raises
        ------
        Refused
            There is no such bundle, or there is one already.
        """
        if kind == OPEN:
            if number in self._open:
                del self._open[number]
                self._closed.discard(number)
                raise _refused(_EXISTS)
            self._open[number] = []
            return ()
        if kind not in (CLOSE, COMMIT, DISCARD):
            raise _refused(_BAD_TYPE)
        if number not in self._open:
            raise _refused(_BAD_ID)
        if kind == CLOSE:
            if number in self._closed:
                raise _refused(_CLOSED)
            self._closed.add(number)
            return ()
        self._closed.discard(number)
        messages = self._open.pop(number)
        return tuple(messages) if kind == COMMIT else ()


def committed(tables: Tables, messages: tuple[bytes, ...], change: Callable[[Tables, bytes], None]) -> Tables:
    """Tables with all changes of a bundle.

    Parameters
    ----------
    change : callable
        Carries out one message on tables.

    Raises
    ------
    CommitFailed
        One was refused.
    """
    changed = tables.copy()
    for message in messages:
        try:
            change(changed, message)
        except Refused as refused:
            raise CommitFailed(refused, message) from None
    return changed


def commit_failed() -> Refused:
    """What a commit is answered with, after the error of the message that failed."""
    return _refused(_FAILED)


def reply(kind: int, number: int, flags: int, xid: int) -> bytes:
    """The answer to a request of a kind."""
    return of.message(of.EXPERIMENTER, struct.pack("!IIIHH", ONF, CONTROL, number, kind + 1, flags), xid)


def _refused(code: int) -> Refused:
    return Refused(EXPERIMENTER_ERROR, code, ONF)
