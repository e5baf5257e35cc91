# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of more than 64 KiB in and into a namespace (BIG TCP of IPv4)."""

import contextlib
import fcntl
import os
import pathlib
import re
import select
import socket
import struct
import threading

import pytest

from lab import (DGRAM, GATEWAY, HOST, MIB, PASTA, PEER, PYTHON, UPLINK, V4, V6, run)

FRAME_MAX = 14 + 65535
SIZE = 64 * MIB
LINUX = tuple(int(n) for n in os.uname().release.split(".")[:2])
INNER = {V4: ("10.77.0.1", "10.77.0.2", 24),
         V6: ("2001:db8:77::1", "2001:db8:77::2", 64)}


# IFLA_GSO_IPV4_MAX_SIZE of lo, set first if it is given; iproute2 before 6.3 has no
# word for it
LO = """
import socket, struct, sys
GSO_IPV4_MAX_SIZE, NEWLINK, GETLINK, REQUEST, ACK = 63, 16, 18, 1, 4
lo = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("lo"), 0, 0)
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
def ask(kind, flags, body):
    link.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    return link.recv(65536)
if sys.argv[1:]:
    answer = ask(NEWLINK, REQUEST | ACK, lo + struct.pack(
        "=HHI", 8, GSO_IPV4_MAX_SIZE, int(sys.argv[1])))
    assert not struct.unpack_from("=i", answer, 16)[0]
answer, at, found = ask(GETLINK, REQUEST, lo), 32, 0
while at < len(answer):
    size, kind = struct.unpack_from("=HH", answer, at)
    if kind == GSO_IPV4_MAX_SIZE:
        found, = struct.unpack_from("=I", answer, at + 4)
    at += (size + 3) & ~3
print(found)
"""


def gso_ipv4(where):
    return int(where.run(PYTHON, "-c", LO))


# Sends bulk to itself and tells how long the longest of many packets was
BIG = """
import socket, threading
link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
link.bind(("lo", 0))
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
there, _ = server.accept()
def send():
    while True:
        client.sendall(bytes(1 << 20))
def receive():
    while there.recv(1 << 20):
        pass
for work in send, receive:
    threading.Thread(target=work, daemon=True).start()
sizes = [len(link.recv(1 << 20)) for _ in range(1000)]
print(max(sizes))
"""


def test_big_tcp(lab):
    """The namespace's loopback interface takes more than 64 KiB at once, but no more
    than captures can hold: 256 KiB, of which libpcap's ring needs some."""
    guest = lab.pasta("--config-net")
    if not gso_ipv4(guest):
        pytest.skip("since Linux 6.3")
    assert 65536 + 40 < int(guest.run(PYTHON, "-c", BIG)) <= 250 * 1024


def test_big_tcp_chosen(lab):
    """Another size that somebody has chosen stays."""
    box = lab.container()
    if not gso_ipv4(box):
        pytest.skip("since Linux 6.3")
    box.run(PYTHON, "-c", LO, 40000)
    lab.daemon(PASTA, "--config-net", str(box.pid))
    lo, = box.ip("link show dev lo")
    assert "UP" in lo["flags"] and gso_ipv4(box) == 40000


class Longest(threading.Thread):
    """The longest frame that a link brings."""

    def __init__(self, guest, dev):
        super().__init__(daemon=True)
        self.link = guest.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                 socket.htons(3))
        self.link.bind((dev, 0))
        self.most = 0
        self.start()

    def run(self):
        while True:
            try:
                self.most = max(self.most, len(self.link.recv(1 << 20)))
            except OSError:
                return


def download(lab, client, family):
    """SIZE bytes from peer, each as it was sent; the longest frame on the way."""
    block = os.urandom(MIB)
    listener = lab.peer.listen(family)
    longest = Longest(client, UPLINK)
    reader = client.connect(family, PEER[family], listener.getsockname()[1])
    server = lab.peer.accept(listener)

    def send():
        for _ in range(SIZE // MIB):
            server.sendall(block)
        server.close()

    threading.Thread(target=send, daemon=True).start()
    got, want = 0, block + block
    buffer = bytearray(MIB)
    while n := reader.recv_into(buffer):
        assert buffer[:n] == want[got % MIB:got % MIB + n]
        got += n
    assert got == SIZE
    return longest.most


def test_long(lab, family):
    """A download is handed over in packets of up to 195 KiB, where the kernel and
    its tun (Linux 6.6) know such; IPv6 has no length for it."""
    guest = lab.pasta("--config-net")
    most = download(lab, guest, family)
    if family == V4 and LINUX >= (6, 6):
        assert 2 * FRAME_MAX < most <= 200014
    else:
        assert most <= FRAME_MAX


def inside(guest, words):
    """As root of the machine, which may move devices to other namespaces."""
    for line in filter(None, map(str.strip, words.splitlines())):
        run("nsenter", f"--net={guest.netns}", *line.split())


def macvlan(lab, guest, inner):
    """A device of the container's on the tap device"""
    inside(guest, f"ip link add link {UPLINK} name mv0 netns {inner.id} type macvlan mode bridge")
    inner.run("ip", "link", "set", "mv0", "name", UPLINK)


def wire(guest, inner):
    inside(guest, f"""ip link add in0 mtu 65520 type veth peer name {UPLINK} mtu 65520 netns {inner.id}
                      ip link set in0 up""")


def bridge(lab, guest, inner):
    """The tap device and the container's on a bridge"""
    wire(guest, inner)
    inside(guest, f"""ip link add br0 type bridge
                      ip link set {UPLINK} master br0
                      ip link set in0 master br0
                      ip link set br0 up""")


def mirred(lab, guest, inner):
    """All frames are handed from one to the other, as Kata Containers do"""
    wire(guest, inner)
    link, = guest.ip(f"link show dev {UPLINK}")
    inside(guest, f"ip addr flush dev {UPLINK}")
    inner.run("ip", "link", "set", UPLINK, "address", link["address"])
    for dev, to in (UPLINK, "in0"), ("in0", UPLINK):
        inside(guest, f"""tc qdisc add dev {dev} ingress
                          tc filter add dev {dev} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev {to}""")


def macvtap(lab, guest, inner):
    """Of a virtual machine that takes 68 KiB at a time, as QEMU's does: what is longer is
    cut off, and comes again in others"""
    mac = "02:00:00:00:00:77"
    inside(guest, f"""ip link add link {UPLINK} name mt0 address {mac} type macvtap mode bridge
                      ip link set mt0 up""")
    number = run("nsenter", f"--net={guest.netns}", "unshare", "-m", "sh", "-c",
                 "mount -t sysfs none /sys && cat /sys/class/net/mt0/macvtap/*/dev")
    node = lab.path("macvtap")
    run("mknod", str(node), "c", *number.strip().split(":"))
    ends = []
    for where, path, name in (guest, node, ""), (inner, "/dev/net/tun", UPLINK):
        with where.inside():
            end = os.open(path, os.O_RDWR)
        lab.scope.callback(os.close, end)
        fcntl.ioctl(end, TUNSETIFF, struct.pack(
            "16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(end, TUNSETVNETHDRSZ, struct.pack("i", 12))
        fcntl.ioctl(end, TUNSETOFFLOAD, TUN_F_CSUM_TSO)
        ends.append(end)
    inner.run("ip", "link", "set", UPLINK, "address", mac, "mtu", "65520")
    stop = os.eventfd(0)
    lab.scope.callback(os.close, stop)
    pumps = [threading.Thread(target=pump, args=(*pair, stop), daemon=True)
             for pair in (ends, ends[::-1])]
    for p in pumps:
        p.start()
        lab.scope.callback(p.join)
    lab.scope.callback(os.eventfd_write, stop, 1)


IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454ca, 0x400454d0, 0x400454d8
TUN_F_CSUM_TSO = 7


def pump(source, sink, stop):
    poll = select.poll()
    for end in source, stop:
        poll.register(end, select.POLLIN)
    while stop not in dict(poll.poll()):
        frame = os.read(source, 4096 + 65536)
        with contextlib.suppress(OSError):      # a cut one, or down
            os.write(sink, frame)


def vxlan(lab, guest, inner):
    """An overlay that the namespace routes to"""
    wire(guest, inner)
    inner.run("ip", "link", "set", UPLINK, "name", "under0")
    for ns, dev, to, k in (guest, "vx0", "in0", 0), (inner, UPLINK, "under0", 1):
        ours, its = ("10.9.0.1", "10.9.0.2")[::1 - 2 * k]
        inside(ns, f"""ip addr add {ours}/24 dev {to}
                       ip link set {to} up
                       ip link add {dev} type vxlan id 5 dstport 4789 remote {its} dev {to}
                       ip link set {dev} mtu 9000 up""")
    for family, (ours, _, bits) in INNER.items():
        guest.add_address(f"{ours}/{bits}", "vx0")
    guest.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1",
              "net.ipv6.conf.all.forwarding=1")


BESIDE = {V4: "198.51.100.7", V6: "2001:db8:1::7"}


@pytest.mark.parametrize("stack", [macvlan, bridge, mirred, macvtap, vxlan])
def test_stacked(lab, family, stack):
    """A container whose device is on top of the tap device, or behind it."""
    guest = lab.pasta("--config-net")
    inner = lab.named(lab.netns())
    inner.id = pathlib.Path(inner.netns).name
    try:
        stack(lab, guest, inner)
    except PermissionError as e:
        pytest.skip(f"no device files: {e}")
    except AssertionError as e:
        if re.search("Unknown device type|not found|not supported", str(e)):
            pytest.skip(f"this kernel has no {stack.__name__}")
        raise
    address, bits = BESIDE[family], 24 if family == V4 else 64
    if stack == mirred:
        address = HOST[family]
    elif stack == vxlan:
        address = INNER[family][1]
    inner.run("ip", "link", "set", UPLINK, "up")
    inner.add_address(f"{address}/{bits}", UPLINK)
    inner.run("ip", "route", "add", "default", "via",
              INNER[family][0] if stack == vxlan else GATEWAY[family])
    most = download(lab, inner, family)
    assert stack == macvlan or most < 72000


@pytest.mark.parametrize("options", [("--mtu", "1500"), ("--pcap", "CAPTURE")],
                         ids=["small segments", "captured"])
def test_not_long(lab, options):
    """Small segments would be many for whoever has to cut the run; a capture holds
    64 KiB of a packet."""
    path = lab.path("pcap")
    guest = lab.pasta("--config-net",
                      *(path if o == "CAPTURE" else o for o in options))
    assert download(lab, guest, V4) <= FRAME_MAX


def route(guest, inner, family, mtu, beyond):
    """The namespace is a router for another one, whose own link takes packets of
    @beyond bytes"""
    ours, its, bits = INNER[family]
    run("nsenter", f"--net={guest.netns}", "ip", "link", "add", "in0", "mtu", str(mtu),
        "type", "veth", "peer", "name", UPLINK, "mtu", str(beyond), "netns", inner.netns)
    guest.add_address(f"{ours}/{bits}", "in0")
    inner.add_address(f"{its}/{bits}", UPLINK)
    guest.run("ip", "link", "set", "in0", "up")
    inner.run("ip", "link", "set", UPLINK, "up")
    inner.run("ip", "route", "add", "default", "via", ours)
    guest.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1",
              "net.ipv6.conf.all.forwarding=1")


@pytest.mark.parametrize("mtu", [1500, 65520])
def test_router(lab, family, mtu):
    """A container behind a bridge or router in the namespace, whose link takes no more
    than 64 KiB at once."""
    guest = lab.pasta("--config-net")
    inner = lab.named(lab.netns())
    route(guest, inner, family, mtu, mtu)
    assert download(lab, inner, family) <= FRAME_MAX


def test_router_narrow(lab, family):
    """Between the namespace and the container is a link that takes less than either
    knows: its router says so."""
    guest = lab.pasta("--config-net")
    inner = lab.named(lab.netns())
    route(guest, inner, family, 1280, 1500)
    assert download(lab, inner, family) <= FRAME_MAX


def datagrams(lab, inner, family, sizes):
    """Those that are lost, and pings that are not answered: how often it took two."""
    server = lab.peer.bind(family, address=PEER[family])
    client = inner.connect(family, *server.getsockname()[:2], DGRAM)
    again = 0

    def gets(data):
        client.send(b"?")
        _, source = server.recvfrom(1)
        server.sendto(data, source)
        server.sendto(b"!", source)
        got = client.recv(1 << 16)
        assert got in (b"!", data)
        return got == data and client.recv(1) == b"!"

    for size in sizes:
        data = os.urandom(size)
        if not gets(data):
            again += 1
            assert gets(data), size
    for size in sizes:
        inner.run("ping", "-6" if family == V6 else "-4", "-n", "-c1", "-W5", "-s", size,
                  PEER[family])
    return again


def test_router_datagrams(lab, family):
    """Datagrams and replies that came in fragments, or over a link that is as long as
    the namespace's, get behind a router whose next link is not.  Those of IPv6 it does
    not fragment, but says so."""
    guest = lab.pasta("--config-net")
    inner = lab.named(lab.netns())
    route(guest, inner, family, 1500, 1500)
    again = datagrams(lab, inner, family, (1400, 1472, 1473, 4000, 30000))
    assert again == 0 if family == V4 else again <= 1


def test_router_narrow_datagrams(lab, family):
    """The same where the link takes even less; the first one is lost."""
    guest = lab.pasta("--config-net")
    inner = lab.named(lab.netns())
    route(guest, inner, family, 1280, 1280)
    assert datagrams(lab, inner, family, (1200, 1400, 1472, 1473, 4000, 30000)) <= 1
