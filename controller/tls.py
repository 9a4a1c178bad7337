"""TLS to switches: our certificate, the authority that signs theirs, and a socket that speaks it in green tasks.

eventlet's own TLS socket waits for the plain one in both directions from either task; two tasks that wait for the same
direction end in an exception of its hub. Here one task alone reads the plain socket and one alone writes to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller import framework
from controller.certificates import SERVER_AUTH, Certificate, day, read_certificates
from controller.config import TlsConfig
from controller.framing import Violation
from topologies.errors import InputError
from topologies.located import read_text

log = logging.getLogger(__name__)

_RECORD_BYTES = 16_384
"""Longest content of a record (RFC 8446 section 5.1)."""
_WIRE_BYTES = 32_768
"""Read from the plain socket at once, two records; as many as fit of 1 byte take 5 ms before other tasks get a turn."""
_MAX_UNSENT_BYTES = 65_536
_HANDSHAKE_RECORD = 0x16
"""First byte of what a TLS client sends (RFC 8446 section 5.1)."""
_MISFITS = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Who we are to switches, and who they have to be.

    The files are read for each connection (0.7 ms): no session can be resumed, so that every connection shows its
    certificate anew, and files that are replaced count from the next connection on.
    """

    files: TlsConfig

    def check(self) -> None:
        """Check the files before anybody connects; a key that is no secret goes to the log.

        Raises
        ------
        InputError
            A file is missing or not what it should be, the key does not fit the certificate, a certificate is not
            valid today, or ours is not for servers; one sentence that begins with the setting.
        """
        self.context()
        if self.files.key.stat().st_mode & 0o007:
            log.warning("%s: every user can read the key; run 'chmod o= %s'", self.files.key, self.files.key)

    def describe(self) -> str:
        """How switches connect, for the log.

        Raises
        ------
        InputError
            The certificate cannot be read.
        """
        own = self._own()
        name = f"CN={own.common_name}" if own.common_name else self.files.certificate
        return f"by TLS, certificate {name} until {day(own.until_s)}"

    def expiries(self) -> dict[str, float]:
        """When our ``certificate`` and the ``authority`` expire, in seconds since 1970; without what cannot be read."""
        found = {}
        for which, read in (("certificate", self._own), ("authority", self._authority)):
            with contextlib.suppress(InputError):
                found[which] = read().until_s
        return found

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, and nobody without a certificate from the authority.

        Raises
        ------
        InputError
            As `check` does.
        """
        context, own = self._context(), self._own()
        with _named("certificate"):
            _check_days(self.files.certificate, "our certificate", own)
            if own.purposes is not None and SERVER_AUTH not in own.purposes:
                raise InputError(
                    f"{self.files.certificate} has no serverAuth among its extended key usages, so no switch accepts "
                    "it; make it anew (docs/tls.md)"
                )
        with _named("authority"):
            _check_days(self.files.authority, "the authority's certificate", self._authority())
        return context

    def _own(self) -> Certificate:
        with _named("certificate"):
            return read_certificates(self.files.certificate)[0]

    def _authority(self) -> Certificate:
        """Of several, the one that is valid for longest."""
        with _named("authority"):
            return max(read_certificates(self.files.authority), key=lambda each: each.until_s)

    def _context(self) -> ssl.SSLContext:
        files = self.files
        for setting, path, what in (
            ("certificate", files.certificate, "certificate"),
            ("key", files.key, "private key"),
        ):
            with _named(setting):
                if f"{what.upper()}-----" not in read_text(path):
                    raise InputError(f"{path} holds no {what} in PEM; is it the right file?")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
        # What is named as the authority is trusted, whether or not somebody else signed it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        with _named("key"):
            self._load_own(context)
        with _named("authority"):
            read_text(files.authority)
            try:
                context.load_verify_locations(files.authority)
            except ssl.SSLError:
                raise InputError(f"{files.authority} holds no certificate in PEM; is it the right file?") from None
            if not context.cert_store_stats()["x509_ca"]:
                raise InputError(f"{files.authority} is no authority: its certificate may not sign others (CA:TRUE)")
        return context

    def _load_own(self, context: ssl.SSLContext) -> None:
        certificate, key = self.files.certificate, self.files.key

        def refuse() -> str:
            raise InputError(f"{key}: the key has a passphrase, which nobody is there to type; store it without")

        try:
            context.load_cert_chain(certificate, key, refuse)
        except ssl.SSLError as error:
            if error.reason in _MISFITS:
                raise InputError(
                    f"{key} does not fit {certificate}; give the key that the certificate was made with"
                ) from None
            raise InputError(f"{key} and {certificate} cannot be used ({_said(error)})") from None


@contextlib.contextmanager
def _named(setting: str) -> Iterator[None]:
    """Begin the errors about a file with the setting that names it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"openflow_tls.{setting}: {error}") from None


def _check_days(path: Path, whose: str, certificate: Certificate) -> None:
    now_s = time.time()
    if now_s >= certificate.until_s:
        raise InputError(f"{path}: {whose} expired on {day(certificate.until_s)}; replace it (docs/tls.md)")
    if now_s < certificate.from_s:
        raise InputError(f"{path}: {whose} is valid only from {day(certificate.from_s)} on; is the clock right?")


class TlsSocket:
    """A switch's socket in TLS: one task shakes hands, then receives; another one sends; anybody may shut it down.

    Parameters
    ----------
    plain : green socket
        Accepted, with nothing read from it. Nobody else may receive or send on it.
    """

    def __init__(self, plain: Any, identity: TlsIdentity) -> None:
        self._plain = plain
        self._identity = identity
        self._received, self._unsent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._sending = False
        self._since_turn = 0
        self.setsockopt, self.settimeout, self.close = plain.setsockopt, plain.settimeout, plain.close

    def handshake(self) -> str:
        """Shake hands; waits, so in the connection's own task and under its deadline.

        Returns
        -------
        str
            SHA-256 fingerprint of the switch's certificate in DER: 64 hexadecimal digits in lower case.

        Raises
        ------
        Violation
            ``tls``: what comes is no TLS, or its certificate is not accepted, or ours not by it. ``tls-own``: a file
            of ours is missing, wrong or expired.
        OSError
            The connection broke.
        """
        first = self._plain.recv(_WIRE_BYTES)
        if not first:
            raise Violation("closed-by-switch", "closed the connection before its TLS handshake")
        if first[0] != _HANDSHAKE_RECORD:
            raise Violation("tls", "does not speak TLS, which is asked for here; connect it by 'ssl:' (docs/tls.md)")
        self._take(first)
        try:
            context = self._identity.context()
        except InputError as error:
            raise Violation("tls-own", f"cannot be answered, which is our own fault: {error}") from None
        self._tls = context.wrap_bio(self._received, self._unsent, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._take(self._plain.recv(_WIRE_BYTES))
            except ssl.SSLEOFError:
                raise Violation("closed-by-switch", "closed the connection during its TLS handshake") from None
            except ssl.SSLError as error:
                self._flush_without_waiting()
                raise Violation("tls", _why_refused(error)) from None
        self._flush()
        return hashlib.sha256(self._tls.getpeercert(binary_form=True) or b"").hexdigest()

    def recv(self, most_bytes: int) -> bytes:
        """Wait for what the switch sent; empty once it has closed the connection.

        Raises
        ------
        Violation
            ``tls``: a record was forged or damaged, or breaks the protocol.
        OSError
            The connection broke.
        """
        while self._tls is not None:
            parts, size = [], 0
            try:
                while size < most_bytes and (part := self._tls.read(min(most_bytes - size, _RECORD_BYTES))):
                    parts.append(part)
                    size += len(part)
                ended = size < most_bytes
            except ssl.SSLWantReadError:
                ended = False
            except ssl.SSLEOFError:
                ended = True
            except ssl.SSLError as error:
                raise Violation("tls", f"broke the rules of TLS ({_said(error)})") from None
            if self._unsent.pending > _MAX_UNSENT_BYTES:
                raise Violation("tls", "asks for answers of the TLS layer, and for nothing else")
            if size or ended:
                return b"".join(parts)
            self._take(self._plain.recv(_WIRE_BYTES))
        return b""

    def sendall(self, data: bytes) -> None:
        """Wait until all is sent; one task at a time.

        Raises
        ------
        OSError
            The connection broke, or was shut down.
        """
        if self._tls is None:
            raise BrokenPipeError("no TLS handshake yet")
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._flush()

    def shutdown(self, how: int) -> None:
        """Say that nothing more comes, where that is possible without waiting, and let everybody go who waits."""
        if self._tls is not None and not self._sending:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush_without_waiting()
        self._plain.shutdown(how)

    def _take(self, received: bytes) -> None:
        if not received:
            self._received.write_eof()
            return
        self._received.write(received)
        # A plain socket that always has something to read never waits, and records may be as short as the peer likes.
        self._since_turn += len(received)
        if self._since_turn >= _WIRE_BYTES:
            self._since_turn = 0
            framework.sleep(0)

    def _flush(self) -> None:
        self._sending = True
        try:
            self._plain.sendall(self._unsent.read())
        finally:
            self._sending = False

    def _flush_without_waiting(self) -> None:
        if not self._sending and (last := self._unsent.read()):
            self._plain.setblocking(False)
            with contextlib.suppress(OSError):
                self._plain.send(last)


def _why_refused(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that the authority does not vouch for ({error.verify_message})"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "has no certificate"
    if reason == "UNSUPPORTED_PROTOCOL":
        return "offers no TLS 1.2 or later"
    if "ALERT" in reason:
        return f"does not accept our certificate or our TLS ({_said(error)})"
    return f"failed the TLS handshake ({_said(error)})"


def _said(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
