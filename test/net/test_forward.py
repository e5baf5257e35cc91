# SPDX-License-Identifier: GPL-2.0-or-later
"""Loopback traffic between host and namespace, and ports that follow servers.

What comes from a loopback address of the host, and what -T and -U forward from
the namespace, goes from socket to socket.  A client sees what it would see if
the server were next to it: data whole, ends, resets, refusals.
"""

import contextlib
import errno
import hashlib
import os
import pathlib
import re
import socket
import subprocess

import pytest

from clients import Background, read_all, read_exactly, reset
from lab import (DEADLINE, DGRAM, GATEWAY, HOST, MIB, PASTA, PYTHON, STREAM,
                 UPLINK, USER, V4, V6, cubic_allowed, literal, run, until)

LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
IN, OUT = 7001, 7002            # forwarded to the namespace and from it
AUTO = 7100
POOL = 64                       # sockets made in advance for a family
NONE = ("-t", "none", "-u", "none", "-T", "none", "-U", "none")
EXPLICIT = ("--config-net", "-t", IN, "-u", IN, "-T", OUT, "-U", OUT)
SIZES = [2048, 10 * MIB]


@pytest.fixture
def guest(lab):
    return lab.pasta(*EXPLICIT)


@pytest.fixture(params=["in", "out"])
def way(request, lab, guest):
    """Where the client is, where the server is, and the port."""
    return {"in": (lab.host, guest, IN),
            "out": (guest, lab.host, OUT)}[request.param]


def connection(client_ns, server_ns, port, family):
    """The two ends of a connection through the daemon."""
    listener = server_ns.listen(family, port)
    client = client_ns.connect(family, LOOPBACK[family], port)
    return client, server_ns.accept(listener)


def talk(client, server, kind):
    """A word each way between a client and who serves it; whom does that see?"""
    client.send(b"question")
    if kind == STREAM:
        server, _ = server.accept()
        with server:
            server.settimeout(DEADLINE)
            assert server.recv(100) == b"question"
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"
            return server.getpeername()[:2]
    data, source = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", source)
    assert client.recv(100) == b"answer"
    return source[:2]


def serve(ns, family, kind, port):
    server = ns.bind(family, kind, port)
    if kind == STREAM:
        server.listen()
    return server


def refused(ns, family, port):
    """Is nobody there?  A connection that the other namespace then refuses was
    accepted first and ends with a reset."""
    s = ns.socket(family)
    try:
        s.connect((LOOPBACK[family], port))
        s.recv(1)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    finally:
        s.close()
    return False


# Streams

@pytest.mark.parametrize("size", SIZES, ids=["2K", "10M"])
def test_data_whole(lab, way, family, size):
    path, digest = lab.payload(size)
    data = path.read_bytes()
    ends = connection(*way, family)
    for source, sink in (ends, ends[::-1]):
        sent = Background(source.sendall, data)
        got = hashlib.md5()
        left = size
        while left:
            chunk = sink.recv(min(left, 1 << 18))
            assert chunk
            got.update(chunk)
            left -= len(chunk)
        sent.result()
        assert got.hexdigest() == digest


# Take what a user may have of pipes, until new ones hold next to nothing
GREEDY = """
import fcntl, os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
size, pipes = 1 << 20, []
while not pipes or fcntl.fcntl(pipes[-1][1], 1032) > 8192:
    pipes.append(os.pipe())
    try:
        fcntl.fcntl(pipes[-1][1], 1031, size)
    except PermissionError:
        size //= 2
print("ready", flush=True)
sys.stdin.read()
"""


def poor_user(uid):
    return ("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups")


def test_no_pipes_left(lab, family):
    """A user's quota is used up: slower, but whole."""
    user = poor_user(4711 if family == V4 else 4712) # side by side, perhaps
    greedy = lab.host.spawn(*user, PYTHON, "-c", GREEDY,
                            stdin=subprocess.PIPE)
    greedy.says("^ready$")
    guest = lab.pasta(*EXPLICIT, user=user)
    path, _ = lab.payload(10 * MIB)
    data = path.read_bytes()
    for way in (lab.host, guest, IN), (guest, lab.host, OUT):
        ends = connection(*way, family)
        for source, sink in (ends, ends[::-1]):
            sent = Background(lambda: (source.sendall(data),
                                       source.shutdown(socket.SHUT_WR)))
            assert read_all(sink) == data
            sent.result()
    # Else some would have been kept
    assert not any("pipe" in name for name in held(guest.process.pid))


def test_half_close(lab, way, family):
    client, server = connection(*way, family)
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"question"
    server.sendall(b"answer" * 10000)
    server.close()
    assert read_all(client) == b"answer" * 10000


def test_end_behind_data(lab, way, family):
    """Whoever sends and leaves has its bytes delivered, however slowly they
    are read."""
    path, digest = lab.payload(10 * MIB)
    client, server = connection(*way, family)

    def send():
        client.sendall(path.read_bytes())
        client.close()
    sender = Background(send)
    assert hashlib.md5(read_all(server)).hexdigest() == digest
    sender.result()


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset(lab, way, family, who):
    ends = connection(*way, family)
    ends[0].sendall(b"x")
    assert ends[1].recv(1) == b"x"
    goes, stays = ends if who == "client" else ends[::-1]
    reset(goes)
    with pytest.raises(ConnectionResetError):
        stays.recv(1)


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_behind_the_end(lab, way, family, who):
    """One that has shut down gives up altogether: the other hears of that."""
    ends = connection(*way, family)
    goes, stays = ends if who == "client" else ends[::-1]
    goes.shutdown(socket.SHUT_WR)
    assert stays.recv(1) == b""
    reset(goes)
    until(lambda: stays.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) ==
          errno.EPIPE, "the reset")


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_of_the_half_closed(lab, way, family, who):
    """One has shut down and waits for an answer; there is none to come."""
    ends = connection(*way, family)
    waits, goes = ends if who == "client" else ends[::-1]
    waits.shutdown(socket.SHUT_WR)
    assert goes.recv(1) == b""
    reset(goes)
    with pytest.raises(ConnectionResetError):
        waits.recv(1)


def test_refused(lab, way, family):
    client, _, port = way
    assert refused(client, family, port)


def test_addresses(lab, guest):
    """127/8 is kept on the way out; on the way in the guest's own address is
    the target, not its loopback."""
    listener = lab.host.listen(V4, OUT)
    client = guest.connect(V4, "127.0.0.2", OUT)
    assert lab.host.accept(listener).getsockname() == ("127.0.0.2", OUT)
    client.close()
    listener = guest.listen(V4, IN)
    client = lab.host.connect(V4, "127.0.0.2", IN)
    assert guest.accept(listener).getsockname() == (HOST[V4], IN)


def test_datagrams_to_a_stub(lab, guest):
    """Who asks 127.0.0.53 is answered by it, and not by another of 127/8."""
    other = lab.host.bind(V4, DGRAM, OUT, "127.0.0.1")
    stub = lab.host.bind(V4, DGRAM, OUT, "127.0.0.53")
    client = guest.connect(V4, "127.0.0.53", OUT, DGRAM)
    client.send(b"question")
    data, source = stub.recvfrom(100)
    stub.sendto(data[::-1], source)
    assert client.recv(100) == b"noitseuq"
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.recv(1)


def silent(ns, family, address, port):
    """A server that nobody may reach.  When a call to it is over, nothing has
    come to either socket."""
    sockets = [ns.bind(family, kind, port, address) for kind in (STREAM, DGRAM)]
    sockets[0].listen()

    def untouched():
        for s, call in zip(sockets, ("accept", "recvfrom")):
            s.setblocking(False)
            with pytest.raises(BlockingIOError):
                getattr(s, call)(*[1] if call == "recvfrom" else [])
    return untouched


def knock(ns, family, address, port, source=None):
    """A datagram, then a connection, which is refused."""
    s = ns.bind(family, DGRAM, address=source)
    s.connect((address, port))
    with contextlib.suppress(ConnectionRefusedError):
        s.send(b"anybody?")
    s = ns.bind(family, STREAM, address=source)
    with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
        s.connect((address, port))
        assert s.recv(1)


def test_only_from_loopback(lab, guest, family):
    """The way out is for loopback traffic: neither end may be another address,
    though all of a namespace's own take the loopback interface."""
    untouched = silent(lab.host, family, LOOPBACK[family], OUT)
    knock(guest, family, HOST[family], OUT)
    knock(lab.peer, family, HOST[family], OUT)
    if family == V4:            # by IPv6 the kernel has no way back
        knock(guest, V4, "127.0.0.1", OUT, HOST[V4])
    untouched()
    server = lab.host.bind(family, DGRAM, OUT, LOOPBACK[family])
    for source in HOST, LOOPBACK:
        client = guest.bind(family, DGRAM, address=source[family])
        client.sendto(source[family].encode(), (LOOPBACK[family], OUT))
    assert server.recv(100) == LOOPBACK[family].encode()


@pytest.mark.parametrize("options", [(), ("--host-lo-to-ns-lo",)],
                         ids=["plain", "to loopback"])
def test_private_service(lab, family, options):
    """Others than the host's loopback never get to the namespace's, and that
    one only if told so."""
    guest = lab.pasta(*EXPLICIT, *options)
    untouched = silent(guest, family, LOOPBACK[family], IN)
    knock(lab.peer, family, HOST[family], IN)
    knock(lab.host, family, HOST[family], IN)
    if not options:
        knock(lab.host, family, LOOPBACK[family], IN)
    untouched()


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
@pytest.mark.parametrize("name", ["gateway", "own"])
def test_hairpin(lab, family, kind, name):
    """A guest that asks the host for a port that leads back to it, by the name
    of the host's loopback or of the host's address."""
    own = {V4: "192.0.2.101", V6: "2001:db8:5::101"}
    guest = lab.pasta(*EXPLICIT, "--map-guest-addr", own[family])
    asked, seen = (own, own) if name == "own" else (GATEWAY, HOST)
    server = serve(guest, family, kind, IN)
    client = guest.connect(family, asked[family], IN, kind)
    assert talk(client, server, kind)[0] == seen[family]


OTHERS = {V4: [f"198.51.100.{100 + i}" for i in range(40)],
          V6: [f"2001:db8:1::{100 + i}" for i in range(40)]}


@pytest.fixture
def others(lab, family):
    """More addresses of the host's, as one with temporary ones has, or one that
    hosts many sites."""
    length = 64 if family == V6 else 24

    def change(what, flag=""):
        lab.host.sh("".join(f"ip addr {what} {a}/{length} dev {UPLINK} {flag}\n"
                            for a in OTHERS[family]))
    change("add", "nodad" if family == V6 else "")
    yield OTHERS[family]
    change("del")


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_host_by_each_address(lab, family, others, kind):
    """The namespace has all of the host's addresses: none of them may be what
    it sees, or it would answer itself."""
    guest = lab.pasta(*EXPLICIT)
    server = serve(guest, family, kind, IN)
    for address in HOST[family], *others[:2], others[-1]:
        client = lab.host.bind(family, kind, address=address)
        client.connect((address, IN))
        assert talk(client, server, kind)[0] not in (HOST[family], *others)


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_host_by_the_gateway(lab, family, kind):
    """What the host sends from the address that both have comes from the gateway,
    and so reaches a server that listens on this address alone."""
    guest = lab.pasta(*EXPLICIT, "-a", HOST[family])
    server = guest.bind(family, kind, IN, HOST[family])
    if kind == STREAM:
        server.listen()
    client = lab.host.connect(family, HOST[family], IN, kind)
    assert talk(client, server, kind)[0] == GATEWAY[family]


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_loopback_to_routed(lab, kind):
    """A container on a bridge in the namespace, as Podman has them: a router does
    not forward what comes from a link-local address."""
    spec = f"[::]/{IN}:fd00:5::5/{OUT}"
    guest = lab.pasta("--config-net", "-a", "fc00::3", "-g", "fc00::1",
                      "--no-map-gw", *NONE[4:], "-t", spec, "-u", spec)
    inner = lab.named(lab.netns())
    run("nsenter", f"--net={guest.netns}", "ip", "link", "add", "br0", "type",
        "veth", "peer", "name", UPLINK, "netns", inner.netns)
    guest.add_address("fd00:5::1/64", "br0")
    inner.add_address("fd00:5::5/64", UPLINK)
    guest.run("ip", "link", "set", "br0", "up")
    inner.run("ip", "link", "set", UPLINK, "up")
    inner.run("ip", "route", "add", "default", "via", "fd00:5::1")
    guest.run("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
    server = serve(inner, V6, kind, OUT)
    client = lab.host.connect(V6, "::1", IN, kind)
    assert talk(client, server, kind)[0] == "fc00::1"


def test_host_lo_to_ns_lo(lab, family):
    guest = lab.pasta("--config-net", "--host-lo-to-ns-lo", *NONE[2:],
                      "-t", IN)
    listener = guest.bind(family, STREAM, IN, LOOPBACK[family])
    listener.listen()
    client = lab.host.connect(family, LOOPBACK[family], IN)
    server = guest.accept(listener)
    server.sendall(b"here")
    assert client.recv(4) == b"here"


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_no_splice(lab, family, kind):
    """Through the tap device, from the address that stands for the host's
    loopback; what has no such name comes from ours."""
    names = {V4: "192.0.2.101", V6: "2001:db8:5::101"}
    guest = lab.pasta(*EXPLICIT, "--no-splice", "--map-host-loopback",
                      names[family])
    server = serve(guest, family, kind, IN)
    client = lab.host.connect(family, LOOPBACK[family], IN, kind)
    assert talk(client, server, kind) == (names[family],
                                          client.getsockname()[1])
    if family == V4:
        client = lab.host.bind(V4, kind, address="127.0.0.3")
        client.connect(("127.0.0.1", IN))
        assert talk(client, server, kind) == (GATEWAY[V4],
                                              client.getsockname()[1])


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_splice_only(lab, family, kind):
    guest = lab.pasta("--splice-only", *EXPLICIT[1:])
    assert [link["ifname"] for link in guest.ip("link")] == ["lo"]
    for near, far, port in (lab.host, guest, IN), (guest, lab.host, OUT):
        server = serve(far, family, kind, port)
        client = near.connect(family, LOOPBACK[family], port, kind)
        assert talk(client, server, kind)[0] == LOOPBACK[family]
        server.close()
    untouched = silent(guest, family, LOOPBACK[family], IN)
    knock(lab.peer, family, HOST[family], IN)
    untouched()


def test_no_circles(lab, family):
    """The same port both ways: nobody serves it, and nothing goes round."""
    guest = lab.pasta("--config-net", "--host-lo-to-ns-lo", "-t", IN, "-T", IN,
                      "-u", IN, "-U", IN)
    for ns in lab.host, guest:
        assert refused(ns, family, IN)
        s = ns.connect(family, LOOPBACK[family], IN, DGRAM)
        s.send(b"round and round")
    before = settled(guest.process.pid)
    assert refused(guest, family, IN)
    assert settled(guest.process.pid) <= before + POOL


@pytest.fixture
def bbr(lab):
    """Connections of the host begin with BBR, and those of new namespaces."""
    with lab.host.inside():
        chosen = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")
        try:
            chosen.write_text("bbr")
        except OSError:
            pytest.skip("the kernel has no BBR for namespaces")
    yield
    with cubic_allowed(), lab.host.inside():
        chosen.write_text("cubic")


def algorithms(ns, *ends):
    """Congestion control of connections, as ss picks them."""
    out = ns.run("ss", "-Htin", "state", "established", *ends)
    return [re.search(r"\b(bbr|cubic|reno)\b", line)[0]
            for line in out.splitlines() if "rto:" in line]


def test_loopback_without_bbr(lab, bbr, family):
    """Its pace is for bottlenecks.  What leaves the host has it."""
    guest = lab.pasta(*EXPLICIT, "-t", AUTO)
    with guest.inside():
        pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(
            "bbr")
    for near, far, port in (lab.host, guest, IN), (guest, lab.host, OUT):
        client, server = connection(near, far, port, family)
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        assert algorithms(near, f"dport = {port}") == ["bbr"]
        assert algorithms(near, f"sport = {port}")[0] in ("cubic", "reno")
        assert algorithms(far, f"dport = {port}")[0] in ("cubic", "reno")
        assert algorithms(far, f"sport = {port}") == ["bbr"]
        client.close()
        server.close()
    listener = guest.bind(family, STREAM, AUTO)
    listener.listen()
    client = lab.peer.connect(family, HOST[family], AUTO)
    guest.accept(listener)
    assert algorithms(lab.host, f"sport = {AUTO}") == ["bbr"]


def test_urgent_data(way, family):
    client_ns, server_ns, port = way
    client, server = connection(client_ns, server_ns, port, family)
    for size in 3, 4 * MIB, 3:
        data = os.urandom(size) + b"Xdefghi"
        received = Background(read_exactly, server, len(data))
        client.sendall(data[:size])
        client.send(b"X", socket.MSG_OOB)
        client.sendall(b"defghi")
        assert received.result() == data
    client.send(b"abcX", socket.MSG_OOB)
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"abcX"


# Datagrams

def test_datagrams(lab, way, family):
    client_ns, server_ns, port = way
    server = server_ns.bind(family, DGRAM, port)
    client = client_ns.connect(family, LOOPBACK[family], port, DGRAM)
    for size in 1, 0, 1400, 65507, 0:
        data = os.urandom(size)
        client.send(data)
        got, source = server.recvfrom(65536)
        assert got == data
        server.sendto(data[::-1], source)
        assert client.recv(65536) == data[::-1]
    assert source[1] == client.getsockname()[1]


# Ports that follow servers

def appears(ns, family, port):
    def connected():
        try:
            return ns.connect(family, LOOPBACK[family], port)
        except ConnectionRefusedError:
            return None
    return until(connected, f"port {port} to be forwarded")


@pytest.mark.parametrize("way", ["in", "out"])
def test_auto(lab, family, way):
    guest = lab.pasta("--config-net")
    ends = (lab.host, guest) if way == "in" else (guest, lab.host)
    client_ns, server_ns = ends
    assert refused(client_ns, family, AUTO)
    listener = server_ns.listen(family, AUTO)
    client = appears(client_ns, family, AUTO)
    server = server_ns.accept(listener)
    client.sendall(b"found")
    assert server.recv(5) == b"found"
    # What the daemon listens on for it is not sent back
    assert server_ns.sh(f"ss -Htln sport {AUTO} | wc -l") == "1\n"
    listener.close()
    until(lambda: not client_ns.sh(f"ss -Htln sport {AUTO}"),
          "the port to vanish")
    server.sendall(b"still")
    assert client.recv(5) == b"still"


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["TCP", "UDP"])
def test_auto_datagrams(lab, family, kind):
    """Ports of TCP servers count for UDP, too."""
    guest = lab.pasta("--config-net")
    server = guest.bind(family, kind, AUTO)
    if kind == STREAM:
        server.listen()
    until(lambda: lab.host.sh(f"ss -Huln sport {AUTO}"), "the UDP port")
    if kind == STREAM:
        server = guest.bind(family, DGRAM, AUTO)
    client = lab.host.connect(family, LOOPBACK[family], AUTO, DGRAM)
    client.send(b"found")
    got, source = server.recvfrom(100)
    assert got == b"found"
    server.sendto(b"answer", source)
    assert client.recv(100) == b"answer"


@pytest.mark.parametrize("off,flag", [("--no-tcp", "-Htln"),
                                      ("--no-udp", "-Huln")])
def test_protocol_off(lab, family, off, flag):
    """No ports of it by default, and those of the other one all the same."""
    guest = lab.pasta("--config-net", off)
    guest.listen(family, AUTO)
    server = guest.bind(family, DGRAM, AUTO)
    other = {"-Htln": "-Huln", "-Huln": "-Htln"}[flag]
    until(lambda: lab.host.sh(f"ss {other} sport {AUTO}"), "the other one")
    assert lab.host.sh(f"ss {flag} sport {AUTO}") == ""
    server.close()
    option = {"--no-tcp": "-t", "--no-udp": "-u"}[off]
    result = lab.host.run(*USER, PASTA, off, option, IN, "--", "true",
                          check=False)
    name = option.replace("-t", "TCP").replace("-u", "UDP")
    assert result == (1, "", f"Can't add {name} forwarding rule, {name} not "
                      "enabled\n")


def test_no_ipv6(lab):
    """Where the kernel has it, but no interface uses it, the sockets for both
    families serve IPv4."""
    ns = lab.named(lab.netns())
    ns.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    ns.run("ip", "link", "set", "lo", "up")
    process = ns.spawn(*USER, PASTA, "-t", IN, "-u", IN, "-T", OUT, "-U", OUT,
                       "--", "sh", "-c", "echo ready; exec sleep infinity")
    process.says("^ready$")
    with pytest.raises(ConnectionResetError):   # by the guest: nobody is there
        ns.connect(V4, LOOPBACK[V4], IN).recv(1)


@pytest.mark.parametrize("options", [
    ("--config-net",), ("--config-net", "--host-lo-to-ns-lo"),
    ("--config-net", "--no-splice"), ("--splice-only",)], ids=" ".join)
def test_nothing_by_itself(lab, family, options):
    """No rule, no way to a loopback service of the other side."""
    guest = lab.pasta(*options, *NONE)
    untouched = (silent(lab.host, family, LOOPBACK[family], OUT),
                 silent(guest, family, LOOPBACK[family], IN))
    knock(guest, family, LOOPBACK[family], OUT)
    knock(lab.host, family, LOOPBACK[family], IN)
    for u in untouched:
        u()


# Ports that somebody else has

KINDS = {"TCP": ("-t", "-u", STREAM), "UDP": ("-u", "-t", DGRAM)}


@pytest.fixture(params=KINDS)
def taken(request, lab, family):
    """Start with a rule for %s, one port of which is taken: the result."""
    option, other, kind = KINDS[request.param]
    if kind == STREAM:
        lab.host.bind(family, kind, IN, HOST[family]).listen()
    else:                       # what can't be shared, as streams can't
        lab.host.socket(family, kind).bind((HOST[family], IN))

    def start(ports):
        spec = f"{literal(HOST[family])}%{UPLINK}/{ports}"
        result = lab.host.run(*USER, PASTA, other, "none", *NONE[4:], option,
                              spec, "--", "echo", "started", check=False)
        return (*result, f"{request.param} [{HOST[family]}]%{UPLINK}:")
    return start


def test_taken(taken):
    """The port is named, and nothing has begun."""
    status, out, err, name = taken(f"{IN - 1}-{IN + 1}")
    assert (status, out) == (1, "")
    proto, address = name.split()
    assert err == (f"Listen failed for HOST {proto} port {address}{IN}: "
                   "Address already in use\n"
                   "Couldn't listen on requested ports\n")


def test_taken_of_all(taken):
    """The others of "all" do: one line for the missing ones."""
    status, out, err, name = taken(f"all,~1-{IN - 2},~{IN + 2}-65535")
    assert (status, out) == (0, "started\n")
    # The sanitizers have something to say about the stack of a clone
    lines = [line for line in err.splitlines() if "failed" in line]
    assert lines == [f"Listen failed for 1 of 3 ports of HOST {name}"
                     f"{IN - 1}-{IN + 1}  =>  {IN - 1}-{IN + 1} "
                     " (best effort): Address already in use"]


def test_all_taken(taken):
    """Not one to be had is an error."""
    status, out, err, name = taken(f"all,~1-{IN - 1},~{IN + 1}-65535")
    assert (status, out) == (1, "")
    assert err == (f"Listen failed for 1 of 1 ports of HOST {name}"
                   f"{IN}  =>  {IN}  (best effort): Address already in use\n"
                   "Couldn't listen on requested ports\n")


# Nothing is left behind

def held(pid):
    """What the descriptors of a process are."""
    found = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(fd))
    return found


def settled(pid):
    """The number of descriptors but pipes, of which some are kept."""
    return sum("pipe" not in name for name in held(pid))


def test_refused_leaves_nothing(lab, guest):
    pid = guest.process.pid
    for family in V4, V6:
        refused(lab.host, family, IN)
        refused(guest, family, OUT)
    before = settled(pid)
    for i in range(250):
        for family in V4, V6:
            assert refused(lab.host, family, IN)
            assert refused(guest, family, OUT)
    assert abs(settled(pid) - before) <= 2 * POOL


def test_killed_servers_leave_nothing(lab, guest, family):
    pid = guest.process.pid
    refused(lab.host, family, IN)
    before = settled(pid)
    data = bytes(MIB)
    listener = guest.listen(family, IN)
    clients = []
    for _ in range(2 * POOL):
        client = lab.host.connect(family, LOOPBACK[family], IN)
        client.setblocking(False)
        for _ in range(8):
            try:
                client.send(data)
            except BlockingIOError:
                break
        clients.append(client)
        reset(guest.accept(listener))
    for client in clients:
        client.settimeout(DEADLINE)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    until(lambda: abs(settled(pid) - before) <= POOL, "closed descriptors")
