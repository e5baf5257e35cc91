# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens only after minutes, in seconds, under the real filter.

Not for the build that everybody has, but for one whose clock runs 100 times as
fast (make check-late): all daemons run at once, with traffic at both ends of a
time in which each timer has to fire.  The traces say which did.  Whoever makes
a call late that the filter lacks is dead by then.
"""

import contextlib
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import time

import pytest

from clients import read_all
from lab import (BRIDGE, BUILT, DGRAM, DNS, FAR, FRONT, GATEWAY, HOST, PASST,
                 PEER, PESTO, UPLINK, USER, V4, V6, Lab, alive, run, until)
from test_dns import Resolver, who_soon

# The same with a build as others have it, for so many seconds of patience
SOAK_S = int(os.environ.get("LATE_SOAK_S", 0))
# At an interval of 200 to 600 s: with the fast clock 2 to 6 s each
ADVERTISED = 1 if SOAK_S else 2
LOG_SIZE = 40960        # the least
STATS_S = 10
PORTS = iter(range(7100, 7200))
FAMILIES = (V4, V6)


# Where functions are; traces tell how far from timers_run
NM = subprocess.run(["nm", BUILT], check=True, capture_output=True,
                    text=True).stdout
BASE = int(re.search(r"^(\w+) \w timers_run$", NM, re.M)[1], 16)


class Daemon:
    """One that was started with or without a trace, and its guest"""

    def __init__(self, lab, kind, trace):
        self.lab, self.kind, self.trace = lab, kind, trace
        self.advertises = kind != "pasta-config"
        self.port = next(PORTS)
        self.path = lab.path(f"socket-{kind}-{trace}")
        self.log = lab.path(f"log-{kind}-{trace}")
        self.control = lab.path(f"control-{kind}-{trace}")
        options = ["-f", "-t", self.port, "-u", self.port, "-c", self.control,
                   "--log-file", self.log, "--log-size", LOG_SIZE]
        options += ["--trace"] if trace else \
            ["--stats", f"json,{STATS_S}" if kind == "pasta" else STATS_S]
        for address in DNS.values():
            options += ["--dns-forward", address]
        self.metrics = lab.path(f"metrics-{kind}-{trace}")
        options += ["--metrics-socket", self.metrics]
        if kind.startswith("pasta"):
            self.start_pasta(options)
        else:
            self.start_passt(options)

    def start_passt(self, options):
        if self.kind == "vhost":
            options += ["--vhost-user"]
        self.process = self.lab.host.spawn(
            *USER, PASST, "-s", self.path, "--mtu", 1500, *options)
        until(self.path.exists, "the socket")
        program = FRONT if self.kind == "vhost" else BRIDGE
        features = ["ffffffffffffffff"] if self.kind == "vhost" else []
        self.guest = self.lab.join(self.process.pid, 1500, program, self.path,
                                   *features)

    def start_pasta(self, options):
        config = ["--config-net"] if self.kind == "pasta-config" else []
        self.guest = self.lab.pasta(*config, *options, "-T", "auto",
                                    "-U", "auto")
        self.process = self.guest.process
        if config:
            until(lambda: self.guest.addresses(V6), "the addresses")
            return
        self.guest.sh(f"""
            sysctl -qw net.ipv6.conf.{UPLINK}.accept_dad=0
            ip link set {UPLINK} up
            ip addr add {HOST[V4]}/24 dev {UPLINK}
            ip addr add {HOST[V6]}/64 dev {UPLINK} nodad
            ip route add default via {GATEWAY[V4]}
            ip -6 route replace default via {GATEWAY[V6]}""")

    def output(self):
        return self.process.log.read_text(errors="replace")

    def said(self):
        return self.output() + self.log.read_text(errors="replace")

    def advertisements(self):
        text = self.guest.run("cat", "/proc/net/snmp6")
        return int(re.search(r"^Icmp6InRouterAdvertisements\s+(\d+)", text,
                             re.M)[1])

    def fired(self):
        """Which timers did: "module function" """
        offsets = set(re.findall(r"Timer at (-?\d+)$", self.output(), re.M))
        places = [hex(BASE + int(o)) for o in offsets]
        out = subprocess.run(["addr2line", "-f", "-s", "-e", BUILT, *places],
                             check=True, capture_output=True, text=True)
        lines = out.stdout.split()
        return {f"{at.split('.')[0]} {name}"
                for name, at in zip(lines[::2], lines[1::2])}

    def is_well(self):
        log = self.log.read_text() if self.log.exists() else ""
        assert alive(self.process.pid), self.output()[-4000:] + log[-4000:]


def exchange(client, server):
    client.sendall(b"question")
    assert server.recv(100) == b"question"
    server.sendall(b"answer")
    assert client.recv(100) == b"answer"


def out_tcp(d, family):
    with d.lab.peer.listen(family) as listener:
        port = listener.getsockname()[1]
        with d.guest.connect(family, PEER[family], port) as s:
            with d.lab.peer.accept(listener) as c:
                exchange(s, c)


def in_tcp(d, family):
    with d.guest.listen(family, d.port) as listener:
        with d.lab.peer.connect(family, HOST[family], d.port) as s:
            with d.guest.accept(listener) as c:
                exchange(s, c)


def talk_udp(client, server):
    client.send(b"question")
    data, where = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", where)
    assert client.recv(100) == b"answer"


def out_udp(d, family):
    with d.lab.peer.bind(family) as server:
        port = server.getsockname()[1]
        with d.guest.connect(family, PEER[family], port, DGRAM) as s:
            talk_udp(s, server)


def in_udp(d, family):
    with d.guest.bind(family, DGRAM, d.port) as server:
        with d.lab.peer.connect(family, HOST[family], d.port, DGRAM) as s:
            talk_udp(s, server)


def watch(d):
    """One who asks, and one who says nothing."""
    for page in "metrics", "flows":
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(d.metrics))
            s.sendall(f"GET /{page} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert read_all(s).endswith(b"\r\n0\r\n\r\n")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(d.metrics))
        assert read_all(s) == b""


def talk(d):
    d.is_well()
    for family in FAMILIES:
        for kind in out_tcp, in_tcp, out_udp, in_udp:
            kind(d, family)
            d.is_well()
        # Of a raw socket's or of an ICMP socket's make, as ping has it
        d.guest.run("ping", "-c", 1, "-W", 5, PEER[family])
    watch(d)
    d.is_well()


KINDS = ["stream", "vhost", "pasta-config", "pasta"]


@pytest.fixture(scope="module")
def daemons(wires):
    lab = Lab(wires)
    yield [Daemon(lab, kind, trace) for kind in KINDS
           for trace in (False, True)]
    lab.close()


def expected(d):
    """The timers that fire whatever else happens"""
    want = {"flow expire", "http expire"}
    if d.advertises:
        want |= {"guest advertise"}
    if d.kind.startswith("pasta"):
        want |= {"scan tick"}
    return want


def test_lives(daemons):
    """Traffic, what comes in time, and traffic again."""
    began = time.monotonic()
    before = {d: d.advertisements() for d in daemons}
    for d in daemons:
        talk(d)
    for d in daemons:
        until(lambda: not d.advertises or not alive(d.process.pid) or
              d.advertisements() >= before[d] + ADVERTISED,
              f"advertisements of {d.kind}", 30 + SOAK_S)
        d.is_well()
    until(lambda: time.monotonic() >= began + SOAK_S, "the end", SOAK_S + 30)
    for d in daemons:
        talk(d)


@pytest.mark.skipif(SOAK_S, reason="a clock like others tells nothing")
def test_timers(daemons):
    for d in daemons:
        d.is_well()
        if d.trace:
            want = expected(d)
            until(lambda: want <= d.fired(), f"{want} of {d.kind}")


@pytest.mark.skipif(SOAK_S, reason="a clock like others tells nothing")
def test_resolvers_change(daemons):
    """A timer settles what happens to resolv.conf."""
    daemons[0].lab.resolver("192.0.2.99")
    for d in daemons:
        # pasta tells nobody about resolvers unless asked to
        if d.trace and not d.kind.startswith("pasta"):
            until(lambda: "resolv look" in d.fired(), "resolv look")
        d.is_well()


# --- what has a time of its own, as it is seen from outside --------------------

def segments_in(s):
    """Of TCP_INFO: tcpi_segs_in"""
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
    return struct.unpack_from("=I", info, 140)[0]


def test_idle_is_probed(daemons):
    """Both ends silent for half a minute: the guest is asked whether it is
    still there, and answers."""
    with contextlib.ExitStack() as scope:
        idle = []
        for d in daemons:
            listener = scope.enter_context(d.lab.peer.listen(V4))
            s = scope.enter_context(d.guest.connect(
                V4, PEER[V4], listener.getsockname()[1]))
            c = scope.enter_context(d.lab.peer.accept(listener))
            exchange(s, c)
            idle.append((d, s, c, segments_in(s)))
        for d, s, c, before in idle:
            until(lambda: segments_in(s) >= before + 3, f"probes of {d.kind}",
                  30 + 4 * SOAK_S)
            d.is_well()
            exchange(s, c)


def test_guest_forgets(daemons):
    """The guest has closed, the far end takes its time, and the guest's kernel forgets
    the connection: it answers a probe with a reset, and what was acknowledged gets
    there."""
    sent = bytes(range(250)) * 80
    with contextlib.ExitStack() as scope:
        slow = []
        for d in daemons:
            d.guest.run("sysctl", "-qw", "net.ipv4.tcp_fin_timeout=1")
            listener = scope.enter_context(d.lab.peer.listen(V4))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            port = listener.getsockname()[1]
            with d.guest.connect(V4, PEER[V4], port) as s:
                c = scope.enter_context(d.lab.peer.accept(listener))
                s.sendall(sent)
            slow.append((d, port, c))
        for d, port, c in slow:
            until(lambda: f":{port}" not in
                  d.lab.host.run(PESTO, "--flows", d.control),
                  f"the end in {d.kind}", 30 + 4 * SOAK_S)
            assert read_all(c) == sent
            d.is_well()


def test_silent_control(daemons):
    """Who says nothing at the control socket makes room for the next."""
    for d in daemons:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(str(d.control))
            while s.recv(1 << 16):      # a greeting, then the end
                pass
        d.is_well()


def test_silent_server(lab):
    """pesto waits for nobody for ever: who does not accept, who does not speak,
    who has no place in the queue."""
    with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as first:
        s.bind(str(lab.path("silent")))
        s.listen(0)
        for args in [], ["-A", "-t", "80"], ["--flows"], ["--events"]:
            done = lab.host.run("timeout", 60 + 60 * bool(SOAK_S), PESTO, *args,
                                lab.path("silent"), check=False)
            assert done.status == 1 and "says nothing" in done.stderr
            s.accept()[0].close()
        first.connect(str(lab.path("silent")))
        done = lab.host.run("timeout", 120, PESTO, lab.path("silent"), check=False)
        assert done.status == 1 and "says nothing" in done.stderr


def test_stats(daemons):
    for d in daemons:
        if d.trace:
            continue
        before = d.output().count("\n")
        def more():
            out_udp(d, V4)
            return d.output().count("\n") > before + 2
        until(more, f"figures of {d.kind}", 30 + 4 * SOAK_S)
        d.is_well()


MANY = ",".join(map(str, range(20000, 20200, 2)))


def test_log_is_cut(daemons):
    """It goes on, and is no longer than it may be."""
    for d in daemons:
        # Traces do not go to the file, and pasta with a command says little
        if d.trace or d.kind.startswith("pasta"):
            continue
        def cut():      # a line for each rule; a client has 50 ms
            for change in "-A", "-D":
                d.lab.host.run(*USER, PESTO, change, "-t", MANY, d.control,
                               check=False)
            return "log truncated at" in d.log.read_text()
        until(cut, f"a shorter log of {d.kind}")
        assert d.log.stat().st_size <= LOG_SIZE
        d.is_well()


def test_silent_resolver(daemons):
    """The next one is asked, after two seconds."""
    lab = daemons[0].lab
    Resolver(lab.peer, PEER[V4], 1, silent=True)
    Resolver(lab.far, FAR[V4], 2)
    lab.resolver(PEER[V4], FAR[V4])
    for d in daemons:
        assert until(lambda: who_soon(d.guest, V4, 0.5), "an answer") == 2
        d.is_well()


def limit(d, most):
    """No number from @most on for what it opens."""
    run(*USER, "prlimit", "--pid", str(d.process.pid), f"--nofile={most}:")


def test_descriptors_are_back(daemons):
    """Listeners that found none left rest, and wake up by themselves."""
    for d in daemons:
        limit(d, 1)
        with d.guest.listen(V4, d.port) as listener, \
             socket.socket(socket.AF_UNIX) as control, \
             d.lab.peer.connect(V4, HOST[V4], d.port) as s:
            control.settimeout(30)
            control.connect(str(d.control))
            until(lambda: "Out of descriptors" in d.said() and
                  "Can't accept client" in d.said(), "both to be paused")
            limit(d, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            with d.guest.accept(listener) as c:
                exchange(s, c)
            assert control.recv(1)
        d.is_well()


def test_ends(daemons):
    for d in daemons:
        d.is_well()
        os.kill(d.process.pid, signal.SIGTERM)
        assert d.process.exit() == 0, d.output()[-2000:]
