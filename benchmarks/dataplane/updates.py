"""Plan changes one after another while numbered packets and a TCP stream run: each moves both to other links."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from benchmarks.dataplane.cases import Case, Setting, exactly, told
from benchmarks.dataplane.probes import Tcp, Udp
from benchmarks.dataplane.stage import CAPACITY_BPS, PAIRS, Stage, median, seconds_until, stage
from mininet_scenarios.machine import CpuTime
from topologies.fabric import LinkId

ROW = "updates"
_CHANGES, _QUICK_CHANGES = 100, 10
_WARM_S = 2.0
_AFTER_S = 1.0
_CHANGED_S = 20.0
_TCP_SHARE = 0.5


def row(setting: Setting) -> Iterator[Case]:
    """The changes, then as long without any."""
    changes = _QUICK_CHANGES if setting.quick else _CHANGES
    with stage(setting.framework) as made:
        moves = [0, 0]
        took_s: list[float] = []

        def change() -> None:
            for _ in range(changes):
                begun_s = time.monotonic()
                moved = move_both(made)
                took_s.append(time.monotonic() - begun_s)
                moves[0], moves[1] = moves[0] + moved[0], moves[1] + moved[1]

        begun_s = time.monotonic()
        yield from _traffic(made, f"{changes} plan changes", change)
        lasted_s = time.monotonic() - begun_s
        yield exactly(ROW, "changes that moved the UDP pair", moves[0], changes)
        yield exactly(ROW, "changes that moved the TCP pair", moves[1], changes)
        yield told(ROW, "from the request to the active plan", f"{median(took_s):.3f} s, worst {max(took_s):.3f} s")
        pause_s = lasted_s - _WARM_S - _AFTER_S
        yield from _traffic(made, f"control, {pause_s:.0f} s without changes", lambda: time.sleep(pause_s))


def move_both(made: Stage) -> tuple[bool, bool]:
    """Cordon a link under each planned pair in place of those before, and wait for the new plan.

    Returns
    -------
    (bool, bool)
        Whether each pair is on other links now, and off the cordoned ones.
    """
    before = [made.hops(*pair) for pair in PAIRS]
    wanted = ask_to_move(made)

    def is_moved() -> bool:
        hops = [made.hops(*pair) for pair in PAIRS]
        return not any(link in mine for link, mine in zip(wanted, hops, strict=True))

    seconds_until(is_moved, _CHANGED_S)
    made.wait_active()
    after = [made.hops(*pair) for pair in PAIRS]
    first, second = (old != new and link not in new for old, new, link in zip(before, after, wanted, strict=True))
    return first, second


def ask_to_move(made: Stage) -> list[LinkId]:
    """Cordon a link under each planned pair in place of those before; which they are."""
    # The link up to the core: the pods have four ways between them.
    wanted = [made.hops(*pair)[1] for pair in PAIRS]
    former = {link for link in made.client.change_cordons() if LinkId.parse(link) not in wanted}
    made.client.change_cordons([str(link) for link in wanted], former)
    return wanted


def _traffic(made: Stage, case: str, meanwhile: Callable[[], object]) -> Iterator[Case]:
    rate_bps = _TCP_SHARE * CAPACITY_BPS
    cpu = CpuTime.now()
    with Udp(made.cluster, *PAIRS[0]) as udp, Tcp(made.cluster, *PAIRS[1], rate_bps) as tcp:
        time.sleep(_WARM_S)
        meanwhile()
        time.sleep(_AFTER_S)
    loss = udp.loss()
    yield exactly(ROW, f"{case}: UDP packets lost", loss.lost, 0, "", f"of {loss.sent}")
    yield exactly(ROW, f"{case}: UDP packets duplicated", loss.twice, 0, "", f"{loss.late} came late")
    yield exactly(ROW, f"{case}: TCP segments lost", tcp.lost, 0, "", str(tcp))
    yield exactly(ROW, f"{case}: TCP segments duplicated", tcp.twice, 0)
    yield exactly(ROW, f"{case}: dropped by the receiver's own socket", udp.ended["dropped_by_socket"], 0)
    yield told(
        ROW, f"{case}: sender's worst delay",
        f"{udp.ended['most_late_ms']:.1f} ms; processors idle {CpuTime.now().idle_share_since(cpu):.0%}",
    )  # fmt: skip
