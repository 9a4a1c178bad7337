"""A host claims another's address and MAC while that one lives: nothing reaches it. A true move is believed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from benchmarks.attacks.figures import Figure, at_least, at_most, told
from benchmarks.attacks.stage import SPARE, Stage, seconds_until, stage
from benchmarks.attacks.watch import Watch, pings
from workloads.headers import ARP_REPLY, ARP_REQUEST, Arp, write_arp

IPV4 = 0x0800
CLIENT, VICTIM, THIEF = "h2", "h6", "h3"
BROADCAST, NOBODY = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
MOVED_LIMIT_S = 5.0
_ROUND_S = 0.05


def row(framework: str) -> Iterator[Figure]:
    """Declared or not; then hosts that move, and hosts whose place others take."""
    for declared in (True, False):
        name = f"arp-takeover ({'declared' if declared else 'undeclared'})"
        for link_down in (False, True):
            with stage(framework, declared=declared) as made:
                made.acquaint(CLIENT, VICTIM, THIEF)
                if not link_down:
                    yield from attack(made, name)
                yield move(made, name, SPARE, link_down=link_down)
    for taker, keeps_mac in ((THIEF, True), (THIEF, False), (SPARE, False)):
        with stage(framework, declared=False) as made:
            made.acquaint(CLIENT, VICTIM, THIEF)
            yield move(made, "arp-takeover (undeclared)", taker, link_down=False, keeps_mac=keeps_mac)


def attack(made: Stage, name: str, seconds: float = 10.0) -> Iterator[Figure]:
    """Claim, again and again, while the client pings the victim."""
    victim, rounds = (made.ip(VICTIM), made.mac(VICTIM)), 0
    claims = claim_frames(made)
    with Watch(made) as watch, made.tap(THIEF, IPV4) as tap:
        with pings(made, (CLIENT, VICTIM)) as result:
            begun_s = time.monotonic()
            while time.monotonic() - begun_s < seconds:
                tap.send(*claims)
                rounds += 1
                time.sleep(_ROUND_S)
        time.sleep(0.2)
        events, counted = _alarms(watch.new_events()), _alarms(watch.counted())
        stolen = sum(frame[30:34] == bytes(map(int, victim[0].split("."))) for _, frame in tap.frames)
        believed = {(host.ip, host.mac, str(host.attached_to)) for host in made.client.hosts() if host.ip == victim[0]}
    right = (*victim, f"{made.name('l2')}:2")
    yield told(name, "claims sent", rounds * len(claims))
    yield at_most(name, "pings to the victim lost", result[1], 0, f"of {result[0]}")
    yield at_most(name, "packets that reached the thief", stolen, 0)
    yield at_most(name, "links or switches lost", watch.losses(), 0)
    yield at_most(name, "the victim's entry is wrong", float(believed != {right}), 0, str(sorted(believed)))
    yield at_least(name, "events", events.total(), 1, str(dict(events)))
    yield at_least(name, "counted", counted.total(), 1, str(dict(counted)))


def claim_frames(made: Stage) -> list[bytes]:
    """The victim's address with the thief's MAC, and the victim's MAC, as questions, answers and gratuitous ARP."""
    own, mac, ip = made.mac(THIEF), made.mac(VICTIM), made.ip(VICTIM)
    client_mac, client_ip = made.mac(CLIENT), made.ip(CLIENT)
    return [
        write_arp(Arp(ARP_REQUEST, own, ip, NOBODY, ip), BROADCAST),
        write_arp(Arp(ARP_REPLY, own, ip, BROADCAST, ip), BROADCAST),
        write_arp(Arp(ARP_REPLY, own, ip, client_mac, client_ip), client_mac),
        write_arp(Arp(ARP_REQUEST, own, ip, NOBODY, client_ip), BROADCAST),
        write_arp(Arp(ARP_REQUEST, mac, ip, NOBODY, ip), BROADCAST),
        write_arp(Arp(ARP_REPLY, mac, ip, client_mac, client_ip), client_mac),
        write_arp(Arp(ARP_REQUEST, mac, made.ip(THIEF), NOBODY, client_ip), BROADCAST),
    ]


def move(made: Stage, name: str, taker: str, *, link_down: bool, keeps_mac: bool = True) -> Figure:
    """The victim goes silent, and its address turns up at another port, where it speaks first.

    Parameters
    ----------
    taker : str
        Whose card has the address then, and no other any more.
    keeps_mac : bool
        Whether the MAC comes with it, as when a machine is carried elsewhere; else another machine serves in its place.
    """
    ip, device, old = made.ip(VICTIM), made.device(taker), made.device(VICTIM)
    made.run_in(VICTIM, "sh", "-c", f"ip link set {old} down" if link_down else f"ip addr flush dev {old}")
    mac = f"ip link set {device} address {made.mac(VICTIM)} && " if keeps_mac else ""
    made.run_in(taker, "sh", "-c", f"ip addr flush dev {device} && {mac}ip addr add {ip}/8 dev {device}")
    # It asks once a second, as any host does that wants to talk.
    speaking = made.cluster.start_in(taker, "ping", "-n", "-q", "-i", "0.2", made.ip(CLIENT), stdout=-3)
    try:
        took_s = seconds_until(lambda: made.reaches(CLIENT, ip, 0.2), 30.0)
    finally:
        speaking.terminate()
        speaking.wait()
    how = "link down" if link_down else "silence"
    where = "a spare's port" if taker == SPARE else "a known host's port"
    return at_most(name, f"{'moved' if keeps_mac else 'replaced'} to {where} after {how}, s", took_s, MOVED_LIMIT_S)


def _alarms(counts: Counter[str]) -> Counter[str]:
    return Counter({kind: count for kind, count in counts.items() if kind.startswith(("host-", "arp-"))})
