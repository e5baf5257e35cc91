# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host's network does with packets that are not all of one datagram."""

import errno
import os
import re
import socket

import pytest

from lab import DGRAM, FAR, PEER, UPLINK, V4, V6, until

DISCOVER = {V4: (socket.IPPROTO_IP, 10), V6: (socket.IPPROTO_IPV6, 23)}
DONT, WANT, DO = 0, 1, 2     # of IP(V6)_MTU_DISCOVER

SIZES = (0, 1, 548, 1232, 1252, 1253, 1452, 1453, 1472, 1473, 4096, 8952, 8973,
         32768, 65492, 65507)


def guest_of(lab, kind, mtu):
    if kind == "tap":
        return lab.pasta("--config-net", "--mtu", mtu)
    return lab.bridged(mtu) if kind == "stream" else lab.fronted(mtu)


def echoed(lab, family, client, server, sizes):
    """Each size there and back; the server's kernel and ours sum them.

    The first that is longer than the host's link holds is lost, if the guest's
    link holds it, as nobody between may fragment IPv6: only its kernel learns.
    """
    server.settimeout(0.5)
    for size in sizes:
        data = os.urandom(size)
        client.send(data)
        try:
            got, source = server.recvfrom(1 << 16)
        except TimeoutError:
            assert family == V6 and size > 1452
            client.send(data)
            got, source = server.recvfrom(1 << 16)
        assert got == data, f"{size} bytes from the guest"
        server.sendto(data, source)
        assert client.recv(1 << 16) == data, f"{size} bytes to the guest"


@pytest.mark.parametrize("mtu", (1280, 1500, 9000, 65520))
@pytest.mark.parametrize("kind", ("tap", "stream", "vhost-user"))
def test_sizes(lab, family, kind, mtu):
    """Datagrams of all sizes that there are, whatever the guest's MTU is.

    The guest's kernel is told not to ask what the path holds: it cannot know
    before it has lost the first.
    """
    guest = guest_of(lab, kind, mtu)
    server = lab.peer.bind(family, address=PEER[family])
    client = guest.connect(family, *server.getsockname()[:2], DGRAM)
    client.setsockopt(*DISCOVER[family], DONT)
    for s in server, client:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    echoed(lab, family, client, server, SIZES)


@pytest.mark.parametrize("mtu", (1500, 65520))
@pytest.mark.parametrize("kind", ("tap", "stream", "vhost-user"))
def test_large_echo(lab, family, kind, mtu):
    guest = guest_of(lab, kind, mtu)
    flag = "-6" if family == V6 else "-4"
    for size in 1472, 1473, 8000, 65507:
        # The guest's kernel asks for DF, and what it learns by the first it
        # heeds with the second
        guest.run("ping", flag, "-n", "-c2", "-i.2", "-W5", "-s", size,
                  PEER[family])


# A path that holds less than the host's link

PATH_MTU = 1400


@pytest.fixture
def narrow(lab, family):
    """Beyond the router it is narrow; what the host learns is forgotten."""
    wires = [(lab.peer, lab.peer.ip(f"route get {FAR[family]}")[0]["dev"]),
             (lab.far, UPLINK)]
    for ns, dev in wires:
        ns.run("ip", "link", "set", dev, "mtu", PATH_MTU)
    yield
    for ns, dev in wires:
        ns.run("ip", "link", "set", dev, "mtu", 1500)
    for ns in lab.host, lab.peer, lab.far:
        for flag in "-4", "-6":
            ns.run("ip", flag, "route", "flush", "cache")


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
        assert not learned(guest, FAR[family])
    sent(client, 3000, DO)          # longer than the host's own link holds
    until(lambda: learned(guest, FAR[family]) == 1500, "the host's MTU")
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


# ICMP errors

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
