"""What a machine lacks is said in one sentence that names the remedy."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from heddle.main import main
from mininet_scenarios import requirements
from mininet_scenarios.requirements import MissingRequirement, check_machine, program


def test_without_root_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["emulate"]) == 1
    said = capsys.readouterr().err
    assert said == "heddle: an emulated cluster needs root (network namespaces); run the command with sudo\n"


def test_clearing_away_without_root_says_so_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["emulate", "--cleanup"]) == 1
    said = capsys.readouterr().err
    assert said == "heddle: an emulated cluster needs root (network namespaces); run the command with sudo\n"


def test_a_missing_open_vswitch_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "_SYSTEM_PATH", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["emulate"]) == 1
    assert (
        capsys.readouterr().err == "heddle: ovs-vswitchd is not installed; run 'apt-get install openvswitch-switch'\n"
    )


def test_a_missing_schema_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "program", lambda name: name)
    monkeypatch.setattr(requirements, "OVS_SCHEMA", tmp_path / "schema")
    with pytest.raises(MissingRequirement, match="schema is missing; run 'apt-get install openvswitch-switch'"):
        check_machine()


def test_a_missing_mpi_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingRequirement, match=r"pip install '\.\[emulation\]'"):
        requirements.mpi_program()


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs Debian's package database")
def test_programs_come_from_the_packages_that_are_named() -> None:
    for name, package in requirements._PACKAGES.items():
        if (found := shutil.which(name, path=requirements._SYSTEM_PATH)) is None:
            continue
        # An alternative leads to its package; a merged /usr gives one file two names, of which dpkg knows one.
        names = {found, os.path.realpath(found), found.removeprefix("/usr"), f"/usr{found}"}
        said = subprocess.run(["dpkg", "-S", *names], capture_output=True, text=True, check=False).stdout
        assert not said or f"{package}:" in said, name


def test_a_missing_mininet_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(requirements, "_MININET_IN_DEBIAN", tmp_path / "mininet")
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda _: None)
    monkeypatch.delitem(requirements.sys.modules, "mininet", raising=False)
    with pytest.raises(MissingRequirement, match="apt-get install mininet"):
        requirements.load_mininet()


def test_a_program_outside_the_users_path_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "ethtool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setattr(requirements, "_SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert program("ethtool") == str(tool)


def test_check_machine_asks_for_root_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingRequirement, match="needs root"):
        check_machine()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["emulate", "nonsense"], "there is no scenario 'nonsense'"),
        (["emulate", "--sizes", "10"], "sizes '10' do not fit"),
        (["emulate", "--sizes", "many"], "sizes 'many' do not fit"),
        (["emulate", "--seeds", "5-1"], "seeds '5-1' are none at all"),
        (["emulate", "--seed", "-1"], "seed -1 does not fit"),
        (["emulate", "--k", "3"], "an even k from 2 to 128, not 3"),
        (["emulate", "--seeds", "1-2", "--routing", "ecmp"], "--seeds compares optimised with ECMP"),
        (["emulate", "--routing", "magic"], "magic"),
    ],
)
def test_bad_arguments_are_bad_input(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("heddle: ")
    assert error.count("\n") == 1
    assert said in error


def test_a_report_that_cannot_be_written_is_said_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for check in ("check_machine", "mpi_program"):
        monkeypatch.setattr(f"mininet_scenarios.requirements.{check}", lambda: None)
    (tmp_path / "file").touch()
    assert main(["emulate", "--report", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert f"the report cannot be written to {tmp_path}/file (File exists)" in error
    assert error.count("\n") == 1
