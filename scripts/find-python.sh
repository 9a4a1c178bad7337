#!/usr/bin/env bash
# Print the Python to build the virtual environment with: $PYTHON, or the first 3.11 or later that has venv.
set -euo pipefail

suits() { "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if [ -n "${PYTHON:-}" ]; then
    candidates=("$PYTHON")
else
    candidates=(python3 /usr/bin/python3 python3.13 python3.12 python3.11)
fi
for candidate in "${candidates[@]}"; do
    if suits "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done
echo "heddle: no Python 3.11 or later with venv among ${candidates[*]}: install python3-venv, or set PYTHON" >&2
exit 1
