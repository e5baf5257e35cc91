# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of more than 64 KiB in and into a namespace (BIG TCP of IPv4)."""

import os
import socket
import threading

import pytest

from lab import MIB, PASTA, PEER, PYTHON, UPLINK, V4, V6, run

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


@pytest.mark.parametrize("options", [("--mtu", "1500"), ("--pcap", "CAPTURE")],
                         ids=["small segments", "captured"])
def test_not_long(lab, options):
    """Small segments would be many for whoever has to cut the run; a capture holds
    64 KiB of a packet."""
    path = lab.path("pcap")
    guest = lab.pasta("--config-net",
                      *(path if o == "CAPTURE" else o for o in options))
    assert download(lab, guest, V4) <= FRAME_MAX


@pytest.mark.parametrize("mtu", [1500, 65520])
def test_router(lab, family, mtu):
    """A container behind a bridge or router in the namespace, whose link takes no more
    than 64 KiB at once."""
    guest = lab.pasta("--config-net")
    inner = lab.named(lab.netns())
    ours, its, bits = INNER[family]
    run("nsenter", f"--net={guest.netns}", "ip", "link", "add", "in0", "mtu", str(mtu),
        "type", "veth", "peer", "name", UPLINK, "mtu", str(mtu), "netns", inner.netns)
    guest.add_address(f"{ours}/{bits}", "in0")
    inner.add_address(f"{its}/{bits}", UPLINK)
    guest.run("ip", "link", "set", "in0", "up")
    inner.run("ip", "link", "set", UPLINK, "up")
    inner.run("ip", "route", "add", "default", "via", ours)
    guest.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1",
              "net.ipv6.conf.all.forwarding=1")
    assert download(lab, inner, family) <= FRAME_MAX
