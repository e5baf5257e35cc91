# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager, as it is on laptops and in machines: in the guest, and on the host
where we run.  It has a bus, a configuration and a state of its own.

It takes no tap device for Ethernet, so in the guest it has one end of a veth, whose
other end is on a bridge with the tap.
"""

import ipaddress
import re

import pytest

from clients import dhcp
from lab import UPLINK, V4, V6, until
from test_discovery import LONG, alone, needs
from test_follow import (VPN, WLAN, advertise, follows, machine, prefixes, seen_as,
                         serve_leases)
from test_follow import roamer as roamer, world as world  # pylint: disable=unused-import

pytestmark = needs("NetworkManager", "dbus-daemon")

# $1 is the device that it has
MANAGER = """
mount -t tmpfs none /run && mount -o remount,ro,bind /sys &&
mkdir -p /run/system-connections /run/state /var/lib/NetworkManager &&
mount --bind /run/state /var/lib/NetworkManager &&
printf '%s:x:0:0::/:/bin/sh\\n' root messagebus >/run/passwd &&
mount --bind /run/passwd /etc/passwd || exit
cat >/run/manager.conf <<END
[main]
plugins=keyfile
dhcp=internal
dns=none
rc-manager=unmanaged
no-auto-default=*
[keyfile]
path=/run/system-connections
unmanaged-devices=except:interface-name:$1
[connectivity]
enabled=false
END
cat >/run/system-connections/wired.nmconnection <<END
[connection]
id=wired
type=ethernet
interface-name=$1
[ipv4]
method=auto
[ipv6]
method=auto
addr-gen-mode=eui64
ip6-privacy=0
END
chmod 600 /run/system-connections/*
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus
dbus-daemon --session --address=$DBUS_SYSTEM_BUS_ADDRESS --fork --nopidfile
exec NetworkManager --no-daemon --config=/run/manager.conf \\
	--config-dir=/run/none --system-config-dir=/run/none \\
	--intern-config=/run/intern.conf --state-file=/run/nm.state
"""
LENGTH = {V4: 24, V6: 64}


def network(address, family):
    return ipaddress.ip_network(f"{address}/{LENGTH[family]}", strict=False)


def networks(ns, device, family):
    """Of preferred addresses, with their lengths: those that DHCPv6 gave are alone in
    theirs."""
    text = ns.run("ip", "-6" if family == V6 else "-4", "addr", "show", "dev",
                  device, "scope", "global", "-deprecated")
    return {(network(address, family), int(length)) for address, length in
            re.findall(r"inet6? (\S+)/(\d+)", text)}


def pull(ns, other_end, device):
    """The cable, until that is believed, and in again."""
    ns.ip(f"link set {other_end} down")
    until(lambda: not any(networks(ns, device, f) for f in (V4, V6)),
          "the loss of the link", LONG)
    ns.ip(f"link set {other_end} up")


def test_guest(lab, roamer, world):
    """It has what the host has: what an advertisement says at once, the rest when it
    asks, at the latest when the link has been gone."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, "bridged")
    guest.run("ip", "addr", "flush", "dev", UPLINK)
    guest.sh(f"""
        ip link add nm0 type veth peer name nm1
        ip link add br0 type bridge
        ip link set {UPLINK} master br0
        ip link set nm1 master br0
        ip link set br0 up
        ip link set nm1 up""")
    manager = alone(guest, MANAGER, "nm0")

    def at(link, family, lengths=frozenset((24, 64, 128))):
        """All of it is of @link, as far as it is of these @lengths."""
        until(lambda: {n for n, length in networks(guest, "nm0", family)
                       if length in lengths} == {network(link.host[family], family)},
              f"the address of {link.dev}", LONG)
    for family in V4, V6:
        at(WLAN, family)
    follows(guest, WLAN)
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    at(VPN, V6, {64})
    pull(guest, "nm1", "nm0")
    for family in V4, V6:
        at(VPN, family)
    follows(guest, VPN)
    roamer.unplug(VPN)
    at(WLAN, V6, {64})
    pull(guest, "nm1", "nm0")
    for family in V4, V6:
        at(WLAN, family)
    follows(guest, WLAN)
    assert manager.popen.poll() is None


def test_host(lab, roamer, world):
    """What it has made of the host's link the guest has, too: other addresses, and none
    while the link is gone."""
    roamer.plug(WLAN)
    guest = machine(lab, "bridged")
    guest.run("ip", "link", "set", UPLINK, "down")  # its addresses go
    guest.run("sysctl", "-qw", f"net.ipv6.conf.{UPLINK}.accept_ra=2")
    guest.run("ip", "link", "set", UPLINK, "up")
    guest.run("ip", "route", "replace", "default", "via", WLAN.router[V4])

    def serve(address, prefix, was):
        return (serve_leases(roamer, lab, address),
                advertise(roamer, lab, **{was: 0, prefix: 1800}))

    def has(address, prefix):
        until(lambda: seen_as(guest, V4) == address, f"the way by {address}", LONG)
        until(lambda: prefixes(guest) == {prefix}, f"{prefix} alone", LONG)
    servers = serve("198.51.100.21", "a1", "a2")
    manager = alone(roamer.ns, MANAGER, "wlan0")
    has("198.51.100.21", "a1")
    for server in servers:
        server.kill()
    roamer.world.ip("link set wlan0 down")
    until(lambda: not any(networks(roamer.ns, "wlan0", f) for f in (V4, V6)),
          "the loss of the host's addresses", LONG)
    until(lambda: seen_as(guest, V4) is None, "no way")
    lab.path("served").unlink()
    roamer.world.ip("link set wlan0 up")
    serve("198.51.100.22", "a2", "a1")
    has("198.51.100.22", "a2")
    # What is bound to no address goes by the new one before we know of it
    until(lambda: dhcp(lab, guest, "udhcpc")["ip"] == "198.51.100.22",
          "a lease of it", LONG)
    assert manager.popen.poll() is None
