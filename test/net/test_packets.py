# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host's network does with packets that are not all of one datagram."""

import os
import socket

import pytest

from lab import DGRAM, PEER, V4, V6, until

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
    """Datagrams of all sizes that there are, whatever the guest's MTU is.

    The guest's kernel is told not to ask what the path holds: it cannot know
    before it has lost the first.
    """
    guest = guest_of(lab, kind, mtu)
    server = lab.peer.bind(family, address=PEER[family])
    client = guest.connect(family, *server.getsockname()[:2], DGRAM)
    level, option = ((socket.IPPROTO_IP, 10) if family == V4 else
                     (socket.IPPROTO_IPV6, 23))     # IP(V6)_MTU_DISCOVER
    client.setsockopt(level, option, 0)
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
