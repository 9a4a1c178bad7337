"""OpenFlow 1.3 messages from a switch, written byte by byte, and both frameworks' parsers as witnesses."""

from __future__ import annotations

import importlib
import importlib.util
import os
import struct
import warnings
from typing import Any

os.environ.setdefault("OSKEN_HUB_TYPE", "eventlet")

MULTIPART_REPLY, PACKET_IN, FLOW_REMOVED = 19, 10, 11
FLOW, GROUP_DESCRIPTION, METER_CONFIGURATION, TABLE_FEATURES = 1, 7, 10, 12
APPLY_ACTIONS = 4
NICIRA = 0x2320


def _parser(framework: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"{framework}.ofproto.ofproto_v1_3_parser")


PARSERS: dict[str, Any] = {name: _parser(name) for name in ("os_ken", "ryu") if importlib.util.find_spec(name)}
"""The OpenFlow 1.3 parsers of the frameworks that are installed."""


def parsed(message: bytes, framework: str = "os_ken") -> Any:
    """What a framework makes of a message; raises what its parser raises."""
    return PARSERS[framework].msg_parser(None, message[0], message[1], len(message), 0, message)


def parse_by_all(message: bytes) -> None:
    for framework in PARSERS:
        parsed(message, framework)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def message(kind: int, body: bytes = b"", version: int = 4) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body), 7) + body


def shortened(message: bytes, size: int) -> bytes:
    """The first bytes of a message, with a header that says so."""
    return message[:2] + size.to_bytes(2) + message[4:size]


def multipart(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    return message(MULTIPART_REPLY, struct.pack("!HH4x", kind, flags) + body)


def field(class_: int, number: int, payload: bytes, mask: int = 0, size: int | None = None) -> bytes:
    return struct.pack("!HBB", class_, number << 1 | mask, len(payload) if size is None else size) + payload


def basic(number: int, value: int, size: int) -> bytes:
    return field(0x8000, number, value.to_bytes(size))


def match(*fields: bytes, kind: int = 1) -> bytes:
    data = b"".join(fields)
    return padded(struct.pack("!HH", kind, 4 + len(data)) + data)


def flow(instructions: bytes = b"", match_: bytes | None = None) -> bytes:
    match_ = match() if match_ is None else match_
    size = 48 + len(match_) + len(instructions)
    return struct.pack("!HBxIIHHHH4xQQQ", size, 0, 1, 2, 100, 0, 0, 0, 5, 6, 7) + match_ + instructions


def apply_actions(*actions: bytes) -> bytes:
    data = b"".join(actions)
    return struct.pack("!HH4x", APPLY_ACTIONS, 8 + len(data)) + data


def flow_with(*actions: bytes) -> bytes:
    """A multipart reply with one flow that applies these actions."""
    return multipart(FLOW, flow(apply_actions(*actions)))


def output(port: int) -> bytes:
    return struct.pack("!HHIH6x", 0, 16, port, 0xFFFF)


def nicira(subtype: int, body: bytes = b"") -> bytes:
    size = (10 + len(body) + 7) // 8 * 8
    return struct.pack("!HHIH", 0xFFFF, size, NICIRA, subtype) + body + bytes(size - 10 - len(body))


def packet_in(match_: bytes, data: bytes = b"", total: int | None = None) -> bytes:
    head = struct.pack("!IHBBQ", 0xFFFF_FFFF, len(data) if total is None else total, 0, 0, 0)
    return message(PACKET_IN, head + match_ + bytes(2) + data)


def bucket(*actions: bytes) -> bytes:
    data = b"".join(actions)
    return struct.pack("!HHII4x", 16 + len(data), 1, 0xFFFF_FFFF, 0xFFFF_FFFF) + data


def group(*buckets: bytes) -> bytes:
    data = b"".join(buckets)
    return struct.pack("!HBxI", 8 + len(data), 1, 5) + data


def meter(*bands: bytes) -> bytes:
    data = b"".join(bands)
    return struct.pack("!HHI", 8 + len(data), 1, 5) + data


def table(*properties: bytes) -> bytes:
    data = b"".join(properties)
    return struct.pack("!HB5x32sQQII", 64 + len(data), 0, b"classify", 0, 0, 0, 1000) + data


def table_property(kind: int, content: bytes = b"") -> bytes:
    return padded(struct.pack("!HH", kind, 4 + len(content)) + content)


def queues(*properties: bytes) -> bytes:
    """A QUEUE_GET_CONFIG_REPLY with one queue."""
    data = b"".join(properties)
    return message(23, struct.pack("!I4xIIH6x", 1, 2, 1, 16 + len(data)) + data)


def queue_rate(kind: int) -> bytes:
    return struct.pack("!HH4xH6x", kind, 16, 500)
