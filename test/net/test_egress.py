# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest may connect to: --allow-out and --deny-out."""

import contextlib
import errno
import socket

import pytest

from clients import A, ask_tcp, ask_udp
from lab import (DGRAM, DNS, FAR, GATEWAY, HOST, PASTA, PEER, STREAM, USER, V4,
                 V6, until)
from test_dns import NAME, Resolver

LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
RECVERR = {V4: (socket.IPPROTO_IP, 11), V6: (socket.IPPROTO_IPV6, 25)}
# As Linux takes "administratively prohibited"
DENIED = {V4: errno.EHOSTUNREACH, V6: errno.EACCES}
PORT, OTHER = 7001, 7002
# Of the network of FAR
NEAR = {V4: "203.0.113.77/24", V6: "2001:db8:2::77/64"}


@pytest.fixture(params=["pasta", "stream", "vhost"])
def start(request, lab):
    """Start a guest with options for its traffic."""
    return {"pasta": lambda *o: lab.pasta("--config-net", *o),
            "stream": lambda *o: lab.bridged(1500, *o),
            "vhost": lambda *o: lab.fronted(1500, *o)}[request.param]


def denied(guest, family, address, port):
    """By TCP, UDP and ICMP; of each of them the guest is told at once."""
    with guest.socket(family) as s:
        assert s.connect_ex((address, port)) == DENIED[family]
    with guest.socket(family, DGRAM) as s:
        s.setsockopt(*RECVERR[family], 1)
        s.connect((address, port))
        s.send(b"may I?")
        with pytest.raises(OSError) as e:
            s.recv(1)
        assert e.value.errno == DENIED[family]
    ping = guest.run("ping", "-n", "-c1", "-W5", address, check=False).stdout
    assert "+1 errors" in ping, ping


def answers(guest, ns, family, address, port):
    """There is a server at @port of @ns, and @guest reaches it."""
    with ns.bind(family, STREAM, port) as s:
        s.listen()
        with guest.connect(family, address, port), ns.accept(s):
            pass
    with ns.bind(family, DGRAM, port) as s, \
            guest.connect(family, address, port, DGRAM) as c:
        c.send(b"hello")
        data, client = s.recvfrom(10)
        s.sendto(data, client)
        assert c.recv(10) == b"hello"


def test_denied(lab, start, family):
    """One address, and nothing but that."""
    guest = start("--deny-out", PEER[family])
    denied(guest, family, PEER[family], PORT)
    answers(guest, lab.far, family, FAR[family], PORT)


def test_allowed(lab, family):
    """One port of one address, and nothing but that."""
    guest = lab.pasta("--config-net", "--allow-out",
                      f"tcp:[{PEER[family]}]:{PORT}")
    with lab.peer.bind(family, STREAM, PORT) as s:
        s.listen()
        guest.connect(family, PEER[family], PORT).close()
    denied(guest, family, PEER[family], OTHER)
    denied(guest, family, FAR[family], PORT)


def test_loopback(lab, family):
    """Neither by the name of the gateway nor from socket to socket."""
    guest = lab.pasta("--config-net", "-T", PORT, "-U", PORT, "--deny-out",
                      "loopback")
    with lab.host.bind(family, STREAM, PORT, LOOPBACK[family]) as s:
        s.listen()
        denied(guest, family, GATEWAY[family], PORT)
        c = guest.socket(family)
        with contextlib.suppress(ConnectionResetError):
            c.connect((LOOPBACK[family], PORT))
            assert c.recv(1) == b""
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            s.accept()
    answers(guest, lab.peer, family, PEER[family], PORT)


def test_local(lab, family):
    """What is on a link of the host is denied, what is behind a router, or on
    loopback, is not; and it follows the host."""
    guest = lab.pasta("--config-net", "--deny-out", "local")
    denied(guest, family, PEER[family], PORT)
    answers(guest, lab.far, family, FAR[family], PORT)
    with lab.host.bind(family, STREAM, PORT, LOOPBACK[family]) as s:
        s.listen()
        with guest.connect(family, GATEWAY[family], PORT), lab.host.accept(s):
            pass

    def refused():
        with guest.socket(family) as s:
            return s.connect_ex((FAR[family], PORT)) == DENIED[family]
    # The host's way there stays: it is a link of its own that has the network, too
    with contextlib.ExitStack() as scope:
        lab.host.run("ip", "link", "add", "lan0", "type", "veth")
        scope.callback(lab.host.run, "ip", "link", "del", "lan0")
        lab.host.add_address(NEAR[family], "lan0")
        until(refused, "a network of the host's")
        denied(guest, family, FAR[family], PORT)
    until(lambda: not refused(), "no network of the host's")
    answers(guest, lab.far, family, FAR[family], PORT)


def test_inbound(lab, family):
    """Who may connect to nothing answers whoever comes, on both paths."""
    guest = lab.pasta("--config-net", "-t", PORT, "-u", PORT, "--deny-out",
                      "any")
    answers(lab.peer, guest, family, HOST[family], PORT)
    answers(lab.host, guest, family, LOOPBACK[family], PORT)
    denied(guest, family, PEER[family], PORT)


@pytest.mark.parametrize("options", [("--dns-forward", DNS[V4]), ()],
                         ids=["forwarded", "direct"])
def test_resolver(lab, options):
    """Its questions are allowed, whatever else is not."""
    Resolver(lab.peer, PEER[V4], 7)
    lab.resolver(PEER[V4])
    guest = lab.pasta("--config-net", *options, "--allow-out", "dns")
    name = options[1] if options else PEER[V4]
    for ask in ask_udp, ask_tcp:
        assert ask(guest, V4, name, NAME, A) == [bytes([192, 0, 2, 7])]
    denied(guest, V4, PEER[V4], PORT)


def test_told(lab):
    """In the log, in what counts drops, and at the start."""
    log, page = lab.path("log"), lab.path("metrics")
    guest = lab.bridged(1500, "--log-file", log, "--metrics-socket", page,
                        "--allow-out", "private", "--deny-out",
                        f"tcp:{PEER[V4]}:{PORT}")
    with guest.socket(V4) as s:
        assert s.connect_ex((PEER[V4], PORT)) == errno.EHOSTUNREACH
    until(lambda: f"Denied: TCP to {PEER[V4]}, port {PORT}\n" in
          log.read_text(), "a line of the log")
    text = log.read_text()
    assert "Outbound policy:" in text and "    allow private" in text
    assert f"    deny tcp:{PEER[V4]}:{PORT}" in text
    assert "    allow the rest" in text
    counted = lab.host.run("curl", "-sS", "--unix-socket", page,
                           "http://localhost/metrics")
    assert 'reason="denied"} 1\n' in counted


@pytest.mark.parametrize("option,said", [
    (("--deny-out", "example.org"), "--deny-out: Invalid destination in "
     "'example.org', expected [tcp:|udp:|icmp:]DESTINATION[:PORTS]\n"),
    (("--allow-out", "any:0"), "--allow-out: Invalid ports in 'any:0', "
     "expected [tcp:|udp:|icmp:]DESTINATION[:PORTS]\n")])
def test_refused(lab, option, said):
    done = lab.host.spawn(*USER, PASTA, *option, "true")
    assert done.exit() == 1
    assert done.output() == said
