# SPDX-License-Identifier: GPL-2.0-or-later
"""The package passt of Debian unstable as the other end: its pesto and our
server, our pesto and its servers, each as if it were with its own.

It comes from a root directory of that release, PEER_ROOT; `make check-peer`
makes one.  Its programs run beside ours, by the loader and the libc of that root.
"""

import itertools
import os
import pathlib
import shutil
import socket

import pytest

from clients import read_all
from lab import (DGRAM, HOST, PASST, PASTA, PESTO, STREAM, TMP, USER, V4, V6,
                 until)

ROOT = pathlib.Path(os.environ.get("PEER_ROOT", "/var/cache/passt-peer/sid"))
BIN = ROOT / "usr/bin"
OURS = {"passt": PASST, "pasta": PASTA, "pesto": PESTO}
NONE = ("-t", "none", "-u", "none")
NONE_NS = (*NONE, "-T", "none", "-U", "none")

pytestmark = pytest.mark.skipif(
    not (BIN / "pesto").exists(),
    reason=f"no root of Debian unstable in {ROOT}, see make check-peer")


def peer_programs(names):
    """Its programs, where an ordinary user can read them."""
    there, programs = TMP / "peer", {}
    there.mkdir(exist_ok=True)
    loader = next(ROOT.glob("usr/lib/*/ld-linux*.so.*"))
    for file in (loader, loader.parent / "libc.so.6",
                 *(BIN / name for name in names)):
        shutil.copy(file, there)
    for name in names:
        script = TMP / f"peer-{name}"
        script.write_text(f"#!/bin/sh\nexec {there / loader.name} --argv0 {name} "
                          f'--library-path {there} {there / name} "$@"\n')
        script.chmod(0o755)
        programs[name] = str(script)
    return programs


@pytest.fixture(scope="session")
def theirs():
    return peer_programs(OURS)


@pytest.fixture
def path(lab):
    return lab.path("control")


class Server:
    """A pasta or passt of either kind; ends when told."""

    def __init__(self, lab, program, path, *options):
        self.lab, self.path = lab, path
        path.unlink(missing_ok=True)
        self.process = lab.host.spawn(*USER, program, "-f", "-q", "-c", path,
                                      *options)
        until(self.listens, "the control socket")

    def listens(self):
        try:
            return self.greeting()
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def greeting(self):
        """What each client is told first: all tables, byte for byte."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(self.path))
            s.shutdown(socket.SHUT_WR)
            return read_all(s)

    def pesto(self, client, *args, check=True):
        return self.lab.host.run(*USER, client["pesto"], *args, self.path,
                                 check=check)

    def end(self):
        self.process.kill()
        until(lambda: self.process.popen.poll() is not None, "its end")


def pasta(lab, kind, path):
    return Server(lab, kind["pasta"], path, "--config-net", *NONE_NS, "--",
                  "sleep", "infinity")


def passt(lab, kind, path):
    vm = lab.path("vm")
    vm.unlink(missing_ok=True)
    return Server(lab, kind["passt"], path, "-s", vm, *NONE)


# --- the same bytes -------------------------------------------------------------

MANY = ",".join(str(p) for p in range(20000, 20510, 2))

HOST_EDITS = [
    "-A -t 8080",
    "-A -t 8081:81 -u 8082-8083:82-83",
    "-A -t 18500-18510,~18505",
    "-A -u 18500-18510:28500-28510,~18503-18504,~18510",
    f"-A -t {HOST[V4]}/9000 -t [{HOST[V6]}]/9000",
    f"-A -t {HOST[V6]}/9001:91",
    "-A -t %eth0/9002 -u *%eth0/9002",
    f"-A -t 127.0.0.1%lo/9003 -u [::1]%lo/9003:93",
    "-A -t [::]/8090:fd00::5/80",
    "-A -t [::]/8091:[fd00::5]/80",
    "-A -t 0.0.0.0/8090:10.89.0.2/80",
    "-A --udp-ports=0.0.0.0/8092-8093:10.89.0.2/92-93",
    "-A -t ~1-65500",
    "-D -t 8080",
    "-D -t 18500-18510,~18505",
    "-D -t [::]/8090:fd00::5/80 -t [::]/8091:[fd00::5]/80",
    "-D -u 18500-18510:28500-28510,~18503-18504,~18510",
    "-D -t ~1-65500",
    "-D -t 8081:81 -u 8082-8083:82-83",
    "-A -t 8081:82 -D -t 8081:82",
    "-t 8100 -u 8100",
    "-C HOST",
    f"-t {MANY}",
    f"-D -t {MANY}",
    "-C HOST -A -t 8080 -C HOST -A -u 8080",
    "-t none",
]
PASTA_EDITS = [
    "-A -T 7000 -U 7001-7004,~7003",
    "-A -T 7005:7006",
    "-D -T 7000",
    "-A -t 8080 -T 7000",
    "-T 7100",
    "-C SPLICE",
    "-C HOST -t auto -T auto,~2000-3000 -u auto",
    "-D -T auto,~2000-3000",
    "-C HOST -C SPLICE",
]
# What the server or the client refuses: nothing has changed then
REFUSED = [
    f"-t {MANY},9",
    "-t 8080 -A -t 8080:80",
    "-A -t 8080/tcp",
    "-A -T 127.0.0.1/80",
    "-A -t 8080:0",
    "-A -t 0.0.0.0/8080:fd00::5/80",
    "-A -t 8080:10.89.0.2/80",
    "-C NONE",
    "-A -t [::]/8080:ff02::1/80",
]


def record(server, client, edits):
    """What is told and shown after each edit."""
    for edit in edits:
        args = edit.split()
        refused = edit in REFUSED
        got = server.pesto(client, "-s", *args, check=False)
        assert (got.status != 0) == refused, (edit, got)
        yield edit, server.greeting(), None if refused else got.stdout


@pytest.mark.parametrize("start, edits", [
    (pasta, HOST_EDITS + PASTA_EDITS + REFUSED), (passt, HOST_EDITS + REFUSED)],
    ids=["pasta", "passt"])
def test_same_bytes(lab, theirs, path, start, edits):
    """Whoever serves and whoever asks."""
    told = []
    for kind, client in itertools.product((theirs, OURS), (theirs, OURS)):
        server = start(lab, kind, path)
        told.append(list(record(server, client, edits)))
        server.end()
    for step in zip(*told):
        for other in step[1:]:
            assert other == step[0]


def test_rules_work(lab, theirs, path, family):
    """With its client and our server packets arrive, and its rules of a target
    address lead there."""
    guest = lab.pasta("--config-net", "-c", path, *NONE_NS)
    inner = {V4: "10.89.0.2", V6: "fd00::5"}[family]
    guest.add_address(inner)
    spec = {V4: f"0.0.0.0/8080:{inner}/80", V6: f"[::]/8080:{inner}/80"}[family]

    def pesto(*args):
        lab.host.run(*USER, theirs["pesto"], *args, path)

    def refused():
        with lab.host.socket(family) as s:
            return s.connect_ex((HOST[family], 8080))
    pesto("-A", "-t", spec, "-u", "8081:82", "-T", "7000")
    server = guest.bind(family, STREAM, 80, inner)
    server.listen()
    until(lambda: not refused(), "the rule in force")
    guest.accept(server)
    with guest.bind(family, DGRAM, 82) as asked:
        lab.host.connect(family, HOST[family], 8081, DGRAM).send(b"x")
        assert asked.recv(10) == b"x"
    outside = lab.host.listen(family, 7000)
    guest.connect(family, {V4: "127.0.0.1", V6: "::1"}[family], 7000)
    lab.host.accept(outside)
    pesto("-D", "-t", spec, "-C", "SPLICE")
    until(refused, "the end of the rule")


def test_again_and_not_there(lab, theirs, path):
    """Where we are kinder than the reference: our client with its server."""
    server = pasta(lab, theirs, path)
    server.pesto(OURS, "-A", "-t", "8080")
    before = server.greeting()
    server.pesto(OURS, "-A", "-t", "8080")
    server.pesto(OURS, "-D", "-t", "8081")
    assert server.greeting() == before
    server.end()
