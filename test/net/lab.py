# SPDX-License-Identifier: GPL-2.0-or-later
"""The network that the tests in this directory play in.

     guest            host                    peer                    far
    +-------+  tap   +--------+     veth     +--------+     veth     +-----+
    |       |--------| passt  |--------------| router |--------------|     |
    +-------+        +--------+              +--------+              +-----+
                     198.51.100.2        .1 .10      203.0.113.1     .2
                     2001:db8:1::2      ::1 ::10     2001:db8:2::1   ::2

host, peer and far are network namespaces with unique names.  The daemon runs
in host, whose default route is peer's first address.  What peer says and serves
comes from its second, because the first is the name by which a guest knows the
host's loopback.  The guest is a namespace or a virtual
machine behind the daemon.  Commands run in a namespace with run(), sh() and
spawn(); socket() gives the test itself a socket that lives there, so that both
ends of a conversation stand in one test.

Nothing here sleeps for a fixed time: until() polls a condition, and a deadline
turns a hang into a failure.
"""

import atexit
import collections
import contextlib
import ctypes
import errno
import fcntl
import hashlib
import ipaddress
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = pathlib.Path(os.environ.get("PASST_DIR", ROOT)) / "passt"
# By the name that all such builds have in them
SANITIZED = BUILT.exists() and b"__asan_init" in BUILT.read_bytes()
BRIDGE = ROOT / "build/perf/bridge"
FRONT = ROOT / "build/perf/front"
REFUSE = ROOT / "build/perf/refuse"
HOSTILE_BUILT = ROOT / "build/perf/hostile"

# All files of this run.  The programs are copied there: an ordinary user need
# not be able to look into the directory where the repository lies.
TMP = pathlib.Path(tempfile.mkdtemp(prefix="passt-test-"))
TMP.chmod(0o755)
atexit.register(shutil.rmtree, TMP, True)
PASST, PASTA, PESTO, QRAP, SLIRP, REPAIR, HTTPD, HTTPC, HOSTILE = (
    str(TMP / n) for n in ("passt", "pasta", "pesto", "qrap", "slirp4netns",
                           "passt-repair", "httpd.py", "httpc.py", "hostile"))
PYTHON = "/usr/bin/python3"

V4, V6 = socket.AF_INET, socket.AF_INET6
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
HOST = {V4: "198.51.100.2", V6: "2001:db8:1::2"}
GATEWAY = {V4: "198.51.100.1", V6: "2001:db8:1::1"}
PEER = {V4: "198.51.100.10", V6: "2001:db8:1::10"}
FAR = {V4: "203.0.113.2", V6: "2001:db8:2::2"}
# Nobody beside far: peer answers with "host" or "address unreachable"
NOWHERE = {V4: "203.0.113.66", V6: "2001:db8:2::66"}
DNS = {V4: "192.0.2.53", V6: "2001:db8:53::53"}
SEARCH = ["lab.example", "second.example"]
UPLINK = "eth0"

# An ordinary user, as most callers are; ROOT_USER where root is the point
USER = ("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups")
ROOT_USER = ()

DEADLINE = 20
MIB = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def until(condition, what, seconds=DEADLINE):
    """Poll @condition until it is true; return what it returned."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)        # the step of the poll, not what we wait for


def literal(address):
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def alive(pid):
    """Is @pid running?  A zombie is not."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid):
    """The direct children of @pid."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError): # it may end any time
            text = pathlib.Path("/proc", name, "stat").read_text()
            if int(text.rpartition(")")[2].split()[1]) == pid:
                found.append(int(name))
    return found


def signal_pid(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end(pid):
    """Kill what is no child of ours, and wait until its ports are free."""
    signal_pid(pid)
    until(lambda: not alive(pid), f"the end of {pid}")


Result = collections.namedtuple("Result", "status stdout stderr")

# What a build with ASan says when a clone with a stack of its own ends early
ASAN_NOTE = re.compile(r"==\d+==WARNING: ASan is ignoring requested .*\n"
                       r"False positive .*\nFor details see .*\n")


def without_note(text):
    return ASAN_NOTE.sub("", text)


class Process:
    """A command in the background; what it prints goes to a file."""

    def __init__(self, argv, log, stdin=subprocess.DEVNULL, **kw):
        self.argv = [str(a) for a in argv]
        self.log = pathlib.Path(log)
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen(self.argv, stdin=stdin, stdout=out,
                                          stderr=subprocess.STDOUT, **kw)
        self.pid = self.popen.pid

    def output(self):
        return without_note(self.log.read_text(errors="replace"))

    def says(self, pattern, seconds=DEADLINE):
        """Wait until the output matches @pattern; return the match."""
        def look():
            match = re.search(pattern, self.output(), re.M)
            if not match and self.popen.poll() is not None:
                match = re.search(pattern, self.output(), re.M)
                assert match, (f"{self.argv} ended with "
                               f"{self.popen.returncode} and never said "
                               f"{pattern!r}:\n{self.output()}")
            return match
        try:
            return until(look, f"{pattern!r}", seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}, got:\n{self.output()}") from None

    def exit(self, seconds=DEADLINE):
        """Wait until it ends; return its exit status."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.argv} did not end:\n{self.output()}") from None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        if self.popen.poll() is None:
            for pid in children(self.pid):
                signal_pid(pid)
            self.popen.kill()
        self.popen.wait()


class Socket(socket.socket):
    """Its connect() waits in the kernel: Python with a time limit asks for
    SO_ERROR, and as Linux takes an ICMP error there is a moment after which that
    wakes who polls, and in which it is no error yet: "connected"."""

    def connect_ex(self, address):
        limit = self.gettimeout()
        if not limit:
            return super().connect_ex(address)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                        struct.pack("@ll", *divmod(int(limit * 1e6), 1000000)))
        self.settimeout(None)
        try:
            return super().connect_ex(address)
        finally:
            self.settimeout(limit)

    def connect(self, address):
        if not self.gettimeout():
            super().connect(address)
            return
        err = self.connect_ex(address)
        if err in (errno.EINPROGRESS, errno.EAGAIN):
            raise TimeoutError(err, "nobody answers")
        if err:
            raise OSError(err, os.strerror(err))


class Namespace:
    """Where commands are run: prefix + command."""

    def __init__(self, prefix, netns, tmp):
        self.prefix = [str(p) for p in prefix]
        self.netns = str(netns)
        self.tmp = pathlib.Path(tmp)
        self.scope = contextlib.ExitStack()
        self.count = 0

    def run(self, *argv, check=True, seconds=4 * DEADLINE, **kw):
        """Run to the end, return what it printed on stdout.

        Without @check, return exit status, stdout and stderr.
        """
        argv = self.prefix + [str(a) for a in argv]
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True, **kw)
        try:
            out, err = p.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, err = p.communicate()
            raise AssertionError(f"{argv} hangs:\n{out}{err}") from None
        if not check:
            return Result(p.returncode, out, without_note(err))
        if p.returncode:
            raise AssertionError(f"{argv} ended with {p.returncode}:\n"
                                 f"{out}{err}")
        return out

    def sh(self, script, **kw):
        return self.run("sh", "-c", script, **kw)

    def ok(self, *argv):
        return self.run(*argv, check=False).status == 0

    def spawn(self, *argv, **kw):
        """Start in the background; ends with the test."""
        self.count += 1
        log = self.tmp / f"{id(self):x}-{self.count}.log"
        process = Process(self.prefix + list(argv), log, **kw)
        self.scope.callback(process.kill)
        return process

    def inside(self):
        """Be in this network namespace, for the creation of a socket."""
        return within(self.netns)

    def socket(self, family, kind=STREAM, proto=0):
        """A socket of this namespace for the test; closed with the test."""
        with self.inside():
            s = Socket(family, kind, proto)
        s.settimeout(DEADLINE)
        self.scope.callback(s.close)
        return s

    def bind(self, family, kind=DGRAM, port=0, address=None):
        s = self.socket(family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == V6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((address or ("::" if family == V6 else "0.0.0.0"), port))
        return s

    def listen(self, family, port=0):
        s = self.bind(family, STREAM, port)
        s.listen(128)
        return s

    def connect(self, family, address, port, kind=STREAM):
        s = self.socket(family, kind)
        s.connect((address, port))
        return s

    def accept(self, listener):
        s, _ = listener.accept()
        s.settimeout(DEADLINE)
        self.scope.callback(s.close)
        return s

    def ip(self, words, family=None):
        flag = [] if family is None else ["-6" if family == V6 else "-4"]
        with self.inside():
            text = run("ip", "-j", *flag, *words.split())
        return json.loads(text or "[]")

    def add_address(self, address, dev="lo"):
        """One that can be bound, and reached, at once: the kernel takes its time
        otherwise, on lo as well."""
        self.run("ip", "addr", "add", address, "dev", dev,
                 *["nodad"] * (":" in address))
        if ":" in address:
            until(lambda: self.run("ip", "-6", "route", "show", "table", "local",
                                   address.split("/")[0]), f"{address} to be local")

    def addresses(self, family, dev=UPLINK, scope="global"):
        """Addresses in use as ADDRESS/LENGTH, those in DAD left out."""
        link = self.ip(f"addr show dev {dev} scope {scope}", family)
        return sorted(f"{a['local']}/{a['prefixlen']}"
                      for l in link for a in l.get("addr_info", [])
                      if "local" in a and not a.get("tentative"))

    def default_route(self, family):
        routes = self.ip("route show default", family)
        return [r.get("gateway") for r in routes]

    def mtu(self, dev=UPLINK):
        return self.ip(f"link show dev {dev}")[0]["mtu"]

    def retransmissions(self):
        """TCP segments this namespace has sent again.  With sanitizers SYNs aside:
        their time-out is a second, which many connections at once can take then."""
        def count(file, group, name):
            names, values = (line.split() for line in pathlib.Path(
                f"/proc/thread-self/net/{file}").read_text().splitlines()
                if line.startswith(f"{group}:"))
            return int(values[names.index(name)])
        with self.inside():
            syns = SANITIZED and count("netstat", "TcpExt", "TCPSynRetrans")
            return count("snmp", "Tcp", "RetransSegs") - syns

    def reachable(self, family, address=None):
        flag = "-6" if family == V6 else "-4"
        return self.ok("ping", flag, "-n", "-c1", "-W5",
                       address or PEER[family])

    def close(self):
        self.scope.close()


@contextlib.contextmanager
def cubic_allowed():
    """Let a namespace choose cubic, and take that back afterwards.

    A kernel whose default is another algorithm lets no namespace but the first
    choose cubic.  The lock is for test runs side by side.
    """
    allowed = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    with open("/tmp/passt-test.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = allowed.read_text()
        try:
            if "cubic" not in before.split():
                allowed.write_text(before.strip() + " cubic")
            yield
        finally:
            if allowed.read_text() != before:
                allowed.write_text(before)


def tune_tcp(*namespaces):
    """Cubic, and no tail loss probes.

    A sender whose acknowledgement is late by a few round trips sends a segment
    again to see what happens.  On a busy machine that says nothing about loss,
    but it is counted as a retransmission all the same.
    """
    sysctl = pathlib.Path("/proc/sys/net/ipv4")
    with cubic_allowed():
        for ns in namespaces:
            with ns.inside():
                (sysctl / "tcp_congestion_control").write_text("cubic")
                (sysctl / "tcp_early_retrans").write_text("0")


class Wires:
    """The three namespaces and what joins them; made once for all tests."""

    def __init__(self):
        self.tmp = TMP
        self.id = TMP.name.rpartition("-")[2]
        self.scope = contextlib.ExitStack()
        self.digests = {}
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.scope.close()

    def name(self, suffix):
        return f"pt-{self.id}-{suffix}"

    def namespace(self, suffix):
        """A new named network namespace with lo up; removed at the end."""
        name = self.name(suffix)
        run("ip", "netns", "add", name)
        self.scope.callback(run, "ip", "netns", "del", name, check=False)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def make(self):
        shutil.copy(BUILT, PASST)
        for link in PASTA, PESTO, QRAP, SLIRP, REPAIR:
            os.symlink("passt", link)
        for program in HTTPD, HTTPC:
            shutil.copy(HERE / pathlib.Path(program).name, program)
        shutil.copy(HOSTILE_BUILT, HOSTILE)
        host, peer, far = (self.namespace(n) for n in ("host", "peer", "far"))
        etc = pathlib.Path("/etc/netns") / host
        etc.mkdir(parents=True)
        self.resolv_conf = etc / "resolv.conf"
        self.scope.callback(remove_etc, etc)
        self.resolver(*PEER.values())

        batch(host, "net.ipv6.conf.all.accept_dad=0",
              "net.ipv6.conf.default.accept_dad=0",
              "net.ipv4.ping_group_range=0 2147483647",
              "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        for router in (peer, far):
            batch(router, "net.ipv6.conf.all.accept_dad=0",
                  "net.ipv6.conf.default.accept_dad=0",
                  "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                  "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")

        run("ip", "-n", host, "link", "add", UPLINK, "type", "veth",
            "peer", "name", "eth0", "netns", peer)
        run("ip", "-n", peer, "link", "add", "eth1", "type", "veth",
            "peer", "name", "eth0", "netns", far)
        script(host, f"""
            link set {UPLINK} up
            addr add {HOST[V4]}/24 dev {UPLINK}
            addr add {HOST[V6]}/64 dev {UPLINK} nodad""")
        script(peer, f"""
            link set eth0 up
            link set eth1 up
            addr add {PEER[V4]}/24 dev eth0
            addr add {PEER[V6]}/64 dev eth0 nodad
            addr add {GATEWAY[V4]}/24 dev eth0
            addr add {GATEWAY[V6]}/64 dev eth0 nodad preferred_lft 0
            addr add 203.0.113.1/24 dev eth1
            addr add 2001:db8:2::1/64 dev eth1 nodad""")
        # The search for NOWHERE is to end soon
        batch(peer, "net.ipv4.neigh.eth1.retrans_time_ms=20",
              "net.ipv6.neigh.eth1.retrans_time_ms=20")
        script(far, f"""
            link set eth0 up
            addr add {FAR[V4]}/24 dev eth0
            addr add {FAR[V6]}/64 dev eth0 nodad
            route add default via 203.0.113.1
            route add default via 2001:db8:2::1""")
        script(host, f"""
            route add default via {GATEWAY[V4]}
            route add default via {GATEWAY[V6]}""")

        self.host, self.peer, self.far = (
            Namespace(["ip", "netns", "exec", n], f"/run/netns/{n}", self.tmp)
            for n in (host, peer, far))
        tune_tcp(self.host, self.peer, self.far)
        for family in (V4, V6):
            until(lambda: self.host.reachable(family, FAR[family]),
                  "the way from host to far")

    def resolver(self, *servers, search=SEARCH):
        """What the daemon reads as /etc/resolv.conf."""
        self.resolv_conf.write_text(
            "".join(f"nameserver {s}\n" for s in servers) +
            f"search {' '.join(search)}\n")

    def payload(self, size):
        """A file of @size random bytes, and its checksum."""
        path = self.tmp / f"payload-{size}"
        if not path.exists():
            with open(path, "wb") as f:
                for left in range(size, 0, -MIB):
                    f.write(os.urandom(min(left, MIB)))
            path.chmod(0o644)
        if size not in self.digests:
            self.digests[size] = hashlib.md5(path.read_bytes()).hexdigest()
        return path, self.digests[size]


def run(*argv, check=True, text=""):
    """@text is what it reads."""
    done = subprocess.run(argv, input=text, text=True, capture_output=True,
                          timeout=60)
    if check and done.returncode:
        raise AssertionError(f"{argv}: {done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def within(path):
    """This thread is in the network namespace @path."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
        yield
    finally:
        assert _libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


def batch(ns, *settings):
    """As sysctl has them, in a named namespace"""
    with within(f"/run/netns/{ns}"):
        for name, value in (s.split("=") for s in settings):
            pathlib.Path("/proc/sys", *name.split(".")).write_text(value)


def script(ns, lines):
    """Lines of ip, in a named namespace"""
    run("ip", "-n", ns, "-batch", "-", text=lines)


def open_tun():
    """Ordinary users may open /dev/net/tun, as on every distribution."""
    tun = pathlib.Path("/dev/net/tun")
    if not tun.stat().st_mode & 0o002:
        tun.chmod(0o666)


def outer_root(pid, name):
    """Who is 0 in the user namespace of @pid, as seen from here."""
    text = pathlib.Path(f"/proc/{pid}/{name}").read_text()
    for line in text.splitlines():
        inner, outer, _ = map(int, line.split())
        if inner == 0:
            return outer
    raise AssertionError(f"no root in the {name} of {pid}: {text!r}")


def remove_etc(directory):
    shutil.rmtree(directory, True)
    with contextlib.suppress(OSError):
        directory.parent.rmdir()


class Guest(Namespace):
    """A network namespace behind pasta."""

    def __init__(self, lab, pid, process=None):
        # Enter as the user who is root in there
        uid, gid = (outer_root(pid, m) for m in ("uid_map", "gid_map"))
        super().__init__(
            ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups",
             "nsenter", "-t", pid, "-U", "--preserve-credentials", "-n"],
            f"/proc/{pid}/ns/net", lab.tmp)
        self.pid = pid
        self.process = process


ALL_FEATURES = "ffffffffffffffff"


class Lab:
    """One test's view: the namespaces, and what it starts in them."""

    def __init__(self, wires):
        open_tun()
        self.wires = wires
        self.scope = contextlib.ExitStack()
        self.tmp = pathlib.Path(tempfile.mkdtemp(dir=wires.tmp))
        self.tmp.chmod(0o777)
        self.scope.callback(shutil.rmtree, self.tmp, True)
        self.scope.callback(wires.resolver, *PEER.values())
        self.host, self.peer, self.far = (
            self.keep(Namespace(n.prefix, n.netns, self.tmp))
            for n in (wires.host, wires.peer, wires.far))
        self.serial = 0

    def keep(self, ns):
        self.scope.callback(ns.close)
        return ns

    def close(self):
        self.scope.close()

    def path(self, name):
        return self.tmp / name

    def payload(self, size):
        return self.wires.payload(size)

    def resolver(self, *servers):
        self.wires.resolver(*servers)

    # Daemons

    def pasta(self, *options, user=USER):
        """Start pasta with a command that stays; return its namespace."""
        process = self.host.spawn(*user, PASTA, *options, "--", "sh", "-c",
                                  "echo ready; exec sleep infinity")
        process.says("^ready$")
        home = os.readlink(f"/proc/{process.pid}/ns/net")

        def inner():
            for pid in children(process.pid):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/ns/net") != home:
                        return pid
        pid = until(inner, "the namespace of the command")
        self.scope.callback(signal_pid, pid)
        guest = self.keep(Guest(self, pid, process))
        guest.daemon = process.pid
        tune_tcp(guest)
        return guest

    def bridged(self, mtu, *options, user=USER):
        """Start passt; return a namespace that a bridge joins to it, which
        stands in for QEMU as far as the daemon can see."""
        path = self.path("stream")
        pid = self.daemon(PASST, "-s", path, "--mtu", mtu, *options, user=user)
        return self.join(pid, mtu, BRIDGE, path)

    def fronted(self, mtu, *options, features=ALL_FEATURES):
        """The same by vhost-user.  The guest's driver takes no more than
        these @features."""
        path = self.path(f"vhost-{self.serial}")
        pid = self.daemon(PASST, "--vhost-user", "-s", path, "--mtu", mtu,
                          *options)
        return self.join(pid, mtu, FRONT, path, features)

    def join(self, pid, mtu, program, path, *features, **kw):
        """A namespace that @program joins to the daemon @pid, whose socket is
        @path, or a descriptor's number."""
        name = self.netns()
        guest = self.named(name)
        guest.daemon = pid
        batch(name, "net.ipv6.conf.default.accept_dad=0",
              "net.ipv6.conf.default.accept_ra=0")
        guest.bridge = guest.spawn(program, path, UPLINK, *features, **kw)
        guest.bridge.says("^ready$")
        script(name, f"""
            link set lo up
            link set {UPLINK} mtu {mtu} up
            addr add {HOST[V4]}/24 dev {UPLINK}
            addr add {HOST[V6]}/64 dev {UPLINK} nodad
            route add default via {GATEWAY[V4]}
            route add default via {GATEWAY[V6]}""")
        tune_tcp(guest)
        return guest

    def container(self):
        """A process with user and network namespaces of its own, as a
        container engine makes them: an ordinary user is root in there."""
        process = self.host.spawn(*USER, "unshare", "--user",
                                  "--map-root-user", "--net",
                                  "sleep", "infinity")
        comm = pathlib.Path(f"/proc/{process.pid}/comm")
        until(lambda: "sleep" in comm.read_text(), "the namespaces")
        return self.keep(Guest(self, process.pid, process))

    def daemon(self, *argv, user=USER, where=None):
        """Run a program that puts itself in the background, in host or
        @where; return its PID."""
        pidfile = self.path(f"pid-{self.serial}")
        self.serial += 1
        argv = list(argv)
        argv[1:1] = ["--pid", pidfile]
        (where or self.host).run(*user, *argv)
        pid = int(pidfile.read_text())
        self.scope.callback(end, pid)
        return pid

    def netns(self):
        """A named network namespace that no daemon serves yet."""
        self.serial += 1
        name = self.wires.name(f"g{self.serial}")
        run("ip", "netns", "add", name)
        self.scope.callback(run, "ip", "netns", "del", name, check=False)
        return name

    def named(self, name):
        return self.keep(Namespace(["ip", "netns", "exec", name],
                                   f"/run/netns/{name}", self.tmp))

    # The path to far

    @contextlib.contextmanager
    def narrow(self, mtu):
        """Beyond the router it is; what anybody has learned is forgotten."""
        wires = (self.peer, "eth1"), (self.far, UPLINK)
        for ns, dev in wires:
            ns.run("ip", "link", "set", dev, "mtu", mtu)
        try:
            yield
        finally:
            for ns, dev in wires:
                ns.run("ip", "link", "set", dev, "mtu", 1500)
            for ns in self.host, self.peer, self.far:
                for flag in "-4", "-6":
                    ns.run("ip", flag, "route", "flush", "cache")

    @contextlib.contextmanager
    def promises(self, family, mss):
        """Far offers segments of that length, whatever its path holds."""
        flag = "-6" if family == V6 else "-4"
        route = self.far.run("ip", flag, "route", "show", "default").split()
        self.far.run("ip", flag, "route", "replace", *route, "advmss", mss)
        try:
            yield
        finally:
            self.far.run("ip", flag, "route", "replace", *route)

    # Servers

    def serve(self, where, port, directory):
        """An HTTP server in @where that also takes PUT; see httpd.py."""
        server = where.spawn(PYTHON, HTTPD, port, directory)
        server.says("^ready$")
        return server


def url(family, host, port, path):
    return f"http://{literal(host[family])}:{port}/{path}"


def prefix_of(address):
    return ipaddress.ip_interface(address).network
