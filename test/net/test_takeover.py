# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that takes the place of another one (--takeover)."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import socket
import struct
import threading
import time

import pytest

from lab import (BRIDGE, DEADLINE, DGRAM, GATEWAY, HOST, PASST, PASTA, PEER, PESTO,
                 REPAIR, ROOT_USER, UPLINK, USER, V4, alive, children, end,
                 run, tune_tcp, until)
from clients import Background
from test_capture import frames
from test_move import Front
from test_process import NO_PI, TAP, TUNSETIFF, VNET_HDR

TIMES = int(os.environ.get("TAKEOVERS", 25))    # in a row
TCP, UDP, SPLICED = 7001, 7002, 7003
PORTS = ("-t", f"{TCP},{SPLICED}", "-u", UDP)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Daemon:
    """One that serves a guest, and its successors, all started alike."""

    target = ()

    def __init__(self, lab, *argv):
        self.lab = lab
        self.argv = argv
        self.pid = lab.daemon(*argv, *self.target)

    def successor(self, *options, by=None, user=USER, argv=None, target=None):
        """Try to take over: exit status, output; and who it would be"""
        pidfile = self.lab.path("successor")
        target = self.target if target is None else target
        done = self.lab.host.run(
            *user, *(argv or self.argv), "--pid", pidfile, "--takeover",
            by or self.pid, *options, *target, check=False)
        return done, pidfile

    def replace(self, **kw):
        done, pidfile = self.successor(**kw)
        assert done.status == 0, done.stderr
        until(lambda: not alive(self.pid), "the end of the predecessor")
        self.pid = int(pidfile.read_text())
        self.lab.scope.callback(end, self.pid)

    def refused(self, why, **kw):
        done, _ = self.successor(**kw)
        assert done.status == 1
        assert re.fullmatch(f"Can't take over: {why}\n",
                            done.stderr), done.stderr
        assert alive(self.pid)


class Pasta(Daemon):
    def __init__(self, lab, *options):
        self.guest = lab.container()
        self.target = (self.guest.pid,)
        super().__init__(lab, PASTA, "--config-net", "-T", "none",
                         "-U", "none", *options)
        tune_tcp(self.guest)


class Passt(Daemon):
    """By a stream socket; a bridge is the guest's card"""

    def __init__(self, lab, *options):
        path = lab.path("stream")
        super().__init__(lab, PASST, "-s", path, "--mtu", "1500", *options)
        self.guest = lab.join(self.pid, 1500, BRIDGE, path)


class Vhost(Daemon):
    """By rings in a guest's memory, which a stand-in for QEMU has"""

    def __init__(self, lab, *options):
        self.path = lab.path("vhost")
        super().__init__(lab, PASST, "--vhost-user", "-s", self.path, "--mtu",
                         "1500", *options)
        self.front = Front(lab, self, 1500)
        self.guest = self.front.guest


KINDS = {"pasta": Pasta, "passt": Passt, "vhost": Vhost}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


class Stream:
    """Bytes without an end through a connection, until they shall end."""

    def __init__(self, sender, receiver):
        self.sender, self.receiver = sender, receiver
        self.sent, self.got = hashlib.md5(), hashlib.md5()
        self.moved = 0
        self.stop = False
        self.failed = []
        self.threads = [threading.Thread(target=f, daemon=True)
                        for f in (self.send, self.receive)]
        for t in self.threads:
            t.start()

    def send(self):
        try:
            while not self.stop:
                piece = os.urandom(40000)
                self.sender.sendall(piece)
                self.sent.update(piece)
            self.sender.shutdown(socket.SHUT_WR)
        except OSError as e:
            self.failed.append(e)

    def receive(self):
        try:
            while piece := self.receiver.recv(1 << 16):
                self.got.update(piece)
                self.moved += len(piece)
        except OSError as e:
            self.failed.append(e)

    def check(self):
        self.stop = True
        for t in self.threads:
            t.join(20)
            assert not t.is_alive()
        assert not self.failed
        assert self.moved and self.sent.digest() == self.got.digest()


class Callers(threading.Thread):
    """Somebody who calls at a port again and again, and is answered."""

    def __init__(self, connect, listener):
        super().__init__(daemon=True)
        self.connect, self.listener = connect, listener
        self.calls = 0
        self.stop = False
        self.failed = None
        threading.Thread(target=self.serve, daemon=True).start()
        self.start()

    def serve(self):
        while not self.stop:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with s:
                s.settimeout(20)
                s.sendall(s.recv(100))

    def run(self):
        while not self.stop and not self.failed:
            try:
                with self.connect() as s:
                    s.sendall(b"call")
                    assert s.recv(100) == b"call"
                    self.calls += 1
            except (OSError, AssertionError) as e:
                self.failed = e
            time.sleep(0.005)

    def check(self):
        self.stop = True
        self.join(20)
        assert not self.failed and self.calls


def connection(server, client, address):
    """Both ends"""
    listener = server.listen(V4)
    near = client.connect(V4, address, listener.getsockname()[1])
    return near, server.accept(listener)


def plain(ns, address, port):
    """Connect from @ns; the caller closes"""
    with ns.inside():
        s = socket.socket()
    s.settimeout(20)
    s.connect((address, port))
    return s


def test_load(lab, kind):
    daemon = kind(lab, *PORTS)
    guest, peer = daemon.guest, lab.peer
    near, far = connection(peer, guest, PEER[V4])
    up = Stream(near, far)
    near, far = connection(peer, guest, PEER[V4])
    down = Stream(far, near)
    server = peer.listen(V4)
    callers = [Callers(lambda: plain(peer, HOST[V4], TCP),
                       guest.listen(V4, TCP)),
               Callers(lambda: plain(guest, PEER[V4],
                                     server.getsockname()[1]), server)]
    streams = [up, down]
    if kind is Pasta:
        listener = guest.listen(V4, SPLICED)
        near = lab.host.connect(V4, "127.0.0.1", SPLICED)
        far = guest.accept(listener)
        streams += [Stream(near, far), Stream(far, near)]

    moved = {s: 0 for s in streams}
    for n in range(TIMES):
        daemon.replace()
        if n % 10 == 9:
            for s in streams:
                until(lambda: s.failed or s.moved > moved[s], "bytes to move")
                moved[s] = s.moved
    for s in streams + callers:
        s.check()


def tell(sender, data, to, receiver):
    """Whom a datagram that arrives is from; a busy machine may lose one."""
    receiver.settimeout(DEADLINE / 4)
    for _ in range(4):
        sender.sendto(data, to)
        with contextlib.suppress(TimeoutError):
            got, source = receiver.recvfrom(100)
            assert got == data
            return source
    raise AssertionError(f"{data} does not arrive")


def test_flows(lab, kind):
    """What sits idle is still there afterwards, and its ends pass."""
    daemon = kind(lab, *PORTS)
    guest, peer = daemon.guest, lab.peer
    pairs = [connection(peer, guest, PEER[V4]) for _ in range(20)]
    half = pairs.pop()
    half[0].shutdown(socket.SHUT_WR)
    assert half[1].recv(1) == b""
    server = peer.bind(V4)
    client = guest.bind(V4)
    there = PEER[V4], server.getsockname()[1]
    asker = tell(client, b"question", there, server)
    outside = peer.bind(V4)
    inside = guest.bind(V4, port=UDP)
    caller = tell(outside, b"call", (HOST[V4], UDP), inside)

    daemon.replace()
    tell(server, b"answer", asker, client)
    assert tell(client, b"more", there, server) == asker
    tell(inside, b"answer", caller, outside)
    assert tell(outside, b"again", (HOST[V4], UDP), inside) == caller
    half[1].sendall(b"rest")
    half[1].close()
    assert half[0].recv(100) == b"rest" and half[0].recv(1) == b""
    for near, far in pairs:
        near.sendall(b"up")
        assert far.recv(100) == b"up"
        far.sendall(b"down")
        assert near.recv(100) == b"down"


def test_spliced_datagrams(lab):
    """From loopback to loopback: the same ends, counts and state."""
    path = lab.path("control")
    daemon = Pasta(lab, "-u", UDP, "-c", path)

    def flow():
        told = lab.host.run(*USER, PESTO, "--flows", "--json", path)
        flow, = json.loads(told)["flows"]
        return (flow["path"], flow["state"], flow["to_guest"]["bytes"],
                flow["to_host"]["bytes"])

    inside = daemon.guest.bind(V4, port=UDP)
    client = lab.host.connect(V4, "127.0.0.1", UDP, DGRAM)
    client.send(b"call")
    _, caller = inside.recvfrom(100)
    was = flow()
    assert was == ("spliced", "unreplied", 4, 0)
    daemon.replace()
    assert flow() == was
    inside.sendto(b"answer", caller)
    assert client.recv(100) == b"answer"
    daemon.replace()
    client.send(b"again")
    assert inside.recvfrom(100) == (b"again", caller)
    assert flow() == ("spliced", "replied", 9, 6)


def test_same_cost(lab, kind):
    """The tenth has as many descriptors as the second, and no more memory."""
    daemon = kind(lab, *PORTS)
    pairs = [connection(lab.peer, daemon.guest, PEER[V4]) for _ in range(20)]
    daemon.replace()
    was = descriptors(daemon.pid), memory(daemon.pid)
    for _ in range(8):
        daemon.replace()
    until(lambda: descriptors(daemon.pid) <= was[0], "all that is not used "
          "to be closed")
    assert memory(daemon.pid) < was[1] + 200
    for near, far in pairs:
        near.close()
        assert far.recv(1) == b""


def memory(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^RssAnon:\s+(\d+)", text, re.M)[1])


def test_echo(lab, kind):
    """One long ping, of which nothing is lost."""
    daemon = kind(lab)
    ping = daemon.guest.spawn("ping", "-n", "-i", "0.02", "-c", "40",
                              PEER[V4])
    ping.says("icmp_seq=2 ")
    for _ in range(5):
        daemon.replace()
    assert ping.exit() == 0
    assert " 0% packet loss" in ping.output()


def test_stuck_bytes(lab):
    """What a pipe or our memory holds, since the receiver is slow."""
    pasta = Pasta(lab, *PORTS)
    listener = pasta.guest.listen(V4, SPLICED)
    near = lab.host.connect(V4, "127.0.0.1", SPLICED)
    pairs = [(near, pasta.guest.accept(listener)),
             connection(lab.peer, pasta.guest, PEER[V4])]
    pairs.append(tuple(reversed(connection(lab.peer, pasta.guest,
                                           PEER[V4]))))
    sent = []
    for sender, _ in pairs:
        sender.setblocking(False)
        sent.append(fill(sender))
    pasta.replace()
    for (sender, receiver), data in zip(pairs, sent):
        sender.close()
        got = hashlib.md5()
        while piece := receiver.recv(1 << 20):
            got.update(piece)
        assert got.digest() == data.digest()


def fill(sender):
    """Send until there is no more room; the sum of it"""
    digest = hashlib.md5()
    idle = 0
    while idle < 5:
        piece = os.urandom(1 << 16)
        try:
            digest.update(piece[:sender.send(piece)])
            idle = 0
        except BlockingIOError:
            idle += 1
            time.sleep(0.02)
    return digest


def test_rules(lab, kind):
    """Rules and the control socket stay as they are, whatever we were told."""
    control = lab.path("control")
    daemon = kind(lab, "--conf-path", control, "-t", TCP, "-u", "none")
    lab.host.run(PESTO, control, "-A", "-t", "7005")
    daemon.replace(by=control)
    assert "7005" in lab.host.run(PESTO, control, "-s")
    listener = daemon.guest.listen(V4, 7005)
    caller = lab.peer.connect(V4, HOST[V4], 7005)
    daemon.guest.accept(listener).sendall(b"here")
    assert caller.recv(100) == b"here"
    lab.host.run(PESTO, control, "-D", "-t", "7005")
    daemon.replace(by=control)
    with pytest.raises(ConnectionRefusedError):
        lab.peer.connect(V4, HOST[V4], 7005)


class Given(Daemon):
    """pasta has a tap device that somebody else has made: a successor has no
    descriptor of that number."""

    def __init__(self, lab, *options):
        self.guest = lab.container()
        with self.guest.inside():
            tap = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", UPLINK.encode(),
                                                    TAP | NO_PI | VNET_HDR))
        fd = os.dup2(tap, 97)
        pidfile = lab.path("first")
        argv = PASTA, "--fd", fd, *options
        lab.host.run(*USER, *argv, "--pid", pidfile, pass_fds=[fd])
        os.close(tap)
        os.close(fd)
        self.lab, self.argv = lab, argv
        self.pid = int(pidfile.read_text())
        lab.scope.callback(end, self.pid)
        for words in (f"link set {UPLINK} up",
                      f"addr add {HOST[V4]}/24 dev {UPLINK}",
                      f"route add default via {GATEWAY[V4]}"):
            self.guest.run("ip", *words.split())


def test_given(lab):
    daemon = Given(lab)
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    for _ in range(2):
        daemon.replace()
        near.sendall(b"up")
        assert far.recv(100) == b"up"
    connection(lab.peer, daemon.guest, PEER[V4])


def test_given_stream(lab):
    """The same options will do for passt with --fd, too."""
    ours, theirs = socket.socketpair()
    pidfile = lab.path("first")
    with ours, theirs:
        argv = PASST, "--fd", theirs.fileno()
        lab.host.run(*USER, *argv, "--pid", pidfile,
                     pass_fds=[theirs.fileno()])
        theirs.close()
        daemon = Passt.__new__(Passt)
        daemon.lab, daemon.argv = lab, argv
        daemon.pid = int(pidfile.read_text())
        lab.scope.callback(end, daemon.pid)
        daemon.replace()
        assert alive(daemon.pid)
    until(lambda: not alive(daemon.pid), "the end of who has lost its guest")


@pytest.mark.parametrize("foreground", [False, True], ids=["daemon", "fore"])
def test_last_word_late(lab, foreground):
    """Who has sent everything, and then is not heard for long, goes on; whoever was
    to take over says so where it was started."""
    daemon = Pasta(lab)
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    late = lab.host.spawn(
        "strace", "-p", daemon.pid, "-o", "/dev/null", "-e", "trace=sendmsg",
        "-e", "inject=sendmsg:delay_exit=60000000:when=2+")
    status = pathlib.Path(f"/proc/{daemon.pid}/status")
    until(lambda: "TracerPid:\t0" not in status.read_text(), "strace")
    done, _ = daemon.successor(*["-f"] * foreground)
    assert done.status == 1
    assert re.search("(^|\n)Can't take over: Connection timed out\n$",
                     done.stderr), done.stderr
    late.kill()
    near.sendall(b"still")
    assert far.recv(10) == b"still"
    daemon.replace()
    near.sendall(b"now")
    assert far.recv(10) == b"now"


@pytest.mark.parametrize("how", [(), ("--pcap-drops",),
                                 ("--pcap-size", 1 << 20, "--pcap-files", 2)],
                         ids=["plain", "drops", "size"])
def test_capture(lab, how):
    """One file, in which nothing is missing and nothing is twice."""
    path = lab.path("pcap")
    daemon = Pasta(lab, "--pcap", path, *how)
    port = lab.peer.bind(V4)
    client = daemon.guest.bind(V4)
    for n in range(40):
        if n % 10 == 5:
            daemon.replace()
        client.sendto(b"%d" % n, (PEER[V4], port.getsockname()[1]))
        assert port.recv(10) == b"%d" % n
    daemon.argv = [PASTA, *daemon.argv[1:daemon.argv.index("--pcap")]]
    daemon.replace()        # who does not want it ends it
    size = path.stat().st_size
    client.sendto(b"last", (PEER[V4], port.getsockname()[1]))
    assert port.recv(10) == b"last"
    assert path.stat().st_size == size
    said = [bytes.fromhex(payload) for payload, to in
            frames(path, "udp.payload", "udp.dstport")
            if to == str(port.getsockname()[1])]
    assert said == [b"%d" % n for n in range(40)]


def test_neighbours(lab):
    """The guest sees the host's, before and after."""
    daemon = Pasta(lab)
    assert daemon.guest.reachable(V4)
    mac = re.search(r"lladdr (\S+)", lab.host.run(
        "ip", "neigh", "show", PEER[V4]))[1]
    for _ in range(3):
        daemon.guest.run("ip", "neigh", "flush", "all")
        assert daemon.guest.reachable(V4)
        assert mac in daemon.guest.run("ip", "neigh", "show", PEER[V4])
        daemon.replace()


def test_migration(lab):
    """A guest that is on its way is not handed over; the helper is."""
    log = lab.path("log")
    daemon = Vhost(lab, "-l", log)
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    lab.host.spawn(REPAIR, f"{daemon.path}.repair")
    until(lambda: "Accepted TCP_REPAIR" in log.read_text(), "the helper")
    daemon.replace()
    assert daemon.front("save") == 0
    done, _ = daemon.successor()
    assert done.stderr.endswith(
        "Can't take over: a change of forwarding rules or a migration is going "
        "on\n"), done.stderr
    assert done.status == 1 and alive(daemon.pid)
    daemon.front("resume")
    until(lambda: "1 connections go on here" in log.read_text(), "the end")
    daemon.replace()
    near.sendall(b"up")
    assert far.recv(100) == b"up"


RRQ, DATA, ACK, ERROR, OACK = 1, 3, 4, 5, 6


class Transfer:
    """A file by TFTP, a block at a time."""

    def __init__(self, guest, *options):
        self.s = guest.socket(V4, DGRAM)
        self.s.settimeout(DEADLINE)
        self.got, self.block = b"", 0
        self.s.sendto(struct.pack("!H", RRQ) + b"".join(
            w.encode() + b"\0" for w in ("file", "octet", *options)),
            (GATEWAY[V4], 69))
        self.hear()

    def hear(self):
        """The next block; one that comes again, as we were slow, is told again that it
        has come"""
        while True:
            message, self.server = self.s.recvfrom(65535)
            self.op, block = struct.unpack("!HH", message[:4])
            if self.op != DATA:
                return False
            if block != self.block:
                break
            self.say(ACK)
        assert block == (self.block + 1) % 65536
        self.block = block
        self.got += message[4:]
        return len(message) == 4 + 512

    def say(self, op):
        self.s.sendto(struct.pack("!HH", op, self.block), self.server)

    def rest(self):
        more = True
        while more:
            self.say(ACK)
            more = self.hear()
        self.say(ACK)
        return self.got


@pytest.fixture
def serving(lab):
    """A pasta that serves a file, and what that has."""
    top = lab.path("tftp")
    top.mkdir()
    data = os.urandom(6000 * 512 + 1)
    (top / "file").write_bytes(data)
    for path in lab.tmp, top:
        path.chmod(0o777)
    return Pasta(lab, "--tftp", top), data


def test_transfer(serving):
    """A file that is on its way arrives, however slow its client is, also behind one that is
    not wanted any more."""
    pasta, data = serving
    first, second = Transfer(pasta.guest), Transfer(pasta.guest)
    first.say(ERROR)
    second.say(ACK)
    second.hear()
    pasta.replace()         # meanwhile it says nothing
    second.say(ACK)
    second.hear()
    rest = Background(second.rest)
    pasta.replace()
    assert rest.result() == data
    pasta.replace()
    assert len(Transfer(pasta.guest).got) == 512


def test_transfer_that_stands_still(serving):
    """A guest that asks for files and takes none keeps nobody from taking over, and goes on
    later."""
    pasta, data = serving
    still = Transfer(pasta.guest, "timeout", "255")
    assert still.op == OACK
    pasta.replace()
    assert len(Transfer(pasta.guest).got) == 512
    still.say(ACK)
    assert still.hear()
    assert still.rest() == data


def test_transfer_without_server(serving):
    """Who serves no files does not go on with one, either."""
    pasta, _ = serving
    transfer = Transfer(pasta.guest)
    assert has_file(pasta.pid)
    at = pasta.argv.index("--tftp")
    pasta.argv = (*pasta.argv[:at], *pasta.argv[at + 2:])
    pasta.replace()
    assert not has_file(pasta.pid)
    transfer.s.connect(transfer.server)
    transfer.s.send(struct.pack("!HH", ACK, 1))
    with pytest.raises(ConnectionRefusedError):
        while transfer.s.recv(1000):    # it may have come again
            pass


def has_file(pid):
    names = [os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    return any(name.endswith("/file") for name in names)


# --- who may not ---------------------------------------------------------------

def test_nobody_there(lab):
    done = lab.host.run(*USER, PASST, "--takeover", "1", check=False)
    assert done.status == 1
    assert done.stderr == ("Can't take over: nobody to take over from there: "
                           "Connection refused\n")


def test_no_room_for_pid(lab, kind):
    """Who has taken over stays, also without a PID file: nobody else is left."""
    daemon = kind(lab)
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    done, _ = daemon.successor("--pid", "/dev/full", "--label", "successor")
    assert done.status == 0
    assert "Can't write PID file: No space left on device" in done.stderr
    until(lambda: not alive(daemon.pid), "the end of the predecessor")
    pid = run("pgrep", "-f", f"{lab.path('successor')} .* --label successor")
    lab.scope.callback(end, int(pid))
    near.sendall(b"still there?")
    assert far.recv(20) == b"still there?"
    far.sendall(b"yes")
    assert near.recv(20) == b"yes"


def test_log(lab):
    """It goes on, whoever writes it, and whoever only wanted to."""
    log = lab.path("log")
    daemon = Passt(lab, "--log-file", log)
    was = log.read_text()
    assert "Template interface" in was
    daemon.refused("that is another kind of daemon.*", argv=(
        PASST, "--vhost-user", "-s", lab.path("other"), "--log-file", log))
    assert log.read_text().startswith(was)
    daemon.replace()
    assert log.read_text().startswith(was)
    # One line each to begin with
    assert len(re.findall(r"^passt \S+: .* \(\d+\)$", log.read_text(),
                          re.M)) == 3


def test_another_user(lab, kind):
    daemon = kind(lab)
    other = ("setpriv", "--reuid", "1001", "--regid", "1001",
             "--clear-groups")
    if kind is not Pasta:
        daemon.refused("it is not process .*", user=other)
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    # One who knows how, but is another user, and one who is not
    assert not as_user(lab.host, 1001, lambda: ask(call(daemon.pid)))
    assert as_user(lab.host, 1000, lambda: ask(call(daemon.pid)))
    near.sendall(b"still")
    assert far.recv(100) == b"still"


def as_user(ns, uid, function):
    """Whether @function returns something true in a process of @uid"""
    pid = os.fork()
    if not pid:
        with contextlib.suppress(OSError), ns.inside():
            os.setgid(uid)
            os.setuid(uid)
            os._exit(1 if function() else 0)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def call(pid):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(f"\0passt/takeover/{pid}")
    return s


HEAD = b"\xb1passt\r\n" + struct.pack(">II", 1, 1)


def ask(s):
    """The offer, or nothing"""
    try:
        s.sendall(HEAD)
        return s.recv(1 << 16)
    except OSError:
        return b""


def test_other_namespaces(lab):
    """Who sits in the guest, or in any container, has no descriptor of ours,
    though it is the same user and reaches the socket."""
    control = lab.path("control")
    pasta = Pasta(lab, "--conf-path", control)
    near, far = connection(lab.peer, pasta.guest, PEER[V4])
    pidfile = lab.path("pid")
    pidfile.write_text(f"{pasta.pid}\n")
    pidfile.chmod(0o666)
    why = "Can't take over: only who was started in the same namespaces may\n"
    done = pasta.guest.run(*pasta.argv, "--takeover", control, "--netns",
                           "/proc/self/ns/net", check=False)
    assert done.status == 1 and done.stderr.endswith(why), done.stderr
    # Nor does it, in the foreground, say in the PID file that it runs
    done = pasta.guest.run(*pasta.argv, "-f", "--pid", pidfile, "--takeover",
                           control, "--netns", "/proc/self/ns/net", check=False)
    assert done.status == 1 and done.stderr.endswith(why), done.stderr
    assert pidfile.read_text() == f"{pasta.pid}\n"
    # That one has another network namespace only
    done = lab.peer.run(*USER, *pasta.argv, "--takeover", control,
                        *pasta.target, check=False)
    assert done.status == 1 and done.stderr.endswith(why), done.stderr
    done = pasta.guest.run(*pasta.argv, "--takeover", pasta.pid, "--netns",
                           "/proc/self/ns/net", check=False)
    assert "nobody to take over" in done.stderr
    near.sendall(b"still")
    assert far.recv(100) == b"still"


def test_refusals(lab):
    pasta = Pasta(lab)
    passt = Passt(lab)
    pasta.refused("that is another kind of daemon.*", by=passt.pid)
    pasta.refused("it serves another namespace", target=(
        lab.container().pid,))
    pasta.refused("only one of both has --splice-only", argv=(
        PASTA, "--splice-only"))
    command = lab.pasta("--config-net")
    pasta.refused("a command that waits .*", by=command.daemon)
    done = lab.host.run(*USER, PASTA, "--takeover", pasta.pid, check=False)
    assert done.stderr.startswith("--takeover needs --netns or PID")


def test_root(lab):
    """Who has become nobody shares that user with others: there is the control
    socket, which is root's."""
    control = lab.path("control")
    pid = lab.daemon(PASST, "-s", lab.path("stream"), "-c", control,
                     user=ROOT_USER)
    argv = [PASST, "-s", lab.path("stream"), "-c", control, "--pid",
            lab.path("pid"), "--takeover"]
    done = lab.host.run(*argv, pid, check=False)
    assert "nobody to take over from there" in done.stderr
    lab.host.run(*argv, control)
    until(lambda: not alive(pid), "the end of the predecessor")
    end(int(lab.path("pid").read_text()))


def test_root_namespace(lab):
    """As a unit of systemd does it with one of ip netns"""
    control, name = lab.path("control"), lab.netns()
    argv = [PASTA, "--config-net", "--netns", name, "-c", control]
    pid = lab.daemon(*argv, user=ROOT_USER)
    guest = lab.named(name)
    near, far = connection(lab.peer, guest, PEER[V4])
    lab.host.run(*argv, "--pid", lab.path("pid"), "--takeover", control)
    until(lambda: not alive(pid), "the end of the predecessor")
    lab.scope.callback(end, int(lab.path("pid").read_text()))
    near.sendall(b"still")
    assert far.recv(100) == b"still"


def test_runas(lab):
    """By number it is the user that both become"""
    argv = [PASST, "-s", lab.path("stream"), "--runas", "1000"]
    pid = lab.daemon(*argv, user=ROOT_USER)
    lab.host.run(*argv, "--pid", lab.path("pid"), "--takeover", pid)
    until(lambda: not alive(pid), "the end of the predecessor")
    end(int(lab.path("pid").read_text()))


@pytest.mark.parametrize("later", (False, True))
def test_open_control_socket(lab, later):
    """Others may change rules there, and nothing else; also if they may only
    since then."""
    control = lab.path("control")
    pidfile = lab.path("pid")
    mask = "077" if later else "0"
    lab.host.run(*USER, "sh", "-c", f'umask {mask}; exec "$@"', "sh", PASST,
                 "-s", lab.path("stream"), "-c", control, "--pid", pidfile)
    pid = int(pidfile.read_text())
    lab.scope.callback(end, pid)
    control.chmod(0o660)
    done = lab.host.run(*USER, PASST, "--takeover", control, check=False)
    assert done.status == 1 and "Can't take over" in done.stderr
    lab.host.run(PESTO, control, "-s")
    assert alive(pid)


def test_root_by_control_socket(lab):
    """Root may open it, but is not the same user."""
    control = lab.path("control")
    pid = lab.daemon(PASST, "-s", lab.path("stream"), "-c", control)
    done = lab.host.run(PASST, "--takeover", control, check=False)
    assert done.status == 1 and "Can't take over" in done.stderr
    assert alive(pid)


def test_runas_by_control_socket(lab):
    """The socket is that of root, who starts both."""
    control = lab.path("control")
    argv = [PASST, "-s", lab.path("stream"), "-c", control, "--runas", "1000"]
    pid = lab.daemon(*argv, user=ROOT_USER)
    lab.host.run(*argv, "--pid", lab.path("pid"), "--takeover", control)
    until(lambda: not alive(pid), "the end of the predecessor")
    end(int(lab.path("pid").read_text()))


def test_container_with_hosts_network(lab):
    """Where it is in the user namespace of its user, as with Podman, it reaches
    the socket by number and is the same user there."""
    pid = lab.daemon(PASST, "-s", lab.path("stream"))
    done = lab.host.run(*USER, "unshare", "--map-current-user", "--user",
                        "--pid", "--fork", "--mount-proc", PASST,
                        "--takeover", pid, check=False)
    assert done.status == 1 and "Can't take over" in done.stderr
    # Of these namespaces that of processes is the only one which differs
    assert not as_user(lab.host, 1000, lambda: wants(pid, other_pid=True))
    assert as_user(lab.host, 1000, lambda: wants(pid, other_pid=False))
    assert alive(pid)


def wants(pid, other_pid):
    """Whether all is given to who has these descriptors"""
    s = call(pid)
    ask(s)
    take(s, ("user", "net", "user" if other_pid else "pid"))
    text = s.recv(100)
    return int.from_bytes(text[:4], "big") == LINK


# --- versions -------------------------------------------------------------------

def server(lab, serve):
    """Where @serve is given whoever connects; the path"""
    path = lab.path("server")
    listener = socket.socket(socket.AF_UNIX)
    lab.scope.callback(listener.close)
    listener.bind(str(path))
    os.chmod(path, 0o777)
    listener.listen()

    def run():
        s, _ = listener.accept()
        with s:
            serve(s)
    threading.Thread(target=run, daemon=True).start()
    return path


@pytest.mark.parametrize("said, why", (
    (HEAD[:8] + struct.pack(">II", 9, 9), "it is of a newer version"),
    (b"SSH-2.0-OpenSSH_9.2p1", "it has hung up"),
    (HEAD + struct.pack(">II", 32, 3) + b"xxx", ".*"),
    (HEAD + struct.pack(">II", 32, 1 << 31) + bytes(1000), "it has hung up"),
    (HEAD + struct.pack(">II", 33, 3) + b"why", "why"),
))
def test_not_understood(lab, said, why):
    path = server(lab, lambda s: (s.recv(100), s.sendall(said),
                                  s.shutdown(socket.SHUT_WR)))
    done = lab.host.run(*USER, PASST, "-s", lab.path("stream"), "--takeover",
                        path, check=False)
    assert done.status == 1
    assert re.search(f"^Can't take over: {why}\n\\Z", done.stderr, re.M)


def connected_as(uid, path):
    """Who it was that connected is told by the kernel"""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        os.setuid(uid)
        s = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            s.connect(str(path))
            socket.send_fds(theirs, [b"x"], [s.fileno()])
        os._exit(0)
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(pid, 0)
    return socket.socket(fileno=fds[0])


class Newer:
    """Between two of a kind, makes what one says that of a newer version:
    sections that are not known, and more in those that are."""

    GROWN = 16, 21, 23 # LAN, KEY, GUEST

    def __init__(self, control, client):
        self.client = client
        self.server = connected_as(1000, control)
        threading.Thread(target=self.forward, daemon=True).start()
        self.tell()

    def forward(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self.client, 1 << 16, 8)
            if not text:
                return
            socket.send_fds(self.server, [text], fds)
            for fd in fds:
                os.close(fd)

    def tell(self):
        text, begun = b"", False
        while True:
            piece, fds, _, _ = socket.recv_fds(self.server, 1 << 16, 253)
            if not piece:
                return
            text, out = text + piece, b""
            if not begun:       # it greets everybody
                begun = HEAD in text
                text = text[text.find(HEAD) if begun else 0:]
                out, text = (text[:16], text[16:]) if begun else (b"", text)
            if not begun:
                continue
            while len(text) >= 8:
                tag, size = struct.unpack(">II", text[:8])
                if len(text) < 8 + size:
                    break
                body, text = text[8:8 + size], text[8 + size:]
                if tag in self.GROWN:
                    body += b"more"
                if tag < 32:
                    out += struct.pack(">II", 999, 3) + b"new"
                out += struct.pack(">II", tag, len(body)) + body
            socket.send_fds(self.client, [out], fds)
            for fd in fds:
                os.close(fd)


def test_other_version(lab, kind):
    control = lab.path("control")
    daemon = kind(lab, *PORTS, "--conf-path", control)
    pairs = [connection(lab.peer, daemon.guest, PEER[V4]) for _ in range(9)]
    daemon.replace(by=server(lab, lambda s: Newer(control, s)))
    for near, far in pairs:
        near.sendall(b"up")
        assert far.recv(100) == b"up"


# --- what goes wrong -----------------------------------------------------------

def take(s, names=("user", "net", "pid")):
    """As a successor says it, by an ordinary user"""
    proof = [os.open(f"/proc/self/ns/{n}", os.O_RDONLY) for n in names]
    socket.send_fds(s, [struct.pack(">II", TAKE, 0)], proof)
    for fd in proof:
        os.close(fd)


def test_last(lab, kind):
    """Who has given all ends after the command that took it: a service manager that
    hears of that end finds the successor to be its own child, not the command's."""
    daemon = kind(lab)
    pidfile = lab.path("successor")
    command = lab.host.spawn(
        *USER, "strace", "-o", "/dev/null", "-e", "trace=exit_group", "-e",
        "inject=exit_group:delay_enter=500000", *daemon.argv, "--pid", pidfile,
        "--takeover", daemon.pid, *daemon.target)
    written = until(lambda: pidfile.exists() and pidfile.read_text(), "its number")
    lab.scope.callback(end, int(written))
    launcher, = children(command.pid)
    early = False
    while alive(launcher):
        early = early or not alive(daemon.pid) and alive(launcher)
    assert not early and command.exit() == 0
    until(lambda: not alive(daemon.pid), "the end of the predecessor")


class Late(Newer):
    """Between two, passes on what one gives when it has given up waiting, and goes on."""

    def __init__(self, control, client, goes_on):
        self.taken, self.goes_on = False, goes_on
        super().__init__(control, client)

    def forward(self):
        with contextlib.suppress(OSError):
            while True:
                text, fds, _, _ = socket.recv_fds(self.client, 1 << 16, 8)
                if not text:
                    return
                self.taken = bool(fds)
                socket.send_fds(self.server, [text], fds)
                for fd in fds:
                    os.close(fd)

    def tell(self):
        held = []
        while True:
            piece, fds, _, _ = socket.recv_fds(self.server, 1 << 16, 253)
            if not piece:
                break
            if self.taken:
                held.append(([piece], fds))
            else:
                self.client.sendall(piece)
        self.goes_on()
        for piece, fds in held:
            socket.send_fds(self.client, piece, fds)
            for fd in fds:
                os.close(fd)
        self.client.shutdown(socket.SHUT_WR)


def test_too_late(lab, kind):
    """Somebody who looks at what he was given when his predecessor has given up on him
    changes nothing of what that goes on with."""
    control = lab.path("control")
    daemon = kind(lab, *PORTS, "--conf-path", control)
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    streams = [Stream(near, far)]
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    streams.append(Stream(far, near))

    def move():
        moved = [s.moved for s in streams]
        until(lambda: all(s.moved > m + 500_000 for s, m in zip(streams, moved)), "bytes")
    move()
    done, _ = daemon.successor(by=server(
        lab, lambda s: Late(control, s, move)))
    assert done.status == 1 and alive(daemon.pid)
    assert "Can't take over: " in done.stderr
    move()
    daemon.replace()
    for s in streams:
        s.check()


LINK, TAKE = 17, 34

STEPS = {
    "silent": lambda s: s.settimeout(0.2),
    "asked": lambda s: ask(s),
    "garbage": lambda s: s.sendall(b"\xb1" + 15 * b"x"),
    "taken": lambda s: (ask(s), take(s)),
    "half": lambda s: (ask(s), take(s), s.recv(100)),
    "all": lambda s: (ask(s), take(s), read_all(s)),
    "nonsense": lambda s: (ask(s), take(s), read_all(s), s.sendall(8 * b"?"),
                           s.recv(1)),
    "stalls": lambda s: (ask(s), take(s), s.recv(100), s.settimeout(20),
                         until_closed(s)),
}


def read_all(s):
    """Until the section that is the end; descriptors are closed"""
    text = b""
    while not text.endswith(bytes(8)):
        piece, fds, _, _ = socket.recv_fds(s, 1 << 16, 253)
        for fd in fds:
            os.close(fd)
        if not piece:
            return
        text += piece


def until_closed(s):
    while s.recv(1 << 16):
        pass


@pytest.mark.parametrize("step", STEPS)
def test_dies(lab, kind, step):
    """A successor that ends in any step leaves all as it was."""
    daemon = kind(lab, *PORTS)
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    streams = [Stream(near, far)]
    near, far = connection(lab.peer, daemon.guest, PEER[V4])
    streams.append(Stream(far, near))
    until(lambda: all(s.moved for s in streams), "bytes")
    fds = descriptors(daemon.pid)
    as_user(lab.host, 1000, lambda: STEPS[step](call(daemon.pid)))
    moved = [s.moved for s in streams]
    until(lambda: all(s.moved > m for s, m in zip(streams, moved)), "bytes")
    assert alive(daemon.pid)
    until(lambda: descriptors(daemon.pid) <= fds, "its descriptors")
    daemon.replace()
    for s in streams:
        s.check()
