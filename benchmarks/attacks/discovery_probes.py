"""Probes of the discovery, forged, replayed and relayed by hosts: no link is made, none is lost, all is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from benchmarks.attacks.figures import Figure, at_least, at_most, told
from benchmarks.attacks.stage import Stage, stage, wait_until
from benchmarks.attacks.watch import Watch, pings

LLDP = 0x88CC
LLDP_DESTINATION = bytes.fromhex("0180c200000e")
ATTACKER, FAR = "h1", "h5"
"""At different leaves."""
BYSTANDERS = (("h2", "h6"),)
RELAY_S = 30.0
STALE_S = 1.5


def forged_row(framework: str) -> Iterator[Figure]:
    """In all circumstances."""
    yield from _everywhere(framework, "lldp-forged", forge)


def replayed_row(framework: str) -> Iterator[Figure]:
    """In all circumstances."""
    yield from _everywhere(framework, "lldp-replayed", replay)


def relayed_row(framework: str) -> Iterator[Figure]:
    """In all circumstances; and from the start, which nobody can tell from a cable where nothing is declared."""
    yield from _everywhere(framework, "lldp-relayed", relay)
    with stage(framework, declared=False) as made, Watch(made) as watch:
        relay(made, 5.0)
    links = ", ".join(sorted(watch.invented_links))
    yield told("lldp-relayed (undeclared, from the start)", "links invented", len(watch.invented_links), links)


def _everywhere(framework: str, name: str, attack: Callable[[Stage], int]) -> Iterator[Figure]:
    for declared in (True, False):
        for known in (True, False):
            with stage(framework, declared=declared) as made:
                made.acquaint(*(host for pair in BYSTANDERS for host in pair))
                if known:
                    made.acquaint(ATTACKER, FAR)
                elif not declared:
                    made.wait_settled()
                where = f"{'declared' if declared else 'undeclared'}, {'known' if known else 'silent'} hosts"
                yield from judged(made, f"{name} ({where})", attack, known=known)


def judged(made: Stage, name: str, attack: Callable[[Stage], int], *, known: bool) -> Iterator[Figure]:
    """Carry an attack out and say what the view and the bystanders noticed of it."""
    pairs = (*BYSTANDERS, (ATTACKER, FAR)) if known else BYSTANDERS
    with Watch(made) as watch:
        with pings(made, *pairs) as result:
            frames = attack(made)
            time.sleep(0.5)
        events, counted = alarms(watch.new_events()), alarms(watch.counted())
    yield told(name, "frames sent", frames)
    yield at_most(name, "links invented", len(watch.invented_links), 0, ", ".join(sorted(watch.invented_links)))
    yield at_most(name, "links or switches lost", watch.losses(), 0, ", ".join(sorted(watch.missing_links)))
    yield at_most(name, "pings lost", result[1], 0, f"of {result[0]}")
    yield at_least(name, "events", events.total(), 1, _text(events))
    yield at_least(name, "counted", counted.total(), frames, _text(counted))


def alarms(counts: Counter[str]) -> Counter[str]:
    """Those that speak of probes that are not what they say, or of ports where they should not be."""
    return Counter(
        {kind: count for kind, count in counts.items() if kind.startswith("lldp-") or kind == "port-conflict"}
    )


def forge(made: Stage) -> int:
    """A probe with a wrong signature, one that says another origin, and one that is cut short; at two hosts."""
    with made.tap(ATTACKER, LLDP) as near, made.tap(FAR, LLDP) as far:
        wait_until(lambda: near.frames, "a probe reaches the host")
        genuine = near.frames[0][1]
        broken = bytearray(genuine)
        broken[-3] ^= 1
        elsewhere = genuine.replace(_dpid(made, "l1"), _dpid(made, "s1"))
        frames = (bytes(broken), elsewhere, genuine[:-8])
        for tap in (near, far):
            tap.send(*frames)
        time.sleep(0.5)
    return 2 * len(frames)


def replay(made: Stage) -> int:
    """Genuine probes sent again from their own port and from another one, twice at once and once when they are old."""
    with made.tap(ATTACKER, LLDP) as near, made.tap(FAR, LLDP) as far:
        wait_until(lambda: near.frames, "a probe reaches the host")
        # One of them fresh, so that not all are old at once.
        seen = len(near.frames)
        wait_until(lambda: len(near.frames) > seen, "a fresh probe reaches the host")
        genuine = near.frames[-1][1]
        near.send(genuine, genuine)
        far.send(genuine, genuine)
        time.sleep(STALE_S)
        near.send(genuine)
        far.send(genuine)
        time.sleep(0.5)
    return 6


def relay(made: Stage, seconds: float = RELAY_S) -> int:
    """Whatever probe comes in at either of two hosts goes out at the other at once, as over a cable between them."""
    sent = 0
    with made.tap(ATTACKER, LLDP) as near, made.tap(FAR, LLDP) as far:

        def forward(to: Callable[[bytes], None]) -> Callable[[bytes], None]:
            def on_frame(frame: bytes) -> None:
                nonlocal sent
                sent += 1
                to(frame)

            return on_frame

        near.on_frame, far.on_frame = forward(far.send), forward(near.send)
        time.sleep(seconds)
        near.on_frame = far.on_frame = None
        time.sleep(0.5)
    return sent


def _dpid(made: Stage, switch: str) -> bytes:
    return (made.fabric.node_by_id[switch].dpid or 0).to_bytes(8)


def _text(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
