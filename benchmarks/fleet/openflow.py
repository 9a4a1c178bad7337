"""Numbers, errors and answers on the wire, beside what `benchmarks.channel.messages` has.

Section numbers are those of OpenFlow 1.3.5; nothing here knows the daemon's own code, so that it is a second opinion.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from benchmarks.channel import messages as of

GROUP_MOD, METER_MOD = 15, 29
DESC, AGGREGATE_STATS = 0, 2

ANY = 0xFFFF_FFFF
"""No filter by port or group; as the id of a group or meter, all of them."""
ALL_TABLES = 0xFF

BAD_REQUEST, BAD_ACTION, BAD_INSTRUCTION, BAD_MATCH, FLOW_MOD_FAILED, GROUP_MOD_FAILED, METER_MOD_FAILED = (
    1, 2, 3, 4, 5, 6, 12,
)  # fmt: skip
EXPERIMENTER_ERROR = 0xFFFF
"""Types of errors (section 7.4.4)."""

_MORE = 1
_PART_BYTES = 60_000
"""An answer longer than this comes in parts: a message's length has 16 bits."""


class Refused(Exception):
    """A switch refuses what it was told.

    Attributes
    ----------
    type, code : int
        Of the error message (section 7.4.4).
    experimenter : int or None
        Whose error it is, where it is not OpenFlow's own.
    """

    def __init__(self, kind: int, code: int, experimenter: int | None = None) -> None:
        super().__init__(f"refused with error type {kind}, code {code}")
        self.type, self.code, self.experimenter = kind, code, experimenter

    def message(self, xid: int, whole: bytes) -> bytes:
        """The error message, with the start of what is refused."""
        issuer = b"" if self.experimenter is None else struct.pack("!I", self.experimenter)
        return of.message(of.ERROR, struct.pack("!HH", self.type, self.code) + issuer + whole[:64], xid)


def parts(kind: int, entries: Iterable[bytes], xid: int) -> Iterator[bytes]:
    """An answer that lists entries, in as many messages as it needs (section 7.3.5)."""
    body: list[bytes] = []
    size = 0
    for entry in entries:
        if size + len(entry) > _PART_BYTES:
            yield of.multipart_reply(kind, b"".join(body), xid, _MORE)
            body, size = [], 0
        body.append(entry)
        size += len(entry)
    yield of.multipart_reply(kind, b"".join(body), xid)


def port_status(number: int, *, is_up: bool) -> bytes:
    """A port has changed (section 7.4.3)."""
    modified = 2
    return of.message(of.PORT_STATUS, struct.pack("!B7x", modified) + of.port_description(number, is_up=is_up))


def description(dpid: int) -> bytes:
    """Who made the switch (section 7.3.5.1)."""
    return struct.pack("!256s256s256s32s256s", b"Heddle", b"fake switch", b"", b"", b"%016x" % dpid)
