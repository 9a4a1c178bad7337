from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from authority import needs_openssl, openssl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.certificates import SERVER_AUTH, day, read_certificates
from topologies.errors import InputError


def make(folder: Path, days: int, *words: str) -> Path:
    file = folder / f"{days}.pem"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", "/CN=x",
        "-days", str(days), "-keyout", folder / "key.pem", "-out", file, *words,
    )  # fmt: skip
    return file


def said_by_openssl(file: Path, which: str) -> float:
    text = openssl("x509", "-noout", f"-{which}date", "-dateopt", "iso_8601", "-in", file).strip().partition("=")[2]
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC).timestamp()


@needs_openssl
@pytest.mark.parametrize("days", [1, 365, 36_500])
def test_a_certificate_is_valid_when_openssl_says_it_is(tmp_path: Path, days: int) -> None:
    file = make(tmp_path, days)

    (valid,) = read_certificates(file)

    assert valid.from_s == said_by_openssl(file, "start")
    assert valid.until_s == said_by_openssl(file, "end")


@needs_openssl
def test_all_certificates_of_a_file_are_read_in_their_order_whatever_stands_between(tmp_path: Path) -> None:
    files = [make(tmp_path, days) for days in (3, 1)]
    both = tmp_path / "both.pem"
    both.write_text("# first\n" + "".join(file.read_text() + "between\n" for file in files))

    assert read_certificates(both) == [read_certificates(file)[0] for file in files]


@needs_openssl
@pytest.mark.parametrize(
    ("usage", "serves"),
    [
        (None, None),
        ("serverAuth", True),
        ("clientAuth", False),
        ("clientAuth,serverAuth", True),
        ("codeSigning,1.2.3.4", False),
        ("critical,serverAuth", True),
        ("anyExtendedKeyUsage", False),
    ],
)
def test_a_certificate_is_for_servers_where_openssl_says_it_is(
    tmp_path: Path, usage: str | None, serves: bool | None
) -> None:
    words = ("keyUsage=digitalSignature", "subjectAltName=DNS:x") + ((f"extendedKeyUsage={usage}",) if usage else ())
    file = make(tmp_path, 1, *(word for extension in words for word in ("-addext", extension)))

    purposes = read_certificates(file)[0].purposes

    assert (None if purposes is None else SERVER_AUTH in purposes) is serves
    shown = openssl("x509", "-noout", "-purpose", "-in", file)
    assert ("SSL server : Yes" in shown) is (serves is not False)


@needs_openssl
@pytest.mark.parametrize(
    ("subject", "name"),
    [("/CN=heddle", "heddle"), ("/O=Fabric/CN=Spule Süd/OU=x", "Spule Süd"), ("/O=Fabric", ""), ("/CN=a/CN=b", "b")],
)
def test_the_common_name_is_read_in_any_script(tmp_path: Path, subject: str, name: str) -> None:
    assert read_certificates(make(tmp_path, 1, "-utf8", "-subj", subject))[0].common_name == name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.data())
def test_what_is_damaged_is_refused_in_one_sentence(tmp_path: Path, noise: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(DER)))
    file = tmp_path / "damaged.pem"
    body = base64.encodebytes(data.draw(st.sampled_from([noise, DER[:cut] + noise]))).decode()
    file.write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")

    with contextlib.suppress(InputError):
        (valid,) = read_certificates(file)
        assert valid[:2] == (0.0, 86_400.0)


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")

    with pytest.raises(InputError, match=r"empty\.pem holds no certificate in PEM"):
        read_certificates(tmp_path / "empty.pem")


def test_a_day_is_said_in_utc() -> None:
    assert day(951_868_799) == "2000-02-29 23:59 UTC"


# SEQUENCE { SEQUENCE { serial 1, SEQUENCE {}, SEQUENCE {}, SEQUENCE { 1970-01-01, 1970-01-02 }, SEQUENCE {} } }
_TIMES = b"\x17\x0d700101000000Z\x17\x0d700102000000Z"
_BODY = b"\x02\x01\x01\x30\x00\x30\x00\x30" + bytes([len(_TIMES)]) + _TIMES + b"\x30\x00"
DER = b"\x30" + bytes([len(_BODY) + 2]) + b"\x30" + bytes([len(_BODY)]) + _BODY
