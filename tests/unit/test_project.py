"""The project's own promises: packages, dependencies, pinned versions, licences and the files around the code."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
IMPORTED_BY_NAME_OF_ANOTHER = {"yaml": "PyYAML", "os_ken": "os-ken"}
# Debian's package, for which the emulation checks before it starts.
FROM_ELSEWHERE = {"mininet"}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg")
    return parser


def packages() -> list[str]:
    return setup_cfg()["options"]["packages"].split()


def folders() -> list[str]:
    """The packages at the top, which hold the others."""
    return [package for package in packages() if "." not in package]


def names(requirements: str) -> set[str]:
    lines = (line for line in requirements.splitlines() if line.strip())
    return {canonicalize_name(Requirement(line).name) for line in lines}


def required() -> set[str]:
    return names(setup_cfg()["options"]["install_requires"])


def extra(name: str) -> set[str]:
    return names(setup_cfg()["options.extras_require"][name])


def allowed(path: Path) -> set[str]:
    """Distributions that a module may import."""
    if path.name == "testing.py":
        return required() | extra("dev")
    return required() | extra("emulation") if path.parent.name == "mininet_scenarios" else required()


def sources() -> Iterator[Path]:
    for package in folders():
        yield from (REPOSITORY / package).rglob("*.py")


def imports(path: Path) -> set[str]:
    """Top-level names that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_every_folder_of_code_is_a_package_of_the_distribution_and_typed() -> None:
    tops = [path.parent for path in REPOSITORY.glob("*/__init__.py")]
    found = {".".join(path.parent.relative_to(REPOSITORY).parts) for top in tops for path in top.rglob("__init__.py")}

    assert found == set(packages())
    assert all((REPOSITORY / package / "py.typed").exists() for package in folders())


def test_whatever_the_code_imports_is_required() -> None:
    known = set(packages()) | set(sys.stdlib_module_names) | FROM_ELSEWHERE
    for path in sources():
        for name in imports(path) - known:
            distribution = canonicalize_name(IMPORTED_BY_NAME_OF_ANOTHER.get(name, name))
            assert distribution in allowed(path), f"{path.relative_to(REPOSITORY)} imports {name}"


def test_a_plain_install_brings_os_ken_and_ryu_is_an_extra() -> None:
    assert "os-ken" in required()
    assert "ryu" not in required()
    assert "ryu" in extra("ryu")


def test_scapy_comes_with_the_development_tools_only_and_no_package_imports_it() -> None:
    assert "scapy" not in required() | extra("ryu") | extra("emulation")
    assert "scapy" in extra("dev")
    assert not [path for path in sources() if "scapy" in imports(path)]


def test_every_dependency_is_pinned() -> None:
    pins = names((REPOSITORY / "constraints.txt").read_text().partition("\n")[2])
    seen: set[str] = set()
    waiting = required() | extra("ryu") | extra("emulation") | extra("dev") | extra("fuzz")
    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            # Another version of Python needs it.
            continue
        requirements = map(Requirement, needed)
        waiting |= {
            canonicalize_name(each.name)
            for each in requirements
            if each.marker is None or each.marker.evaluate({"extra": ""})
        } - seen

    assert seen <= pins, f"not in constraints.txt: {sorted(seen - pins)}"


def test_pins_are_exact() -> None:
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line


@pytest.mark.parametrize("path", [".ci/run", *(f"scripts/{path.name}" for path in (REPOSITORY / "scripts").iterdir())])
def test_scripts_can_be_run_and_are_valid_bash(path: str) -> None:
    script = REPOSITORY / path

    assert script.stat().st_mode & 0o111
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize("target", ["help", "demo", "test", "unit", "acceptance", "lint", "clean"])
def test_make_knows_the_target_and_help_names_it(target: str) -> None:
    def make(*words: str) -> str:
        return subprocess.run(["make", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    assert make("--dry-run", target)
    assert f"make {target} " in make("help")


def test_without_root_and_without_sudo_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)

    refused = subprocess.run(
        ["/bin/bash", REPOSITORY / "scripts" / "as-root.sh", "true"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "needs root" in refused.stderr


def test_a_python_that_is_too_old_is_refused_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    refused = subprocess.run(
        [REPOSITORY / "scripts" / "find-python.sh"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "3.11" in refused.stderr


def test_demo_without_root_and_without_sudo_says_one_line_and_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    for name in ("make", "bash", "dirname", "cat", "grep"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)

    refused = subprocess.run(
        ["make", "demo", f"REPORT={tmp_path / 'report'}"],
        cwd=REPOSITORY,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    ours, *makes = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert ours.startswith("heddle: this needs root")
    assert len(makes) == 1
    assert makes[0].startswith("make: *** ")
    assert refused.stdout == ""
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("codes", "worst"), [((0,) * 11, 0), ((4, 0, 1, *(0,) * 8), 4), ((0, 1, *(0,) * 6, 4, 0, 5), 5)]
)
def test_acceptance_runs_every_step_and_ends_with_the_worst_code(
    codes: tuple[int, ...], worst: int, tmp_path: Path
) -> None:
    as_root, left, ran = tmp_path / "as-root", tmp_path / "codes", tmp_path / "ran"
    as_root.write_text(f'#!/bin/sh\necho "$*" >>{ran}\ncode=$(head -n 1 {left}); sed -i 1d {left}; exit "$code"\n')
    as_root.chmod(0o755)
    left.write_text("".join(f"{code}\n" for code in codes))

    done = subprocess.run(
        [
            "make",
            "--old-file=system",
            "--old-file=python",
            "acceptance",
            f"AS_ROOT={as_root}",
            f"SOLVER_BENCHMARK={as_root} benchmarks.solver",
            f"CHANNEL_BENCHMARK={as_root} benchmarks.channel",
            f"FUZZING={as_root} benchmarks.fuzzing",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    steps = ran.read_text().splitlines()
    both = ("ryu", "os-ken")
    names = ("discovery", "attacks", "dataplane")
    measured = [f"benchmarks.{name} --framework {framework}" for name in names for framework in both]
    expected = ("emulate", *measured, "benchmarks.channel", "benchmarks.solver", "benchmarks.fuzzing", "acceptance")
    assert [name in step for name, step in zip(expected, steps, strict=True)] == [True] * len(codes)
    assert len(steps) == len(codes)
    assert re.findall(r"Error (\d+)", done.stderr) == ([str(worst)] if worst else [])


@pytest.mark.parametrize(("codes", "worst"), [((0, 0), 0), ((1, 0), 1), ((0, 2), 2), ((3, 1), 3)])
def test_all_tests_run_in_two_calls_and_the_worst_code_is_that_of_make(
    codes: tuple[int, ...], worst: int, tmp_path: Path
) -> None:
    as_root, left, ran = tmp_path / "as-root", tmp_path / "codes", tmp_path / "ran"
    as_root.write_text(f'#!/bin/sh\necho "$*" >>{ran}\ncode=$(head -n 1 {left}); sed -i 1d {left}; exit "$code"\n')
    as_root.chmod(0o755)
    left.write_text("".join(f"{code}\n" for code in codes))

    done = subprocess.run(
        ["make", *(f"--old-file={before}" for before in ("system", "python", "lint")), "test", f"AS_ROOT={as_root}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip

    unit, rest = ([word for word in step.split() if "tests" in word] for step in ran.read_text().splitlines())
    assert (unit, rest) == (["tests/unit"], ["--ignore=tests/unit"])
    assert re.findall(r"Error (\d+)", done.stderr) == ([str(worst)] if worst else [])


def test_a_wheel_holds_every_package_its_type_marker_and_the_programs_that_ranks_run(tmp_path: Path) -> None:
    # A copy, since a build leaves its traces beside the sources.
    copy = tmp_path / "heddle"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    for package in folders():
        shutil.copytree(REPOSITORY / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    expected = {str(path.relative_to(copy)) for path in copy.rglob("*.py")}
    expected |= {f"{package}/py.typed" for package in folders()}

    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
         "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(copy)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {"mininet_scenarios/mpi_ring.py", "mininet_scenarios/tcp_probe.py"} <= expected
    assert expected <= held
