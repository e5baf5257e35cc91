# SPDX-License-Identifier: GPL-2.0-or-later
"""How many system calls a transaction, a connection and a gigabyte cost.

The test holds both ends of a conversation and takes the next step when nobody
is at work any more.  So nothing comes in one batch that might have come in two,
however busy the machine is, and the figures are the same each time.  Real
traffic has lower ones.  strace counts: it works wherever root may trace, and
what it does to the time does not matter here.

A gigabyte is the exception.  It comes as fast as it goes, and how many turns of
the loop that takes is chance; so a turn has its ceiling there, and the data.

Each test prints its row as it would stand in the tables: make ceilings
"""

import contextlib
import pathlib
import re
import signal
import socket
import threading
import time

import pytest

from lab import (DEADLINE, DGRAM, HOST, MIB, PEER, STREAM, V4, V6, Lab,
                 Process)

pytestmark = pytest.mark.alone

# Calls that do something, and those that wait for events
TRANSACTION = {
    "rr tap out": (4.0, 2.0),
    "rr tap in": (4.0, 2.0),
    "rr spliced out": (4.0, 2.0),
    "rr spliced in": (4.0, 2.0),
    "rr stream out": (5.0, 2.0),
    "rr stream in": (5.0, 2.0),
    "rr vhost out": (3.0, 2.0),
    "rr vhost in": (3.0, 2.0),
    "crr tap out": (22.0, 10.0),
    "crr tap in": (20.0, 7.0),
    "crr spliced out": (17.0, 8.0),
    "crr spliced in": (17.3, 8.0),
    # The bridge wakes the daemon now a little sooner and now a little later
    "crr stream out": (20.0, 11.0),
    "crr stream in": (19.0, 8.0),
    "crr vhost out": (13.0, 10.1),
    "crr vhost in": (15.0, 7.4),
    "udp tap out": (4.0, 2.0),
    "udp tap in": (4.0, 2.0),
    "udp spliced out": (4.0, 2.0),
    "udp spliced in": (4.0, 2.0),
    "udp stream out": (4.0, 2.0),
    "udp stream in": (4.0, 2.0),
    "udp vhost out": (3.0, 2.0),
    "udp vhost in": (3.0, 2.0),
    # The guest's kernel cuts a piece into one frame to three: the most
    "bulk tap out 65520": (8.0, 2.0),
    "bulk tap in 65520": (4.4, 2.0),
    "bulk spliced out 65520": (5.0, 1.0),
    "bulk spliced in 65520": (5.0, 1.0),
    "bulk tap out 1500": (8.0, 2.0),
    "bulk tap in 1500": (4.4, 2.0),
    "bulk spliced out 1500": (5.0, 1.0),
    "bulk spliced in 1500": (5.0, 1.0),
}
# One more in each transaction or piece is too many, two in each connection
HEADROOM = {"rr": 0.5, "crr": 1.0, "udp": 0.5, "bulk": 0.5}

# Calls in a turn of the loop, and those that come with the data.  How much there
# is in a turn depends on who is faster, the daemon or the others, and is no
# matter of this test: a machine may take three times as many turns as another.
# Each time that a spliced stream has no room its source is told off and on again,
# and a turn of rings may fill the socket, which is then asked for its room.
GIGABYTE = {
    "tap out 65520": (5, 14000),
    "tap in 65520": (4, 9000),
    "spliced out 65520": (3, 600),
    "spliced in 65520": (3, 600),
    "tap out 1500": (5, 15500),
    "tap in 1500": (4, 33000),
    "spliced out 1500": (3, 600),
    "spliced in 1500": (3, 600),
    "stream out 65520": (3, 8700),
    "stream in 65520": (3, 17500),
    "stream out 1500": (3, 8000),
    "stream in 1500": (3, 20000),
    "vhost out 65520": (4, 600),
    "vhost in 65520": (3, 5000),
    "vhost out 1500": (4, 600),
    "vhost in 1500": (3, 5000),
}
GIGABYTE_HEADROOM = 1.5         # in those that come with the data

# Whatever else the machine does makes figures worse, never better
TRIES = 4
WAITS = ("epoll_wait", "epoll_pwait")
# Whether pieces come at a pace that has the loop sleep between them is chance;
# test/unit/loop.c and test/sim/work.c are about when it does
NAPS = ("clock_nanosleep", "clock_nanosleep_time64", "nanosleep")
TIMES = {"rr": 200, "crr": 100, "udp": 200, "bulk": 200}
WARM_UP = 40
BULK, WARM_BULK = 64 * MIB, 8 * MIB
BLOCK = bytes(256 * 1024)
PIECE = bytes(60000)            # one frame, where there are offloads

INNER, OUTER = 7001, 7002       # ports of servers, in the guest and outside
PORTS = ("-t", INNER, "-u", INNER)
SPLICED = ("-T", OUTER, "-U", OUTER)
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
GUESTS = [(kind, mtu) for kind in ("tap", "stream", "vhost")
          for mtu in (65520, 1500)]
WAYS = {"tap": ["tap out", "tap in", "spliced out", "spliced in"],
        "stream": ["stream out", "stream in"],
        "vhost": ["vhost out", "vhost in"]}


@pytest.fixture(scope="module")
def guest(request, wires):
    """A guest, and the lab it is in: one for all tests of a kind and MTU."""
    kind, mtu = request.param
    with contextlib.closing(Lab(wires)) as lab:
        if kind == "tap":
            yield lab, lab.pasta("--config-net", "--mtu", mtu, *PORTS,
                                 *SPLICED)
        elif kind == "stream":
            yield lab, lab.bridged(mtu, *PORTS)
        else:
            yield lab, lab.fronted(mtu, *PORTS)


def ways(guests):
    pairs = [(guest, way) for guest in guests for way in WAYS[guest[0]]]
    return pytest.mark.parametrize(
        "guest, way", pairs, indirect=True,
        ids=[f"{way} {mtu}" for (_, mtu), way in pairs])


class Way:
    """From a client to a server, and the daemon between them."""

    def __init__(self, lab, guest, name):
        self.lab, self.name, self.mtu = lab, name, guest.mtu()
        self.pid = guest.daemon
        self.workers = [self.pid]
        if name.startswith(("stream", "vhost")):
            self.workers.append(guest.bridge.pid)
        spliced = name.startswith("spliced")
        outside = lab.host if spliced else lab.peer
        if name.endswith("in"):
            self.client, self.server = outside, guest
            self.address, self.port = HOST, INNER
        else:
            self.client, self.server = guest, outside
            self.address, self.port = PEER, OUTER
        if spliced:
            self.address = LOOPBACK

    def connect(self, family, kind=STREAM):
        with self.client.inside():
            s = socket.socket(family, kind)
        s.settimeout(DEADLINE)
        s.connect((self.address[family], self.port))
        return s

    def tasks(self):
        """How often each thread was switched; None unless all of them sleep."""
        seen = []
        for pid in self.workers:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                text = (task / "status").read_text()
                if not re.search(r"^State:\s+S", text, re.M):
                    return None
                seen += re.findall(r"ctxt_switches:\s+(\d+)", text)
        return seen

    def rest(self):
        """Wait until all sleep, and none has woken another meanwhile.

        Without a pause: the next step is to come before any timer expires.
        """
        end = time.monotonic() + DEADLINE
        before, now = None, self.tasks()
        while not now or now != before:
            assert time.monotonic() < end, "it never comes to rest"
            before, now = now, self.tasks()


@pytest.fixture
def way(request, guest):
    return Way(*guest, request.param)


class Strace:
    """Counts the system calls of a process and its children."""

    def __init__(self, way):
        self.out = way.lab.path("strace")
        self.process = Process(
            ["strace", "-f", "-c", "-U", "calls,name", "-o", self.out,
             "-p", way.pid], way.lab.path("strace.log"))
        way.lab.scope.callback(self.process.kill)
        self.process.says("attached")

    def stop(self, unit):
        """All calls but naps, those of them that wait, and each, per @unit."""
        self.process.signal(signal.SIGINT)
        self.process.exit()
        rows = re.findall(r"^ *(\d+) +(\w+)$", self.out.read_text(), re.M)
        counts = {name: int(n) / unit for n, name in rows
                  if name != "total" and name not in NAPS}
        waits = sum(counts.get(name, 0) for name in WAITS)
        return sum(counts.values()), waits, counts


def report(row, figures, counts):
    names = sorted(counts, key=counts.get, reverse=True)
    line = f'"{row}": {figures},  # ' + ", ".join(
        f"{name} {counts[name]:.2f}" for name in names)
    print(f"\n    {line}")
    return line


def judge(way, kind, step, suffix=""):
    """Count while steps of this @kind are taken; compare with the table."""
    row, times = f"{kind} {way.name}{suffix}", TIMES[kind]
    most = [n + HEADROOM[kind] for n in TRANSACTION[row]]
    for _ in range(WARM_UP):
        step()
    for _ in range(TRIES):
        strace = Strace(way)
        for _ in range(times):
            step()
        calls, waits, counts = strace.stop(times)
        calls -= waits
        line = report(row, (round(calls, 1), round(waits, 1)), counts)
        if calls <= most[0] and waits <= most[1]:
            return
    pytest.fail(f"more than {most}: {line}")


def ask(way, client, server, answer):
    client.send(b"?")
    origin = server.recvfrom(1)[1]
    way.rest()
    answer(b"!", origin)
    assert client.recv(1) == b"!"
    way.rest()


def accept(listener):
    s, _ = listener.accept()
    s.settimeout(DEADLINE)
    return s


@ways(GUESTS[::2])
def test_request(way, family):
    """A byte there and a byte back, on a connection that stays."""
    with way.server.listen(family, way.port) as listener, \
            way.connect(family) as client, accept(listener) as server:
        judge(way, "rr", lambda: ask(way, client, server,
                                     lambda data, _: server.send(data)))
    way.rest()


@ways(GUESTS[::2])
def test_connection(way, family):
    """The same on a connection of its own, which the client closes."""
    with way.server.listen(family, way.port) as listener:
        def step():
            with way.connect(family) as client, accept(listener) as server:
                way.rest()
                ask(way, client, server, lambda data, _: server.send(data))
                client.close()
                way.rest()
                assert server.recv(1) == b""
            way.rest()
        judge(way, "crr", step)


@ways(GUESTS[::2])
def test_datagram(way, family):
    """A datagram there and one back, of a flow that stays."""
    with way.server.bind(family, DGRAM, way.port) as server, \
            way.connect(family, DGRAM) as client:
        judge(way, "udp", lambda: ask(way, client, server, server.sendto))


def receive(s, size):
    room = memoryview(bytearray(size))
    while size:
        size -= s.recv_into(room, size)


# Only where a piece is a frame: the bridge has no offloads
@ways(GUESTS[:2])
def test_bulk(way):
    """Data in one direction, a piece at a time."""
    with way.server.listen(V4, way.port) as listener, \
            way.connect(V4) as client, accept(listener) as server:
        def step():
            client.sendall(PIECE)
            receive(server, len(PIECE))
            way.rest()
        judge(way, "bulk", step, f" {way.mtu}")


def pour(sender, receiver, size):
    """Data in one direction, as fast as it goes."""
    def send():
        for _ in range(size // len(BLOCK)):
            sender.sendall(BLOCK)
    thread = threading.Thread(target=send)
    thread.start()
    receive(receiver, size)
    thread.join()


@ways(GUESTS)
def test_gigabyte(way):
    row = f"{way.name} {way.mtu}"
    turn, data = GIGABYTE[row]
    with way.server.listen(V4, way.port) as listener, \
            way.connect(V4) as client, accept(listener) as server:
        pour(client, server, WARM_BULK)
        for _ in range(TRIES):
            strace = Strace(way)
            pour(client, server, BULK)
            way.rest()
            calls, turns, counts = strace.stop(BULK / 1e9)
            most = turn * turns + data * GIGABYTE_HEADROOM
            line = report(row, (turn, round(calls - turn * turns)), counts)
            if calls <= most:
                return
    pytest.fail(f"more than {most:.0f}: {line}")
