#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure this daemon and others side by side, path by path.

     guest             host                  peer
    +-------+  tap   +--------+    veth    +-------+
    | load  |--------| daemon |------------| load  |
    +-------+        +--------+            +-------+
                     198.51.100.2          .1, .10

host and peer are network namespaces; the guest is the namespace that pasta
makes or, for the unix paths, one whose tap a bridge (bridge.c, a stand-in for
QEMU) joins to the socket of passt.  For the long paths a relay with a delay
(relay.c) takes the place of the veth pair.

Each figure is the median of several runs; the daemons take turns, and each run
has a new daemon, a new guest and new load generators.  The limit is
the same load without a daemon: between host and peer, or inside host where the
path is the loopback one.  System calls are counted in a run of their own, since
counting costs time.  Nothing here passes or fails.
"""

import argparse
import contextlib
import copy
import datetime
import fnmatch
import functools
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import shutil
import signal
import statistics
import sys
import time

from ground import (BULK, DATAGRAM, ECHO, HOST, LOAD, LOCAL, OUT_PORTS, PEER,
                    ROOT, STALL_S, TMP, USER, Failed, FloorSpliced, FloorTap,
                    FloorUnix, Native, Passt, Pasta, Qemu, Slirp4netns, Uml,
                    Vhost, Wires, adopt_orphans, command, counter_type,
                    cpu_seconds, delete_namespaces, end_strays)

DEBIANS = "/usr/bin/passt"
UDP_BYTES = 1400
JUMBO_BYTES = 60000     # a datagram that fills a link of 65520, nearly
BESIDE_BYTES = 100
IDLE_S = 5
REST_S = 60             # what many do at rest shows only over a while
SPARE = 300             # descriptors a daemon needs besides those of its ports
FIRST_PORT = 1024       # the first that an ordinary user may bind
TICK_S = 0.1            # an interval of this length without a byte is silence
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
SETTLE_S = 0.5          # until many transfers are under way
LANES = 4               # what one transfer sends does not hold up another
LONG_S = 10             # a long wire needs this to show more than slow start

# --- loads --------------------------------------------------------------------
#
# Each is a context that starts the servers and gives the function that runs the
# clients: seconds in, rate, work done and what else was seen out.

@contextlib.contextmanager
def bulk(client, server, address, streams, reverse=False, idle=0):
    """TCP by iperf3: the client sends, or the server with @reverse."""
    def run(seconds):
        out = client.spawn(
            scope, "iperf3", "-c", address, "-p", BULK, "-J", "-t", seconds,
            "-P", streams, "-i", TICK_S if streams == 1 else 1,
            *(["-R"] if reverse else [])).finish(seconds + STALL_S)
        data = json.loads(out)
        if "error" in data:
            raise Failed(data["error"])
        got = data["end"]["sum_received"]
        silent = sum(not i["sum"]["bytes"] for i in data["intervals"])
        return {"rate": got["bits_per_second"] / 1e9,
                "work": got["bytes"] / 1e9,
                "silent_ms": silent * TICK_S * 1e3 if streams == 1 else 0}

    with contextlib.ExitStack() as scope:
        server.spawn(scope, "iperf3", "-s", "-1", "-p", BULK,
                     "--forceflush").says("listening")
        if idle:
            server.serve(scope, "serve", ECHO)
            hold(scope, client, address, idle)
        yield run


@contextlib.contextmanager
def echo(kind, client, server, address, idle=0):
    """One byte there and back: rr in one connection, crr in one each, urr in
    datagrams."""
    def run(seconds):
        got = client.load(kind, address, ECHO, seconds, seconds=seconds)
        if not got["n"]:
            raise Failed(f"{kind} got no answer")
        return got | {"rate": got["n"] / got["seconds"], "work": got["n"]}

    with contextlib.ExitStack() as scope:
        server.serve(scope, "userve" if kind == "urr" else "serve", ECHO)
        if idle:
            hold(scope, client, address, idle)
        yield run


@contextlib.contextmanager
def beside(way, kind, count, size, client, server, address):
    """Transactions of @size bytes beside @count long transfers one way."""
    def run(seconds):
        long = client.spawn(scope, LOAD, "pull" if way == "in" else "push",
                            address, BULK, count)
        long.says("^ready$", 60)
        time.sleep(SETTLE_S)
        got = client.load(kind, address, ECHO, seconds, size, seconds=seconds)
        data = float(long.stop().split()[-1])
        if not got["n"]:
            raise Failed(f"{kind} got no answer")
        return got | {"rate": got["p50"], "work": data / 1e9,
                      "bulk": data * 8 / 1e9 / (got["seconds"] + SETTLE_S)}

    with contextlib.ExitStack() as scope:
        server.serve(scope, "flood" if way == "in" else "sink", BULK)
        server.serve(scope, "userve" if kind in ("urr", "dns") else "serve",
                     ECHO)
        yield run


def hold(scope, client, address, count):
    client.spawn(scope, LOAD, "hold", address, ECHO, count).says("^ready$", 60)


@contextlib.contextmanager
def some_active(count, active, client, server, address):
    """@count connections, of which @active ask and answer all the time."""
    def run(seconds):
        got = client.load("many", address, ECHO, seconds, active,
                          seconds=seconds)
        return got | {"rate": got["n"] / got["seconds"], "work": got["n"]}

    with contextlib.ExitStack() as scope:
        server.serve(scope, "serve", ECHO)
        hold(scope, client, address, count - active)
        yield run


@contextlib.contextmanager
def datagrams(client, server, address, how, size=UDP_BYTES):
    """UDP as fast as the sender can; the rate is what arrives."""
    def run(seconds):
        sent = client.load("send", address, DATAGRAM, seconds, size, how,
                           seconds=seconds)
        time.sleep(0.3)         # what still is in a queue
        n = float(sink.stop().split()[-1])
        return {"rate": n / sent["seconds"] / 1e3, "work": n,
                "sent": sent["n"] / sent["seconds"] / 1e3}

    with contextlib.ExitStack() as scope:
        sink = server.serve(scope, "recv", DATAGRAM)
        yield run


# --- paths --------------------------------------------------------------------

GB, TRANSACTION = ("s/GB", 1), ("us", 1e6)


class Path:
    """A row: what to start, the load on it, its units, what limits it."""

    down = False            # is less more?
    others = True           # are all measured, or ours and the peer alone?
    wire = None             # or round trip time in ms and loss in per cent
    floor, hows = None, ()  # or what makes the least that could do it

    def __init__(self, name, unit, cost, load, native, link="tap",
                 control="cubic", **options):
        self.name, self.unit, self.cost = name, unit, cost
        self.load, self.native, self.control = load, native, control
        self.link, self.options = link, options

    def measure(self, side, wires, seconds, counter=None):
        """Fresh daemon, or none at all if @side is None; one load."""
        if wires.control != self.control:
            wires.settle(self.control)
        with contextlib.ExitStack() as scope:
            daemon = (side.begin(self, scope, wires)
                      if side else Native(wires))
            guest = daemon.guest
            run = scope.enter_context(self.load(guest, wires))
            count = counter(scope, daemon.pid) if counter else None
            again, cpu = guest.retransmissions(), cpu_seconds(daemon.pid)
            got = run(seconds)
            if not got["work"]:
                raise Failed("nothing arrived")
            got["cpu"] = ((cpu_seconds(daemon.pid) - cpu) / got["work"]
                          * self.cost[1])
            got["retransmissions"] = guest.retransmissions() - again
            if count:
                got["syscalls"] = count.count() / got["work"]
            return got


class Beside(Path):
    """How long a small request takes beside bulk, and what the bulk gets."""

    down = True
    others = False

    def __init__(self, way, count, kind="rr", link="tap", mtu=65520):
        prefix = "" if link == "tap" else link + "-"
        suffix = "" if mtu == 65520 else f"/{mtu}"
        super().__init__(
            f"{prefix}load-{kind}-{way}/{count}{suffix}", "us", GB,
            lambda g, w: beside(way, kind, count, BESIDE_BYTES, g, w.peer,
                                PEER), None, link=link, mtu=mtu,
            **({} if link == "tap" else {"lanes": LANES}))


class BesideSpliced(Beside):
    """The same from the host's loopback address to servers of the guest."""

    def __init__(self, way, count):
        Path.__init__(
            self, f"splice-load-rr-{way}/{count}", "us", GB,
            lambda g, w: beside(way, "rr", count, BESIDE_BYTES, w.host, g,
                                LOCAL), None)


class New(Path):
    """One new connection and a byte back, beside idle ones: how long?"""

    down = True

    def __init__(self, name, load, native):
        super().__init__(name, "us", TRANSACTION, load, native)

    def measure(self, side, wires, seconds, counter=None):
        got = super().measure(side, wires, seconds, counter)
        if got["failed"]:
            raise Failed(f"{got['failed']:.0f} connections failed")
        return got | {"rate": got["p50"]}


class Ours(Path):
    """What only passt and pasta do, or are told to do here."""

    others = False


class SpliceOut(Ours):
    """From the namespace's loopback address to a server of the host."""

    def __init__(self, name, unit, cost, load, native, **options):
        super().__init__(
            name, unit, cost, lambda g, w: load(g, w.host, LOCAL), native,
            ports=OUT_PORTS, **options)


class LongPath(Path):
    """Bulk over a wire with a delay: new wires each time, the same losses."""

    others = False

    def __init__(self, way, rtt_ms, loss):
        super().__init__(f"long-{way}/{rtt_ms}ms/{loss}%", "Gbit/s", GB,
                         lambda g, w: bulk(g, w.peer, PEER, 1, way == "in"),
                         None)
        self.wire = rtt_ms, loss


class LossyLink(Path):
    """Bulk between a guest whose link loses frames, or has some of the guest's
    come late, and a near or far peer."""

    others = False

    def __init__(self, way, rtt_ms, loss, late=0):
        name = f"lossy-{way}/{rtt_ms}ms/{late or loss}%" + " late" * bool(late)
        super().__init__(name, "Gbit/s", GB, bulk_way(way, 1), None,
                         link="unix", mtu=1500, loss=loss, late=late)
        self.wire = rtt_ms and (rtt_ms, 0)


class Start(Path):
    """From exec to a connection of a command in there to the outside."""

    down = True

    def __init__(self):
        super().__init__("start-to-ready", "ms", ("ms", 1), None, None)

    def measure(self, side, wires, seconds, counter=None):
        with contextlib.ExitStack() as scope:
            wires.peer.serve(scope, "serve", ECHO)
            got = wires.host.load("start", *USER, *side.start, seconds=10)
        return got | {"rate": got["ready"]}


class Idle(Path):
    """What a daemon with its defaults costs while nothing happens."""

    down = True

    def __init__(self, name, unit, look):
        super().__init__(name, unit, ("ms/s", 1), None, None)
        self.look = look

    def measure(self, side, wires, seconds, counter=None):
        with contextlib.ExitStack() as scope:
            pid = side.links["tap"](scope, wires, ports=()).pid
            time.sleep(1)
            return {"rate": self.look(pid)}


class IdleMany(Ours):
    """Many of them at rest: what no other process shares with them, and what CPU
    they take, in sum."""

    down = True

    def __init__(self, count):
        super().__init__(f"idle-many/{count}", "MiB", ("ms/s", 1), None, None)
        self.count = count

    def measure(self, side, wires, seconds, counter=None):
        with contextlib.ExitStack() as scope:
            pids = [side.links["tap"](scope, wires, ports=()).pid
                    for _ in range(self.count)]
            time.sleep(2)
            before = sum(map(cpu_seconds, pids))
            time.sleep(REST_S)
            used = sum(map(cpu_seconds, pids)) - before
            sizes = [own_and_shared(pid) for pid in pids]
        return {"rate": sum(own for own, _ in sizes),
                "proportional": sum(part for _, part in sizes),
                "cpu": used / REST_S * 1e3}


class ForwardAll(Path):
    """Memory for as many forwarded ports, half of them TCP, as descriptors
    allow: by number, since `all` would leave out the ephemeral ones."""

    down = True
    others = False

    def __init__(self, what):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.each = min((limit - SPARE) // 2, 65536 - FIRST_PORT)
        super().__init__(f"forward-all-{what}/{2 * self.each}", "MiB",
                         ("ms/s", 1), None, None)
        self.what = what

    def measure(self, side, wires, seconds, counter=None):
        ports = f"{FIRST_PORT}-{FIRST_PORT + self.each - 1}"
        before = kernel_memory(wires.host)
        with contextlib.ExitStack() as scope:
            pid = side.links["tap"](scope, wires, ports=(
                "-t", ports, "-u", ports, "-T", "none", "-U", "none")).pid
            time.sleep(1)
            got = {"kernel": kernel_memory(wires.host) - before,
                   "resident": resident(pid), "descriptors": descriptors(pid)}
        if got["descriptors"] < 2 * self.each:
            raise Failed(f"only {got['descriptors']} descriptors")
        return got | {"rate": got[self.what]}


class Limit(Path):
    """What the machine gives to a process that only moves bytes."""

    def __init__(self, what):
        super().__init__(f"limit-{what}", "Gbit/s", GB, None, f"limit-{what}",
                         link=None)
        self.what = what

    def measure(self, side, wires, seconds, counter=None):
        got = wires.host.load(self.what, seconds, tool="limit",
                              seconds=seconds)
        return {"rate": got["n"] * 8 / 1e9 / got["seconds"],
                "cpu": got["seconds"] / (got["n"] / 1e9)}


def kernel_memory(place):
    """Slab of the machine and what its sockets hold, in MiB."""
    slab = re.search(r"^Slab:\s+(\d+)",
                     pathlib.Path("/proc/meminfo").read_text(), re.M)
    pages = re.findall(r"\bmem (\d+)",
                       place.run("cat", "/proc/thread-self/net/sockstat"))
    return (int(slab[1]) / 1024 +
            sum(map(int, pages)) * resource.getpagesize() / 2**20)


def idle_cpu(pid):
    before = cpu_seconds(pid)
    time.sleep(IDLE_S)
    return (cpu_seconds(pid) - before) / IDLE_S * 1e3


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def own_and_shared(pid):
    """MiB that are its own, and those with its part of what it shares."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    size = {k: int(v) / 1024 for k, v in
            re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)}
    return size["Private_Clean"] + size["Private_Dirty"], size["Pss"]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def outward(what, *args):
    """A load whose client is the guest and whose server is the peer."""
    return lambda guest, wires: what(*args, guest, wires.peer, PEER)


def inward(what, *args):
    """From the peer through a forwarded port to a server in the guest."""
    return lambda guest, wires: what(*args, wires.peer, guest, HOST)


def local(what, *args):
    """From a loopback address of the host to a server in the guest."""
    return lambda guest, wires: what(*args, wires.host, guest, LOCAL)


def bulk_way(way, streams):
    return lambda g, w: bulk(g, w.peer, PEER, streams, way == "in")


# How floor.c may wait
BOTH, ONE_WAIT, KEEP = ("wait", "block"), ("wait",), ("wait", "keep")


def spliced(kind, port, out=False):
    return BOTH, functools.partial(FloorSpliced, kind=kind, port=port, out=out)


def linked(make, kind, mtu=65520, hows=BOTH):
    return hows, functools.partial(make, kind=kind, mtu=mtu)


# Rows that are measured beside floor.c as well
FLOORS = {
    "splice-bulk/1": spliced("bulk", BULK),
    "splice-bulk/8": spliced("bulk", BULK),
    "splice-bulk-out/1": spliced("bulk", BULK, True),
    "splice-bulk-out/8": spliced("bulk", BULK, True),
    "splice-rr": spliced("copy", ECHO),
    "splice-rr-out": spliced("copy", ECHO, True),
    "splice-crr": spliced("copy", ECHO),
    "splice-crr-out": spliced("copy", ECHO, True),
    "splice-udp-rr": spliced("udp", ECHO),
    "splice-udp-rr-out": spliced("udp", ECHO, True),
    "tap-rr": linked(FloorTap, "tcp"),
    "tap-crr": linked(FloorTap, "tcp", hows=ONE_WAIT),
    "tap-udp-rr": linked(FloorTap, "udp"),
    "tap-tcp-in/65520/1": linked(FloorTap, "tcp", hows=KEEP),
    "unix-rr": linked(FloorUnix, "tcp"),
    "unix-crr": linked(FloorUnix, "tcp", hows=ONE_WAIT),
    "unix-in/65520": linked(FloorUnix, "tcp", hows=KEEP),
    "unix-in/1500": linked(FloorUnix, "tcp", 1500, KEEP),
    "unix-udp-in/65520": linked(FloorUnix, DATAGRAM, hows=ONE_WAIT),
    "unix-udp-in/1500": linked(FloorUnix, DATAGRAM, 1500, ONE_WAIT),
}


def paths():
    """All rows; those with a floor once without it, once beside it."""
    for path in daemon_paths():
        yield path
        if path.name in FLOORS:
            path = copy.copy(path)
            path.hows, path.floor = FLOORS[path.name]
            path.others = False
            path.name = f"floor-{path.name}"
            yield path


def daemon_paths():
    for what in ("memcpy", "tap-in", "tap-out", "stream-0", "stream-2",
                 "stream-128"):
        yield Limit(what)
    for way in ("in", "out"):
        for mtu in (65520, 1500):
            for streams in (1, 8, 64):
                yield Path(f"tap-tcp-{way}/{mtu}/{streams}", "Gbit/s", GB,
                           bulk_way(way, streams), f"bulk-{way}/{streams}",
                           mtu=mtu)
            yield Path(f"tap-tcp-{way}/{mtu}/1/bbr", "Gbit/s", GB,
                       bulk_way(way, 1), f"bulk-{way}/1/bbr", mtu=mtu,
                       control="bbr")
    yield Path("tap-rr", "1/s", TRANSACTION, outward(echo, "rr"), "rr")
    yield Path("tap-crr", "1/s", TRANSACTION, outward(echo, "crr"), "crr")
    yield Path("tap-crr-in", "1/s", TRANSACTION, inward(echo, "crr"), "crr-in")
    yield Path("tap-udp-rr", "1/s", TRANSACTION, outward(echo, "urr"), "urr")
    for idle in (1000, 9000):
        yield Path(f"tap-rr-idle/{idle}", "1/s", TRANSACTION,
                   lambda g, w, n=idle: echo("rr", g, w.peer, PEER, n), "rr")
    for idle in (0, 9000):
        yield New(f"tap-new-idle/{idle}",
                  lambda g, w, n=idle: echo("crr", g, w.peer, PEER, n), "new")
    for streams in (1, 8, 64):
        for control in ("cubic", "bbr"):
            end = f"/{streams}" + ("" if control == "cubic" else "/bbr")
            yield Path(f"splice-bulk{end}", "Gbit/s", GB,
                       lambda g, w, n=streams: bulk(w.host, g, LOCAL, n),
                       f"loopback{end}", control=control)
            yield SpliceOut(f"splice-bulk-out{end}", "Gbit/s", GB,
                            lambda *ends, n=streams: bulk(*ends, n),
                            f"loopback{end}", control=control)
    yield Path("splice-bulk-idle/1000", "Gbit/s", GB,
               lambda g, w: bulk(w.host, g, LOCAL, 1, idle=1000), "loopback/1")
    for kind in ("rr", "crr"):
        yield Path(f"splice-{kind}", "1/s", TRANSACTION, local(echo, kind),
                   f"loopback-{kind}")
        yield SpliceOut(f"splice-{kind}-out", "1/s", TRANSACTION,
                        functools.partial(echo, kind), f"loopback-{kind}")
    yield SpliceOut("splice-udp-rr-out", "1/s", TRANSACTION,
                    functools.partial(echo, "urr"), "loopback-urr")
    yield Ours("splice-udp-rr", "1/s", TRANSACTION, local(echo, "urr"),
               "loopback-urr")
    yield Ours("tap-some-active/100", "1/s", TRANSACTION,
               outward(some_active, 100, 100), None)
    yield Ours("tap-some-active/10000", "1/s", TRANSACTION,
               outward(some_active, 10000, 100), None)
    for idle in (0, 4000):
        yield New(f"splice-new-idle/{idle}",
                  lambda g, w, n=idle: echo("crr", w.host, g, LOCAL, n),
                  "loopback-new")
    for how in ("plain", "gso"):
        yield Path(f"udp-in/{how}", "1000/s", TRANSACTION,
                   lambda g, w, h=how: datagrams(w.peer, g, HOST, h),
                   f"udp-in/{how}")
    for how in ("plain", "gso"):
        yield Path(f"udp-out/{how}", "1000/s", TRANSACTION,
                   lambda g, w, h=how: datagrams(g, w.peer, PEER, h),
                   f"udp-out/{how}")
    for link in ("unix", "vhost", "uml"):
        for way in ("in", "out"):
            for mtu in (65520, 1500):
                yield Path(f"{link}-{way}/{mtu}", "Gbit/s", GB,
                           bulk_way(way, 1), f"bulk-{way}/1", link=link,
                           mtu=mtu)
                if link == "uml":
                    continue
                yield Path(f"{link}-{way}/{mtu}/bbr", "Gbit/s", GB,
                           bulk_way(way, 1), f"bulk-{way}/1/bbr", link=link,
                           mtu=mtu, control="bbr")
        for mtu, size in () if link == "uml" else ((65520, JUMBO_BYTES), (1500, UDP_BYTES)):
            yield Ours(f"{link}-udp-in/{mtu}", "1000/s", TRANSACTION,
                       lambda g, w, n=size: datagrams(w.host, g, HOST, "plain",
                                                      n),
                       None, link=link, mtu=mtu)
        for kind in ("rr", "crr"):
            yield Path(f"{link}-{kind}", "1/s", TRANSACTION,
                       outward(echo, kind), kind, link=link)
    for way in ("in", "out"):
        for count in (1, 30, 300):
            yield Beside(way, count)
            yield Beside(way, count, mtu=1500)
        for kind in ("prr", "urr", "crr", "dns", "ping"):
            yield Beside(way, 30, kind=kind)
        yield BesideSpliced(way, 30)
    for link in ("unix", "vhost"):
        for way in ("in", "out"):
            for kind in ("rr", "prr", "dns", "ping"):
                yield Beside(way, 30, kind=kind, link=link)
    yield Start()
    yield Idle("idle-cpu", "ms/s", idle_cpu)
    yield Idle("idle-memory", "MiB", resident)
    yield Idle("idle-descriptors", "", descriptors)
    yield IdleMany(100)
    for what in ("kernel", "resident"):
        yield ForwardAll(what)
    for way in ("in", "out"):
        for rtt_ms in (1, 10, 50, 200):
            for loss in (0, 0.1):
                yield LongPath(way, rtt_ms, loss)
    for way in ("in", "out"):
        for rtt_ms in (0, 50):
            for loss in (0, 0.1, 1, 5):
                yield LossyLink(way, rtt_ms, loss)
    yield LossyLink("out", 0, 0, 1)
    yield LossyLink("out", 50, 0, 1)


# --- the plan -----------------------------------------------------------------

STAMP = [LOAD, "stamp", PEER, ECHO]


class Side:
    """A daemon under measurement: how it links a guest and starts a command."""

    def __init__(self, name, links, start=None, mtu=65520):
        self.name, self.mtu = name, mtu
        self.links = {link: functools.partial(kind, program)
                      for link, (kind, program) in links.items()}
        self.start = start

    def takes(self, path):
        return (path.link in self.links and
                (path.others or self.name in PAIR) and
                path.options.get("mtu", 0) <= self.mtu)

    def begin(self, path, scope, wires):
        return self.links[path.link](scope, wires, **path.options)


class Floor:
    """What is not a daemon, but does what no daemon can do without."""

    def __init__(self, name, how):
        self.name, self.how = name, how

    def takes(self, path):
        return self.how in path.hows

    def begin(self, path, scope, wires):
        return path.floor(self.how, scope, wires)


def passt_side(name, directory):
    passt, pasta = directory / "passt", directory / "pasta"
    links = {"tap": (Pasta, pasta), "unix": (Passt, passt)}
    if "--vhost-user" in command(passt, "--help", check=False):
        links |= {"vhost": (Vhost, passt), "uml": (Uml, passt)}
    return Side(name, links, [pasta, "--config-net", "--", *STAMP])


def ours(path, options):
    """Copied: an ordinary user need not see into the repository, and a build
    in the middle of a run must not change what is measured."""
    shutil.copy(path, TMP / "passt")
    os.symlink("passt", TMP / "pasta")
    if not options:
        return passt_side("ours", TMP)
    scripts = TMP / "with"
    scripts.mkdir()
    for name in "passt", "pasta":
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec {TMP / name} {shlex.join(options)} "$@"\n')
        script.chmod(0o755)
    return passt_side("ours", scripts)


def program(peer, name):
    """PEER is a passt, or the directory of both."""
    peer = pathlib.Path(peer).absolute()
    return (peer if peer.is_dir() else peer.parent) / name


def other(peer):
    return passt_side("peer", program(peer, "passt").parent)


def slirp4netns(program):
    """Its command starts first, tells its PID and holds the pipe open, whose
    end ends the daemon."""
    inner = 'echo $$; exec "$@" 4>&1 >&3'
    script = f"""exec 3>&1
        unshare --user --map-root-user --net sh -c '{inner}' sh "$@" |
        {{ read -r pid
           exec {program} --configure --mtu 65520 --exit-fd 0 $pid tap0 >&2; }}
        """
    return Side("slirp4netns", {"tap": (Slirp4netns, program)},
                ["sh", "-c", script, "sh", *STAMP])


def qemu(program):
    """Its user network has an MTU of 1500, always."""
    return Side("qemu", {"unix": (Qemu, program)}, mtu=1500)


def others():
    """What else is installed."""
    for make, name in ((slirp4netns, "slirp4netns"),
                       (qemu, "qemu-system-x86_64")):
        program = shutil.which(name)
        if program:
            yield make(program)
        else:
            print(f"{name}: not installed, not measured", file=sys.stderr)


def attempt(path, side, wires, seconds, counter=None):
    """Measure once on @wires, or on a wire of its own: (result, failure).

    Whatever goes wrong is told below the table and does not end the run."""
    own = None
    try:
        if path.wire:
            own = wires = Wires((*path.wire, path.seed))
        return path.measure(side, wires, seconds, counter), None
    except Failed as e:
        return None, str(e)
    except Exception as e:
        return None, repr(e)
    finally:
        if own:
            own.close()
        end_strays()


def middle(runs, key):
    values = [r[key] for r in runs if key in r]
    return statistics.median(values) if values else None


def summary(runs, failure):
    total = {k: sum(r[k] for r in runs)
             for k in ("retransmissions", "silent_ms")
             if runs and k in runs[0]}
    return {"rate": middle(runs, "rate"), "cpu": middle(runs, "cpu"),
            "p50_us": middle(runs, "p50"), "p99_us": middle(runs, "p99"),
            "p95_us": middle(runs, "p95") if runs and "bulk" in runs[0]
            else None, "bulk": middle(runs, "bulk"),
            "worst_us": max(r["max"] for r in runs)
            if runs and "bulk" in runs[0] else None,
            "command_ms": middle(runs, "command"), "sent": middle(runs, "sent"),
            "failure": failure, "runs": runs} | total


def native(path, wires, args, known):
    """The load without a daemon; asked once where rows share it."""
    if path.native and path.native not in known:
        results = [attempt(path, None, wires, args.seconds)
                   for _ in range(min(args.repeats, 3))]
        known[path.native] = summary([r for r, _ in results if r],
                                     next((f for _, f in results if f), None))
    return known.get(path.native) or summary([], None)


def row(path, sides, wires, args, natives, counter):
    """All runs of one path, the sides taking turns."""
    seconds = max(args.seconds, LONG_S) if path.wire else args.seconds
    takers = [s for s in sides if s.takes(path)]
    players = takers + ([None] if path.wire else [])
    runs, failures = {p: [] for p in players}, {}
    for turn in range(args.repeats if players else 0):
        path.seed = turn + 1
        first = turn % len(players)
        for player in players[first:] + players[:first]:
            if player in failures:
                continue
            got, failure = attempt(path, player, wires, seconds)
            if got:
                runs[player].append(got)
            else:
                failures[player] = failure
    result = {"path": path.name, "unit": path.unit, "cost": path.cost[0],
              "down": path.down}
    for side in takers:
        result[side.name] = summary(runs[side], failures.get(side))
    alone = (summary(runs[None], failures.get(None)) if path.wire
             else native(path, wires, args, natives))
    result |= {"limit": alone["rate"], "limit_cpu": alone["cpu"] or None,
               "limit_failure": alone["failure"]}
    if counter and path.load and not path.wire:
        for side in (s for s in takers if s not in failures):
            got, _ = attempt(path, side, wires, min(seconds, 2), counter)
            result[side.name]["syscalls"] = got and got["syscalls"]
    a, b = (result.get(name, {}).get("rate") for name in PAIR)
    result["ratio"] = (b / a if path.down else a / b) if a and b else None
    result["of_limit"] = a / result["limit"] if a and result["limit"] else None
    return result


# --- output -------------------------------------------------------------------

def number(value):
    if value is None:
        return "-"
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.{2 if value >= 1 else 3}f}"


PAIR = "ours", "peer"
FLOOR_SIDES = {"floor": "wait", "blocking": "block", "keeping": "keep"}
OTHERS = {"slirp4netns": "slirp4netns", "qemu": "QEMU user",
          "floor": "floor", "blocking": "blocking floor",
          "keeping": "keeping floor"}
HEAD = ["path", "", "ours", "peer", "ratio", "limit", "CPU", "ours / peer",
        *OTHERS.values(), "of floor's rate", "of its CPU", "its calls",
        "p95 us", "worst us", "bulk Gbit/s", "p99 us",
        "syscalls", "retrans", "silent ms"]


def pair(r, key):
    """Ours and the peer's; nothing where neither has it."""
    values = [r.get(name, {}).get(key) for name in PAIR]
    return "" if values == [None, None] else " / ".join(map(number, values))


def with_cpu(rate, cpu):
    return number(rate) + (f" ({number(cpu)})" if cpu else "")


def over_floor(r, key):
    """How many times as much ours and the peer have as the floor."""
    floor = r.get("floor", {}).get(key)
    if not floor:
        return ""
    return " / ".join(number(value and value / floor) for value in
                      (r.get(name, {}).get(key) for name in PAIR))


def cells(r):
    cpu = pair(r, "cpu")
    silent = pair(r, "silent_ms") if "GB" in r["cost"] else ""
    rates = [number(r[name]["rate"]) if name in r else "" for name in PAIR]
    return [r["path"], r["unit"], *rates,
            number(r["ratio"]) if "ours" in r else "",
            with_cpu(r["limit"], r["limit_cpu"]),
            r["cost"] if cpu else "", cpu,
            *(with_cpu(r[name]["rate"], r[name]["cpu"]) if name in r else ""
              for name in OTHERS),
            over_floor(r, "rate"), over_floor(r, "cpu"),
            number(r["floor"].get("syscalls")) if "floor" in r else "",
            pair(r, "p95_us"), pair(r, "worst_us"), pair(r, "bulk"),
            pair(r, "p99_us"), pair(r, "syscalls"),
            pair(r, "retransmissions"), silent]


def table(rows):
    """Without the columns that are empty."""
    lines = [list(column) for column in zip(HEAD, *map(cells, rows))]
    lines = [c for i, c in enumerate(lines) if i < 2 or any(c[1:])]
    lines = [list(line) for line in zip(*lines)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * w for w in widths])
    return "\n".join("| " + " | ".join(
        c.ljust(w) if i < 2 else c.rjust(w)
        for i, (c, w) in enumerate(zip(line, widths))) + " |"
        for line in lines)


def show(rows):
    print(table(rows))
    for r in rows:
        for name in (*PAIR, *OTHERS):
            if r.get(name, {}).get("failure"):
                print(f"{r['path']}, {name}: {r[name]['failure']}")
        if r["limit_failure"]:
            print(f"{r['path']}, limit: {r['limit_failure']}")


def machine():
    cpu = re.search(r"model name\s*: (.*)",
                    pathlib.Path("/proc/cpuinfo").read_text())
    return f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} CPUs"


def about(args):
    def said(*argv):
        with contextlib.suppress(OSError, Failed):
            return command(*argv, check=False).strip()
        return ""
    return {"machine": machine(), "kernel": platform.release(),
            "date": datetime.datetime.now().astimezone().isoformat(
                timespec="seconds"),
            "commit": said("git", "-C", ROOT, "describe", "--always",
                           "--dirty"),
            # What was measured need not be built from the tree as it is
            "ours": said(TMP / "passt", "--version").split("\n")[0],
            "peer": said(program(args.peer, "passt"),
                         "--version").split("\n")[0],
            "peer_package": (said("dpkg-query", "-W", "passt")
                             if args.peer == DEBIANS else ""),
            "others": {name: said("dpkg-query", "-W", package) for
                       name, package in (("slirp4netns", "slirp4netns"),
                                         ("qemu", "qemu-system-x86"))},
            "seconds": args.seconds, "repeats": args.repeats,
            "load_average": os.getloadavg()[0]}


def chosen(patterns):
    def wanted(name):
        return not patterns or any(
            fnmatch.fnmatch(name, p) or name.startswith(p + "/")
            for p in patterns)
    found = [p for p in paths() if wanted(p.name)]
    if not found:
        sys.exit("no such path; there are:\n" +
                 "\n".join(p.name for p in paths()))
    return found


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--ours", default=ROOT / "passt")
    p.add_argument("--with", dest="options", type=shlex.split, default=[],
                   help="options for our daemon only")
    p.add_argument("--peer", default=DEBIANS)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--repeats", type=int, default=9)
    p.add_argument("--pair", action="store_true",
                   help="nothing but these two, also if more is installed")
    p.add_argument("--tools", default=ROOT / "build/perf", type=pathlib.Path)
    p.add_argument("--json", default=ROOT / "build/bench.json",
                   type=pathlib.Path)
    p.add_argument("--show", type=pathlib.Path, metavar="JSON",
                   help="print the table of an earlier run")
    p.add_argument("paths", nargs="*", metavar="PATH",
                   help="names or patterns of rows (default: all)")
    args = p.parse_args()
    args.seconds = int(args.seconds) or 1       # iperf3 takes whole ones
    return args


def check_needs(peer):
    pasta = program(peer, "pasta")
    missing = [t for t in ("ip", "nsenter", "setpriv", "iperf3", "sysctl")
               if not shutil.which(t)]
    if os.geteuid():
        missing.append("root's privileges")
    if not os.access(pasta, os.X_OK):
        missing.append(f"{pasta} (install passt or give PEER=)")
    if missing:
        sys.exit("make bench needs: " + ", ".join(missing))


@contextlib.contextmanager
def open_tun():
    """Ordinary users may open /dev/net/tun, as on every distribution."""
    tun = pathlib.Path("/dev/net/tun")
    before = tun.stat().st_mode
    tun.chmod(before | 0o666)
    try:
        yield
    finally:
        tun.chmod(before)


def stop_once(*_):
    """The first signal ends the run, no other disturbs the cleaning up."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


def measure(plan, sides, args, report):
    natives, count = {}, counter_type()
    with open_tun(), contextlib.ExitStack() as scope:
        scope.callback(delete_namespaces)
        scope.callback(end_strays)
        wires = Wires()
        scope.callback(wires.close)
        for path in plan:
            got = row(path, sides, wires, args, natives, count)
            report["rows"].append(got)
            print(" | ".join(cells(got)), file=sys.stderr, flush=True)
            write(args.json, report)


def write(path, report):
    """Renamed into place: an interrupted run leaves a whole file."""
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(report, indent=1) + "\n")
    new.replace(path)


def main():
    args = arguments()
    if args.show:
        show(json.loads(args.show.read_text())["rows"])
        return
    plan = chosen(args.paths)
    check_needs(args.peer)
    sides = [ours(args.ours, args.options), other(args.peer),
             *(Floor(name, how) for name, how in FLOOR_SIDES.items())]
    if not args.pair:
        sides += others()
    for tool in ("load", "limit", "bridge", "front", "relay", "floor"):
        shutil.copy(args.tools / tool, TMP / tool)
    for number in SIGNALS:
        signal.signal(number, stop_once)
    adopt_orphans()
    report = about(args) | {"rows": []}
    try:
        measure(plan, sides, args, report)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    finally:
        if report["rows"]:
            show(report["rows"])


if __name__ == "__main__":
    main()
