# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way in which a conversation ends, or does not begin."""

import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import socket
import sys
import termios

import pytest

from clients import Background, read_all, read_exactly, reset
from lab import (DGRAM, HOST, MIB, NOWHERE, PASTA, PEER, USER, V4, V6,
                 signal_pid, until)

FORWARDED = 7001
RECVERR = {V4: (socket.IPPROTO_IP, 11), V6: (socket.IPPROTO_IPV6, 25)}
DATA = os.urandom(5 * MIB)


@pytest.fixture(params=[65520, 1280])
def guest(lab, request):
    return lab.pasta("--config-net", "--mtu", request.param, "-t", FORWARDED,
                     "-u", FORWARDED, "-T", "none", "-U", "none")


@pytest.fixture(params=["outbound", "inbound"])
def pair(lab, guest, family, request):
    """Both ends of a connection: the guest's and the peer's."""
    if request.param == "outbound":
        listener = lab.peer.listen(family)
        port = listener.getsockname()[1]
        inside = guest.connect(family, PEER[family], port)
        return inside, lab.peer.accept(listener)
    # Debian's 2023 release knows no IPv6 address of a guest that has not said
    # anything yet: all of these fail
    listener = guest.listen(family, FORWARDED)
    outside = lab.peer.connect(family, HOST[family], FORWARDED)
    return guest.accept(listener), outside


@pytest.fixture(params=["guest first", "peer first"])
def ends(pair, request):
    """The end that acts first, and the other one."""
    return pair if request.param == "guest first" else pair[::-1]


def test_half_closed(ends):
    """The one that has shut down still gets all that is sent."""
    first, other = ends
    first.sendall(b"the last words")
    first.shutdown(socket.SHUT_WR)
    assert read_all(other) == b"the last words"
    sending = Background(other.sendall, DATA)
    received = Background(read_all, first)
    sending.result()
    other.shutdown(socket.SHUT_WR)
    assert hashlib.md5(received.result()).digest() == \
        hashlib.md5(DATA).digest()


def test_urgent_data(ends):
    """They are data like others, in their place: RFC 6093."""
    first, other = ends
    other.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    for _ in range(2):
        first.sendall(b"abc")
        first.send(b"X", socket.MSG_OOB)
        first.sendall(b"defghi")
        assert read_exactly(other, 10) == b"abcXdefghi"
    sending = Background(first.sendall, DATA)
    assert read_exactly(other, len(DATA)) == DATA
    sending.result()
    first.send(b"abcX", socket.MSG_OOB)
    first.send(b"Y", socket.MSG_OOB)
    first.shutdown(socket.SHUT_WR)
    assert read_all(other) == b"abcXY"


def test_both_shut_down_at_once(pair):
    for s in pair:
        s.sendall(b"bye")
        s.shutdown(socket.SHUT_WR)
    for s in pair:
        assert read_all(s) == b"bye"


def test_closed_with_data_on_the_way(ends):
    """close() right after the data: nothing of it is lost."""
    first, other = ends
    received = Background(read_all, other)
    first.sendall(DATA)
    first.close()
    assert received.result() == DATA


def test_both_ways_at_once(pair):
    inside, outside = pair
    work = [Background(f, *a) for f, a in
            ((inside.sendall, [DATA]), (outside.sendall, [DATA[::-1]]),
             (read_exactly, [inside, len(DATA)]),
             (read_exactly, [outside, len(DATA)]))]
    results = [w.result() for w in work]
    assert results[2] == DATA[::-1] and results[3] == DATA


def test_reset(ends):
    """A reset is seen as one, not as an end of data."""
    first, other = ends
    other.sendall(b"x")
    assert first.recv(1) == b"x"
    reset(first)
    with pytest.raises(ConnectionResetError):
        other.recv(1)


def test_reset_behind_the_end(ends):
    """One that has shut down gives up altogether: the other hears of that,
    though it has seen the end of the data and sends nothing."""
    first, other = ends
    first.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""
    reset(first)
    until(lambda: other.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) ==
          errno.EPIPE, "the reset")


def test_reset_of_the_half_closed(ends):
    """One has shut down and waits for an answer; there is none to come."""
    first, other = ends
    first.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""
    reset(other)
    with pytest.raises(ConnectionResetError):
        first.recv(1)


def test_reset_with_data_on_the_way(ends):
    """The first end gives up while the other still sends."""
    first, other = ends
    sending = Background(other.sendall, DATA * 20)
    assert first.recv(1) == DATA[:1]
    reset(first)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        sending.result()


def test_nothing_remains(lab, guest, pair, family):
    """Both sockets of the daemon go when the conversation is over."""
    inside, outside = pair
    port = outside.getsockname()[1], outside.getpeername()[1]
    inside.close()
    assert outside.recv(1) == b""
    outside.close()
    until(lambda: not [line for line in lab.host.run(
        "ss", "-tanH", "state", "connected",
        "exclude", "time-wait").splitlines()
        if any(f":{p} " in line + " " for p in port)
        and PEER[family] in line], "the daemon's socket to go")


def refused(f, *args):
    """The errno with which a call fails."""
    with pytest.raises(OSError) as e:
        f(*args)
    return errno.errorcode.get(e.value.errno, str(e.value))


def test_port_refused(lab, guest, family):
    port = lab.peer.bind(family, socket.SOCK_STREAM).getsockname()[1]
    assert refused(guest.connect, family, PEER[family], port) == \
        "ECONNREFUSED"


def test_port_refused_again_and_again(lab, family):
    """Case 57: GRUB asks 40 times in 16 s, from one port.  Nobody reads a line for
    each, and nothing is kept of any."""
    log = lab.path("log")
    guest = lab.pasta("--config-net", "-l", log, "-t", "none", "-T", "none",
                      "-u", "none", "-U", "none")
    port = lab.peer.bind(family, socket.SOCK_STREAM).getsockname()[1]

    def ask(source=0):
        with guest.socket(family) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("", source))
            assert refused(s.connect, (PEER[family], port)) == "ECONNREFUSED"
            return s.getsockname()[1]

    def held():
        return len(os.listdir(f"/proc/{guest.daemon}/fd"))

    source = ask()
    text, before = log.read_text(), held()
    for _ in range(40):
        assert ask(source) == source
    assert log.read_text() == text
    until(lambda: held() <= before, "the last one's end")


def test_forwarded_port_refused(lab, guest, family):
    """Nobody listens in the guest: the client outside is told."""
    s = lab.peer.socket(family)
    with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
        s.connect((HOST[family], FORWARDED))
        s.recv(1)


# Debian's 2023 release answers with a reset
def test_host_unreachable(guest, family):
    assert refused(guest.connect, family, NOWHERE[family], 80) == \
        "EHOSTUNREACH"


def closed_port(lab, family):
    """A UDP port of the peer at which nobody listens."""
    s = lab.peer.bind(family)
    port = s.getsockname()[1]
    s.close()
    return port


# Debian's 2023 release keeps ICMP errors to itself
def test_udp_port_unreachable(lab, guest, family):
    s = guest.connect(family, PEER[family], closed_port(lab, family), DGRAM)
    s.send(b"anybody there?")
    assert refused(s.recv, 1) == "ECONNREFUSED"


# Debian's 2023 release keeps ICMP errors to itself
def test_udp_host_unreachable(guest, family):
    s = guest.connect(family, NOWHERE[family], 7, DGRAM)
    # What may pass is told only to those who ask
    s.setsockopt(*RECVERR[family], 1)
    s.send(b"anybody there?")
    assert refused(s.recv, 1) == "EHOSTUNREACH"


@pytest.mark.parametrize("kind,error", [
    ("throw", "ENETUNREACH"), ("blackhole", "ENETUNREACH"),
    ("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES")])
def test_no_way(lab, guest, family, kind, error):
    """The host has no route, or one that forbids: the guest is told at once."""
    route = (f"-{'6' if family == V6 else '4'}", "route")
    lab.host.run("ip", *route, "add", kind, NOWHERE[family])
    lab.scope.callback(lab.host.run, "ip", *route, "del", kind, NOWHERE[family])
    s = guest.connect(family, NOWHERE[family], 7, DGRAM)
    s.setsockopt(*RECVERR[family], 1)
    s.send(b"anybody there?")
    if kind == "prohibit" and family == V4:
        error = "EHOSTUNREACH"  # is how Linux takes that code
    assert refused(s.recv, 1) == error
    out = guest.run("ping", "-n", "-c1", "-W5", NOWHERE[family],
                    check=False).stdout
    assert "From " in out and "+1 errors" in out, out


def test_udp_error_of_another(lab, guest, family):
    """Of two that one socket talks to, the one that is not there is told of."""
    there = lab.peer.bind(family)
    gone = closed_port(lab, family)
    s = guest.bind(family)
    s.setsockopt(*RECVERR[family], 1)
    for port in gone, there.getsockname()[1], gone:
        s.sendto(b"anybody there?", (PEER[family], port))
        if port == gone:
            until(lambda: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) ==
                  errno.ECONNREFUSED, "the error")
            to = s.recvmsg(100, 100, socket.MSG_ERRQUEUE)[3]
            assert to[:2] == (PEER[family], gone)
    data, client = there.recvfrom(100)
    there.sendto(data, client)
    assert s.recv(100) == b"anybody there?"


# Debian's 2023 release keeps ICMP errors to itself
def test_udp_goes_on_after_an_error(lab, guest, family):
    """A flow whose first datagram was refused works once a server is there."""
    port = closed_port(lab, family)
    s = guest.connect(family, PEER[family], port, DGRAM)
    s.send(b"too early")
    assert refused(s.recv, 1) == "ECONNREFUSED"
    server = lab.peer.bind(family, DGRAM, port)
    s.send(b"now")
    data, client = server.recvfrom(100)
    server.sendto(data, client)
    assert s.recv(100) == b"now"


# Sends what there is room for, and is not heard of any more
SENDER = """
import socket, sys
s = socket.create_connection((sys.argv[1], sys.argv[2]))
s.setblocking(False)
n = 0
try:
    while True:
        n += s.send(bytes(65536))
except BlockingIOError:
    pass
s.close()
print("sent", n)
sys.exit(3)
"""


@pytest.fixture(params=["tap", "spliced"])
def upload(lab, request):
    """A function that runs SENDER as pasta's command.  It returns how much was
    sent, the other end of the connection, and pasta."""
    def run():
        where, address = (lab.peer, PEER[V4]) if request.param == "tap" else \
            (lab.host, "127.0.0.1")
        listener = where.listen(V4)
        port = listener.getsockname()[1]
        process = lab.host.spawn(*USER, PASTA, "--config-net", "-T", port, "--",
                                 "/usr/bin/python3", "-c", SENDER, address,
                                 port)
        sent = int(process.says(r"^sent (\d+)$")[1])
        return sent, where.accept(listener), process
    return run


def broken(s):
    """How much there is in front of a reset."""
    n = 0
    with pytest.raises(ConnectionResetError):
        while data := s.recv(MIB):
            n += len(data)
    return n


def test_what_a_command_has_sent(upload):
    """The command has ended, and what it had sent gets there all the same."""
    sent, other, process = upload()
    assert len(read_all(other)) == sent
    assert process.exit() == 3


def test_what_nobody_takes(upload):
    """Where it does not, nobody waits for ever, and nobody takes a part of it for
    all."""
    sent, other, process = upload()
    assert process.exit() == 3
    assert broken(other) < sent


def send_all_there_is_room_for(s):
    s.setblocking(False)
    n = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            n += s.send(bytes(65536))
    return n


def window(s):
    """What the other end of the guest's @s last offered."""
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    return int.from_bytes(info[228:], sys.byteorder)


def fill(s):
    """Send until all buffers up to a far end that takes nothing are full: how much."""
    sent, same = [0], []

    def stands_still():
        n = send_all_there_is_room_for(s)
        sent.append(n)
        same.append(window(s) < 16384 and not n)
        return len(same) > 10 and all(same[-10:])
    until(stands_still, "full buffers")
    return sum(sent)


def test_cut_off(lab):
    """The same of a daemon that has to go at once."""
    listener = lab.peer.listen(V4)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    guest = lab.pasta("--config-net")
    s = guest.connect(V4, PEER[V4], listener.getsockname()[1])
    other = lab.peer.accept(listener)
    sent = fill(s)
    signal_pid(guest.daemon, signal.SIGTERM)
    guest.process.exit()
    assert broken(other) < sent


@pytest.fixture(params=["tap", "stream", "rings", "spliced"])
def meeting(lab, request):
    """Both ends of a connection, the guest's first, and who tells the daemon to go"""
    where, address, options = lab.peer, PEER[V4], ()
    if request.param == "spliced":
        where, address = lab.host, "127.0.0.1"
    listener = where.listen(V4)
    port = listener.getsockname()[1]
    if request.param == "stream":
        guest = lab.bridged(1500)
    elif request.param == "rings":
        guest = lab.fronted(1500)
    else:
        guest = lab.pasta("--config-net", "-T", port)
    s = guest.connect(V4, address, port)
    return s, where.accept(listener), lambda: signal_pid(guest.daemon, signal.SIGTERM)


def test_told_to_go_amid_words(meeting):
    """All that the guest has sent has arrived, but it has not said that this is all: the
    far end does not take it for that, and the guest knows where it stands."""
    s, other, go = meeting
    sending = Background(s.sendall, DATA)
    assert read_exactly(other, len(DATA)) == DATA
    sending.result()
    other.sendall(b"go on")
    assert read_exactly(s, 5) == b"go on"
    go()
    for end in other, s:
        with pytest.raises(ConnectionResetError):
            end.recv(1)


def test_told_to_go_after_the_last_word(meeting):
    """It has said so: that is how the far end takes it."""
    s, other, go = meeting
    received = Background(read_all, other)
    s.sendall(DATA)
    s.shutdown(socket.SHUT_WR)
    assert received.result() == DATA
    go()
    with pytest.raises(ConnectionResetError):
        s.recv(1)
    assert other.recv(1) == b""
    assert not other.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.mark.parametrize("way", ["--exit-fd", "namespace"])
def test_what_a_guest_has_sent(lab, way):
    """It gets there also if pasta is told to go, or its namespace has no process any more."""
    guest = lab.container()
    ours, theirs = os.pipe()
    process = lab.host.spawn(*USER, PASTA, "-f", "--config-net", "--exit-fd", ours,
                             guest.process.pid, pass_fds=[ours])
    os.close(ours)
    until(lambda: guest.reachable(V4), "the network")
    listener = lab.peer.listen(V4)
    s = guest.connect(V4, PEER[V4], listener.getsockname()[1])
    other = lab.peer.accept(listener)
    sent = send_all_there_is_room_for(s)
    s.close()
    if way == "namespace":
        guest.process.kill()
    else:
        os.close(theirs)
    received = Background(read_all, other)
    assert process.exit() == 0
    assert len(received.result()) == sent
    if way == "namespace":
        os.close(theirs)


def test_what_was_acknowledged(lab):
    """passt with --one-off has taken it, so it gets there when the machine has gone."""
    listener = lab.peer.listen(V4)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    guest = lab.bridged(1500, "--one-off")
    s = guest.connect(V4, PEER[V4], listener.getsockname()[1])
    other = lab.peer.accept(listener)
    sent = 0

    def acknowledged():
        waiting = fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4))
        return not int.from_bytes(waiting, sys.byteorder)
    # What the far end's kernel has no room for is with passt, which shuts the window then
    while window(s) > 16384:
        sent += s.send(bytes(8192))
        until(acknowledged, "its acknowledgement")
    guest.bridge.kill()
    received = 0
    with contextlib.suppress(ConnectionResetError):
        while data := other.recv(MIB):
            received += len(data)
    assert received == sent
