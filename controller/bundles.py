"""Bundles of messages that a switch carries out together or not at all, byte by byte.

They are those of OpenFlow 1.4, section 7.3.9, as ONF extension 230 brings them to OpenFlow 1.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from controller.framework import ofproto as ofp
from controller.framing import OFP_VERSION, MessageType

ONF = 0x4F4E4600
FLAGS: int = ofp.ONF_BF_ATOMIC | ofp.ONF_BF_ORDERED
"""Together or not at all, and in the order in which they were added."""
MESSAGES = frozenset({ofp.OFPT_FLOW_MOD, ofp.OFPT_GROUP_MOD})
"""Types of message that a bundle takes: Open vSwitch 3.1 refuses those about meters."""

_CONTROL = struct.Struct("!BBHIIIIHH")
_CONTROL_KIND = struct.Struct("!IIIH")
# Its own header, what it is, and the header of the message that it adds.
_ADD = struct.Struct("!BBHIIII2xHBBHI")
_HEADER_BYTES = 8
_EXPERIMENTER: int = ofp.OFPT_EXPERIMENTER
_ADD_MESSAGE: int = ofp.ONF_ET_BUNDLE_ADD_MESSAGE


class Step(IntEnum):
    """Requests about a bundle; the answer to each is the next number."""

    OPEN = 0
    CLOSE = 2
    COMMIT = 4
    DISCARD = 6


def control(xid: int, bundle: int, step: Step) -> bytes:
    """A request about a bundle."""
    return _CONTROL.pack(
        OFP_VERSION, _EXPERIMENTER, _CONTROL.size, xid,
        ONF, ofp.ONF_ET_BUNDLE_CONTROL, bundle, step, FLAGS,
    )  # fmt: skip


def answer(bundle: int, step: Step) -> bytes:
    """How the answer to such a request begins, behind its header."""
    return _CONTROL_KIND.pack(ONF, ofp.ONF_ET_BUNDLE_CONTROL, bundle, step + 1)


def added(xid: int, bundle: int, kind: int, body: bytes) -> bytes:
    """The message that adds one, of a type and with a body, to a bundle; both bear the same transaction id."""
    size = len(body)
    return _ADD.pack(
        OFP_VERSION, _EXPERIMENTER, _ADD.size + size, xid, ONF, _ADD_MESSAGE, bundle, FLAGS,
        OFP_VERSION, kind, _HEADER_BYTES + size, xid,
    ) + body  # fmt: skip


def is_control(message: bytes) -> bool:
    """Whether a message of at least 16 bytes is one of those about a bundle."""
    return message[1] == MessageType.EXPERIMENTER and message.startswith(_CONTROL_PREFIX, _HEADER_BYTES)


_CONTROL_PREFIX = struct.pack("!II", ONF, ofp.ONF_ET_BUNDLE_CONTROL)
# What is wrong is the bundle and not what is in it: all errors about bundles, but that a message in one failed.
_NO_BUNDLE = frozenset(range(ofp.ONFERR_ET_UNKNOWN, ofp.ONFERR_ET_BUNDLE_IN_PROGRESS + 1)) - {ofp.ONFERR_ET_FAILED}


def unfit(errors: Iterable[Any]) -> bool:
    """Whether one of these errors (the framework's objects) says that the switch does not make such bundles."""
    return any(
        error.type == ofp.OFPET_EXPERIMENTER and error.experimenter == ONF and error.exp_type in _NO_BUNDLE
        for error in errors
    )
