"""One whole message of any type that a switch may send (section 7)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from controller.checking.faults import U16, check_room, malformed
from controller.checking.multiparts import check_multipart
from controller.checking.oxm import check_match
from controller.checking.packet_in import check_packet_in
from controller.checking.queues import check_queues
from controller.framing import HEADER_BYTES, OFP_VERSION, MessageType, check_hello, read_header

_T = MessageType
_EXACT = {
    _T.FEATURES_REPLY: 32,
    _T.GET_CONFIG_REPLY: 12,
    _T.PORT_STATUS: 80,
    _T.BARRIER_REPLY: 8,
    _T.ROLE_REPLY: 24,
    _T.GET_ASYNC_REPLY: 32,
}
_OPAQUE = (_T.ECHO_REQUEST, _T.ECHO_REPLY)

_FLOW_REMOVED_MATCH_AT = 48
_EXPERIMENTER_ERROR = 0xFFFF
_EXPERIMENTER = struct.Struct("!8xII")
_ONF_BUNDLE_CONTROL = (0x4F4E4600, 2300)
_ONF_BUNDLE_CONTROL_BYTES = 24
# What Open vSwitch sends only where it was asked to, as nobody here does, but the framework's parser would read.
_UNASKED = ((0x00002320, 16), (0x00002320, 30))


def check_message(message: bytes) -> int:
    """Walk every nested structure of one whole message, before the framework's parser sees a byte of it.

    Whatever is accepted is read by the parsers of both frameworks without an exception, up to its end.

    Returns
    -------
    int
        Elements that a parser would build at the top level of a multipart body (flows, ports, …); 0 for other types.

    Raises
    ------
    Violation
        Of kind ``malformed``: a length does not fit, or a structure is of a kind that the parsers cannot read.
        A HELLO's are those of `controller.framing.check_hello`.
    """
    if len(message) < HEADER_BYTES:
        raise malformed(message, f"header cut off after {len(message)} of 8 bytes", 0)
    header = read_header(message)
    if header.version != OFP_VERSION or header.length != len(message):
        raise malformed(
            message, f"header of version {header.version} and {header.length} bytes for {len(message)} bytes", 0
        )
    if header.type == _T.MULTIPART_REPLY:
        return check_multipart(message)
    if header.type in _EXACT:
        expected = _EXACT[_T(header.type)]
        if header.length != expected:
            raise malformed(message, f"{header.length} bytes, not {expected},", 0)
    elif header.type in _CHECKS:
        _CHECKS[_T(header.type)](message)
    elif header.type not in _OPAQUE:
        raise malformed(message, "no message that a switch sends", 0)
    return 0


def _check_error(message: bytes) -> None:
    check_room(message, "error", 0, 12, len(message))
    (kind,) = U16.unpack_from(message, HEADER_BYTES)
    if kind == _EXPERIMENTER_ERROR:
        check_room(message, "experimenter's error", 0, 16, len(message))


def _check_experimenter(message: bytes) -> None:
    check_room(message, "experimenter's message", 0, _EXPERIMENTER.size, len(message))
    kind = _EXPERIMENTER.unpack_from(message)
    # Experimenters' properties are the only ones that the extension knows, and neither framework reads them.
    if kind == _ONF_BUNDLE_CONTROL and len(message) != _ONF_BUNDLE_CONTROL_BYTES:
        raise malformed(message, f"bundle of {len(message)} bytes, with unknown properties,", _EXPERIMENTER.size)
    if kind in _UNASKED:
        raise malformed(message, f"unknown message {kind[1]} of experimenter 0x{kind[0]:08x}", HEADER_BYTES)


def _check_flow_removed(message: bytes) -> None:
    end = len(message)
    check_room(message, "flow", 0, _FLOW_REMOVED_MATCH_AT + 8, end)
    match_end = check_match(message, _FLOW_REMOVED_MATCH_AT, end)
    if match_end != end:
        raise malformed(message, f"{end - match_end} bytes behind the match", match_end)


_CHECKS: dict[MessageType, Callable[[bytes], object]] = {
    _T.HELLO: check_hello,
    _T.ERROR: _check_error,
    _T.EXPERIMENTER: _check_experimenter,
    _T.PACKET_IN: check_packet_in,
    _T.FLOW_REMOVED: _check_flow_removed,
    _T.QUEUE_GET_CONFIG_REPLY: check_queues,
}
