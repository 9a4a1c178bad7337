#!/usr/bin/env bash
# Install the Debian packages that an emulated cluster needs, if any is missing, and see that Open vSwitch runs.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/as-root.sh --check

needed=(openvswitch-switch mininet ethtool iproute2 iputils-ping mount)
# A Python of the user's own brings venv along; Debian's has it in a package.
scripts/find-python.sh >/dev/null 2>&1 || needed+=(python3 python3-venv)

missing=()
for package in "${needed[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "heddle: apt-get is not here, so install the counterparts of ${missing[*]} yourself" >&2
        exit 1
    fi
    echo "Installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    scripts/as-root.sh "${apt[@]}" update
    scripts/as-root.sh "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null
fi

PATH=$PATH:/usr/sbin:/sbin
running() { scripts/as-root.sh ovs-vsctl --timeout=10 show >/dev/null 2>&1; }
if ! running; then
    if [ -d /run/systemd/system ]; then
        scripts/as-root.sh systemctl start openvswitch-switch
    elif ! log=$(scripts/as-root.sh /usr/share/openvswitch/scripts/ovs-ctl start --system-id=random 2>&1); then
        # Without its kernel module ovs-ctl complains, but the switch runs in user space.
        running || { printf '%s\nheddle: Open vSwitch does not start\n' "$log" >&2; exit 1; }
    fi
fi
