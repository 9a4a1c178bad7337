"""A switch's ports are bounded, and whoever listens late misses no loss of link."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from controller.framework import ofproto
from controller.framing import Violation
from controller.portbook import PortBook


def status(number: int, *, down: bool = False, gone: bool = False) -> Any:
    reason = ofproto.OFPPR_DELETE if gone else ofproto.OFPPR_MODIFY
    state = ofproto.OFPPS_LINK_DOWN if down else 0
    return SimpleNamespace(reason=reason, desc=SimpleNamespace(port_no=number, state=state, config=0))


def test_of_many_changes_the_first_loss_and_the_latest_state_are_told() -> None:
    book = PortBook(4)
    first, lost, again, up = status(1), status(1, down=True), status(1, gone=True), status(1)
    for each in (first, lost, again, up):
        book.add_news(each)
    assert book.take_news() == (lost, up)
    assert not book.has_news


def test_ports_are_told_of_one_at_a_time_in_the_order_in_which_they_began_to_wait() -> None:
    book = PortBook(4)
    for number in (3, 1, 3):
        book.add_news(status(number))
    assert [book.take_news()[0].desc.port_no for _ in range(2)] == [3, 1]
    assert not book.has_news


def test_a_port_that_went_leaves_its_place_to_another() -> None:
    book = PortBook(2)
    for each in (status(1), status(2), status(1, gone=True), status(3)):
        book.changed(each)
    assert sorted(book.descriptions) == [2, 3]


def test_a_switch_with_more_ports_than_allowed_is_refused() -> None:
    book = PortBook(1)
    book.described(status(1).desc)
    with pytest.raises(Violation, match="more than 1 ports"):
        book.changed(status(2))
