from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from authority import needs_openssl, openssl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.certificates import day, validities
from topologies.errors import InputError


def make(folder: Path, days: int) -> Path:
    file = folder / f"{days}.pem"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", "/CN=x",
        "-days", str(days), "-keyout", folder / "key.pem", "-out", file,
    )  # fmt: skip
    return file


def said_by_openssl(file: Path, which: str) -> float:
    text = openssl("x509", "-noout", f"-{which}date", "-dateopt", "iso_8601", "-in", file).strip().partition("=")[2]
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC).timestamp()


@needs_openssl
@pytest.mark.parametrize("days", [1, 365, 36_500])
def test_a_certificate_is_valid_when_openssl_says_it_is(tmp_path: Path, days: int) -> None:
    file = make(tmp_path, days)

    (valid,) = validities(file)

    assert valid.from_s == said_by_openssl(file, "start")
    assert valid.until_s == said_by_openssl(file, "end")


@needs_openssl
def test_all_certificates_of_a_file_are_read_in_their_order_whatever_stands_between(tmp_path: Path) -> None:
    files = [make(tmp_path, days) for days in (3, 1)]
    both = tmp_path / "both.pem"
    both.write_text("# first\n" + "".join(file.read_text() + "between\n" for file in files))

    assert validities(both) == [validities(file)[0] for file in files]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.data())
def test_what_is_damaged_is_refused_in_one_sentence(tmp_path: Path, noise: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(DER)))
    file = tmp_path / "damaged.pem"
    body = base64.encodebytes(data.draw(st.sampled_from([noise, DER[:cut] + noise]))).decode()
    file.write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")

    with contextlib.suppress(InputError):
        (valid,) = validities(file)
        assert valid == (0.0, 86_400.0)


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")

    with pytest.raises(InputError, match=r"empty\.pem holds no certificate in PEM"):
        validities(tmp_path / "empty.pem")


def test_a_day_is_said_in_utc() -> None:
    assert day(951_868_799) == "2000-02-29 23:59 UTC"


# SEQUENCE { SEQUENCE { serial 1, SEQUENCE {}, SEQUENCE {}, SEQUENCE { 1970-01-01, 1970-01-02 } } }
_TIMES = b"\x17\x0d700101000000Z\x17\x0d700102000000Z"
_BODY = b"\x02\x01\x01\x30\x00\x30\x00\x30" + bytes([len(_TIMES)]) + _TIMES
DER = b"\x30" + bytes([len(_BODY) + 2]) + b"\x30" + bytes([len(_BODY)]) + _BODY
