"""Numbered UDP packets from one interface to another, at a steady rate, until standard input ends; run in a namespace.

They are written and read as frames, so that neither addresses nor checksums of the machine's own stack take part.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time

FRAME = bytes.fromhex(
    "020000000002020000000001" "0800" "4500003a000040004011b6afc0000201c0000202" "138813890026" "0000"
)  # fmt: skip
"""To the last byte of the UDP header: from 192.0.2.1 to 192.0.2.2 (RFC 5737), without a checksum of UDP."""
_NUMBER = struct.Struct("!QQ")
_PADDING = bytes(14)
_QUIET_S = 1.0
_ETH_P_ALL = 3
_RECEIVE_BYTES = 32 << 20
_SO_RCVBUFFORCE = 33


class _Received(threading.Thread):
    """Counts what comes, each number once."""

    def __init__(self, interface: str) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        self._socket.bind((interface, 0))
        self.numbers: set[int] = set()
        self.packets = 0
        self.last_s = time.monotonic()

    def run(self) -> None:
        while True:
            frame = self._socket.recv(2048)
            if frame.startswith(FRAME):
                self.numbers.add(_NUMBER.unpack_from(frame, len(FRAME))[0])
                self.packets += 1
                self.last_s = time.monotonic()


def _stop_at_end(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def main(sender: str, receiver: str, rate_pps: float) -> None:
    """Send until standard input ends; then say what was sent, lost and doubled, as JSON."""
    received = _Received(receiver)
    received.start()
    stop = threading.Event()
    threading.Thread(target=_stop_at_end, args=(stop,), daemon=True).start()
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((sender, 0))
    begun_s, sent = time.monotonic(), 0
    print(json.dumps({"ready": True}), flush=True)
    while not stop.is_set():
        while sent < (time.monotonic() - begun_s) * rate_pps:
            out.send(FRAME + _NUMBER.pack(sent, time.monotonic_ns()) + _PADDING)
            sent += 1
        time.sleep(0.5 / rate_pps)
    seconds = time.monotonic() - begun_s
    while len(received.numbers) < sent and time.monotonic() < received.last_s + _QUIET_S:
        time.sleep(0.01)
    lost = sorted(set(range(sent)) - received.numbers)
    doubled = received.packets - len(received.numbers)
    print(json.dumps({"sent": sent, "lost": len(lost), "doubled": doubled, "seconds": seconds, "first_lost": lost[:5]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
