"""What discovery finds appears under its declared names, with declared capacities, or is said to be missing."""

from controller.discovery import PortId
from controller.hosts import Host, HostTable
from controller.view import build_view, missing_notices, switch_name
from topologies.fabric import Fabric, LinkId
from topologies.fat_tree import fat_tree

DECLARED = fat_tree(4, capacity_bps=1e7, delay_s=1e-6)


def discovered(declared: Fabric):
    dpids = {node.id: node.dpid for node in declared.switches}
    cables = [
        (PortId(dpids[link.source], link.source_port), PortId(dpids[link.target], link.target_port))
        for link in declared.links
        if link.source in dpids and link.target in dpids
    ]
    return list(dpids.values()), cables


def test_a_fabric_found_as_declared_equals_the_declaration() -> None:
    dpids, cables = discovered(DECLARED)
    view = build_view(dpids, cables, HostTable(DECLARED), {}, DECLARED, 1)
    assert set(view.fabric.nodes) == set(DECLARED.nodes)
    assert set(view.fabric.links) == set(DECLARED.links)
    assert view.fabric.nodes == DECLARED.nodes
    assert view.notices == ()


def test_without_a_declaration_names_come_from_numbers_and_capacity_from_port_speed() -> None:
    a, b = PortId(1, 1), PortId(2, 1)
    host = Host("h-10.0.0.1", "10.0.0.1", "02:00:00:00:00:01", PortId(1, 2), "arp")
    view = build_view([1, 2], [(a, b), (b, a)], [host], {a: 1e9, b: 1e9}, None, 1)
    assert {node.id for node in view.fabric.nodes} == {"s-0000000000000001", "s-0000000000000002", "h-10.0.0.1"}
    link = view.fabric.link_by_id[LinkId("s-0000000000000001", 1)]
    assert (link.capacity_bps, link.id in view.assumed) == (1e9, True)
    kinds = {notice.kind for notice in view.notices}
    assert kinds == {"capacity-assumed", "capacity-unknown"}
    unknown = [notice.message for notice in view.notices if notice.kind == "capacity-unknown"]
    assert any("s-0000000000000001:2" in message for message in unknown)


def test_a_cable_in_the_wrong_port_is_reported_and_keeps_its_place() -> None:
    dpids, cables = discovered(DECLARED)
    number = {node.id: node.dpid for node in DECLARED.switches}
    e, c1, c2 = number["a0-0"], number["c1"], number["c2"]
    crossed = {
        (PortId(e, 3), PortId(c1, 1)): (PortId(e, 3), PortId(c2, 1)),
        (PortId(c1, 1), PortId(e, 3)): (PortId(c2, 1), PortId(e, 3)),
        (PortId(e, 4), PortId(c2, 1)): (PortId(e, 4), PortId(c1, 1)),
        (PortId(c2, 1), PortId(e, 4)): (PortId(c1, 1), PortId(e, 4)),
    }
    cables = [crossed.get(cable, cable) for cable in cables]
    view = build_view(dpids, cables, [], {}, DECLARED, 1)
    messages = [notice.message for notice in view.notices if notice.kind == "miscabled"]
    assert len(messages) == 4
    assert any("a0-0:3 is declared to lead to c1:1 but leads to c2:1" in message for message in messages)
    assert view.fabric.link_by_id[LinkId("a0-0", 3)].target == "c2"


def test_names_of_switches() -> None:
    assert switch_name(0x30001, DECLARED) == "c1"
    assert switch_name(0xAB, None) == "s-00000000000000ab"


def test_what_is_declared_and_not_there_is_said_once_for_each_switch_and_cable() -> None:
    lost = [link.id for link in DECLARED.links if "c1" in (link.source, link.target)]
    cable = DECLARED.link_by_id[LinkId("a0-0", 4)]
    there = DECLARED.without_links([*lost, cable.id, cable.reverse_id])
    fabric = Fabric(tuple(node for node in there.nodes if node.id != "c1"), there.links)
    assert [notice.message for notice in missing_notices(fabric, DECLARED)] == [
        "switch c1 is declared but has not connected",
        f"the cable a0-0:4 – {cable.reverse_id} is declared but was not found",
    ]
    assert missing_notices(DECLARED, DECLARED) == ()
