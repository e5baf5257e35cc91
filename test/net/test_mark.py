# SPDX-License-Identifier: GPL-2.0-or-later
"""--mark: host tools know a container's sockets."""

import pathlib
import re

import pytest

from lab import (DGRAM, HOST, PASST, PASTA, PEER, USER, V4, alive, end,
                 until)

# One after the other: who they are is seen by name
pytestmark = pytest.mark.xdist_group("mark")

MARK = 0x7b
PORT = 7001
AMBIENT = ("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups",
           "--inh-caps", "+net_raw", "--ambient-caps", "+net_raw")
OPTIONS = ("--mark", hex(MARK), "-t", PORT, "-u", PORT)


def marks(lab, kind, *words):
    """Of the host's sockets that match, as ss tells root"""
    out = lab.host.run("ss", "-Hane", kind, *words)
    return [int(m[1], 16) if (m := re.search(r"fwmark:0x([0-9a-f]+)", line))
            else 0 for line in out.splitlines()]


def check(lab, guest):
    listener = lab.peer.listen(V4)
    port = listener.getsockname()[1]
    guest.connect(V4, PEER[V4], port)
    lab.peer.accept(listener)
    assert marks(lab, "-t", f"dport = :{port}") == [MARK]
    server = guest.listen(V4, PORT)
    listening = marks(lab, "-tl", f"sport = :{PORT}")
    assert listening and set(listening) == {MARK}
    lab.peer.connect(V4, HOST[V4], PORT)
    guest.accept(server)
    assert marks(lab, "-t", "state", "established",
                 f"sport = :{PORT}") == [MARK]
    datagrams = guest.connect(V4, PEER[V4], 9, DGRAM)
    datagrams.send(b"x")
    source = f"sport = :{datagrams.getsockname()[1]}"
    until(lambda: marks(lab, "-u", source), "the datagram's socket")
    assert set(marks(lab, "-u", source)) == {MARK}
    assert set(marks(lab, "-u", f"sport = :{PORT}")) == {MARK}
    assert guest.reachable(V4)


@pytest.mark.parametrize("user", [(), AMBIENT], ids=["root", "ambient"])
def test_pasta(lab, user):
    """All kinds of sockets, also in the other direction."""
    guest = lab.pasta("--config-net", "-T", 7002, "-U", "none", *OPTIONS,
                      user=user)
    check(lab, guest)
    # From socket to socket, out of the namespace
    server = lab.host.bind(V4, 1, 7002, "127.0.0.1")
    server.listen()
    guest.connect(V4, "127.0.0.1", 7002)
    lab.host.accept(server)
    assert set(marks(lab, "-t", "state", "established",
                     "dport = :7002")) == {MARK}
    # What is in the namespace is no business of the host's
    ss = guest.run("ss", "-Hanet")
    assert "fwmark" not in ss


@pytest.mark.parametrize("user", [(), AMBIENT], ids=["root", "ambient"])
def test_passt(lab, user):
    check(lab, lab.bridged(1500, *OPTIONS, user=user))


def markers():
    """The process that makes the sockets"""
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text() == "marker\n":
                yield int(path.parent.name)
        except OSError:
            pass


def test_helper(lab):
    """It can nothing else, has nothing open, and ends with us."""
    before = set(markers())
    guest = lab.bridged(1500, *OPTIONS, user=())
    pid, = set(markers()) - before
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^CapEff:\t0*3000$", status, re.M)   # NET_ADMIN, NET_RAW
    assert "\nNoNewPrivs:\t1\n" in status
    ours = pathlib.Path(f"/proc/{guest.daemon}/status").read_text()
    # Sanitizers have none
    assert re.findall("^Seccomp:.*", status, re.M) == \
        re.findall("^Seccomp:.*", ours, re.M)
    assert len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())) == 1
    assert re.search(r"^CapEff:\t0+$", ours, re.M)
    end(guest.daemon)
    until(lambda: not alive(pid), "the end of the other process")


@pytest.mark.parametrize("program", [PASST, PASTA], ids=["passt", "pasta"])
def test_refused(lab, program):
    """A user without the right is told so, in one line."""
    command = ["--", "true"] if program == PASTA else []
    done = lab.host.run(*USER, program, "-q", "--mark", 1, *command, check=False)
    assert (done.status, done.stdout) == (1, "")
    line, = done.stderr.splitlines()
    assert "CAP_NET_ADMIN" in line
