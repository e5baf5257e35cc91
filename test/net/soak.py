#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Mixed traffic on all transports at once, for hours: make soak HOURS=8

A stream socket, a tap and vhost-user, each with connections that last, whose bytes
are summed at both ends, and others that come and go, datagrams, rules that change,
captures that are rotated, metrics that are asked for, and successors that take over.
Memory, descriptors and CPU are noted; in the end they have to be what they were.

Usage: soak.py HOURS DIRECTORY, which gets soak.tsv and, with gnuplot, soak.svg
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

import test_faults
from lab import (BRIDGE, DEADLINE, HOST, PASST, PEER, PESTO, V4, V6, Lab, Wires,
                 alive, until)
from test_takeover import Daemon, Passt, Pasta, Vhost

TAKEOVER_S, RULES_S, SHORT_S, PACE_S = 20, 2, 0.1, 0.02
MANY = "7200-7299"
SLACK_KB = 4096
PLOT = """
set terminal svg size 900,720 font "DejaVu Sans,11"
set output "{svg}"
set multiplot layout 3,1
set key top left
set xlabel "minutes"
set ylabel "memory, MiB"
set yrange [0:*]
plot for [k in "{kinds}"] "<grep ^".k." {tsv}" using ($2/60):($3/1024) \\
    with lines title k
set ylabel "descriptors"
plot for [k in "{kinds}"] "<grep ^".k." {tsv}" using ($2/60):4 with lines title k
set ylabel "CPU, %"
plot for [k in "{kinds}"] "<grep ^".k." {tsv}" using ($2/60):5 with lines title k
"""


class Captured(Daemon):
    """Has no successor: what was captured would be lost"""

    def __init__(self, lab, *options):
        path = lab.path("captured")
        super().__init__(lab, PASST, "-s", path, "--mtu", 1500, "-p",
                         lab.path("pcap"), "--pcap-size", "1M", "--pcap-files",
                         2, *options)
        self.guest = lab.join(self.pid, 1500, BRIDGE, path)


KINDS = {"pasta": Pasta, "passt": Passt, "vhost": Vhost, "captured": Captured}


class Lasting(threading.Thread):
    """A connection through which bytes go all the time."""

    def __init__(self, pair):
        super().__init__(daemon=True)
        self.sender, self.receiver = pair
        for s in pair:
            s.settimeout(60)
        self.sums, self.bytes, self.over = [hashlib.md5(), hashlib.md5()], 0, False
        self.error = None
        self.start()

    def run(self):
        other = threading.Thread(target=self.guarded, args=(self.receive,))
        other.start()
        self.guarded(self.send)
        other.join()

    def guarded(self, f):
        try:
            f()
        except OSError as e:
            self.error = e

    def send(self):
        while not self.over:
            piece = os.urandom(1 << 16)
            self.sender.sendall(piece)
            self.sums[0].update(piece)
            time.sleep(PACE_S)          # the rate
        self.sender.shutdown(socket.SHUT_WR)

    def receive(self):
        while piece := self.receiver.recv(1 << 16):
            self.sums[1].update(piece)
            self.bytes += len(piece)

    def end(self):
        self.over = True
        self.join(120)
        assert not self.is_alive() and not self.error, repr(self.error)
        assert self.sums[0].digest() == self.sums[1].digest(), "other bytes"
        for s in self.sender, self.receiver:
            s.close()


class Net(test_faults.Net):
    """One transport's daemon, and what goes on there."""

    def __init__(self, lab, kind):
        self.lab, self.kind = lab, kind
        self.control = lab.path(f"control-{kind}")
        self.port = test_faults.PORT + list(KINDS).index(kind)
        ports = ["-t", self.port, "-u", self.port]
        self.daemon = KINDS[kind](
            lab, *ports, "-c", self.control, "--metrics-socket",
            lab.path(f"metrics-{kind}"))
        self.guest, self.gone = self.daemon.guest, 0
        self.ways = [(self.guest, PEER, lab.peer, self.port),
                     (lab.peer, HOST, self.guest, self.port)]
        self.done = dict.fromkeys(("connections", "datagrams", "lost datagrams",
                                   "rules", "takeovers"), 0)
        self.lasting = []

    @property
    def pid(self):
        return self.daemon.pid

    def well(self):
        assert alive(self.pid), f"{self.kind} has ended"

    def last(self):
        for way in range(len(self.ways)):
            for family in V4, V6:
                for turned in False, True:
                    pair = self.connect(way, family, DEADLINE)
                    self.lasting.append(Lasting(pair[::-1] if turned else pair))

    def shorts(self):
        for way in range(len(self.ways)):
            for family in V4, V6:
                self.stream(way, family, 3 * DEADLINE)
                self.done["connections"] += 1
                try:
                    self.datagram(way, family, 4)
                    self.done["datagrams"] += 1
                except test_faults.Lost:
                    self.done["lost datagrams"] += 1

    def change(self):
        for how in "-A", "-D":
            self.lab.host.run(PESTO, how, "-t", MANY, self.control, check=False)
            self.done["rules"] += 1
        self.lab.host.run(PESTO, "--metrics", self.lab.path(
            f"metrics-{self.kind}"), check=False)

    def replace(self):
        self.daemon.replace()
        self.done["takeovers"] += 1

    def sample(self):
        """Memory of its own in kB, descriptors, clock ticks; None while it is
        replaced.  What it has touched of a guest's is the guest's."""
        try:
            pid = self.pid
            return (int(test_faults.status(pid, "RssAnon")),
                    test_faults.descriptors(pid), test_faults.test_hostile.cpu(pid),
                    pid)
        except (OSError, TypeError):
            return None


class Soak:
    def __init__(self, lab, seconds, directory):
        self.seconds, self.over, self.errors = seconds, threading.Event(), []
        self.nets = [Net(lab, kind) for kind in KINDS]
        self.directory = directory
        self.tsv = directory / "soak.tsv"
        self.began = time.monotonic()

    def repeat(self, f, pause):
        def loop():
            while not self.over.wait(pause):
                try:
                    f()
                except BaseException as e:  # told in the end
                    self.errors.append(f"{f.__qualname__}: {e!r}")
                    self.over.set()
        t = threading.Thread(target=loop, daemon=True)
        t.start()
        return t

    def run(self):
        first = {n: n.sample() for n in self.nets}
        threads = []
        for n in self.nets:
            n.last()
            threads += [self.repeat(n.shorts, SHORT_S)]
        threads.append(self.repeat(self.rules_and_successors, RULES_S))
        early = self.watch()
        for t in threads:
            t.join(10 * DEADLINE)
            assert not t.is_alive(), "somebody hangs"
        for n in self.nets:
            n.well()
            for s in n.lasting:
                s.end()
        assert not self.errors, self.errors
        self.compare(first, early)

    def rules_and_successors(self):
        """One after the other: a client of the socket has it refuse others."""
        turn = int((time.monotonic() - self.began) / TAKEOVER_S)
        for n in self.nets:
            n.change()
        net = self.nets[turn % (len(self.nets) - 1)]    # not the last
        if sum(n.done["takeovers"] for n in self.nets) < turn:
            net.replace()

    def watch(self):
        """Note what is used; return the most of the first tenth."""
        step = max(1, self.seconds / 1000)
        early, before = {}, {}
        with open(self.tsv, "w", encoding="ascii") as out:
            while not self.over.wait(step):
                now = time.monotonic() - self.began
                if now > self.seconds:
                    break
                for n in self.nets:
                    s = n.sample()
                    if not s:
                        continue
                    b, before[n] = before.get(n), (now, s)
                    share = 0
                    if b and b[1][3] == s[3]:
                        share = (s[2] - b[1][2]) / (now - b[0]) * 100 / \
                            os.sysconf("SC_CLK_TCK")
                    print(n.kind, f"{now:.1f}", s[0], s[1], f"{share:.1f}",
                          sep="\t", file=out, flush=True)
                    if now < max(60, self.seconds / 10):
                        early[n] = max(early.get(n, 0), s[0])
        self.over.set()
        return early

    def compare(self, first, early):
        for n in self.nets:
            # Flows of datagrams live for three minutes
            until(lambda: n.sample()[1] <= first[n][1] + 2, "few descriptors", 400)
            until(lambda: test_faults.test_hostile.rests(n.pid), "rest", 60)
            last = n.sample()
            print(f"{n.kind}: {n.done}, {sum(s.bytes for s in n.lasting) >> 20} "
                  f"MiB by {len(n.lasting)} connections; descriptors "
                  f"{first[n][1]}, then {last[1]}; memory {first[n][0]} kB, "
                  f"with traffic {early[n]}, then {last[0]}", flush=True)
            assert last[0] <= early[n] + SLACK_KB, "more memory"

    def draw(self):
        if not shutil.which("gnuplot"):
            print("soak.svg: skipped, there is no gnuplot")
            return
        subprocess.run(["gnuplot"], check=True, text=True, input=PLOT.format(
            svg=self.directory / "soak.svg", tsv=self.tsv,
            kinds=" ".join(KINDS)))


def main(hours, directory):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as scope:
        wires = Wires()
        scope.callback(wires.close)
        lab = Lab(wires)
        scope.callback(lab.close)
        soak = Soak(lab, float(hours) * 3600, directory)
        try:
            soak.run()
        finally:
            soak.over.set()
            soak.draw()


if __name__ == "__main__":
    main(*sys.argv[1:])
