"""Reads OpenFlow messages, a line of hex each, and says of each as JSON what the checks and the framework make of it.

Run as a process of its own, since one process has one framework: ``HEDDLE_FRAMEWORK`` chooses it.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from controller import checking, framework
from controller.framework import ofproto as ofp
from controller.framework import ofproto_parser as parser

_HEADER = struct.Struct("!BBHI")
_MULTIPART_REPLY, _FLOW_REMOVED, _PACKET_IN = 19, 11, 10
_SIZED = {3: 24, 4: 112, 5: 40, 13: 64}
"""Bytes of one entry of a multipart reply (sections 7.3.5.4 to 7.3.5.8)."""
_PREFIXED = {1: 0, 6: 0, 7: 0, 9: 4, 10: 0, 12: 0}
"""Where in an entry its own length is (sections 7.3.5.2, 7.3.5.9, 7.3.5.10, 7.3.5.12, 7.3.5.13 and 7.3.5.18)."""


def entries(kind: int, body: bytes) -> list[bytes]:
    """The entries of a multipart reply, found by their lengths alone."""
    if kind in _SIZED:
        size = _SIZED[kind]
        return [body[start : start + size] for start in range(0, len(body), size)]
    if kind not in _PREFIXED:
        return [body]
    found = []
    while body:
        size = int.from_bytes(body[_PREFIXED[kind] : _PREFIXED[kind] + 2])
        found.append(body[:size])
        body = body[size:]
    return found


def differences(kind: int, data: bytes, parsed: Any) -> Iterator[str]:
    """Where what the framework read is not what is in the bytes."""
    if kind == _MULTIPART_REPLY:
        asked = int.from_bytes(data[8:10])
        ours = entries(asked, data[16:])
        theirs = parsed.body if isinstance(parsed.body, list) else [parsed.body]
        if len(ours) != len(theirs):
            yield f"{len(theirs)} entries, not {len(ours)}"
        for raw, entry in zip(ours, theirs, strict=False):
            yield from entry_differences(asked, raw, entry)
    elif kind == _PACKET_IN:
        size = (int.from_bytes(data[26:28]) + 7) // 8 * 8
        if written(parsed.match.serialize) != data[24 : 24 + size]:
            yield "match of the packet"
        if bytes(parsed.data) != data[24 + size + 2 :]:
            yield "frame"
        place = checking.check_packet_in(data)
        if data[place.data_offset :] != parsed.data or place.in_port != parsed.match["in_port"]:
            yield "frame or port as checked"
    elif kind == _FLOW_REMOVED and written(parsed.match.serialize) != data[48:]:
        yield "match of the removed flow"


def entry_differences(asked: int, raw: bytes, entry: Any) -> Iterator[str]:
    """The same for one entry: written again by the framework's own writer, it must be the same bytes."""
    if asked == ofp.OFPMP_FLOW:
        size = (int.from_bytes(raw[50:52]) + 7) // 8 * 8
        if written(entry.match.serialize) != raw[48 : 48 + size]:
            yield f"match of a flow: {entry.match}"
        if b"".join(written(one.serialize) for one in entry.instructions) != raw[48 + size :]:
            yield f"instructions of a flow: {entry.instructions}"
        if (entry.cookie, entry.priority) != (int.from_bytes(raw[24:32]), int.from_bytes(raw[12:14])):
            yield "cookie or priority of a flow"
    elif asked == ofp.OFPMP_GROUP_DESC:
        if b"".join(written(one.serialize) for one in entry.buckets) != raw[8:]:
            yield f"buckets of a group: {entry.buckets}"
    elif asked == ofp.OFPMP_METER_CONFIG:
        if b"".join(written(one.serialize) for one in entry.bands) != raw[8:]:
            yield "bands of a meter"
    elif asked in (ofp.OFPMP_PORT_DESC, ofp.OFPMP_PORT_STATS) and entry.port_no != int.from_bytes(raw[:4]):
        yield "port number"


def written(serialize: Callable[[bytearray, int], object]) -> bytes:
    """What the framework writes for a part that it read."""
    buffer = bytearray()
    serialize(buffer, 0)
    return bytes(buffer)


def judge(data: bytes, protocol: framework.Protocol13) -> dict[str, Any]:
    """What is made of one message."""
    version, kind, length, xid = _HEADER.unpack_from(data)
    said: dict[str, Any] = {"type": kind, "multipart": None, "refused": None, "failed": None, "differences": []}
    if kind == _MULTIPART_REPLY:
        said["multipart"] = int.from_bytes(data[8:10])
    try:
        checking.check_message(data)
    except Exception as error:
        said["refused"] = f"{type(error).__name__}: {error}"
    try:
        parsed = parser.msg_parser(protocol, version, kind, length, xid, data)
        said["differences"] = list(differences(kind, data, parsed))
    except Exception as error:
        said["failed"] = f"{type(error).__name__}: {error}"
    return said


def main() -> None:
    """Judge every line."""
    protocol = framework.Protocol13(framework.OFP_VERSION)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(judge(bytes.fromhex(line), protocol)) + "\n")


if __name__ == "__main__":
    main()
