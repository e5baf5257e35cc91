# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that means harm, beside one that does not: on each transport frames of
all kinds as fast as the daemon takes them (test/hostile), and connections of
another guest on the same link, each of whose bytes is looked at.

    make hostile SECONDS=600 SEED=7        longer, with the sanitizers
    make hostile SECONDS=60 SEED=0         as many frames that nobody has a use for
    make hostile SECONDS=600 REST=5        more frames: those beside send a MiB at a time
"""

import itertools
import os
import re
import signal
import threading
import time

import pytest

from lab import (HOSTILE, HOST, MIB, PASST, PEER, PYTHON, UPLINK, USER, V4, V6,
                 HERE, alive, until)

SECONDS = float(os.environ.get("HOSTILE_S", 4))
SEED = int(os.environ.get("HOSTILE_SEED", 1))
REST = float(os.environ.get("HOSTILE_REST", 0))
ECHO, FLOOD = 9001, 9002
# Of what it has without; by rings, where sessions end all the time, anything
SHARE = {"stream": 1 / 100, "tap": 1 / 100, "rings": 0}
BLOCK = os.urandom(MIB)
TWICE = BLOCK * 2


class Stream:
    """Bytes in one direction whose place tells what they are."""

    def __init__(self, source, sink):
        self.count, self.error, self.ends = 0, None, (source, sink)
        for s in self.ends:
            s.settimeout(None)
        for f in self.fill, self.check:
            threading.Thread(target=f, daemon=True).start()

    def fill(self):
        try:
            while True:
                self.ends[0].sendall(BLOCK)
                time.sleep(REST)
        except OSError as e:
            self.error = self.error or e

    def check(self):
        try:
            while data := self.ends[1].recv(1 << 17):
                at = self.count % MIB
                assert data == TWICE[at:at + len(data)], f"at {self.count}"
                self.count += len(data)
            self.error = self.error or EOFError()
        except (OSError, AssertionError) as e:
            self.error = self.error or e


class Beside:
    """Connections out of the guest, with bytes in either direction."""

    def __init__(self, lab, guest):
        self.streams = []
        for family, down in itertools.product((V4, V6), (False, True)):
            listener = lab.peer.listen(family)
            near = guest.connect(family, PEER[family],
                                 listener.getsockname()[1])
            ends = near, lab.peer.accept(listener)
            self.streams.append(Stream(*(ends[::-1] if down else ends)))

    def counts(self):
        for s in self.streams:
            assert s.error is None, repr(s.error)
        return [s.count for s in self.streams]

    def rates(self, seconds, well):
        before, began = self.counts(), time.monotonic()
        while (took := time.monotonic() - began) < seconds:
            well()
            time.sleep(0.1)         # nothing is waited for
        return [(b - a) / took for a, b in zip(before, self.counts())]


def start(lab, kind, *options):
    """A daemon in the foreground, its guest, and the hostile one."""
    if kind == "tap":
        guest = lab.pasta("--config-net", "--mtu", 1500, *options)
        guest.bridge = guest.spawn(HOSTILE, UPLINK, UPLINK, kind, SEED)
        guest.bridge.says("^ready$")
        return guest
    path = lab.path("socket")
    options += ("--vhost-user",) if kind == "rings" else ()
    process = lab.host.spawn(*USER, PASST, "-f", "-s", path, "--mtu", 1500,
                             *options)
    until(path.exists, "the socket")
    guest = lab.join(process.pid, 1500, HOSTILE, path, kind, SEED)
    guest.process = process
    return guest


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def rests(pid):
    """Less than a tenth of a CPU, for half a second."""
    before = cpu(pid)
    time.sleep(0.5)
    return cpu(pid) - before < 0.05 * os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("kind", SHARE)
def test_hostile(lab, kind):
    guest = start(lab, kind)
    lab.peer.spawn(PYTHON, HERE / "server.py", "echo", ECHO).says("^ready$")
    lab.peer.spawn(PYTHON, HERE / "server.py", "flood", FLOOD).says("^ready$")
    beside = Beside(lab, guest)

    def well():
        assert alive(guest.daemon), guest.process.output()[-8000:]
        assert guest.bridge.popen.poll() is None, guest.bridge.output()

    until(lambda: all(beside.counts()), "bytes in each direction")
    without = beside.rates(min(SECONDS / 4, 10), well)
    guest.bridge.signal(signal.SIGUSR1)
    rates = beside.rates(SECONDS, well)
    guest.bridge.signal(signal.SIGUSR1)
    # What was slow, or had to be sent again, goes on, and then it is quiet.  Who got
    # nothing through tries again after as long once more.
    before = beside.counts()
    try:
        until(lambda: well() or all(b > a for a, b in zip(before,
                                                          beside.counts())),
              "bytes in each direction", 60 + min(SECONDS, 120))
    except AssertionError:
        print(before, beside.counts(), guest.run("ss", "-tnoi"),
              lab.peer.run("ss", "-tnoi"))
        raise
    for s in beside.streams:
        for end in s.ends:
            end.shutdown(2)
    until(lambda: well() or rests(guest.daemon), "rest", 60)
    Beside(lab, guest)
    guest.bridge.signal(signal.SIGTERM)
    assert guest.bridge.exit() == 0
    said = guest.bridge.output()
    share = sum(rates) / sum(without)
    print([f"{r / 1e6:.2f} of {w / 1e6:.0f}" for r, w in zip(rates, without)])
    print(f"\n{kind}, seed {SEED}, {SECONDS:.0f} s: {share:.2f} of "
          f"{sum(without) / 1e6:.0f} MB/s beside {said.partition('ready')[2]}")
    assert int(re.search(r"thrown (\d+)", said)[1])
    assert share >= SHARE[kind] or SECONDS < 60    # too short to tell


def test_same_again(lab):
    """The same seed, the same frames."""
    sums = [lab.peer.run(HOSTILE, 20000, "-", "count", seed)
            for seed in (1, 1, 2)]
    assert sums[0] == sums[1] != sums[2]
