from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from authority import Authority, needs_openssl, openssl

from controller.certificates import day
from controller.config import TlsConfig
from controller.expiry import LOOK_S, ExpiryWatch
from controller.tls import TlsIdentity

pytestmark = needs_openssl

DAY_S = 86_400.0
Told = list[tuple[str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TlsConfig:
    """A certificate for 365 days of an authority for 3,650."""
    own = Authority(tmp_path_factory.mktemp("expiry") / "ca").sign("heddle", "serverAuth")
    return TlsConfig(certificate=own.file, key=own.key, authority=own.authority)


@pytest.fixture
def identity(made: TlsConfig, tmp_path: Path) -> TlsIdentity:
    """Copies of the files, which a test may spoil."""
    copies = {name: Path(shutil.copy(path, tmp_path)) for name, path in made}
    return TlsIdentity(TlsConfig(**copies))


def told(identity: TlsIdentity, *times_s: float) -> Told:
    """What a watch says that looks at these times."""
    clock, said = iter(times_s), Told()
    watch = ExpiryWatch(identity, lambda kind, sentence: said.append((kind, sentence)), lambda: next(clock))
    for _ in times_s:
        watch.look()
    return said


def until_s(identity: TlsIdentity, which: str) -> float:
    return identity.expiries()[which]


def test_more_than_thirty_days_before_nothing_is_said(identity: TlsIdentity) -> None:
    assert told(identity, until_s(identity, "certificate") - 30 * DAY_S - 1) == []


@pytest.mark.parametrize("which", ["certificate", "authority"])
def test_within_thirty_days_the_file_and_the_day_are_said(identity: TlsIdentity, which: str) -> None:
    end_s = until_s(identity, which)

    kind, sentence = told(identity, end_s - 30 * DAY_S + 1)[-1]

    assert kind == "certificate-expiring"
    assert sentence.startswith(f"{getattr(identity.files, which)}: ")
    assert f"expires on {day(end_s)}" in sentence


def test_looked_at_each_hour_it_is_said_once_a_day(identity: TlsIdentity) -> None:
    midnight_s = (until_s(identity, "certificate") // DAY_S - 10) * DAY_S

    said = told(identity, *(midnight_s + hour * LOOK_S for hour in range(72)))

    assert [kind for kind, _ in said] == ["certificate-expiring"] * 3


def test_from_the_second_on_at_which_it_expires_that_is_said(identity: TlsIdentity) -> None:
    end_s = until_s(identity, "certificate")

    said = told(identity, end_s - 1, end_s, end_s + 1)

    assert [kind for kind, _ in said] == ["certificate-expiring", "certificate-expired"]
    assert f"our certificate expired on {day(end_s)}, so no switch can connect" in said[1][1]


def test_a_certificate_that_was_replaced_is_no_longer_said(identity: TlsIdentity) -> None:
    files, now_s = identity.files, until_s(identity, "certificate") - DAY_S
    said = Told()
    watch = ExpiryWatch(identity, lambda kind, sentence: said.append((kind, sentence)), lambda: now_s)
    watch.look()
    openssl("req", "-x509", "-key", files.key, "-subj", "/CN=new", "-days", "800", "-out", files.certificate)

    watch.look()

    assert [kind for kind, _ in said] == ["certificate-expiring"]
    assert until_s(identity, "certificate") > now_s + 300 * DAY_S


def test_a_file_that_nobody_can_use_is_said_with_its_setting(identity: TlsIdentity) -> None:
    identity.files.key.unlink()

    ((kind, sentence),) = told(identity, until_s(identity, "certificate") - 60 * DAY_S)

    assert kind == "certificate-unusable"
    assert sentence.startswith(f"no switch can connect: openflow_tls.key: {identity.files.key} cannot be read")


def test_what_cannot_be_read_has_no_date(identity: TlsIdentity) -> None:
    identity.files.certificate.write_text("nothing\n")

    assert identity.expiries().keys() == {"authority"}
