# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests whose TCP/IP is not Linux's: lwIP, as small devices have it, and gVisor's
netstack.  Each is a program in stacks/ on passt's stream socket, and does what a
line of text tells it to."""

import itertools
import pathlib
import shutil
import subprocess
import threading
import zlib

import pytest

from lab import (DGRAM, GATEWAY, HERE, HOST, MIB, PASST, PEER, TMP, V4, V6, run)

STACKS = HERE / "stacks"
GO = pathlib.Path("/usr/share/gocode")
FAMILIES = pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
# Of a million frames, in each direction
LOSS = pytest.mark.parametrize("loss", [0, 10_000], ids=["whole", "lossy"])
PORT = 7000
SLOW_S = 120    # lwIP's timer for a lost segment has half seconds


def lwip(program):
    if not pathlib.Path("/usr/include/lwip/lwip/tcpip.h").exists():
        pytest.skip("no liblwip-dev")
    run("cc", "-O2", "-g", "-I/usr/include/lwip", "-o", program,
        STACKS / "lwip.c", "-llwip", "-lpthread")


def netstack(program):
    """As Debian 12 packages it; later ones have other names."""
    if not (GO / "src/gvisor.dev/gvisor/pkg/bufferv2").exists() or (
            not shutil.which("go")):
        pytest.skip("no golang-go and golang-gvisor-gvisor-dev of Debian 12")
    run("env", f"GOPATH={GO}", "GO111MODULE=off", f"GOCACHE={TMP / 'go'}",
        "go", "build", "-o", program, STACKS / "netstack.go")


@pytest.fixture(scope="session", params=[lwip, netstack],
                ids=["lwIP", "gVisor"])
def program(request):
    path = TMP / request.param.__name__
    request.param(path)
    return path


class Stack:
    """A guest that is one of these programs."""

    def __init__(self, lab, program, loss):
        self.lab, self.numbers = lab, itertools.count()
        path = lab.path("stream")
        lab.daemon(PASST, "-s", path, "--mtu", 1500, "-t", PORT, "-u", PORT)
        self.process = lab.host.spawn(program, path, HOST[V4], GATEWAY[V4],
                                      HOST[V6], loss, stdin=subprocess.PIPE)
        self.process.says("^ready$")

    def ask(self, what, *words):
        """Have it do that; a function that waits for what it says to it."""
        tag = f"t{next(self.numbers)}"
        line = " ".join(str(w) for w in (what, tag, *words)) + "\n"
        self.process.popen.stdin.write(line.encode())
        self.process.popen.stdin.flush()
        return lambda: self.process.says(f"^{tag} (.*)$", SLOW_S)[1]


@pytest.fixture
def stack(lab, program, loss):
    return Stack(lab, program, loss)


def pattern(size):
    """What these programs send."""
    block, n = bytearray(), 1
    for _ in range(65521):
        n = (n * 1664525 + 1013904223) & 0xffffffff
        block.append(n >> 24)
    return (bytes(block) * (size // len(block) + 1))[:size]


def told(data):
    return f"{len(data)} {zlib.adler32(data)}"


def receive(stream):
    """All up to its end."""
    return b"".join(iter(lambda: stream.recv(1 << 16), b""))


def exchange(stack, family, what, serve, *words):
    """What @stack says to @what, done by a connection to who does @serve."""
    with stack.lab.peer.listen(family) as listener:
        said = stack.ask(what, PEER[family], listener.getsockname()[1], *words)
        with stack.lab.peer.accept(listener) as stream:
            stream.settimeout(SLOW_S)
            serve(stream)
    return said()


def download(stack, family, size, pause=0):
    data = pattern(size)
    assert exchange(stack, family, "get", lambda s: s.sendall(data),
                    pause) == told(data)


def upload(stack, family, size):
    assert exchange(
        stack, family, "put", lambda s: s.sendall(told(receive(s)).encode()),
        size) == told(pattern(size))


@LOSS
@FAMILIES
def test_bulk(stack, family, loss):
    for size in 1, 100_000, MIB if loss else 4 * MIB:
        download(stack, family, size)
        upload(stack, family, size)


@LOSS
@FAMILIES
def test_reader_that_pauses(stack, family):
    """Its window shuts, and opens again."""
    download(stack, family, MIB, 1500)


@LOSS
@FAMILIES
def test_many_at_once(stack, family):
    failed = []

    def do(transfer, size):
        try:
            transfer(stack, family, size)
        except BaseException as e:  # pylint: disable=broad-except
            failed.append(e)
    threads = [threading.Thread(target=do, args=(transfer, 50_000 + n))
               for n in range(8) for transfer in (download, upload)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


@LOSS
@FAMILIES
def test_from_outside(stack, family, loss):
    """It sends back what it gets by a forwarded port, and ends after us."""
    stack.ask("serve", PORT)()
    data = pattern(100_000)
    for _ in range(5 if loss else 50):
        with stack.lab.peer.connect(family, HOST[family], PORT) as stream:
            stream.settimeout(SLOW_S)

            def send():
                stream.sendall(data)
                stream.shutdown(1)
            sender = threading.Thread(target=send)
            sender.start()
            got = receive(stream)
            sender.join()
            assert got == data


@pytest.mark.parametrize("loss", [0], ids=[""])
@FAMILIES
def test_datagrams(stack, family):
    """Both ways, in fragments, too."""
    stack.ask("serve", PORT)()
    for size in 0, 1, 1400, 1473, 8000:
        data = pattern(size)
        with stack.lab.peer.bind(family) as echo:
            said = stack.ask("udp", PEER[family], echo.getsockname()[1], size)
            got, whom = echo.recvfrom(1 << 16)
            assert got == data
            echo.sendto(got, whom)
            assert said() == str(size)
        with stack.lab.peer.connect(family, HOST[family], PORT,
                                    DGRAM) as stream:
            stream.send(data)
            assert stream.recv(1 << 16) == data
