"""Runs inside an emulated host: numbered UDP packets at a steady rate, a paced TCP stream, and what takes them.

``udp-receive FILE``, ``udp-send ADDRESS PORT SOURCE_PORT PER_SECOND FILE``, ``tcp-receive``,
``tcp-send ADDRESS PORT BITS_PER_SECOND``.
Each says a line of JSON once it runs, and a line with what it did once its standard input has ended. Packets are
written down in a file that grows while they come, so that others can read along.
It needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time

RECORD = struct.Struct("<QQQ")
"""In the receiver's file: number, and Unix time of sending and of coming, in ns. In the sender's: number, time, 0."""
COUNT = struct.Struct("<Q")
"""At the beginning of a file: how many records there are."""
MOST_RECORDS = 4_000_000
PAYLOAD_BYTES = 100

_HEAD = struct.Struct("!QQ")
_SO_RCVBUFFORCE, _SO_MEMINFO, _SK_MEMINFO_DROPS = 33, 55, 8
_BUFFER_BYTES = 32 << 20
_TCP_INFO_BYTES = 256
# struct tcp_info (linux/tcp.h).
_TOTAL_RETRANS, _SEGS_OUT, _SEGS_IN, _DATA_SEGS_IN, _DATA_SEGS_OUT = 100, 136, 140, 152, 156
_DSACK_DUPS, _REORDERINGS, _OUT_OF_ORDER = 216, 220, 224
_QUIET_S = 0.5


class Records:
    """A file of records that others map while it is written."""

    def __init__(self, path: str) -> None:
        size = COUNT.size + MOST_RECORDS * RECORD.size
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(descriptor, size)
        self._map = mmap.mmap(descriptor, size)
        os.close(descriptor)
        self.count = 0

    def add(self, number: int, sent_ns: int, came_ns: int) -> None:
        """Write a record, then count it."""
        if self.count < MOST_RECORDS:
            RECORD.pack_into(self._map, COUNT.size + self.count * RECORD.size, number, sent_ns, came_ns)
            self.count += 1
            COUNT.pack_into(self._map, 0, self.count)


def udp_receive(path: str) -> None:
    """Take numbered packets; at the end say how many the socket itself had no room for."""
    records = Records(path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - an emulated host's own namespace
        _say({"port": sock.getsockname()[1], "buffer_bytes": sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)})
        over = _input_ends()
        while True:
            ready, _, _ = select.select([sock], [], [], 0.2)
            if ready:
                packet = sock.recv(65535)
                came_ns = time.time_ns()
                number, sent_ns = _HEAD.unpack_from(packet)
                records.add(number, sent_ns, came_ns)
            elif over.is_set():
                break
        memory = struct.unpack("9I", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
        _say({"received": records.count, "dropped_by_socket": memory[_SK_MEMINFO_DROPS]})


def udp_send(address: str, port: int, source_port: int, per_second: float, path: str) -> None:
    """Send at a steady rate, every packet due at a moment counted from the first; who is late hurries."""
    records = Records(path)
    interval_ns, most_late_ns, refused = int(1e9 / per_second), 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", source_port))  # noqa: S104
        sock.connect((address, port))
        padding = bytes(PAYLOAD_BYTES - _HEAD.size)
        _say({"source_port": sock.getsockname()[1]})
        over = _input_ends()
        begun_ns, number = time.monotonic_ns(), 0
        while not over.is_set():
            late_ns = time.monotonic_ns() - (begun_ns + number * interval_ns)
            if late_ns < 0:
                time.sleep(-late_ns / 1e9)
            most_late_ns = max(most_late_ns, late_ns)
            sent_ns = time.time_ns()
            try:
                sock.send(_HEAD.pack(number, sent_ns) + padding)
            except OSError:
                refused += 1
                number += 1
                continue
            records.add(number, sent_ns, 0)
            number += 1
    _say({"sent": records.count, "most_late_ms": most_late_ns / 1e6, "refused_here": refused})


def tcp_receive() -> None:
    """Take one connection and count."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104
        _say({"port": server.getsockname()[1]})
        connection, _ = server.accept()
        received = 0
        with connection:
            while chunk := connection.recv(1 << 16):
                received += len(chunk)
            info = _tcp_info(connection)
            _say({"bytes": received, "data_segments": _u32(info, _DATA_SEGS_IN), "segments_sent": _u32(info, _SEGS_OUT),
                  "out_of_order": _u32(info, _OUT_OF_ORDER)})  # fmt: skip
            connection.sendall(b"!")


def tcp_send(address: str, port: int, bits_per_second: float) -> None:
    """Send at a steady rate, one segment at a time; at the end wait until all has been acknowledged."""
    with socket.create_connection((address, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chunk = bytes(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        _say({"segment_bytes": len(chunk)})
        over = _input_ends()
        begun_s, sent = time.monotonic(), 0
        while not over.is_set():
            ahead_s = sent * 8 / bits_per_second - (time.monotonic() - begun_s)
            if ahead_s > 0:
                time.sleep(ahead_s)
            connection.sendall(chunk)
            sent += len(chunk)
        seconds = time.monotonic() - begun_s
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        # A last acknowledgement, or a notice of a segment that came twice, may still be under way.
        time.sleep(_QUIET_S)
        info = _tcp_info(connection)
        _say({"bytes": sent, "seconds": seconds, "data_segments": _u32(info, _DATA_SEGS_OUT),
              "retransmitted": _u32(info, _TOTAL_RETRANS), "came_twice": _u32(info, _DSACK_DUPS),
              "reorderings": _u32(info, _REORDERINGS)})  # fmt: skip


def _tcp_info(connection: socket.socket) -> bytes:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)


def _u32(info: bytes, offset: int) -> int:
    return int.from_bytes(info[offset : offset + 4], sys.byteorder)


def _input_ends() -> threading.Event:
    over = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    return over


def _say(message: dict[str, float]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _come_first() -> None:
    """A probe that waits for a processor would measure that."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:  # noqa: PTH123
        group.write("-15")


if __name__ == "__main__":
    _come_first()
    match sys.argv[1:]:
        case ["udp-receive", path]:
            udp_receive(path)
        case ["udp-send", address, port, source_port, rate, path]:
            udp_send(address, int(port), int(source_port), float(rate), path)
        case ["tcp-receive"]:
            tcp_receive()
        case ["tcp-send", address, port, rate]:
            tcp_send(address, int(port), float(rate))
