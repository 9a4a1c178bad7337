"""``heddle rules``: what is in the switches' tables, for people or as a rules file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controller.client import DEFAULT_URL, Client
from dataplane.files import in_order, rules_to_json
from dataplane.rules import (
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    AnyMeter,
    FlowRule,
    Group,
    GroupType,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    SetLabel,
    SwitchRules,
    Table,
    ToGroup,
)
from heddle.output import amount, print_json

_NAMED_PORTS = {PORT_CONTROLLER: "to the controller", PORT_IN_PORT: "back"}


def show_rules(url: str | None, switch: str | None, *, as_json: bool) -> None:
    """Print the rules of one switch, or of all that are connected."""
    with Client(url or DEFAULT_URL) as client:
        rules = client.rules(switch)
    if as_json:
        print_json(rules_to_json(rules))
        return
    if not rules:
        print("No switch is connected.")
    for name in sorted(rules):
        for line in told(name, rules[name]):
            print(line)


def told(name: str, rules: SwitchRules) -> Iterator[str]:
    """The tables of a switch, as a packet meets them."""
    yield f"{name}: {len(rules.flows)} flows, {len(rules.groups)} groups, {len(rules.meters)} meters"
    flows = in_order(rules.flows)
    for table in Table:
        inside = [flow for flow in flows if flow.table is table]
        if inside:
            yield f"  table {table.value}, {table.name.lower()}"
            width = max(len(str(flow.match)) for flow in inside)
            for flow in inside:
                yield f"  {flow.priority:>5}  {flow.match!s:<{width}}  {_does(flow)}"
    if rules.groups:
        yield "  groups"
        for group in sorted(rules.groups, key=lambda group: group.id):
            yield f"    {group.id:#x}  {_chooses(group)}"
    if rules.meters:
        yield "  meters"
        for meter in sorted(rules.meters, key=lambda meter: meter.id):
            yield f"    {meter.id:#x}  {_lets_through(meter)}"


def _does(flow: FlowRule) -> str:
    words = [f"meter {flow.meter_id:#x}"] if flow.meter_id is not None else []
    words += map(_word, flow.actions)
    if flow.goto is not None:
        words.append(f"go to {flow.goto.name.lower()}")
    return ", ".join(words) if flow.actions or flow.goto is not None else ", ".join([*words, "drop"])


def _word(action: Action) -> str:
    match action:
        case Output(port):
            return _NAMED_PORTS.get(port, f"port {port}")
        case ToGroup(group_id):
            return f"group {group_id:#x}"
        case PushLabel(label):
            return f"push label {label}"
        case SetLabel(label):
            return f"set label {label}"
        case PopLabel(eth_type):
            return f"pop label, 0x{eth_type:04x} below"


def _chooses(group: Group) -> str:
    weights: Counter[str] = Counter()
    for bucket in group.buckets:
        watched = f" while {bucket.watch_port} is up" if bucket.watch_port is not None else ""
        weights[", ".join(map(_word, bucket.actions)) + watched] += bucket.weight
    if group.type is GroupType.FAST_FAILOVER:
        return "first that lives: " + "; else ".join(weights)
    return "by hash: " + "; ".join(f"{weight} of {weights.total()} {words}" for words, weight in weights.items())


def _lets_through(meter: AnyMeter) -> str:
    if isinstance(meter, Meter):
        return f"{meter.rate_pps} packets/s, bursts of {meter.burst_packets}"
    return f"{amount(meter.rate_kbps * 1e3, 'bit/s')}, bursts of {amount(meter.burst_kbit * 1e3, 'bit')}"
