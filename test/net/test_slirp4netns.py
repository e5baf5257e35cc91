# SPDX-License-Identifier: GPL-2.0-or-later
"""slirp4netns by name: its options, descriptors and API socket, over pasta."""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket

import pytest

from lab import (DEADLINE, DGRAM, PEER, ROOT_USER, SLIRP, STREAM, UPLINK, USER,
                 V4, V6, alive, children, signal_pid, until)
from test_outbound import SECOND, address, nowhere, seen_from


@contextlib.contextmanager
def joined(lab, *options, user=USER, target=None, guest=None):
    """Join the namespace of a container; yield that, the process, and our end of
    its --exit-fd."""
    guest = guest or lab.container()
    ready, tell = os.pipe()
    end, ours = os.pipe()
    process = lab.host.spawn(*user, SLIRP, "-r", tell, "-e", end, *options,
                             target or guest.pid, "net0",
                             pass_fds=[tell, end], cwd=lab.tmp)
    os.close(tell)
    os.close(end)
    with os.fdopen(ready, "rb", 0) as ready, os.fdopen(ours, "wb", 0) as ours:
        assert select.select([ready], [], [], DEADLINE)[0]
        # Once, and closed, as callers read it to the end
        assert ready.read() == b"1", process.output()
        yield guest, process, ours


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE)
        s.connect(str(path))
        s.sendall(request if isinstance(request, bytes) else
                  json.dumps(request).encode())
        s.shutdown(socket.SHUT_WR)
        with s.makefile() as f:
            return json.load(f)


def refused(ns, port, address="127.0.0.1"):
    with contextlib.suppress(OSError):
        ns.connect(V4, address, port)
        return False
    return True


@pytest.mark.parametrize("user", [USER, ROOT_USER], ids=["user", "root"])
def test_network(lab, user):
    server = lab.host.bind(V4, STREAM, 8000, "127.0.0.1")
    server.listen()
    with joined(lab, "-c", "--mtu=9000", user=user) as (guest, process, ours):
        assert guest.addresses(V4, "net0") == ["10.0.2.100/24"]
        assert guest.default_route(V4) == ["10.0.2.2"]
        assert not guest.addresses(V6, "net0")
        assert guest.mtu("net0") == 9000
        assert guest.reachable(V4)
        # The gateway is the host, and its loopback is not ours
        guest.connect(V4, "10.0.2.2", 8000)
        assert refused(guest, 8000)
        ours.close()
        assert process.exit() == 0
        until(lambda: not guest.ok("ip", "link", "show", "net0"), "its end")


def test_network_of_our_own(lab):
    lab.host.bind(V4, STREAM, 8000, "127.0.0.1").listen()
    options = ("-c", "-6", "--cidr=172.16.4.0/22", "--disable-host-loopback",
               "--macaddress=02:00:00:00:00:01")
    with joined(lab, *options) as (guest, _, _):
        assert guest.addresses(V4, "net0") == ["172.16.4.100/22"]
        assert "fd00::64/64" in guest.addresses(V6, "net0")
        link = guest.ip("link show dev net0")[0]
        assert link["address"] == "02:00:00:00:00:01"
        assert guest.reachable(V4) and guest.reachable(V6)
        assert refused(guest, 8000, "172.16.4.2")


@pytest.mark.parametrize("off", [False, True], ids=["dns", "none"])
def test_resolver(lab, off):
    """Who asks 10.0.2.3 asks the host's resolver, unless that is not wanted."""
    resolver = lab.peer.bind(V4, DGRAM, 53)
    options = ("--disable-dns",) if off else ()
    with joined(lab, "-c", *options) as (guest, process, _):
        client = guest.connect(V4, "10.0.2.3", 53, DGRAM)
        client.send(b"0123456789ab")
        if not off:
            assert resolver.recvfrom(100)[0] == b"0123456789ab"
            return
        # What is sent later gets there
        other = guest.connect(V4, PEER[V4], 53, DGRAM)
        other.send(b"by another way")
        assert resolver.recvfrom(100)[0] == b"by another way"


@pytest.mark.parametrize("family", [V4, V6], ids=["v4", "v6"])
@pytest.mark.parametrize("by", ["address", "interface"])
def test_outbound(lab, family, by):
    """By which address, or interface, the host goes out."""
    option = "--outbound-addr" + ("6" if family == V6 else "")
    with address(lab.host, family, SECOND, UPLINK):
        out = SECOND[family] if by == "address" else UPLINK
        with joined(lab, "-c", "-6", f"{option}={out}") as (guest, _, _):
            seen = seen_from(lab, guest, family, STREAM)
            # IPv6 may prefer the one that came last
            assert by == "interface" or seen == SECOND[family]
    if by == "interface":
        with nowhere(lab.host, family) as out, \
                joined(lab, "-c", "-6", f"{option}={out}") as (guest, _, _):
            assert not guest.reachable(family)


def test_by_path(lab):
    guest = lab.container()
    path = f"/proc/{guest.pid}/ns"
    with joined(lab, "-c", "--netns-type=path", "--userns-path",
                f"{path}/user", target=f"{path}/net", guest=guest):
        assert guest.addresses(V4, "net0") == ["10.0.2.100/24"]


def test_ports(lab):
    api = lab.path("api")
    tcp = {"proto": "tcp", "host_port": 8080, "guest_port": 80}
    udp = {"proto": "udp", "host_addr": "127.0.0.1", "host_port": 5353,
           "guest_addr": "10.0.2.100", "guest_port": 53}
    taken = lab.host.listen(V4, 8081)
    with joined(lab, "-c", "-a", api) as (guest, process, _):
        guest.listen(V4, 80)
        assert refused(lab.host, 8080)
        for i, arguments in enumerate((tcp, udp), 1):
            assert ask(api, {"execute": "add_hostfwd",
                             "arguments": arguments}) == {"return": {"id": i}}
        lab.host.connect(V4, "127.0.0.1", 8080)
        got = ask(api, {"execute": "list_hostfwd"})
        assert got["entries"] == got["return"]["entries"] == [
            {"id": 1, "host_addr": "0.0.0.0", "guest_addr": "10.0.2.100",
             **tcp}, {"id": 2, **udp}]
        # What is wrong has a reason, and changes nothing
        bad = ask(api, {"execute": "add_hostfwd",
                        "arguments": {**tcp, "host_port": 8081}})
        assert "Address already in use" in bad["error"]["desc"]
        assert "error" in ask(api, b"no JSON")
        assert ask(api, {"execute": "remove_hostfwd",
                         "arguments": {"id": 1}}) == {"return": {}}
        until(lambda: refused(lab.host, 8080), "the end of the port")
        process.signal(signal.SIGTERM)
        assert process.exit() == -signal.SIGTERM
        assert not api.exists()
    taken.close()


def test_children_of_who_ignores_them(lab):
    """A parent that has the kernel reap its children leaves that to us."""
    api = lab.path("api")
    with joined(lab, "-a", api, user=(*USER, "env", "--ignore-signal=CHLD")) \
            as (_, process, ours):
        assert ask(api, {"execute": "add_hostfwd", "arguments": {
            "proto": "tcp", "host_port": 8080, "guest_port": 80}}) == \
            {"return": {"id": 1}}
        lab.host.connect(V4, "127.0.0.1", 8080)
        ours.close()
        assert process.exit() == 0


def test_nobody_waits(lab):
    """Who has closed its end before we are ready is served all the same."""
    guest, api = lab.container(), lab.path("api")
    ready, tell = os.pipe()
    os.close(ready)
    process = lab.host.spawn(*USER, SLIRP, "-r", tell, "-a", api, guest.pid,
                             "net0", pass_fds=[tell], cwd=lab.tmp)
    os.close(tell)
    assert ask(until(lambda: api.exists() and api, "the API socket"),
               {"execute": "list_hostfwd"})["entries"] == []
    process.signal(signal.SIGTERM)
    assert process.exit() == -signal.SIGTERM


def test_patience(lab):
    """A client that says nothing or too much is no client for long."""
    api = lab.path("api")
    with joined(lab, "-c", "-a", api), socket.socket(socket.AF_UNIX) as s:
        s.connect(str(api))
        s.sendall(b" " * 5000)
        s.settimeout(DEADLINE)
        with contextlib.suppress(ConnectionResetError):
            assert not s.recv(1)
        assert ask(api, {"execute": "list_hostfwd"})["entries"] == []


def test_end_while_a_client_dawdles(lab):
    api = lab.path("api")
    with joined(lab, "-c", "-a", api) as (_, process, ours), \
            socket.socket(socket.AF_UNIX) as s:
        fds = pathlib.Path(f"/proc/{process.pid}/fd")
        before = len(list(fds.iterdir()))
        s.connect(str(api))
        s.send(b" ")
        until(lambda: len(list(fds.iterdir())) > before, "being served")
        ours.close()
        assert process.exit() == 0
        s.settimeout(DEADLINE)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1) == b""


def test_killed(lab):
    """Nobody is left in the namespace."""
    with joined(lab, "-c") as (guest, process, _):
        inner = children(process.pid)
        assert inner
        signal_pid(process.pid)
        until(lambda: not any(map(alive, inner)), "the end of pasta")


def test_end_of_the_namespace(lab):
    with joined(lab, "-c") as (guest, process, _):
        guest.process.kill()
        assert process.exit() == 0


@pytest.mark.parametrize("argv", [
    (), ("--cidr=10.0.2.0", 1), ("--cidr=10.0.2.0/26", 1),
    ("--cidr=10.0.2.1/24", 1), ("--mtu=x", 1), ("-r", "99", 1),
    ("--target-type=bess", 1), ("--netns-type=x", 1), ("-a", "/no/such", 1),
    ("2147483647",)], ids=str)
def test_errors(lab, argv):
    done = lab.host.run(*USER, SLIRP, *argv, check=False)
    assert done.status == 1 and done.stderr


def test_what_callers_look_for(lab):
    text = lab.host.run(SLIRP, "--help")
    for option in ("--mtu", "--cidr", "--enable-ipv6", "--api-socket",
                   "--disable-host-loopback", "--enable-sandbox",
                   "--enable-seccomp", "--outbound-addr", "--disable-dns",
                   "--netns-type", "--userns-path", "--macaddress"):
        assert option in text
    assert lab.host.run(SLIRP, "--version").startswith("slirp4netns version ")
    for to in "/dev/full", "&-":
        assert lab.host.run("sh", "-c", f'"$0" --version >{to}', SLIRP,
                            check=False).status == 1
