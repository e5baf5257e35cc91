# SPDX-License-Identifier: GPL-2.0-or-later
"""What bench.py measures in: namespaces, wires, daemons, counters."""

import atexit
import base64
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST, GATEWAY, PEER = "198.51.100.2", "198.51.100.1", "198.51.100.10"
HOST6, GATEWAY6 = "2001:db8:1::2", "2001:db8:1::1"
LOCAL = "127.0.0.1"
UPLINK = "eth0"
BULK, ECHO, DATAGRAM = 5201, 5301, 5401
ATTACH_S = 0.4          # until perf stat counts
STALL_S = 15            # on top of the time a load should take
LONG_MBIT = 1000
PORTS = ("-t", f"{BULK},{ECHO}", "-u", f"{ECHO},{DATAGRAM}",
         "-T", "none", "-U", "none")
# From the namespace's loopback address to that of the host
OUT_PORTS = ("-t", "none", "-u", "none",
             "-T", f"{BULK},{ECHO}", "-U", f"{ECHO},{DATAGRAM}")

# An ordinary user, as most callers are
USER = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]

# What keeps a namespace
SLEEP = ["sh", "-c", "echo ready; exec sleep infinity"]

TMP = pathlib.Path(tempfile.mkdtemp(prefix="passt-bench-"))
TMP.chmod(0o777)
atexit.register(shutil.rmtree, TMP, True)
LOAD = TMP / "load"


class Failed(Exception):
    """This side cannot do this path, or did not this time."""


def command(*argv, check=True, seconds=60):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=seconds,
                          start_new_session=True)
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, argv))}: "
                     f"{(done.stdout + done.stderr).strip()}")
    return done.stdout


class Process:
    """A child in the background; ended with its scope, by its PID.

    Not in the terminal's foreground: Ctrl-C is for us, who end it in order."""

    serial = 0

    def __init__(self, scope, argv, **kw):
        Process.serial += 1
        self.argv = [str(a) for a in argv]
        self.log = TMP / f"log-{Process.serial}"
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen(
                self.argv, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True, **{"stdin": subprocess.DEVNULL} | kw)
        self.pid = self.popen.pid
        scope.callback(self.kill)

    def output(self):
        return self.log.read_text(errors="replace")

    def says(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while True:
            ended = self.ended() is not None
            match = re.search(pattern, self.output(), re.M)
            if match:
                return match
            if ended or time.monotonic() > end:
                raise Failed(f"{' '.join(self.argv)} never said {pattern!r}: "
                             f"{self.output().strip()[-400:]}")
            time.sleep(0.005)

    def ended(self):
        """Its status, None as long as it runs."""
        return self.popen.poll()

    def wait(self, seconds):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"stalled: {' '.join(self.argv)}") from None

    def finish(self, seconds):
        """Wait for the end, return the output."""
        code = self.wait(seconds)
        if code:
            raise Failed(f"{' '.join(self.argv)} ended with {code}: "
                         f"{self.output().strip()[-400:]}")
        return self.output()

    def stop(self):
        self.popen.terminate()
        return self.finish(10)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.log.unlink(missing_ok=True)


def children(pid):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError): # it may end any time
            text = pathlib.Path("/proc", name, "stat").read_text()
            if int(text.rpartition(")")[2].split()[1]) == pid:
                found.append(int(name))
    return found


def kill_pid(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """What a daemon leaves behind becomes our child, for end_strays()."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_strays():
    """Between two runs nothing of ours is running."""
    while strays := children(os.getpid()):
        for pid in strays:
            kill_pid(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


# --- namespaces ---------------------------------------------------------------

class Place:
    """Where loads run: a network namespace, by path."""

    def __init__(self, path):
        self.path = str(path)
        self.prefix = ["nsenter", f"--net={path}"]

    def run(self, *argv, **kw):
        return command(*self.prefix, *argv, **kw)

    def spawn(self, scope, *argv):
        return Process(scope, self.prefix + list(argv))

    def load(self, *argv, seconds, tool="load"):
        """Run a load generator to the end, return what it says last."""
        with contextlib.ExitStack() as scope:
            out = self.spawn(scope, TMP / tool, *argv).finish(
                seconds + STALL_S)
        words = out.splitlines()[-1].split()
        return {k: float(v) for k, v in zip(words[::2], words[1::2])}

    def serve(self, scope, *argv):
        process = self.spawn(scope, LOAD, *argv)
        process.says("^ready$")
        return process

    def retransmissions(self):
        rows = [line.split() for line in self.run(
            "cat", "/proc/thread-self/net/snmp").splitlines()
            if line.startswith("Tcp:")]
        return int(dict(zip(*rows))["RetransSegs"])


@contextlib.contextmanager
def allowed(control):
    """See test/net/lab.py: a namespace may choose only what is allowed."""
    path = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    with open("/tmp/passt-test.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = path.read_text()
        try:
            if control not in before.split():
                path.write_text(f"{before.strip()} {control}")
            yield
        except OSError:
            raise Failed(f"no {control} in this kernel") from None
        finally:
            if path.read_text() != before:
                path.write_text(before)


def settle(control, *places):
    """This congestion control, and neither a table of closed connections nor a
    search for a free port that slows the next ones."""
    with allowed(control):
        for place in places:
            place.run("sysctl", "-q", "-w",
                      f"net.ipv4.tcp_congestion_control={control}",
                      "net.ipv4.tcp_max_tw_buckets=1000",
                      "net.ipv4.tcp_tw_reuse=1",
                      "net.ipv4.ip_local_port_range=1024 65535")


NAMED = pathlib.Path("/run/netns")


def delete_namespaces():
    """Those of this process, in case that a scope did not get that far."""
    for path in NAMED.glob(f"pb{os.getpid()}-*"):
        command("ip", "netns", "del", path.name, check=False)


def ip(name, lines):
    for line in lines.strip().splitlines():
        command("ip", "-n", name, *line.split())


class Wires:
    """host and peer, joined by a veth pair or by a relay with a delay."""

    serial = 0

    def __init__(self, relay=None):
        Wires.serial += 1
        self.scope = contextlib.ExitStack()
        try:
            self.host_name, self.peer_name = map(self.namespace,
                                                 ("host", "peer"))
            self.host, self.peer = (Place(NAMED / n) for n in
                                    (self.host_name, self.peer_name))
            self.join(relay)
            self.address()
            self.settle("cubic")
            self.host.run("sysctl", "-q", "-w",
                          "net.ipv4.ping_group_range=0 2147483647")
        except BaseException:
            self.scope.close()
            raise

    def close(self):
        self.scope.close()

    def settle(self, control):
        """Guests that are made from now on are the same."""
        settle(control, self.host, self.peer)
        self.control = control

    def namespace(self, suffix):
        name = f"pb{os.getpid()}-{Wires.serial}-{suffix}"
        self.scope.callback(command, "ip", "netns", "del", name, check=False)
        command("ip", "netns", "add", name)
        command("ip", "netns", "exec", name, "sysctl", "-q", "-w",
                "net.ipv6.conf.all.accept_dad=0",
                "net.ipv6.conf.default.accept_dad=0")
        ip(name, "link set lo up")
        return name

    def join(self, relay):
        if not relay:
            ip(self.host_name, f"link add {UPLINK} type veth peer "
                               f"name {UPLINK} netns {self.peer_name}")
            return
        rtt_ms, loss, seed = relay
        process = Process(self.scope, [
            TMP / "relay", self.host.path, self.peer.path, UPLINK,
            int(rtt_ms * 500), int(loss * 10000), LONG_MBIT, seed])
        process.says("^ready$")
        for name in (self.host_name, self.peer_name):
            ip(name, f"link set {UPLINK} txqueuelen 20000 mtu 1500")

    def address(self):
        ip(self.host_name, f"""
            addr add {HOST}/24 dev {UPLINK}
            addr add {HOST6}/64 dev {UPLINK} nodad
            link set {UPLINK} up""")
        ip(self.peer_name, f"""
            addr add {GATEWAY}/24 dev {UPLINK}
            addr add {PEER}/24 dev {UPLINK}
            addr add {GATEWAY6}/64 dev {UPLINK} nodad
            link set {UPLINK} up""")
        ip(self.host_name, f"""
            route add default via {GATEWAY}
            -6 route add default via {GATEWAY6}""")
        self.host.run("ping", "-c1", "-W5", PEER)


# --- daemons ------------------------------------------------------------------

class Unshared:
    """A namespace that an ordinary user has made, for a daemon to join: settled
    before, as daemons make sockets in there long before they use them."""

    def __init__(self, scope, wires):
        self.process = wires.host.spawn(scope, *USER, "unshare", "--user",
                                        "--map-root-user", "--net", *SLEEP)
        self.process.says("^ready$")
        self.guest = Place(f"/proc/{self.process.pid}/ns/net")
        settle(wires.control, self.guest)


class Pasta(Unshared):
    """pasta and a namespace, in wires.host."""

    def __init__(self, program, scope, wires, mtu=65520, ports=PORTS):
        super().__init__(scope, wires)
        ready = TMP / f"pid-{Process.serial}"
        daemon = wires.host.spawn(
            scope, *USER, program, "-f", "--config-net", "--mtu", mtu, *ports,
            "--pid", ready, self.process.pid)
        self.pid = daemon.pid
        until(daemon, lambda: ready.exists() and ready.read_text())


class Slirp4netns(Unshared):
    """slirp4netns and a namespace made for it; forwards nothing by itself."""

    def __init__(self, program, scope, wires, mtu=65520, ports=PORTS):
        super().__init__(scope, wires)
        api = TMP / f"api-{Process.serial}"
        process = wires.host.spawn(
            scope, *USER, program, "--configure", "--mtu", mtu,
            "--ready-fd", 1, "--api-socket", api, self.process.pid, "tap0")
        process.says("^1")
        self.pid = process.pid
        if ports:
            for proto, port in (("tcp", BULK), ("tcp", ECHO),
                                ("udp", DATAGRAM)):
                self.forward(api, proto, port)

    @staticmethod
    def forward(api, proto, port):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(str(api))
            s.sendall(json.dumps({"execute": "add_hostfwd", "arguments": {
                "proto": proto, "host_addr": "0.0.0.0", "host_port": port,
                "guest_port": port}}).encode())
            s.shutdown(socket.SHUT_WR)
            answer = s.recv(4096).decode()
        if "return" not in answer:
            raise Failed(f"slirp4netns: {answer}")


def until(process, true):
    end = time.monotonic() + 10
    while not true():
        if process.popen.poll() is not None or time.monotonic() > end:
            raise Failed(f"{' '.join(process.argv)}: "
                         f"{process.output().strip()[-400:]}")
        time.sleep(0.01)


def listens(pid, path):
    """Some daemons bind their socket long before they listen."""
    return re.search(rf": \w+ \w+ 00010000 .* {re.escape(str(path))}$",
                     pathlib.Path(f"/proc/{pid}/net/unix").read_text(), re.M)


class Bridged:
    """A namespace that a bridge joins to the stream socket of @process."""

    address, gateway, bridge = HOST, GATEWAY, "bridge"

    def join(self, scope, process, path, wires, mtu, loss=0, lanes=0, late=0):
        until(process, lambda: listens(process.pid, path))
        self.pid = process.pid
        name = wires.namespace(f"guest{Process.serial}")
        self.guest = Place(NAMED / name)
        bridge = self.guest.spawn(scope, TMP / self.bridge, path, UPLINK,
                                  *self.how(loss, lanes, late))
        bridge.says("^ready$")
        ip(name, f"""
            link set {UPLINK} mtu {mtu} up
            addr add {self.address}/24 dev {UPLINK}
            route add default via {self.gateway}""")
        settle(wires.control, self.guest)

    @staticmethod
    def how(loss, lanes, late):
        return [int(loss * 10000), lanes or 1, int(late * 10000)]


class Passt(Bridged):
    options = ()

    def __init__(self, program, scope, wires, mtu=65520, loss=0, lanes=0,
                 late=0):
        path = TMP / f"socket-{Process.serial}"
        self.join(scope, wires.host.spawn(
            scope, *USER, program, *self.options, "-f", "-s", path,
            "--mtu", mtu, *PORTS[:4]), path, wires, mtu, loss, lanes, late)
        if not loss: # who is forwarded to has been heard before
            self.guest.run("ping", "-c1", "-W5", PEER)


class Vhost(Passt):
    """A front-end takes the place of QEMU, and of the guest's driver."""

    options, bridge = ("--vhost-user",), "front"

    @staticmethod
    def how(loss, lanes, late):
        return ["f" * 16, lanes] if lanes else []


# In user-mode Linux, whose root directory is the host's, read-only: each line of
# the console is a script; what it says comes with its number in front, its status
# at the end.
INIT = r"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
for m in failover net_failover virtio_net; do
	insmod $(find MODULES -name $m.ko)
done
ip link set lo up
stty raw -echo </dev/tty0
echo "@@ready"
while read -r number line; do
	{
		echo "$line" | base64 -d >/run/$number
		sh /run/$number </dev/null
		echo "=$?"
	} 2>&1 | sed -u "s/^/@$number /" &
done
"""
class Machine(Process):
    """User-mode Linux whose network card is the vhost-user socket @path."""

    def __init__(self, scope, path):
        program, modules = self.unpacked()
        init = TMP / "init"
        init.write_text(INIT.replace("MODULES", str(modules)))
        init.chmod(0o755)
        # Its memory is a file, fast where that is none
        super().__init__(scope, [
            "unshare", "--mount", "sh", "-c",
            'mount -t tmpfs tmpfs "$TMPDIR" && exec "$@"', "sh",
            program, "mem=512M", "seccomp=auto", "quiet",
            "con=null", "con0=fd:0,fd:1", "ssl=null",
            f"virtio_uml.device={path}:1", "rootfstype=hostfs", "ro",
            f"init={init}"], stdin=subprocess.PIPE,
            env=os.environ | {"TMPDIR": str(self.memory())})
        self.says("^@@ready", 60)

    @staticmethod
    def memory():
        path = TMP / "memory"
        path.mkdir(exist_ok=True)
        return path

    @staticmethod
    def unpacked():
        """The program, with its own libc, and where its modules are."""
        done = subprocess.run([ROOT / "test" / "uml"], capture_output=True,
                              text=True)
        if done.returncode:
            raise Failed(done.stderr.strip())
        usr, program = pathlib.Path(done.stdout.strip()) / "usr", TMP / "linux"
        lib, = usr.glob("lib/*-linux-gnu")
        if not program.exists():
            shutil.copy(usr / "bin/linux.uml", program)
            command("patchelf", "--set-rpath", lib, "--set-interpreter",
                    next(lib.glob("ld-linux*")), program)
        return program, usr / "lib/uml/modules"

    def send(self, number, script):
        line = base64.b64encode(script.encode()).decode()
        self.popen.stdin.write(f"{number} {line}\n".encode())
        self.popen.stdin.flush()


class Inside(Process):
    """A process in @machine."""

    def __init__(self, scope, machine, argv):
        Process.serial += 1
        self.number, self.machine = Process.serial, machine
        self.argv = [str(a) for a in argv]
        machine.send(self.number, f"echo $$ >/run/pid-{self.number}\n"
                                  f"exec {shlex.join(self.argv)}")
        scope.callback(self.kill)

    def lines(self):
        mark = f"@{self.number} "
        return [line[len(mark):] for line in
                self.machine.output().replace("\r", "").split("\n")[:-1]
                if line.startswith(mark)]

    def output(self):
        return "".join(f"{line}\n" for line in self.lines()
                       if not re.fullmatch(r"=\d+", line))

    def ended(self):
        if self.machine.ended() is not None:
            return -1
        return next((int(line[1:]) for line in self.lines()
                     if re.fullmatch(r"=\d+", line)), None)

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while self.ended() is None:
            if time.monotonic() > end:
                raise Failed(f"stalled: {' '.join(self.argv)}")
            time.sleep(0.02)
        return self.ended()

    def signal(self, name):
        Process.serial += 1
        self.machine.send(Process.serial,
                          f"kill -{name} $(cat /run/pid-{self.number})")

    def stop(self):
        self.signal("TERM")
        return self.finish(10)

    def kill(self):
        if self.ended() is None:
            self.signal("KILL")


class Inner(Place):
    """The network of a machine."""

    def __init__(self, machine):
        self.machine = machine

    def run(self, *argv, seconds=60, **kw):
        with contextlib.ExitStack() as scope:
            return self.spawn(scope, *argv).finish(seconds)

    def spawn(self, scope, *argv):
        return Inside(scope, self.machine, argv)


class Uml(Passt):
    """User-mode Linux in place of QEMU and its guest, by vhost-user."""

    def __init__(self, program, scope, wires, mtu=65520):
        path = TMP / f"socket-{Process.serial}"
        daemon = wires.host.spawn(scope, *USER, program, "--vhost-user", "-f",
                                  "-s", path, "--mtu", mtu, *PORTS[:4])
        until(daemon, lambda: listens(daemon.pid, path))
        self.pid = daemon.pid
        self.guest = Inner(Machine(scope, path))
        for line in (f"link set {UPLINK} mtu {mtu} up",
                     f"addr add {HOST}/24 dev {UPLINK}",
                     f"route add default via {GATEWAY}"):
            self.guest.run("ip", *line.split())
        settle(wires.control, self.guest)
        self.guest.run("ping", "-c1", "-W5", PEER)


class Qemu(Bridged):
    """QEMU without a guest: a hub between its user network and a socket."""

    address, gateway = "10.0.2.15", "10.0.2.2"

    def __init__(self, program, scope, wires, mtu=1500):
        path = TMP / f"socket-{Process.serial}"
        self.join(scope, wires.host.spawn(
            scope, *USER, program, "-machine", "none", "-nodefaults",
            "-display", "none",
            "-netdev", "user,id=u",
            "-netdev", "hubport,id=h0,hubid=0,netdev=u",
            "-netdev", "stream,id=s,server=on,addr.type=unix,"
                       f"addr.path={path}",
            "-netdev", "hubport,id=h1,hubid=0,netdev=s"), path, wires, mtu)


class FloorSpliced(Unshared):
    """As little as it takes from the host's loopback address to a namespace's,
    or the other way; see floor.c.  It needs root's privileges to begin with."""

    def __init__(self, how, scope, wires, kind, port, out=False):
        super().__init__(scope, wires)
        self.guest.run("ip", "link", "set", "lo", "up")
        ends = [wires.host.path, self.guest.path]
        process = Process(scope, [TMP / "floor", "splice",
                                  *(reversed(ends) if out else ends), port,
                                  kind, how])
        process.says("^ready$")
        self.pid = process.pid


def join_floor(guest, mtu, *lines):
    """It does not answer ARP."""
    for line in (*lines, f"link set {UPLINK} mtu {mtu} up",
                 f"addr add {HOST}/24 dev {UPLINK}",
                 f"route add default via {GATEWAY}",
                 *(f"neigh add {a} lladdr 02:00:00:00:00:01 dev {UPLINK} "
                   "nud permanent" for a in (GATEWAY, PEER))):
        guest.run("ip", *line.split())


class FloorTap(Unshared):
    """The same by a tap in a namespace."""

    def __init__(self, how, scope, wires, kind, mtu=65520):
        super().__init__(scope, wires)
        process = wires.host.spawn(scope, TMP / "floor", "tap",
                                   self.guest.path, UPLINK, mtu, kind, how)
        process.says("^ready$")
        self.pid = process.pid
        join_floor(self.guest, mtu)


class FloorUnix:
    """The same by the stream socket of QEMU."""

    def __init__(self, how, scope, wires, kind, mtu=65520):
        path = TMP / f"socket-{Process.serial}"
        process = wires.host.spawn(scope, TMP / "floor", "unix", path, mtu,
                                   kind, how)
        process.says("^ready$")
        self.pid = process.pid
        name = wires.namespace(f"guest{Process.serial}")
        self.guest = Place(NAMED / name)
        self.guest.spawn(scope, TMP / "bridge", path,
                         UPLINK).says("^ready$")
        join_floor(self.guest, mtu)
        settle(wires.control, self.guest)
        # It has to hear the guest's address once
        self.guest.run("ping", "-c1", "-W0.1", PEER, check=False)


class Native:
    """No daemon at all: host is the guest."""

    pid = None

    def __init__(self, wires):
        self.guest = wires.host


def cpu_seconds(pid):
    if not pid:
        return 0
    try:
        return sum(int(p.read_text().split()[0]) for p in pathlib.Path(
            f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    except OSError:
        raise Failed("the daemon died") from None


class Syscalls:
    """Count system calls of a process: perf stat, exact and without a log."""

    def __init__(self, scope, pid):
        self.out = TMP / f"perf-{Process.serial}"
        self.process = Process(scope, [
            "perf", "stat", "-x,", "-o", self.out,
            "-e", "raw_syscalls:sys_enter", "-p", pid])
        time.sleep(ATTACH_S)

    def count(self):
        self.process.popen.send_signal(signal.SIGINT)
        self.process.popen.wait(10)
        for line in self.out.read_text().splitlines():
            if "sys_enter" in line:
                return int(line.split(",")[0])
        raise Failed("perf stat counted nothing")


class Strace:
    """The same where perf is missing or may not."""

    def __init__(self, scope, pid):
        self.out = TMP / f"strace-{Process.serial}"
        self.process = Process(scope, ["strace", "-f", "-c", "-o", self.out,
                                       "-p", pid])
        time.sleep(ATTACH_S)

    def count(self):
        self.process.popen.send_signal(signal.SIGINT)
        self.process.popen.wait(10)
        total = re.search(r"([0-9]+)(?: +[0-9]+)? total$",
                          self.out.read_text(), re.M)
        if not total:
            raise Failed("strace counted nothing")
        return int(total[1])


def counter_type():
    """The better of the two that works here, or None."""
    if shutil.which("perf"):
        out = subprocess.run(["perf", "stat", "-x,", "-e",
                              "raw_syscalls:sys_enter", "true"],
                             capture_output=True, text=True)
        if re.search(r"^\d+,,raw_sys", out.stderr, re.M):
            return Syscalls
    return Strace if shutil.which("strace") else None
