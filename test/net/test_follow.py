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

import json
import os
import pathlib
import re
import signal
import socket
import time

import pytest

from clients import (Background, Lease, dhcp, dhcpcd, hear_router,
                     router_socket)
from lab import (DEADLINE, PASTA, PESTO, SANITIZED, STREAM, UPLINK, USER, V4, V6,
                 Process, batch, run, script, until)

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
LEN, FLAGS = {V4: 24, V6: 64}, {V4: "", V6: "nodad"}


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
            script(self.name, f"""
                addr add {link.host[f]}/{LEN[f]} dev {link.dev} {FLAGS[f]}
                route add default via {link.router[f]} dev {link.dev} metric {metric}
                """)

    def leave(self, link, families=FAMILIES):
        """It has lost them, while the link is there.  Of IPv4 the default route
        goes along."""
        for f in families:
            if f == V6:
                self.ip("-6", "route", "del", "default", "dev", link.dev)
            self.ip("addr", "del", f"{link.host[f]}/{LEN[f]}", "dev", link.dev)

    def ip(self, *words):
        run("ip", "-n", self.name, *map(str, words))


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


def conversation(guest, family):
    """A connection to the world, which says what it is told."""
    s = guest.connect(family, WORLD[family], PORT)
    f = s.makefile("rb")
    assert f.readline()
    return s, f


def goes_on(talks):
    for s, f in talks:
        s.sendall(b"still there?\n")
        assert f.readline() == b"still there?\n"


def ends(s):
    """When it was reset."""
    with pytest.raises(ConnectionResetError):
        s.recv(100)
    return time.monotonic()


def follows(guest, link, families=FAMILIES):
    for f in families:
        until(lambda: seen_as(guest, f) == link.host[f],
              f"the way by {link.dev}")


# Machines

def machine(lab, kind, *options):
    """It has what the roamer gives it on the first link, by router
    advertisements, too; so has a namespace that nobody has configured.  said()
    is the daemon's log."""
    if kind in ("configured", "tapped"):    # quiet, if not told otherwise
        options = "-d", "-I", UPLINK, *options
        if kind == "configured":
            options = "--config-net", *options
        guest = lab.pasta(*options)
        guest.said = guest.process.output
    if kind == "tapped":
        guest.run("sysctl", "-q", "-w", "net.ipv6.conf.all.accept_ra=0",
                  "net.ipv6.conf.all.accept_dad=0",
                  "net.ipv6.conf.default.accept_dad=0")
        guest.sh(f"""
            ip link set {UPLINK} up
            ip addr add {WLAN.host[V4]}/24 dev {UPLINK}
            ip addr add {WLAN.host[V6]}/64 dev {UPLINK} nodad
            ip -6 route add default via {WLAN.lla} dev {UPLINK}
            ip route add default via {WLAN.router[V4]}""")
    if kind in ("bridged", "fronted"):
        log = lab.path(f"log-{lab.serial}")
        guest = getattr(lab, kind)(1500, "--log-file", log, *options)
        guest.said = log.read_text
        guest.run("ip", "route", "replace", "default", "via", WLAN.router[V4])
    return guest


MACHINES = ["bridged", "fronted", "tapped"]
KINDS = [*MACHINES, "configured"]


@pytest.mark.parametrize("kind", MACHINES)
def test_machine(lab, roamer, world, kind):
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, kind)
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
    assert ", router 192.0.2.1" in guest.said()
    roamer.unplug(VPN)
    follows(guest, WLAN)
    until(lambda: ", router 198.51.100.1" in guest.said(), "the way back")


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_machine_called(lab, roamer, world, family):
    """A client that can be told renews long before it is time: FORCERENEW and
    Reconfigure"""
    roamer.plug(WLAN)
    roamer.join(WLAN, [family])
    guest = machine(lab, "bridged")
    guest.run("ip", "addr", "flush", "dev", UPLINK, "scope", "global")
    guest.spawn(*dhcpcd(lab.path("called.conf"), "-4" if family == V4 else "-6",
                        UPLINK))
    length = 24 if family == V4 else 128

    def leased(link):
        until(lambda: guest.addresses(family) == [f"{link.host[family]}/{length}"]
              and (family == V6 or
                   guest.default_route(V4) == [link.router[V4]]),
              f"a lease of {link.dev} alone")
    leased(WLAN)
    roamer.plug(VPN)
    roamer.join(VPN, [family], metric=50)
    leased(VPN)
    roamer.unplug(VPN)
    leased(WLAN)


@pytest.mark.parametrize("options, lease", [
    ("-a 10.9.8.7 -n 24 -g 10.9.8.1", ["10.9.8.7", "10.9.8.1", "86400"]),
    ("--no-follow", [WLAN.host[V4], WLAN.router[V4], "4294967295"]),
])
def test_machine_stays(lab, roamer, world, options, lease):
    """What was given, or all of it; the way leads by the new link all the same."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, "bridged", *options.split())
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    follows(guest, VPN)
    if options != "--no-follow":
        until(lambda: "IPv6 network has changed" in guest.said(), "IPv6")
    got = dhcp(lab, guest, "udhcpc")
    assert [got[k] for k in ("ip", "router", "lease")] == lease
    assert "IPv4 network has changed" not in guest.said()


def test_late(lab, roamer, world):
    """A machine boots before its host has any network."""
    guest = machine(lab, "bridged")
    roamer.plug(WLAN)
    roamer.join(WLAN, [V4])
    follows(guest, WLAN, [V4])
    until(lambda: "IPv4 network has changed" in guest.said(), "IPv4")
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
        until(lambda: f"{link.host[f]}/{LEN[f]}" in guest.addresses(f),
              "its address")


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


# Connections

@pytest.mark.parametrize("kind", KINDS)
def test_connections(lab, roamer, world, kind):
    """They outlive what is short, and what is not theirs; then they are reset."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, kind)
    follows(guest, WLAN)
    talks = [conversation(guest, f) for f in FAMILIES]
    # Another way for new ones does not concern them
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    follows(guest, VPN)
    goes_on(talks)
    roamer.unplug(VPN)
    follows(guest, WLAN)
    goes_on(talks)
    # A flap
    roamer.leave(WLAN)
    until(lambda: seen_as(guest, V4) is None, "the flap")
    roamer.join(WLAN)
    follows(guest, WLAN)
    goes_on(talks)
    assert "address: 2 conn" not in guest.said()
    # And the end, 10 s after the turn in which the daemon saw it
    start = time.monotonic()
    roamer.leave(WLAN)
    for wait in [Background(ends, s) for s, _ in talks]:
        assert wait.result() - start > 9
    assert sum(map(int, re.findall(r"want of their address: (\d+) connections",
                                   guest.said()))) >= 2
    roamer.join(WLAN)
    follows(guest, WLAN)


# Rules for what is not there yet

RULES = {"address": ("-t", f"{VPN.host[V4]}/7201"),
         "IPv6 address": ("-t", f"{VPN.host[V6]}/7202"),
         "interface": ("-t", "%vpn0/7203"),
         "datagrams": ("-u", f"{VPN.host[V4]}/7204")}


def hears(world, listener, address, port):
    """What is sent there arrives.  A connection of an earlier try, which was given up
    before it was there, may be accepted first: it ends without a byte."""
    listener.settimeout(1)
    with world.socket(V6 if ":" in address else V4, listener.type) as s:
        s.settimeout(1)
        try:
            s.connect((address, port))
            s.send(b"hello")
            if listener.type != STREAM:
                return listener.recv(10) == b"hello"
            with listener.accept()[0] as c:
                c.settimeout(1)
                return c.recv(10) == b"hello"
        except OSError:
            return False


@pytest.mark.parametrize("kind", ["bridged", "configured"])
def test_rules(lab, roamer, world, kind):
    """They are bound when what they name is there, and when it is made again."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, kind,
                    *[word for rule in RULES.values() for word in rule])
    text = guest.said()
    assert text.count("Waiting for the address of HOST") == 3
    assert text.count("Waiting for the interface of HOST TCP") == 1
    listeners = {"address": (guest.listen(V4, 7201), VPN.host[V4]),
                 "IPv6 address": (guest.listen(V6, 7202), VPN.host[V6]),
                 "interface": (guest.listen(V4, 7203), VPN.host[V4]),
                 "datagrams": (guest.bind(V4, port=7204), VPN.host[V4])}

    def heard(what):
        listener, address = listeners[what]
        return hears(world, listener, address, int(RULES[what][1][-4:]))
    assert not any(map(heard, listeners))
    for times in range(1, 3):
        roamer.plug(VPN)
        roamer.join(VPN, metric=5000)
        for what in listeners:
            until(lambda: heard(what), f"the rule for the {what}")
        text = guest.said()
        assert text.count("Listening now: HOST") == 3 + times
        roamer.unplug(VPN)
        until(lambda: guest.said().count("Waiting for the interface")
              == 1 + times, "the end of the interface")


def test_rules_added(lab, roamer, world):
    """By pesto, too, and with the interface of a rule that follows the other
    side."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    control = lab.path("control")
    guest = machine(lab, "bridged", "-c", control)
    roamer.ns.run(PESTO, control, "-t", f"{VPN.host[V4]}/7201")
    listener = guest.listen(V4, 7201)
    assert "Waiting for the address of HOST TCP" in guest.said()
    roamer.plug(VPN)
    roamer.join(VPN, metric=5000)
    until(lambda: hears(world, listener, VPN.host[V4], 7201), "the rule")


@pytest.mark.parametrize("option", ["192.0.2.77/7201", "%vpn0/7201"])
def test_rules_that_cannot_wait(lab, roamer, option):
    roamer.plug(WLAN)
    roamer.join(WLAN)
    end = roamer.ns.run(*USER, PASTA, "--no-follow", "-t", option, "true",
                        check=False)
    assert end.status == 1
    assert "Couldn't listen on requested ports" in end.stderr


# Renumbered

NEW = Link("wlan0", {V4: "198.51.100.99", V6: "2001:db8:9::99"},
           {V4: "198.51.100.1", V6: "fe80::1:1"}, "fe80::1:1")


@pytest.mark.parametrize("kind", KINDS)
def test_renumbered(lab, roamer, world, kind):
    """Other addresses, the same link and router: as DHCP or a prefix that was
    delegated may have it."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, kind)
    follows(guest, WLAN)
    s = router_socket(guest, UPLINK)
    script(roamer.far, f"addr add {NEW.host[V6][:-2]}f/64 dev wlan0 nodad")
    roamer.leave(WLAN)
    roamer.join(NEW)
    follows(guest, NEW)
    if kind == "configured":
        has(guest, NEW)
        return
    ra = hear_router(s)
    while ra.get("prefix") != "2001:db8:9::/64":
        ra = hear_router(s)
    assert ra["no prefix"] == "2001:db8:1::/64"
    assert dhcp(lab, guest, "udhcpc")["ip"] == NEW.host[V4]
    roamer.leave(NEW)
    roamer.join(WLAN)
    follows(guest, WLAN)
    while ra.get("prefix") != "2001:db8:1::/64":
        ra = hear_router(s)
    assert ra["lifetime"] and "2001:db8:9::/64" in ra["no prefix"]


# Again and again, and much

def possessions(pid):
    """Descriptors and KiB of memory."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return (len(os.listdir(f"/proc/{pid}/fd")),
            int(re.search(r"RssAnon:\s+(\d+)", status)[1]))


ROUNDS = 5 if SANITIZED else 50


def test_again_and_again(lab, roamer, world):
    """No network, then IPv4, IPv6 as well, and none: nothing is left of it."""
    guest = lab.pasta("--config-net", "-I", UPLINK)
    other = machine(lab, "bridged")
    before = None
    for n in range(ROUNDS):
        roamer.plug(WLAN)
        roamer.join(WLAN, [V4])
        until(lambda: guest.default_route(V4) == [WLAN.router[V4]], "IPv4")
        roamer.join(WLAN, [V6])
        until(lambda: guest.default_route(V6) == [WLAN.router[V6]], "IPv6")
        if n == 2:
            before = [possessions(g.daemon) for g in (guest, other)]
        roamer.unplug(WLAN)
        if n in (0, ROUNDS - 1):    # the others are flaps
            until(lambda: guest.default_route(V4) == ["169.254.2.2"], "none")
        else:
            until(lambda: not roamer.ns.ip("route show default"), "none")
    after = [possessions(g.daemon) for g in (guest, other)]
    for was, now in zip(before, after):
        assert now[0] <= was[0]
        assert now[1] <= was[1] + 256 or SANITIZED  # the events' ring fills
    until(lambda: guest.addresses(V4) == ["169.254.2.1/16"] and
          not guest.addresses(V6), "the end of all addresses")


# A dump of IPv4's routes, whether strace knows what kind of socket that is or not
DUMP = re.compile(r'nlmsg_type=(?:RTM_GETROUTE|0x1a)\b[^}]*\}, '
                  r'(?:"\\x02|\{[^}]*AF_INET\b)')


def looks(guests, out, seconds, during=lambda: None):
    """For each: how often that was asked for, and the number of system calls."""
    outs = [f"{out}-{guest.daemon}" for guest in guests]
    straces = [Process(["strace", "-f", "-xx", "-o", name, "-p",
                        str(guest.daemon)], f"{name}.log")
               for guest, name in zip(guests, outs)]
    try:
        for strace in straces:
            strace.says("attached")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            during()
            time.sleep(0.05)
    finally:
        for strace in straces:
            strace.signal(signal.SIGINT)
            strace.exit()
    texts = [pathlib.Path(name).read_text() for name in outs]
    return [(len(DUMP.findall(text)), text.count("\n")) for text in texts]


@pytest.mark.skipif(SANITIZED, reason="calls are counted without sanitizers")
def test_storm(lab, roamer, world):
    """1000 addresses and 10000 routes, and a link that comes and goes: a look in
    0.8 s, and peace afterwards."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    many = lab.path("many")
    many.write_text("".join(
        f"addr add 10.7.{i // 250}.{i % 250 + 1}/32 dev lo\n"
        for i in range(1000)) + "".join(
        f"route add 10.{64 + i // 250}.{i % 250}.0/24 dev wlan0\n"
        for i in range(10000)))
    guests = bridged, configured = [machine(lab, kind) for kind in
                                    ("bridged", "configured")]
    for guest in guests:
        follows(guest, WLAN)
    begun = time.monotonic()
    seen = looks(guests, lab.path("routes"), 8,
                 lambda: many.exists() and (
                     roamer.ip("-b", many), many.unlink()))
    most = 4 + (time.monotonic() - begun) / 0.8
    assert all(1 <= n <= most for n, _ in seen)
    roamer.plug(VPN)
    flap = {"up": 0}

    def flip():
        flap["up"] ^= 1
        roamer.ip("link", "set", "vpn0", "up" if flap["up"] else "down")
    begun = time.monotonic()
    (n, _), (m, _) = looks(guests, lab.path("storm"), 10, flip)
    most = 4 + (time.monotonic() - begun) / 0.8
    assert 3 <= n <= most and 3 <= m <= 2 * most
    roamer.unplug(VPN)
    for guest in guests:
        follows(guest, WLAN)

    def peace():
        return all(n == 0 and calls <= 60 for n, calls in
                   looks(guests, lab.path("quiet"), 5))
    assert any(peace() for _ in range(5))
    assert len(configured.ip("route show dev " + UPLINK)) > 10000


def test_many_addresses(lab, roamer, world):
    """One of thousands is missed as one of few is."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, "configured", *RULES["datagrams"])
    many = lab.path("many")
    many.write_text("".join(f"addr add fd00:7::{i:x}/128 dev lo nodad\n"
                            for i in range(2500)))
    roamer.ip("-b", many)
    listener = guest.bind(V4, port=7204)
    roamer.plug(VPN)
    roamer.join(VPN, metric=5000)
    until(lambda: hears(world, listener, VPN.host[V4], 7204), "the rule")
    # The kernel lets us listen there before a look has shown it
    until(lambda: sum(map(int, re.findall("host: ([0-9]+) new", guest.said()))) >= 2503,
          "all addresses")
    roamer.unplug(VPN)
    # Each that was sent is one, whether it was heard or not
    until(lambda: re.search("address: [0-9]+ flows of datagrams", guest.said()),
          "its end")
    assert "more than" not in guest.said()


# What is told of it

def test_events(lab, roamer, world):
    """As it comes, and what was, to whoever asks later; who does not read costs
    nobody anything."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    path = lab.path("control")
    guest = machine(lab, "configured", "-c", path, *RULES["datagrams"])
    text = roamer.ns.spawn(*USER, PESTO, "--events", path)
    lazy = roamer.ns.spawn(*USER, PESTO, "--events", "--json", path)
    text.says(f"^[0-9-]+ [0-9:.]+ rule Waiting for the address of HOST UDP .*"
              f"{VPN.host[V4]}")
    lazy.says('"rule"')
    lazy.signal(signal.SIGSTOP)
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    follows(guest, VPN)
    has(guest, VPN)
    text.says(f" host The host's IPv4 network has changed: interface vpn0, "
              f"address {VPN.host[V4]}, router {VPN.router[V4]}$")
    text.says(" guest In the namespace: addresses [+][12] -0, routes [+]")
    text.says(" rule Listening now: HOST UDP")
    assert "In the namespace: addresses +" in guest.said()
    listener = guest.bind(V4, port=7204)
    assert hears(world, listener, VPN.host[V4], 7204)
    roamer.unplug(VPN)
    roamer.leave(WLAN)
    text.says(" gone The host's IPv4 network is gone, kept for 10 s$")
    text.says(" reset Reset for want of their address: [0-9]+ flows of "
              "datagrams$")
    roamer.join(WLAN)
    text.says(" back The host's IPv4 network is back$")
    follows(guest, WLAN)
    late = roamer.ns.spawn(*USER, PESTO, "--json", "--events", path)
    late.says('"back".*IPv6')
    lazy.signal(signal.SIGCONT)
    until(lambda: lazy.output() == late.output(), "the same for the lazy one")
    told = [json.loads(line) for line in late.output().splitlines()]
    assert [e["number"] for e in told] == list(range(len(told)))
    assert all(abs(e["time"] - time.time()) < 600 for e in told)
    assert [e["time"] for e in told] == sorted(e["time"] for e in told)
    host, = [e for e in told if e["event"] == "host" and
             e.get("interface") == "vpn0" and e["family"] == "IPv4"
             and "router" in e]
    assert (host["address"], host["router"]) == (VPN.host[V4], VPN.router[V4])
    states = [e["state"] for e in told if e["event"] == "rule"]
    assert states[:2] == ["waits", "bound"]
    assert {"addresses", "guest", "gone", "reset"} <= {e["event"] for e in told}
    assert [e["count"] for e in told if e["event"] == "reset"] == [1]
    # The end of it
    guest.process.kill()
    assert text.exit() == late.exit() == 0


def test_events_for_nobody(lab, roamer):
    """Who asks for what there is gets that and the end."""
    roamer.plug(WLAN)
    roamer.join(WLAN, [V4])
    path = lab.path("metrics")
    guest = machine(lab, "configured", "--metrics-socket", path)
    roamer.join(WLAN, [V6])
    until(lambda: "IPv6 network has changed" in guest.said(), "the event")
    for query, first in (("", '{"number": 0, '), ("?format=text", "")):
        told = roamer.ns.run(*USER, "curl", "-sS", "--unix-socket", path,
                             f"http://localhost/events{query}")
        assert told.startswith(first)
        assert "IPv6 network has changed: interface wlan0" in told
    for words in (["--events", "--flows"], ["--events", "-s"],
                  ["--events", "--port", "5"]):
        end = roamer.ns.run(*USER, PESTO, *words, path, check=False)
        assert end.status == 1 and len(end.stderr.splitlines()) == 1


# Translations

NAME = {V4: "169.254.1.2", V6: "fd00:99::1"}


def test_maps(lab, roamer, world):
    """A name for the host, as host.containers.internal stands for, is its address
    of now, the gateway is its loopback."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, "configured", "--map-guest-addr", NAME[V4],
                    "--map-guest-addr", NAME[V6])
    servers = {f: roamer.ns.listen(f, 7301) for f in FAMILIES}

    def reaches(family, address):
        s = guest.socket(family)
        s.settimeout(1)
        try:
            s.connect((address, 7301))
            with servers[family].accept()[0] as c:
                return c.getsockname()[0]
        except OSError:
            return None

    def lead_to(link):
        for f in FAMILIES:
            assert reaches(f, NAME[f]) == link.host[f]
        assert reaches(V4, link.router[V4]) == "127.0.0.1"
    lead_to(WLAN)
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    has(guest, VPN)
    lead_to(VPN)
    roamer.unplug(VPN)
    has(guest, WLAN)
    lead_to(WLAN)


@pytest.mark.parametrize("kind", ["bridged", "configured"])
def test_neighbours(lab, roamer, world, kind):
    """Those of the new link have their own MAC addresses, those of the old one
    have not any more."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, kind)

    script(roamer.far, f"addr add {WLAN.router[V4]}9/24 dev wlan0")

    def is_shown(link):
        """Whether it has its own address for the guest"""
        guest.run("ip", "neigh", "flush", "dev", UPLINK)
        guest.ok("ping", "-c", "1", "-W", "1", link.router[V4] + "9")
        shown = guest.ip(f"neigh show {link.router[V4]}9")
        real, = roamer.world.ip("link show " + link.dev)
        return shown and shown[0].get("lladdr") == real["address"]

    def asks(link):
        """The host knows it, and it is on the guest's link"""
        roamer.ns.run("ping", "-c", "1", "-W", "5", link.router[V4] + "9")
        if kind == "bridged":
            guest.run("ip", "addr", "replace", link.host[V4] + "/24", "dev",
                      UPLINK)
    asks(WLAN)
    until(lambda: is_shown(WLAN), "the first one's")
    roamer.plug(VPN)
    script(roamer.far, f"addr add {VPN.router[V4]}9/24 dev vpn0")
    roamer.join(VPN, metric=50)
    follows(guest, VPN, [V4])
    asks(VPN)
    until(lambda: is_shown(VPN), "the next one's")
    until(lambda: not is_shown(WLAN), "the end of the first one's")


# Who else configures a host: by DHCP, until the server has other addresses

def serve_leases(roamer, lab, first):
    server = roamer.world.spawn(
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
        "--interface=wlan0", "--bind-interfaces", "--no-ping",
        "--log-facility=-", f"--dhcp-leasefile={lab.path('served')}",
        f"--dhcp-range={first},{first},120")
    server.says("DHCP, IP range")
    return server


@pytest.mark.parametrize("kind", ["bridged", "configured"])
def test_leases(lab, roamer, world, kind):
    roamer.plug(WLAN)
    guest = machine(lab, kind)
    first, second = "198.51.100.21", "198.51.100.22"
    server = serve_leases(roamer, lab, first)
    assert dhcp(lab, roamer.ns, "udhcpc", "wlan0")["ip"] == first
    until(lambda: seen_as(guest, V4) == first, "the first lease")
    server.kill()
    lab.path("served").unlink()
    server = serve_leases(roamer, lab, second)
    roamer.ip("addr", "flush", "dev", "wlan0", "scope", "global")
    assert dhcp(lab, roamer.ns, "udhcpc", "wlan0")["ip"] == second
    until(lambda: seen_as(guest, V4) == second, "the second lease")
    if kind == "configured":
        until(lambda: f"{second}/24" in guest.addresses(V4), "it in there")
        until(lambda: f"{first}/24" not in guest.addresses(V4), "its end")
    else: # the way may be there before we know of it
        until(lambda: dhcp(lab, guest, "udhcpc")["ip"] == second, "it in there")


def test_renewal(lab, roamer, world):
    """A client that asks again, as it does in time by itself, is refused the old
    address and takes the new one."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, "bridged")
    guest.run("ip", "addr", "flush", "dev", UPLINK, "scope", "global")
    lease = dhcp(lab, guest, "udhcpc")
    assert lease["ip"] == WLAN.host[V4]
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    until(lambda: "IPv4 network has changed" in guest.said(), "the change")
    lease.client.popen.send_signal(signal.SIGUSR1)
    until(lambda: Lease(lease.path.read_text())["ip"] == VPN.host[V4],
          "the new address")


# By router advertisements, with a prefix that the router renumbers

RADVD = """
interface wlan0 {{
	AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;
	{prefixes}
}};
"""
PREFIX = """
	prefix {prefix} {{
		AdvPreferredLifetime {preferred}; AdvValidLifetime 3600;
	}};
"""


def advertise(roamer, lab, **lifetimes):
    """radvd on the LAN, with 2001:db8:NAME::/64 for so long.  A process of the one
    before may still have its PID file."""
    conf = lab.path("radvd.conf")
    pid = lab.path(f"radvd-{'-'.join(lifetimes)}.pid")
    conf.write_text(RADVD.format(prefixes="".join(
        PREFIX.format(prefix=f"2001:db8:{name}::/64", preferred=preferred)
        for name, preferred in lifetimes.items())))
    conf.chmod(0o644)
    server = roamer.world.spawn("radvd", "-n", "-m", "stderr", "-C", conf,
                                "-p", pid)
    return server


NETWORKD = """
[Match]
Name=eth0
[Network]
IPv6AcceptRA=yes
DHCP=no
LinkLocalAddressing=ipv6
[IPv6AcceptRA]
DHCPv6Client=no
"""
# It has the file system for itself where it would tell others of itself; to it
# this is a container, without udev
BY_HAND = f"""
mount -t tmpfs none /run && mount -o remount,ro,bind /sys &&
mkdir -p /run/systemd/network /run/systemd/netif/links \
	/run/systemd/netif/leases /run/systemd/netif/lldp &&
cat >/run/systemd/network/1.network <<'EOF' &&
{NETWORKD}
EOF
chown -R systemd-network: /run/systemd/netif &&
exec env container=lxc SYSTEMD_LOG_TARGET=console \
	/lib/systemd/systemd-networkd
"""


def prefixes(guest):
    """Of addresses that are preferred"""
    text = guest.run("ip", "-6", "addr", "show", "dev", UPLINK, "scope",
                     "global", "-deprecated")
    return set(re.findall(r"inet6 2001:db8:(\w+)::?", text))


@pytest.mark.parametrize("client", [
    "kernel", pytest.param("networkd", marks=pytest.mark.skipif(
        not os.path.exists("/lib/systemd/systemd-networkd"),
        reason="no systemd-networkd"))])
def test_prefix(lab, roamer, client):
    """The LAN's router has another prefix, deprecates the old one, and goes back:
    so does the guest, whether its kernel listens or systemd-networkd."""
    roamer.plug(WLAN)
    batch(roamer.name, "net.ipv6.conf.wlan0.accept_ra=2",
          "net.ipv6.conf.wlan0.autoconf=1")
    server = advertise(roamer, lab, a1=1800)
    until(lambda: roamer.ns.ip("-6 route show default"), "the host's route")
    guest = lab.bridged(1500)
    guest.run("ip", "link", "set", UPLINK, "down")  # its addresses go
    if client == "kernel":
        guest.run("sysctl", "-qw", f"net.ipv6.conf.{UPLINK}.accept_ra=2")
        guest.run("ip", "link", "set", UPLINK, "up")
    else:
        guest.spawn("unshare", "--mount", "sh", "-c", BY_HAND)
    until(lambda: prefixes(guest) == {"a1"}, "the first prefix")
    for lifetimes in {"a2": 1800, "a1": 0}, {"a1": 1800, "a2": 0}:
        server.kill()
        server = advertise(roamer, lab, **lifetimes)
        new, = (name for name, life in lifetimes.items() if life)
        until(lambda: prefixes(guest) == {new}, f"{new} alone")
        assert guest.ip("-6 route show default")
