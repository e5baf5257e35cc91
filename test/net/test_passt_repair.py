# SPDX-License-Identifier: GPL-2.0-or-later
"""passt-repair, with a test in the place of passt."""

import array
import contextlib
import os
import pathlib
import socket

import pytest

from lab import DEADLINE, DGRAM, REPAIR, USER, V4, until

TCP_REPAIR = 19
ON, OFF, OFF_WITHOUT_PROBE = b"\x01", b"\x00", b"\xff"


def serve(lab, name="socket", directory=None):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(DEADLINE)
    s.bind(str((directory or lab.tmp) / name))
    s.listen()
    lab.scope.callback(s.close)
    return s


def accept(lab, server):
    s, _ = server.accept()
    s.settimeout(DEADLINE)
    lab.scope.callback(s.close)
    return s


def send(s, command, sockets):
    fds = array.array("i", [x.fileno() for x in sockets])
    s.sendmsg([command], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
              if sockets else [])


def modes(sockets):
    return {s.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR) for s in sockets}


@pytest.mark.parametrize("count", [1, 253])
def test_modes(lab, count):
    server = serve(lab)
    helper = lab.host.spawn(REPAIR, lab.path("socket"))
    passt = accept(lab, server)
    sockets = [lab.host.socket(V4) for _ in range(count)]
    for command, mode in (ON, 1), (OFF_WITHOUT_PROBE, 0), (ON, 1), (OFF, 0):
        send(passt, command, sockets)
        assert passt.recv(2) == command
        assert modes(sockets) == {mode}
    passt.close()
    assert helper.exit() == 0


def watches(pid):
    with contextlib.suppress(FileNotFoundError): # closed meanwhile
        return any("inotify wd" in info.read_text() for info in
                   pathlib.Path(f"/proc/{pid}/fdinfo").iterdir())


@pytest.mark.parametrize("there", ["before", "after", "stale"])
def test_directory(lab, there):
    """With a socket in it, without, and with one that nobody listens on."""
    place = lab.path("place")
    place.mkdir()
    if there == "stale":
        serve(lab, "old.repair", place).close()
    if there == "before":
        server = serve(lab, "vm.repair", place)
    helper = lab.host.spawn(REPAIR, place)
    if there != "before":
        until(lambda: watches(helper.pid), "the watch")
        serve(lab, "no.socket", place)
        server = serve(lab, "vm.repair", place)
    accept(lab, server).close()
    assert helper.exit() == 0


def refused(lab, send_it):
    server = serve(lab)
    helper = lab.host.spawn(REPAIR, lab.path("socket"))
    passt = accept(lab, server)
    send_it(passt)
    assert passt.recv(1) == b""
    assert helper.exit() == 1
    return helper.output()


def test_wrong_socket(lab):
    said = refused(lab, lambda s: send(s, ON, [lab.host.socket(V4, DGRAM)]))
    assert "Setting TCP_REPAIR to 1 on socket" in said


def test_no_socket(lab):
    assert "No sockets" in refused(lab, lambda s: s.send(ON))


def test_wrong_command(lab):
    said = refused(lab, lambda s: send(s, b"\x05", [lab.host.socket(V4)]))
    assert "Unsupported command 5" in said


def test_without_the_right(lab):
    """An ordinary user's is an error that names the reason."""
    server = serve(lab)
    os.chmod(lab.path("socket"), 0o777)
    helper = lab.host.spawn(*USER, REPAIR, lab.path("socket"))
    passt = accept(lab, server)
    send(passt, ON, [lab.host.socket(V4)])
    assert helper.exit() == 1
    assert "Operation not permitted" in helper.output()


def test_not_let_in(lab):
    """To a socket that is there, but not for everybody."""
    serve(lab)
    os.chmod(lab.path("socket"), 0o600)
    done = lab.host.run(*USER, REPAIR, lab.path("socket"), check=False)
    assert done.status == 1 and "Permission denied" in done.stderr


def test_not_listening_yet(lab):
    """passt is between bind() and listen()."""
    server = socket.socket(socket.AF_UNIX)
    lab.scope.callback(server.close)
    server.settimeout(DEADLINE)
    server.bind(str(lab.path("socket")))
    helper = lab.host.spawn(REPAIR, lab.path("socket"))
    tried = pathlib.Path(f"/proc/{helper.pid}/wchan")
    # Some kernels do not tell
    until(lambda: "poll" in (where := tried.read_text()) or where == "0",
          "a refused connection")
    server.listen()
    accept(lab, server).close()
    assert helper.exit() == 0


def test_answer_unheard(lab):
    """passt has ended when the work is done: so has the helper."""
    server = serve(lab)
    helper = lab.host.spawn(REPAIR, lab.path("socket"))
    passt = accept(lab, server)
    tcp = lab.host.socket(V4)
    send(passt, ON, [tcp])
    passt.close()
    assert helper.exit() == 0
    assert modes([tcp]) == {1}


@pytest.mark.parametrize("argv,status", [
    ((), 2), (("a", "b"), 2), (("/etc/passwd",), 2), (("/nonexistent",), 1),
    (("--version",), 0)], ids=str)
def test_arguments(lab, argv, status):
    done = lab.host.run(REPAIR, *argv, check=False)
    assert done.status == status and done.stdout + done.stderr


def test_long_name(lab):
    """Which no socket's address has room for."""
    place = lab.path("x" * 120)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(lab.path("short")))
    lab.path("short").rename(place)
    done = lab.host.run(REPAIR, place, check=False)
    assert done.status == 2 and "Invalid socket path" in done.stderr
