"""In whatever order losses, flaps, reconnects, relays and repeats come: no link but true cables, and all of these."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from probe_wires import TICK_S, Wires

from controller.cabling import SETTLED_S
from controller.discovery import PortId
from controller.service import PortRole

SWITCHES = (1, 2, 3)
CABLES = [
    (PortId(1, 1), PortId(2, 1)),
    (PortId(1, 2), PortId(2, 2)),
    (PortId(2, 3), PortId(3, 1)),
    (PortId(1, 3), PortId(3, 2)),
]
HOSTS = [PortId(dpid, port) for dpid in SWITCHES for port in (8, 9)]
CABLE_PORTS = [port for cable in CABLES for port in cable]
TRUE = {pair for a, b in CABLES for pair in ((a, b), (b, a))}
DECLARED: dict[PortId, PortId | None] = {**dict(TRUE), **dict.fromkeys(HOSTS)}


@dataclass(frozen=True)
class Step:
    """Something that happens, and how long discovery then runs."""

    what: str
    which: int
    seconds: float


steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(
            ["lose", "heal", "flap cable", "flap host", "reconnect", "forget", "relay", "rest", "speak", "stall"]
        ),
        which=st.integers(0, 11),
        seconds=st.sampled_from([0.0, TICK_S, 0.3, 1.0, 3.0, 12.0]),
    ),
    max_size=25,
)


class Life(Wires):
    """A small fabric to which things happen, with hosts that keep, repeat and pass on what they receive."""

    def __init__(self, declared: dict[PortId, PortId | None] | None, seed: int) -> None:
        super().__init__(CABLES, declared=declared)
        self._random = Random(seed)
        self._caught: list[bytes] = []
        self.relaying = False
        self.copies = self.reach_host
        for dpid in SWITCHES:
            self.up(*self.ports(dpid))

    def ports(self, dpid: int) -> list[PortId]:
        return [port for port in (*CABLE_PORTS, *HOSTS) if port.dpid == dpid]

    def reach_host(self, port: PortId, frame: bytes) -> None:
        if port not in HOSTS:
            return
        self._caught.append(frame)
        if self.relaying:
            for _ in range(2):
                self.arrive(self._random.choice(HOSTS), frame, self._random.random())
            self.arrive(self._random.choice(HOSTS), self._random.choice(self._caught))

    def happen(self, step: Step, *, relaying_stops: bool) -> None:
        """Carry a step out.

        Parameters
        ----------
        relaying_stops : bool
            Hosts are taken to be hosts before they pass anything on, and again when their ports are looked at anew.
        """
        cable, host, dpid = (
            CABLES[step.which % len(CABLES)],
            HOSTS[step.which % len(HOSTS)],
            SWITCHES[step.which % len(SWITCHES)],
        )
        rest = False
        match step.what:
            case "lose":
                self.lost |= set(cable[: 1 + step.which % 2])
            case "heal":
                self.lost -= set(cable)
            case "flap cable":
                self.flap(*cable)
            case "flap host":
                self.flap(host)
                rest = relaying_stops
            case "reconnect" | "forget":
                self.discovery.switch_gone(dpid)
                self.run(step.seconds)
                if step.what == "forget":
                    while self.discovery.port_count(dpid):
                        assert len(self.discovery.forget_switch(dpid, 1)) == 1
                self.up(*self.ports(dpid))
                rest = relaying_stops
            case "relay":
                self.relaying = True
            case "rest":
                self.relaying = False
            case "speak":
                self.hosts[host] = self.now_s
            case "stall":
                self.stalled ^= {dpid}
        if rest:
            relaying, self.relaying = self.relaying, False
            self.run(SETTLED_S + 2.0)
            self.relaying = relaying
        self.run(step.seconds, self.check)

    def check(self) -> None:
        assert self.cables <= TRUE
        edges = {port for port in (*CABLE_PORTS, *HOSTS) if self.discovery.role(port) is PortRole.EDGE}
        assert edges == {
            PortId(dpid, number) for dpid, ports in self.discovery.edge_ports().items() for number in ports
        }

    def come_to_rest(self) -> None:
        """All cables live, and those that operators are told to take down and up again were."""
        self.lost.clear()
        self.stalled.clear()
        before = len(self.changes)
        self.run(5.0)
        for cable in CABLES:
            if not set(cable) <= {port for pair in self.cables for port in pair}:
                told = [c.message for c in self.changes[before:] if c.kind in ("lldp-relayed", "port-conflict")]
                assert any(all(str(port) in message for port in cable) for message in told)
                self.flap(*cable)
        self.run(5.0)
        assert self.cables == TRUE


@settings(deadline=None)
@given(steps, st.integers(0, 1000))
def test_with_a_declaration_the_links_are_the_true_cables_whatever_hosts_do_and_when(
    happening: list[Step], seed: int
) -> None:
    life = Life(DECLARED, seed)
    for step in happening:
        life.happen(step, relaying_stops=False)
    life.come_to_rest()


@settings(deadline=None)
@given(steps, st.integers(0, 1000))
def test_without_one_they_are_as_long_as_hosts_do_not_pose_as_cables_from_the_first_moment(
    happening: list[Step], seed: int
) -> None:
    life = Life(None, seed)
    life.run(SETTLED_S + 2.0)
    for step in happening:
        life.happen(step, relaying_stops=True)
    life.come_to_rest()


@settings(deadline=None)
@given(steps)
def test_no_living_link_is_lost_but_to_what_happens_to_it(happening: list[Step]) -> None:
    life = Life(DECLARED, 1)
    life.run(2.0)
    harmless = ("flap host", "reconnect", "relay", "rest", "speak", "stall")
    for step in happening:
        if step.what in harmless:
            life.happen(step, relaying_stops=False)
            assert life.cables == TRUE
