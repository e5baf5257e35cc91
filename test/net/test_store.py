# SPDX-License-Identifier: GPL-2.0-or-later
"""What a service manager keeps between two processes (--fd-store)."""

import contextlib
import os
import pathlib
import socket
import struct
import threading

import pytest

from lab import (BRIDGE, HOST, PASST, PEER, PYTHON, ROOT, USER, V4, Process,
                 alive, children, end, until)
from test_endings import broken, fill
from test_takeover import Stream, Transfer, connection

TCP, UDP = 7001, 7002
PORTS = ("-t", TCP, "-u", UDP)

# Descriptors have the numbers that sd_listen_fds(3) wants
START = """
import fcntl, os, sys
fds = [int(n) for n in sys.argv[1].split(",") if n]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 5000) for fd in fds]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """Has a store, from which the next process is started."""

    def __init__(self, lab, *options):
        self.lab, self.options = lab, options
        self.store, self.said = [], []
        self.path = lab.path("stream")
        notify = lab.path("notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(notify))
        os.chmod(notify, 0o777)
        self.env = {**os.environ, "NOTIFY_SOCKET": str(notify)}
        lab.scope.callback(self.close)
        self.busy = threading.Lock()    # held: it reads nothing more
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()
        self.start()

    def leave(self):
        """Nobody is left who would read from another socket of this number"""
        if self.listener.is_alive():
            self.socket.shutdown(socket.SHUT_RDWR)
            self.listener.join()
            self.socket.close()

    def close(self):
        self.leave()
        self.drop()

    def drop(self):
        while self.store:
            os.close(self.store.pop())

    def listen(self):
        while True:
            try:
                text, fds, _, _ = socket.recv_fds(self.socket, 4096, 253)
            except OSError:
                return
            if not text:
                return
            with self.busy:
                pass
            words = text.decode().split("\n")
            if words == ["BARRIER=1"]:      # what was sent before is here
                os.close(*fds)
                continue
            assert "FDNAME=passt" in words
            if "FDSTORE=1" in words:
                self.store[:0] = fds    # in no order that means something
            if "FDSTOREREMOVE=1" in words:
                self.drop()
            self.said.append(words[0])

    def start(self):
        pidfile = self.lab.path("pid")
        given = list(self.store)
        done = self.lab.host.run(
            *USER, PYTHON, "-c", START, ",".join(map(str, given)), PASST, "-s",
            self.path, "--mtu", "1500", "--fd-store", "--pid", pidfile,
            *self.options, env=self.env, pass_fds=given, check=False)
        assert done.status == 0, done.stderr
        self.pid = int(pidfile.read_text())
        self.lab.scope.callback(end, self.pid)
        if given:
            until(lambda: "FDSTOREREMOVE=1" in self.said, "the store's end")
        self.said = []
        return done

    def stop(self):
        os.kill(self.pid, 15)
        until(lambda: not alive(self.pid), "the end")
        assert self.state(), "a state that nobody keeps"

    def state(self):
        """Its descriptor in the store"""
        for fd in list(self.store):
            if os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:passt"):
                return fd
        return None

    def guest(self):
        return self.lab.join(self.pid, 1500, BRIDGE, self.path)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_restart(lab):
    """The process ends, and no connection does, the guest's neither; whoever
    speaks meanwhile is heard later."""
    passt = Manager(lab, *PORTS)
    guest, peer = passt.guest(), lab.peer
    idle = [connection(peer, guest, PEER[V4]) for _ in range(300)]
    half = idle.pop()
    half[0].shutdown(socket.SHUT_WR)
    assert half[1].recv(1) == b""
    streams = []
    for _ in range(2):
        near, far = connection(peer, guest, PEER[V4])
        streams.append(Stream(near, far))
        near, far = connection(peer, guest, PEER[V4])
        streams.append(Stream(far, near))
    outside, inside = peer.bind(V4), guest.bind(V4, port=UDP)
    # Back and forth: it is remembered for two minutes, which this may take on a busy
    # machine, and not for half a minute
    for _ in range(2):
        outside.sendto(b"call", (HOST[V4], UDP))
        _, caller = inside.recvfrom(100)
        inside.sendto(b"yes", caller)
        assert outside.recv(100) == b"yes"
    until(lambda: all(s.moved for s in streams), "bytes")
    listener = guest.listen(V4, TCP)
    for _ in range(3):
        before = descriptors(passt.pid)
        passt.stop()
        idle[0][1].sendall(b"meanwhile")
        late = peer.connect(V4, HOST[V4], TCP)  # the host's kernel answers
        passt.start()
        assert idle[0][0].recv(100) == b"meanwhile"
        guest.accept(listener).sendall(b"served")
        assert late.recv(100) == b"served"
        late.close()
        assert descriptors(passt.pid) <= before + 2
        moved = [s.moved for s in streams]
        until(lambda: all(s.moved > m for s, m in zip(streams, moved)),
              "more bytes")
    inside.sendto(b"answer", caller)
    assert outside.recv(100) == b"answer"
    half[1].sendall(b"rest")
    half[1].close()
    assert half[0].recv(100) == b"rest" and half[0].recv(1) == b""
    for near, far in idle:
        near.sendall(b"up")
        assert far.recv(100) == b"up"
    for s in streams:
        s.check()


def swap(passt, change):
    """Have the state in the store be another one"""
    fd = passt.state()
    data = change(os.pread(fd, 1 << 24, 0))
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)


BAD = {
    "empty": lambda b: b"",
    "garbage": lambda b: os.urandom(1000),
    "cut": lambda b: b[:-8],
    "short": lambda b: b[:100],
    "newer": lambda b: b[:8] + struct.pack(">II", 9, 9) + b[16:],
    "other descriptors": lambda b: b[:-16] + os.urandom(16),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_state(lab, what):
    """One line at most, and a plain start; nothing is left open."""
    passt = Manager(lab, *PORTS)
    plain = descriptors(passt.pid)
    guest = passt.guest()
    near, far = connection(lab.peer, guest, PEER[V4])
    passt.stop()
    swap(passt, BAD[what])
    done = passt.start()
    told = [line for line in done.stderr.splitlines() if "not complete" in line]
    assert len(told) == (what not in ("empty", "garbage"))
    until(lambda: descriptors(passt.pid) <= plain, "no more descriptors")
    until(lambda: not passt.store, "the store to be empty")
    with pytest.raises(ConnectionResetError):
        far.recv(1)     # nobody has said that this was all
    passt.guest().reachable(V4)


def test_lost_descriptor(lab):
    """The manager may keep fewer than there were."""
    passt = Manager(lab, *PORTS)
    guest = passt.guest()
    pairs = [connection(lab.peer, guest, PEER[V4]) for _ in range(9)]
    passt.stop()
    sockets = [fd for fd in passt.store if os.readlink(
        f"/proc/self/fd/{fd}").startswith("socket:")]
    passt.store.remove(sockets[5])
    os.close(sockets[5])
    assert "not complete" in passt.start().stderr
    assert pairs and alive(passt.pid)


def test_transfer(lab):
    """Who is being sent a file gets the rest, also if it begins as a state does."""
    top = lab.path("tftp")
    top.mkdir()
    data = b"\xb1passt\r\n" + struct.pack(">II", 1, 1) + os.urandom(50_000)
    (top / "file").write_bytes(data)
    for path in lab.tmp, top:
        path.chmod(0o777)
    passt = Manager(lab, "--tftp", top)
    guest = passt.guest()
    transfers = [Transfer(guest) for _ in range(2)]
    for _ in range(2):
        passt.stop()
        passt.store.reverse()
        assert "not complete" not in passt.start().stderr
    for transfer in transfers:
        assert transfer.rest() == data


def test_manager_gone(lab):
    """What it could not be given ends as without the option, but whoever lacks a part of a
    stream is not told that this is its end."""
    log = lab.path("log")
    passt = Manager(lab, *PORTS, "--log-file", log)
    guest = passt.guest()
    listener = lab.peer.listen(V4)
    idle = guest.connect(V4, PEER[V4], listener.getsockname()[1])
    other = lab.peer.accept(listener)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s = guest.connect(V4, PEER[V4], listener.getsockname()[1])
    slow = lab.peer.accept(listener)
    sent = fill(s)
    passt.leave()
    os.kill(passt.pid, 15)
    until(lambda: not alive(passt.pid), "the end")
    assert log.read_text().count("Connections can't be kept: ") == 1
    assert broken(slow) < sent
    assert idle.fileno() >= 0
    with contextlib.suppress(ConnectionResetError):
        assert other.recv(1) == b""


def test_manager_late(lab):
    """What it reads when nobody waits for that any more is not true any more."""
    log = lab.path("log")
    passt = Manager(lab, *PORTS, "--log-file", log)
    near, far = connection(lab.peer, passt.guest(), PEER[V4])
    with passt.busy:
        os.kill(passt.pid, 15)
        near.sendall(b"meanwhile")
        until(lambda: not alive(passt.pid), "the end")
    assert log.read_text().count("Connections can't be kept: ") == 1
    assert broken(far) == len(b"meanwhile")
    until(passt.state, "what it has read")
    passt.start()
    assert passt.guest().reachable(V4)


def test_no_manager(lab):
    """Then it is as without the option."""
    pidfile = lab.path("pid")
    done = lab.host.run(*USER, PASST, "-s", lab.path("stream"), "--fd-store",
                        "--pid", pidfile, *PORTS, check=False)
    assert done.status == 0
    assert "--fd-store: no service manager: " in done.stderr
    pid = int(pidfile.read_text())
    os.kill(pid, 15)
    until(lambda: not alive(pid), "the end")


# --- the one that there is -------------------------------------------------------

SYSTEMD = "/lib/systemd/systemd"
UNIT = "passt@lab.service"
# In namespaces of its own; of this system's files, groups, settings and console it
# has none that it could write
SETUP = f"""
mount --make-rprivate / && mount -o remount,ro,bind / &&
mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys &&
mount --bind /dev/null /dev/console && mount --bind /dev/null /dev/kmsg &&
mount -t tmpfs none /run && mount -t tmpfs none /usr/local/bin &&
umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 99
mkdir -p /run/systemd/system/{UNIT}.d
cp "$1" /usr/local/bin/passt
cp "$2" /run/systemd/system/
cat >/run/systemd/system/{UNIT}.d/lab.conf <<end
[Unit]
DefaultDependencies=no
[Service]
Environment="OPTIONS=--mtu 1500"
StandardError=append:/run/errors
end
cat >/run/systemd/system/lab.target <<end
[Unit]
DefaultDependencies=no
end
exec env container=lab {SYSTEMD} --unit=lab.target --log-target=null
"""


class Systemd:
    """As process 1 of a namespace, in the network namespace host"""

    def __init__(self, lab):
        unit = ROOT / "contrib/systemd/passt@.service"
        self.lab = lab
        root = pathlib.Path("/sys/fs/cgroup")
        if (root / "unified").exists():
            root /= "unified"
        if not (root / "cgroup.procs").exists():
            pytest.skip("no cgroup2 for systemd")
        group = root / f"lab-{lab.wires.id}"
        try:
            group.mkdir()
        except OSError as e:
            pytest.skip(f"no group of processes for systemd: {e}")
        lab.scope.callback(self.leave, group)
        self.process = Process(
            ["sh", "-c", """echo $$ >"$5/cgroup.procs" &&
                exec nsenter --net="$1" unshare -mpuiC --mount-proc --fork \
                --kill-child sh -c "$4" sh "$2" "$3" """,
             "sh", lab.host.netns, PASST, unit, SETUP, group],
            lab.path("systemd.log"))
        lab.scope.callback(self.process.kill)
        until(lambda: self.process.popen.poll() is not None or
              children(self.process.pid), "its process")
        self.pid, = children(self.process.pid) or [None]
        until(lambda: self.process.popen.poll() is not None or
              self("is-system-running").stdout == "running\n", "systemd")

    def leave(self, group):
        def empty():
            with contextlib.suppress(OSError):
                for inner, _, _ in os.walk(group, topdown=False):
                    os.rmdir(inner)
            return not group.exists()
        until(empty, "the end of its processes")

    def __call__(self, *words):
        return self.lab.host.run("nsenter", "-t", self.pid, "-m", "-p",
                                 "systemctl", *words, check=False)

    def run(self, word):
        done = self(word, UNIT)
        assert done.status == 0, pathlib.Path(
            f"/proc/{self.pid}/root/run/errors").read_text()

    def main(self):
        """Its number of the daemon"""
        return int(self("show", "-P", "MainPID", UNIT).stdout)


@pytest.mark.skipif(not os.path.exists(SYSTEMD), reason="no systemd here")
def test_systemd(lab):
    """The unit of contrib: started again and upgraded under traffic"""
    manager = Systemd(lab)
    if manager.process.popen.poll() is not None:
        pytest.skip(f"systemd cannot run here: {manager.process.output()}")
    manager.run("start")
    guest = lab.join(None, 1500, BRIDGE,
                     f"/proc/{manager.pid}/root/run/passt-lab.socket")
    near, far = connection(lab.peer, guest, PEER[V4])
    up = Stream(near, far)
    near, far = connection(lab.peer, guest, PEER[V4])
    down = Stream(far, near)
    idle = connection(lab.peer, guest, PEER[V4])
    until(lambda: up.moved and down.moved, "bytes")
    numbers = [manager.main()]
    for word in "restart", "reload", "restart":
        manager.run(word)
        numbers.append(manager.main())
        moved = up.moved, down.moved
        until(lambda: up.moved > moved[0] and down.moved > moved[1], word)
    assert len(set(numbers)) == 4 and all(numbers)
    idle[0].sendall(b"up")
    assert idle[1].recv(100) == b"up"
    for stream in up, down:
        stream.check()
