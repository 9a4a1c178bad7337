"""What hosts and rogue peers try on real switches fools nobody; `benchmarks.attacks` has the long versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from benchmarks.attacks import arp_takeover, discovery_probes, mac_flood, published, rogue_peers, valid_messages
from benchmarks.attacks.bridge_session import converse
from benchmarks.attacks.figures import Figure
from benchmarks.attacks.stage import SPARE, Stage, stage

FIRST_FRAMEWORK = "ryu"

RELAY_S = 3.0
SLOWER = 10.0
"""A machine may be so much slower than what limits are made for."""


@pytest.fixture(scope="module")
def made(framework: str) -> Iterator[Stage]:
    """A fabric that nobody declared, so that everything has to be found out; three of its hosts have spoken."""
    with stage(framework, declared=False) as running:
        running.acquaint("h2", "h6", "h3")
        yield running


def missed(figures: Iterable[Figure]) -> list[str]:
    """Figures that missed their limit, times ten times theirs."""
    return [
        str(figure)
        for figure in figures
        if not figure.ok and not (figure.depends_on_speed and figure.value <= SLOWER * (figure.limit or 0.0))
    ]


def test_an_address_claimed_by_another_host_stays_where_it_is(made: Stage) -> None:
    assert not missed(arp_takeover.attack(made, "arp-takeover", seconds=3.0))


def test_a_connected_switchs_dpid_is_refused_to_anybody_else(made: Stage) -> None:
    assert not missed(rogue_peers.duplicate(made, attempts=3, pause_s=0.1))


def test_hostile_messages_disconnect_no_real_switch(made: Stage) -> None:
    messages = [*published.published(), *list(published.invented())[::25]]
    assert not missed(published.attack(made, messages, [*published.frames()]))


def test_whatever_open_vswitch_says_is_accepted_and_read_as_it_is(made: Stage, framework: str) -> None:
    said = converse(made)
    verdicts = valid_messages.verdicts_on(said.messages, framework)

    assert {verdict["type"] for verdict in verdicts} >= valid_messages.KINDS
    assert {verdict["multipart"] for verdict in verdicts} >= valid_messages.MULTIPARTS
    assert [verdict for verdict in verdicts if verdict["refused"] or verdict["failed"]] == []


@pytest.mark.parametrize(
    "attack",
    [discovery_probes.forge, discovery_probes.replay, lambda made: discovery_probes.relay(made, RELAY_S)],
    ids=["forged", "replayed", "relayed"],
)
def test_probes_from_hosts_that_never_spoke_make_no_link_and_are_told(
    made: Stage, attack: Callable[[Stage], int]
) -> None:
    made.wait_settled()

    assert not missed(discovery_probes.judged(made, "lldp", attack, known=False))


def test_a_flood_of_senders_hides_no_newcomer_and_loses_no_link(made: Stage) -> None:
    assert not missed(mac_flood.attack(made, per_second=500.0, seconds=4.0, afterwards=False))


def test_a_host_that_moves_is_believed_once_its_old_place_is_silent(made: Stage) -> None:
    assert not missed([arp_takeover.move(made, "arp-takeover", SPARE, link_down=False)])
