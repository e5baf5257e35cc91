# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon costs while nothing happens."""

import os
import pathlib
import re
import time

import pytest

from lab import PASST, PASTA, until

MAX_RSS_KIB = 3 * 1024
MAX_DESCRIPTORS = 24
WATCH_S = 5
MAX_WAKEUPS = WATCH_S + 1


def status(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1])


@pytest.fixture(params=["passt", "pasta"])
def idle(lab, request):
    """A daemon that has started, and waits."""
    if request.param == "passt":
        return lab.daemon(PASST, "-s", lab.path("socket"))
    return lab.daemon(PASTA, "--config-net", lab.container().pid)


# Debian's 2023 release: 29 MiB
def test_memory(idle):
    assert status(idle, "VmRSS") < MAX_RSS_KIB


# Debian's 2023 release opens its pools of sockets and pipes at start
def test_descriptors(idle):
    assert len(os.listdir(f"/proc/{idle}/fd")) <= MAX_DESCRIPTORS


def test_wakeups(idle):
    """About one wake-up a second: a laptop's battery notices more."""
    before = status(idle, "voluntary_ctxt_switches")
    end = time.monotonic() + WATCH_S
    until(lambda: time.monotonic() >= end, "the end of the watch")
    assert status(idle, "voluntary_ctxt_switches") - before <= MAX_WAKEUPS
