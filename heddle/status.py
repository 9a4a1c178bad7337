"""``heddle status``: how a running daemon is, on one screen."""

from __future__ import annotations

from collections import Counter

from controller.client import DEFAULT_URL, Client
from heddle.output import percent, print_json, rate


def show_status(url: str | None, *, as_json: bool) -> None:
    """Print readiness, sizes, jobs, the plan with its proof, and the busiest link."""
    with Client(url or DEFAULT_URL) as client:
        readiness, switches, hosts = client.ready(), client.switches(), client.hosts()
        links, jobs, plan = client.links(), client.jobs(), client.plan()
    connected = sum(switch.connected for switch in switches)
    states = Counter(str(job.state) for job in jobs)
    loaded = [link for link in links if link.utilisation is not None]
    busiest = max(loaded, key=lambda link: link.utilisation or 0.0, default=None)
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
    if plan is None:
        print("plan      none: default routing carries everything")
        return
    print(
        f"plan      number {plan.epoch}, {plan.objective} by {plan.engine}: {len(plan.paths)} paths, "
        f"{percent(plan.share)} of line rate each, worst link {percent(plan.worst_link_utilisation)}"
    )
    print(f"proof     value {plan.value:.6g}, bound {plan.bound:.6g}, gap {plan.gap:.2g}")
