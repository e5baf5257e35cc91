# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls fail while there is traffic, as the kernel may have it: at most
what was concerned is lost, nobody else notices, and afterwards all is as before.

strace lets calls of the running daemon fail: it has the kernel see a call with
the number -1, which no filter knows, so this is for builds that have none, as those
with the sanitizers, or one that makes an exception.  Here all calls fail now and
then, each with one error.  With each error that is plausible, one at a time:

    make faults
"""

import collections
import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest

import test_hostile
from lab import DEADLINE, DGRAM, HOST, PEER, PESTO, V4, V6, alive, until

WHOLE = "FAULTS" in os.environ
ONLY = os.environ.get("FAULTS", "") # calls by a pattern
PORT, LOCAL, CLIENT = 7001, 7002, 0.5
# What the manuals know, less what would be the daemon's own mistake.  Not close():
# an injected failure leaves open what the kernel would have closed.  No EAGAIN where
# there is something to be read: no kernel says that, and then nothing again.
FAULTS = {
    "socket": "EMFILE ENFILE ENOBUFS ENOMEM EACCES EPERM",
    "bind": "EADDRINUSE EADDRNOTAVAIL EACCES ENOMEM",
    "connect": "ECONNREFUSED ENETUNREACH EHOSTUNREACH ETIMEDOUT "
               "EADDRNOTAVAIL EAGAIN EPERM EACCES ENOBUFS EINTR",
    "listen": "EADDRINUSE ENOBUFS",
    "accept4": "EMFILE ENFILE ENOBUFS ENOMEM ECONNABORTED EPERM EPROTO EINTR "
               "EAGAIN ENETDOWN",
    "setsockopt": "ENOMEM ENOBUFS ENOPROTOOPT EPERM EINVAL EADDRNOTAVAIL",
    "getsockopt": "ENOPROTOOPT ENOBUFS ENOMEM",
    "getsockname": "ENOBUFS",
    "sendmsg": "ENOBUFS ENOMEM EAGAIN EINTR ECONNRESET EPIPE EPERM EMSGSIZE "
               "EHOSTUNREACH ENETUNREACH ECONNREFUSED",
    "sendmmsg": "ENOBUFS ENOMEM EAGAIN EINTR EPERM EMSGSIZE EHOSTUNREACH "
                "ENETUNREACH ECONNREFUSED EINVAL",
    "sendto": "ENOBUFS ENOMEM EAGAIN EINTR ECONNRESET EPIPE EPERM",
    "recvmsg": "ENOMEM ENOBUFS EINTR ECONNRESET ETIMEDOUT EHOSTUNREACH "
               "ECONNREFUSED",
    "recvmmsg": "ENOMEM ENOBUFS EINTR ECONNREFUSED EHOSTUNREACH",
    "recvfrom": "ENOMEM EINTR ECONNRESET ETIMEDOUT EHOSTUNREACH",
    "shutdown": "ENOTCONN ECONNRESET",
    "read": "EAGAIN EINTR",
    "pread64": "EIO ENOMEM",
    "write": "EAGAIN EINTR ENOBUFS ENOMEM EINVAL",
    "writev": "EAGAIN EINTR ENOBUFS ENOMEM EINVAL",
    "splice": "EAGAIN EINTR ENOMEM EPIPE ECONNRESET",
    "pipe2": "EMFILE ENFILE ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_pwait": "EINTR",
    "setns": "EPERM ENOMEM",
    "openat": "EMFILE ENFILE ENOMEM EACCES ENOENT",
    "mmap": "ENOMEM EMFILE",
    "munmap": "ENOMEM",
    "madvise": "ENOMEM EAGAIN",
    "inotify_add_watch": "ENOSPC ENOMEM",
    "ioctl": "ENOMEM EINTR",
}
# What the sanitizers do themselves
MEMORY = ("mmap", "munmap", "madvise")
KINDS = ("stream", "tap", "rings")
BLOCK = os.urandom(1 << 16)


class Lost(Exception):
    """A connection, or a datagram.  Wrong bytes are another matter."""


def exchange(sender, receiver):
    try:
        sender.sendall(BLOCK)
        got = b""
        while len(got) < len(BLOCK):
            got += (more := receiver.recv(1 << 16))
            if not more:
                raise Lost
    except OSError as e:
        raise Lost from e
    assert got == BLOCK


class Net:
    """A daemon, its guest, and who talks by them."""

    def __init__(self, lab, kind):
        self.lab, self.kind = lab, kind
        self.control = lab.path("control")
        options = ["-t", PORT, "-u", PORT, "-c", self.control]
        if kind == "tap":
            options += ["-T", LOCAL, "-U", LOCAL]
        self.guest = test_hostile.start(lab, kind, *options)
        self.pid = self.guest.daemon
        self.kept, self.lost = [], 0
        self.injected = collections.Counter()
        # Who asks, where, and who answers
        self.ways = [(self.guest, PEER, lab.peer, PORT),
                     (lab.peer, HOST, self.guest, PORT)]
        if kind == "tap":
            here = {V4: "127.0.0.1", V6: "::1"}
            self.ways += [(lab.host, here, self.guest, PORT),
                          (self.guest, here, lab.host, LOCAL)]

    def well(self):
        assert alive(self.pid), self.guest.process.output()[-8000:]
        assert self.guest.bridge.popen.poll() is None

    def connect(self, way, family, patience):
        client, address, server, port = self.ways[way]
        with contextlib.ExitStack() as scope:
            listener = scope.enter_context(server.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == V6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(("::" if family == V6 else "0.0.0.0", port))
            listener.listen()
            s = client.socket(family)
            for one in listener, s:
                one.settimeout(patience)
            try:
                s.connect((address[family], port))
                c, _ = listener.accept()
                c.settimeout(patience)
            except OSError as e:
                s.close()
                raise Lost from e
        return s, c

    def stream(self, way, family, patience):
        s, c = self.connect(way, family, patience)
        with s, c:
            exchange(s, c)
            exchange(c, s)

    def datagram(self, way, family, patience):
        client, address, server, port = self.ways[way]
        with server.bind(family, DGRAM, port) as c, \
             client.socket(family, DGRAM) as s:
            c.settimeout(patience / 2)
            s.settimeout(patience / 2)
            try:
                s.sendto(BLOCK[:1000], (address[family], port))
                data, source = c.recvfrom(2000)
                c.sendto(data, source)
                back = s.recv(2000)
            except OSError as e:
                raise Lost from e
        assert data == back == BLOCK[:1000]

    def rules(self, _way, _family, patience):
        for change in "-A", "-D":
            done = self.lab.host.run("timeout", 2 * patience, PESTO, change,
                                     "-t", "7100-7103", self.control,
                                     check=False)
            if done.status:
                raise Lost

    def all(self):
        for way in range(len(self.ways)):
            for family in V4, V6:
                yield self.stream, way, family
                yield self.datagram, way, family
        yield self.rules, None, None

    def talk(self):
        """While calls fail."""
        for f, way, family in self.all():
            with contextlib.suppress(Lost):
                f(way, family, CLIENT)
            self.well()
        for pair in list(self.kept):
            try:
                exchange(*pair)
            except Lost:
                self.kept.remove(pair)
                self.lost += 1
                for s in pair:
                    s.close()

    def works(self):
        """Afterwards, with what may have to be sent again."""
        def one(f, *args):
            self.well()
            try:
                f(*args, DEADLINE)
                return True
            except Lost:
                return False
        for f, way, family in self.all():
            until(lambda: one(f, way, family), f"{f.__name__} {way} {family}",
                  3 * DEADLINE)
        while len(self.kept) < len(self.ways):
            pair = self.connect(len(self.kept), V4, DEADLINE)
            for s in pair:
                s.settimeout(2 * CLIENT)
            self.kept.append(pair)

    @contextlib.contextmanager
    def failing(self, faults, when):
        """Each CALL:ERROR of these fails at first after so many calls, and then
        every so many."""
        log = self.lab.path("strace")
        argv = ["strace", "-f", "-o", log, "-p", self.pid, "-e",
                "trace=" + ",".join(call for call, _ in faults)]
        for call, error in faults:
            argv += ["-e", f"inject={call}:error={error}:when={when}"]
        with subprocess.Popen([str(a) for a in argv], text=True,
                              stderr=subprocess.PIPE) as p:
            assert "attached" in p.stderr.readline()
            try:
                yield
            finally:
                p.send_signal(signal.SIGINT)
                p.communicate(timeout=DEADLINE)
        for call in re.findall(r"^\d+ +(\w+)\(.*\(INJECTED\)$",
                               log.read_text(errors="replace"), re.M):
            self.injected[call] += 1

    def round(self, faults, when):
        before, self.lost = sum(self.injected.values()), 0
        try:
            with self.failing(faults, when):
                self.talk()
            self.works()
            assert self.lost <= sum(self.injected.values()) - before
        except BaseException:
            print("\nwhile", faults, when, "failed")
            raise


def status(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return re.search(rf"^{name}:\s+(\d+)", f.read(), re.M)[1]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def one_by_one(faults):
    """Each error in between, and one of each call always."""
    for call, errors in faults.items():
        if re.search(ONLY, call):
            yield [(call, errors[0])], "1+"
            for error in errors:
                yield [(call, error)], "2+3"


@pytest.mark.parametrize("kind", KINDS)
def test_faults(lab, kind):
    net = Net(lab, kind)
    filtered = status(net.pid, "Seccomp") == "2"
    if filtered and not WHOLE:
        pytest.skip("a filter is in the way")
    faults = {call: errors.split() for call, errors in FAULTS.items()
              if filtered or call not in MEMORY}
    net.works()
    before = descriptors(net.pid)
    rounds = one_by_one(faults) if WHOLE else [
        ([(call, errors[0]) for call, errors in faults.items()], "2+7")]
    for round in rounds:
        net.round(*round)
    never = sorted(call for call in faults if re.search(ONLY, call)
                   and not net.injected[call])
    print(f"\n{kind}: never made: {never}")
    print(f"{kind}: {sum(net.injected.values())} calls failed, "
          f"{dict(net.injected)}")
    assert net.injected or ONLY not in ("", ".")  # some have no use for it
    # Sockets of a namespace are made ahead, the more the more are asked for
    spare = 4 * 64 if kind == "tap" else 0
    until(lambda: descriptors(net.pid) <= before + spare + 8, "few descriptors",
          400)
    until(lambda: test_hostile.rests(net.pid), "rest", 60)
