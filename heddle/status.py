"""``heddle status``: how a running daemon is, on one screen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from controller.api_models import EventInfo
from controller.client import DEFAULT_URL, Client
from heddle.events import clock
from heddle.output import percent, print_json, rate

RECENT_S = 600.0
_CHANNEL = "channel-"
_NO_REFUSALS = frozenset({
    "accepted", "broken", "closed", "closed-by-switch", "internal", "packet-portless", "packet-shed", "send-queue",
    "silent", "unasked-reply", "uncertain", "up",
})  # fmt: skip
"""What the channel counts besides connections that it refused, or ended because the peer broke its rules."""


def show_status(url: str | None, *, as_json: bool) -> None:
    """Print readiness, sizes, jobs, the plan with its proof, the busiest link, and what was refused or is amiss."""
    with Client(url or DEFAULT_URL) as client:
        readiness, switches, hosts = client.ready(), client.switches(), client.hosts()
        links, jobs, plan = client.links(), client.jobs(), client.plan()
        events, counts = client.events(), client.counters()
    connected = sum(switch.connected for switch in switches)
    states = Counter(str(job.state) for job in jobs)
    loaded = [link for link in links if link.utilisation is not None]
    busiest = max(loaded, key=lambda link: link.utilisation or 0.0, default=None)
    refused = {kind.removeprefix(_CHANNEL): count for kind, count in counts.items() if count and _is_refusal(kind)}
    last = next((event for event in reversed(events) if refused and _is_refusal(event.kind)), None)
    recent = [event for event in events if event.warning and event.at_s >= time.time() - RECENT_S]
    if as_json:
        print_json(
            {
                "ready": readiness.ready,
                "reason": readiness.reason,
                "switches": {"connected": connected, "known": len(switches)},
                "hosts": len(hosts),
                "links": len(links),
                "jobs": dict(states),
                "plan": plan.model_dump(mode="json", exclude={"paths"}) if plan is not None else None,
                "busiest_link": busiest.model_dump(mode="json") if busiest is not None else None,
                "refused": {
                    "connections": sum(refused.values()),
                    "by_reason": refused,
                    "last": last.model_dump(mode="json") if last is not None else None,
                },
                "warnings": {"within_s": RECENT_S, "events": len(recent), "by_kind": _by_kind(recent)},
            }
        )
        return
    print(f"ready     {'yes' if readiness.ready else 'no: ' + readiness.reason}")
    print(f"switches  {connected} connected of {len(switches)}")
    print(f"hosts     {len(hosts)}")
    print(f"links     {len(links)} directed")
    if busiest is not None:
        print(
            f"busiest   {busiest.id} carries {rate(busiest.load_bps)}, {percent(busiest.utilisation)} of its capacity"
        )
    print(f"jobs      {', '.join(f'{count} {state}' for state, count in sorted(states.items())) or 'none'}")
    print(f"refused   {_refusals(refused, last)}")
    print(f"events    {_warnings(recent)}")
    if plan is None:
        print("plan      none: default routing carries everything")
        return
    print(
        f"plan      number {plan.epoch}, {plan.objective} by {plan.engine}: {len(plan.paths)} paths, "
        f"{percent(plan.share)} of line rate each, worst link {percent(plan.worst_link_utilisation)}"
    )
    print(f"proof     value {plan.value:.6g}, bound {plan.bound:.6g}, gap {plan.gap:.2g}")


def _is_refusal(kind: str) -> bool:
    return kind.startswith(_CHANNEL) and kind.removeprefix(_CHANNEL) not in _NO_REFUSALS


def _by_kind(events: Sequence[EventInfo]) -> dict[str, int]:
    return dict(Counter(event.kind for event in events).most_common())


def _refusals(by_reason: Mapping[str, int], last: EventInfo | None) -> str:
    if not by_reason:
        return "no connection since the daemon's start"
    number = sum(by_reason.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(by_reason.items(), key=lambda item: -item[1]))
    told = f"; last {clock(last.at_s)}, {last.kind}: {last.message}" if last is not None else ""
    return f"{number} connection{'s' if number > 1 else ''} since the daemon's start ({reasons}){told}"


def _warnings(recent: Sequence[EventInfo]) -> str:
    if not recent:
        return f"no warning in the last {RECENT_S / 60:g} min"
    kinds = ", ".join(f"{count} {kind}" for kind, count in _by_kind(recent).items())
    plural = "s" if len(recent) > 1 else ""
    return f"{len(recent)} warning{plural} in the last {RECENT_S / 60:g} min ({kinds}); see 'heddle events'"
