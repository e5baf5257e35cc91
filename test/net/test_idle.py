# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon costs while nothing happens."""

import os
import pathlib
import re
import time

import pytest

from lab import PASST, PASTA, UPLINK, until

MAX_RSS_KIB = 3 * 1024
MAX_DESCRIPTORS = 24
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
    """With @options; what the guest's kernel sends of itself, and what answers
    it, is not the daemon's fault."""

    def __init__(self, lab, *options):
        self.guest = lab.container()
        self.guest.run("sysctl", "-q", "-w",
                       "net.ipv6.conf.default.router_solicitations=0")
        self.pid = lab.daemon(PASTA, "--config-net", *options, self.guest.pid)

    def frames(self):
        link, = self.guest.ip(f"-s link show dev {UPLINK}")
        return sum(link["stats64"][d]["packets"] for d in ("rx", "tx"))


PORTS = ("-t", "7001", "-u", "none", "-T", "none", "-U", "none")
KINDS = {"passt": lambda lab: Passt(lab),
         "pasta": lambda lab: Pasta(lab, *PORTS),
         "pasta, auto ports": lambda lab: Pasta(lab)}


@pytest.fixture(params=KINDS)
def idle(lab, request):
    """A daemon that has started, and waits."""
    # Neighbours that age are news for the daemon
    lab.host.run("ip", "neigh", "flush", "all")
    return KINDS[request.param](lab)


# Debian's 2023 release: 29 MiB
def test_memory(idle):
    assert status(idle.pid, "VmRSS") < MAX_RSS_KIB


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
