"""Rules and plans as files: what is written is read back, and what is wrong is said by file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.compiler import DefaultRouting, compile_rules
from dataplane.files import RulesFile, read_plan, read_rules, rules_of, rules_to_json
from dataplane.planned import LabelledPath
from dataplane.rules import (
    ETH_TYPE_IPV4,
    IP_PROTO_UDP,
    PORT_CONTROLLER,
    FlowRule,
    Masked,
    Match,
    Meter,
    Output,
    RateCap,
    Role,
    SwitchRules,
    Table,
)
from dataplane.testing import labelled_paths, mutated
from solver.testing import fabrics
from topologies.errors import InputError
from topologies.fabric import LinkId

FLOW: dict[str, Any] = {"table": "default", "priority": 5, "match": {"in_port": 1}, "actions": [{"output": 2}]}


def file_with(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(content))
    return path


def switch_with(**kinds: object) -> dict[str, Any]:
    return {"switches": [{"id": "s1", **kinds}]}


@given(st.data())
@settings(max_examples=60)
def test_rules_that_were_written_are_read_as_they_were(data: st.DataObject) -> None:
    fabric = data.draw(fabrics(max_switches=5, max_hosts=4))
    rules = compile_rules(fabric, default=DefaultRouting.ECMP, paths=data.draw(labelled_paths(fabric)))
    if rules:
        rules = data.draw(mutated(rules))
    content = json.loads(json.dumps(rules_to_json(rules)))
    assert rules_of(RulesFile.model_validate(content), "rules.json") == rules
    assert rules_to_json(rules) == content


def test_masked_ports_caps_and_the_controller_are_written_as_words(tmp_path: Path) -> None:
    udp = Match(eth_type=ETH_TYPE_IPV4, ip_proto=IP_PROTO_UDP, udp_src=Masked(1, 3), udp_dst=4791)
    rule = FlowRule(Table.CLASSIFY, 7, udp, (Output(PORT_CONTROLLER),), meter_id=9, role=Role.DETOUR)
    rules = {"s1": SwitchRules(frozenset({rule}), meters=frozenset({RateCap(9, 1000, 100), Meter(8, 5, 5)}))}
    content = rules_to_json(rules)
    assert content["switches"][0]["flows"] == [
        {
            "table": "classify",
            "priority": 7,
            "match": {"eth_type": 2048, "ip_proto": 17, "udp_src": "0x0001/0x0003", "udp_dst": 4791},
            "meter": 9,
            "actions": [{"output": "controller"}],
            "role": "detour",
        }
    ]
    assert read_rules(file_with(tmp_path, content)) == rules


def test_packets_meet_flows_in_the_order_of_the_file() -> None:
    flows = {FlowRule(table, priority, Match()) for table in Table for priority in (0, 10, 9)}
    written = rules_to_json({"s1": SwitchRules(frozenset(flows))})["switches"][0]["flows"]
    met = [(Table[flow["table"].upper()], -flow["priority"]) for flow in written]
    assert met == sorted(met)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"switch": []}, r"unknown key 'switch' \(did you mean 'switches'\?\)"),
        ({"switches": [{"id": "s1"}, {"id": "s1"}]}, "switch 's1' is here twice; remove one"),
        (
            switch_with(flows=[{**FLOW, "prio": 3}]),
            r"unknown key 'switches\[0\].flows\[0\].prio' .*known keys: actions",
        ),
        (switch_with(flows=[{**FLOW, "match": {"ip_dst": "1.2.3.4"}}]), r"match.ip_dst' \(did you mean 'ipv4_dst'\?\)"),
        (switch_with(flows=[{**FLOW, "table": "4"}]), r"flows\[0\].table: input should be 'guard', 'classify'"),
        (switch_with(flows=[{**FLOW, "priority": "5"}]), r"flows\[0\].priority: input should be a valid integer"),
        (switch_with(flows=[{**FLOW, "actions": [{}]}]), r"actions\[0\]: an action is exactly one of output, group"),
        (switch_with(flows=[{**FLOW, "actions": [{"output": 1, "group": 2}]}]), "an action is exactly one of"),
        (switch_with(flows=[{**FLOW, "match": {"udp_src": "1/3"}}]), "match.udp_src"),
        (switch_with(groups=[{"id": 1, "type": "all", "buckets": []}]), "input should be 'select' or 'fast-failover'"),
        (switch_with(groups=[{"id": 1, "type": "select", "buckets": []}] * 2), "group 1 of switch 's1' is here twice"),
        (switch_with(meters=[{"id": 1, "rate_pps": 5}]), "a meter has rate_pps and burst_packets, or rate_kbps"),
    ],
)
def test_what_is_no_rule_is_said_with_its_place(tmp_path: Path, content: object, complaint: str) -> None:
    with pytest.raises(InputError, match=rf"rules.json: .*{complaint}"):
        read_rules(file_with(tmp_path, content))


def test_a_plan_is_read_as_the_daemon_tells_it(tmp_path: Path) -> None:
    path = {"job": "j", "source": "h1", "target": "h2", "label": 16, "links": ["h1:1", "s1:2"], "rate_bps": 5e6}
    plan = file_with(tmp_path, {"epoch": 3, "objective": "min-delay", "paths": [{**path, "share": 1.0}]})
    links = (LinkId("h1", 1), LinkId("s1", 2))
    assert read_plan(plan) == ([LabelledPath("h1", "h2", links, 16)], [5e6])


def test_a_plan_with_a_link_that_is_none_is_refused(tmp_path: Path) -> None:
    plan = file_with(tmp_path, {"paths": [{"source": "h1", "target": "h2", "label": 16, "links": ["h1"]}]})
    with pytest.raises(InputError, match=r"rules.json: path h1 → h2: "):
        read_plan(plan)
