"""The daemon's state in the Prometheus text format, version 0.0.4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from controller.service import JobState, Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(service: Service) -> str:
    """All metrics."""
    jobs = Counter(status.state for status in service.jobs())
    plan = service.plan()
    links = service.links()
    probing = service.probing()
    families = (
        _family("heddle_ready", "gauge", "1 once the daemon carries traffic as asked.",
                [({}, float(service.readiness().ready))]),
        _family("heddle_switch_up", "gauge", "1 while the switch is connected.",
                [({"switch": switch.id}, float(switch.connected)) for switch in service.switches()]),
        _family("heddle_hosts", "gauge", "Hosts known.", [({}, float(len(service.hosts())))]),
        _family("heddle_jobs", "gauge", "Jobs by state.",
                [({"state": state}, float(jobs[state])) for state in JobState]),
        _family("heddle_link_capacity_bits_per_second", "gauge", "Capacity of the directed link.",
                [({"link": str(link.source)}, link.capacity_bps) for link in links if link.capacity_bps is not None]),
        _family("heddle_link_load_bits_per_second", "gauge", "Load of the directed link, from port counters.",
                [({"link": str(link.source)}, link.load_bps) for link in links if link.load_bps is not None]),
        _family("heddle_probed_fabric_ports", "gauge", "Ports probed as ends of links.",
                [({}, float(probing.ports))]),
        _family("heddle_silent_link_noticed_seconds", "gauge",
                "After how long a link that carries nothing, while its ports keep link, is noticed at the latest.",
                [({}, probing.noticed_s)]),
        _family("heddle_plan_epoch", "gauge", "Number of the active plan, 0 without one.",
                [({}, float(plan.epoch) if plan is not None else 0.0)]),
        _family("heddle_plan_paths", "gauge", "Paths of the active plan.",
                [({}, float(len(plan.paths)) if plan is not None else 0.0)]),
        _family("heddle_tls_certificate_expiry_timestamp_seconds", "gauge",
                "When the certificate for TLS to switches expires, and the authority's, in Unix time.",
                [({"which": which}, until_s) for which, until_s in service.certificate_expiries().items()]),
        _family("heddle_events_total", "counter", "What happened since the start, by kind.",
                [({"kind": kind}, float(count)) for kind, count in sorted(service.counters().items())]),
    )  # fmt: skip
    return "".join(families)


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escape(label)}"' for key, label in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
