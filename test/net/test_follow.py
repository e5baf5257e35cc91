# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's network changes while we run: the guest's does, too.

    guest       roamer                     world
   +-----+     +-------+ wlan0   wlan0  +---------+
   |     |-----|       |----------------|         |  203.0.113.1
   +-----+     |       |----------------|         |  2001:db8:f::1
               +-------+ vpn0     vpn0  +---------+

roamer is a host that begins without any network.  The world, which says by which
address it was called, is behind either of two links.
"""

import socket

import pytest

from clients import dhcp, hear_router, router_socket
from lab import UPLINK, V4, V6, batch, script, until

WORLD = {V4: "203.0.113.1", V6: "2001:db8:f::1"}
FAMILIES = (V4, V6)
PORT = 7100


class Link:
    """A link of the roamer's, of which it is told by nobody but the test."""

    def __init__(self, dev, host, router, lla):
        self.dev, self.host, self.router = dev, host, router
        self.lla = lla


WLAN = Link("wlan0", {V4: "198.51.100.2", V6: "2001:db8:1::2"},
            {V4: "198.51.100.1", V6: "fe80::1:1"}, "fe80::1:1")
VPN = Link("vpn0", {V4: "192.0.2.77", V6: "2001:db8:b::77"},
           {V4: "192.0.2.1", V6: "fe80::b:1"}, "fe80::b:1")
LEN = {V4: 24, V6: 64}


class Roamer:
    def __init__(self, lab):
        self.lab = lab
        names = lab.netns(), lab.netns()
        self.name, self.far = names
        for name in names:
            script(name, "link set lo up")
            batch(name, "net.ipv6.conf.all.accept_dad=0",
                  "net.ipv6.conf.default.accept_dad=0",
                  "net.ipv6.conf.default.accept_ra=0",
                  "net.ipv4.ping_group_range=0 2147483647")
        self.ns, self.world = (lab.named(n) for n in names)
        script(self.far, f"""
            addr add {WORLD[V4]}/32 dev lo
            addr add {WORLD[V6]}/128 dev lo nodad""")

    def plug(self, link):
        """The link is there, without addresses."""
        script(self.name, f"link add {link.dev} type veth peer name "
                          f"{link.dev} netns {self.far}")
        script(self.far, f"""
            link set {link.dev} up
            addr add {link.router[V4]}/24 dev {link.dev}
            addr add {link.lla}/64 dev {link.dev} nodad
            addr add {link.host[V6].rpartition(':')[0]}:f/64 dev {link.dev} nodad""")
        script(self.name, f"link set {link.dev} up")

    def unplug(self, link):
        script(self.name, f"link del {link.dev}")

    def join(self, link, families=FAMILIES, metric=1024):
        """It gets addresses and a default route."""
        for f in families:
            self.ip("addr", "add", f"{link.host[f]}/{LEN[f]}", "dev",
                    link.dev, *(["nodad"] if f == V6 else []))
            self.ip("-6" if f == V6 else "-4", "route", "add", "default",
                    "via", link.router[f], "dev", link.dev, "metric", metric)

    def ip(self, *words):
        self.ns.run("ip", *words)


@pytest.fixture
def roamer(lab):
    r = Roamer(lab)
    lab.host = r.ns     # where daemons are started
    return r


@pytest.fixture
def world(roamer):
    """It answers with the address that it was called from."""
    for f in FAMILIES:
        roamer.world.spawn(
            "socat", f"TCP{'6' if f == V6 else '4'}-LISTEN:{PORT},fork,"
            "reuseaddr" + (",ipv6only" if f == V6 else ""),
            "SYSTEM:echo $SOCAT_PEERADDR; cat")
    return roamer.world


def seen_as(guest, family):
    """By which address the world knows the guest; None: there is no way."""
    with guest.inside():
        s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(1)
    with s:
        try:
            s.connect((WORLD[family], PORT))
            text = s.makefile().readline().strip().strip("[]")
        except OSError:
            return None
    return socket.inet_ntop(family, socket.inet_pton(family, text)) \
        if text else None


def follows(guest, link, families=FAMILIES):
    for f in families:
        until(lambda: seen_as(guest, f) == link.host[f],
              f"the way by {link.dev}")


# Machines

def machine(lab, kind, *options):
    """It has what the roamer gives it on the first link, by router
    advertisements, too."""
    guest = getattr(lab, kind)(1500, *options)
    guest.run("ip", "route", "replace", "default", "via", WLAN.router[V4])
    return guest


@pytest.mark.parametrize("kind", ["bridged", "fronted"])
def test_machine(lab, roamer, world, kind):
    roamer.plug(WLAN)
    roamer.join(WLAN)
    log = lab.path("log")
    guest = machine(lab, kind, "--log-file", log)
    follows(guest, WLAN)
    s = router_socket(guest, UPLINK)
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    follows(guest, VPN)
    # Both families may come with one look, or one after the other
    ra = hear_router(s)
    while ra["lifetime"] and ra["router"] == WLAN.lla:
        ra = hear_router(s)
    assert ra["router"] == WLAN.lla and not ra["lifetime"]
    ra = hear_router(s)
    assert ra["router"] == VPN.lla and ra["lifetime"]
    assert ra["prefix"] == "2001:db8:b::/64"
    assert ra["no prefix"] == "2001:db8:1::/64"
    lease = dhcp(lab, guest, "udhcpc")
    assert lease["ip"] == VPN.host[V4] and lease["router"] == VPN.router[V4]
    assert ", router 192.0.2.1" in log.read_text()
    roamer.unplug(VPN)
    follows(guest, WLAN)
    until(lambda: ", router 198.51.100.1" in log.read_text(), "the way back")


@pytest.mark.parametrize("options, lease", [
    ("-a 10.9.8.7 -n 24 -g 10.9.8.1", ["10.9.8.7", "10.9.8.1", "86400"]),
    ("--no-follow", [WLAN.host[V4], WLAN.router[V4], "4294967295"]),
])
def test_machine_stays(lab, roamer, world, options, lease):
    """What was given, or all of it; the way leads by the new link all the same."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    log = lab.path("log")
    guest = machine(lab, "bridged", "--log-file", log, *options.split())
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    follows(guest, VPN)
    if options != "--no-follow":
        until(lambda: "IPv6 network has changed" in log.read_text(), "IPv6")
    got = dhcp(lab, guest, "udhcpc")
    assert [got[k] for k in ("ip", "router", "lease")] == lease
    assert "IPv4 network has changed" not in log.read_text()


def test_late(lab, roamer, world):
    """A machine boots before its host has any network."""
    log = lab.path("log")
    guest = machine(lab, "bridged", "--log-file", log)
    roamer.plug(WLAN)
    roamer.join(WLAN, [V4])
    follows(guest, WLAN, [V4])
    until(lambda: "IPv4 network has changed" in log.read_text(), "IPv4")
    assert dhcp(lab, guest, "udhcpc")["ip"] == WLAN.host[V4]
    s = router_socket(guest, UPLINK)
    roamer.join(WLAN, [V6])
    follows(guest, WLAN)
    ra = hear_router(s)
    while "prefix" not in ra:
        ra = hear_router(s)
    assert ra["router"] == WLAN.lla and ra["prefix"] == "2001:db8:1::/64"


# Namespaces with --config-net

def has(guest, link, families=FAMILIES):
    """What the link has is in the namespace, and nothing else leads out."""
    for f in families:
        until(lambda: guest.default_route(f) == [link.router[f]],
              f"the route by {link.dev}")
        assert f"{link.host[f]}/{LEN[f]}" in guest.addresses(f)


def test_namespace(lab, roamer, world):
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = lab.pasta("--config-net", "-I", UPLINK)
    follows(guest, WLAN)
    # What somebody did by hand is left alone
    guest.run("ip", "addr", "add", "10.1.1.1/24", "dev", UPLINK)
    guest.run("ip", "route", "add", "10.2.0.0/16", "via", "10.1.1.9")
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    has(guest, VPN)
    follows(guest, VPN)
    roamer.unplug(VPN)
    has(guest, WLAN)
    follows(guest, WLAN)
    assert "10.1.1.1/24" in guest.addresses(V4)
    assert guest.ip("route show 10.2.0.0/16")
    # After some time there is nothing left of it
    for f in FAMILIES:
        until(lambda: f"{VPN.host[f]}/{LEN[f]}" not in guest.addresses(f),
              "the end of the VPN's address")
    has(guest, WLAN)


def test_namespace_late(lab, roamer, world):
    """No interface at all, then one with IPv4, then IPv6, then a route that is
    not ours."""
    guest = lab.pasta("--config-net", "-I", UPLINK)
    assert guest.default_route(V4) == ["169.254.2.2"]
    roamer.plug(WLAN)
    roamer.join(WLAN, [V4])
    has(guest, WLAN, [V4])
    follows(guest, WLAN, [V4])
    roamer.join(WLAN, [V6])
    has(guest, WLAN)
    follows(guest, WLAN)
    guest.run("ip", "route", "del", "default")
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    has(guest, VPN, [V6])
    assert guest.default_route(V4) == []
