# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of forwarding rule, asked from everywhere.

All rules of a daemon stand side by side on ports of their own.  A client that
is let in has its bytes delivered and answered, and the server sees it under
the address that it was promised: the peer's own if it came through the tap
device; the namespace's own if it came from the host's loopback, or loopback
with --host-lo-to-ns-lo; the daemon's if it came from the host's own address,
which is the namespace's, too.
"""

import contextlib
import hashlib
import itertools
import os
import re
import socket

import pytest

from clients import Background, read_all
from lab import (DGRAM, GATEWAY, HOST, MIB, PEER, STREAM, UPLINK, V4, V6,
                 Guest, Lab, until)

LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
FAMILIES = {"IPv4": V4, "IPv6": V6}
KINDS = {"TCP": STREAM, "UDP": DGRAM}
NEAR, OUT = 20000, 21900        # first port of a daemon; from its namespace
SHARED = 21910                  # listened on by rules of several addresses
NARROW = 21930                  # an address and an interface
NEAR_LO = 22000                 # the same with --host-lo-to-ns-lo
STREAMED = 23000                # passt's

# Ports behind the first one of a rule, and what is added in the namespace
FORMS = {"port": ([0], 0), "range": ([10, 11, 12], 0),
         "translated port": ([20], 100),
         "translated range": ([30, 31, 32], 100)}
SPEC = "{0},{10}-{12},{20}:{120},{30}-{32}:{130}-{132}"
UNFORWARDED = [1, 9, 13, 19, 21, 29, 33, 100, 120, 130]

# Where a rule listens, by what it is bound to and which side that is
LISTEN = {("any", "uplink"): (0, [""]),
          ("address", "uplink"): (200, [f"{HOST[V4]}/", f"[{HOST[V6]}]/"]),
          ("address", "loopback"): (400, ["127.0.0.1/", "::1/"]),
          ("interface", "uplink"): (600, [f"%{UPLINK}/"]),
          ("interface", "loopback"): (800, ["%lo/"])}
LISTEN["any", "loopback"] = LISTEN["any", "uplink"]
SHARING = [f"{HOST[V4]}/", f"[{HOST[V6]}]/", "127.0.0.1/", "127.0.0.2/", "::1/"]
# As container engines and libvirt write it
NARROWED = [f"{HOST[V4]}%{UPLINK}/", f"{HOST[V6]}%{UPLINK}/",
            "[::1]%lo/", "127.0.0.1%lo/"]


def rules(near):
    found = []
    for offset, listens in dict.fromkeys((o, tuple(l))
                                         for o, l in LISTEN.values()):
        ports = SPEC.format(*range(near + offset, near + offset + 200))
        for listen in listens:
            found += ["-t", listen + ports, "-u", listen + ports]
    return found


def first_port(near, bound, side):
    return near + LISTEN[bound, side][0]


def sharing():
    """One port at several addresses, each with a target of its own."""
    return [word for i, listen in enumerate(SHARING) for option in ("-t", "-u")
            for word in (option, f"{listen}{SHARED}:{SHARED + 1 + i}")]


def narrowed():
    """An address of an interface, a range beside an exclusion."""
    ports = f"{NARROW}-{NARROW + 2}:{NARROW + 3}-{NARROW + 5},~{NARROW + 1}"
    return [word for listen in NARROWED for option in ("-t", "-u")
            for word in (option, listen + ports)]


@pytest.fixture(scope="module")
def daemons(wires):
    one = Lab(wires)
    started = {
        NEAR: one.pasta("--config-net", *rules(NEAR), *sharing(), *narrowed(),
                        "-T", OUT, "-U", OUT),
        NEAR_LO: one.pasta("--config-net", "--host-lo-to-ns-lo",
                           *rules(NEAR_LO), "-T", "none", "-U", "none")}
    for guest in started.values():
        until(lambda: all(guest.addresses(f) for f in (V4, V6)) and
              guest.addresses(V6, scope="link"), "the addresses")
    yield started
    one.close()


@pytest.fixture
def guests(lab, daemons):
    """The daemons' namespaces, for sockets that end with the test."""
    return {near: lab.keep(Guest(lab, guest.pid))
            for near, guest in daemons.items()}


# Both ends of a conversation, each way checked

def talk_tcp(client, server):
    for source, sink in (client, server), (server, client):
        data = os.urandom(20000)
        sent = Background(lambda: (source.sendall(data),
                                   source.shutdown(socket.SHUT_WR)))
        assert read_all(sink) == data
        sent.result()


def reach_tcp(ns, family, address, port, guest, inner):
    """Connect and talk; return who client and server think they are."""
    listener = guest.listen(family, inner)
    client = ns.connect(family, address, port)
    server = guest.accept(listener)
    ends = (client.getsockname()[:2], server.getpeername()[:2],
            server.getsockname()[:2])
    talk_tcp(client, server)
    for s in listener, client, server:
        s.close()
    return ends


def reach_udp(ns, family, address, port, guest, inner):
    server = guest.bind(family, DGRAM, inner)
    client = ns.connect(family, address, port, DGRAM)
    sources = set()
    for size in 1200, 0, 9000:
        data = os.urandom(size)
        client.send(data)
        got, source = server.recvfrom(65536)
        assert got == data
        sources.add(source[:2])
        server.sendto(data[::-1], source)
        assert client.recv(65536) == data[::-1]
    assert len(sources) == 1
    ends = client.getsockname()[:2], sources.pop(), None
    for s in client, server:
        s.close()
    return ends


REACH = {STREAM: reach_tcp, DGRAM: reach_udp}


def ours(lab, family, kind):
    """The daemon's own address on the tap device."""
    if family == V4 or kind == STREAM:
        return GATEWAY[family]
    return lab.host.addresses(V6, scope="link")[0].partition("/")[0]


def check_source(lab, path, family, kind, client, seen):
    """Is @client, as it calls itself, @seen by the name it was promised?"""
    address, port = seen
    expected = {"tap": PEER[family], "loopback": HOST[family],
                "to loopback": LOOPBACK[family],
                "own": ours(lab, family, kind)}[path]
    assert address.partition("%")[0] == expected
    # The kernel chooses the port of a spliced connection
    if path in ("tap", "own") or kind == DGRAM:
        assert port == client[1]


def product(*dimensions):
    """Arguments and identifiers of all combinations."""
    every = list(itertools.product(*dimensions))
    return {"argvalues": every, "ids": ["-".join(e) for e in every]}


@pytest.mark.parametrize(
    "form,bound,family,path,kind",
    **product(FORMS, ["any", "address", "interface"], FAMILIES,
              ["tap", "loopback", "to loopback", "own"], KINDS))
def test_matrix(lab, guests, form, bound, family, path, kind):
    family, kind = FAMILIES[family], KINDS[kind]
    near = NEAR_LO if path == "to loopback" else NEAR
    ns = lab.peer if path == "tap" else lab.host
    address = (HOST if path in ("tap", "own") else LOOPBACK)[family]
    # To the kernel, what the host says to its own address came by the
    # interface that has the address
    first = first_port(near, bound,
                       "uplink" if path in ("tap", "own") else "loopback")
    ports, shift = FORMS[form]
    for port in ports:
        client, seen, target = REACH[kind](ns, family, address, first + port,
                                           guests[near], first + port + shift)
        if path == "tap":
            assert client[0] == PEER[family]
        check_source(lab, path, family, kind, client, seen)
        if path in ("loopback", "to loopback") and kind == STREAM:
            assert target[0] == seen[0]


@pytest.mark.parametrize("listen,kind", **product(SHARING, KINDS))
def test_shared_port(lab, guests, listen, kind):
    """The address decides which of the rules for a port it is."""
    address = listen.strip("[]/")
    family, kind = V6 if ":" in address else V4, KINDS[kind]
    REACH[kind](lab.host, family, address, SHARED, guests[NEAR],
                SHARED + 1 + SHARING.index(listen))


@pytest.mark.parametrize("listen,kind", **product(NARROWED, KINDS))
def test_address_of_interface(lab, guests, listen, kind):
    """A range there, but for the port in its middle."""
    address, dev = re.fullmatch(r"\[?([^]%]+)]?%(\w+)/", listen).groups()
    family, kind = V6 if ":" in address else V4, KINDS[kind]
    ns = lab.peer if dev == UPLINK else lab.host
    for port in NARROW, NARROW + 2:
        REACH[kind](ns, family, address, port, guests[NEAR], port + 3)
    assert refused(ns, family, kind, address, NARROW + 1)


# The host's addresses besides the first

MORE = {V4: "198.51.100.22", V6: "2001:db8:1::22"}


@pytest.fixture
def more(lab):
    for family, length in (V4, 24), (V6, 64):
        lab.host.add_address(f"{MORE[family]}/{length}", UPLINK)
    yield MORE
    for family, length in (V4, 24), (V6, 64):
        lab.host.run("ip", "addr", "del", f"{MORE[family]}/{length}", "dev",
                     UPLINK)


@pytest.mark.parametrize("family,kind", **product(FAMILIES, KINDS))
def test_second_address(lab, guests, more, family, kind):
    """What came to one of several addresses is answered from that one: the
    client is connected, and hears nobody else."""
    family = FAMILIES[family]
    REACH[KINDS[kind]](lab.peer, family, more[family], NEAR, guests[NEAR], NEAR)
    if family == V4:
        REACH[KINDS[kind]](lab.host, V4, "127.0.0.2", NEAR, guests[NEAR], NEAR)


@pytest.mark.parametrize("family,kind", **product(FAMILIES, KINDS))
def test_passt(lab, family, kind):
    """passt has no way past the guest's link: the host's loopback has a name
    there, and what has none comes from the daemon."""
    family, kind, near = FAMILIES[family], KINDS[kind], STREAMED
    reach = REACH[kind]
    ports = f"{near},{near + 1}-{near + 2}:{near + 3}-{near + 4}"
    calls = [(lab.peer, HOST, near, PEER[family]),
             (lab.peer, HOST, near + 2, PEER[family]),
             (lab.host, LOOPBACK, near + 1, GATEWAY[family]),
             (lab.host, HOST, near, ours(lab, family, kind)),
             (lab.host, {V4: "127.0.0.2"}, near, GATEWAY[family])]
    guest = lab.bridged(65520, "-t", ports, "-u", ports)
    until(lambda: guest.addresses(V6), "its address")
    for ns, address, port, source in calls:
        if family not in address:
            continue
        inner = port if port == near else port + 2
        client, seen, _ = reach(ns, family, address[family], port, guest,
                                inner)
        assert seen[0].partition("%")[0] == source
        assert seen[1] == client[1]
    _, seen, _ = reach(guest, family, PEER[family], OUT, lab.peer, OUT)
    assert seen[0] == HOST[family]
    _, seen, _ = reach(guest, family, GATEWAY[family], OUT, lab.host, OUT)
    assert seen[0] == LOOPBACK[family]


def link_local(ns, dev):
    """Its address, and what tells where."""
    address = ns.addresses(V6, dev, "link")[0].partition("/")[0]
    return address, ns.ip(f"link show dev {dev}")[0]["ifindex"]


@pytest.mark.parametrize("way,kind",
                         **product(["in", "out", "own"], KINDS))
def test_link_local(lab, guests, way, kind):
    """Addresses that mean something on one link only: each side has its own,
    and both know who speaks."""
    kind, guest = KINDS[kind], guests[NEAR]
    peer, host = link_local(lab.peer, "eth0"), link_local(lab.host, UPLINK)
    near, dev, far, address, source = {
        "in": (lab.peer, "eth0", guest, host, peer),
        "out": (guest, UPLINK, lab.peer, peer, host),
        "own": (lab.host, UPLINK, guest, host, host)}[way]
    server = far.bind(V6, kind, NEAR)
    if kind == STREAM:
        server.listen()
    client = near.socket(V6, kind)
    client.connect((address[0], NEAR, 0, link_local(near, dev)[1]))
    client.send(b"whence?")
    if kind == STREAM:
        server = far.accept(server)
        assert server.recv(100) == b"whence?"
        seen = server.getpeername()
        server.sendall(b"there")
    else:
        data, seen = server.recvfrom(100)
        assert data == b"whence?"
        server.sendto(b"there", seen)
    assert client.recv(100) == b"there"
    assert seen[0].partition("%")[0] == source[0]


@pytest.mark.parametrize("near", [NEAR, NEAR_LO], ids=["plain", "to loopback"])
def test_destination_decides(lab, guests, family, near):
    """Loopback asking for the host's own address does not mean loopback: a
    guest's is asked, of which one may have gone from the host just now."""
    listener = guests[near].listen(family, near)
    client = lab.host.bind(family, STREAM, address=LOOPBACK[family])
    client.connect((HOST[family], near))
    server = guests[near].accept(listener)
    for name in server.getsockname(), server.getpeername():
        assert name[0] in (HOST[family], MORE[family])
    talk_tcp(client, server)


# Who is not let in

def refused(ns, family, kind, address, port):
    """Asked more than once: the kernel limits the rate of its ICMP errors."""
    s = ns.socket(family, kind)
    try:
        s.connect((address, port))
        s.settimeout(0.25)
        for _ in range(20):
            s.send(b"anybody?")
            with contextlib.suppress(TimeoutError):
                s.recv(1)
                return False
    except ConnectionRefusedError:
        return True
    finally:
        s.close()
    return False


# The rule, and the way by which it is not reached
CLOSED = {"uplink's address from loopback":
          ("address", "uplink", "host", LOOPBACK),
          "uplink from loopback": ("interface", "uplink", "host", LOOPBACK),
          "lo from own": ("interface", "loopback", "host", HOST),
          "loopback address from own": ("address", "loopback", "host", HOST),
          "loopback address from tap": ("address", "loopback", "peer", HOST),
          "lo from tap": ("interface", "loopback", "peer", HOST)}


@pytest.mark.parametrize("case,family,kind", **product(CLOSED, FAMILIES, KINDS))
def test_bound_elsewhere(lab, guests, case, family, kind):
    family, kind = FAMILIES[family], KINDS[kind]
    bound, side, ns, address = CLOSED[case]
    first = first_port(NEAR, bound, side)
    for ports, shift in FORMS.values():
        for port in ports:
            server = guests[NEAR].bind(family, kind, first + port + shift)
            if kind == STREAM:
                server.listen()
            assert refused(getattr(lab, ns), family, kind, address[family],
                           first + port), port
            server.close()


@pytest.mark.parametrize("ns,family,kind",
                         **product(["peer", "host"], FAMILIES, KINDS))
def test_beside_the_rules(lab, guests, ns, family, kind):
    """Neither the neighbours of a range nor the targets are forwarded."""
    address = HOST if ns == "peer" else LOOPBACK
    for port in UNFORWARDED:
        assert refused(getattr(lab, ns), FAMILIES[family], KINDS[kind],
                       address[FAMILIES[family]], NEAR + port), port


# Much data, and datagrams as large as they can be

WAYS = ["tap in", "tap out", "tap to loopback", "loopback in", "loopback out",
        "loopback to loopback"]
SIZES = {"2K": 2048, "10M": 10 * MIB}
SPLICED = {V4: 65507, V6: 65527}
THROUGH_TAP = {V4: 65492, V6: 65472}    # at an MTU of 65520


def ends_of(lab, guests, way, family):
    """The client's and the server's namespace, the address and the port."""
    guest = guests[NEAR]
    return {"tap in": (lab.peer, guest, HOST[family], NEAR),
            "tap out": (guest, lab.peer, PEER[family], OUT),
            "tap to loopback": (guest, lab.host, GATEWAY[family], OUT),
            "loopback in": (lab.host, guest, LOOPBACK[family], NEAR),
            "loopback out": (guest, lab.host, LOOPBACK[family], OUT),
            "loopback to loopback": (lab.host, guests[NEAR_LO],
                                     LOOPBACK[family], NEAR_LO)}[way]


def largest(way, family):
    return (THROUGH_TAP if way.startswith("tap") else SPLICED)[family]


def receive(s, size):
    """The checksum of @size bytes."""
    digest = hashlib.md5()
    while size:
        chunk = s.recv(min(size, 1 << 18))
        assert chunk, f"{size} bytes are missing"
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


@pytest.mark.parametrize("way,family,size", **product(WAYS, FAMILIES, SIZES))
def test_stream_whole(lab, guests, way, family, size):
    family, size = FAMILIES[family], SIZES[size]
    near, far, address, port = ends_of(lab, guests, way, family)
    listener = far.listen(family, port)
    client = near.connect(family, address, port)
    server = far.accept(listener)
    path, digest = lab.payload(size)
    data = path.read_bytes()
    for source, sink in (client, server), (server, client):
        sent = Background(source.sendall, data)
        assert receive(sink, size) == digest
        sent.result()
    # Both ways at once, then the ends
    sent = [Background(s.sendall, data) for s in (client, server)]
    got = [Background(receive, s, size) for s in (server, client)]
    assert [g.result() for g in got] == [digest] * 2
    for s in sent:
        s.result()
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.close()
    assert client.recv(1) == b""


@pytest.mark.parametrize("way,family,size", **product(WAYS, FAMILIES, SIZES))
def test_datagrams_whole(lab, guests, way, family, size):
    """As many of the largest as it takes; each is answered."""
    family, size = FAMILIES[family], SIZES[size]
    near, far, address, port = ends_of(lab, guests, way, family)
    server = far.bind(family, DGRAM, port)
    client = near.connect(family, address, port, DGRAM)
    path, digest = lab.payload(size)
    data = path.read_bytes()
    there, back = hashlib.md5(), hashlib.md5()
    step = largest(way, family)
    for at in range(0, size, step):
        client.send(data[at:at + step])
        got, source = server.recvfrom(65536)
        there.update(got)
        server.sendto(got, source)
        back.update(client.recv(65536))
    assert there.hexdigest() == back.hexdigest() == digest


@pytest.mark.parametrize("way,family", **product(WAYS, FAMILIES))
def test_datagram_sizes(lab, guests, way, family):
    """None is cut, joined or lost, and the first may be empty."""
    family = FAMILIES[family]
    near, far, address, port = ends_of(lab, guests, way, family)
    server = far.bind(family, DGRAM, port)
    client = near.connect(family, address, port, DGRAM)
    most = largest(way, family)
    for size in 0, 1, 1452, 1453, 1472, 1473, 9000, most - 1, most, 0:
        data = os.urandom(size)
        client.send(data)
        got, source = server.recvfrom(65536)
        assert got == data, size
        server.sendto(data[::-1], source)
        assert client.recv(65536) == data[::-1], size
    # Empty ones among others keep their places
    train = [bytes([i]) * (i % 3 * 700) for i in range(12)]
    for data in train:
        client.send(data)
    assert [server.recv(65536) for _ in train] == train
    for data in train:
        server.sendto(data, source)
    assert [client.recv(65536) for _ in train] == train


@pytest.mark.parametrize("family,kind", **product(FAMILIES, KINDS))
def test_source_outside(lab, guests, family, kind):
    """The way out keeps loopback addresses, and the ports of datagrams."""
    family, kind = FAMILIES[family], KINDS[kind]
    client, seen, _ = REACH[kind](guests[NEAR], family, LOOPBACK[family], OUT,
                                  lab.host, OUT)
    assert seen[0] == client[0] == LOOPBACK[family]
    if kind == DGRAM:
        assert seen == client
