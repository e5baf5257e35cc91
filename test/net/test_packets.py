# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host's network does with packets that are not all of one datagram."""

import contextlib
import errno
import os
import pathlib
import re
import select
import socket
import struct
import time

import pytest

from lab import (DEADLINE, DGRAM, DNS, FAR, HOST, PEER, SANITIZED, V4, V6,
                 until)

DISCOVER = {V4: (socket.IPPROTO_IP, 10), V6: (socket.IPPROTO_IPV6, 23)}
DONT, WANT, DO = 0, 1, 2     # of IP(V6)_MTU_DISCOVER

SIZES = (0, 1, 548, 1232, 1252, 1253, 1452, 1453, 1472, 1473, 4096, 8952, 8973,
         32768, 65492, 65507)


def guest_of(lab, kind, mtu):
    if kind == "tap":
        return lab.pasta("--config-net", "--mtu", mtu)
    return lab.bridged(mtu) if kind == "stream" else lab.fronted(mtu)


def echoed(lab, family, client, server, sizes):
    """Each size there and back; the server's kernel and ours sum them."""
    for size in sizes:
        data = os.urandom(size)
        client.send(data)
        got, source = server.recvfrom(1 << 16)
        assert got == data, f"{size} bytes from the guest"
        server.sendto(data, source)
        assert client.recv(1 << 16) == data, f"{size} bytes to the guest"


@pytest.mark.parametrize("mtu", (1280, 1500, 9000, 65520))
@pytest.mark.parametrize("kind", ("tap", "stream", "vhost-user"))
def test_sizes(lab, family, kind, mtu):
    """Datagrams of all sizes that there are, whatever the guest's MTU is, and
    none is lost because that is more than the host's."""
    guest = guest_of(lab, kind, mtu)
    server = lab.peer.bind(family, address=PEER[family])
    client = guest.connect(family, *server.getsockname()[:2], DGRAM)
    for s in server, client:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    echoed(lab, family, client, server, SIZES)


@pytest.mark.parametrize("mtu", (1500, 65520))
@pytest.mark.parametrize("kind", ("tap", "stream", "vhost-user"))
def test_large_echo(lab, family, kind, mtu):
    guest = guest_of(lab, kind, mtu)
    flag = "-6" if family == V6 else "-4"
    for size in 1472, 1473, 8000, 65507:
        guest.run("ping", flag, "-n", "-c1", "-W5", "-s", size, PEER[family])


def test_edns(lab, family):
    """An answer of 4 KiB to a question that allows it, by the resolver's
    stand-in."""
    guest = lab.pasta("--config-net", "--mtu", 1500, "--dns-forward",
                      DNS[family])
    server = lab.peer.bind(family, port=53, address=PEER[family])
    client = guest.connect(family, DNS[family], 53, DGRAM)
    # example.org TXT?, and an OPT record: 4096 bytes are welcome
    question = bytes.fromhex("1234 0100 0001 0000 0000 0001"
                             "076578616d706c65036f726700 0010 0001"
                             "00 0029 1000 00000000 0000")
    client.send(question)
    data, source = server.recvfrom(5000)
    assert data == question
    answer = b"\x12\x34\x81\x80" + os.urandom(4092)
    server.sendto(answer, source)
    assert client.recv(5000) == answer


# Fragments as nobody's kernel makes them

def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", text)[1])


@pytest.mark.parametrize("kind", ("tap", "stream", "vhost-user"))
def test_bad_fragments(lab, kind):
    """Reordered and repeated ones arrive, those that overlap do not, and a
    flood of beginnings costs neither memory nor what comes after it."""
    guest = guest_of(lab, kind, 1500)
    server = lab.peer.bind(V4, address=PEER[V4])
    port = server.getsockname()[1]
    raw = guest.socket(V4, socket.SOCK_RAW, socket.IPPROTO_RAW)
    serial = iter(range(1, 65536))

    def send(number, at, more, data):
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), number,
                           at // 8 | more << 13, 64, 17, 0,
                           socket.inet_aton(HOST[V4]),
                           socket.inet_aton(PEER[V4]))
        raw.sendto(head + data, (PEER[V4], 0))

    def datagram(size):
        data = os.urandom(size)
        return data, struct.pack("!HHHH", 4000, port, 8 + size, 0) + data

    def pieces(whole, size=800):
        return [(at, at + size < len(whole), whole[at:at + size])
                for at in range(0, len(whole), size)]

    def arrives(order, size=4000):
        data, whole = datagram(size)
        number = next(serial)
        for piece in order(pieces(whole)):
            send(number, *piece)
        assert server.recv(1 << 16) == data

    arrives(lambda p: p)
    arrives(lambda p: p[::-1])
    arrives(lambda p: p[1::2] + p[::2])
    arrives(lambda p: [p[0], p[0], *p[1:], p[-1]])
    _, whole = datagram(4000)
    number = next(serial)
    for piece in pieces(whole)[:2]:
        send(number, *piece)
    send(number, 808, True, bytes(800))
    for piece in pieces(whole)[2:]:
        send(number, *piece)
    arrives(lambda p: p)        # nothing came before that
    before = resident(guest.daemon)
    for _ in range(5000):
        send(next(serial), 0, True, whole[:1400])
    server.settimeout(0.5)      # the guest's link may have lost some

    def after_all():
        with contextlib.suppress(TimeoutError):
            arrives(lambda p: p)
            return True
    until(after_all, "what comes behind a flood")
    # 64 datagrams of 64 KiB at most, however many have begun
    assert resident(guest.daemon) - before < 8 << 10 or SANITIZED
    arrives(lambda p: p[::-1], 65507)


# A path that holds less than the host's link

PATH_MTU = 1400


@pytest.fixture
def narrow(lab):
    with lab.narrow(PATH_MTU):
        yield


def learned(ns, address):
    return ns.ip(f"route get {address}")[0].get("metrics", [{}])[0].get("mtu")


def sent(client, size, discover):
    client.setsockopt(*DISCOVER[client.family], discover)
    client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)   # of an earlier one
    client.send(os.urandom(size))


@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_path_mtu(lab, family, kind, narrow):
    """Who says DF is told what the path holds; who does not need not know."""
    guest = guest_of(lab, kind, 65520)
    server = lab.far.bind(family, address=FAR[family])
    address = server.getsockname()[:2]
    client = guest.connect(family, *address, DGRAM)
    if family == V4:    # WireGuard: routers may cut it
        sent(client, 1390, DONT)
        assert len(server.recv(2000)) == 1390
        sent(client, 3000, DO)      # longer than the host's own link holds
        assert len(server.recv(4000)) == 3000
        assert not learned(guest, FAR[family])
    sent(client, 1440, DO)          # QUIC, looking for the path's
    until(lambda: learned(guest, FAR[family]) == PATH_MTU, "the path's MTU")
    with pytest.raises(OSError):
        client.send(bytes(1440))
    with pytest.raises(OSError):    # and nothing comes for what has been told
        client.send(bytes(1440))
    sent(client, 1300, DO)
    assert len(server.recv(2000)) == 1300
    sent(client, 20000, WANT)       # the guest's kernel knows by now
    assert len(server.recv(1 << 16)) == 20000


@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_ping_df(lab, family, kind, narrow):
    guest = guest_of(lab, kind, 1500)
    flag = "-6" if family == V6 else "-4"
    said = guest.run("ping", flag, "-n", "-c1", "-W2", "-Mdo", "-s1440",
                     FAR[family], check=False)
    assert f"mtu" in (said.stdout + said.stderr).lower()
    until(lambda: learned(guest, FAR[family]) == PATH_MTU, "the path's MTU")
    guest.run("ping", flag, "-n", "-c1", "-W5", "-s4000", FAR[family])


def pump(source, sink, size):
    """@size bytes from one end of a connection to the other."""
    left = got = size
    chunk = bytes(1 << 18)
    for s in source, sink:
        s.setblocking(False)
    end = time.monotonic() + DEADLINE
    while got:
        assert time.monotonic() < end, f"{got} bytes never came"
        reads, writes, _ = select.select([sink], [source] if left else [], [],
                                         1)
        if writes:
            left -= source.send(chunk[:left])
        if reads:
            data = sink.recv(1 << 18)
            assert data
            got -= len(data)


@pytest.fixture
def promises(lab, family, narrow):
    with lab.promises(family, 1440):
        yield


@pytest.mark.parametrize("kind", ("tap", "stream", "vhost-user"))
def test_tcp_path_mtu(lab, family, kind, promises):
    """What the host's connection learns of its path the guest's kernel learns,
    so that other protocols can use it; and it goes on."""
    guest = guest_of(lab, kind, 1500)
    listener = lab.far.listen(family)
    client = guest.connect(family, FAR[family], listener.getsockname()[1])
    server = lab.far.accept(listener)
    pump(client, server, 1 << 20)
    assert learned(lab.host, FAR[family]) == PATH_MTU
    time.sleep(1)       # as often as it is looked at
    pump(client, server, 1 << 20)
    until(lambda: learned(guest, FAR[family]) == PATH_MTU, "the path's MTU")
    pump(client, server, 1 << 20)
    pump(server, client, 1 << 20)


@pytest.mark.parametrize("mtu", (1500, 65520))
def test_tracepath(lab, family, mtu, narrow):
    guest = guest_of(lab, "tap", mtu)
    said = guest.run("tracepath", "-6" if family == V6 else "-4", "-n",
                     FAR[family])
    assert re.search(r"pmtu 1500", said), said
    assert re.search(rf"Resume: pmtu {PATH_MTU}", said), said
    assert "reached" in said, said


@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_marks(lab, family, kind):
    """Type of service and ECN, both ways; of a TCP connection outwards."""
    guest = guest_of(lab, kind, 1500)
    level, tos, hear = ((socket.IPPROTO_IP, socket.IP_TOS, socket.IP_RECVTOS)
                        if family == V4 else
                        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS,
                         socket.IPV6_RECVTCLASS))

    def marked(s):
        data, control, _, source = s.recvmsg(100, 100)
        return data, [c[2][0] for c in control if c[1] == tos], source

    server = lab.peer.bind(family, address=PEER[family])
    client = guest.connect(family, *server.getsockname()[:2], DGRAM)
    for s in server, client:
        s.setsockopt(level, hear, 1)
    for mark in 0xb8, 2, 3, 0x29, 0:
        client.setsockopt(level, tos, mark)
        client.send(b"there")
        data, got, source = marked(server)
        assert (data, got) == (b"there", [mark])
        server.setsockopt(level, tos, mark ^ 1)
        server.sendto(b"back", source)
        assert marked(client)[:2] == (b"back", [mark ^ 1])


@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_tcp_marks(lab, family, kind):
    """Of a connection outwards, from its SYN on, and when the guest thinks
    better of it.  ECN is between us and the peer."""
    guest = guest_of(lab, kind, 1500)
    level, tos = ((socket.IPPROTO_IP, socket.IP_TOS) if family == V4 else
                  (socket.IPPROTO_IPV6, socket.IPV6_TCLASS))
    listener = lab.peer.listen(family)
    port = listener.getsockname()[1]
    wire = lab.peer.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                           socket.htons(0x0800 if family == V4 else 0x86dd))

    def marks(n):
        """Of @n packets that came from the host to that port."""
        seen = []
        while len(seen) < n:
            p, source = wire.recvfrom(2000)
            at = 20 if family == V4 else 40
            if (source[2] == 0 and p[9 if family == V4 else 6] == 6 and
                    p[at + 2:at + 4] == port.to_bytes(2, "big")):
                seen.append(p[1] if family == V4 else
                            (p[0] << 4 | p[1] >> 4) & 0xff)
        return seen

    client = guest.socket(family)
    client.setsockopt(level, tos, 0x48)
    client.connect((PEER[family], port))
    server = lab.peer.accept(listener)
    assert marks(2) == [0x48] * 2       # SYN, and ACK of the other's
    for mark in 0x48, 0x10, 0xb8, 0:
        client.setsockopt(level, tos, mark)
        client.send(b"bytes")
        assert server.recv(10) == b"bytes"
        server.send(b"more")
        assert client.recv(10) == b"more"
    seen = []
    while not seen or seen[-1] != 0:
        seen += marks(1)
    assert list(dict.fromkeys(seen)) == [0x48, 0x10, 0xb8, 0], seen


# Broadcasts

def test_directed_broadcast(lab):
    """To all of a subnet, outwards and inwards; who answers is heard."""
    guest = lab.pasta("--config-net", "-u", "7000")
    everybody = "198.51.100.255"
    server = lab.peer.bind(V4)
    client = guest.bind(V4)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for _ in range(2):
        client.sendto(b"anybody?", (everybody, server.getsockname()[1]))
        data, source = server.recvfrom(100)
        assert data == b"anybody?" and source[0] == HOST[V4]
        server.sendto(b"me", source)
        assert client.recvfrom(100) == (b"me", (PEER[V4],
                                                server.getsockname()[1]))
    inside = guest.bind(V4, port=7000)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    server.sendto(b"anybody?", (everybody, 7000))
    data, source = inside.recvfrom(100)
    assert data == b"anybody?" and source[0] == PEER[V4]
    inside.sendto(b"me", source)
    assert server.recvfrom(100)[0] == b"me"


# ICMP errors

@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_soft_error(lab, family, kind):
    """A router's complaint about a connection reaches the guest, and ends
    nothing."""
    guest = guest_of(lab, kind, 1500)
    listener = lab.far.listen(family)
    client = guest.connect(family, FAR[family], listener.getsockname()[1])
    server = lab.far.accept(listener)
    pump(client, server, 1 << 20)
    hear = (socket.IPPROTO_IP, 11) if family == V4 else (socket.IPPROTO_IPV6,
                                                         25)
    client.setsockopt(*hear, 1)
    way = (f"-{'6' if family == V6 else '4'}", "route")
    lab.peer.run("ip", *way, "add", "unreachable", FAR[family])
    sent = 0
    try:
        end = time.monotonic() + DEADLINE
        while True:
            assert time.monotonic() < end, "nobody complains"
            try:
                if select.select([], [client], [], 0.1)[1]:
                    sent += client.send(bytes(1 << 18))
            except BlockingIOError:
                pass
            except OSError as e:
                assert e.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
                break
    finally:
        lab.peer.run("ip", *way, "del", "unreachable", FAR[family])
    # The next one may be on its way
    client.setsockopt(*hear, 0)
    client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    while sent:
        select.select([server], [], [], DEADLINE)
        sent -= len(server.recv(1 << 18))
    pump(client, server, 1000)
    pump(server, client, 1000)


def routers(said):
    """Who a traceroute has seen, from the first to the last."""
    return re.findall(r"^ *\d+ +(\S+)", said, re.M)


@pytest.mark.parametrize("method", ("-U", "-I", "-T"))
def test_traceroute(lab, family, method):
    """Every hop is shown, whatever is sent."""
    guest = guest_of(lab, "tap", 1500)
    lab.far.listen(family, 80)
    said = guest.run("traceroute", "-6" if family == V6 else "-4", "-n", "-q1",
                     "-w3", "-m4", method, *(["-p80"] if method == "-T" else
                                             []), FAR[family])
    assert routers(said) == [PEER[family], FAR[family]], said


def test_unknown_protocol(lab, family):
    """SCTP and its like: nobody waits for what cannot be carried."""
    guest = guest_of(lab, "tap", 1500)
    s = guest.socket(family, socket.SOCK_RAW, 132)
    s.connect((PEER[family], 0))
    s.send(bytes(16))
    with pytest.raises(OSError) as e:
        s.recv(100)
    assert e.value.errno in (errno.ENOPROTOOPT, errno.EPROTO)


@pytest.mark.parametrize("kind", ("tap", "stream"))
def test_answer_to_nobody(lab, family, kind):
    """A program of the guest that is gone when the answer comes: what comes next
    is refused."""
    guest = guest_of(lab, kind, 1500)
    server = lab.peer.bind(family, address=PEER[family])
    client = guest.connect(family, *server.getsockname()[:2], DGRAM)
    client.send(b"question")
    source = server.recvfrom(100)[1]
    client.close()
    server.connect(source)

    def refused():
        try:
            server.send(b"answer")
        except ConnectionRefusedError:
            return True
    until(refused, "a refusal")
