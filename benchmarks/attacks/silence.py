"""How soon silence is noticed: of a link whose ports stay up, of a closed connection, of a peer that says no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from benchmarks.attacks.figures import Figure, at_most, told
from benchmarks.attacks.peers import FakeSwitch
from benchmarks.attacks.recorder import Recorder
from benchmarks.attacks.stage import Stage, seconds_until, stage, wait_until
from mininet_scenarios.wiring import interface
from topologies.fabric import Link, LinkId

LINK_LIMIT_S, FIN_LIMIT_S, PEER_LIMIT_S = 1.5, 0.1, 3.0
FAKE_DPID, SOURCE = 0xFA4E, "127.0.9.9"


def link_row(framework: str) -> Iterator[Figure]:
    """Every cable between switches, one after another."""
    with stage(framework, declared=True) as made:
        gone_s = []
        for link in made.between():
            if link.id < link.reverse_id:
                gone_s.append(silence_link(made, link))
        yield at_most("silent-link", "gone from the view, worst, s", max(gone_s), LINK_LIMIT_S, f"{len(gone_s)} links")
        yield told("silent-link", "gone from the view, median, s", sorted(gone_s)[len(gone_s) // 2])


def silence_link(made: Stage, link: Link) -> float:
    """Drop whatever either end sends, and bring the link back; seconds until both directions left the view."""
    ends = {LinkId(made.name(end.node), end.port) for end in (link.id, link.reverse_id)}
    try:
        begun_s = time.monotonic()
        for end in (link.id, link.reverse_id):
            set_queue(made, end, 1)
        seconds_until(lambda: not ends & made.client.fabric().link_by_id.keys(), 30.0)
        took_s = time.monotonic() - begun_s
    finally:
        for end in (link.id, link.reverse_id):
            set_queue(made, end, made.cluster.shaping.queue_bytes)
    wait_until(lambda: ends <= made.client.fabric().link_by_id.keys(), f"link {link.id} is back in the view")
    return took_s


def set_queue(made: Stage, end: LinkId, limit_bytes: int) -> None:
    """Bound the queue of a switch's port; no frame fits into one of a single byte, and its port stays up."""
    inside = made.cluster.run.namespace
    change = ("qdisc", "change", "dev", interface(end), "parent", "1:1", "handle", "2:", "bfifo", "limit")
    made.run("ip", "netns", "exec", inside, "tc", *change, str(limit_bytes))


def fin_row(framework: str) -> Iterator[Figure]:
    """The controller of one bridge after another is taken away."""
    with stage(framework, declared=True) as made:
        since_end_s, since_begin_s = [], []
        for node in made.fabric.switches:
            begun, ended, noticed = close_channel(made, node.id)
            since_begin_s.append(noticed - begun)
            since_end_s.append(noticed - ended)
        yield at_most("fin", "noticed after the command's end, worst, s", max(since_end_s), FIN_LIMIT_S)
        yield told("fin", "noticed after the command's begin, worst, s", max(since_begin_s))


def close_channel(made: Stage, bridge: str) -> tuple[float, float, float]:
    """Unix times at which the command began and ended, and of the event; the bridge has its controller back then."""
    target = made.cluster.switch.configure([("get-controller", bridge)]).strip()
    last = max(event.id for event in made.client.events())
    begun = time.time()
    made.cluster.switch.configure([("del-controller", bridge)])
    ended = time.time()
    noticed = _down_event(made, made.name(bridge), last)
    made.cluster.switch.configure([("set-controller", bridge, target)])
    wait_until(
        lambda: all(switch.connected for switch in made.client.switches() if switch.id == made.name(bridge)),
        f"{bridge} is back",
    )
    return begun, ended, noticed


def peer_row(framework: str) -> Iterator[Figure]:
    """A fake switch stops answering, idle and in the midst of answers; a real one's connection is blackholed."""
    with Recorder() as recorder, stage(framework, declared=True, through=recorder.stand_before) as made:
        fake = FakeSwitch(made.openflow, FAKE_DPID, SOURCE)
        wait_until(fake.up.is_set, "the fake switch is up")
        time.sleep(1.0)
        yield _silent("fake switch", made, f"s-{FAKE_DPID:016x}", fake.silent.set)
        fake.close()
        dpid = made.fabric.node_by_id["l2"].dpid or 0
        yield _silent("real switch, blackholed", made, made.name("l2"), lambda: recorder.freeze(dpid))


def _silent(what: str, made: Stage, switch: str, fall_silent: Callable[[], object]) -> Figure:
    last = max(event.id for event in made.client.events())
    begun = time.time()
    fall_silent()
    return at_most("silent-peer", f"{what} noticed, s", _down_event(made, switch, last) - begun, PEER_LIMIT_S)


def _down_event(made: Stage, switch: str, last: int) -> float:
    """Unix time of the event that tells of a switch's end; infinite where none comes."""
    found: list[float] = []

    def look() -> bool:
        found.extend(e.at_s for e in made.client.events(last) if e.kind == "switch-down" and f" {switch} " in e.message)
        return bool(found)

    seconds_until(look, 30.0)
    return found[0] if found else float("inf")
