"""The rules in docs/pipeline.md are those that the compiler makes for its example, and do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from dataplane.compiler import DefaultRouting, LabelledPath, compile_rules
from dataplane.verifier import verify
from heddle.rules import told
from topologies.fabric import Fabric, Link, LinkId, Node, NodeKind

PAGE = Path(__file__).parents[2] / "docs" / "pipeline.md"

SWITCHES = [Node(name, NodeKind.SWITCH, dpid=number) for number, name in enumerate(("l1", "l2", "s1", "s2"), 1)]
HOSTS = [
    Node(f"h{leaf}{number}", NodeKind.HOST, ip=f"10.0.{leaf}.{number}", mac=f"02:00:00:00:0{leaf}:0{number}")
    for leaf in (1, 2)
    for number in (1, 2)
]
CABLES = [
    *((f"h{leaf}{number}", 1, f"l{leaf}", number) for leaf in (1, 2) for number in (1, 2)),
    *((f"l{leaf}", 2 + spine, f"s{spine}", leaf) for leaf in (1, 2) for spine in (1, 2)),
]
FABRIC = Fabric(
    tuple(SWITCHES + HOSTS),
    tuple(
        Link(*ends, capacity_bps=1e9, delay_s=1e-6)
        for a, a_port, b, b_port in CABLES
        for ends in ((a, a_port, b, b_port), (b, b_port, a, a_port))
    ),
)
PATHS = [
    LabelledPath("h11", "h21", (LinkId("h11", 1), LinkId("l1", 3), LinkId("s1", 2), LinkId("l2", 1)), 16),
    LabelledPath("h21", "h11", (LinkId("h21", 1), LinkId("l2", 3), LinkId("s1", 1), LinkId("l1", 1)), 17),
]
RULES = compile_rules(FABRIC, default=DefaultRouting.ECMP, paths=PATHS)


def test_the_page_shows_the_rules_of_a_leaf_and_of_a_spine() -> None:
    shown = re.findall(r"```text\n(.*?)\n?```", PAGE.read_text(), flags=re.DOTALL)
    assert shown == ["\n".join(told(name, RULES[name])) for name in ("l1", "s1")]


def test_they_keep_what_the_page_promises() -> None:
    report = verify(FABRIC, RULES, PATHS, failures=True, rates_bps=[9e8, 0.0])
    assert (report.pairs, report.planned, report.failures, report.unprotected) == (12, 2, 4, ())
