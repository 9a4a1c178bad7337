from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tls_switch
from authority import Authority, Certificate, needs_openssl, openssl
from tls_switch import TlsSwitch, client_context, knock, message

from controller import framework
from controller.backoff import FREE_OFFENCES
from controller.config import TlsConfig
from controller.framing import Phase, Violation, check_header, read_header
from controller.tls import TlsIdentity, TlsSocket
from topologies.errors import InputError

pytestmark = needs_openssl

CHILD = Path(__file__).with_name("tls_child.py")
ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "tls.md").read_text()
DEADLINE_S = 30.0
DPIDS = itertools.count(0x100)
PINNED = 0x42
LIMITS = {"handshake_timeout_s": 2.0, "max_queued_bytes": 1 << 20, "max_half_open": 16, "max_connections": 40}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other") / "ca")


@pytest.fixture(scope="module")
def own(authority: Authority) -> Certificate:
    return authority.sign("heddle", "serverAuth")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.sign("s1")


class TlsDaemon:
    """A child process with a channel by TLS; its events are waited for, its commands are dictionaries."""

    def __init__(self, framework: str, files: TlsConfig, switches: dict[str, Any]) -> None:
        given = {"limits": LIMITS, "files": files.model_dump(mode="json"), "switches": switches}
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(CHILD), json.dumps(given)],
            env={**os.environ, "HEDDLE_FRAMEWORK": framework, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._untaken: list[dict[str, Any]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.port: int = self.expect("listening")["port"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def expect(self, event: str, **details: Any) -> dict[str, Any]:
        """The first event of this name with these details that was not taken yet."""
        while True:
            for index, said in enumerate(self._untaken):
                if said["event"] == event and details.items() <= said.items():
                    return self._untaken.pop(index)
            line = self._lines.get(timeout=DEADLINE_S)
            assert line is not None, f"the child ended before {event}; it had said {self._untaken[-5:]}"
            self._untaken.append(json.loads(line))

    def refusal(self, kind: str, peer: socket.socket) -> str:
        """The one sentence on a peer that was refused."""
        address, port = peer.getsockname()
        while True:
            sentence = self.expect("refused", kind=kind)["sentence"]
            if f" {address}:{port} " in sentence:
                return str(sentence)

    def do(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def counts(self) -> dict[str, int]:
        self.do(do="counts")
        return dict(self.expect("counts")["counts"])

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(DEADLINE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code


@pytest.fixture(scope="module")
def files(own: Certificate, tmp_path_factory: pytest.TempPathFactory) -> TlsConfig:
    """The daemon's own copies, which a test may replace."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copy(own.file, folder / "cert.pem")
    shutil.copy(own.key, folder / "key.pem")
    shutil.copy(own.authority, folder / "ca.pem")
    return TlsConfig(certificate=folder / "cert.pem", key=folder / "key.pem", authority=folder / "ca.pem")


@pytest.fixture(scope="module", params=["ryu", "os-ken"])
def daemon(request: pytest.FixtureRequest, files: TlsConfig, certificate: Certificate) -> Iterator[TlsDaemon]:
    """A channel by TLS on either framework, which knows whose certificate one dpid has and refuses dpid 1."""
    switches = {
        "allowed": [f"{dpid:016x}" for dpid in (PINNED, *range(0x100, 0x1000))],
        "certificates": {f"{PINNED:016x}": certificate.fingerprint},
    }
    child = TlsDaemon(request.param, files, switches)
    yield child
    assert child.stop() == 0


@pytest.fixture
def connect(daemon: TlsDaemon, certificate: Certificate) -> Iterator[Callable[..., TlsSwitch]]:
    """Makes switches, closed after the test."""
    switches: list[TlsSwitch] = []

    def connect(context: ssl.SSLContext | None = None, **details: Any) -> TlsSwitch:
        details.setdefault("dpid", next(DPIDS))
        switches.append(TlsSwitch(daemon.port, context or client_context(certificate), **details))
        return switches[-1]

    yield connect
    for switch in switches:
        switch.close()


@pytest.fixture
def good(daemon: TlsDaemon, connect: Callable[..., TlsSwitch]) -> TlsSwitch:
    """A switch that is up, and must stay so."""
    switch = connect()
    daemon.expect("up", dpid=switch.dpid)
    return switch


# ── what works ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_switch_comes_up_and_its_certificate_is_known(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], certificate: Certificate, version: ssl.TLSVersion
) -> None:
    switch = connect(client_context(certificate, version))

    daemon.expect("up", dpid=switch.dpid)
    assert daemon.expect("certificate", dpid=switch.dpid)["fingerprint"] == certificate.digits
    assert switch.is_alive()


@pytest.mark.parametrize("record_bytes", [1, 7, 16_384])
def test_messages_are_those_that_were_sent_however_records_cut_them(
    daemon: TlsDaemon, good: TlsSwitch, record_bytes: int
) -> None:
    packets = [bytes([number]) * 1400 for number in range(20)]

    good.send(b"".join(good.packet_in(1, packet) for packet in packets), record_bytes)

    assert [daemon.expect("packet-in", dpid=good.dpid)["data"] for _ in packets] == [packet.hex() for packet in packets]


def test_both_directions_carry_much_at_once(daemon: TlsDaemon, good: TlsSwitch) -> None:
    daemon.do(do="batch", dpid=good.dpid, messages=20_000, timeout_s=60)
    echoes = b"".join(message(tls_switch.ECHO_REQUEST, bytes(1000), xid) for xid in range(1, 2001))
    good.send(echoes)

    assert daemon.expect("batch", dpid=good.dpid)["refused"] == []
    assert [good.expect(tls_switch.ECHO_REPLY)[0] for _ in range(2000)] == list(range(1, 2001))


@pytest.mark.parametrize("goodbye", ["close_notify", "FIN"])
def test_the_end_of_a_connection_is_noticed_at_once(daemon: TlsDaemon, good: TlsSwitch, goodbye: str) -> None:
    if goodbye == "close_notify":
        good.say_goodbye()
    else:
        good.plain.shutdown(socket.SHUT_WR)

    assert "closed the connection" in daemon.expect("down", dpid=good.dpid)["reason"]


def test_a_session_is_not_resumed_so_every_connection_shows_its_certificate(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], certificate: Certificate
) -> None:
    context = client_context(certificate, ssl.TLSVersion.TLSv1_2)
    first = connect(context)
    daemon.expect("up", dpid=first.dpid)

    second = connect(context, session=first.tls.session)
    daemon.expect("up", dpid=second.dpid)

    assert not second.tls.session_reused


# ── who is refused ───────────────────────────────────────────────────────────────────────────────


def test_a_peer_that_speaks_no_tls_is_refused(daemon: TlsDaemon, good: TlsSwitch) -> None:
    before = daemon.counts().get("tls", 0)

    with knock(daemon.port) as peer:
        peer.sendall(message(tls_switch.HELLO))
        assert peer.recv(1) == b""
        assert "it does not speak TLS" in daemon.refusal("channel-tls", peer)

    assert daemon.counts()["tls"] == before + 1
    assert good.is_alive()


def test_a_switch_that_speaks_tls_where_none_is_set_up_is_told_apart(certificate: Certificate) -> None:
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context(certificate).wrap_bio(come, go).do_handshake()

    with pytest.raises(Violation, match="begins TLS, which is not set up here"):
        check_header(read_header(go.read()), Phase.HELLO, 4096)


def test_noise_in_a_handshake_is_refused(daemon: TlsDaemon, good: TlsSwitch) -> None:
    with knock(daemon.port) as peer:
        peer.sendall(b"\x16\x03\x01\x00\x05noise")
        assert "it failed the TLS handshake" in daemon.refusal("channel-tls", peer)

    assert good.is_alive()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("none", "it has no certificate"),
        ("expired", "(certificate has expired)"),
        ("another authority's", "the authority does not vouch for"),
        ("the daemon's own", "the authority does not vouch for"),
        ("old TLS", "it offers no TLS 1.2 or later"),
        ("distrust", "it does not accept our certificate"),
    ],
)
def test_a_switch_that_cannot_be_trusted_is_refused_with_the_reason(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], good: TlsSwitch, authority: Authority,
    other_authority: Authority, certificate: Certificate, own: Certificate, case: str, said: str,
) -> None:  # fmt: skip
    context = {
        "none": lambda: client_context(None),
        "expired": lambda: client_context(authority.sign("old", expired=True)),
        "another authority's": lambda: client_context(other_authority.sign("stranger"), authority=own),
        "the daemon's own": lambda: client_context(own),
        "old TLS": lambda: client_context(certificate, ssl.TLSVersion.TLSv1_1),
        "distrust": lambda: client_context(certificate, authority=other_authority.sign("x")),
    }[case]()
    before = daemon.counts().get("tls", 0)

    peer = connect(context)

    assert peer.is_closed_by_controller()
    assert said in daemon.refusal("channel-tls", peer.plain)
    assert daemon.counts()["tls"] == before + 1
    assert good.is_alive()


def test_a_switch_is_told_why_its_certificate_was_refused(
    connect: Callable[..., TlsSwitch], other_authority: Authority, own: Certificate
) -> None:
    peer = connect(client_context(other_authority.sign("told"), authority=own))

    assert peer.is_closed_by_controller()
    assert isinstance(peer.error, ssl.SSLError)
    assert "unknown ca" in str(peer.error).lower()


def test_a_pinned_dpid_comes_with_its_certificate_only(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], authority: Authority, certificate: Certificate
) -> None:
    other = authority.sign("s2")

    thief = connect(client_context(other), dpid=PINNED)
    assert thief.is_closed_by_controller()
    sentence = daemon.refusal("channel-untrusted", thief.plain)
    assert f"has dpid {PINNED:016x}" in sentence
    assert certificate.fingerprint in sentence
    assert other.fingerprint in sentence

    connect(dpid=PINNED)
    daemon.expect("up", dpid=PINNED)


def test_a_dpid_that_is_not_allowed_is_refused(daemon: TlsDaemon, connect: Callable[..., TlsSwitch]) -> None:
    stranger = connect(dpid=1)

    assert stranger.is_closed_by_controller()
    assert "has dpid 0000000000000001" in daemon.refusal("channel-untrusted", stranger.plain)
    assert daemon.counts()["untrusted"] >= 1


# ── what must not block or bloat ─────────────────────────────────────────────────────────────────


def test_a_client_of_a_byte_at_a_time_is_given_up_in_the_time_for_a_handshake(
    daemon: TlsDaemon, good: TlsSwitch, certificate: Certificate
) -> None:
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context(certificate).wrap_bio(come, go).do_handshake()
    hello = go.read()

    with knock(daemon.port) as peer:
        peer.settimeout(0.2)
        for byte in itertools.cycle(hello[:-1]):
            with contextlib.suppress(OSError):
                peer.sendall(bytes((byte,)))
            try:
                assert peer.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert "no handshake within 2 s" in daemon.refusal("channel-handshake-timeout", peer)
    assert good.is_alive()


def test_two_hundred_silent_peers_do_not_keep_a_switch_out(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], good: TlsSwitch
) -> None:
    with contextlib.ExitStack() as peers:
        for _ in range(200):
            peers.enter_context(knock(daemon.port))

        late = connect()

        daemon.expect("up", dpid=late.dpid)
        assert good.is_alive()


def test_a_switch_that_stops_reading_in_mid_record_is_disconnected_while_the_others_go_on(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], good: TlsSwitch
) -> None:
    stuck = connect()
    daemon.expect("up", dpid=stuck.dpid)
    stuck.stop_reading()

    daemon.do(do="flood", dpid=stuck.dpid, messages=20_000, bytes=1500)

    assert daemon.expect("flooded", dpid=stuck.dpid)["sent"] < 20_000
    assert "does not read" in daemon.expect("down", dpid=stuck.dpid)["reason"]
    assert good.is_alive()


def test_a_forged_record_ends_its_connection_only(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], good: TlsSwitch
) -> None:
    switch = connect()
    daemon.expect("up", dpid=switch.dpid)

    switch.plain.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))

    assert "it broke the rules of TLS" in daemon.expect("down", dpid=switch.dpid)["reason"]
    assert good.is_alive()


def test_a_message_of_nothing_but_tiny_records_keeps_nobody_waiting(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], good: TlsSwitch
) -> None:
    flooder = connect()
    daemon.expect("up", dpid=flooder.dpid)
    flood = message(tls_switch.ECHO_REQUEST, bytes(4000)) * 50
    sending = threading.Thread(target=flooder.send, args=(flood, 1))
    sending.start()

    assert all(good.is_alive() for _ in range(20))

    sending.join()
    for _ in range(50):
        assert len(flooder.expect(tls_switch.ECHO_REPLY)[1]) == 4000


class Torrent:
    """A plain socket to which a client writes faster than anybody reads: nothing on it ever waits."""

    setsockopt = settimeout = close = None

    def __init__(self, context: ssl.SSLContext) -> None:
        self._come, self._go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._client = context.wrap_bio(self._come, self._go)
        self.wire = b""

    def recv(self, most: int) -> bytes:
        if self.wire:
            taken, self.wire = self.wire[:most], self.wire[most:]
            return taken
        with contextlib.suppress(ssl.SSLWantReadError):
            self._client.do_handshake()
        return self._go.read()

    def sendall(self, data: bytes) -> None:
        self._come.write(data)

    def write(self, records: int) -> None:
        for _ in range(records):
            self._client.write(b"x")
        self.wire = self._go.read()


def test_other_tasks_get_turns_while_tiny_records_keep_coming(files: TlsConfig, certificate: Certificate) -> None:
    torrent = Torrent(client_context(certificate))
    switch = TlsSocket(torrent, TlsIdentity(files))
    assert switch.handshake() == certificate.digits
    records = 20_000
    torrent.write(records)
    wire_bytes = len(torrent.wire)
    turns = itertools.count()

    other = framework.every(0, lambda: next(turns))
    received = 0
    while received < records:
        received += len(switch.recv(65_536))
    other.cancel()

    assert next(turns) >= wire_bytes // 65_536


def test_a_peer_that_only_connects_breaks_no_rule(daemon: TlsDaemon) -> None:
    before = daemon.counts()

    with knock(daemon.port) as peer:
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(64):
            pass

    after = daemon.counts()
    assert after["closed-by-switch"] == before.get("closed-by-switch", 0) + 1
    assert after.get("tls", 0) == before.get("tls", 0)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def test_replaced_files_count_from_the_next_connection_on(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], good: TlsSwitch, files: TlsConfig, own: Certificate,
    other_authority: Authority,
) -> None:  # fmt: skip
    before = daemon.counts()
    theirs, ours = other_authority.sign("s-new"), other_authority.sign("heddle-new", "serverAuth")
    try:
        shutil.copy(ours.file, files.certificate)
        half = connect()
        assert half.is_closed_by_controller()
        assert "does not fit" in daemon.refusal("channel-tls-own", half.plain)
        assert daemon.counts().get("tls", 0) == before.get("tls", 0)

        shutil.copy(ours.key, files.key)
        shutil.copy(ours.authority, files.authority)
        new = connect(client_context(theirs))
        daemon.expect("up", dpid=new.dpid)
        assert good.is_alive()
    finally:
        shutil.copy(own.file, files.certificate)
        shutil.copy(own.key, files.key)
        shutil.copy(own.authority, files.authority)


def test_that_our_own_certificate_has_expired_is_said_as_ours_and_costs_the_switch_no_wait(
    daemon: TlsDaemon, connect: Callable[..., TlsSwitch], good: TlsSwitch, files: TlsConfig, own: Certificate,
    authority: Authority,
) -> None:  # fmt: skip
    expired = authority.sign("ours-expired", expired=True)
    try:
        shutil.copy(expired.file, files.certificate)
        shutil.copy(expired.key, files.key)
        with contextlib.ExitStack() as stack:
            for _ in range(FREE_OFFENCES + 1):
                peer = stack.enter_context(
                    socket.create_connection(("127.0.0.1", daemon.port), DEADLINE_S, source_address=("127.3.0.1", 0))
                )
                peer.sendall(b"\x16")
                assert peer.recv(1) == b""
                sentence = daemon.refusal("channel-tls-own", peer)
                assert "our certificate expired on 2002-01-01 00:00 UTC; replace it" in sentence
                assert "has to wait" not in sentence
    finally:
        shutil.copy(own.file, files.certificate)
        shutil.copy(own.key, files.key)
    assert daemon.counts().get("backed-off", 0) == 0
    assert good.is_alive()


def test_good_files_are_accepted_in_silence(files: TlsConfig, caplog: pytest.LogCaptureFixture) -> None:
    files.key.chmod(0o600)

    TlsIdentity(files).check()

    assert not caplog.records


def test_a_key_that_everybody_can_read_is_warned_of(files: TlsConfig, caplog: pytest.LogCaptureFixture) -> None:
    files.key.chmod(0o644)

    TlsIdentity(files).check()

    assert "every user can read the key" in caplog.text


def test_what_is_wrong_with_a_file_is_one_sentence_with_its_name(
    authority: Authority, own: Certificate, certificate: Certificate, tmp_path: Path
) -> None:
    expired = authority.sign("expired", expired=True)
    of_rsa = authority.sign("rsa", kind="RSA")
    locked, empty, damaged = tmp_path / "locked.pem", tmp_path / "empty.pem", tmp_path / "damaged.pem"
    openssl("pkey", "-in", own.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    empty.write_text("# nothing\n")
    damaged.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    usual = {"certificate": own.file, "key": own.key, "authority": own.authority}
    both = {"certificate": certificate.file, "key": certificate.key}
    none, missing = tmp_path / "none.pem", "cannot be read: No such file or directory"
    cases: list[tuple[dict[str, Path], str]] = [
        ({"certificate": none}, f"certificate: {none} {missing}"),
        ({"key": none}, f"key: {none} {missing}"),
        ({"authority": none}, f"authority: {none} {missing}"),
        ({"certificate": empty}, f"certificate: {empty} holds no certificate in PEM"),
        ({"certificate": own.key}, f"certificate: {own.key} holds no certificate in PEM"),
        ({"key": own.file}, f"key: {own.file} holds no private key in PEM"),
        ({"authority": empty}, f"authority: {empty} holds no certificate in PEM"),
        ({"authority": own.key}, f"authority: {own.key} holds no certificate in PEM"),
        ({"authority": certificate.file}, f"authority: {certificate.file} is no authority"),
        ({"certificate": damaged}, f"key: {own.key} and {damaged} cannot be used"),
        ({"key": certificate.key}, f"key: {certificate.key} does not fit {own.file}"),
        ({"key": of_rsa.key}, f"key: {of_rsa.key} does not fit {own.file}"),
        ({"key": locked}, f"key: {locked}: the key has a passphrase"),
        ({"certificate": expired.file, "key": expired.key},
         f"certificate: {expired.file}: our certificate expired on 2002-01-01"),
        ({"authority": _expired_authority(tmp_path)}, "the authority's certificate expired on 2002-01-01"),
        (both, f"certificate: {certificate.file} has no serverAuth among its extended key usages"),
    ]  # fmt: skip
    for changed, said in cases:
        with pytest.raises(InputError) as refused:
            TlsIdentity(TlsConfig(**{**usual, **changed})).check()
        assert str(refused.value).startswith("openflow_tls.")
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)


def _expired_authority(folder: Path) -> Path:
    return Authority(folder / "past").sign("past", expired=True, extensions="basicConstraints=critical,CA:TRUE").file


@pytest.mark.parametrize("purposes", ["serverAuth", "clientAuth,serverAuth", None])
def test_a_certificate_for_servers_or_for_anything_is_accepted(
    authority: Authority, own: Certificate, tmp_path: Path, purposes: str | None
) -> None:
    given = authority.sign(f"ours-{purposes}", purposes)

    TlsIdentity(TlsConfig(certificate=given.file, key=given.key, authority=own.authority)).check()


def test_the_log_says_how_switches_connect(files: TlsConfig, own: Certificate) -> None:
    shown = openssl("x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", own.file).strip().partition("=")[2]

    assert TlsIdentity(files).describe() == f"by TLS, certificate CN=heddle until {shown[:16]} UTC"


def test_the_certificates_of_the_page_are_what_it_checks_them_to_be_and_fit_heddle(tmp_path: Path) -> None:
    shown = "".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)).replace("\\\n", " ").splitlines()
    makes, checks = ([line for line in shown if line.startswith(f"openssl {verb} ")] for verb in ("req", "verify"))
    assert len(makes) == 3
    assert len(checks) == 2

    said = [
        subprocess.run(shlex.split(line), cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for line in (*makes, *checks)
    ]

    assert said[-2:] == ["heddle-cert.pem: OK\n", "s1-cert.pem: OK\n"]
    names = {"certificate": "heddle-cert.pem", "key": "heddle-key.pem", "authority": "fabric-ca.pem"}
    TlsIdentity(TlsConfig(**{name: tmp_path / file for name, file in names.items()})).check()


def test_the_messages_that_the_page_explains_are_those_that_there_are() -> None:
    code = "".join((ROOT / "controller" / f"{name}.py").read_text() for name in ("tls", "trust", "framing"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)
    table = PAGE.partition("| message | cause | cure |")[2].partition("\n\n")[0]
    messages = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)

    assert len(messages) == 10
    for each in messages:
        assert each in joined


def test_nothing_older_or_weaker_is_ever_agreed_on(files: TlsConfig) -> None:
    context = TlsIdentity(files).context()

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_a_daemon_whose_key_does_not_fit_says_so_and_does_not_start(
    own: Certificate, certificate: Certificate, tmp_path: Path
) -> None:
    words = (
        "run", "--openflow", "127.0.0.1:0", "--api", "127.0.0.1:0", "--state", str(tmp_path),
        "--tls-certificate", str(own.file), "--tls-key", str(certificate.key), "--tls-authority", str(own.authority),
    )  # fmt: skip

    done = subprocess.run(
        [sys.executable, "-B", "-m", "heddle", *words], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=DEADLINE_S,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        f"heddle: openflow_tls.key: {certificate.key} does not fit {own.file};"
    )
    assert "Traceback" not in done.stderr
