# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the host's addresses and interfaces are used."""

import contextlib
import socket

import pytest

from lab import (DGRAM, HOST, PASST, PEER, STREAM, UPLINK, V4, V6, literal,
                 until)

SECOND = {V4: "198.51.100.3", V6: "2001:db8:1::3"}
ELSEWHERE = {V4: "192.0.2.77", V6: "2001:db8:77::77"}
BEYOND = {V4: "192.0.2.1", V6: "2001:db8:77::1"}
LENGTH = {V4: 24, V6: 64}
PORT = 7301


@contextlib.contextmanager
def address(ns, family, which, dev):
    """@which is an address of @dev of @ns, for a while."""
    what = f"{which[family]}/{LENGTH[family]}"
    ns.add_address(what, dev)
    try:
        yield
    finally:
        ns.run("ip", "addr", "del", what, "dev", dev)


@contextlib.contextmanager
def other_wire(ns):
    """Another interface, that leads nowhere."""
    ns.run("ip", "link", "add", "other0", "type", "veth", "peer", "other1")
    try:
        for end in "other0", "other1":
            ns.run("ip", "link", "set", end, "up")
        yield "other0"
    finally:
        ns.run("ip", "link", "del", "other0")


@contextlib.contextmanager
def nowhere(ns, family):
    """The same with an address."""
    with other_wire(ns) as other, address(ns, family, ELSEWHERE, other):
        yield other


def seen_from(lab, guest, family, kind):
    """The address that a server in the peer sees."""
    if kind == STREAM:
        listener = lab.peer.listen(family)
        port = listener.getsockname()[1]
        client = guest.connect(family, PEER[family], port)
        server = lab.peer.accept(listener)
        assert client.getpeername()[1] == port
        return server.getpeername()[0]
    server = lab.peer.bind(family, DGRAM)
    client = guest.connect(family, PEER[family], server.getsockname()[1], DGRAM)
    client.send(b"whence?")
    return server.recvfrom(100)[1][0]


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_address(lab, family, kind):
    with address(lab.host, family, SECOND, UPLINK):
        guest = lab.pasta("--config-net", "-a", HOST[family],
                          "--outbound", SECOND[family])
        assert seen_from(lab, guest, family, kind) == SECOND[family]


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_interface(lab, family, kind):
    option = "--outbound-if4" if family == V4 else "--outbound-if6"
    guest = lab.pasta("--config-net", option, UPLINK)
    assert seen_from(lab, guest, family, kind) == HOST[family]


def test_interface_is_bound(lab, family):
    """Nothing leaves by another one, even if that is where the route leads."""
    option = "--outbound-if4" if family == V4 else "--outbound-if6"
    with nowhere(lab.host, family) as other:
        guest = lab.pasta("--config-net", "-i", UPLINK, option, other)
        port = lab.peer.listen(family).getsockname()[1]
        with pytest.raises(OSError, match="unreachable|No route"):
            guest.connect(family, PEER[family], port)


OUTBOUND_IF = {V4: "--outbound-if4", V6: "--outbound-if6"}


@pytest.mark.parametrize("options", ["-i", "outbound", "both"])
def test_template(lab, family, options):
    """The outbound interface is the template, unless another one is named."""
    with nowhere(lab.host, family) as other:
        options, used = {
            "-i": (("-i", other), other),
            "outbound": ((OUTBOUND_IF[family], other), other),
            "both": (("-i", UPLINK, OUTBOUND_IF[family], other), UPLINK),
        }[options]
        guest = lab.pasta("--config-net", "-I", "net0", *options)
        assert guest.addresses(family, dev="net0") == \
            [f"{(ELSEWHERE if used == other else HOST)[family]}"
             f"/{LENGTH[family]}"]


def test_useless_template(lab, family):
    """An interface without addresses is no template for its own traffic."""
    with other_wire(lab.host) as other:
        lab.host.run("ip", "link", "set", other, "addrgenmode", "none")
        lab.host.run("ip", "-6", "addr", "flush", "dev", other)
        result = lab.host.run(PASST, "-f", "-s", lab.path("socket"),
                              OUTBOUND_IF[family], other, check=False)
    assert result.status == 1
    assert result.stderr.splitlines()[-1] == "External interface not usable"


@pytest.mark.parametrize("options", ["-i", "outbound"])
def test_template_without_address(lab, family, options):
    """It needs none if the guest's is given."""
    with other_wire(lab.host) as other:
        lab.host.run("ip", "link", "set", other, "addrgenmode", "none")
        lab.host.run("ip", "-6", "addr", "flush", "dev", other)
        guest = lab.pasta("--config-net", "-I", "net0", "-a", ELSEWHERE[family],
                          "-g", BEYOND[family],
                          "-i" if options == "-i" else OUTBOUND_IF[family],
                          other)
        assert guest.addresses(family, dev="net0")[0].startswith(
            f"{ELSEWHERE[family]}/")
        assert guest.default_route(family) == [BEYOND[family]]


def test_no_such_interface(lab):
    result = lab.host.run(PASST, "-f", "-s", lab.path("socket"), "-i", "none0",
                          check=False)
    assert result[0] == 1
    assert "Invalid interface name none0: No such device" in result[2]


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_freebind(lab, family, kind):
    """A listener at an address that the host gets later."""
    option = "-t" if kind == STREAM else "-u"
    guest = lab.pasta("--config-net", "--freebind", option,
                      f"{literal(ELSEWHERE[family])}/{PORT}")
    where = lab.host
    with address(where, family, ELSEWHERE, UPLINK):
        lab.peer.run("ip", "route", "add", prefix(family), "via", HOST[family])
        try:
            check_served(lab, guest, family, kind)
        finally:
            lab.peer.run("ip", "route", "del", prefix(family))


def prefix(family):
    return f"{ELSEWHERE[family]}/{32 if family == V4 else 128}"


def check_served(lab, guest, family, kind):
    if kind == STREAM:
        listener = guest.listen(family, PORT)
        client = lab.peer.connect(family, ELSEWHERE[family], PORT)
        server = guest.accept(listener)
        server.sendall(b"late, but here")
        assert client.recv(100) == b"late, but here"
        return
    server = guest.bind(family, DGRAM, PORT)
    client = lab.peer.connect(family, ELSEWHERE[family], PORT, DGRAM)
    client.send(b"anybody?")
    data, peer = server.recvfrom(100)
    server.sendto(b"late, but here", peer)
    assert data == b"anybody?"
    assert client.recv(100) == b"late, but here"


def link_local(ns, dev):
    """The link-local address of @ns."""
    address, = until(lambda: ns.addresses(V6, dev, "link"), "an address")
    return address.partition("/")[0]


def scoped(ns, dev, address, port):
    """An address as it is written for sockets of @ns."""
    with ns.inside():
        return address, port, 0, socket.if_nametoindex(dev)


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_link_local(lab, kind):
    """Neighbours of the host by an address that only one link knows."""
    guest = lab.pasta("--config-net")
    address = link_local(lab.peer, "eth0")
    server = lab.peer.bind(V6, kind)
    if kind == STREAM:
        server.listen()
    client = guest.socket(V6, kind)
    client.connect(scoped(guest, UPLINK, address, server.getsockname()[1]))
    client.send(b"x")
    if kind == STREAM:
        server = lab.peer.accept(server)
    data, source = server.recvfrom(1)
    assert data == b"x"
    if kind == DGRAM:
        server.connect(source)
    assert server.getpeername()[0].partition("%")[0] == \
        link_local(lab.host, UPLINK)
    server.send(b"y")
    assert client.recv(1) == b"y"


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_link_local_inbound(lab, kind):
    """And the other way round: the guest sees who it is."""
    guest = lab.pasta("--config-net", "-t", 7001, "-u", 7001)
    address = link_local(lab.host, UPLINK)
    server = guest.bind(V6, kind, 7001)
    if kind == STREAM:
        server.listen()
    client = lab.peer.socket(V6, kind)
    client.connect(scoped(lab.peer, "eth0", address, 7001))
    client.send(b"x")
    if kind == STREAM:
        server = guest.accept(server)
    data, source = server.recvfrom(1)
    assert data == b"x"
    if kind == DGRAM:
        server.connect(source)
    assert server.getpeername()[0].partition("%")[0] == \
        link_local(lab.peer, "eth0")
    server.send(b"y")
    assert client.recv(1) == b"y"


@contextlib.contextmanager
def second_wire(lab):
    """Another wire to the peer; yields its ends' link-local addresses."""
    lab.host.run("ip", "link", "add", "other0", "type", "veth", "peer", "name",
                 "other1", "netns", lab.peer.netns)
    try:
        ends = []
        for ns, dev in (lab.host, "other0"), (lab.peer, "other1"):
            ns.run("ip", "link", "set", dev, "addrgenmode", "none")
            ns.run("ip", "link", "set", dev, "up")
            ends.append(f"fe80::{len(ends) + 1}:1")
            ns.run("ip", "addr", "add", f"{ends[-1]}/64", "dev", dev, "nodad")
        yield ends
    finally:
        lab.host.run("ip", "link", "del", "other0")


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_link_local_of_another_interface(lab, kind):
    """The interface that a rule names counts, not the template."""
    with second_wire(lab) as (here, there):
        guest = lab.pasta("--config-net", "-t", f"[{here}]%other0/{PORT}",
                          "-u", f"[{here}]%other0/{PORT}")
        server = guest.bind(V6, kind, PORT)
        client = lab.peer.socket(V6, kind)
        scope = lab.peer.ip("link show dev other1")[0]["ifindex"]
        if kind == STREAM:
            server.listen()
        client.connect((here, PORT, 0, scope))
        client.send(b"whence?")
        if kind == STREAM:
            server = guest.accept(server)
            assert server.recv(100) == b"whence?"
            assert server.getpeername()[0].partition("%")[0] == there
            server.sendall(b"there")
        else:
            data, source = server.recvfrom(100)
            assert data == b"whence?"
            assert source[0].partition("%")[0] == there
            server.sendto(b"there", source)
        assert client.recv(100) == b"there"


def test_absent(lab, family):
    """Nothing leaves from an address that is not there, which is said, until it is."""
    guest = lab.pasta("--config-net", "--outbound", ELSEWHERE[family])
    guest.process.says("does not have the address of --outbound: "
                       + ELSEWHERE[family])
    listener = lab.peer.listen(family)
    port = listener.getsockname()[1]
    with guest.socket(family) as s:
        assert s.connect_ex((PEER[family], port))
    lab.peer.run("ip", "route", "add", ELSEWHERE[family], "via", HOST[family])
    try:
        with address(lab.host, family, ELSEWHERE, "lo"):
            assert seen_from(lab, guest, family, STREAM) == ELSEWHERE[family]
    finally:
        lab.peer.run("ip", "route", "del", ELSEWHERE[family])
