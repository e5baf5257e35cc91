# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as a process: how it starts, whom it serves, when it ends."""

import fcntl
import os
import pathlib
import re
import signal
import socket
import stat
import struct

import pytest

from lab import (DEADLINE, DGRAM, GATEWAY, HOST, PASST, PASTA, ROOT_USER,
                 SANITIZED, TMP, USER, UPLINK, V4, V6, Namespace, alive, children,
                 run, signal_pid, until)


def limited(kind):
    """A user namespace in which there can be no more of that kind."""
    return ("unshare", "-Ur", "sh", "-c", f"echo 0 >/proc/sys/user/max_{kind}"
            "_namespaces; exec \"$@\"", "sh")


NO_CAPS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")


def pasta(lab, *argv, user=USER, **kw):
    return lab.host.run(*user, PASTA, *argv, check=False, **kw)


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exit_status_of_the_command(lab, status):
    done = pasta(lab, "--config-net", "--", "sh", "-c", f"exit {status}")
    assert done.status == status


def test_segmentation_fault_of_the_command(lab):
    done = pasta(lab, "--config-net", "--", "/usr/bin/python3", "-c",
                 "import ctypes; ctypes.string_at(0)")
    assert done.status == 128 + signal.SIGSEGV


def test_kill_of_the_command(lab):
    guest = lab.pasta("--config-net")
    signal_pid(guest.pid, signal.SIGKILL)
    assert guest.process.exit() == 128 + signal.SIGKILL


def test_command_not_found(lab):
    """An error of ours is on stderr, and no success."""
    done = pasta(lab, "--config-net", "--", "/nonexistent")
    assert done.status == 127
    assert "/nonexistent" in done.stderr or "No such file" in done.stderr


def test_command_in_no_directory(lab):
    """Also where one is closed: root's PATH has root's own."""
    closed = lab.path("closed")
    closed.mkdir(0o700)
    done = pasta(lab, "--", "nonexistent",
                 user=(*USER, "env", f"PATH={closed}:/usr/bin:/bin"))
    assert done.status == 127
    assert "Can't run nonexistent: No such file" in done.stderr


def test_command_cannot_be_run(lab):
    assert pasta(lab, "--", "/etc/passwd").status == 126


@pytest.mark.parametrize("around,options,words", [
    (USER, ("2147483647",), "There is no process 2147483647"),
    (limited("user"), ("true",),
     "see the limits in /proc/sys/user"),
    (("unshare", "-m", "sh", "-c", "mount --bind / /mnt;"
      "mount --rbind /proc /mnt/proc; mount --bind /tmp /mnt/tmp;"
      "exec chroot /mnt \"$@\"", "sh", *USER), ("true",), "not in a chroot"),
    (USER, ("--netns-only", "--", "true"),
     "Operation not permitted (without a new user namespace"),
    ((*USER, "prlimit", "--nproc=1"), ("true",), "see ulimit -u"),
    ((*USER, "unshare", "-U"), ("true",), "the user namespace has none such"),
], ids=["PID", "limit", "chroot", "netns-only", "processes", "unmapped"])
def test_what_is_in_the_way(lab, around, options, words):
    done = pasta(lab, *options, user=around)
    assert done.status == 1
    assert words in done.stderr


def test_no_place_for_a_socket(lab):
    done = lab.host.run(
        "unshare", "-m", "sh", "-c", f"mount --bind {TMP} /mnt;"
        "mount -t tmpfs -o ro none /tmp; exec \"$@\"", "sh", *USER,
        f"/mnt/{pathlib.Path(PASST).name}", check=False)
    assert done.status == 1
    assert "/tmp/passt_99.socket: Read-only file system\n" in done.stderr


@pytest.mark.parametrize("kind,what", [
    ("user", "creating a user namespace"), ("mnt", "leaving namespaces")])
def test_sandbox_in_parts(lab, kind, what):
    """What is refused is told, and whether something else does."""
    around = (*USER, *limited(kind), *(NO_CAPS if kind == "user" else ()))
    options = "--socket", lab.path("socket")
    strict = lab.host.run(*around, PASST, "--sandbox=strict", *options,
                          check=False)
    assert strict.status == 1
    assert f"Failed to sandbox process, exiting: {what}: " in strict.stderr
    log = lab.path("log")
    lab.daemon(PASST, "--log-file", log, *options, user=around)
    assert (f"Sandbox: {what}: No space left on device, using Landlock alone "
            "instead\n") in log.read_text()
    assert pasta(lab, "--sandbox=loose", "true").status == 1


@pytest.mark.skipif(SANITIZED, reason="the sanitizers reserve terabytes")
def test_address_space(lab):
    """What is too little is said, and how it came about."""
    done = pasta(lab, "--", "true", user=(*USER, "prlimit", "--as=209715200"))
    said = done.stderr.splitlines()
    assert done.status == 1 and "200 MiB (ulimit -v)" in said[0]
    assert said[1].endswith("Cannot allocate memory")


def test_sandbox_that_is_not_wanted(lab):
    pid = lab.daemon(PASST, "--sandbox=none", "-s", lab.path("socket"))
    assert pathlib.Path(f"/proc/{pid}/root/etc").is_dir()
    pid = lab.daemon(PASST, "-s", lab.path("other"))
    assert not pathlib.Path(f"/proc/{pid}/root/etc").is_dir()


def test_root_of_a_user_namespace(lab):
    """Where /proc does not tell that it is one, as in a bare chroot: it has no nobody."""
    path, pidfile = lab.path("socket"), lab.path("pid")
    lab.host.run(*USER, "unshare", "-r", "-m", "sh", "-c",
                 'mount -t tmpfs none /proc && exec "$@"', "sh", PASST, "-s", path,
                 "--pid", pidfile)
    lab.host.socket(socket.AF_UNIX).connect(str(path))
    signal_pid(int(pidfile.read_text()))


def test_user_namespace_is_missing(lab):
    guest = lab.container()
    done = pasta(lab, "--netns", f"/proc/{guest.pid}/ns/net")
    assert done.status == 1
    assert "needs --userns" in done.stderr


# Debian's 2023 release looks into them
def test_arguments_of_the_command_are_its_own(lab):
    """Options after the command's name belong to the command."""
    done = pasta(lab, "echo", "--vhost-user", "-F", "x", "--version")
    assert (done.status, done.stdout) == (0,
                                              "--vhost-user -F x --version\n")


# Debian's 2023 release hands on its listening sockets
def test_command_inherits_no_descriptor(lab):
    done = pasta(lab, "--config-net", "-t", "7001", "--", "ls", "-l",
                 "/proc/self/fd")
    numbers = [line.split()[-3] for line in done.stdout.splitlines()[1:]]
    assert sorted(numbers) == ["0", "1", "2", "3"]      # 3 is the directory


IGNORING = """
import os, signal, sys
for n in signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1:
    signal.signal(n, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2,
                                          signal.SIGCHLD})
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_signals_of_the_parent(lab):
    """Ignored and blocked ones are the command's, and do not hinder us."""
    show = ("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    parent = (*USER, "/usr/bin/python3", "-c", IGNORING)
    alone = lab.host.run(*parent, *show)
    done = lab.host.run(*parent, PASTA, "--config-net", "--", *show,
                        check=False)
    assert (done.status, done.stdout) == (0, alone)
    done = pasta(lab, "false", user=parent)
    assert done.status == 1


def test_signals_blocked_by_the_parent(lab):
    """We can be told to go all the same."""
    path = lab.path("socket")
    process = lab.host.spawn(*USER, "/usr/bin/python3", "-c", IGNORING,
                             PASST, "-f", "-s", path)
    until(path.exists, "the socket")
    process.signal(signal.SIGTERM)
    assert process.exit() == 0


# Debian's 2023 release misses its AVX2 build, and says so
def test_command_is_quiet(lab):
    """Nothing but the command's own words is printed with --quiet."""
    done = pasta(lab, "--quiet", "--config-net", "--", "echo", "x")
    assert (done.status, done.stdout, done.stderr) == (0, "x\n", "")


@pytest.mark.parametrize("user", [USER, ROOT_USER], ids=["user", "root"])
def test_who_runs_it(lab, user, family):
    # Debian's 2023 release hangs when started as root
    guest = lab.pasta("--config-net", user=user)
    assert guest.addresses(family) == lab.host.addresses(family)
    assert guest.reachable(family)
    status = pathlib.Path(f"/proc/{guest.process.pid}/status").read_text()
    uid = next(l.split()[2] for l in status.splitlines()
               if l.startswith("Uid:"))
    assert uid != "0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_signals(lab, number):
    """Asked to go, passt goes, with success."""
    process = lab.host.spawn(*USER, PASST, "-f", "-s", lab.path("socket"))
    until(lambda: listening(lab, lab.path("socket")), "the socket")
    process.signal(number)
    assert process.exit() == 0


def takes(pid, number):
    """Held, or handled."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    masks = re.findall(r"^Sig(?:Blk|Cgt):\t(.*)$", status, re.M)
    return any(int(m, 16) >> number - 1 & 1 for m in masks)


@pytest.mark.parametrize("option", ["-P", "-p", "-l"])
def test_signals_before_a_reader(lab, option):
    """A FIFO may wait for its reader for ever, but not keep us."""
    fifo = lab.path("fifo")
    os.mkfifo(fifo)
    os.chown(fifo, 1000, 1000)
    process = lab.host.spawn(*USER, PASST, "-f", "-s", lab.path("socket"),
                             option, fifo)
    until(lambda: takes(process.pid, signal.SIGTERM), "its own signals")
    process.signal(signal.SIGTERM)
    assert process.exit() == 0


@pytest.mark.parametrize("option", ["--netns", "--userns"])
def test_no_namespace_but_a_fifo(lab, option):
    fifo = lab.path("fifo")
    os.mkfifo(fifo, 0o644)
    done = pasta(lab, "--netns", "/proc/1/ns/net", option, fifo)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.endswith(f"{fifo}: Invalid argument\n")


@pytest.mark.parametrize("by", ["PID", "path"])
def test_own_namespace(lab, by):
    """A process that has the host's network has no other one to be given."""
    other = lab.host.spawn("sleep", "infinity")
    target = [other.pid] if by == "PID" else \
        ["--netns", f"/proc/{other.pid}/ns/net"]
    done = pasta(lab, "--runas", "0", "--config-net", "-I", "tap9", *target,
                 user=())
    assert done.status == 1 and "that we are in" in done.stderr
    assert not lab.host.ok("ip", "link", "show", "tap9")


@pytest.mark.parametrize("of", ["its own", "another pasta's"])
def test_name_in_use(lab, of):
    """As a container has one already: the kernel says little."""
    guest = lab.container()
    if of == "its own":
        guest.sh(f"ip link add {UPLINK} type veth peer eth7")
    else:
        lab.daemon(PASTA, guest.pid)
    done = pasta(lab, guest.pid)
    assert done.status == 1 and "--ns-ifname" in done.stderr


def listening(lab, path):
    return f" {path} " in lab.host.run("ss", "-xlH")


def test_ready_when_the_parent_returns(lab):
    """Exit status 0 of the parent: socket and PID file are there."""
    path, pid = lab.path("socket"), lab.path("pid")
    lab.host.run(*USER, PASST, "-q", "-s", path, "-P", pid)
    assert pid.read_text() == f"{int(pid.read_text())}\n"
    number = int(pid.read_text())
    try:
        assert alive(number) and listening(lab, path)
        assert stat.S_IMODE(pid.stat().st_mode) == 0o600
        assert os.path.samefile(f"/proc/{number}/exe", PASST) or \
            "passt" in os.readlink(f"/proc/{number}/exe")
        # Nobody waits for an output that a daemon holds open
        null = os.stat("/dev/null").st_rdev
        assert [os.stat(f"/proc/{number}/fd/{fd}").st_rdev
                for fd in range(3)] == [null] * 3
    finally:
        signal_pid(number, signal.SIGTERM)
    until(lambda: not alive(number), "passt to go")


def test_pid_file_is_overwritten(lab):
    """QEMU makes the file before it starts us."""
    pid = lab.path("pid")
    pid.write_text("garbage, longer than a PID\n" * 3)
    pid.chmod(0o666)
    lab.host.run(*USER, PASST, "-q", "-s", lab.path("socket"), "-P", pid)
    number = int(pid.read_text())
    assert alive(number)
    signal_pid(number, signal.SIGTERM)


def test_pid_file_has_no_length(lab):
    """Whoever started us reads a pipe; what can't be written is said."""
    out = lab.host.run(PASST, "-q", "-s", lab.path("socket"), "-P",
                       "/dev/stdout")
    number = int(out)
    assert alive(number)
    signal_pid(number, signal.SIGTERM)
    done = lab.host.run(*USER, PASST, "-q", "-s", lab.path("full"), "-P",
                        "/dev/full", check=False)
    assert done.status == 1
    assert "Can't write PID file: No space left on device" in done.stderr


def test_socket_in_use(lab):
    """A second passt on the same path is refused."""
    path = lab.path("socket")
    lab.daemon(PASST, "-q", "-s", path)
    done = lab.host.run(*USER, PASST, "-q", "-s", path, check=False)
    assert done.status == 1 and str(path) in done.stderr


# Debian's 2023 release takes port 0, and hangs without a PID file
@pytest.mark.parametrize("argv", [
    ["-m", "70000"], ["-m", "1500x"], ["-a", "127.0.0.1"], ["-a", "10.0.0.300"],
    ["-a", "10.0.0.1/33"], ["-a", "10.0.0.1/24", "-n", "24"],
    ["-n", "255.0.255.0"], ["-g", "::1"], ["-M", "9a:55:9a:55:9a"],
    ["-i", "nosuch"], ["-I", "a/b"], ["-o", "ff02::1"], ["-D", ""],
    ["-S", " "], ["--dns-forward", "x"], ["--map-host-loopback", "127.0.0.1"],
    ["-t", "80-79"], ["-t", "0"], ["-u", "80:90-91"], ["-t", "80,,81"],
    ["-T", "127.0.0.1/80"], ["-4", "-t", "::/80"], ["--no-udp", "-u", "80"],
    ["-t", "7001:7002", "-t", "7001:7003"], ["-t", "80", "-t", "none"],
    ["-P", "/nonexistent/pid"], ["-l", "/nonexistent/log"],
    ["--log-size", "1"], ["--pcap-size", "1048575", "-p", "/dev/null"],
    ["--pcap-size", "2097152", "-p", "/dev/null"], ["--pcap-drops"],
    ["--busy-poll", "1001"], ["--busy-poll", "-1"], ["--busy-poll", "50us"],
    ["--mark", "0"], ["--mark", "4294967296"],
    ["--pcap-files", "3", "-p", "/dev/null"], ["--fd", "99"],
    ["--ready-fd", "99"], ["--ready-fd", "x"], ["--fd", "x"], ["-s", "x"],
    ["--no-dhcp-dns"], ["--splice-only", "--no-splice"],
    ["--netns", "nosuch"], ["--runas", "nosuch"], ["--takeover", ""]], ids=" ".join)
def test_errors(lab, argv):
    """A mistake: exit status 1, and one line to read on stderr."""
    command = [] if "--netns" in argv else ["--", "true"]
    done = pasta(lab, *argv, *command)
    assert (done.status, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("argv", [["--no-such-option"], ["-Z"], ["--mtu"],
                                  ["--foreground=yes"], ["--no"]],
                         ids=" ".join)
def test_unknown_option(lab, argv):
    """One line: what it is, and where to read on."""
    done = pasta(lab, *argv)
    assert (done.status, done.stdout) == (1, "")
    line, = done.stderr.splitlines()
    assert argv[0].lstrip("-").partition("=")[0] in line
    assert "--help" in line


@pytest.mark.parametrize("argv", [["-t", "80-79"], ["-4", "-u", "::/80"],
                                  ["--mtu", "x"]], ids=" ".join)
def test_mistake_touches_nothing(lab, argv):
    """A mistyped option costs neither files nor a socket's name."""
    files = {o: lab.path(o.strip("-")) for o in ("--pid", "--log-file",
                                                 "--pcap")}
    for path in files.values():
        path.write_text("precious")
        path.chmod(0o666)
    socket = lab.path("socket")
    done = lab.host.run(*USER, PASST, *sum(files.items(), ()), "-s", socket,
                        *argv, check=False)
    assert (done.status, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert [p.read_text() for p in files.values()] == ["precious"] * 3
    assert not socket.exists()


def test_socket_path_of_a_file(lab):
    """A file that is in the way stays there."""
    path = lab.path("dear")
    path.write_text("precious")
    done = lab.host.run(*USER, PASST, "-q", "-s", path, check=False)
    assert done.status == 1 and str(path) in done.stderr
    assert path.read_text() == "precious"


def arp_request():
    """An Ethernet frame that asks for the gateway, behind its length."""
    mac = bytes.fromhex("525400123456")
    frame = (b"\xff" * 6 + mac + bytes.fromhex("0806 0001 0800 06 04 0001") +
             mac + socket.inet_aton(HOST[V4]) + bytes(6) +
             socket.inet_aton(GATEWAY[V4]))
    return len(frame).to_bytes(4, "big") + frame


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("options", [["-f"], []],
                         ids=["foreground", "background"])
def test_descriptor_numbers(lab, number, options):
    """Whichever descriptor the guest is on, it is served; once it closes, that
    is all."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    pid = lab.path("pid")
    with ours, theirs:
        fd = theirs.fileno()
        # dash has no descriptors of two digits
        process = lab.host.spawn(
            "bash", "-c", f'exec "$@" {number}<&{fd}', "bash", *USER, PASST,
            "-q", *options, "-P", pid, "--fd", number, pass_fds=[fd])
        theirs.close()
        ours.sendall(arp_request())
        with ours.makefile("rb") as f:
            # We are asked for our address, too
            while True:
                frame = f.read(int.from_bytes(f.read(4), "big"))
                if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
                    break
        assert socket.inet_ntoa(frame[28:32]) == GATEWAY[V4]
        if not options:
            assert process.exit() == 0
        daemon = int(pid.read_text())
        assert alive(daemon)
    until(lambda: not alive(daemon), "passt to go with its guest")
    assert process.exit() == 0


def test_root_owned_paths(lab):
    """Started as root it may use directories that nobody may look into."""
    directory = lab.path("private")
    directory.mkdir(0o700)
    path, pid = directory / "socket", directory / "pid"
    lab.host.run(PASST, "-q", "-s", path, "-P", pid, "-l", directory / "log",
                 "-p", directory / "pcap")
    number = int(pid.read_text())
    lab.scope.callback(signal_pid, number)
    assert alive(number) and listening(lab, path)
    assert sorted(p.name for p in directory.iterdir()) == \
        ["log", "pcap", "pid", "socket"]


TUNSETIFF, TAP, NO_PI, VNET_HDR = 0x400454ca, 0x0002, 0x1000, 0x4000


@pytest.mark.parametrize("header", [0, VNET_HDR], ids=["plain", "vnet-hdr"])
def test_tap_descriptor(lab, header, family):
    """pasta serves a tap device that somebody else has made and set up."""
    guest = lab.named(lab.netns())
    with guest.inside():
        tap = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap7",
                                                TAP | NO_PI | header))
        process = lab.host.spawn(*USER, PASTA, "-f", "--fd", tap,
                                 pass_fds=[tap])
    finally:
        os.close(tap)
    guest.run("sysctl", "-q", "-w", "net.ipv6.conf.tap7.accept_dad=0")
    guest.run("ip", "link", "set", "tap7", "up")
    if family == V4:
        guest.run("ip", "addr", "add", f"{HOST[V4]}/24", "dev", "tap7")
    else:
        until(lambda: guest.addresses(V6, "tap7"), "an address by SLAAC")
    assert guest.reachable(family)
    guest.run("ip", "link", "del", "tap7")
    assert process.exit() == 1      # the end of its interface is an error


def test_descriptor_of_something_else(lab):
    """--fd with a pipe is a mistake, not a guest that has gone."""
    done = lab.host.run(*USER, PASST, "-q", "--fd", "1", check=False)
    assert done.status == 1 and "--fd" in done.stderr


# Other people's machines have another /dev

def with_tun(lab, make, *argv):
    """Run pasta where /dev/net is empty but for what @make makes there."""
    # Each of these has a mount namespace of its own
    return lab.host.run(
        "sh", "-c", f"mount -t tmpfs none /dev/net && {make} && exec \"$@\"",
        "sh", *argv, PASTA, "-q", "--config-net", "--", "ip", "-4", "route",
        check=False)


MAKE_TUN = "mknod -m 600 /dev/net/tun c 10 200"


def test_tun_of_root(lab):
    """Root makes the interface with a device that is root's alone."""
    done = with_tun(lab, MAKE_TUN, *ROOT_USER)
    assert done.status == 0, done.stderr
    assert f" dev {UPLINK}" in done.stdout


@pytest.mark.parametrize("make,reason", [
    (MAKE_TUN, "Permission denied"), ("true", "No such file or directory")],
    ids=["0600", "none"])
def test_no_tun(lab, make, reason):
    """Who has no device learns which one."""
    done = with_tun(lab, make, *USER)
    assert done.status == 1
    assert done.stderr == f"Can't open /dev/net/tun: {reason}\n"


# Which namespace

@pytest.fixture
def sandbox(lab):
    return lab.container()


def joined(guest, lab):
    """Is it configured by the time that the parent of the daemon is gone?"""
    for family in (V4, V6):
        assert guest.addresses(family) == lab.host.addresses(family)
        assert guest.reachable(family)


# Debian's 2023 release does not go
def test_join_by_pid(lab, sandbox):
    pid = lab.daemon(PASTA, "--config-net", sandbox.pid)
    joined(sandbox, lab)
    sandbox.process.kill()
    until(lambda: not alive(pid), "pasta to go with its namespace")


def test_join_by_pid_as_root(lab):
    """A namespace of root's process, joined by a root that becomes nobody."""
    process = lab.host.spawn("unshare", "--net", "sleep", "infinity")
    comm = pathlib.Path(f"/proc/{process.pid}/comm")
    until(lambda: "sleep" in comm.read_text(), "the namespace")
    guest = lab.keep(Namespace(["nsenter", "-t", process.pid, "-n"],
                               f"/proc/{process.pid}/ns/net", lab.tmp))
    pid = lab.daemon(PASTA, "--config-net", process.pid, user=ROOT_USER)
    joined(guest, lab)
    process.kill()
    until(lambda: not alive(pid), "pasta to go with its namespace")


# Debian's 2023 release does not go
def test_join_by_path(lab, sandbox):
    """As RootlessKit does; /proc can't be watched, it must be looked at."""
    pid = lab.daemon(PASTA, "--config-net",
                     "--userns", f"/proc/{sandbox.pid}/ns/user",
                     "--netns", f"/proc/{sandbox.pid}/ns/net")
    joined(sandbox, lab)
    sandbox.process.kill()
    until(lambda: not alive(pid), "pasta to go with its namespace")


@pytest.mark.parametrize("user,runas", [
    (USER, "1000"), (ROOT_USER, "0"), (ROOT_USER, "1000"),
    (ROOT_USER, "nobody")], ids=["user", "root", "root's user", "nobody"])
def test_command_in_a_named_user_namespace(lab, sandbox, user, runas):
    """Also an administrator's, who needs none to make the others."""
    there = f"/proc/{sandbox.pid}/ns/user"
    done = pasta(lab, "--config-net", "--runas", runas, "--userns", there, "--",
                 "sh", "-c", "readlink /proc/self/ns/user; ip -4 addr",
                 user=user)
    assert done.status == 0, done.stderr
    assert done.stdout.startswith(os.readlink(there) + "\n")
    assert f" {HOST[V4]}/" in done.stdout


def test_no_user_namespace_for_the_command(lab):
    done = pasta(lab, "--userns", "/nonexistent", "--", "true", user=ROOT_USER)
    assert done.status == 1
    assert "Can't open user namespace /nonexistent" in done.stderr


def test_the_wrong_user_namespace(lab, sandbox):
    """Root needs none to join, but what it names is to be the right one."""
    def joins(userns, *target):
        return pasta(lab, "-f", "--userns", userns, *target, user=ROOT_USER)
    there = f"/proc/{sandbox.pid}/ns"
    no_rights = f"has no rights over network namespace {there}/net\n"
    for target in ("--netns", f"{there}/net"), (sandbox.pid,):
        for userns, why in (("/nonexistent", "No such file or directory\n"),
                            ("/etc/passwd", no_rights),
                            (f"/proc/{lab.container().pid}/ns/user", no_rights)):
            done = joins(userns, *target)
            assert done.status == 1
            assert f"ser namespace {userns}" in done.stderr
            assert done.stderr.endswith(why)


def test_user_namespace_by_name_as_root(lab, sandbox):
    """Of those that have rights any will do."""
    for userns in f"/proc/{sandbox.pid}/ns/user", "/proc/self/ns/user":
        pid = lab.daemon(PASTA, "--config-net", "--userns", userns, "--netns",
                         f"/proc/{sandbox.pid}/ns/net", user=ROOT_USER)
        joined(sandbox, lab)
        signal_pid(pid, signal.SIGTERM)
        until(lambda p=pid: not alive(p), "pasta to end")


def rootful(lab, *argv):
    """A namespace in /run/netns belongs to root: only root can enter it."""
    return lab.daemon(PASTA, "--config-net", "--runas", "0", *argv,
                      user=ROOT_USER)


@pytest.mark.parametrize("by", ["path", "name"])
def test_join_named(lab, by):
    name = lab.netns()
    pid = rootful(lab, "--netns",
                  f"/run/netns/{name}" if by == "path" else name)
    joined(lab.named(name), lab)
    run("ip", "netns", "del", name)
    until(lambda: not alive(pid), "pasta to go with its namespace")


def test_bind_mounted_path(lab):
    """As Podman does: a file that stands for the namespace, then is gone."""
    name = lab.netns()
    path = lab.path("netns")
    path.touch()
    run("mount", "--bind", f"/run/netns/{name}", str(path))
    try:
        pid = rootful(lab, "--netns", path)
        joined(lab.named(name), lab)
    finally:
        run("umount", str(path))
    path.unlink()
    until(lambda: not alive(pid), "pasta to go with its namespace")


def test_ports_of_the_predecessor(lab):
    """A container that starts anew: the namespace is gone, and the next pasta
    wants the same ports at once."""
    ports = "-t", "7001-7020", "-u", "7001-7020"
    name = lab.netns()
    rootful(lab, *ports, "--netns", name)
    for _ in range(20):
        last, name = name, lab.netns()
        run("ip", "netns", "del", last)
        rootful(lab, *ports, "--netns", name)


def test_ports_are_closed_first(lab):
    """By ourselves: the kernel would close the namespace before."""
    log = lab.path("strace")
    lab.host.run(*USER, "strace", "-f", "-o", log,
                 "-e", "trace=bind,close,exit_group",
                 PASTA, "-t", "7001", "-u", "7002", "true")
    text = log.read_text()
    bound = {re.search(rf"(\d+) +bind\((\d+), .*htons\({port}\)", text).groups()
             for port in (7001, 7002)}
    (pid,) = {pid for pid, _ in bound}
    last = re.findall(rf"^{pid} +(\w+)\((\d+)\)", text, re.M)[-3:]
    assert last[2][0] == "exit_group"
    assert {("close", fd) for _, fd in bound} == set(last[:2])


def test_ports_of_another(lab):
    """Who stays is waited for in vain."""
    lab.host.listen(V4, 7001)
    done = pasta(lab, "-t", "7001", "true")
    assert done.status == 1
    assert "Address already in use" in done.stderr


def test_datagrams_of_another(lab):
    """One who would share its port is somebody else, too: it would get
    nothing from then on, or we would."""
    lab.host.bind(V4, DGRAM, 7002)
    done = pasta(lab, "-u", "7002", "true")
    assert done.status == 1
    assert "Address already in use" in done.stderr
    lab.pasta("-u", "7003")
    assert pasta(lab, "-u", "7003", "true").status == 1


def test_group_port_is_shared(lab):
    """What comes to the port of mDNS is for all who listen to it."""
    lab.host.bind(V4, DGRAM, 5353)
    assert pasta(lab, "-u", "5353", "true").status == 0


def test_no_netns_quit(lab):
    name = lab.netns()
    pid = rootful(lab, "--no-netns-quit", "--netns", name)
    # Another daemon that does quit shows that the time to quit has come
    other = rootful(lab, "-I", "second", "--netns", name)
    run("ip", "netns", "del", name)
    until(lambda: not alive(other), "the other pasta to go")
    assert alive(pid)


def test_interface_name(lab, sandbox):
    lab.daemon(PASTA, "--config-net", "-I", "net0", sandbox.pid)
    assert sandbox.addresses(V4, "net0") == [f"{HOST[V4]}/24"]


def test_default_interface_name(lab, sandbox):
    lab.daemon(PASTA, sandbox.pid)
    assert [l["ifname"] for l in sandbox.ip("link show")] == ["lo", UPLINK]


@pytest.mark.parametrize("user", [USER, ROOT_USER], ids=["user", "root"])
@pytest.mark.parametrize("number,status", [
    (signal.SIGTERM, 0), (signal.SIGQUIT, 0), (signal.SIGINT, 130),
    (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)])
def test_command_dies_with_pasta(lab, user, number, status):
    """No command is left in a namespace without a network, not even one that
    the kernel keeps such signals from, as the first of its PID namespace."""
    guest = lab.pasta("--config-net", user=user)
    guest.process.signal(number)
    assert guest.process.exit() == status
    until(lambda: not alive(guest.pid), "the command to go")


def test_interface_is_deleted(lab):
    """The end, for the command as well, and both are told why."""
    guest = lab.pasta("--config-net")
    guest.run("ip", "link", "del", UPLINK)
    assert guest.process.exit() == 1
    assert "Namespace interface gone" in guest.process.output()
    until(lambda: not alive(guest.pid), "the command to go")


COUNT_INTERRUPTS = """
import os, signal
def hear(*_):
    if heard:
        os._exit(7)
    heard.append(1)
    os.write(1, b"heard\\n")
heard = []
signal.signal(signal.SIGINT, hear)
os.write(1, b"ready\\n")       # in one piece: print() is interrupted
while True:
    signal.pause()
"""


def test_interrupts_are_the_commands(lab):
    """What is typed at a program that handles it does not cost it the
    network."""
    process = lab.host.spawn(*USER, PASTA, "--config-net", "--",
                             "/usr/bin/python3", "-c", COUNT_INTERRUPTS,
                             start_new_session=True)
    process.says("^ready$")
    os.killpg(process.pid, signal.SIGINT)
    process.says("^heard$")
    os.killpg(process.pid, signal.SIGINT)
    assert process.exit() == 7


def state(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def job(lab, *command):
    """A job of a shell, as it were: a group of its own in our session."""
    process = lab.host.spawn(*USER, PASTA, "--config-net", "--", *command,
                             preexec_fn=os.setpgrp)
    process.says("^ready$")
    (inner,) = children(process.pid)
    return process, inner


HANDLES_STOP = """
import os, signal
def stop(*_):
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
signal.signal(signal.SIGTSTP, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("command", [
    ("sh", "-c", "echo ready; exec sleep infinity"),
    ("/usr/bin/python3", "-c", HANDLES_STOP)], ids=["deaf", "handler"])
def test_stop(lab, command):
    """Ctrl-Z stops both, and both go on."""
    process, inner = job(lab, *command)
    os.killpg(process.pid, signal.SIGTSTP)
    for pid in process.pid, inner:
        until(lambda: state(pid) == "T", f"{pid} to stop")
    os.killpg(process.pid, signal.SIGCONT)
    for pid in process.pid, inner:
        until(lambda: state(pid) == "S", f"{pid} to go on")
    process.signal(signal.SIGTSTP)
    until(lambda: state(process.pid) == "T", "it to stop again")


def test_stop_is_ignored(lab):
    """As by an interactive shell, which has jobs of its own."""
    process, inner = job(lab, "sh", "-c", "trap '' TSTP; echo ready;"
                         "trap 'exit 7' TERM; while :; do sleep .1; done")
    os.killpg(process.pid, signal.SIGTSTP)
    os.kill(inner, signal.SIGTERM)
    assert process.exit() == 7
