# SPDX-License-Identifier: GPL-2.0-or-later
"""pesto --top on a terminal, as the emulator pyte shows it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pyte
import pytest

from clients import Background
from lab import PEER, PESTO, USER, V4, end, until

DEADLINE = 20


class Screen(pyte.Screen):
    """One that knows of the other screen, and whether it is on it."""

    other = False

    def set_mode(self, *modes, **kw):
        self.other |= 1049 in modes and kw.get("private", False)
        super().set_mode(*modes, **kw)

    def reset_mode(self, *modes, **kw):
        self.other &= not (1049 in modes and kw.get("private", False))
        super().reset_mode(*modes, **kw)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, ns, *argv, rows=24, cols=100, env=None):
        self.master, slave = pty.openpty()
        self.size(rows, cols, signal=False)
        self.screen = Screen(cols, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            ns.prefix + [str(a) for a in argv], stdin=slave, stdout=slave,
            stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})})
        ns.scope.callback(self.close)

    def size(self, rows, cols, signal=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, cols, 0, 0))
        if signal:
            self.screen.resize(rows, cols)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in self.master, self.slave:
            os.close(fd)

    def read(self, seconds=0.1):
        if select.select([self.master], [], [], seconds)[0]:
            self.stream.feed(os.read(self.master, 65536))

    def look(self, condition, what):
        """Until the screen is so."""
        late = time.monotonic() + DEADLINE
        while not condition(self.screen.display):
            assert time.monotonic() < late, \
                what + ":\n" + "\n".join(self.screen.display)
            self.read()
        return self.screen.display

    def keys(self, text):
        os.write(self.master, text.encode())

    def ended(self):
        """Exit status, when all that it wrote was read"""
        late = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < late
            self.read()
        self.read()
        return self.process.returncode

    def restored(self):
        now = termios.tcgetattr(self.slave)
        return (now == self.before and not self.screen.other and
                not self.screen.cursor.hidden and
                pyte.modes.DECAWM in self.screen.mode)


@pytest.fixture
def path(lab):
    return lab.path("control")


@pytest.fixture
def guest(lab, path):
    return lab.pasta("--config-net", "-c", path, "--label", "web-1", "-t",
                     "none", "-u", "none", "-T", "none", "-U", "none")


@pytest.fixture
def top(lab, guest, path):
    return Terminal(lab.host, *USER, PESTO, "--top", path)


@pytest.fixture
def download(lab, guest):
    """Something that moves, and something that does not; yields its port."""
    busy, idle = lab.peer.listen(V4), lab.peer.listen(V4)
    guest.connect(V4, PEER[V4], idle.getsockname()[1])
    lab.peer.accept(idle)
    client = guest.connect(V4, PEER[V4], busy.getsockname()[1])
    server = lab.peer.accept(busy)
    done = threading.Event()

    def work():
        while not done.is_set():
            server.sendall(bytes(10000))
            left = 10000
            while left:
                left -= len(client.recv(left))
            done.wait(0.02)
    thread = Background(work)
    yield busy.getsockname()[1]
    done.set()
    thread.result()


def test_view(top, download):
    """The busy flow comes first and has a rate; keys work."""
    busy = f"{PEER[V4]}:{download}"
    lines = top.look(lambda d: busy in d[3] and "K " in d[3] and
                     "█" in d[3], "a rate")
    assert lines[0].startswith("web-1  2 flows")
    assert "↓" in lines[0] and "↑" in lines[0]
    assert lines[2].startswith("PROTO")
    assert lines[4].startswith("tcp") and busy not in lines[4]
    assert lines[-1].startswith("q quit")
    assert top.screen.other
    top.keys("ss")  # by age: the idle one is older
    top.look(lambda d: busy in d[4], "another order")
    top.keys(" ")
    top.look(lambda d: "paused" in d[0], "a pause")
    top.keys("q")
    assert top.ended() == 0
    assert top.restored()


@pytest.mark.parametrize("rows, cols", [(10, 40), (50, 200), (1, 1),
                                        (5, 133)])
def test_resize(top, rows, cols):
    """It fills whatever size there is, no line is longer."""
    top.look(lambda d: d[-1].startswith("q quit"), "the first size")
    top.size(rows, cols)
    top.look(lambda d: (len(d), len(d[0])) == (rows, cols) and
             d[0].startswith("web-1"[:cols]) and
             (rows < 4 or d[2].startswith("PROTO") and
              d[-1].startswith("q quit")), "the other size")
    top.keys("q")
    assert top.ended() == 0 and top.restored()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    signal.SIGHUP, signal.SIGQUIT])
def test_signals(top, number):
    """The terminal is restored; who has started it sees the signal."""
    top.look(lambda d: d[0].startswith("web-1"), "a screen")
    if number == signal.SIGINT:
        top.keys("\x03")
    else:
        os.kill(top.process.pid, number)
    assert top.ended() == -number
    assert top.restored()


def test_stopped(top):
    """While it is stopped the terminal is somebody else's."""
    top.look(lambda d: d[0].startswith("web-1"), "a screen")
    os.kill(top.process.pid, signal.SIGTSTP)
    os.waitpid(top.process.pid, os.WUNTRACED)
    top.read()
    assert top.restored()
    os.kill(top.process.pid, signal.SIGCONT)
    top.look(lambda d: top.screen.other and d[0].startswith("web-1"),
             "the screen again")
    top.keys("q")
    assert top.ended() == 0 and top.restored()


def test_server_gone(lab, guest, top):
    """What went wrong is to be read on the screen that is left."""
    top.look(lambda d: d[0].startswith("web-1"), "a screen")
    end(guest.daemon)
    assert top.ended() == 1
    assert top.restored()
    assert any("connect" in line for line in top.screen.display)


@pytest.mark.parametrize("env, wanted, unwanted", [
    ({"LC_ALL": "C", "NO_COLOR": "1"}, "in ", "↓"),
    ({"LC_ALL": "C.UTF-8"}, "↓", "in ")], ids=["plain", "UTF-8"])
def test_environment(lab, guest, path, env, wanted, unwanted):
    top = Terminal(lab.host, *USER, PESTO, "--top", path, env=env)
    lines = top.look(lambda d: d[-1].startswith("q quit"), "a screen")
    assert wanted in lines[0] and unwanted not in lines[0]
    colors = {c.fg for row in top.screen.buffer.values()
              for c in row.values()}
    assert colors == {"default"} or "NO_COLOR" not in env


def test_no_terminal(lab, path, download):
    """In a pipe: the table once, and nothing that only a terminal knows."""
    text = until(lambda: lab.host.run(*USER, PESTO, "--top", path), "a table")
    lines = text.splitlines()
    assert lines[0] == "web-1: 2 flows" and len(lines) == 4
    assert f"{PEER[V4]}:{download}" in lines[2]
    assert "\033" not in text
