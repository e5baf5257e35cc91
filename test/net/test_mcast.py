# SPDX-License-Identifier: GPL-2.0-or-later
"""Groups that the guest joins: what is sent there reaches it, and once."""

import pathlib
import socket
import struct
import time

import pytest

from lab import DGRAM, GATEWAY, HOST, PEER, UPLINK, V4, V6, until
from test_follow import VPN, WLAN, machine, roamer
from test_takeover import Passt, Pasta, Vhost

MDNS = {V4: "224.0.0.251", V6: "ff02::fb"}
ASM = {V4: "239.7.7.7", V6: "ff05::7:7"}
SSM = {V4: "232.7.7.7", V6: "ff35::7:7"}
OTHER = {V4: "239.7.7.8", V6: "ff05::7:8"}

LEVEL = {V4: socket.IPPROTO_IP, V6: socket.IPPROTO_IPV6}
MCAST_JOIN, MCAST_LEAVE, MCAST_JOIN_SOURCE = 42, 45, 46
IP_RECVTTL, IPV6_RECVHOPLIMIT = 12, 51
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86dd


def storage(family, address):
    raw = socket.inet_pton(family, address)
    head = struct.pack("=HH", family, 0) + (b"" if family == V4 else bytes(4))
    return (head + raw).ljust(128, b"\0")


def index(ns):
    return ns.ip(f"link show dev {UPLINK}")[0]["ifindex"]


def member(ns, family, group, port, source=None):
    """A socket at @group and @port that has joined, and hears no others."""
    s = ns.bind(family, DGRAM, port, group if family == V4 else None)
    s.setsockopt(LEVEL[family], 49 if family == V4 else 29, 0)
    one = struct.pack("=Ii", index(ns), 0) + storage(family, group)
    if source:
        s.setsockopt(LEVEL[family], MCAST_JOIN_SOURCE,
                     one + storage(family, source))
    else:
        s.setsockopt(LEVEL[family], MCAST_JOIN, one)
    s.setsockopt(LEVEL[family], IP_RECVTTL if family == V4
                 else IPV6_RECVHOPLIMIT, 1)
    return s


def leave(ns, s, group):
    s.setsockopt(LEVEL[s.family], MCAST_LEAVE,
                 struct.pack("=Ii", index(ns), 0) + storage(s.family, group))


def sender(ns, family, port=0, address=None, ttl=7, loop=0):
    s = ns.bind(family, DGRAM, port, address)
    if family == V4:
        s.setsockopt(0, socket.IP_MULTICAST_IF,
                     bytes(8) + struct.pack("i", index(ns)))
        s.setsockopt(0, socket.IP_MULTICAST_TTL, ttl)
        s.setsockopt(0, socket.IP_MULTICAST_LOOP, loop)
    else:
        s.setsockopt(41, socket.IPV6_MULTICAST_IF, index(ns))
        s.setsockopt(41, socket.IPV6_MULTICAST_HOPS, ttl)
        s.setsockopt(41, socket.IPV6_MULTICAST_LOOP, loop)
    return s


def received(s):
    """Data, address, port, TTL."""
    data, control, _, source = s.recvmsg(2000, 256)
    ttl = [struct.unpack("i", c[2])[0] for c in control
           if c[1] in (socket.IP_TTL, socket.IPV6_HOPLIMIT)]
    return data, source[0].partition("%")[0], source[1], *ttl


def everything(s, seconds=0.5):
    """All that comes until nothing has for so long."""
    got = []
    s.settimeout(seconds)
    try:
        while True:
            got.append(received(s))
    except TimeoutError:
        return got


def joined(ns, group, link=UPLINK):
    """Whether the kernel of @ns is a member on @link."""
    with ns.inside():
        if ":" in group:
            want = socket.inet_pton(V6, group).hex()
            text = pathlib.Path("/proc/thread-self/net/igmp6").read_text()
            return any(l.split()[1:3] == [link, want]
                       for l in text.splitlines())
        want = socket.inet_aton(group)[::-1].hex().upper()
        text = pathlib.Path("/proc/thread-self/net/igmp").read_text()
        dev = None
        for line in text.splitlines()[1:]:
            if not line.startswith("\t"):
                dev = line.split()[1]
            elif dev == link and line.split()[0] == want:
                return True
        return False


def in_time(lab, group):
    until(lambda: joined(lab.host, group), f"the host to join {group}")


def guest_of(lab, kind, *options):
    if kind == "tap":
        return lab.pasta("--config-net", *options)
    if kind == "tap-dhcp":  # nobody has configured it yet
        guest = lab.pasta(*options)
        guest.sh(f"ip link set {UPLINK} up; "
                 f"ip addr add {HOST[V4]}/24 dev {UPLINK}; "
                 f"ip addr add {HOST[V6]}/64 dev {UPLINK} nodad; "
                 f"ip route add default via {GATEWAY[V4]}; "
                 f"ip -6 route add default via {GATEWAY[V6]}")
        # The kernel sends no MLD before its own address is in use
        until(lambda: guest.addresses(V6, scope="link"), "an address")
        return guest
    return (lab.bridged(1500, *options) if kind == "stream"
            else lab.fronted(1500, *options))


KINDS = ("tap", "tap-dhcp", "stream", "vhost-user")


@pytest.mark.parametrize("kind", KINDS)
def test_to_guest(lab, kind, family):
    """From their true source to their true group, with their TTL; nothing else."""
    guest = guest_of(lab, kind)
    s = member(guest, family, MDNS[family], 5353)
    in_time(lab, MDNS[family])
    out = sender(lab.peer, family, 5353, PEER[family])
    out.sendto(b"question", (MDNS[family], 5353))
    assert received(s) == (b"question", PEER[family], 5353, 7)
    # Not to others, nor to other ports
    wire = packets(guest, family)
    out.sendto(b"other port", (MDNS[family], 7353))
    out.sendto(b"other group", (ASM[family], 5353))
    out.sendto(b"the end", (MDNS[family], 5353))
    assert received(s)[0] == b"the end"
    got = b"".join(seen(wire))
    assert (b"other port" in got, b"other group" in got,
            b"the end" in got) == (False, False, True)


def packets(ns, family):
    s = ns.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    s.bind((UPLINK, ETH_P_IP if family == V4 else ETH_P_IPV6))
    return s


def seen(wire):
    """All that came in until now."""
    got = []
    wire.settimeout(0.2)
    try:
        while True:
            data, source = wire.recvfrom(1 << 16)
            if source[2] != socket.PACKET_OUTGOING:
                got.append(data)
    except TimeoutError:
        return got


@pytest.mark.parametrize("kind", KINDS)
def test_from_guest(lab, kind, family):
    guest = guest_of(lab, kind)
    s = member(lab.peer, family, MDNS[family], 5353)
    out = sender(guest, family, 5353, ttl=9)
    out.sendto(b"answer", (MDNS[family], 5353))
    data, source, port, ttl = received(s)
    assert (data, port, ttl) == (b"answer", 5353, 9)
    assert source == HOST[family] or source.startswith("fe80:")


def test_leaves(lab, family):
    """The guest is asked once more, as others may want it."""
    guest = lab.bridged(1500)
    s = member(guest, family, ASM[family], 5353)
    in_time(lab, ASM[family])
    wire = packets(guest, family)
    leave(guest, s, ASM[family])
    until(lambda: not joined(lab.host, ASM[family]), "the host to leave")
    group = socket.inet_pton(family, ASM[family])
    if family == V4:    # with Router Alert; type, 1 s, sum, group, no sources
        query = b"\x94\x04\0\0\x11\x0a", group + b"\x02\x7d\0\0"
    else:
        query = b"\x3a\0\x05\x02\0\0\x01\0\x82\0", group + b"\x02\x7d\0\0"
    assert len([w for w in seen(wire) if query[0] in w and query[1] in w]) == 2


def test_sources(lab, family):
    """A source is asked for by name at the host's router, too."""
    guest = guest_of(lab, "tap")
    s = member(guest, family, SSM[family], 5353, PEER[family])
    in_time(lab, SSM[family])
    with lab.host.inside():
        name = "mcfilter6" if family == V6 else "mcfilter"
        text = pathlib.Path(f"/proc/thread-self/net/{name}").read_text()
    raw = socket.inet_pton(family, PEER[family]).hex()
    assert raw in text and text.split()[-2:] != ["0", "1"]
    wire = packets(guest, family)
    for address in GATEWAY[family], PEER[family]:
        sender(lab.peer, family, 5353, address).sendto(
            address.encode(), (SSM[family], 5353))
    assert received(s)[:2] == (PEER[family].encode(), PEER[family])
    assert not [w for w in seen(wire) if w.endswith(GATEWAY[family].encode())]


def test_ports_that_it_uses(lab, family):
    """Ports to and from which the guest sends, and the other one of RTP."""
    guest = guest_of(lab, "tap")
    group = ASM[family]
    ports = (6005, 6004, 7001)
    heard = {p: member(guest, family, group, p) for p in ports}
    in_time(lab, group)
    out = sender(lab.peer, family, 0, PEER[family])
    sender(guest, family, 7001).sendto(b"report", (group, 6005))
    for port in ports:
        def come():
            out.sendto(b"data", (group, port))
            return everything(heard[port], 0.1)
        assert until(come, f"port {port}")[0][:2] == (b"data", PEER[family])


def test_rule(lab, family):
    """The port of a rule: once, and to the guest's port."""
    guest = guest_of(lab, "tap", "-u", "7100:7200", "-t", "none")
    s = member(guest, family, ASM[family], 7200)
    in_time(lab, ASM[family])
    out = sender(lab.peer, family, 4000, PEER[family])
    for n in range(3):
        out.sendto(b"%d" % n, (ASM[family], 7100))
    assert everything(s) == [(b"%d" % n, PEER[family], 4000, 7)
                             for n in range(3)]


@pytest.mark.parametrize("loop", (0, 1))
@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_own(lab, kind, family, loop):
    """Its own kernel loops what it sends, if it wants that; we never do."""
    guest = guest_of(lab, kind)
    s = member(guest, family, MDNS[family], 5353)
    in_time(lab, MDNS[family])
    wire = packets(guest, family)
    out = sender(guest, family, 5353, loop=loop)
    for n in range(20):
        out.sendto(b"own %d" % n, (MDNS[family], 5353))
        out.sendto(b"again", (MDNS[family], 5353))
    assert len(everything(s)) == (40 if loop else 0)
    assert not [w for w in seen(wire) if b"own" in w or b"again" in w]


@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_two_guests(lab, kind, family):
    """Each hears the other, the host and the network once."""
    first, second = guest_of(lab, "tap", "-u", "none"), guest_of(lab, kind)
    group = MDNS[family]
    heard = {ns: member(ns, family, group, 5353)
             for ns in (first, second, lab.host, lab.peer)}
    ask = sender(lab.peer, family, 5000, PEER[family])

    def both_hear():
        ask.sendto(b"probe", (group, 5353))
        return all(everything(heard[ns], 0.1) for ns in (first, second))
    until(both_hear, "both to follow the group")
    for s in heard.values():
        everything(s)
    wires = {ns: packets(ns, family) for ns in (first, second, lab.peer)}
    out = {ns: sender(ns, family, 5353) for ns in (first, second)}
    for n in range(30):
        for name, ns in ("first", first), ("second", second):
            out[ns].sendto(f"{name} {n}".encode(), (group, 5353))
    want = {name: sorted(f"{name} {n}".encode() for n in range(30))
            for name in ("first", "second")}
    both = sorted(want["first"] + want["second"])
    assert sorted(d[0] for d in everything(heard[first])) == want["second"]
    assert sorted(d[0] for d in everything(heard[second])) == want["first"]
    assert sorted(d[0] for d in everything(heard[lab.peer])) == both
    assert sorted(d[0] for d in everything(heard[lab.host])) == both
    time.sleep(1)       # a loop would go on
    count = {ns: sum(p.count(b"first ") + p.count(b"second ") for p in seen(w))
             for ns, w in wires.items()}
    assert count == {first: 30, second: 30, lab.peer: 60}


def test_beside_service(lab, family):
    """The host's own responder, which shares its port, keeps what is its own."""
    own = lab.host.bind(family, DGRAM, 5353)
    guest = guest_of(lab, "tap")
    s = member(guest, family, MDNS[family], 5353)
    in_time(lab, MDNS[family])
    heard = member(lab.peer, family, MDNS[family], 5353)
    out = sender(guest, family, 5353)
    out.sendto(b"from the guest", (MDNS[family], 5353))
    assert received(heard)[0] == b"from the guest"
    ask = sender(lab.peer, family, 5353, PEER[family])
    ask.sendto(b"to the host", (HOST[family], 5353))
    assert [d[0] for d in everything(own) if d[0] != b"from the guest"] == [
        b"to the host"]
    ask.sendto(b"to all", (MDNS[family], 5353))
    assert received(s)[0] == b"to all"


def test_answers_to_guest(lab, family):
    """Without such a service what is answered to the host's address is its."""
    guest = guest_of(lab, "tap")
    heard = member(lab.peer, family, MDNS[family], 5353)
    out = sender(guest, family, 5353)
    out.sendto(b"who?", (MDNS[family], 5353))
    received(heard)
    sender(lab.peer, family, 5353, PEER[family]).sendto(
        b"me", (HOST[family], 5353))
    assert out.recvfrom(100)[0] == b"me"


def test_off(lab, family):
    guest = guest_of(lab, "tap", "--no-mcast")
    s = member(guest, family, ASM[family], 5353)
    control = guest_of(lab, "tap")
    member(control, family, OTHER[family], 5353)
    in_time(lab, OTHER[family])
    assert not joined(lab.host, ASM[family])
    # It sends as before
    heard = member(lab.peer, family, ASM[family], 5353)
    sender(guest, family, 5353).sendto(b"out", (ASM[family], 5353))
    assert received(heard)[0] == b"out"
    assert not everything(s)


def test_limit(lab):
    """More than there is room for: those that are in stay; it is said once."""
    guest = lab.pasta("--config-net", "--log-file",
                      lab.path("log"))
    guest.run("sysctl", "-qw", "net.ipv4.igmp_max_memberships=100")
    s = guest.socket(V4, DGRAM)
    for n in range(1, 101):
        s.setsockopt(0, MCAST_JOIN, struct.pack("=Ii", index(guest), 0) +
                     storage(V4, f"239.9.9.{n}"))
    until(lambda: sum(joined(lab.host, f"239.9.9.{n}")
                      for n in range(1, 101)) == 64, "as many as there may be")
    text = lab.path("log").read_text()
    assert text.count("No room for more of what the guest joins") == 1


@pytest.mark.parametrize("daemon", (Pasta, Passt, Vhost))
def test_takeover(lab, daemon):
    """The successor asks at once, and the guest says again what it has joined."""
    daemon = daemon(lab)
    heard = {f: member(daemon.guest, f, MDNS[f], 5353) for f in (V4, V6)}
    for _ in range(2):
        for group in MDNS.values():
            in_time(lab, group)
        daemon.replace()
    for family, s in heard.items():
        in_time(lab, MDNS[family])
        ask = sender(lab.peer, family, 5353, PEER[family])

        def come():
            ask.sendto(b"after", (MDNS[family], 5353))
            return everything(s, 0.1)
        assert until(come, "what is sent")[0] == (
            b"after", PEER[family], 5353, 7)


@pytest.mark.parametrize("kind", ("configured", "bridged"))
def test_host_moves(lab, roamer, kind):     # noqa: F811
    """Memberships are on the link that the host uses, and only there; away and
    back, and from one that has gone altogether."""
    roamer.plug(WLAN)
    roamer.join(WLAN)
    guest = machine(lab, kind)
    heard = {f: member(guest, f, MDNS[f], 5353) for f in (V4, V6)}

    def only_on(link, other):
        for group in MDNS.values():
            until(lambda: joined(roamer.ns, group, link.dev), link.dev)
            until(lambda: not joined(roamer.ns, group, other.dev), other.dev)
    only_on(WLAN, VPN)
    roamer.plug(VPN)
    roamer.join(VPN, metric=50)
    only_on(VPN, WLAN)
    roamer.unplug(VPN)
    only_on(WLAN, VPN)
    for family, s in heard.items():
        with roamer.world.inside():
            out = socket.socket(family, DGRAM)
            dev = socket.if_nametoindex(WLAN.dev)
        if family == V4:
            out.setsockopt(0, socket.IP_MULTICAST_IF,
                           bytes(8) + struct.pack("i", dev))
        else:
            out.setsockopt(41, socket.IPV6_MULTICAST_IF, dev)

        def come():
            out.sendto(b"back", (MDNS[family], 5353))
            return everything(s, 0.1)
        assert until(come, "what is sent")[0][0] == b"back"
