# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with small MTUs, on a socket for several of them and on --fd.

test_qemu.py is about everything that one guest does with the largest frames;
here it is about the two channels, frames as short as in Ethernet and as short
as IPv6 allows, a resolver on the host's loopback, and a second guest after one
that was cut off in mid-sentence.  One boot for each channel, and one for that
second guest; tests are in order, the last one switches off.  Datagrams are as
long as there are any, and the path may hold less than the guest's link.  The guest
on the socket has two more network cards, with few buffers, behind a passt each.
"""

import hashlib
import os
import re
import struct

import pytest

from clients import Lease, read_all
from lab import (DGRAM, DNS, FAR, GATEWAY, HOST, MIB, PEER, SEARCH, V4, V6,
                 Lab, literal, prefix_of, until)
from qemu import DHCPV6, IP
from uml import Uml
from vm import Descriptor, Path, Vhost

pytestmark = pytest.mark.machine

# A channel and its MTU
SOCKET, FD, VHOST = (Path, 1500), (Descriptor, 1280), (Vhost, 9000)
UML = Uml, 65520
PORT = 8000
PAGE = "<p>It works, in there\n"
NAME = f"www.{SEARCH[0]}"
LOOPBACK = ("127.0.0.1", "::1")
CARDS, CARD_SIZE = ("e1000", "rtl8139"), 8 * MIB
LONGEST = 65507     # bytes that IPv4 has room for, in UDP and in an echo
NARROW = 1400
DISCOVER = {V4: "0:10", V6: "41:23"}    # IP(V6)_MTU_DISCOVER, for socat
DONT, WANT, DO = 0, 1, 2


class Session:
    """A channel and the guest that has it at the moment."""

    def __init__(self, lab, channel, mtu):
        self.lab, self.mtu = lab, mtu
        self.channel = channel(
            lab, "--mtu", mtu, "-t", "8080:80", "-u", "8081:81",
            "--dns-forward", DNS[V4], "--dns-forward", DNS[V6])
        self.cards = {card: Path(lab, "--mtu", mtu, "--pcap",
                                 lab.path(f"{card}.pcap"))
                      for card in (CARDS if channel is Path else ())}
        self.start()

    def start(self):
        """Boot a guest, and have it ask for all that there is to know."""
        self.vm = self.channel.guest(
            *[a for card, path in self.cards.items() for a in path.net(card)])
        self.dhcp = Lease(self.vm.lease(
            "udhcpc -i eth0 -n -q -f -s /lease -O mtu -O search"))
        self.settle("link")
        self.settle("global")
        self.slaac = self.vm.run("ip -6 addr show dev eth0 scope global")
        self.dhcpv6 = Lease(self.vm.lease(DHCPV6))
        self.settle("global")
        self.vm.run("mkdir /www && cat > /www/index.html << end\n"
                    f"{PAGE}end\nhttpd -p 80 -h /www")

    def settle(self, scope):
        """Until there are addresses of that scope, and all past their DAD.

        busybox's ip takes "nodad" for the lease, but does nothing about it.
        """
        until(lambda: self.vm.ok(
            f"a=$(ip -6 addr show dev eth0 scope {scope}); [ -n \"$a\" ] && "
            "! echo \"$a\" | grep tentative"), f"{scope} IPv6 addresses", 60)

    def download(self, family):
        path, digest = self.lab.payload(self.channel.download)
        url = f"http://{literal(PEER[family])}:{PORT}/{path.name}"
        got = self.vm.run(f"wget -q -O - '{url}' | md5sum")
        assert got.split()[0] == digest, got

    def page(self, family):
        return self.lab.peer.run("curl", "-sS",
                                 f"http://{literal(HOST[family])}:8080/")


@pytest.fixture(scope="module")
def servers(wires):
    """What the guests of both channels talk to."""
    lab = Lab(wires)
    try:
        path, _ = lab.payload(MIB)
        lab.serve(lab.peer, PORT, path.parent)
        lab.host.spawn(
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
            "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root",
            "--pid-file=", "--log-facility=-",
            *[f"--listen-address={a}" for a in LOOPBACK],
            f"--address=/{NAME}/192.0.2.80").says("started, version")
        yield
    finally:
        lab.close()


@pytest.fixture(scope="module", params=[SOCKET, FD, VHOST, UML],
                ids=["socket", "fd", "vhost-user", "uml"])
def session(wires, servers, request):
    lab = Lab(wires)
    try:
        lab.resolver(*LOOPBACK)
        yield Session(lab, *request.param)
    finally:
        lab.close()


@pytest.fixture
def vm(session):
    return session.vm


# Debian's 2023 release advertises the gateway instead of --dns-forward's
# address, here and with DHCPv6, and no query gets through there
def test_dhcp(session, vm):
    lease = session.dhcp
    assert lease.words("ip") == [HOST[V4]]
    assert lease.words("router") == [GATEWAY[V4]]
    assert lease.words("dns") == [DNS[V4]]
    assert lease.words("search") == SEARCH
    assert lease.words("mtu") == [str(session.mtu)]
    assert f"mtu {session.mtu} " in vm.run("ip link show dev eth0")


def test_slaac(session, vm):
    address = re.search(r"inet6 (\S+) scope global", session.slaac)[1]
    assert prefix_of(address) == prefix_of(f"{HOST[V6]}/64")
    assert "default via fe80::" in vm.run("ip -6 route")
    assert vm.run("cat /proc/sys/net/ipv6/conf/eth0/mtu") == str(session.mtu)


def test_dhcpv6(session):
    assert session.dhcpv6.words("new_ip6_address") == [HOST[V6]]
    assert session.dhcpv6.words("new_dhcp6_name_servers") == [DNS[V6]]


def test_ping(vm, session, family):
    """As long as one frame can be, and as long as there are."""
    for size in session.mtu - (48 if family == V6 else 28), LONGEST:
        out = vm.run(f"ping -c 1 -W 10 -s {size} {PEER[family]}")
        assert "1 packets received" in out
    # A raw socket of IPv4 takes any
    assert vm.run("awk '/^Icmp:/ && n++ { print $4 }' /proc/net/snmp") == "0"


@pytest.mark.parametrize("session", [VHOST], ids=["vhost-user"],
                         indirect=True)
@pytest.mark.parametrize("cpu", [0, 1])
def test_queues(vm, family, cpu):
    """Each CPU has a pair of them."""
    assert "tx-1" in vm.run("ls /sys/class/net/eth0/queues")
    out = vm.run(f"taskset {1 << cpu} ping -c 1 -W 10 {PEER[family]}")
    assert "1 packets received" in out


def test_resolver(session, vm, family):
    """The advertised resolver is the one on the host's loopback."""
    server, = (session.dhcp.words("dns") if family == V4 else
               session.dhcpv6.words("new_dhcp6_name_servers"))
    assert "192.0.2.80" in vm.run(f"nslookup -type=a {NAME} {server}")


def test_download(session, family):
    session.download(family)


def test_upload(session, vm, family):
    lab = session.lab
    listener = lab.peer.listen(family)
    vm.run(f"[ -e /tmp/data ] || head -c {session.channel.upload} "
           "/dev/urandom > /tmp/data")
    digest = vm.run("md5sum < /tmp/data").split()[0]
    kind = "TCP6" if family == V6 else "TCP4"
    port = listener.getsockname()[1]
    vm.send("socat -u -b 65536 OPEN:/tmp/data "     # nc has 1 KiB at a time
            f"{kind}:{literal(PEER[family])}:{port}")
    with lab.peer.accept(listener) as stream:
        received = read_all(stream)
    vm.await_line(r"@@(\d+)", 60, "socat")
    assert hashlib.md5(received).hexdigest() == digest


def test_forwarded_port(session, family):
    assert session.page(family) == PAGE


def test_forwarded_udp(session, vm, family):
    """An echo of all that one frame can carry, and of more."""
    vm.run(f"socat -b 65536 UDP{4 if family == V4 else 6}-LISTEN:81 PIPE & "
           "echo $! > /tmp/socat; "
           "until netstat -uln | grep -q ':81 '; do usleep 20000; done")
    client = session.lab.peer.connect(family, HOST[family], 8081, DGRAM)
    for size in 5, session.mtu - 48, session.mtu - 27, LONGEST:
        data = os.urandom(size)
        client.send(data)
        assert client.recv(1 << 16) == data
    vm.run("kill $(cat /tmp/socat)")


def udp(server, *options):
    """socat's words for the way there."""
    address, port = server.getsockname()[:2]
    return ",".join([f"UDP{6 if server.family == V6 else 4}:"
                     f"{literal(address)}:{port}", *options])


def hear(server):
    """A datagram; socat 1.8.1 ends with an empty one."""
    while not (data := server.recv(1 << 16)):
        pass
    return data


def test_long_datagram(session, vm, family):
    """From the guest, and the answer."""
    server = session.lab.peer.bind(family, address=PEER[family])
    answer = os.urandom(LONGEST)
    vm.run(f"head -c {LONGEST} /dev/urandom > /tmp/long")
    digest = vm.run("md5sum < /tmp/long").split()[0]
    vm.send(f"socat -b 65536 -t 60 - {udp(server, f'readbytes={LONGEST}')} "
            "< /tmp/long | md5sum")
    question, source = server.recvfrom(1 << 16)
    server.sendto(answer, source)
    said, _ = vm.await_line(r"@@(\d+)", 60, "an answer")
    assert hashlib.md5(question).hexdigest() == digest
    assert said.split()[0] == hashlib.md5(answer).hexdigest()


def test_path_mtu(session, vm, family):
    """Who says DF is told what the path holds, who does not need not know, and
    nothing stalls."""
    lab, far = session.lab, FAR[family]
    known = f"{IP} route get {far} | grep -w 'mtu {NARROW}'"
    flag = "-6" if family == V6 else "-4"
    server = lab.far.bind(family, address=far)
    listener = lab.far.listen(family)

    def send(size, discover, *more):
        option = f"{DISCOVER[family]}:{discover}"
        vm.run(f"head -c {size} /dev/zero > /tmp/some; "
               f"socat -u -b 65536 {','.join(['OPEN:/tmp/some', *more])} "
               f"{udp(server, f'setsockopt-int={option}')} "
               f"2> /dev/null {'& echo $! > /tmp/socat' if more else ''}")

    def learned():
        return f"mtu {NARROW}" in lab.host.run("ip", flag, "route", "get", far)

    with lab.narrow(NARROW), lab.promises(family, 1440):
        if family == V4:        # WireGuard: routers may cut it
            send(1440, DONT)
            assert len(hear(server)) == 1440
            assert not vm.ok(known)
        if session.mtu > NARROW:    # QUIC, which waits for what comes back
            send(1440, DO, "ignoreeof")
            vm.run(f"until {known}; do usleep 20000; done; "
                   "kill $(cat /tmp/socat) || :")
        elif family == V6:          # and the first of the host's is lost
            send(LONGEST, WANT)
            until(learned, "what the host learns")
        send(LONGEST, WANT)
        assert len(hear(server)) == LONGEST
        lab.host.run("ip", flag, "route", "flush", "cache")
        vm.run("head -c 1000000 /dev/urandom > /tmp/some")
        digest = vm.run("md5sum < /tmp/some")
        vm.send(f"nc {far} {listener.getsockname()[1]} < /tmp/some | md5sum")
        with lab.far.accept(listener) as stream:
            stream.sendall(read_all(stream))
        said, _ = vm.await_line(r"@@(\d+)", 60, "nc")
        assert said.strip() == digest
        assert learned()
        said = vm.run(f"tracepath -n {far}")
        assert f"Resume: pmtu {min(session.mtu, NARROW)} " in said, said
        assert "reached" in said, said


def stalls(pcap, port):
    """How often data from @port was repeated because 0.19 s had passed."""
    data = pcap.read_bytes()
    at, last, top, n = 24, 0, 0, 0
    while at + 16 <= len(data):
        sec, usec, length = struct.unpack_from("<III", data, at)
        frame = data[at + 16:at + 16 + length]
        at += 16 + length
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        sport, dport, seq = struct.unpack_from(">HHI", frame, 34)
        size = struct.unpack_from(">H", frame, 16)[0] - 20
        size -= (frame[46] >> 4) * 4
        if port not in (sport, dport):
            continue
        now = sec + usec / 1e6
        if sport == port and size:
            n += seq < top and now - last > 0.19
            top = max(top, seq + size)
        last = now
    return n


# Neither Debian's 2023 release nor any version of us that did not know of
# losses does more than stall here, with rtl8139
@pytest.mark.parametrize("session", [SOCKET], ids=["socket"], indirect=True)
@pytest.mark.parametrize("card", CARDS)
def test_card_with_few_buffers(session, vm, card):
    """It loses the tail of a burst; that costs neither bytes nor seconds."""
    driver = {"rtl8139": "8139cp"}.get(card, card)
    vm.run(f"""insmod /late/mii.ko; insmod /late/{driver}.ko
        for d in /sys/bus/pci/drivers/{driver}/0*/net/*; do :; done
        d=$(basename $d); ip link set $d up
        ip route replace {PEER[V4]} via {GATEWAY[V4]} dev $d onlink \
            src {HOST[V4]}""")
    path, digest = session.lab.payload(CARD_SIZE)
    url = f"http://{PEER[V4]}:{PORT}/{path.name}"
    got = vm.run(f"wget -q -O - '{url}' | md5sum")
    vm.run(f"ip route del {PEER[V4]}")
    assert got.split()[0] == digest, got
    pcap = session.lab.path(f"{card}.pcap")
    assert pcap.stat().st_size > CARD_SIZE
    assert stalls(pcap, PORT) < 5


# Debian's 2023 release fails here at times: it takes the :: that a probe for
# duplicates comes from for the guest's address, and connects to that
@pytest.mark.parametrize("session", [SOCKET, VHOST, UML],
                         ids=["socket", "vhost-user", "uml"], indirect=True)
def test_next_guest(session):
    """A guest that dies while it sends does not harm its successor."""
    listener = session.lab.peer.listen(V4)
    session.vm.send(f"nc {PEER[V4]} {listener.getsockname()[1]} < /dev/zero")
    stream = session.lab.peer.accept(listener)
    for _ in range(100):
        assert stream.recv(1 << 16)
    session.vm.unplug()
    session.start()
    assert session.dhcp.words("ip") == [HOST[V4]]
    for family in V4, V6:
        assert session.page(family) == PAGE
        session.download(family)


def test_power_off(session):
    """Only the daemon that cannot have another guest ends with this one."""
    session.vm.power_off()
    assert session.channel.ended() == isinstance(session.channel, Descriptor)
