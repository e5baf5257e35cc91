# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon costs while nothing happens, also to connections."""

import os
import pathlib
import re
import resource
import time

import pytest

from lab import (HOST, PASST, PASTA, PEER, PESTO, UPLINK, V4, V6, Process,
                 until)

pytestmark = pytest.mark.alone

MAX_RSS_KIB = 3 * 1024
MAX_OWN_KIB = 640  # of it, what it shares with nobody; measured are 264 to 632
MAX_DESCRIPTORS = 26
WATCH_S = 5
MAX_WAKEUPS = WATCH_S + 1


def status(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1])


class Passt:
    def __init__(self, lab):
        self.pid = lab.daemon(PASST, "-s", lab.path("socket"))

    def frames(self):
        return 0


class Pasta:
    """With @options, and with a @server on the host; what the guest's kernel
    sends of itself, and what answers it, is not the daemon's fault."""

    def __init__(self, lab, *options, server=False):
        self.guest = lab.container()
        self.server = lab.host.listen(V4, PORT) if server else None
        self.guest.run("sysctl", "-q", "-w",
                       "net.ipv6.conf.default.router_solicitations=0")
        self.pid = lab.daemon(PASTA, "--config-net", *options, self.guest.pid)

    def frames(self):
        link, = self.guest.ip(f"-s link show dev {UPLINK}")
        return sum(link["stats64"][d]["packets"] for d in ("rx", "tx"))


PORTS = ("-t", "7001", "-u", "none", "-T", "none", "-U", "none")


def watched(lab):
    """One that tells what it has counted, and was asked"""
    path = lab.path("metrics")
    pasta = Pasta(lab, *PORTS, "--metrics-socket", path)
    assert "# EOF" in lab.host.run(PESTO, "--metrics", path)
    return pasta


KINDS = {"passt": lambda lab: Passt(lab),
         "pasta": watched,
         "pasta, auto ports": lambda lab: Pasta(lab, server=True)}


@pytest.fixture(params=KINDS)
def idle(lab, request):
    """A daemon that has started, and waits."""
    # Neighbours that age are news for the daemon
    lab.host.run("ip", "neigh", "flush", "all")
    return KINDS[request.param](lab)


# Debian's 2023 release: 29 MiB
def test_memory(idle):
    assert status(idle.pid, "VmRSS") < MAX_RSS_KIB
    assert status(idle.pid, "RssAnon") < MAX_OWN_KIB


def mappings(pid):
    """Of a process: whether it is private and writable, its KiB, and its flags."""
    for part in re.split(r"^(?=[0-9a-f]+-)", pathlib.Path(
            f"/proc/{pid}/smaps").read_text(), flags=re.M)[1:]:
        size, = re.findall(r"^Size:\s+(\d+) kB", part, re.M)
        flags, = re.findall(r"^VmFlags: (.*)", part, re.M)
        yield part.split()[1] == "rw-p", int(size), flags.split()


@pytest.mark.skipif(not pathlib.Path("/sys/kernel/mm/transparent_hugepage").exists(),
                    reason="this kernel has no huge pages of its own accord")
def test_no_huge_pages(idle):
    """Where they are always given, as Debian and RHEL do, each table of which a byte is
    touched would take 2 MiB: 6 of 10 MiB in all, on Linux 6.1."""
    found = [flags for own, size, flags in mappings(idle.pid) if own and size >= 2048]
    assert found
    assert all("nh" in flags for flags in found)


# Debian's 2023 release opens its pools of sockets and pipes at start
def test_descriptors(idle):
    assert len(os.listdir(f"/proc/{idle.pid}/fd")) <= MAX_DESCRIPTORS


def wakeups(idle):
    """In a while, less those for which the guest's kernel is to blame."""
    def count():
        return status(idle.pid, "voluntary_ctxt_switches") - idle.frames()
    before, end = count(), time.monotonic() + WATCH_S
    until(lambda: time.monotonic() >= end, "the end of the watch")
    return count() - before


def test_wakeups(idle):
    """It comes to rest: about one wake-up a second, since a laptop's battery
    notices more.  Neighbours and addresses are news at first."""
    until(lambda: wakeups(idle) <= MAX_WAKEUPS, "rest", 10 * WATCH_S)


LOOK = r"^\d+ +epoll_pwait\(.* 0, NULL, \d+\) += "      # it does not wait
REQUESTS = 20
MAX_LOOKS = 100     # in WATCH_S: an idle daemon looks for a millisecond at most


@pytest.mark.parametrize("options", [(), ("--busy-poll", 1000)], ids=["no", "yes"])
def test_busy_poll(lab, options):
    """It looks for more after work if it is told to, and not for ever."""
    guest = lab.pasta("--config-net", *PORTS, *options)
    log = lab.path("strace")
    strace = Process(["strace", "-f", "-e", "trace=epoll_pwait", "-o", log, "-p",
                      guest.daemon], lab.path("strace.log"))
    lab.scope.callback(strace.kill)
    strace.says("attached")

    def looks():
        return len(re.findall(LOOK, log.read_text(), re.M))

    def more():
        before, end = looks(), time.monotonic() + WATCH_S
        until(lambda: time.monotonic() >= end, "the end of the watch")
        return looks() - before
    listener = lab.peer.listen(V4, PORT)
    client = guest.connect(V4, PEER[V4], PORT)
    server = lab.peer.accept(listener)
    for _ in range(REQUESTS):
        client.send(b"?")
        server.send(server.recv(1))
        assert client.recv(1) == b"?"
    assert looks() >= REQUESTS if options else looks() < REQUESTS
    until(lambda: more() < MAX_LOOKS, "rest", 10 * WATCH_S)


# Connections that do nothing either

FLOWS = 1000
PORT = 7001
# Ways to connect, and the descriptors that each connection may hold
WAYS = {"tap out": 1, "tap in": 1, "spliced": 2}
# All in all for spliced ones: sockets that are made in advance, 20 of them here
SPARE = 32
# Each, of the first thousand; measured are 500 to 512, with a page to spare
MAX_FLOW_BYTES = 516


@pytest.fixture
def descriptors():
    """The test has both ends of all connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def holds(pid):
    """Its descriptors, and the memory it has."""
    return len(os.listdir(f"/proc/{pid}/fd")), status(pid, "VmRSS") * 1024


@pytest.mark.parametrize("way", WAYS)
def test_flows(lab, descriptors, family, way):
    """Each has carried a byte either way."""
    guest = lab.pasta("--config-net", "-t", PORT, "-u", "none", "-T", "none",
                      "-U", "none")
    client, server, address = {
        "tap out": (guest, lab.peer, PEER), "tap in": (lab.peer, guest, HOST),
        "spliced": (lab.host, guest, {V4: "127.0.0.1", V6: "::1"})}[way]
    listener = server.listen(family, PORT)
    before = holds(guest.daemon)
    for _ in range(FLOWS):
        c = client.connect(family, address[family], PORT)
        s = server.accept(listener)
        c.send(b"?")
        s.send(s.recv(1))
        assert c.recv(1) == b"?"
    more, size = (b - a for a, b in zip(before, holds(guest.daemon)))
    print(f"{way}: {more} descriptors, {size} bytes")
    assert more <= WAYS[way] * FLOWS + (SPARE if way == "spliced" else 0)
    assert size <= MAX_FLOW_BYTES * FLOWS
