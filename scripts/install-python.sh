#!/usr/bin/env bash
# Make the virtual environment .venv with Heddle, both OpenFlow frameworks and the tools, at the pinned versions.
# Does nothing where it was made from the same files before.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/heddle-installed
wanted=$(cat setup.cfg pyproject.toml constraints.txt build-constraints.txt scripts/install-python.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(scripts/find-python.sh)
    echo "making the virtual environment with $python"
    "$python" -m venv --clear .venv
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=(.venv/bin/python -m pip)

echo "installing Python packages into .venv (a minute or two the first time)"
# Ryu's source distribution builds with an old setuptools only, so its wheel is made apart. pip 25.3 and later has an
# option for that; for earlier ones the build environment obeys PIP_CONSTRAINT, and those before 23.1 must be told to make
# a build environment at all.
wheel=(wheel --quiet --no-deps --constraint constraints.txt --wheel-dir .venv/wheels)
if "${pip[@]}" wheel --help | grep -q -- --build-constraint; then
    "${pip[@]}" "${wheel[@]}" --build-constraint build-constraints.txt ryu
else
    PIP_CONSTRAINT=$PWD/build-constraints.txt "${pip[@]}" "${wheel[@]}" --use-pep517 ryu
fi
"${pip[@]}" install --quiet --constraint constraints.txt --find-links .venv/wheels --editable '.[ryu,emulation,dev]'
# A fuzzer with wheels for Linux on x86-64 only; the tests that need it are skipped without it.
"${pip[@]}" install --quiet --constraint constraints.txt --only-binary atheris atheris ||
    echo "no wheel of Atheris for this machine: fuzzing tests are skipped"
echo "$wanted" >"$stamp"
