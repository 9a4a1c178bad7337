"""What becomes of bytes from outside, as in the daemon: of a switch's message, and of a frame in a packet-in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from enum import StrEnum

from controller import framework
from controller.checking import check_message, check_packet_in, hide_nicira_actions
from controller.framing import HEADER_BYTES, MessageType, Phase, Violation, check_header, check_hello, read_header
from controller.lldp import Probe, read_probe, write_probe
from workloads.headers import Unreadable, read_headers

SECRET = bytes(range(32))
"""Signs the probes that `Frames` knows."""

_PHASES = {MessageType.HELLO: Phase.HELLO, MessageType.FEATURES_REPLY: Phase.FEATURES}
_MOST_BYTES = 0xFFFF


class Verdict(StrEnum):
    """What became of an input; anything else than these is an exception, and a defect."""

    READ = "read"
    REFUSED = "refused"
    INCOMPLETE = "incomplete"


def taken(data: bytes, *, hide: bool = True) -> bytes | None:
    """The message that the channel would give to the framework's parser, out of what a switch sent.

    Parameters
    ----------
    hide : bool
        Nicira's actions are kept as bytes, as the channel does, whatever is in them; else they are checked.

    Returns
    -------
    bytes or None
        None where it waits for more, or reads the message without the framework: a HELLO.

    Raises
    ------
    Violation
        The connection is closed for this.
    """
    if len(data) < HEADER_BYTES:
        return None
    header = read_header(data)
    check_header(header, _PHASES.get(header.type, Phase.UP), _MOST_BYTES)
    if header.length > len(data):
        return None
    message = data[: header.length]
    if header.type == MessageType.HELLO:
        check_hello(message)
        return None
    if hide and header.type == MessageType.MULTIPART_REPLY:
        message = hide_nicira_actions(message)
    check_message(message)
    if header.type == MessageType.PACKET_IN:
        check_packet_in(message)
    return message


class Misread(Exception):
    """The checks and the framework's parser understood a message differently."""


class Messages:
    """Judges what a switch sends, the framework's parser included."""

    def __init__(self) -> None:
        self._switch = framework.Protocol13(framework.OFP_VERSION)

    def judge(self, data: bytes) -> Verdict:
        """Read it as the channel does; an exception that leaves this would have left the channel's checks.

        Raises
        ------
        Misread
            A reply has another number of entries to the checks than to the parser, or a packet another port or frame.
        """
        try:
            message = taken(data)
        except Violation:
            return Verdict.REFUSED
        if message is None:
            hello = len(data) >= HEADER_BYTES and data[1] == MessageType.HELLO
            return Verdict.READ if hello and read_header(data).length <= len(data) else Verdict.INCOMPLETE
        self._read(message)
        whole = data[: len(message)]
        if whole != message:
            # The checks of Nicira's actions hold as well where these are not hidden from the parser.
            with contextlib.suppress(Violation):
                check_message(whole)
                self._read(whole)
        return Verdict.READ

    def _read(self, message: bytes) -> None:
        header = read_header(message)
        parsed = framework.ofproto_parser.msg_parser(self._switch, *header, message)
        if header.type == MessageType.MULTIPART_REPLY and isinstance(parsed.body, list):
            elements = check_message(message)
            if elements != len(parsed.body):
                raise Misread(f"{elements} entries to the checks, {len(parsed.body)} to the parser")
        elif header.type == MessageType.PACKET_IN:
            place = check_packet_in(message)
            if parsed.match["in_port"] != place.in_port or not message[place.data_offset :].startswith(parsed.data):
                raise Misread(f"{place} to the checks, port {parsed.match['in_port']} to the parser")


class Forged(Exception):
    """A probe was believed that was never signed."""


class Frames:
    """Judges frames, among them spoilt copies of probes that were signed."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        self._probes = frozenset(probes)

    def signed(self) -> list[bytes]:
        """The frames of the probes."""
        return [write_probe(probe, SECRET) for probe in sorted(self._probes, key=lambda probe: probe.nonce)]

    def judge(self, frame: bytes) -> Verdict:
        """Read its headers, and its probe if it is one.

        Raises
        ------
        Forged
            It was taken for a probe that nobody signed.
        """
        headers = read_headers(frame)
        probe = read_probe(frame, SECRET)
        if probe is not None and probe not in self._probes:
            raise Forged(f"{probe} was never sent")
        return Verdict.REFUSED if isinstance(headers, Unreadable) else Verdict.READ
