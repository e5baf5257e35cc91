# SPDX-License-Identifier: GPL-2.0-or-later
"""Bulk data arrives whole, and the guest never has to send a byte twice.

There is no loss between the guest and the daemon but the one the daemon makes,
by advertising a window that its queue can't take: so there is none, and no
reason for a guest to wait for its own timers either, as it would if nobody told
it that the window has opened.  RTO is longer here than any test may take: a late
acknowledgement on a busy machine does not make the guest send again, and a guest
that is forgotten hangs instead of losing 200 ms unnoticed.
"""

import hashlib

import pytest

from clients import CLIENTS, CLIENTS6, dhcp, read_all
from lab import (HOST, HTTPC, MIB, PEER, PYTHON, SANITIZED, UPLINK, V4, V6,
                 literal, until)

MTUS = [65520, 1500, 1280]
# Streams side by side, and MiB for each of them: with sanitizers as much as fills what
# can be full, which is no other path than more is
STREAMS = [(1, 16), (8, 2), (64, 1)] if SANITIZED else [(1, 64), (8, 8), (64, 1)]
PORT = 8000
# The most that Linux takes; how long a client may take
RTO_S, CLIENT_S = 120, 60


PORTS = ("-t", PORT + 1, "-u", "none", "-T", "none", "-U", "none")


def patient(guest):
    for family in (V4, V6):
        guest.ip(f"route add {PEER[family]} dev {UPLINK} rto_min {RTO_S}s",
                 family)
    return guest


@pytest.fixture(params=MTUS)
def guest(lab, request):
    return patient(lab.pasta("--config-net", "--mtu", request.param, *PORTS))


@pytest.fixture(params=MTUS[:2])
def machine(lab, request):
    """What passt takes for a virtual machine."""
    return patient(lab.bridged(request.param, "-t", PORT + 1, "-u", "none"))


@pytest.fixture(params=STREAMS, ids=lambda p: f"{p[0]}x{p[1]}M")
def streams(request):
    return request.param


def side_by_side(ns, count, what, url, path=""):
    """@count of them at once; return what checksums they have seen."""
    return ns.run(PYTHON, HTTPC, count, what, url, path,
                  seconds=CLIENT_S).split()


def download(ns, url, count):
    return side_by_side(ns, count, "get", url)


def upload(ns, url, path, count):
    return side_by_side(ns, count, "put", url, path)


def test_download(lab, guest, family, streams):
    count, size = streams
    path, digest = lab.payload(size * MIB)
    lab.serve(lab.peer, PORT, path.parent)
    url = f"http://{literal(PEER[family])}:{PORT}/{path.name}"
    before = guest.retransmissions()
    assert download(guest, url, count) == [digest] * count
    assert guest.retransmissions() == before


# Debian's 2023 release loses segments here at an MTU of 1500 and less
def test_upload(lab, guest, family, streams):
    count, size = streams
    path, digest = lab.payload(size * MIB)
    lab.serve(lab.peer, PORT, path.parent)
    url = f"http://{literal(PEER[family])}:{PORT}/{path.name}"
    before = guest.retransmissions()
    assert upload(guest, url, path, count) == [digest] * count
    assert guest.retransmissions() == before


# Debian's 2023 release loses segments here, and knows no IPv6 address of a
# guest that has not said anything yet
def test_inbound(lab, guest, family, streams):
    """The same against a server in the guest, through a forwarded port."""
    count, size = streams
    path, digest = lab.payload(size * MIB)
    lab.serve(guest, PORT + 1, path.parent)
    url = f"http://{literal(HOST[family])}:{PORT + 1}/{path.name}"
    before = guest.retransmissions()
    assert download(lab.peer, url, count) == [digest] * count
    assert upload(lab.peer, url, path, count) == [digest] * count
    assert guest.retransmissions() == before


def test_configured_by_clients(lab):
    """All ways for a guest that nobody but DHCP, router advertisements and
    DHCPv6 have told its addresses."""
    guest = lab.pasta(*PORTS)
    guest.run("ip", "link", "set", UPLINK, "up")
    until(lambda: guest.addresses(V6), "an address by SLAAC")
    until(lambda: guest.default_route(V6), "a default route by SLAAC")
    for client in CLIENTS[0], CLIENTS6[0]:
        dhcp(lab, guest, client)
    until(lambda: any(a.startswith(HOST[V6] + "/")
                      for a in guest.addresses(V6)), "the end of DAD")
    patient(guest)
    path, digest = lab.payload(STREAMS[0][1] * MIB)
    lab.serve(lab.peer, PORT, path.parent)
    lab.serve(guest, PORT + 1, path.parent)
    before = guest.retransmissions()
    for family in V4, V6:
        for client, server, port in ((guest, PEER, PORT),
                                     (lab.peer, HOST, PORT + 1)):
            url = f"http://{literal(server[family])}:{port}/{path.name}"
            assert download(client, url, 1) == [digest]
            assert upload(client, url, path, 1) == [digest]
    assert guest.retransmissions() == before


# One stream: of several, the guest's own queue to the bridge would lose some
def test_machine(lab, machine, family):
    """A guest without offloads, behind the stream socket."""
    size = STREAMS[0][1]
    path, digest = lab.payload(size * MIB)
    lab.serve(lab.peer, PORT, path.parent)
    url = f"http://{literal(PEER[family])}:{PORT}/{path.name}"
    before = machine.retransmissions()
    assert download(machine, url, 1) == [digest]
    assert upload(machine, url, path, 1) == [digest]
    assert machine.retransmissions() == before


# Debian's 2023 release loses segments here at an MTU of 1500 and less
def test_slow_reader(lab, guest, family):
    """A peer that does not read makes the guest wait, not lose segments."""
    path, digest = lab.payload(16 * MIB)
    listener = lab.peer.listen(family)
    port = listener.getsockname()[1]
    before = guest.retransmissions()
    client = guest.spawn("socat", "-u", f"OPEN:{path}",
                         f"TCP:{literal(PEER[family])}:{port}")
    s = lab.peer.accept(listener)
    until(lambda: "rwnd_limited" in guest.run("ss", "-tinH", "dport", port),
          "a guest that waits for room in the window")
    assert hashlib.md5(read_all(s)).hexdigest() == digest
    assert client.exit() == 0
    assert guest.retransmissions() == before
