# SPDX-License-Identifier: GPL-2.0-or-later
"""Thousands of connections, and that nothing of them is left behind.

What a daemon holds is counted before and after: its sockets in /proc, its
pipes, and its flows as --stats prints them.
"""

import collections
import contextlib
import os
import pathlib
import re
import resource
import selectors
import socket

import pytest

from lab import (DEADLINE, DGRAM, HERE, HOST, MIB, PASTA, PEER, PYTHON,
                 ROOT_USER, STREAM, USER, V4, V6, alive, run, until)

WANTED = 10000          # connections of a kind, if descriptors allow it
OTHERS = 600            # descriptors that are not for connections
REFUSALS = 1000         # a way, both families together
KILLED = 25             # connections a way and family when the server dies
SPARE_PIPES = 4         # which splice keeps, of two descriptors each
POOL = 64               # sockets made in advance for a family, in the end...
REFILL = 40             # ...when more than half of them come at once
IN, OUT, SERVED, UNUSED = 7001, 7002, 7003, 7004
NO_PROTOCOL = 253       # RFC 3692: for experiments
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
OPTIONS = ("-f", "--stats", 0, "--config-net", "-t", f"{IN},{UNUSED}",
           "-u", "none", "-T", f"{OUT},{UNUSED}", "-U", "none")


@pytest.fixture
def descriptors():
    """As many as we may have, for the test; its children start with less."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# A way from client to server

Way = collections.namedtuple("Way", "client server family address port")


class Ways:
    """spliced in and out, tap in and out, both families."""

    def __init__(self, lab, guest):
        self.spliced, self.tap = [], []
        for f in V4, V6:
            self.spliced += [Way(lab.host, guest, f, LOOPBACK[f], IN),
                             Way(guest, lab.host, f, LOOPBACK[f], OUT)]
            self.tap += [Way(guest, lab.peer, f, PEER[f], SERVED),
                         Way(lab.peer, guest, f, HOST[f], IN)]
        self.all = self.spliced + self.tap


@pytest.fixture
def guest(lab):
    return lab.pasta(*OPTIONS)


@pytest.fixture
def ways(lab, guest):
    return Ways(lab, guest)


def serve(lab, guest, kind):
    """A server at the far end of each way."""
    servers = [ns.spawn(PYTHON, "-c", (HERE / "server.py").read_text(), kind,
                        *ports)
               for ns, ports in ((lab.host, [OUT]), (guest, [IN]),
                                 (lab.peer, [SERVED]))]
    for s in servers:
        s.says("^ready$")
    return servers


def connect(way, count):
    """@count connected sockets, which are the caller's to close."""
    with way.client.inside():
        made = [socket.socket(way.family, STREAM) for _ in range(count)]
    for s in made:
        s.settimeout(DEADLINE)
        s.connect((way.address, way.port))
    return made


def echoes(sockets):
    """Does a byte come back on each?"""
    for s in sockets:
        s.send(b"?")
    return all(s.recv(1) == b"?" for s in sockets)


def close(sockets):
    for s in sockets:
        s.close()


# What a daemon holds

def held(pid):
    """Its pipes, and its other descriptors."""
    names = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(fd))
    pipes = sum(name.startswith("pipe:") for name in names)
    return pipes, len(names) - pipes


class Holdings:
    """Descriptors and flows of @guest's daemon, now and later.

    It makes sockets inside the namespace in advance, some at once when there
    are few left.  So that this does not count, they are used until that
    happens: then there are as many as there can be.
    """

    def __init__(self, lab, guest):
        self.lab, self.guest, self.pid = lab, guest, guest.process.pid
        # The first ones are made for somebody, who takes one of them
        self.fill()
        self.fill()
        until(lambda: not self.flows(), "a table without flows")
        self.pipes, self.others = held(self.pid)

    def fill(self):
        for family in V4, V6:
            for _ in range(2 * POOL):
                before = held(self.pid)[1]
                refused(self.lab.host, family, LOOPBACK[family], UNUSED)
                if held(self.pid)[1] > before + REFILL:
                    break
            else:
                raise AssertionError("no sockets are made in advance")

    def flows(self):
        """How many: it prints a line when it has got a frame."""
        before = self.guest.process.log.stat().st_size
        s = self.guest.socket(V4, socket.SOCK_RAW, NO_PROTOCOL)

        def lines():
            s.sendto(b"a frame that begins no flow", (PEER[V4], 0))
            with open(self.guest.process.log, "rb") as log:
                log.seek(before)
                return re.findall(rb"^ *(?:\d+ +){4}(\d+) +\d+ .*\n",
                                  log.read(), re.M)
        last = int(until(lines, "statistics")[-1])
        s.close()
        return last

    def unchanged(self):
        self.fill()
        until(lambda: held(self.pid)[1] == self.others,
              f"{self.others} descriptors, not {held(self.pid)[1]}")
        until(lambda: not self.flows(), "the end of all flows")
        assert held(self.pid)[0] <= self.pipes + 2 * SPARE_PIPES


# Many at once

def test_many(lab, guest, ways, descriptors):
    """As many as descriptors allow: the daemon needs two for a spliced
    connection and one for another; we, one for each."""
    each = min(WANTED, (descriptors - OTHERS) // 3)
    serve(lab, guest, "echo")
    before = Holdings(lab, guest)
    sockets = []
    try:
        for kind in ways.tap, ways.spliced:
            for way in kind:
                sockets += connect(way, each // len(kind))
        assert echoes(sockets)
        needed = 3 * len(sockets) // 2
        assert held(before.pid)[1] >= before.others - 2 * POOL + needed
        for way in ways.all:
            new = connect(way, 1)
            assert echoes(new)
            close(new)
        assert echoes(sockets)
    finally:
        close(sockets)
    before.unchanged()


# Refused

def refused(ns, family, address, port):
    """A connection that only the other end refuses was accepted first."""
    with ns.inside():
        s = socket.socket(family, STREAM)
    s.settimeout(DEADLINE)
    try:
        s.connect((address, port))
        s.recv(1)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    finally:
        s.close()
    return False


@pytest.mark.parametrize("way", ["guest to host", "host to guest",
                                 "spliced in", "spliced out"])
def test_refused(lab, guest, way):
    client, target = {"guest to host": (guest, PEER),
                      "host to guest": (lab.peer, HOST),
                      "spliced in": (lab.host, LOOPBACK),
                      "spliced out": (guest, LOOPBACK)}[way]
    before = Holdings(lab, guest)
    for family in V4, V6:
        for _ in range(REFUSALS // 2):
            assert refused(client, family, target[family], UNUSED)
    before.unchanged()


# More than there are descriptors for

FEW = 120


@pytest.mark.parametrize("way", ["tap in", "spliced in", "spliced out"])
def test_out_of_descriptors(lab, way):
    """Who cannot be served is told, and when others have gone, who comes is
    served again."""
    guest = lab.pasta(*OPTIONS,
                      user=("prlimit", f"--nofile={FEW}:{FEW}", *USER))
    ways = Ways(lab, guest)
    way = {"tap in": ways.tap[1], "spliced in": ways.spliced[0],
           "spliced out": ways.spliced[1]}[way]
    serve(lab, guest, "echo")
    sockets = []
    try:
        while s := another(way):
            sockets.append(s)
            assert len(sockets) < FEW
        assert len(sockets) > FEW // 6 # pairs, of the share
        assert echoes(sockets)
    finally:
        close(sockets)
    until(lambda: another(way), "another connection").close()


def another(way):
    """One more that is served; None if it is reset, however soon."""
    with contextlib.ExitStack() as scope:
        try:
            s, = connect(way, 1)
            scope.callback(s.close)
            assert echoes([s])
        except (ConnectionResetError, BrokenPipeError):
            return None
        scope.pop_all()
        return s


# Killed

def ends(*sockets):
    """Do they end, in whatever way, once their data is read?

    All are read at the same time: what comes while nobody reads, a kernel drops within
    its own window, and it is sent again after as long once more.
    """
    with selectors.DefaultSelector() as waiting:
        for s in sockets:
            s.setblocking(False)
            waiting.register(s, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(3 * DEADLINE)
            for key, _ in ready:
                with contextlib.suppress(ConnectionResetError):
                    if key.fileobj.recv(MIB):
                        continue
                waiting.unregister(key.fileobj)
            if not ready:
                return False
    return True


@pytest.mark.parametrize("kind", ["flood", "echo"])
def test_killed_servers(lab, guest, ways, kind):
    """With data under way to the client (flood), or stuck both ways."""
    servers = serve(lab, guest, kind)
    before = Holdings(lab, guest)
    sockets = [s for way in ways.all for s in connect(way, KILLED)]
    data = bytes(MIB)
    try:
        for s in sockets:
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    s.send(data)
            s.settimeout(DEADLINE)
            assert s.recv(1) == b"\0"
        for server in servers:
            server.kill()
        assert ends(*sockets)
    finally:
        close(sockets)
    before.unchanged()


# The namespace goes

def test_namespace_goes(lab):
    """And with it listeners, also those with connections."""
    name = lab.netns()
    pid = lab.daemon(PASTA, "--config-net", "--runas", "0", "-t", IN, "-u",
                     "none", "-T", OUT, "-U", "none", "--netns",
                     f"/run/netns/{name}", user=ROOT_USER)
    inside = lab.named(name)
    listener = lab.host.listen(V4, OUT)
    client = inside.connect(V4, LOOPBACK[V4], OUT)
    server = lab.host.accept(listener)
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    run("ip", "netns", "del", name)
    until(lambda: not alive(pid), "pasta to go with its namespace")
    assert ends(server)


# The limit

def limited(lab, limit, *options):
    return lab.host.run("prlimit", f"--nofile={limit}", PASTA, "--runas", "0",
                        "--config-net", *options, "--", "true", check=False)


REFUSAL = (r"\AForwarding \d+ ports needs \d+ descriptors, "
           r"the limit \(RLIMIT_NOFILE\) is \d+\n\Z")


@pytest.mark.parametrize("options", [
    ("-t", "all", "-u", "all", "-T", "none", "-U", "none"),
    # Each table fits
    ("-t", "10000-11199", "-u", "none", "-T", "20000-21199", "-U", "none"),
], ids=["one table", "both"])
def test_limit_forbids(lab, options):
    result = limited(lab, "2000:2000", *options)
    assert result.status == 1
    assert re.search(REFUSAL, result.stderr), result.stderr


def test_limit_is_too_low(lab):
    result = limited(lab, "20:20", "-t", "none")
    assert (result.status, result.stderr) == (
        1, "Running needs 64 descriptors, "
           "the limit (RLIMIT_NOFILE) is 20\n")


def test_limit_allows(lab, descriptors):
    """Also if it has to be raised first: all ports, or what can be had."""
    every = ["-t", "all", "-u", "all"]
    if descriptors < 1 << 17:
        every = ["-t", "all,~1-28000", "-u", "all,~1-28000"]
    result = limited(lab, f"1000:{descriptors}", *every, "-T", "none",
                     "-U", "none")
    assert not result.status, result.stderr
