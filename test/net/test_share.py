# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors are few: who gets them, and who is told that there are none."""

import contextlib
import errno
import itertools
import json
import os
import pathlib
import select
import socket
import struct

import pytest

from lab import (DEADLINE, DGRAM, HOST, PASST, PEER, PESTO, STREAM, USER, V4, V6, run,
                 until)

LIMIT = 256
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
IN, SERVED, SILENT = 7001, 7002, 7003
FEW = (*USER, "prlimit", f"--nofile={LIMIT}:{LIMIT}")
NONE = ("-T", "none", "-U", "none")
OPTIONS = ("--config-net", "-t", IN, "-u", "none", *NONE)


@pytest.fixture
def guest(lab):
    return lab.pasta(*OPTIONS, user=FEW)


def answers(client, server):
    """A datagram there and back; who asked, as the server sees it."""
    client.send(b"question")
    data, who = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", who)
    assert client.recv(100) == b"answer"
    return who


def reached(lab, guest, family):
    """Does a connection from outside come to the guest?"""
    with guest.listen(family, IN) as listener:
        with lab.peer.connect(family, HOST[family], IN) as client:
            client.sendall(b"x")
            end, _ = listener.accept()
            with end:
                return end.recv(1) == b"x"


def test_unanswered_datagrams_give_way(lab, guest, family):
    """To whatever is newer, but who was answered keeps its flow."""
    server = lab.peer.bind(family, DGRAM, SERVED)
    friend = guest.connect(family, PEER[family], SERVED, DGRAM)
    known = answers(friend, server)
    shouting = guest.socket(family, DGRAM)
    for port in range(10000, 10000 + 2 * LIMIT):
        with contextlib.suppress(ConnectionRefusedError):
            shouting.sendto(b"x", (PEER[family], port))
    assert answers(friend, server)[:2] == known[:2]
    newer = guest.connect(family, PEER[family], SERVED, DGRAM)
    answers(newer, server)
    assert guest.reachable(family)
    assert reached(lab, guest, family)


def flow_ids(lab, path):
    flows = json.loads(lab.host.run(*USER, PESTO, "--flows", "--json", path))
    return {f["id"] for f in flows["flows"]}


@pytest.mark.parametrize("spliced", [False, True], ids=["", "spliced"])
def test_datagrams_from_outside_give_way(lab, family, spliced):
    """Senders without number, to a service that does not answer them, leave the guest
    its share; whom it has answered keeps the flow."""
    path = lab.path("control")
    guest = lab.pasta("--config-net", "-c", path, "-t", IN, "-u", IN, *NONE, user=FEW)
    service = guest.bind(family, DGRAM, IN)
    outside, address = (lab.host, LOOPBACK) if spliced else (lab.peer, HOST)
    friend = outside.connect(family, address[family], IN, DGRAM)
    known = [answers(friend, service) for _ in range(2)]
    before = flow_ids(lab, path)
    for _ in range(2 * LIMIT):
        with outside.connect(family, address[family], IN, DGRAM) as sender:
            sender.send(b"x")
            assert service.recv(10) == b"x"
    assert answers(friend, service) == known[0]
    assert before <= flow_ids(lab, path)
    server = lab.peer.bind(family, DGRAM, SERVED)
    answers(guest.connect(family, PEER[family], SERVED, DGRAM), server)
    assert guest.reachable(family)
    assert reached(lab, guest, family)


def test_unanswered_spliced_give_way(lab, family):
    """As those that take the guest's link; who was answered keeps its flow."""
    path = lab.path("control")
    guest = lab.pasta("--config-net", "-c", path, "-t", IN, "-u", "none", "-T", "none",
                      "-U", SERVED, user=FEW)
    service = lab.host.bind(family, DGRAM, SERVED)
    friend = guest.connect(family, LOOPBACK[family], SERVED, DGRAM)
    known = answers(friend, service)
    before = flow_ids(lab, path)
    for _ in range(2 * LIMIT):
        with guest.connect(family, LOOPBACK[family], SERVED, DGRAM) as sender:
            sender.send(b"x")
            assert service.recv(10) == b"x"
    assert answers(friend, service) == known
    assert before <= flow_ids(lab, path)
    assert guest.reachable(family)
    assert reached(lab, guest, family)


def test_outside_has_a_share(lab, guest, family):
    """Connections do not give way: the next one is refused, and forwarded
    ports are alive all the same."""
    lab.peer.spawn("socat", f"TCP{'46'[family == V6]}-LISTEN:{SERVED},fork,"
                   f"reuseaddr,backlog=1000", "EXEC:sleep 100")
    until(lambda: lab.peer.socket(family).connect_ex(
        (PEER[family], SERVED)) == 0, "the server")
    held = []
    with pytest.raises(ConnectionRefusedError):
        for _ in range(LIMIT):
            held.append(guest.connect(family, PEER[family], SERVED))
    assert len(held) > LIMIT // 2
    assert reached(lab, guest, family)
    for s in held:
        s.close()

    def again():
        return not guest.socket(family).connect_ex((PEER[family], SERVED))
    until(again, "a connection after the others have ended")


@pytest.mark.parametrize("spliced", [False, True], ids=["", "spliced"])
def test_guest_has_a_share(lab, guest, family, spliced):
    """Of which no client of a forwarded port takes anything, however many come: the next
    one is refused, until one of them has gone."""
    outside, address = (lab.host, LOOPBACK) if spliced else (lab.peer, HOST)
    server = lab.peer.listen(family, SERVED)
    service = guest.listen(family, IN)

    def served():
        """Both ends of one more; None if it is reset."""
        client = outside.connect(family, address[family], IN)
        if client in select.select([client, service], [], [], DEADLINE)[0]:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            return None
        end, _ = service.accept()
        end.sendall(b"x")
        assert client.recv(1) == b"x"
        return client, end

    held = list(itertools.takewhile(bool, (served() for _ in range(2 * LIMIT))))
    assert LIMIT // 4 < len(held) < LIMIT
    friend = guest.connect(family, PEER[family], SERVED)
    friend.sendall(b"x")
    assert server.accept()[0].recv(1) == b"x"
    with lab.peer.bind(family, DGRAM, SERVED) as asked:
        answers(guest.connect(family, PEER[family], SERVED, DGRAM), asked)
    assert guest.reachable(family)
    for client, end in held:
        client.close()
        end.close()
    until(served, "a client after the others have gone")


def test_attempts_give_way(lab, guest, family):
    """What nobody answers, to whatever is newer; who is connected stays, and an
    attempt that gave way goes on with the next SYN."""
    server = lab.peer.listen(family, SERVED)
    friend = guest.connect(family, PEER[family], SERVED)
    end, _ = server.accept()
    # A queue that is full takes no SYN
    silent = lab.peer.bind(family, STREAM, SILENT)
    silent.listen(0)
    filler = lab.peer.connect(family, PEER[family], SILENT)
    waiting = []
    for _ in range(2 * LIMIT):
        s = guest.socket(family)
        s.setblocking(False)
        assert s.connect_ex((PEER[family], SILENT)) == errno.EINPROGRESS
        waiting.append(s)
    newer = guest.connect(family, PEER[family], SERVED)
    newer.sendall(b"x")
    assert server.accept()[0].recv(1) == b"x"
    end.sendall(b"y")
    assert friend.recv(1) == b"y"
    assert reached(lab, guest, family)
    refused = [s for s in waiting
               if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
    assert not refused
    for s in waiting[1:]:
        s.close()
    filler.close()
    silent.listen(4 * LIMIT)  # others get through as well, and stay in it
    silent.accept()
    waiting[0].settimeout(DEADLINE)
    waiting[0].send(b"z")


def descriptors(pid):
    return set(map(int, os.listdir(f"/proc/{pid}/fd")))


def limit(pid, most):
    """No number from @most on for what @pid opens."""
    run(*USER, "prlimit", "--pid", str(pid), f"--nofile={most}:")


def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(DEADLINE)
    s.connect(str(path))
    return s


@pytest.mark.parametrize("options", [(), ("--vhost-user",)])
def test_client_without_descriptor(lab, options):
    """It is told at once, and so is the log; the next one may be luckier."""
    log, path, control = (lab.path(n) for n in ("log", "socket", "control"))
    pid = lab.daemon(PASST, *options, "-s", path, "-l", log, "-c", control,
                     "-t", "none", "-u", "none")
    # Take the numbers that are free below: by ports, and that of the client
    # that asks for them by another one
    lab.host.run(*USER, PESTO, "-A", "-t", "7001-7010", control)
    most = max(descriptors(pid)) + 1
    with contextlib.ExitStack() as scope:
        scope.enter_context(unix(control))
        until(lambda: len(descriptors(pid)) == most, "its descriptor")
        limit(pid, most)
        for _ in range(3):
            assert scope.enter_context(unix(path)).recv(1) == b""
        assert "Can't accept client: Too many" in log.read_text()
        limit(pid, most + 1)
        guest = scope.enter_context(unix(path))
        until(lambda: "accepted connection" in log.read_text(), "a guest")
        guest.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert guest.recv(1) != b""


def sleeps(pid):
    """Does it wait for something?  Who is busy never does."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


def test_many_ports_wait(lab):
    """Clients at any number of ports wait for a descriptor without a fuss, also
    when the rules change meanwhile, and are served when there is one."""
    control, ports = lab.path("control"), range(7001, 7041)
    guest = lab.pasta("--config-net", "-c", control, "-t", "7001-7040", "-u",
                      "none", *NONE)
    pid = guest.daemon
    most = len(descriptors(pid)) + 1
    holder = unix(control)
    assert holder.recv(8)
    until(lambda: len(descriptors(pid)) == most, "the client's descriptor")
    limit(pid, 3)  # what accept() and its like may have
    with contextlib.ExitStack() as scope:
        waiting = [scope.enter_context(lab.peer.connect(V4, HOST[V4], p))
                   for p in ports]
        until(lambda: sleeps(pid), "some sleep")
        # Rule 0 becomes rule 1, and nothing has to be opened
        moved = struct.pack("!16s16s16sHHHBB", b"", b"", b"", 7001, 7040, 7001,
                            6, 1)
        follower = struct.pack("!16s16s16sHHHBB", b"", b"", b"", 9, 9, 9, 6, 5)
        holder.sendall(struct.pack("!BI", 1, 2) + follower + moved + b"\0")
        until(lambda: b"ok" in holder.recv(100), "the new rules")
        until(lambda: sleeps(pid), "some sleep")
        servers = [scope.enter_context(guest.listen(V4, p)) for p in ports]
        limit(pid, 1000)
        for client, server in zip(waiting, servers):
            client.sendall(b"x")
            end, _ = server.accept()
            with end:
                assert end.recv(1) == b"x"


@pytest.mark.parametrize("kind", [STREAM, DGRAM])
def test_two_ports_lead_to_one(lab, family, kind):
    """Case 7: a client that uses one source port for both is two to the guest."""
    guest = lab.pasta("--config-net", *NONE, "-t", "8080:8000,8081:8000",
                      "-u", "8080:8000,8081:8000")
    server = guest.bind(family, kind, 8000)
    if kind == STREAM:
        server.listen()
    clients = []
    for port in 8080, 8081:
        client = lab.peer.bind(family, kind, 7777)
        client.connect((HOST[family], port))
        client.send(b"%d" % port)
        clients.append(client)
    seen = set()
    for _ in clients:
        if kind == STREAM:
            end = guest.accept(server)
            data, who = end.recv(4), end.getpeername()
            end.send(data)
        else:
            data, who = server.recvfrom(4)
            server.sendto(data, who)
        seen.add(who[1])
    assert [c.recv(4) for c in clients] == [b"8080", b"8081"]
    assert len(seen) == 2 and 7777 in seen
