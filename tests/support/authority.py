"""Certificates for tests, made by openssl as users make theirs."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_NUMBERS = itertools.count(1)

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, which is not installed")


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Certificate:
    """A certificate's file, its key's, and that of the authority that signed it."""

    file: Path
    key: Path
    authority: Path

    @property
    def fingerprint(self) -> str:
        """As openssl prints it, with colons and in upper case."""
        return openssl("x509", "-noout", "-fingerprint", "-sha256", "-in", self.file).strip().partition("=")[2]

    @property
    def digits(self) -> str:
        """The fingerprint as Heddle names it."""
        return self.fingerprint.replace(":", "").lower()


class Authority:
    """An authority of its own in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.file, self.key = directory / "ca.pem", directory / "ca-key.pem"
        self._request(self.file, self.key, "/CN=Test authority", "-days", "3650")

    def sign(
        self,
        name: str,
        purpose: str | None = "clientAuth",
        *,
        expired: bool = False,
        kind: str = "EC",
        extensions: str = "basicConstraints=critical,CA:FALSE",
    ) -> Certificate:
        """A new key and its certificate, for switches by default; without a purpose, for any."""
        file, key = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        signed_by = ("-CA", self.file, "-CAkey", self.key)
        if not expired:
            wanted = [extensions] if purpose is None else [extensions, f"extendedKeyUsage={purpose}"]
            added = [word for extension in wanted for word in ("-addext", extension)]
            self._request(file, key, f"/CN={name}", *signed_by, *added, "-days", "365", kind=kind)
            return Certificate(file, key, self.file)
        # Only 'openssl ca' signs with dates of the past, and it wants a database for that.
        request, section = self.directory / f"{name}.csr", self.directory / f"database-{next(_NUMBERS)}"
        self._request(request, key, f"/CN={name}", kind=kind, signed=False)
        section.mkdir()
        (section / "index.txt").touch()
        (section / "serial").write_text("1000\n")
        (section / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=here\n[here]\ndatabase={section}/index.txt\nnew_certs_dir={section}\n"
            f"serial={section}/serial\ndefault_md=sha256\npolicy=any\nunique_subject=no\n"
            f"[any]\ncommonName=supplied\n[extensions]\n{extensions}\n"
        )
        openssl(
            "ca", "-batch", "-config", section / "ca.cnf", "-extensions", "extensions", "-cert", self.file,
            "-keyfile", self.key, "-startdate", "20010101000000Z", "-enddate", "20020101000000Z",
            "-in", request, "-out", file, "-notext",
        )  # fmt: skip
        return Certificate(file, key, self.file)

    def _request(
        self, file: Path, key: Path, subject: str, *words: str | Path, kind: str = "EC", signed: bool = True
    ) -> None:
        new = ("-newkey", "rsa:2048") if kind == "RSA" else ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        sign = ("-x509",) if signed else ()
        openssl("req", *sign, *new, "-noenc", "-keyout", key, "-out", file, "-subj", subject, *words)
