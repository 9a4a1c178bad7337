"""What is legal passes and is read by both frameworks; what was published against them, and all like it, is refused."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import time
import tomllib
import warnings
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.judging import taken
from benchmarks.mutations import mutated
from controller import framework
from controller.checking import check_message, hide_nicira_actions
from controller.framing import MessageType, Phase, Violation, check_header, check_hello, multipart, read_header
from controller.testing_messages import FRAGMENTED, KINDS, Sample, broken, parts, sample
from workloads.headers import Headers, Unreadable, read_headers

HOSTILE = Path(__file__).parent / "hostile"
INPUTS = {each["name"]: each for each in tomllib.loads((HOSTILE / "inputs.toml").read_text())["input"]}
MESSAGES = {name for name, each in INPUTS.items() if each["kind"] == "message"}
LEGAL = {name for name, each in INPUTS.items() if each.get("legal")}
PUBLISHED = {
    *(f"https://nvd.nist.gov/vuln/detail/CVE-2024-{number}" for number in (28732, 34483, 34484, 34486, 34487, 34488)),
    *(f"https://nvd.nist.gov/vuln/detail/CVE-{number}" for number in ("2024-34489", "2020-35139", "2020-35141")),
    *(f"https://github.com/faucetsdn/ryu/issues/{number}" for number in (118, 130, *range(188, 197))),
}
# The longest legal message takes some milliseconds.
FAR_TOO_SLOW_S = 1.0

with warnings.catch_warnings():
    # Both at once, whichever the daemon would take; `framework` has chosen their hub before.
    warnings.simplefilter("ignore")
    PARSERS = [
        (
            importlib.import_module(f"{package}.ofproto.ofproto_v1_3_parser"),
            importlib.import_module(f"{package}.ofproto.ofproto_protocol").ProtocolDesc(framework.OFP_VERSION),
        )
        for package in ("ryu", "os_ken")
        if importlib.util.find_spec(package)
    ]
seeds = st.integers(0, 2**64 - 1)


def hostile(name: str) -> bytes:
    return bytes.fromhex("".join(INPUTS[name]["bytes"].split()))


def refused(message: bytes, *, hide: bool = True) -> bool:
    try:
        return taken(message, hide=hide) is None
    except Violation:
        return True


def read(message: bytes) -> list[Any]:
    """The message as each framework reads it."""
    return [parser.msg_parser(switch, *read_header(message), message) for parser, switch in PARSERS]


# ── what is legal ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds)
@settings(max_examples=50)
def test_a_legal_message_is_accepted_and_read_by_both_frameworks(kind: str, seed: int):
    legal = sample(kind, Random(seed))

    check_message(legal.message)
    if kind == "hello":
        check_hello(legal.message)
    else:
        assert taken(legal.message) == hide_nicira_actions(legal.message)
        elements = check_message(legal.message)
        for message in read(legal.message):
            assert message.xid == read_header(legal.message).xid
            if kind in FRAGMENTED:
                assert len(message.body) == elements


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds)
@settings(max_examples=20)
def test_a_sample_names_its_lengths_as_they_stand_in_the_message(kind: str, seed: int):
    legal = sample(kind, Random(seed))

    assert legal.lengths[0].name == "header"
    assert legal.lengths[0].value == len(legal.message)
    for field in legal.lengths:
        written = legal.message[field.offset : field.offset + field.width_bytes]
        assert int.from_bytes(written) == field.value
        assert field.least <= field.value <= field.most


@given(seed=seeds, kind=st.sampled_from(FRAGMENTED), count=st.integers(1, 5))
def test_a_legal_reply_in_parts_is_accepted_part_by_part(seed: int, kind: str, count: int):
    reply = parts(kind, Random(seed), count)

    assert [multipart(part.message)[1] for part in reply] == [True] * (count - 1) + [False]
    assert len({read_header(part.message).xid for part in reply}) == 1
    for part in reply:
        assert taken(part.message) == hide_nicira_actions(part.message)
        read(part.message)


def test_every_type_that_a_switch_sends_and_every_kind_of_multipart_reply_has_samples():
    requests = {kind for kind in MessageType if kind.name.endswith("_REQUEST")} - {MessageType.ECHO_REQUEST}
    messages = [sample(kind, Random(1)).message for kind in KINDS]

    assert {read_header(message).type for message in messages} == set(MessageType) - requests
    replies = [message for message in messages if read_header(message).type == MessageType.MULTIPART_REPLY]
    assert {multipart(message)[0] for message in replies} == {*range(14), 0xFFFF}


# ── what is not ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds)
@settings(max_examples=20)
def test_a_message_with_one_wrong_length_or_another_version_is_refused(kind: str, seed: int):
    for what, message in broken(sample(kind, Random(seed))):
        # What is hidden from the parsers may be broken inside.
        assert refused(message, hide=False), what


@given(seed=seeds)
@settings(max_examples=500)
def test_a_spoilt_message_is_refused_or_read_and_neither_takes_long(seed: int):
    random = Random(seed)
    pool: list[Sample] = [sample(random.choice(KINDS), random) for _ in range(3)]
    message = mutated(random, pool)
    begun_s = time.thread_time()

    if len(message) >= 8 and not refused(message):
        read(message[: read_header(message).length])

    assert time.thread_time() - begun_s < FAR_TOO_SLOW_S


@given(st.binary(max_size=300), st.sampled_from(MessageType))
def test_noise_behind_a_header_is_refused_or_read(body: bytes, kind: MessageType):
    message = bytes((4, kind)) + (8 + len(body)).to_bytes(2) + bytes(4) + body

    if not refused(message):
        read(message)


# ── what was published, and what else was found in the frameworks' parsers ───────────────────────────


@pytest.mark.parametrize("package", ["ryu", "os_ken"])
def test_the_bare_framework_hangs_on_each_hostile_input_as_noted(package: str):
    pytest.importorskip(package)
    lines = "".join(f"{each['kind']} {hostile(name).hex()}\n" for name, each in INPUTS.items())

    victim = subprocess.run(
        [sys.executable, "-B", HOSTILE / "victim.py", package], input=lines, capture_output=True, text=True, check=True
    )

    endings = dict(zip(INPUTS, victim.stdout.split(), strict=True))
    noted = {name for name, each in INPUTS.items() if package.replace("_", "-") in each["hurts"]}
    assert {name for name, ending in endings.items() if ending == "stuck"} == noted
    assert set(endings.values()) == {"stuck", "raised"}


@pytest.mark.parametrize("name", sorted(MESSAGES - LEGAL))
def test_a_hostile_message_is_refused(name: str):
    with pytest.raises(Violation):
        taken(hostile(name))


def test_a_flow_mod_is_refused_for_its_direction():
    flow_mods = [hostile(name) for name in MESSAGES if hostile(name)[1] == 14]

    assert len(flow_mods) == 3
    for message in flow_mods:
        with pytest.raises(Violation) as violation:
            check_header(read_header(message), Phase.UP, 0xFFFF)
        assert violation.value.kind == "type"


def test_a_legal_hello_that_hangs_the_frameworks_is_accepted_and_not_given_to_them():
    (name,) = LEGAL

    check_hello(hostile(name))
    assert taken(hostile(name)) is None


@pytest.mark.parametrize("name", sorted(INPUTS.keys() - MESSAGES))
def test_a_hostile_frame_is_read_as_far_as_its_headers_go(name: str):
    headers = read_headers(hostile(name))

    assert isinstance(headers, Headers | Unreadable)


def test_the_corpus_has_everything_that_was_published():
    assert {source for each in INPUTS.values() for source in each["sources"]} >= PUBLISHED
