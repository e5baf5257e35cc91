# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine moves to another host while it runs, and its network with it.

There are two hosts with one address, as whoever moves guests arranges it; peer
sends to one of them, and each move is to a new passt on the other.  The machine is
one of this Debian's QEMU, which knows nothing of a device's state, or of a newer
one's.  That comes from a root directory of Debian unstable, CALLERS_ROOT (see
root.py).  What needs no machine is in test_move.py.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import re
import socket
import struct
import termios
import threading

import pytest

from clients import Background
from lab import (GATEWAY, HOST, MIB, PASST, PEER, REPAIR, USER, V4, V6, Lab,
                 batch, end, literal, script, until)
from qemu import initramfs, kernel
from test_move import theirs as theirs  # pylint: disable=unused-import
from vm import MEMORY_MIB, Guest, vhost

pytestmark = pytest.mark.machine

PORT, MIGRATE_S = 8080, 60
OUR_MAC, FRAME = bytes.fromhex("9a559a559a55"), 60
# That a transfer does before each move and after the last one; MOVE_MIB=400 makes it a
# gigabyte each way
MOVED = int(os.environ.get("MOVE_MIB", 4)) * MIB
ROOT = pathlib.Path(os.environ.get("CALLERS_ROOT",
                                   "/var/cache/passt-callers/sid"))
PROGRAM = "qemu-system-x86_64"
PAGE = "<p>It works, wherever it is\n"


def newer_qemu():
    """The one of that root, beside this system's files."""
    if not (ROOT / "usr/bin" / PROGRAM).exists():
        pytest.skip(f"no {PROGRAM} of Debian unstable in {ROOT}")
    lib, = ROOT.glob("usr/lib/x86_64-linux-gnu")
    where = [f for d in (ROOT / "usr", pathlib.Path("/usr"))
             for s in ("qemu", "seabios") for f in ("-L", d / "share" / s)]
    return ("env", f"QEMU_MODULE_DIR={lib}/qemu", lib / "ld-linux-x86-64.so.2",
            "--library-path", lib, ROOT / "usr/bin" / PROGRAM, *where)


# A few of a hundred guests of QEMU 7.2 arrive with pages that are older than what they
# had, most of them with two CPUs
QEMU = {"old": (lambda: (PROGRAM,), 1), "new": (newer_qemu, 2)}


class Monitor:
    """QEMU's, for programs."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(MIGRATE_S)
        until(lambda: path.exists() and not self.s.connect_ex(str(path)),
              "QEMU's monitor")
        self.lines = self.s.makefile("r")
        self.lines.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.s.sendall(json.dumps({
            "execute": command, "arguments": arguments}).encode() + b"\n")
        while True:     # events come in between
            answer = json.loads(self.lines.readline())
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]

    def migration(self):
        return self("query-migrate").get("status")


class Host:
    """A host of the guest, as far as it concerns it: a passt, and QEMU."""

    def __init__(self, trip, where, passt=PASST):
        self.trip, self.lab, self.where = trip, trip.lab, where
        self.name = f"stay-{next(trip.stays)}"
        self.socket = self.lab.path(f"{self.name}.socket")
        self.log = self.lab.path(f"{self.name}.log")
        self.pid = self.lab.daemon(
            passt, "--vhost-user", "--socket", self.socket, "--log-file",
            self.log, "-t", f"{PORT}:80", where=where)

    def start(self, *more):
        """A machine on this host."""
        path = self.lab.path(f"{self.name}.monitor")
        net = vhost(self.socket, self.trip.card, self.trip.queues)
        self.guest = Guest(self.lab, [*net, "-qmp",
                                      f"unix:{path},server=on,wait=off",
                                      *more],
                           self.trip.archive, qemu=self.trip.qemu,
                           console=f"{self.name}.console")
        self.monitor = Monitor(path)
        return self.guest

    def helper(self, program=REPAIR):
        """Good for one migration."""
        before = self.log.read_text().count("Accepted TCP_REPAIR")
        helper = self.where.spawn(program, f"{self.socket}.repair")
        until(lambda: self.log.read_text().count("Accepted TCP_REPAIR") >
              before, "passt-repair's connection")
        return helper

    def memory(self):
        """The file that the guest's memory is."""
        for fd in pathlib.Path(f"/proc/{self.guest.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if "memory-backend-memfd" in os.readlink(fd):
                    return open(fd, "rb")

    def leave(self):
        self.monitor("quit")
        self.guest.process.exit()
        end(self.pid)


class Trip:
    """A machine, and where it is."""

    def __init__(self, lab, kind, card="virtio-net-pci", queues=None):
        self.lab, self.kind, self.card = lab, kind, card
        qemu, most = QEMU[kind]
        self.qemu, self.queues = qemu(), queues or most
        self.stays = itertools.count()
        self.archive = initramfs(lab.tmp, kernel()[1])
        self.places = [(lab.named(second_host(lab)), "eth2"),
                       (lab.host, "eth0")]
        self.here = Host(self, self.places[1][0])
        self.guest = self.here.start().boot()
        self.guest.lease("udhcpc -i eth0 -n -q -f -s /lease")
        self.settle()

    def settle(self):
        until(lambda: self.guest.ok(
            "a=$(ip -6 addr show dev eth0 scope global); [ -n \"$a\" ] && "
            "! echo \"$a\" | grep tentative"), "an IPv6 address", 60)

    def wait_for_migration(self, there):
        def look():
            status = self.here.monitor.migration()
            assert status not in ("failed", "cancelled"), (
                self.here.monitor("query-migrate"),
                there.guest.process.output(), there.log.read_text())
            return status == "completed"
        until(look, "the end of the migration", MIGRATE_S)
        until(lambda: there.monitor("query-status")["status"] != "inmigrate",
              "its arrival")

    def migrate(self, passt=PASST, helpers=()):
        """To a new passt on the other host, perhaps with a passt-repair here
        and another one there."""
        where, device = self.places[0]
        there = Host(self, where, passt)
        for host, program in zip((self.here, there), helpers):
            host.helper(program)
        path = self.lab.path("migration")
        path.unlink(missing_ok=True)
        there.start("-S", "-incoming", f"unix:{path}")
        self.send(f"unix:{path}", 1 << 30)
        self.wait_for_migration(there)
        assert self.differing(there) == []
        direct(self.lab, device)
        there.monitor("cont")
        self.here.leave()
        self.places.reverse()
        self.here, self.guest = there, there.guest

    def differing(self, there):
        """Pages of memory that are not as they were: nobody has told QEMU that
        they had been written to.  QEMU 7.2 forgets some that the guest has written;
        with that one, those are told in which a frame of ours is another."""
        with self.here.memory() as old, there.memory() as new:
            pages = ((number, old.read(4096), new.read(4096))
                     for number in range(MEMORY_MIB * MIB // 4096))
            return [number for number, was, is_now in pages if was != is_now and
                    (self.kind != "old" or other_frames(was, is_now))]

    def send(self, uri, speed):
        """At @speed bytes a second."""
        self.here.monitor("migrate-set-parameters", **{"max-bandwidth": speed})
        self.here.monitor("migrate", uri=uri)


def other_frames(was, is_now):
    """Is a frame from us, behind its virtio-net header, another one there?"""
    return any(was[max(0, m.start() - 18):m.start() + FRAME] !=
               is_now[max(0, m.start() - 18):m.start() + FRAME]
               for m in re.finditer(re.escape(OUR_MAC), was))


def second_host(lab):
    """Its name: as host, beside it; peer sends to it when it is told."""
    name, peer = lab.netns(), lab.wires.name("peer")
    script(peer, f"link add eth2 type veth peer name eth0 netns {name}")
    lab.scope.callback(script, peer, "link del eth2")
    script(peer, f"""
        link set eth2 up
        addr add {GATEWAY[V6]}/128 dev eth2 nodad
        addr add {PEER[V6]}/128 dev eth2 nodad""")
    batch(name, "net.ipv4.ping_group_range=0 2147483647")
    script(name, f"""
        link set lo up
        link set eth0 up
        addr add {HOST[V4]}/24 dev eth0
        addr add {HOST[V6]}/64 dev eth0 nodad
        route add default via {GATEWAY[V4]}
        route add default via {GATEWAY[V6]}""")
    return name


def direct(lab, device):
    """Where peer has that address from now on."""
    peer = lab.wires.name("peer")
    script(peer, f"""
        route replace {HOST[V4]}/32 dev {device} src {PEER[V4]}
        route replace {HOST[V6]}/128 dev {device} src {PEER[V6]}""")


@contextlib.contextmanager
def trip_of(wires, *args):
    lab = Lab(wires)
    try:
        yield Trip(lab, *args)
    finally:
        direct(lab, "eth0")
        lab.close()


@pytest.fixture(scope="module", params=[(kind,) for kind in QEMU], ids=QEMU)
def trip(wires, request):
    """One at a time: the second host is at a fixed place."""
    with trip_of(wires, *request.param) as trip:
        yield trip


def shown(trip, family):
    return trip.lab.peer.run("curl", "-sS", "-m", 2,
                             f"http://{literal(HOST[family])}:{PORT}/",
                             check=False).stdout == PAGE


class Download(threading.Thread):
    """A connection of the guest, which has said that it is done and counts what it
    is sent, until the end."""

    def __init__(self, trip, family, name):
        super().__init__(daemon=True)
        self.trip, self.file = trip, f"/tmp/{name}"
        listener = trip.lab.peer.listen(family)
        trip.guest.run(
            f"(nc {PEER[family]} {listener.getsockname()[1]} </dev/null "
            f"| md5sum >{self.file}.new; mv {self.file}.new {self.file}) &")
        self.stream = trip.lab.peer.accept(listener)
        self.stream.settimeout(MIGRATE_S)
        self.sent, self.bytes, self.over = hashlib.md5(), 0, False

    def send(self, size):
        data = os.urandom(size)
        self.sent.update(data)
        self.stream.sendall(data)
        self.bytes += size

    def run(self):
        while not self.over:
            self.send(1 << 16)

    def end(self):
        self.over = True
        if self.ident:
            self.join()
        self.stream.close()
        until(lambda: self.trip.guest.ok(f"[ -e {self.file} ]"), "its end", 60)
        got = self.trip.guest.run(f"cat {self.file}; rm {self.file}")
        assert got.split()[0] == self.sent.hexdigest()


class Upload(threading.Thread):
    """The guest counts: from 1 on, a line each."""

    def __init__(self, trip, family):
        super().__init__(daemon=True)
        listener = trip.lab.peer.listen(family)
        trip.guest.run(f"seq 1 1000000000 | nc {PEER[family]} "
                       f"{listener.getsockname()[1]} >/dev/null &")
        self.stream = trip.lab.peer.accept(listener)
        self.stream.settimeout(MIGRATE_S)
        self.bytes, self.over, self.wrong = 0, False, None
        self.start()

    def run(self):
        expected, number = b"", 1
        while not self.over:
            data = self.stream.recv(1 << 16)
            while len(expected) < len(data):
                expected += b"".join(b"%d\n" % n for n in
                                     range(number, number + 10000))
                number += 10000
            if not data or not expected.startswith(data):
                self.wrong = self.bytes
                return
            expected = expected[len(data):]
            self.bytes += len(data)

    def end(self):
        self.over = True
        self.join()
        assert self.wrong is None, f"something else after {self.wrong} bytes"
        self.stream.close()


class Session:
    """A connection by which little is said, now and then."""

    def __init__(self, trip, family):
        self.trip, self.said = trip, 0
        listener = trip.lab.peer.listen(family)
        trip.guest.run(f"""rm -f /tmp/in; mkfifo /tmp/in; >/tmp/out
            sleep 1000 >/tmp/in &
            nc {PEER[family]} {listener.getsockname()[1]} </tmp/in >/tmp/out &""")
        self.stream = trip.lab.peer.accept(listener)

    def talk(self):
        self.said += 1
        self.trip.guest.run(f"echo question {self.said} >/tmp/in")
        assert self.stream.recv(100) == b"question %d\n" % self.said
        self.stream.send(b"answer %d\n" % self.said)
        until(lambda: self.trip.guest.ok(f"grep 'answer {self.said}' /tmp/out"),
              "the answer")


def download(trip, family):
    transfer = Download(trip, family, "download")
    transfer.send(4 * MIB)
    transfer.end()


def test_given_up(trip):
    """The guest stays where it is, with all that it has: when its migration is
    cancelled, and when it is over but for the last word."""
    monitor = trip.here.monitor
    transfer = Download(trip, V4, "given-up")
    transfer.send(MIB)
    for size in 1, 4 * MIB:
        trip.send("exec:cat >/dev/null", MIB)
        until(lambda: monitor.migration() == "active", "its begin")
        transfer.send(size)
        monitor("migrate_cancel")
        until(lambda: monitor.migration() == "cancelled", "its end", MIGRATE_S)
        transfer.send(size)
    for size in 1, MIB:
        if trip.queues > 1:
            trip.here.helper()
        trip.send("exec:cat >/dev/null", 1 << 30)
        until(lambda: monitor.migration() == "completed", "its end", MIGRATE_S)
        late = Background(transfer.send, 1000)  # nobody reads it now
        monitor("cont")
        late.result()
        transfer.send(size)
    transfer.end()
    assert "is broken" not in trip.here.log.read_text()


def test_without_helper(trip):
    """The guest goes on where it is brought to, at once; connections that it has
    are reset when it speaks."""
    trip.guest.run("mkdir /www && cat > /www/index.html << end\n"
                   f"{PAGE}end\nhttpd -p 80 -h /www")
    assert shown(trip, V4)
    listener = trip.lab.peer.listen(V4)
    trip.guest.run(f"nc {PEER[V4]} {listener.getsockname()[1]} </dev/zero "
                   ">/dev/null 2>/tmp/nc.log & echo $! > /tmp/nc")
    stream = trip.lab.peer.accept(listener)
    for _ in range(1000):
        assert stream.recv(1 << 16)
    threading.Thread(target=swallow, args=(stream,), daemon=True).start()
    trip.migrate()
    # Before it has said a word to the new host, but for the address that it has
    # made itself: that is asked for half a second later
    assert shown(trip, V4)
    until(lambda: shown(trip, V6), "a page by IPv6")
    until(lambda: trip.guest.ok("! kill -0 $(cat /tmp/nc)"), "nc's reset", 60)
    for family in V4, V6:
        download(trip, family)
        trip.guest.run(f"ping -c 1 -W 10 {PEER[family]}")


def swallow(stream):
    with contextlib.suppress(OSError):
        while stream.recv(1 << 16):
            pass


def go_on(trip, *moves):
    """Connections outlive all @moves."""
    down, up = Download(trip, V6, "moved"), Upload(trip, V4)
    quiet = Session(trip, V4)
    down.start()
    quiet.talk()

    def more():
        seen = down.bytes + MOVED, up.bytes + MOVED
        until(lambda: down.bytes > seen[0] and up.bytes > seen[1],
              "both transfers", 60 + MOVED / MIB)

    for move in moves:
        more()
        move()
        quiet.talk()
    more()
    print(f"{down.bytes} bytes to the guest, {up.bytes} from it")
    down.end()
    up.end()


def test_connections(trip):
    """There and back, with all that the guest has."""
    if trip.queues == 1:
        pytest.skip("this QEMU knows nothing of a device's state")
    go_on(trip, lambda: trip.migrate(helpers=(REPAIR, REPAIR)),
          lambda: trip.migrate(helpers=(REPAIR, REPAIR)))
    for family in V4, V6:
        download(trip, family)


# What theirs offers of virtio, and no more: the guest keeps what it has agreed to
ALIKE = "virtio-net-pci," + ",".join(f"{name}=off" for name in (
    "csum", "gso", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo", "host_tso4",
    "host_tso6", "host_ecn", "host_ufo", "indirect_desc", "event_idx"))


@pytest.mark.parametrize("trip", [("new", ALIKE, 1)], ids=["alike"], indirect=True)
def test_peer(trip, theirs):
    """To Debian unstable's passt and back, with its helper and ours: with a
    connection that is idle, one that the guest has half closed, and what both carry
    before and after.  Not in the middle of streams, see doc/testing.md."""
    half, quiet = Download(trip, V6, "half"), Session(trip, V4)
    for passt, helpers in ((theirs["passt"], (REPAIR, theirs["passt-repair"])),
                           (PASST, (theirs["passt-repair"], REPAIR))):
        quiet.talk()
        half.send(MIB)
        until(lambda: not unsent(half.stream), "what the guest is sent")
        trip.migrate(passt, helpers)
        quiet.talk()
        half.send(MIB)
    half.end()
    for family in V4, V6:
        download(trip, family)


def unsent(s):
    """Bytes that are not acknowledged"""
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4)))[0]
