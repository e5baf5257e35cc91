# SPDX-License-Identifier: GPL-2.0-or-later
"""Name resolution, ping, traceroute and datagrams, both ways."""

import contextlib
import re
import struct

import pytest

from clients import A, TXT, Background, ask_tcp, ask_udp
from lab import (DGRAM, DNS, FAR, GATEWAY, HOST, PEER, SEARCH, STREAM, V4, V6,
                 literal, until)

NAME, RECORDS = f"www.{SEARCH[0]}", f"big.{SEARCH[0]}"
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}


def dnsmasq(ns, *addresses):
    """A name server whose answers for RECORDS are too long for UDP."""
    long = [f"--txt-record={RECORDS},{i:02}{'x' * 240}" for i in range(30)]
    server = ns.spawn(
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
        "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root",
        "--pid-file=", "--log-facility=-",
        *[f"--listen-address={a}" for a in addresses],
        f"--address=/{NAME}/192.0.2.80", *long)
    server.says("started, version")
    return server


@pytest.fixture(params=["peer", "host loopback"])
def resolving(lab, request):
    """A guest whose queries to DNS[family] reach the host's name server."""
    at, addresses = ((lab.peer, PEER) if request.param == "peer"
                     else (lab.host, LOOPBACK))
    lab.resolver(*addresses.values())
    dnsmasq(at, *addresses.values())
    return lab.pasta("--config-net", "--dns-forward", DNS[V4],
                     "--dns-forward", DNS[V6])


def test_dns_udp(resolving, family):
    assert ask_udp(resolving, family, DNS[family], NAME, A) == \
        [bytes([192, 0, 2, 80])]


# Debian's 2023 release forwards DNS over UDP only
def test_dns_tcp(resolving, family):
    """An answer that UDP truncates comes whole by TCP."""
    assert ask_udp(resolving, family, DNS[family], RECORDS, TXT) is None
    records = ask_tcp(resolving, family, DNS[family], RECORDS, TXT)
    assert len(records) == 30 and all(len(r) == 243 for r in records)


def test_dns_real_client(resolving, family):
    out = resolving.run("busybox", "nslookup", "-type=a", NAME, DNS[family])
    assert "Address: 192.0.2.80" in out


# Debian's 2023 release has no --dns-host
def test_dns_host(lab, family):
    """--dns-host goes before the host's own list."""
    lab.resolver(LOOPBACK[family])
    dnsmasq(lab.peer, PEER[family])
    guest = lab.pasta("--config-net", "--dns-forward", DNS[family],
                      "--dns-host", PEER[family])
    assert ask_udp(guest, family, DNS[family], NAME, A)


@pytest.fixture
def guest(lab):
    return lab.pasta("--config-net", "-t", "7001,7002:7003", "-u",
                     "7001,7002:7003", "-T", "none", "-U", "none")


def test_ping(guest, family):
    assert guest.reachable(family, PEER[family])
    assert guest.reachable(family, FAR[family])


@pytest.mark.parametrize("size", [0, 1, 1473, 9000])
def test_ping_sizes(guest, family, size):
    out = guest.run("ping", "-6" if family == V6 else "-4", "-n", "-c1",
                    "-W5", "-s", size, PEER[family])
    assert "1 packets transmitted, 1 received" in out


# Debian's 2023 release does not pass on TTL and ICMP errors
def test_traceroute(guest, family):
    """UDP probes show the routers on the host's own way."""
    out = guest.run("traceroute", "-6" if family == V6 else "-4", "-n",
                    "-q1", "-w5", "-m4", FAR[family])
    assert re.findall(r"^ *\d+ +(\S+)", out, re.M) == [PEER[family],
                                                       FAR[family]]


# What one datagram can carry at an MTU of 65520
SIZES = {V4: [0, 1, 1472, 1473, 9000, 65492],
         V6: [0, 1, 1452, 1453, 9000, 65472]}


@contextlib.contextmanager
def echo(ns, family, port=0):
    """A UDP echo server; yields its port."""
    s = ns.bind(family, DGRAM, port)

    def serve():
        while True:
            data, client = s.recvfrom(65535)
            if data == b"stop":
                return
            s.sendto(data, client)
    thread = Background(serve)
    yield s.getsockname()[1]
    stop = ns.connect(family, "::1" if family == V6 else "127.0.0.1",
                      s.getsockname()[1], DGRAM)
    stop.send(b"stop")
    thread.result()


def echoed(client, size):
    try:
        return client.recv(65535)
    except TimeoutError:
        raise AssertionError(f"no echo of {size} bytes") from None


def check_echo(client, family):
    for size in SIZES[family]:
        data = bytes(i % 251 for i in range(size))
        client.send(data)
        assert echoed(client, size) == data, size
    # A train of datagrams keeps its order and its boundaries
    train = [b"%d " % i * i for i in range(20)]
    for data in train:
        client.send(data)
    assert [client.recv(65535) for _ in train] == train


def test_udp_outbound(lab, guest, family):
    with echo(lab.peer, family) as port:
        check_echo(guest.connect(family, PEER[family], port, DGRAM), family)


# Debian's 2023 release knows no IPv6 address of a guest that has not said
# anything yet
@pytest.mark.parametrize("port,inner", [(7001, 7001), (7002, 7003)],
                         ids=["same port", "other port"])
def test_udp_inbound(lab, guest, family, port, inner):
    with echo(guest, family, inner):
        check_echo(lab.peer.connect(family, HOST[family], port, DGRAM),
                   family)


def test_udp_inbound_shows_the_client(lab, guest, family):
    """The guest sees who it is that asks."""
    server = guest.bind(family, DGRAM, 7001)
    client = lab.peer.connect(family, HOST[family], 7001, DGRAM)
    client.send(b"who")
    assert server.recvfrom(100)[1][:2] == client.getsockname()[:2]


def test_udp_clients_are_kept_apart(lab, guest, family):
    """Many clients of one server, and many servers of one client socket."""
    with echo(guest, family, 7001):
        clients = [lab.peer.connect(family, HOST[family], 7001, DGRAM)
                   for _ in range(50)]
        for i, client in enumerate(clients):
            client.send(b"%d" % i)
        for i, client in enumerate(clients):
            assert client.recv(100) == b"%d" % i

    with echo(lab.peer, family) as one, echo(lab.far, family) as two:
        s = guest.bind(family)
        for host, port in (PEER, one), (FAR, two):
            s.sendto(host[family].encode(), (host[family], port))
        got = {s.recvfrom(100) for _ in range(2)}
        assert {(data.decode(), *source[:2]) for data, source in got} == \
            {(PEER[family], PEER[family], one), (FAR[family], FAR[family], two)}


@pytest.mark.parametrize("at", ["peer", "host loopback"])
def test_tftp(lab, family, at):
    """The server answers from a port of its own for each file: RFC 1350."""
    ns, address = ((lab.peer, PEER[family]) if at == "peer"
                   else (lab.host, LOOPBACK[family]))
    name = {V4: "192.0.2.101", V6: "2001:db8:5::101"}[family]
    guest = lab.pasta("--config-net", "--map-host-loopback", name)
    path, _ = lab.payload(200_000)
    server = ns.spawn(
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
        "--user=root", "--pid-file=", "--log-facility=-", "--enable-tftp",
        f"--tftp-root={path.parent}", "--bind-interfaces",
        f"--listen-address={address}")
    server.says("started, version|TFTP root")
    got = lab.path("got")
    url = literal(name if at == "host loopback" else address)
    guest.run("curl", "-sS", "--max-time", 15, "-o", got,
              f"tftp://{url}/{path.name}")
    assert got.read_bytes() == path.read_bytes()


def test_strangers(lab, guest, family):
    """Who has heard of the guest's port may send there, as to the host's own;
    what the guest answers arrives, from that port."""
    s = guest.bind(family)
    server = lab.peer.bind(family)
    s.sendto(b"me", (PEER[family], server.getsockname()[1]))
    known = server.recvfrom(100)[1]
    for ns, address in (lab.peer, PEER[family]), (lab.far, FAR[family]):
        stranger = ns.bind(family)
        stranger.sendto(b"hello", known)
        data, source = s.recvfrom(100)
        assert (data, source[:2]) == \
            (b"hello", (address, stranger.getsockname()[1]))
        s.sendto(b"back", source)
        data, back = stranger.recvfrom(100)
        assert (data, back[:2]) == (b"back", known[:2])
        stranger.sendto(b"again", back)
        assert s.recvfrom(100)[0] == b"again"
    server.sendto(b"still there", known)
    assert s.recvfrom(100)[0] == b"still there"


@pytest.mark.parametrize("port,inner", [(7001, 7001), (7002, 7003)],
                         ids=["same port", "other port"])
def test_tcp_inbound(lab, guest, family, port, inner):
    listener = guest.listen(family, inner)
    client = lab.peer.connect(family, HOST[family], port)
    server, source = listener.accept()
    assert source[:2] == client.getsockname()[:2]
    client.sendall(b"ping")
    assert server.recv(100) == b"ping"
    server.sendall(b"pong")
    assert client.recv(100) == b"pong"


# The gateway's address stands for the host's loopback, unless told otherwise
def test_host_loopback(lab, family):
    """A guest reaches the host's loopback by the gateway's address."""
    listener = lab.host.bind(family, STREAM, address=LOOPBACK[family])
    listener.listen()
    port = listener.getsockname()[1]
    guest = lab.pasta("--config-net")
    client = guest.connect(family, GATEWAY[family], port)
    server = lab.host.accept(listener)
    client.sendall(b"x")
    assert server.recv(1) == b"x"


def test_no_map_gw(lab, family):
    """With --no-map-gw the gateway's address is the gateway."""
    listener = lab.peer.listen(family)
    guest = lab.pasta("--config-net", "--no-map-gw")
    client = guest.connect(family, GATEWAY[family],
                           listener.getsockname()[1])
    assert lab.peer.accept(listener).getpeername()[0] == HOST[family]
    client.close()


def test_auto(lab, family):
    """Ports bound in the guest are forwarded without being named."""
    guest = lab.pasta("--config-net")
    listener = guest.listen(family, 7005)

    def connected():
        with contextlib.suppress(ConnectionRefusedError):
            return lab.peer.connect(family, HOST[family], 7005)
    client = until(connected, "the port to be found")
    server, _ = listener.accept()
    client.sendall(b"x")
    assert server.recv(1) == b"x"


@pytest.fixture(params=["--no-tcp", "--no-udp", "--no-icmp"])
def off(lab, request):
    """A guest that one protocol does not work for, and how that is called."""
    return lab.pasta("--config-net", request.param), request.param


# Debian's 2023 release does not start without TCP or UDP
def test_protocol_off(lab, off):
    """One protocol is off, from the guest, and the others are not."""
    guest, option = off
    stream, datagrams = lab.peer.listen(V4), lab.peer.bind(V4)
    asked = guest.socket(V4)
    asked.setblocking(False)
    asked.connect_ex((PEER[V4], stream.getsockname()[1]))
    guest.connect(V4, PEER[V4], datagrams.getsockname()[1], DGRAM).send(b"x")
    # What comes later has overtaken nothing
    if option == "--no-icmp":
        assert not guest.ok("ping", "-n", "-c1", "-W1", PEER[V4])
    else:
        assert guest.reachable(V4)
    if option == "--no-tcp":
        stream.setblocking(False)
        with pytest.raises(BlockingIOError):
            stream.accept()
    else:
        lab.peer.accept(stream)
    if option == "--no-udp":
        datagrams.setblocking(False)
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)
    else:
        assert datagrams.recv(1) == b"x"


ECHO = {V4: [b"\x08", b"\x00"], V6: [b"\x80", b"\x81"]}


def captured(path):
    """The frames in a capture file; they may still be written to."""
    data, at, frames = path.read_bytes(), 24, []
    assert struct.unpack("=IHH8xII", data[:24]) == (0xa1b2c3d4, 2, 4, 65535, 1)
    while at + 16 <= len(data):
        length, whole = struct.unpack("=8xII", data[at:at + 16])
        assert length == whole
        frames.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return frames


def test_capture(lab, family):
    """--pcap has the guest's frames of both directions."""
    path = lab.path("pcap")
    guest = lab.pasta("--config-net", "--pcap", path)
    assert guest.reachable(family)
    ethertype, l4 = ((b"\x08\0", 34) if family == V4 else (b"\x86\xdd", 54))
    until(lambda: [f[l4:l4 + 1] for f in captured(path)
                   if f[12:14] == ethertype and f[l4:l4 + 1] in ECHO[family]]
          == ECHO[family], "request and reply in the capture")
