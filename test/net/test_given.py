# SPDX-License-Identifier: GPL-2.0-or-later
"""What a caller gives: descriptors, some of an administrator's rights, and what
some policy leaves of the kernel."""

import contextlib
import itertools
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess

import pytest

from lab import (BRIDGE, DEADLINE, HOST, PASST, PASTA, PEER, PYTHON, REFUSE,
                 SANITIZED, UPLINK, USER, V4, V6, Namespace, alive, end, run,
                 signal_pid, until)


def start(lab, shell, *options, user=USER, check=True):
    """Start a daemon by a piece of a root's shell, which ends in "$@"."""
    pidfile = lab.path(f"given-{lab.serial}")
    lab.serial += 1
    done = lab.host.run("sh", "-c", shell, "sh", *user, PASTA, "--pid",
                        pidfile, *options, check=False)
    assert (done.status, done.stderr) == (0, "") or not check
    if done.status:
        return None
    pid = int(pidfile.read_text())
    lab.scope.callback(end, pid)
    return pid


def test_descriptors_are_the_commands(lab):
    """As with whatever else starts a command; none of ours is among them."""
    given = lab.path("given")
    own = ("-l", lab.path("log"), "-p", lab.path("pcap"), "-P",
           lab.path("pid"), "-c", lab.path("control"), "-t", "7001")
    found = lab.host.run("sh", "-c", f"exec \"$@\" 3>{given} 5>{given}", "sh",
                         *USER, PASTA, *own, "--", "sh", "-c",
                         "echo x >&5; exec ls /proc/self/fd")
    # The last one is the directory
    assert found.split() == ["0", "1", "2", "3", "4", "5"]
    assert given.read_text() == "x\n"


def test_daemon_keeps_no_descriptor(lab):
    """Somebody may wait at the other end."""
    guest = lab.container()
    ours, theirs = os.pipe()
    with os.fdopen(ours), os.fdopen(theirs, "w"):
        pidfile = lab.path("pid")
        lab.host.run(*USER, PASTA, "-P", pidfile, guest.pid,
                     pass_fds=[theirs])
        pid = int(pidfile.read_text())
        lab.scope.callback(end, pid)
        pipe = os.readlink(f"/proc/self/fd/{theirs}")
        held = [os.readlink(f) for f in
                pathlib.Path(f"/proc/{pid}/fd").iterdir()]
        assert held and pipe not in held


@contextlib.contextmanager
def notified(lab, program, *argv, also=()):
    """Start a program that tells a pipe of ours; yield the reading end."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", 0) as reader:
        process = lab.host.spawn(*USER, program, "--ready-fd", theirs,
                                 *argv, pass_fds=[theirs, *also])
        os.close(theirs)
        assert select.select([reader], [], [], DEADLINE)[0]
        yield reader, process


@pytest.mark.parametrize("argv", [
    (PASST, "-f"), (PASST, "-f", "--vhost-user"),
    (PASTA, "sh", "-c", "exec sleep infinity")],
    ids=["passt", "vhost-user", "pasta"])
def test_exit_with_a_descriptor(lab, argv):
    """Of a pipe or a socket; what may be read there is not for us."""
    where = ("-s", lab.path("socket")) if argv[0] == PASST else ()
    for theirs, ours in os.pipe(), (s.detach() for s in socket.socketpair()):
        with notified(lab, argv[0], "--exit-fd", theirs, *where, *argv[1:],
                      also=[theirs]) as (_, process):
            os.close(theirs)
            os.write(ours, b"x")
            assert process.popen.poll() is None
            os.close(ours)
            assert process.exit() == 0


@pytest.mark.parametrize("options", [(), ("--vhost-user",), ("-f",)],
                         ids=["background", "vhost-user", "foreground"])
def test_told_when_ready(lab, options):
    """By then the socket is there and the PID file complete; closed at the
    end, even of one that was killed."""
    path, pidfile = lab.path("socket"), lab.path("pid")
    with notified(lab, PASST, "-q", "-s", path, "-P", pidfile,
                  *options) as (reader, process):
        assert reader.read(1) == b"\n"
        assert pidfile.read_text().endswith("\n")
        lab.host.socket(socket.AF_UNIX).connect(str(path))
        if "-f" not in options:
            assert process.exit() == 0
        assert not select.select([reader], [], [], 0)[0]
        signal_pid(int(pidfile.read_text()))
        assert reader.read(1) == b""


def test_told_when_joined(lab):
    guest = lab.container()
    with notified(lab, PASTA, "-q", "--config-net",
                  guest.pid) as (reader, process):
        assert reader.read(1) == b"\n"
        assert guest.addresses(V4) == lab.host.addresses(V4)
        assert process.exit() == 0
        guest.process.kill()
        assert reader.read(1) == b""


def test_told_beside_a_command(lab):
    """It does not get the descriptor."""
    with notified(lab, PASTA, "--config-net", "ls",
                  "/proc/self/fd") as (reader, process):
        assert reader.read(1) == b"\n"
        assert reader.read(1) == b""
        assert process.exit() == 0
        assert process.output().split() == ["0", "1", "2", "3"]


def test_told_of_failure(lab):
    """That is the end without a word before."""
    with notified(lab, PASST, "-q", "-s", "/nonexistent/x") as (reader, p):
        assert reader.read(1) == b""
        assert p.exit() == 1


def give(pid, net=0, user=1):
    """The namespaces of @pid as descriptors."""
    return (f"exec \"$@\" {net}</proc/{pid}/ns/net "
            f"{user}</proc/{pid}/ns/user")


@pytest.mark.parametrize("by", ["/proc/self/fd/", "/dev/fd/", "fd:"])
def test_join_by_descriptor(lab, by):
    """In the background: who had these descriptors is gone by then."""
    guest, other = lab.container(), lab.container()
    pid = start(lab, give(guest.pid, 0, 5), "--config-net", "--quiet",
                "--netns", f"{by}0", "--userns", f"{by}5")
    assert guest.addresses(V4) == lab.host.addresses(V4)
    # Another one sees its namespace go, when it has looked for a second
    second = lab.daemon(PASTA, "--userns", f"/proc/{other.pid}/ns/user",
                        "--netns", f"/proc/{other.pid}/ns/net")
    other.process.kill()
    until(lambda: not alive(second), "the other pasta to go")
    assert alive(pid)
    assert guest.reachable(V4)


def test_directory_that_cannot_be_opened(lab):
    """As SELinux may have it: the namespace's path is watched another way."""
    name = lab.netns()
    errors = lab.path("stderr")
    pid = start(lab, f"exec \"$@\" 2>{errors}", "--runas", "0", "--netns",
                name, user=("strace", "-o", "/dev/null", "-P", "/run/netns/",
                            "-e", "inject=openat,inotify_add_watch:"
                            "error=EACCES"))
    assert "netns dir open: Permission denied" in errors.read_text()
    run("ip", "netns", "del", name)
    until(lambda: not alive(pid), "pasta to go with its namespace")


def test_capability_of_the_file(lab):
    """Low ports of the host by a capability that is lost on the way into a
    user namespace."""
    directory = lab.path("bin")
    directory.mkdir()
    directory.chmod(0o755)
    pasta = shutil.copy(PASTA, directory / "pasta")
    run("setcap", "cap_net_bind_service=+ep", str(pasta))
    process = lab.host.spawn(*USER, pasta, "-t", "80", "-u", "80",
                             "--config-net", "--", "sh", "-c",
                             "echo ready; exec sleep infinity")
    process.says("^ready$")
    # Nobody listens inside
    with contextlib.suppress(ConnectionResetError):
        lab.peer.connect(V4, HOST[V4], 80)


CAPS = ("sys_admin", "net_admin", "net_bind_service", "sys_ptrace",
        "dac_override", "setuid", "setgid", "setfcap", "sys_chroot",
        "setpcap")
SUBSETS = ([()] + [(c,) for c in CAPS] +
           [("sys_admin", c) for c in CAPS[1:]] +
           [tuple(c for c in CAPS if c != one) for one in CAPS] + [CAPS])


def ambient(caps):
    """An ordinary user with these rights."""
    words = only(caps)
    return (*USER, f"--inh-caps={words}", f"--ambient-caps={words}")


def bounded(caps):
    """Root with these rights, as containers have it."""
    return "setpriv", "--inh-caps=-all", f"--bounding-set={only(caps)}"


def only(caps):
    return ",".join(["-all", *(f"+{c}" for c in caps)])


def test_command_with_some_capabilities(lab):
    for caps in SUBSETS:
        done = lab.host.run(*ambient(caps), PASTA, "--config-net", "-T", "80",
                            "--", "ip", "-j", "addr", "show", "dev", "eth0",
                            check=False)
        assert (done.status, done.stderr) == (0, ""), caps
        assert HOST[V4] in done.stdout and HOST[V6] in done.stdout, caps


def test_join_with_some_capabilities(lab):
    """A build daemon: the user namespace was made by root, both come as
    descriptors.  Without CAP_SYS_ADMIN nobody enters one of root's."""
    process = lab.host.spawn("unshare", "--user", "--net", "sleep",
                             "infinity")
    proc = pathlib.Path(f"/proc/{process.pid}")
    until(lambda: "sleep" in (proc / "comm").read_text(), "the namespaces")
    for name in "uid_map", "gid_map":
        (proc / name).write_text("0 1000 1")
    guest = lab.keep(Namespace(["nsenter", "-t", process.pid, "-n"],
                               proc / "ns/net", lab.tmp))
    for number, caps in enumerate(s for s in SUBSETS if "sys_admin" in s):
        pid = start(lab, give(process.pid), "--quiet", "--config-net",
                    "-T", "80", "-I", f"eth{number}", "--no-netns-quit",
                    "--netns", "/proc/self/fd/0", "--userns",
                    "/proc/self/fd/1", user=ambient(caps))
        assert guest.addresses(V4, f"eth{number}") == \
            lab.host.addresses(V4), caps
        end(pid)


def test_join_own_with_some_capabilities(lab):
    """Whatever there is of them, a user joins what is the user's."""
    guest = lab.container()
    for number, caps in enumerate(SUBSETS):
        pid = start(lab, "exec \"$@\"", "--quiet", "--config-net", "-I",
                    f"eth{number}", guest.pid, user=ambient(caps))
        assert guest.addresses(V4, f"eth{number}") == \
            lab.host.addresses(V4), caps
        end(pid)


def test_passt_with_some_capabilities(lab):
    """A low port takes one of them, which is said without."""
    for port, caps in enumerate(SUBSETS, 80):
        done = Tried(lab, ambient(caps), "passt", "-t", port).done
        works = "net_bind_service" in caps
        assert done.status == (not works), caps
        assert ("Permission denied" in done.stderr) == (not works), caps


DOCKER = ("chown", "dac_override", "fowner", "fsetid", "kill", "setgid",
          "setuid", "setpcap", "net_bind_service", "net_raw", "sys_chroot",
          "mknod", "audit_write", "setfcap")
# Whom root becomes, and whom pasta's user namespace is for
ROOTS = [c for n in range(5) for c in itertools.combinations(
    ("setuid", "setgid", "setfcap", "sys_admin"), n)]


@pytest.mark.parametrize("runas", [None, "0", "1000:1000"])
def test_root_with_some_capabilities(lab, runas):
    """Two of them are for becoming somebody else; if they are not there one
    line says so."""
    options = ("--runas", runas) if runas else ()
    for caps in (*ROOTS, DOCKER):
        works = runas == "0" or {"setuid", "setgid"} <= set(caps)
        for program in "passt", "command":
            done = Tried(lab, bounded(caps), program, *options).done
            assert done.status == (not works), (caps, done.stderr)
            if not works:
                assert "Can't become user" in done.stderr
            elif (program, runas) == ("command", "0") and "setfcap" not in caps:
                # Nobody else gives root's number away
                assert "Can't map users" in done.stderr
                assert len(done.stderr.splitlines()) == 1, done.stderr
            else:
                assert done.stderr == "", caps


ROOT = ()
IN_USERNS = (*USER, "unshare", "-Ur")
WITHOUT_USERNS = (*IN_USERNS, "sh", "-c", "echo 0 >/proc/sys/user/"
                  "max_user_namespaces; exec \"$@\"", "sh")
NO_PROC = ("unshare", "-m", "sh", "-c",
           "mount -t tmpfs none /proc; exec \"$@\"", "sh")
READ_ONLY_PROC = ("unshare", "-m", "sh", "-c", "mount --bind /proc /proc;"
                  "mount -o remount,bind,ro /proc; exec \"$@\"", "sh")


def refused(call, error="EPERM"):
    return (REFUSE, call, error)


class Tried:
    """One of our programs, as quiet as it can be, under some circumstances."""

    def __init__(self, lab, before, program, *options):
        self.lab, self.before, self.options = lab, before, options
        lab.serial += 1
        self.done = getattr(self, program)()

    def start(self, program, *argv):
        return self.lab.host.run(*self.before, program, *self.options, *argv,
                                 check=False)

    def path(self, name):
        return self.lab.path(f"{name}-{self.lab.serial}")

    def command(self):
        done = self.start(PASTA, "-q", "--config-net", "--",
                          "ip", "-o", "addr", "show", "dev", UPLINK)
        assert (HOST[V4] in done.stdout) == (not done.status)
        return done

    def daemon(self, pidfile, program, *argv):
        done = self.start(program, "-q", "-P", pidfile, *argv)
        if not done.status:
            self.lab.scope.callback(end, int(pidfile.read_text()))
        return done

    def join(self):
        guest = self.lab.container()
        done = self.daemon(self.path("join.pid"), PASTA, "--config-net",
                           guest.pid)
        if not done.status:
            assert guest.reachable(V4)
        return done

    def passt(self):
        path = self.path("socket")
        done = self.daemon(self.path("passt.pid"), PASST, "-s", path)
        if not done.status:
            self.lab.host.socket(socket.AF_UNIX).connect(str(path))
        return done


ALL = "passt command join"
# What it is, and what works all the same: passt, pasta with a command, joined
CIRCUMSTANCES = {
    "root": (ROOT, "passt command join"),
    "user": (USER, "passt command join"),
    "user namespace": (IN_USERNS, "passt command"),
    "user namespace, no capabilities": ((*IN_USERNS, *bounded(())),
                                        "passt command"),
    "root as Docker has it": (bounded(DOCKER), "passt command"),
    "no user namespaces": (WITHOUT_USERNS, "passt"),
    "no new privileges": ((*USER, "setpriv", "--no-new-privs"),
                          "passt command join"),
    "no /proc": ((*NO_PROC, *USER), "passt"),
    "no /proc, root": (NO_PROC, "passt"),
    "/proc read-only": ((*READ_ONLY_PROC, *USER), "passt command join"),
    **{f"{call} refused, {who}": ((*refused(call), *user), works)
       for who, user in (("user", USER), ("root", ROOT))
       for call, works in {
           **dict.fromkeys(("mount", "umount2", "pivot_root"), ALL),
           "unshare": ALL if user == ROOT else "passt join",
           "setns": "passt", "chroot": "passt command join",
           "sethostname": "passt command join",
           "inotify_init1": "passt command join",
           "inotify_add_watch": "passt command join",
           "pidfd_open": "passt command join",
           "pidfd_send_signal": "passt command join",
           "close_range": "passt command join",
           "landlock_create_ruleset": "passt command join",
           "setsid": "passt command join"}.items()},
    **{f"NS_GET_USERNS refused by {error}, {who}":
       ((*refused("ioctl:0xb701", error), *user), "passt command join")
       for error in ("EACCES", "ENOTTY")
       for who, user in (("user", USER), ("root", ROOT))},
    "NS_GET_USERNS refused by EPERM": (refused("ioctl:0xb701"),
                                       "passt command"),
    **{f"{call} refused": (refused(call), works) for call, works in {
        "capset": "", "setgroups": "passt command join",
        "prctl:2": ALL if SANITIZED else ""}.items()},     # the filter
}


@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_circumstances(lab, name):
    """It works, or one line says why it does not; nothing hangs or dies."""
    before, works = CIRCUMSTANCES[name]
    for program in "passt", "command", "join":
        done = Tried(lab, before, program).done
        if program in works.split():
            assert done.status == 0, (program, done.stderr)
        else:
            assert done.status == 1, program
            lines = [l for l in done.stderr.splitlines()
                     if not l.startswith("==")]     # a sanitizer's
            assert len(lines) == 1, done.stderr


# ping itself would connect, to find its own address
ECHO = """import socket, sys
proto, kind = (58, 128) if ":" in sys.argv[1] else (1, 8)
family = socket.AF_INET6 if proto == 58 else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM, proto)
s.settimeout(10)
s.sendto(bytes([kind]) + bytes(7) + b"?", (sys.argv[1], 0))
assert s.recv(100)[8:] == b"?"
"""


def test_ping_that_may_not_connect(lab, family):
    """As Fedora's policy has it: the socket does without."""
    done = lab.host.run(*refused("connect", "EACCES"), *USER, PASTA, "-q",
                        "--config-net", "--", PYTHON, "-c", ECHO, PEER[family],
                        check=False)
    assert done.status == 0, done.stderr


@pytest.mark.parametrize("before", [(), refused("mount")],
                         ids=["", "without mount"])
def test_no_pid_namespace(lab, before):
    """The command is a process of the host's, which its /proc shows."""
    done = lab.host.run(*before, *USER, PASTA, "--no-pidns", "-q", "--", "sh",
                        "-c", "echo $$ $(readlink /proc/self/ns/pid); "
                        "exec readlink /proc/$$/ns/pid")
    words = done.split()
    assert int(words[0]) > 1
    assert words[1] == words[2] == os.readlink("/proc/self/ns/pid")


@pytest.mark.parametrize("before", [(), refused("mount", "EACCES")],
                         ids=["", "without mount"])
def test_proc_of_the_command(lab, before):
    """It is its PID namespace's; if that is refused the outer one stays."""
    done = lab.host.run(*before, *USER, PASTA, "-q", "--", "sh", "-c",
                        "echo $$; exec readlink /proc/self")
    inside, shown = map(int, done.split())
    assert inside == 1
    assert (shown == inside) == (not before)


def test_mounts_have_no_source(lab):
    """Debian's policy, by AppArmor, allows no other."""
    log = lab.path("strace")
    lab.host.run(*USER, "strace", "-f", "-o", log, "-e", "trace=mount",
                 PASTA, "-q", "--", "true")
    # To move is not to mount
    sources = re.findall(r'mount\("(.*?)", "(.*?)", (.*?), ', log.read_text())
    assert ("", "/proc", '"proc"') in sources
    assert {source for source, _, kind in sources if kind != "NULL"} == {""}


def test_stderr_that_nobody_reads(lab):
    """A pipe that is full keeps no guest waiting, nor the end."""
    path = lab.path("socket")
    reader, writer = os.pipe()
    ready, tell = os.pipe()
    process = subprocess.Popen(
        [*lab.host.prefix, *USER, PASST, "-f", "--trace", "-s", path,
         "--ready-fd", str(tell)], stderr=writer, pass_fds=[tell])
    lab.scope.callback(process.kill)
    os.close(tell)
    assert os.read(ready, 1)
    with contextlib.suppress(BlockingIOError):
        os.set_blocking(writer, False)
        while os.write(writer, b"x" * 512):
            pass
    os.set_blocking(writer, True)       # it is the daemon's, too
    guest = lab.join(process.pid, 1500, BRIDGE, path)
    for family in V4, V6:
        guest.connect(family, PEER[family],
                      lab.peer.listen(family).getsockname()[1])
    process.terminate()
    assert process.wait(DEADLINE) == 0
    for fd in reader, writer, ready:
        os.close(fd)


BIND = "import socket; socket.create_server(('', 7100))"


@pytest.mark.parametrize("spec,status", [("auto", 1), ("auto,~7100", 0)])
def test_port_of_the_host_wanted_inside(lab, spec, status):
    """Followed, it is taken; unless it is left out."""
    lab.host.listen(V4, 7100)
    done = lab.host.run(*USER, PASTA, "-T", spec, "--", PYTHON, "-c", BIND,
                        check=False)
    assert done.status == status
    assert ("Address already in use" in done.stderr) == bool(status)
