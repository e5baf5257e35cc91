# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest moves to another host and its TCP connections go on.

There is no virtual machine: the program that stands in for QEMU and the driver
(test/perf/front.c) stops its rings, has one passt tell what it knows, and gives
that to another one in the namespace of another host, which has the same addresses;
then the way there is turned.
"""

import hashlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from lab import (ALL_FEATURES, DEADLINE, FAR, FRONT, GATEWAY, HOST, MIB, PASST,
                 REPAIR, UPLINK, USER, V4, V6, alive, batch, run, script, until)
from test_peer import BIN as PEER_BIN, ROOT as PEER_ROOT, peer_programs
from test_vhost import FrontEnd

BULK = 64 * MIB


class Host:
    """One of the two, with a passt for --vhost-user in it."""

    def __init__(self, lab, where, name, *options, passt=PASST, helper=REPAIR):
        self.lab, self.where = lab, where
        self.path = lab.path(name)
        self.log = lab.path(f"{name}.log")
        pidfile = lab.path(f"{name}.pid")
        where.run(*USER, passt, "--vhost-user", "-s", self.path, "--pid",
                  pidfile, "-l", self.log, *options)
        self.pid = int(pidfile.read_text())
        lab.scope.callback(self.stop)
        if helper:
            self.helper = where.spawn(helper, f"{self.path}.repair")
            self.said("Accepted TCP_REPAIR helper")

    def stop(self):
        if alive(self.pid):
            os.kill(self.pid, 15)
            until(lambda: not alive(self.pid), "the end of passt")

    def said(self, what):
        until(lambda: what in self.log.read_text(), what)


@pytest.fixture
def other(lab):
    """Another host with the address of the first one, as soon as the router says
    so."""
    name = lab.netns()
    peer = lab.wires.name("peer")
    batch(name, "net.ipv6.conf.all.accept_dad=0",
          "net.ipv6.conf.default.accept_dad=0")
    run("ip", "-n", name, "link", "add", UPLINK, "type", "veth", "peer",
        "name", "eth2", "netns", peer)
    lab.scope.callback(run, "ip", "-n", peer, "link", "del", "eth2",
                       check=False)
    script(peer, f"""
        link set eth2 up
        addr add {GATEWAY[V6]}/128 dev eth2 nodad""")
    script(name, f"""
        link set lo up
        link set {UPLINK} up
        addr add {HOST[V4]}/24 dev {UPLINK}
        addr add {HOST[V6]}/64 dev {UPLINK} nodad
        route add default via {GATEWAY[V4]}
        route add default via {GATEWAY[V6]}""")
    return lab.named(name)


def turn(lab):
    """What is for the host's address goes to the other one."""
    peer = lab.wires.name("peer")
    script(peer, f"""
        route replace {HOST[V4]}/32 dev eth2
        route replace {HOST[V6]}/128 dev eth2""")


def lose_answers(lab):
    """Nothing that the far end says arrives at the host, until turn()."""
    script(lab.wires.name("peer"), f"""
        route replace blackhole {HOST[V4]}/32
        route replace blackhole {HOST[V6]}/128""")


class Front:
    """A guest whose place is to be changed."""

    def __init__(self, lab, host, mtu=65520, features=ALL_FEATURES):
        self.guest = lab.join(host.pid, mtu, FRONT, host.path, features,
                              stdin=subprocess.PIPE)
        self.lines = 0

    def __call__(self, word, *more):
        """Have it done; the last number that it says."""
        self.guest.bridge.popen.stdin.write(
            (" ".join(str(x) for x in (word, *more)) + "\n").encode())
        self.guest.bridge.popen.stdin.flush()
        self.lines += 1
        until(lambda: len(self.guest.bridge.output().splitlines()) > self.lines
              or self.guest.bridge.popen.poll() is not None, word)
        return int(self.guest.bridge.output().split()[-1].replace(
            "left", "0").replace("resumed", "0"))


class Stream:
    """A connection of the guest to the far end."""

    def __init__(self, lab, guest, family):
        server = lab.wires.far.listen(family)
        port = server.getsockname()[1]
        self.guest = guest.connect(family, FAR[family], port)
        self.far, _ = server.accept()
        self.far.settimeout(DEADLINE)
        self.guest.settimeout(DEADLINE)
        lab.scope.callback(self.far.close)
        lab.scope.callback(self.guest.close)

    def talk(self):
        for a, b in (self.guest, self.far), (self.far, self.guest):
            data = os.urandom(3000)
            a.sendall(data)
            assert receive(b, len(data)) == data


def receive(s, size):
    data = b""
    while len(data) < size:
        more = s.recv(size - len(data))
        assert more, f"the end after {len(data)} bytes of {size}"
        data += more
    return data


class Bulk(threading.Thread):
    """So many bytes one way, and then the end."""

    def __init__(self, source, sink, size=BULK):
        super().__init__(daemon=True)
        self.source, self.sink, self.size = source, sink, size
        self.got, self.sums, self.error = 0, [hashlib.md5(), hashlib.md5()], []
        self.sender = threading.Thread(target=self.guarded, args=(self.send,),
                                       daemon=True)
        self.start()
        self.sender.start()

    def guarded(self, what):
        try:
            what()
        except OSError as e:
            self.error.append(e)

    def run(self):
        self.guarded(self.read)

    def send(self):
        block = os.urandom(1 << 18)
        for i in range(self.size // len(block)):
            data = block[i % 1000:] + block[:i % 1000]
            self.sums[0].update(data)
            self.source.sendall(data)
        self.source.shutdown(socket.SHUT_WR)

    def read(self):
        while data := self.sink.recv(1 << 18):
            self.sums[1].update(data)
            self.got += len(data)

    def finish(self):
        self.sender.join(DEADLINE)
        self.join(DEADLINE)
        assert not self.error and not self.is_alive()
        assert self.got == self.size
        assert self.sums[0].digest() == self.sums[1].digest()


def finished(where, stream):
    """The FIN that is queued again for a new socket has been acknowledged."""
    port = stream.far.getpeername()[1]
    until(lambda: "FIN-WAIT-2" in where.run("ss", "-tnaH", "sport", port),
          "the end of one way")


def counter(where, name):
    """Without a program: it would take its time."""
    with where.inside():
        text = pathlib.Path("/proc/thread-self/net/netstat").read_text()
    names, values = (line.split() for line in text.splitlines()
                     if line.startswith("TcpExt"))
    return int(values[names.index(name)])


def move(lab, front, target):
    """What arrives at the new place before the sockets are there is refused, so the
    router is told last."""
    assert front("save") == 0
    assert front("load", target.path) == 0
    turn(lab)
    front("leave")


@pytest.mark.parametrize("family", [V4, V6], ids=["v4", "v6"])
def test_connections(lab, other, family):
    """Whatever they are doing, and whoever has ended."""
    hosts = [Host(lab, lab.host, "one"), Host(lab, other, "two")]
    front = Front(lab, hosts[0])
    idle, half, fallen, down, up = (Stream(lab, front.guest, family)
                                    for _ in range(5))
    for s in idle, half, fallen:
        s.talk()
    half.guest.shutdown(socket.SHUT_WR)
    assert half.far.recv(1) == b""
    fallen.far.sendall(b"last")
    fallen.far.shutdown(socket.SHUT_WR)
    bulk = [Bulk(down.far, down.guest), Bulk(up.guest, up.far)]
    until(lambda: all(b.got > MIB for b in bulk), "both streams")

    move(lab, front, hosts[1])
    idle.talk()
    finished(other, half)
    half.far.sendall(b"more")
    assert receive(half.guest, 4) == b"more"
    half.far.close()
    assert half.guest.recv(1) == b""
    assert receive(fallen.guest, 4) == b"last"
    assert fallen.guest.recv(1) == b""
    fallen.guest.sendall(b"still here")
    fallen.guest.shutdown(socket.SHUT_WR)
    assert receive(fallen.far, 10) == b"still here"
    assert fallen.far.recv(1) == b""
    for b in bulk:
        b.finish()
    assert hosts[0].helper.exit() == 0 and hosts[1].helper.exit() == 0


@pytest.fixture
def theirs():
    """Debian unstable's, from PEER_ROOT."""
    if not (PEER_BIN / "passt-repair").exists():
        pytest.skip(f"no root of Debian unstable in {PEER_ROOT}, see make "
                    "check-peer")
    return peer_programs(("passt", "passt-repair"))


# What it offers of virtio: sums, and buffers that are merged
THEIR_FEATURES = "8002"
PAIRS = {
    "ours to theirs": ("passt", "passt", "theirs", "theirs"),
    "theirs to ours": ("theirs", "theirs", "passt", "passt"),
    "each other's helper": ("passt", "theirs", "theirs", "passt"),
    "theirs, and our helper": ("theirs", "passt", "passt", "theirs"),
}


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("pair", PAIRS)
def test_peer(lab, other, theirs, pair, heard):
    """From a passt of either kind to one of the other, with either's helper.  What
    the guest said at last, and its FIN, may not have been acknowledged: theirs says
    of such a queue that it begins one too late.

    Not in the middle of streams, which do not always survive from theirs to
    theirs, either: ACKs that are owed to the guest are lost.  And one that stays
    there is reset when its end waits while the guest has no buffers: recvmsg()
    of no buffers says 0, too."""
    programs = [(PASST, REPAIR) if who == "passt" else
                (theirs["passt"], theirs["passt-repair"]) for who in PAIRS[pair]]
    hosts = [Host(lab, where, name, passt=programs[i][0],
                  helper=programs[i + 1][1])
             for where, name, i in ((lab.host, "one", 0), (other, "two", 2))]
    front = Front(lab, hosts[0], 1500, THEIR_FEATURES)
    idle, half, full, fallen, down, up = (Stream(lab, front.guest, V4)
                                          for _ in range(6))
    for s in idle, half, full, fallen, down, up:
        s.talk()
    fallen.far.sendall(b"last")
    fallen.far.shutdown(socket.SHUT_WR)
    assert receive(fallen.guest, 4) == b"last"
    assert fallen.guest.recv(1) == b""
    if not heard:
        lose_answers(lab)
        full.guest.sendall(b"more")
        assert receive(full.far, 4) == b"more"
    for s in half, full:
        s.guest.shutdown(socket.SHUT_WR)
        assert s.far.recv(1) == b""
    until(lambda: all(line.split()[2] == "0" for line in front.guest.run(
        "ss", "-tnH").splitlines()), "the guest's bytes to be acknowledged")
    move(lab, front, hosts[1])
    idle.talk()
    for s in half, full:
        finished(other, s)
        s.far.sendall(b"more")
        assert receive(s.guest, 4) == b"more"
    fallen.guest.sendall(b"still here")
    fallen.guest.shutdown(socket.SHUT_WR)
    assert receive(fallen.far, 10) == b"still here"
    assert fallen.far.recv(1) == b""
    for b in Bulk(down.far, down.guest, MIB), Bulk(up.guest, up.far, MIB):
        b.finish()


def test_window_opens(lab, other):
    """What the far end says to nobody while the guest moves is asked for at once,
    and not when a timer goes off."""
    hosts = [Host(lab, lab.host, "one"), Host(lab, other, "two")]
    front = Front(lab, hosts[0])
    up = Stream(lab, front.guest, V4)
    data, sent = os.urandom(16 * MIB), 0
    up.guest.settimeout(1)
    with pytest.raises(TimeoutError):   # all is full
        while True:
            sent += up.guest.send(data[sent:])
    assert front("save") == 0
    time.sleep(1)       # so often it answers what is out of its window
    got = up.far.recv(16 * MIB)
    turn(lab)
    assert front("load", hosts[1].path) == 0
    front("leave")
    got += up.far.recv(1)
    probes = counter(other, "TCPWinProbe")  # before it can be shut again
    got += receive(up.far, sent - len(got))
    assert got == data[:sent]
    assert probes == 1


def test_all_said(lab, other):
    """Both ends have closed, and the guest has yet to read: the kernel has done with
    that connection, not so the guest."""
    hosts = [Host(lab, lab.host, "one"), Host(lab, other, "two")]
    front = Front(lab, hosts[0])
    s = Stream(lab, front.guest, V4)
    port = s.far.getsockname()[1]
    s.guest.shutdown(socket.SHUT_WR)
    assert s.far.recv(1) == b""
    data = os.urandom(100_000)
    s.far.sendall(data)
    s.far.close()
    until(lambda: "TIME-WAIT" in lab.host.run("ss", "-tanH", "dport", port),
          "the end of both ways")
    move(lab, front, hosts[1])
    assert receive(s.guest, len(data)) == data
    assert s.guest.recv(1) == b""


def spent(host):
    """CPU time of passt, in ms."""
    return int(pathlib.Path(f"/proc/{host.pid}/schedstat").read_text()
               .split()[0]) / 1e6


def test_many(lab, other):
    """More than go in one message to the helper.  Tells what doc/performance.md
    has."""
    hosts = [Host(lab, lab.host, "one"), Host(lab, other, "two")]
    front = Front(lab, hosts[0])
    server = lab.wires.far.listen(V4)
    port = server.getsockname()[1]
    ends = [(front.guest.connect(V4, FAR[V4], port), server.accept()[0])
            for _ in range(1000)]
    ends[-1][0].sendall(b"all")     # so the others' handshakes are over, too
    assert receive(ends[-1][1], 3) == b"all"
    before, at = [spent(h) for h in hosts], time.monotonic()
    move(lab, front, hosts[1])
    at = time.monotonic() - at
    for guest, _ in ends:
        guest.sendall(b"x")
    for guest, far in ends:
        far.settimeout(DEADLINE)
        assert far.recv(1) == b"x"
        far.sendall(b"y")
        assert guest.recv(1) == b"y"
    print(f"{len(ends)} connections in {at * 1000:.0f} ms; CPU time of passt",
          *(f"{spent(h) - b:.0f} ms" for h, b in zip(hosts, before)))


def test_given_up(lab):
    """The guest's new place refuses it: everything goes on in the old one."""
    host = Host(lab, lab.host, "one")
    front = Front(lab, host)
    idle, down, up = (Stream(lab, front.guest, V4) for _ in range(3))
    bulk = [Bulk(down.far, down.guest), Bulk(up.guest, up.far)]
    until(lambda: all(b.got > MIB for b in bulk), "both streams")
    assert front("save") == 0
    front("resume")
    host.said("given up, 3 connections go on here")
    idle.talk()
    for b in bulk:
        b.finish()


def reset(s, speaks):
    with pytest.raises(ConnectionResetError):
        if speaks:
            s.sendall(b"x")
        while s.recv(1 << 16):
            pass


@pytest.mark.parametrize("without", ["source", "target"])
def test_without_helper(lab, other, without):
    """The guest moves, its connections are reset; new ones work."""
    hosts = [Host(lab, lab.host, "one",
                  helper=without != "source" and REPAIR),
             Host(lab, other, "two", *("--repair-path", "none")
                  [:2 * (without == "target")],
                  helper=without != "target" and REPAIR)]
    front = Front(lab, hosts[0])
    s = Stream(lab, front.guest, V4)
    s.talk()
    assert front("save") == 0
    turn(lab)
    assert front("load", hosts[1].path) == 0
    front("leave")
    hosts[without == "target"].said("without passt-repair")
    reset(s.guest, without == "source")
    Stream(lab, front.guest, V4).talk()


@pytest.mark.parametrize("lingers", [True, False], ids=["linger", "no linger"])
def test_linger(lab, other, lingers):
    """Who speaks to the old place before the network knows is not answered there;
    with --migrate-no-linger nothing is left of a connection, so he is refused."""
    hosts = [Host(lab, lab.host, "one",
                  *() if lingers else ("--migrate-no-linger",)),
             Host(lab, other, "two")]
    front = Front(lab, hosts[0])
    s = Stream(lab, front.guest, V4)
    s.talk()
    port = s.far.getpeername()[1]
    assert front("save") == 0
    assert front("load", hosts[1].path) == 0
    front("leave")

    def left():
        return lab.host.run("ss", "-tnaH", "sport", port)
    if not lingers:
        until(lambda: not left(), "the old socket to be closed")
    s.far.sendall(b"early")
    if not lingers:
        reset(s.far, False)
        return
    assert left()
    turn(lab)
    assert receive(s.guest, 5) == b"early"
    s.talk()


def test_exit(lab):
    host = Host(lab, lab.host, "one", "--migrate-exit")
    front = Front(lab, host)
    Stream(lab, front.guest, V4).talk()
    assert front("save") == 0
    until(lambda: not alive(host.pid), "the end of passt")


SET_STATE, CHECK_STATE, LOAD = 42, 43, 1
HEAD = struct.pack(">QII", 0xb1bb1d1b0bb1d1b0, 2, 2)
BAD = {
    "nothing": (b"", "ends too early"),
    "garbage": (b"\0" * 4096, "no state of passt"),
    "newer": (struct.pack(">QII", 0xb1bb1d1b0bb1d1b0, 4, 3) + bytes(46),
              "version is not known"),
    "older": (struct.pack(">QII", 0xb1bb1d1b0bb1d1b0, 1, 1) + bytes(46),
              "version is not known"),
    "cut": (HEAD + bytes(42) + b"\0\0\0\1" + bytes(111), "ends too early"),
    "no socket": (HEAD + bytes(42) + b"\0\0\0\1" + bytes(112) + b"\1" * 12,
                  "ends too early"),
    "too many": (HEAD + bytes(42) + b"\xff" * 4, "no state of passt"),
    "too long": (HEAD + bytes(42) + b"\0\0\0\1" + bytes(112) + b"\xff" * 52,
                 "no state of passt"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_state(lab, what):
    """One line, and status 1, before a guest could run."""
    path = lab.path("socket")
    passt = lab.host.spawn(*USER, PASST, "-f", "--vhost-user", "-s", path,
                           "--repair-path", "none")
    passt.says("You can start QEMU")
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    front = FrontEnd(s)
    state, line = BAD[what]
    source, sink = os.pipe()
    front.send(SET_STATE, struct.pack("<II", LOAD, 0), [source])
    assert front.receive()
    os.close(source)
    os.write(sink, state)
    os.close(sink)
    front.send(CHECK_STATE)
    said = front.receive()
    assert said is None or any(said[-8:])
    assert passt.exit() == 1
    assert len(re.findall("^Migration: can't load.*" + line, passt.output(),
                          re.M)) == 1
