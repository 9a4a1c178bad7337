"""The channel's benchmark: its fake switches are taken for switches, and it says when a limit is missed."""

import asyncio
import json
from itertools import product

import numpy as np
import pytest

from benchmarks.channel import __main__ as program
from benchmarks.channel import messages as of
from benchmarks.channel.apart import Apart
from benchmarks.channel.fleet import Answers, FakeSwitch, Fleet, GoodSwitches, first_of, p99_s
from benchmarks.channel.hostile import When, attack, attempts
from benchmarks.channel.lines import Run
from benchmarks.channel.picture import draw
from benchmarks.channel.storm import rage
from benchmarks.channel.subject import daemon_under_test
from controller.testing_messages import KINDS
from topologies.errors import HeddleError

PATIENCE_S = 60.0


@pytest.fixture(params=program.FRAMEWORKS)
def framework(request):
    return request.param


def test_the_daemon_takes_the_fleet_for_switches_with_hosts(framework):
    async def play():
        async with daemon_under_test(framework) as subject, Fleet(subject.openflow) as fleet:
            good = GoodSwitches(fleet, 3)
            await good.come()
            assert await subject.connected() == {1, 2, 3}

            await good.ask(rate_hz=20, seconds=0.5)
            answers = await good.answers()
            assert len(answers.echo_s) == len(answers.arp_s) == 3 * 10
            assert np.isfinite([answers.echo_s, answers.arp_s]).all()

            first, second, _ = good.switches
            after = await subject.last_event()
            first.close()
            assert set(await subject.wait_for_events("switch-down", [1], after, PATIENCE_S)) == {1}
            assert await subject.dropped() == []

            second.send(of.message(of.FEATURES_REPLY))
            assert await first_of(second.over)
            await subject.wait_for_events("switch-down", [2], after, PATIENCE_S)
            [reason] = await subject.dropped()
            assert "switch s-0000000000000002 is disconnected" in reason
            assert good.lost() == 2
            assert subject.vitals().threads >= 1

    asyncio.run(play())


def test_cables_of_the_fleet_are_found_by_discovery(framework):
    async def play():
        async with daemon_under_test(framework) as subject, Fleet(subject.openflow) as fleet:
            fleet.cable((1, 2), (2, 1))
            await fleet.connect_all([1, 2])
            async with asyncio.timeout(PATIENCE_S):
                while len(links := await subject.links()) < 2:
                    await asyncio.sleep(0.05)
            assert {link.id for link in links} == {"s-0000000000000001:2", "s-0000000000000002:1"}

    asyncio.run(play())


def test_a_quick_run_prints_json_alone_on_either_framework(framework, capsys):
    code = program.main(["--quick", "--json", "--framework", framework, "--row", "validator-cost", "--row", "fin"])

    # How long it takes is not a matter of tests.
    assert code in (0, program.FAILED)
    lines = {(line["row"], line["what"]): line for line in json.loads(capsys.readouterr().out)["lines"]}
    assert lines["validator-cost", "Heddle's channel"]["figure"] > 0
    assert lines["validator-cost", "the framework's own"]["figure"] > 0
    assert lines["validator-cost", "switches lost"]["figure"] == 0
    assert lines["fin", "noticed after FIN, slowest"]["figure"] is not None


def test_a_missed_limit_ends_with_4_and_what_never_came_is_null(capsys):
    async def missed(run: Run) -> None:
        run.at_most("seconds", float("inf"), "s", 1.0)

    async def met(run: Run) -> None:
        run.at_most("seconds", 1.0, "s", 1.0)
        run.at_least("ratio", 0.85, "×", 0.85)
        run.told("more", 7.0, "things")

    assert program.main([], {"a row": met}) == 0
    assert program.main([], {"a row": met, "another": missed}) == program.FAILED
    assert program.main(["--row", "a row"], {"a row": met, "another": missed}) == 0
    assert "never s" in capsys.readouterr().out
    assert program.main(["--json", "--framework", "ryu"], {"another": missed}) == program.FAILED
    [line] = json.loads(capsys.readouterr().out)["lines"]
    assert (line["figure"], line["ok"], line["framework"]) == (None, False, "ryu")


def test_questions_without_an_answer_count_as_the_slowest():
    answers = Answers(np.array([0.001] * 98 + [float("inf")] * 2), np.array([]), np.array([0.0]))
    run = Run("row", "ryu", quick=True, tell=lambda _text: None)

    run.echoes("disturbed", answers, 1.0)
    run.echoes("quiet", Answers(np.linspace(0, 0.099, 100), np.array([]), np.array([0.0])), 0.099)

    assert [line.ok for line in run.lines] == [False, True]
    assert "2 without an answer" in run.lines[0].note
    assert run.lines[1].figure == pytest.approx(99)
    assert p99_s(np.array([])) == float("inf")
    [panel] = draw(run.round_trips).axes
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["echo, disturbed", "echo, quiet"]


def test_every_kind_of_message_is_broken_before_the_handshake_and_after_it():
    tried = list(attempts([1]))

    assert {(each.kind, each.when) for each in tried} >= set(product(KINDS, (When.FIRST, When.UP)))
    asked = {each.kind for each in tried if each.when is When.ASKED}
    assert {"hello", "features", "barrier", "multipart-flow", "multipart-group-description"} <= asked
    assert {each.data[0] for each in tried} == {1, 2, 3, 4, 5, 6}
    # What is sent is whole: the controller waits for no rest of it.
    assert all(int.from_bytes(each.data[2:4]) <= len(each.data) for each in tried)


def test_a_switch_reads_its_messages_however_they_are_cut():
    switch = FakeSwitch(7)
    frame = of.arp_request(1, 2)
    seen = []
    switch.answer = lambda kind, xid, whole: seen.append((kind, xid, whole)) or True
    whole = of.message(of.PACKET_OUT, bytes(40) + frame, xid=3) + of.message(of.ECHO_REQUEST, b"", xid=4)

    for byte in whole:
        switch.data_received(bytes((byte,)))

    assert [(kind, xid) for kind, xid, _ in seen] == [(of.PACKET_OUT, 3), (of.ECHO_REQUEST, 4)]
    assert seen[0][2].endswith(frame)


def test_troublemakers_in_another_process_begin_at_their_cue_and_say_how_it_ended():
    async def play():
        came = []
        server = await asyncio.start_server(lambda _reader, writer: came.append(writer), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()[:2]
        async with server, Apart(rage, address, 1.0) as storm:
            assert not came
            storm.cue()
            opened = await storm.result()
            for writer in came:
                writer.close()
        assert came
        assert opened > 0
        async with Apart(attack, address, [1]) as refused:
            refused.cue()
            with pytest.raises(HeddleError, match="ConnectionRefusedError"):
                await refused.result()

    asyncio.run(play())
