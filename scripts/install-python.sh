#!/bin/sh
# Makes the virtual environment in .venv with everything that demo and tests use: Heddle, os-ken, Ryu, MPI, tools.
# Does nothing where it was made from the same files before.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/heddle-installed
inputs="setup.cfg pyproject.toml constraints.txt build-constraints.txt scripts/install-python.sh"
# shellcheck disable=SC2086 # a list of files
wanted=$(cat $inputs | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

python=""
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 \
        && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "heddle: no Python 3.11 or later was found; install one, or name it: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    echo "heddle: $python cannot make virtual environments; install the Debian package python3-venv" >&2
    exit 1
fi

echo "making the virtual environment (this takes a minute or two the first time)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

# Ryu's source distribution builds with an old setuptools only. pip 25.3 and later has a flag for that; for
# earlier ones the build environment obeys PIP_CONSTRAINT.
if .venv/bin/python -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 3))'; then
    pip install -q -c constraints.txt --build-constraint build-constraints.txt 'ryu==4.34'
else
    PIP_CONSTRAINT="$PWD/build-constraints.txt" .venv/bin/python -m pip --disable-pip-version-check \
        install -q -c constraints.txt 'ryu==4.34'
fi
pip install -q -c constraints.txt -e '.[ryu,emulation,dev]'
echo "$wanted" > "$stamp"
