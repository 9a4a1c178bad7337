#!/bin/sh
# Installs the Debian packages that emulation needs, where any is missing, and starts Open vSwitch where no service
# manager does. Changes nothing on a machine that has them. Needs root: `make` runs it with sudo where it must.
set -eu

packages="openvswitch-switch mininet ethtool iproute2 iputils-ping"
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "heddle: these Debian packages are missing and only root can install them:$missing" >&2
        exit 1
    fi
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    apt-get install -q -y --no-install-recommends $missing
fi

# The emulation runs an Open vSwitch of its own; this one is the machine's, as a user would have it.
if [ "$(id -u)" -eq 0 ] && [ ! -d /run/systemd/system ] && ! ovs-vsctl --timeout=2 show >/dev/null 2>&1; then
    /usr/share/openvswitch/scripts/ovs-ctl start --system-id=random
fi
