# SPDX-License-Identifier: GPL-2.0-or-later
"""Checksums of what the daemon makes itself, for readers that check them.

A frame may come to a guest with a sum that its kernel is yet to finish.  Its own
protocols need none, but programs with packet or raw sockets see such a frame as
it is, and many of them (ping of iputils 20240905, the DHCP client of ConnMan)
take it for a broken one.
"""

import contextlib
import os
import socket
import struct

import pytest

from lab import DEADLINE, DGRAM, GATEWAY, HOST, PEER, UPLINK, V4, V6, until

SOL_PACKET, AUXDATA = 263, 8
NOT_READY, OUTGOING = 8, 4      # TP_STATUS_CSUMNOTREADY, PACKET_OUTGOING
ICMP, UDP, ICMP6 = 1, 17, 58
PORT, CLOSED = 7001, 7099


def tapped(lab):
    """A namespace that asks for its addresses, too."""
    guest = lab.pasta("-u", PORT)
    guest.sh(f"""sysctl -q net.ipv6.conf.{UPLINK}.accept_dad=0 \
             net.ipv6.conf.{UPLINK}.accept_ra=0
             ip link set {UPLINK} up
             ip addr add {HOST[V4]}/24 dev {UPLINK}
             ip addr add {HOST[V6]}/64 dev {UPLINK} nodad
             ip route add default via {GATEWAY[V4]}
             ip -6 route add default via {GATEWAY[V6]}""")
    return guest


KINDS = {
    "tap": tapped,
    "stream": lambda lab: lab.bridged(1500, "-u", PORT),
    "vhost-user": lambda lab: lab.fronted(1500, "-u", PORT),
}


def total(data):
    """The one's complement sum; all ones over what has a good checksum."""
    data += b"\0" * (len(data) % 2)
    value = sum(struct.unpack(f">{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xffff) + (value >> 16)
    return value


class Reader:
    """A packet socket: what comes in, and whether its sum is finished."""

    def __init__(self, guest):
        self.s = guest.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                              socket.htons(3))
        self.s.setsockopt(SOL_PACKET, AUXDATA, 1)
        self.s.bind((UPLINK, 3))
        self.s.setblocking(False)

    def packet(self):
        """The next one as (protocol, type or source port), or None."""
        data, control, _, origin = self.s.recvmsg(1 << 16, 64)
        if origin[2] == OUTGOING:
            return None
        if origin[1] == 0x0800:
            data = data[:struct.unpack_from(">H", data, 2)[0]]
            head, proto = (data[0] & 15) * 4, data[9]
            pseudo = data[12:20]
        elif origin[1] == 0x86dd:
            data = data[:40 + struct.unpack_from(">H", data, 4)[0]]
            head, proto, pseudo = 40, data[6], data[8:40]
        else:
            return None
        body = data[head:]
        if proto not in (ICMP, UDP, ICMP6):
            return None
        pseudo += struct.pack(">II", len(body), proto)
        status, = [struct.unpack_from("I", c)[0] for level, kind, c in control
                   if (level, kind) == (SOL_PACKET, AUXDATA)]
        assert not status & NOT_READY, (origin, body)
        assert total(body if proto == ICMP else pseudo + body) == 0xffff, body
        if proto == UDP:
            assert body[6:8] != b"\0\0"
            return proto, struct.unpack_from(">H", body)[0]
        return proto, body[0]

    def expect(self, *what):
        """Wait until all of these have come, checking whatever comes."""
        missing = set(what)

        def look():
            with contextlib.suppress(BlockingIOError):
                while True:
                    missing.discard(self.packet())
            return not missing
        until(look, missing)


@pytest.fixture(params=KINDS)
def guest(lab, request):
    return KINDS[request.param](lab)


def discover():
    """A DHCPDISCOVER."""
    return struct.pack(">BBBBIHH16x6s202xI", 1, 1, 6, 0, 1, 0, 0x8000,
                       b"\2\0\0\0\0\1", 0x63825363) + b"\x35\1\1\xff"


def solicit():
    """A DHCPv6 Solicit: client identifier and IA_NA."""
    return bytes.fromhex("01 000001 0001 000a 0003 0001 020000000001"
                         "0003 000c 00000001 00000000 00000000")


def test_sums(lab, guest):
    reader = Reader(guest)
    for family in V4, V6:
        guest.run("ping", "-c", 1, "-W", DEADLINE, "-s", 57, PEER[family])
        server = lab.peer.bind(family, DGRAM, PORT)
        client = guest.connect(family, PEER[family], PORT, DGRAM)
        for size in 0, 1, 512:
            client.send(os.urandom(size))
            server.sendto(*server.recvfrom(512))
            client.recv(512)
        client.close()
        guest.connect(family, PEER[family], CLOSED, DGRAM).send(b"?")
    dhcp = guest.socket(V4, DGRAM)
    dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                    UPLINK.encode())
    dhcp.bind(("", 68))
    dhcp.sendto(discover(), ("255.255.255.255", 67))
    index = guest.ip(f"link show dev {UPLINK}")[0]["ifindex"]
    dhcp6 = guest.bind(V6, DGRAM, 546)
    dhcp6.sendto(solicit(), ("ff02::1:2", 547, 0, index))
    router = guest.socket(V6, socket.SOCK_RAW, ICMP6)
    router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    router.sendto(b"\x85" + bytes(7), ("ff02::2", 0, 0, index))
    reader.expect((ICMP, 0), (ICMP, 3), (ICMP6, 129), (ICMP6, 1),
                  (UDP, PORT), (UDP, 67), (UDP, 547), (ICMP6, 134),
                  (ICMP6, 136))
