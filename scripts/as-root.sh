#!/usr/bin/env bash
# Run a command as root: directly, or through sudo. Files that it makes in this folder are then handed back to the
# user who called. Usage: as-root.sh [--check] COMMAND [ARGUMENT...]
set -euo pipefail

if [ "$(id -u)" -eq 0 ]; then
    [ "${1:-}" = --check ] || exec "$@"
    exit 0
fi
if ! command -v sudo >/dev/null; then
    echo "heddle: this needs root (network namespaces, Open vSwitch): run it as root, or install sudo" >&2
    exit 1
fi
[ "${1:-}" != --check ] || exit 0

# sudo drops the environment; ours is what the command may need of it.
variables=()
while IFS= read -r name; do
    variables+=("$name=${!name}")
done < <(compgen -e | grep -E '^(HEDDLE_|HYPOTHESIS_|DEBIAN_FRONTEND$|CI$|TERM$|COLUMNS$)' || true)

status=0
sudo env ${variables[@]+"${variables[@]}"} "$@" || status=$?
if [ -O . ]; then
    sudo find . -xdev -path ./.git -prune -o -uid 0 -exec chown -h "$(id -u):$(id -g)" {} +
fi
exit "$status"
