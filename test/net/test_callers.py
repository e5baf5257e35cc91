# SPDX-License-Identifier: GPL-2.0-or-later
"""The contracts of those who start us, each as a row; doc/callers.md.

A row has a caller's own words: arguments, descriptors, PID files, sockets,
namespaces and capabilities.  What it takes for granted when we return is looked
at once, without waiting: status, silence, addresses, PID file, listeners.  Then
there is traffic, and the end of life as the caller has it.  No other program is
needed here; callers.py has the real ones.
"""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from clients import read_exactly
from lab import (BRIDGE, FRONT, GATEWAY, HOST, PASST, PASTA, PEER, PESTO,
                 ROOT_USER, UPLINK, USER, V4, V6, Namespace, alive,
                 end, run, signal_pid, until)

PORT, INNER, OUT = 7101, 80, 7102


def words(text, **values):
    return [w.format(**values) for w in shlex.split(text)]


def talk(client, server):
    """Both ways."""
    with client, server:
        for a, b, data in (client, server, b"ask"), (server, client, b"tell"):
            a.sendall(data)
            assert read_exactly(b, len(data)) == data


def outward(lab, guest, address=PEER[V4]):
    listener = lab.peer.listen(V4)
    client = guest.connect(V4, address, listener.getsockname()[1])
    talk(client, lab.peer.accept(listener))


def inward(guest, where, address, port=PORT, inner=INNER, family=V4):
    listener = guest.listen(family, inner)
    client = where.connect(family, address, port)
    talk(client, guest.accept(listener))
    listener.close()


# --- namespaces ---------------------------------------------------------------

class Engine:
    """A container engine: root in a user namespace of an ordinary user, and in
    a mount namespace, where a file stands for the container's namespace."""

    def __init__(self, lab):
        self.netns = lab.path("netns")
        self.netns.touch()
        os.chown(self.netns, 1000, 1000)
        self.process = lab.host.spawn(
            *USER, "unshare", "-Urm", "sh", "-c", f"unshare "
            f"--net={self.netns} true && echo ready && exec sleep infinity")
        self.process.says("^ready$")
        pid = self.process.pid
        self.prefix = ("setpriv", "--reuid", "1000", "--regid", "1000",
                       "--clear-groups", "nsenter", "-t", str(pid), "-U", "-m",
                       "--preserve-credentials")
        self.guest = lab.keep(Namespace(
            [*self.prefix, "nsenter", f"--net={self.netns}"],
            f"/proc/{pid}/root{self.netns}", lab.tmp))

    def remove(self):
        run(*self.prefix, "umount", str(self.netns))
        run(*self.prefix, "rm", str(self.netns))


class Builder(Engine):
    """An engine that has no file, but a process in the namespace."""

    def __init__(self, lab):
        super().__init__(lab)
        self.inner = lab.host.spawn(*self.prefix, "nsenter",
                                    f"--net={self.netns}", "sleep", "infinity")
        # On its way there it is in two others
        there = os.stat(f"/proc/{self.process.pid}/root{self.netns}").st_ino
        self.netns = f"/proc/{self.inner.pid}/ns/net"
        until(lambda: os.stat(self.netns).st_ino == there, "the process")

    def remove(self):
        self.inner.kill()


class Process:
    """A process with a user and a network namespace, joined from outside."""

    prefix = USER

    def __init__(self, lab):
        self.guest = lab.container()
        self.pid = self.guest.pid
        self.netns = f"/proc/{self.pid}/ns/net"

    def remove(self):
        self.guest.process.kill()


class Two(Process):
    """Its user namespace by one process, the network by another."""

    def __init__(self, lab):
        super().__init__(lab)
        self.other = lab.host.spawn(
            *USER, "nsenter", "-t", str(self.pid), "-U", "-n",
            "--preserve-credentials", "sleep", "infinity")
        self.netns = f"/proc/{self.other.pid}/ns/net"
        there = os.stat(f"/proc/{self.pid}/ns/net").st_ino
        until(lambda: os.stat(self.netns).st_ino == there, "the process")


CLOSED = "-t none -u none -T none -U none"


@dataclasses.dataclass
class Join:
    """@argv starts pasta for a namespace that is there."""
    argv: str
    kind: type = Engine
    dev: str = UPLINK
    v4: str = f"{HOST[V4]}/24"
    v6: str = f"{HOST[V6]}/64"
    gateway: str = GATEWAY[V4]
    says: bool = False          # may print something
    mtu: int = 65520
    ports: str = ""             # how they are published: "", lo, lo6, any
    ends: bool = True           # by itself, with the namespace


ROOTLESSKIT = ("--stderr --ns-ifname=tap0 --mtu=65520 --config-net "
               "--address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 "
               "--dns-forward=10.0.2.3 --no-map-gw ")
TAP0 = dict(dev="tap0", v4="10.0.2.100/24", gateway="10.0.2.2", says=True)
JOINS = {
    "podman 5": Join(
        "--config-net -t {port}-{port}:{inner}-{inner} "
        "--dns-forward 169.254.1.1 -u none -T none -U none --no-map-gw "
        "--quiet --netns {netns} --map-guest-addr 169.254.1.2", ports="any"),
    "podman 6": Join(
        "--config-net -t 127.0.0.1/{port}-{port}:{inner}-{inner} "
        "--dns-forward 169.254.1.1 -u none -T none -U none --no-map-gw "
        "--quiet --map-guest-addr 169.254.1.2 --pid {pidfile} "
        "--netns {netns}", ports="lo"),
    "podman 6, IPv6 loopback": Join(
        # The user's own PID file, too; and one address for both, once an error
        "--config-net --map-host-loopback 169.254.1.2 -P{pidfile} "
        "-t ::1/{port}-{port}:{inner}-{inner} --dns-forward 169.254.1.1 "
        "-u none -T none -U none --no-map-gw --quiet "
        "--map-guest-addr 169.254.1.2 --netns {netns}", ports="lo6"),
    "podman 6, options of the user": Join(
        # The last one counts; a line of containers.conf is one word
        "--config-net '-T 3000,3001' --mtu 9000 --mtu 2000 -a 10.0.0.2 -n 24 "
        "-g 10.0.0.1 -I net0 --ns-mac-addr 9a:9a:9a:9a:9a:9a -4 "
        "-t {port}-{port}:{inner}-{inner} --dns-forward 169.254.1.1 -u none "
        "-U none --quiet --map-guest-addr 169.254.1.2 --pid {pidfile} "
        "--netns {netns}", dev="net0", v4="10.0.0.2/24", v6=None,
        gateway="10.0.0.1", mtu=2000, ports="any"),
    "podman 6, bridge": Join(
        "--config-net --dns-forward 169.254.1.1 -t none -u none -T none "
        "-U none --no-map-gw --quiet --pid {pidfile} --netns {netns} "
        "-a fc00::3 -g fc00::1 --map-guest-addr fc00::2 "
        "--map-guest-addr 169.254.1.2 -c {control}", v6="fc00::3/64",
        ports="pesto"),
    "buildah": Join(
        "--config-net --mtu 2000 --ns-mac-addr 9a:9a:9a:9a:9a:9a "
        f"--dns-forward 169.254.1.1 {CLOSED} --no-map-gw --quiet "
        "--netns {netns} --map-guest-addr 169.254.1.2", Builder, mtu=2000),
    "rootlesskit 3, implicit": Join(
        ROOTLESSKIT + "--ipv4-only --tcp-ports=auto --udp-ports=auto "
        "--host-lo-to-ns-lo {pid}", Process, v6=None, ports="auto", **TAP0),
    "rootlesskit 3, detached": Join(
        ROOTLESSKIT + "--address=fd00::100 --gateway=fd00::2 "
        "--dns-forward=fd00::3 --tcp-ports=none --udp-ports=none "
        "--userns=/proc/{pid}/ns/user --netns={netns}", Process,
        v6="fd00::100/64", **TAP0),
    "rootlesskit 3, pesto": Join(
        ROOTLESSKIT + "--tcp-ports=none --udp-ports=none -c {control} {pid}",
        Process, ports="pesto=", **TAP0),
    "sandbox with two processes": Join(
        "--config-net --netns {netns} --userns /proc/{pid}/ns/user "
        "--no-netns-quit -P {pidfile} -q --map-host-loopback none "
        "--map-guest-addr none -t 127.0.0.1/{port}:{inner} "
        "--host-lo-to-ns-lo", Two, ports="lo", ends=False),
}


# Of Podman both families at once, one of them in brackets; of RootlessKit one by one
PODMAN_RULES = "-t 0.0.0.0/{port}:{inner} -t [::]/{port}:{inner}"
RULES = {"pesto": {V4: PODMAN_RULES, V6: PODMAN_RULES},
         "pesto=": {V4: "--tcp-ports=0.0.0.0/{port}:{inner}",
                    V6: "--tcp-ports=::/{port}:{inner}"}}


def is_configured(guest, row):
    """At once: the caller looks as soon as we have returned."""
    assert guest.addresses(V4, row.dev) == [row.v4]
    assert guest.addresses(V6, row.dev) == ([row.v6] if row.v6 else [])
    assert guest.default_route(V4) == [row.gateway]
    assert guest.mtu(row.dev) == row.mtu
    assert "UP" in guest.ip("link show dev lo")[0]["flags"]


def published(lab, guest, row, control):
    """A connection comes in as the row has ports published."""
    if row.ports == "any":
        inward(guest, lab.peer, HOST[V4])
    elif row.ports == "lo":
        inward(guest, lab.host, "127.0.0.1")
    elif row.ports == "lo6":
        inward(guest, lab.host, "::1", family=V6)
    elif row.ports == "auto":
        listener = guest.listen(V4, PORT)
        until(lambda: f":{PORT} " in lab.host.run("ss", "-tlnH"), "the port")
        talk(lab.host.connect(V4, "127.0.0.1", PORT), guest.accept(listener))
    elif row.ports.startswith("pesto"):
        assert lab.host.run(*USER, PESTO, "--version")
        for family, rules in RULES[row.ports].items():
            rules = words(rules, port=PORT, inner=INNER)
            for _ in range(2):      # the second time it is no error
                lab.host.run(*USER, PESTO, "--add", *rules, control)
            inward(guest, lab.peer, HOST[family], family=family)
            lab.host.run(*USER, PESTO, "--delete", *rules, control)
            with pytest.raises(ConnectionRefusedError):
                lab.peer.connect(family, HOST[family], PORT)


@pytest.mark.parametrize("name", JOINS)
def test_join(lab, name):
    row = JOINS[name]
    target = row.kind(lab)
    guest, control = target.guest, lab.path("pasta.sock")
    pidfile = lab.path("pasta.pid")
    argv = words(row.argv, port=PORT, inner=INNER, netns=target.netns,
                 pid=getattr(target, "pid", ""), pidfile=pidfile,
                 control=control)
    done = lab.host.run(*target.prefix, PASTA, *argv, check=False)
    assert (done.status, done.stdout) == (0, ""), done.stderr
    assert row.says or not done.stderr
    is_configured(guest, row)
    pid = daemon_of(lab, argv, pidfile)
    lab.scope.callback(end, pid)
    outward(lab, guest)
    published(lab, guest, row, control)
    target.remove()
    if not row.ends:
        signal_pid(pid, signal.SIGTERM)
    until(lambda: not alive(pid), "pasta to go")


ROOTLESSKIT_2 = ("--foreground --stderr --ns-ifname=tap0 --mtu=65520 --no-dhcp "
                 "--no-ra --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 "
                 "--dns-forward=10.0.2.3 --ipv4-only --tcp-ports=auto "
                 "--udp-ports=auto ")


@pytest.mark.parametrize("target", [
    "{0}", "--userns=/proc/{0}/ns/user --netns=/proc/{0}/root/proc/{0}/ns/net"],
    ids=["implicit", "detached"])
def test_rootlesskit_2(lab, target):
    """It waits for the interface, and configures that itself."""
    guest = lab.container()
    daemon = lab.host.spawn(*USER, PASTA, *ROOTLESSKIT_2.split(),
                            *target.format(guest.pid).split())
    until(lambda: guest.ok("ip", "link", "show", "dev", "tap0"), "tap0")
    assert guest.addresses(V4, "tap0") == []
    guest.sh("ip link set lo up && ip link set tap0 up && "
             "ip addr add 10.0.2.100/24 dev tap0 && "
             "ip route add default via 10.0.2.2")
    outward(lab, guest)
    published(lab, guest, Join("", ports="auto"), None)
    guest.process.kill()
    assert daemon.exit() == 0


def daemon_of(lab, argv, pidfile):
    """From the PID file, which has to be complete, or by its arguments."""
    if any(str(pidfile) in a for a in argv):
        text = pidfile.read_text()
        assert re.fullmatch(r"\d+\n", text)
        assert alive(int(text))
        return int(text)
    end = "\0".join(argv).encode() + b"\0"
    pid, = (int(p.name) for p in pathlib.Path("/proc").iterdir()
            if p.name.isdigit() and cmdline(p).endswith(end))
    return pid


def cmdline(proc):
    with contextlib.suppress(OSError):
        return (proc / "cmdline").read_bytes()
    return b""


TUNSETIFF, TAP_NO_PI = 0x400454ca, 0x1002


@pytest.mark.parametrize("how", ["path", "descriptor"])
def test_tap_of_a_sibling(lab, how):
    """Somebody else in the user namespace has made the tap and configured it, and
    hands it over with the namespace: loopback is joined, and pasta ends with the namespace."""
    target = Process(lab)
    guest = target.guest
    with guest.inside():
        tap = os.open("/dev/net/tun", os.O_RDWR)
        netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    with os.fdopen(tap, "r+b", 0), os.fdopen(netns):
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap7", TAP_NO_PI))
        guest.sh("ip link set lo up && ip link set tap7 up && "
                 f"ip addr add {HOST[V4]}/24 dev tap7 && "
                 f"ip route add default via {GATEWAY[V4]}")
        where = target.netns if how == "path" else f"fd:{netns}"
        process = lab.host.spawn(
            *USER, "nsenter", "-t", target.pid, "-U", "--preserve-credentials",
            PASTA, "-f", "-q", "--fd", tap, "--netns-only", "--netns", where,
            "-4", "-a", HOST[V4], "-n", "24", "-g", GATEWAY[V4],
            "-t", f"127.0.0.1/{PORT}:{INNER}", "-T", OUT,
            pass_fds=[tap, netns])
        until(lambda: f":{OUT} " in guest.run("ss", "-tlnH"), "the way out")
    outward(lab, guest)
    inward(guest, lab.host, "127.0.0.1")
    listener = lab.host.listen(V4, OUT)
    talk(guest.connect(V4, "127.0.0.1", OUT), lab.host.accept(listener))
    assert guest.addresses(V4, "tap7") == [f"{HOST[V4]}/24"]
    target.remove()
    if how == "path":       # of a descriptor nobody tells the end
        assert process.exit() == 0


def test_tap_and_command(lab):
    """The command has a namespace of its own, and the tap stays where it is."""
    guest = lab.named(lab.netns())
    with guest.inside():
        tap = os.open("/dev/net/tun", os.O_RDWR)
    with os.fdopen(tap, "r+b", 0):
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap7", TAP_NO_PI))
        done = lab.host.run(
            *USER, PASTA, "--fd", tap, "--", "sh", "-c",
            f"ip -o link; [ ! -e /proc/self/fd/{tap} ]; exit $((7 + $?))",
            check=False, pass_fds=[tap])
    assert (done.status, done.stderr) == (7, "")
    assert " lo: " in done.stdout and "tap7" not in done.stdout


LIX = ("--quiet --foreground --config-net --gateway 169.254.1.1 "
       "--address 169.254.1.2 --netmask 16 --dns-forward 169.254.1.1 "
       "--gateway 64:ff9b:1:4b8e:472e:a5c8:a9fe:101 "
       "--address 64:ff9b:1:4b8e:472e:a5c8:a9fe:102 "
       "--dns-forward 64:ff9b:1:4b8e:472e:a5c8:a9fe:101 --ns-ifname eth0 "
       "--no-netns-quit --netns /proc/self/fd/0 --userns /proc/self/fd/1")
AMBIENT = (*USER, "--inh-caps=-all,+sys_admin,+net_bind_service",
           "--ambient-caps=-all,+sys_admin,+net_bind_service")


@pytest.mark.parametrize("builder", ["root's", "a user's"])
def test_lix(lab, builder):
    """A build: namespaces as descriptors 0 and 1, the end by SIGKILL; ready is
    when the interface is up, which is polled, and addresses follow at once."""
    if builder == "root's":
        process = lab.host.spawn("unshare", "--user", "--net", "sleep",
                                 "infinity")
        proc = pathlib.Path(f"/proc/{process.pid}")
        until(lambda: "sleep" in (proc / "comm").read_text(), "namespaces")
        for name in "uid_map", "gid_map":
            (proc / name).write_text("0 1000 1")
        guest = lab.keep(Namespace(["nsenter", "-t", process.pid, "-n"],
                                   proc / "ns/net", lab.tmp))
        user = AMBIENT
    else:
        guest, user = lab.container(), USER
        proc = pathlib.Path(f"/proc/{guest.pid}")
    daemon = lab.host.spawn(
        "sh", "-c", f"exec \"$@\" 0<{proc}/ns/net 1<{proc}/ns/user", "sh",
        *user, PASTA, *LIX.split())
    until(lambda: any("UP" in l["flags"] for l in guest.ip("link show")
                      if l["ifname"] == "eth0"), "the interface")
    until(lambda: guest.addresses(V4) == ["169.254.1.2/16"] and
          guest.addresses(V6) == ["64:ff9b:1:4b8e:472e:a5c8:a9fe:102/64"],
          "addresses")
    outward(lab, guest)
    daemon.signal(signal.SIGKILL)
    assert daemon.exit() == -signal.SIGKILL
    assert daemon.output() == ""
    # What it made has gone with it, and another build may follow
    assert [l["ifname"] for l in guest.ip("link show")] == ["lo"]


COMMANDS = {
    "spliced only": f"--splice-only -T {PORT} -U none -t none -u none",
    "nothing of the host": "--config-net --map-host-loopback none "
                           "--map-guest-addr none -t none -T none",
    "zone": f"--config-net --outbound-if4 {UPLINK} -i {UPLINK}",
    "link alone": "--config-net --no-tcp --no-udp --no-icmp",
    "address and auto": f"--config-net -t {HOST[V4]}/auto",
    "gateway of its own": "--config-net -4 -a 10.0.2.15 -n 24 -g 10.0.2.2",
    "on record": "--config-net --pcap {dir}/pcap --log-file {dir}/log",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command(lab, name):
    """Sandboxes: a command with a network, and its status."""
    listener = lab.host.listen(V4, PORT)
    options = words(COMMANDS[name], dir=lab.tmp)
    done = lab.host.run(*USER, PASTA, *options, "--", "sh", "-c",
                        "ip -o link; exit 7", check=False)
    assert (done.status, done.stderr) == (7, "")
    if "--pcap" in options:
        assert lab.path("pcap").stat().st_size and lab.path("log").exists()
    spliced = "--splice-only" in options
    assert (f" {UPLINK}: " in done.stdout) != spliced
    if spliced:
        process = lab.host.spawn(*USER, PASTA, *options, "--", "socat", "-u",
                                 f"TCP4:127.0.0.1:{PORT}", "-")
        with lab.host.accept(listener) as server:
            server.sendall(b"hello\n")
        assert process.exit() == 0 and process.output() == "hello\n"


@pytest.mark.parametrize("argv", [
    (PASTA, "--version"), (PASST, "--version"), (PESTO, "--version"),
    (PASTA, "--host-lo-to-ns-lo", "--version"), (PASST, "--help"),
    (PASTA, "--help")], ids=lambda a: f"{a[0].rpartition('/')[2]} {a[-1]}")
def test_probes(lab, argv):
    """What is there is found out this way, with status 0 and on stdout."""
    done = lab.host.run(*USER, *argv, check=False)
    assert (done.status, done.stderr) == (0, "") and done.stdout
    if argv[-1] == "--help" and argv[0] == PASTA:
        for option in "--splice-only", "--host-lo-to-ns-lo":
            assert option in done.stdout


def test_probe_unknown(lab):
    """Unknown options come before --version, and are named in these words."""
    done = lab.host.run(*USER, PASTA, "--no-such-thing", "--version",
                        check=False)
    assert (done.status, done.stdout) == (1, "")
    assert "unrecognized option '--no-such-thing'" in done.stderr


# --- virtual machines ---------------------------------------------------------

@dataclasses.dataclass
class Machine:
    """@argv starts passt, which has its guest on a socket or a descriptor."""
    argv: str
    guest: str = HOST[V4]
    user: tuple = USER
    files: tuple = ()           # made before we start
    fd: int = None              # the guest's
    program: str = "passt"      # copied there, under this name
    stops: str = "guest"        # what ends it: that, or a signal
    again: bool = False         # started once more, with the same words


LIBVIRT = ("--one-off --socket {dir}/1-vm-net0.socket "
           "--pid {dir}/1-vm-net0-passt.pid --mtu 1500 --interface eth0 "
           "--log-file {dir}/log --hostname vm --fqdn vm.example "
           f"--address {HOST[V4]} --netmask 24 --address {HOST[V6]} "
           "--tcp-ports {port}:{inner} --tcp-ports "
           "127.0.0.1/9100-9105:9200-9205,~9103 --udp-ports 5353")
LOG = ("log",)
QEMU = ("--quiet --mtu 1500 --address 10.0.0.9 --netmask 255.255.255.0 "
        "--mac-addr 52:54:00:12:34:56 --gateway 10.0.0.1 --interface eth0 "
        "--outbound-if4 eth0 --dns 10.0.0.53 --fqdn vm.example "
        "--no-dhcp-search --map-host-loopback 10.0.0.1 "
        "--map-guest-addr 10.0.0.2 --dns-forward 10.0.0.3 --no-dhcpv6 "
        "--ipv4-only --search 'a.example b.example' "
        "--tcp-ports {port}:{inner},2222,4433:443 --udp-ports 5353 "
        "--pid {dir}/passt-XX.pid --fd 3")
PIDFILE = ("passt-XX.pid",)
MACHINES = {
    "libvirt": Machine(LIBVIRT, files=LOG),
    "libvirt, vhostuser": Machine("--vhost-user " + LIBVIRT, files=LOG),
    "qemu 10.1": Machine(QEMU, "10.0.0.9", files=PIDFILE, fd=3, again=True),
    "qemu 10.1, vhost-user": Machine("--vhost-user " + QEMU, "10.0.0.9",
                                     files=PIDFILE, fd=3, again=True),
    "libguestfs": Machine(
        "--one-off --socket {dir}/s --pid {dir}/p --address 169.254.2.15 "
        "--netmask 16 --mac-addr 52:56:00:00:00:02 --gateway 169.254.2.2",
        "169.254.2.15"),
    "libguestfs of root": Machine(
        "--one-off --socket {dir}/s --pid {dir}/p --address 169.254.2.15 "
        "--netmask 16 --mac-addr 52:56:00:00:00:02 --gateway 169.254.2.2",
        "169.254.2.15", ROOT_USER),
    "qemus": Machine(
        "-4 -a 172.30.0.2 -g 172.30.0.1 -n 255.255.255.0 -m 1500 "
        "-t {port}:{inner},8443 -u 5353 -H vm -M 52:54:00:12:34:57 "
        "--runas 1000:1000 -P {dir}/p -s {dir}/s -l {dir}/log -q",
        "172.30.0.2", ROOT_USER, program="passt.qemus", stops="signal"),
    "muvm": Machine("-q -f --fd {fd} -t {port}-{port}:{inner}-{inner} "
                    "-t 127.0.0.1/9100-9101:9100-9101", fd=7),
    "libkrun": Machine("-f --fd {fd}", fd=9),
    "crun": Machine("-t {port}:{inner} -u 7200 --no-dhcp-dns --no-map-gw "
                    "--fd {fd}", fd=5),
    "cloud-hypervisor": Machine(
        "--vhost-user --socket {dir}/s --foreground --quiet -a 10.0.2.15 "
        "-g 10.0.2.2 -D none", "10.0.2.15", stops="signal"),
    "UML": Machine("--vhost-user --foreground --socket {dir}/s "
                   "-t {port}:{inner}", stops="signal"),
}


class Started:
    """passt as one of these rows has it."""

    def __init__(self, lab, row):
        self.lab, self.row, self.dir = lab, row, lab.path("run")
        self.dir.mkdir(mode=0o700 if row.user == ROOT_USER else 0o777,
                       exist_ok=True)
        if row.user == USER:
            os.chown(self.dir, 1000, 1000)
        for name in row.files:
            (self.dir / name).touch()
            (self.dir / name).chmod(0o666)
        self.program = lab.path(row.program)
        shutil.copy(PASST, self.program)
        self.argv = words(row.argv, dir=self.dir, fd=row.fd, port=PORT,
                          inner=INNER)
        self.path = self.after("--socket") or self.after("-s")
        self.pidfile = (self.after("--pid") or self.after("-P"))

    def after(self, option):
        return (self.argv[self.argv.index(option) + 1]
                if option in self.argv else None)

    def start(self):
        """Run it; keep the other end of its descriptor, if it has one."""
        self.ours, theirs = socket.socketpair()
        self.lab.scope.callback(self.ours.close)
        with theirs:
            fd = theirs.fileno()
            move = (f"exec \"$@\" {self.row.fd}<&{fd} {fd}<&-"
                    if self.row.fd is not None else "exec \"$@\"")
            process = self.lab.host.spawn(
                *self.row.user, "bash", "-c", move, "bash", self.program,
                *self.argv, pass_fds=[fd])
        if self.stays():
            until(lambda: not self.path or os.path.exists(self.path),
                  "the socket")
            self.pid = process.pid
        else:
            assert process.exit() == 0, process.output()
            self.check_ready(process)
        self.lab.scope.callback(signal_pid, self.pid)
        self.process = process

    def stays(self):
        return "-f" in self.argv or "--foreground" in self.argv

    def check_ready(self, process):
        if "-q" in self.argv or "--quiet" in self.argv:
            assert process.output() == ""
        if self.path:
            assert f" {self.path} " in self.lab.host.run("ss", "-xlH")
        if self.pidfile:
            text = pathlib.Path(self.pidfile).read_text()
            assert re.fullmatch(r"\d+\n", text)
            self.pid = int(text)
            assert alive(self.pid)
        else:
            self.pid = daemon_of(self.lab, self.argv, None)

    def connect(self):
        """A guest on its socket, with the address that it is to have."""
        program = FRONT if "--vhost-user" in self.argv else BRIDGE
        features = ["ffffffffffffffff"] if program == FRONT else []
        if self.path:
            guest = self.lab.join(self.pid, 1500, program, self.path,
                                  *features)
        else:
            with self.ours:
                fd = self.ours.fileno()
                guest = self.lab.join(self.pid, 1500, program, fd, *features,
                                      pass_fds=[fd])
        if self.row.guest != HOST[V4]:
            guest.sh(f"ip addr flush dev {UPLINK}; "
                     f"ip addr add {self.row.guest}/16 dev {UPLINK}; "
                     f"ip route replace default dev {UPLINK}")
        return guest


@pytest.mark.parametrize("name", MACHINES)
def test_machine(lab, name):
    row = MACHINES[name]
    for _ in range(2 if row.again else 1):
        one = Started(lab, row)
        one.start()
        guest = one.connect()
        outward(lab, guest)
        if str(PORT) in row.argv.format(port=PORT, inner=INNER, dir="", fd=""):
            inward(guest, lab.peer, HOST[V4])
        if row.stops == "guest":
            guest.bridge.kill()
        else:
            signal_pid(one.pid, signal.SIGTERM)
        until(lambda: not alive(one.pid), "passt to go")
        if one.stays():
            assert one.process.exit() == 0


def test_machine_all_ports(lab):
    """crun's and KubeVirt's words: it works, or one line says what it takes."""
    for ports in ("-t", "all", "-u", "all"), ("-t", "~15001,~15006"):
        done = lab.host.run(*USER, PASST, "-q", *ports, "-P", lab.path("p"),
                            "-s", lab.path("s"), check=False)
        if done.status == 0:
            end(int(lab.path("p").read_text()))
        else:
            assert done.status == 1
            assert "descriptors" in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_words_of_the_summary(lab):
    """A tool for virtual machines reads its guest's address from stderr, and
    closes that afterwards."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = theirs.fileno()
        process = subprocess.Popen(
            [*lab.host.prefix, *USER, PASST, "--fd", str(fd), "--foreground",
             "-t", f"{PORT}:{INNER}"], pass_fds=[fd], text=True,
            stderr=subprocess.PIPE)
        lab.scope.callback(process.kill)
        theirs.close()
        found = {}
        for line in process.stderr:
            key, _, value = line.strip().partition(": ")
            found[key] = value
            if key == "router":
                break
        assert "DHCP:" in found
        assert (found["assign"], found["router"]) == (HOST[V4], GATEWAY[V4])
        process.stderr.close()
        guest = lab.join(process.pid, 1500, BRIDGE, ours.fileno(),
                         pass_fds=[ours.fileno()])
        ours.close()
        inward(guest, lab.peer, HOST[V4])
        guest.bridge.kill()
        assert process.wait(20) == 0
