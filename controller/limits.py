"""How much a switch may ask of the daemon before its connection is closed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """How much a switch may ask of the daemon.

    Attributes
    ----------
    echo_after_s, silent_after_s : float
        A switch that said nothing for so long is asked whether it lives, and is dropped.
    max_echo_s : float
        Longest time for an answer to that from a switch that says other things meanwhile: it does not read.
    max_message_bytes, max_hello_bytes : int
        Longest message (some types are bound more tightly, see `controller.framing`), and longest first message.
    max_flow_reply_bytes, max_group_reply_bytes, max_reply_bytes : int
        Longest answer to one request, over all its parts: for flows (100,000 of ours are 20 MB), for groups (8,192 of
        ours, with twenty buckets each), for anything else (the counters of all ports are less than half of it).
    max_reply_elements : int
        How many flows, groups, … one answer may list.
    max_ports : int
        Ports of one switch.
    max_queued_messages, max_queued_bytes : int
        What may wait to be sent to one switch before it is disconnected.
    max_queued_bytes_in_all : int
        What may wait for all together: beyond, whoever has more than an equal part of it is disconnected.
    max_connections, max_half_open : int
        Connections in all, and those whose handshake is not over.
    """

    handshake_timeout_s: float = 5.0
    echo_after_s: float = 0.75
    silent_after_s: float = 2.5
    max_echo_s: float = 15.0
    max_message_bytes: int = 65_535
    max_hello_bytes: int = 4_096
    max_flow_reply_bytes: int = 32 << 20
    max_group_reply_bytes: int = 8 << 20
    max_reply_bytes: int = 1 << 20
    max_reply_elements: int = 1 << 18
    max_ports: int = 4_096
    max_queued_messages: int = 16_384
    max_queued_bytes: int = 16 << 20
    max_queued_bytes_in_all: int = 256 << 20
    max_connections: int = 1_024
    max_half_open: int = 256
