# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest may connect to: --allow-out and --deny-out."""

import contextlib
import errno
import socket
import struct

import pytest

from clients import A, ask_tcp, ask_udp, query, skip_name
from lab import (DGRAM, DNS, FAR, GATEWAY, HOST, PASTA, PEER, PYTHON, ROOT_USER,
                 STREAM, USER, V4, V6, until)
from test_dns import FORWARD, NAME, Etc, Resolver, who, who_soon
from test_takeover import Pasta

LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
RECVERR = {V4: (socket.IPPROTO_IP, 11), V6: (socket.IPPROTO_IPV6, 25)}
# As Linux takes "administratively prohibited"
DENIED = {V4: errno.EHOSTUNREACH, V6: errno.EACCES}
PORT, OTHER = 7001, 7002
UDP_SEGMENT = 103
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


def test_new_resolver(lab):
    """Who is asked by the host from now on may be, also if nobody tells the guest."""
    Resolver(lab.far, FAR[V4], 7)
    etc = Etc(lab)
    etc.file(etc.conf, PEER[V4])
    guest = lab.pasta("--config-net", "--allow-out", "dns", user=etc.user)
    denied(guest, V4, FAR[V4], 53)
    etc.replace(etc.conf, FAR[V4])
    until(lambda: asks(guest, FAR[V4], NAME), "the new resolver")
    assert ask_udp(guest, V4, FAR[V4], NAME, A) == [bytes([192, 0, 2, 7])]
    denied(guest, V4, PEER[V4], 53)


AAAA, CNAME = 28, 5
KIND = {V4: A, V6: AAAA}


def wire(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"


class Zone(Resolver):
    """Has addresses of names, and aliases."""

    def __init__(self, ns, address, **names):
        self.names = {k.replace("_", "."): v for k, v in names.items()}
        super().__init__(ns, address, 0)

    def records(self, name, kind):
        value = self.names.get(name.lower())
        if isinstance(value, str):
            yield name, CNAME, wire(value)
            yield from self.records(value, kind)
        elif value:
            family = V6 if kind == AAAA else V4
            yield name, kind, socket.inet_pton(family, value[family])

    def answer(self, message):
        end = skip_name(message, 12)
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode())
            at += 1 + message[at]
        kind, = struct.unpack(">H", message[end:end + 2])
        found = list(self.records(".".join(labels), kind))
        return (message[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0) +
                message[12:end + 4] + b"".join(
                    wire(name) + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
                    for name, kind, data in found))


def zone_of(**names):
    """What such a server would answer."""
    made = Zone.__new__(Zone)
    made.names = {k.replace("_", "."): v for k, v in names.items()}
    return made


def asks(guest, address, name):
    """Whether it is answered there, now."""
    s = guest.connect(V4, address, 53, DGRAM)
    s.settimeout(0.5)
    s.send(query(name, A)[0])
    with contextlib.suppress(OSError):
        return s.recv(512)


def zone(lab):
    lab.resolver(PEER[V4])
    return Zone(lab.peer, PEER[V4], far_test=FAR, www_far_test=FAR,
                alias_test="www.far.test", evil_test=PEER, here_test=LOOPBACK)


def allowed(guest, family, address, port=PORT):
    """Whether a SYN goes out; nobody listens there."""
    with guest.socket(family) as s:
        code = s.connect_ex((address, port))
        assert code in (errno.ECONNREFUSED, DENIED[family]), (
            f"{code}\n{guest.run('ss', '-tan')}\n{guest.run('ip', 'addr')}")
    return code == errno.ECONNREFUSED


@pytest.mark.parametrize("ask", [ask_udp, ask_tcp])
def test_name(lab, start, family, ask):
    """Of a name are the addresses that the guest was told, from then on, for that
    port; those of other names are not."""
    zone(lab)
    guest = start("--allow-out", "dns", "--allow-out", f"Far.test:{PORT}")
    assert not allowed(guest, family, FAR[family])
    for name in "evil.test", "www.far.test", "alias.test":
        assert ask(guest, V4, PEER[V4], name, KIND[family])
        assert not allowed(guest, family, FAR[family])
    assert ask(guest, V4, PEER[V4], "fAr.test", KIND[family])
    answers(guest, lab.far, family, FAR[family], PORT)
    denied(guest, family, FAR[family], OTHER)
    denied(guest, family, PEER[family], PORT)


def test_name_alias(lab, family):
    """It is the name that was asked for that counts; "*." stands for some part."""
    zone(lab)
    guest = lab.pasta("--config-net", "--allow-out", "dns", "--allow-out",
                      "alias.test")
    ask_udp(guest, V4, PEER[V4], "alias.test", KIND[family])
    assert allowed(guest, family, FAR[family])
    other = lab.pasta("--config-net", "--allow-out", "dns", "--allow-out",
                      "*.far.test")
    ask_udp(other, V4, PEER[V4], "far.test", KIND[family])
    assert not allowed(other, family, FAR[family])
    ask_udp(other, V4, PEER[V4], "www.far.test", KIND[family])
    assert allowed(other, family, FAR[family])


def test_name_of_host(lab, family):
    """Who has the name does not get to the host's loopback by it."""
    zone(lab)
    guest = lab.pasta("--config-net", "--allow-out", "dns", "--allow-out",
                      "here.test")
    ask_udp(guest, V4, PEER[V4], "here.test", KIND[family])
    with lab.host.bind(family, STREAM, PORT, LOOPBACK[family]) as s:
        s.listen()
        denied(guest, family, GATEWAY[family], PORT)


def test_name_elsewhere(lab):
    """Who is no resolver of the host's tells nothing."""
    lab.resolver(PEER[V4])
    Zone(lab.far, FAR[V4], far_test=PEER)
    guest = lab.pasta("--config-net", "--allow-out", FAR[V4], "--allow-out",
                      "far.test")
    assert ask_udp(guest, V4, FAR[V4], "far.test", A)
    denied(guest, V4, PEER[V4], PORT)


def test_name_many_resolvers(lab, start):
    """A program that asks two from one port (musl) believes whoever is first."""
    lab.resolver(PEER[V4], FAR[V4])
    Zone(lab.peer, PEER[V4], far_test=FAR)
    Zone(lab.far, FAR[V4], peer_test=PEER)
    guest = start("--allow-out", "dns", "--allow-out", f"far.test:{PORT}",
                  "--allow-out", f"peer.test:{PORT}")
    s = guest.bind(V4, DGRAM)
    for name in "far.test", "peer.test":
        for server in PEER[V4], FAR[V4]:
            s.sendto(query(name, A)[0], (server, 53))
    for _ in range(4):
        s.recv(65535)
    assert allowed(guest, V4, FAR[V4])
    assert allowed(guest, V4, PEER[V4])


def test_name_new_resolver(lab):
    """Who has become one while the guest asks by a socket that it keeps, too."""
    etc = Etc(lab)
    etc.file(etc.conf, PEER[V4])
    Zone(lab.far, FAR[V4], far_test=FAR, peer_test=PEER)
    guest = lab.pasta("--config-net", "--allow-out", f"{FAR[V4]}:53", "--allow-out",
                      f"far.test:{PORT}", "--allow-out", f"peer.test:{PORT}",
                      user=etc.user)
    s = guest.connect(V4, FAR[V4], 53, DGRAM)
    s.send(query("far.test", A)[0])
    assert s.recv(512)
    assert not allowed(guest, V4, FAR[V4])
    etc.replace(etc.conf, FAR[V4])

    def known():
        assert ask_udp(guest, V4, FAR[V4], "peer.test", A)
        return allowed(guest, V4, PEER[V4])
    until(known, "the new resolver")
    s.send(query("far.test", A)[0])
    assert s.recv(512)
    assert allowed(guest, V4, FAR[V4])


def test_name_joined(lab, start):
    """Answers that the kernel hands over as one."""
    lab.resolver(PEER[V4])
    made = zone_of(far_test=FAR, bad_test={V4: "198.51.100.7"})
    server = lab.peer.bind(V4, DGRAM, 53, PEER[V4])
    guest = start("--allow-out", "dns", "--allow-out", f"far.test:{PORT}")
    s = guest.connect(V4, PEER[V4], 53, DGRAM)
    s.send(query("bad.test", A)[0])
    _, client = server.recvfrom(512)
    messages = [made.answer(query(n, A)[0]) for n in ("bad.test", "far.test")]
    assert len(messages[0]) == len(messages[1])
    server.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(messages[0]))
    server.sendto(b"".join(messages), client)
    for message in messages:
        assert s.recv(512) == message
    assert allowed(guest, V4, FAR[V4])


def tcp_answer(ns, guest, pieces, address=PEER[V4], between=lambda: None):
    """One answer by TCP, of which the next piece comes when one has arrived."""
    server = ns.bind(V4, STREAM, 53, address)
    server.listen()
    s = guest.connect(V4, address, 53)
    with ns.accept(server) as answering, s.makefile("rb") as f:
        answering.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n, piece in enumerate(pieces):
            if n:
                between()
            answering.sendall(piece)
            assert f.read(len(piece)) == piece


def messages_of(made, *names):
    """What is answered by TCP to questions for these."""
    return b"".join(struct.pack(">H", len(m)) + m for m in (
        made.answer(query(n, A)[0]) for n in names))


def test_name_in_pieces(lab, start):
    """By TCP an answer may come in pieces, and several one behind the other."""
    lab.resolver(PEER[V4])
    guest = start("--allow-out", "dns", "--allow-out", f"far.test:{PORT}")
    made = zone_of(far_test=FAR, other_test=PEER)
    data = messages_of(made, "other.test", "far.test")
    tcp_answer(lab.peer, guest, [data[:1], data[1:5], data[5:50], data[50:-1], data[-1:]])
    assert allowed(guest, V4, FAR[V4])
    assert not allowed(guest, V4, PEER[V4])


def test_name_inside(lab, start):
    """Where a piece of an answer begins, which the guest's window decides, does no
    message begin."""
    lab.resolver(PEER[V4])
    guest = start("--allow-out", "dns", "--allow-out", f"far.test:{PORT}")
    forged = zone_of(far_test=PEER).answer(query("far.test", A)[0])
    inner = struct.pack(">H", len(forged)) + forged
    outer = query("any.test", A)[0] + b"x" * 20
    tcp_answer(lab.peer, guest, [struct.pack(">H", len(outer + inner)) + outer, inner])
    assert not allowed(guest, V4, PEER[V4])


@pytest.mark.parametrize("where", ["127.0.0.53", "::1"])
def test_name_stub(lab, family, where):
    """The host's resolver may be on its loopback, and of the other IP version."""
    lab.resolver(where)
    Zone(lab.host, where, far_test=FAR)
    guest = lab.pasta("--config-net", "--dns-forward", DNS[family], "--allow-out",
                      "dns", "--allow-out", "far.test")
    assert not allowed(guest, V4, FAR[V4])
    assert ask_udp(guest, family, DNS[family], "far.test", A)
    assert allowed(guest, V4, FAR[V4])


@pytest.mark.parametrize("ask", [ask_udp, ask_tcp])
@pytest.mark.parametrize("options", [(), ("-T", "53", "-U", "53")],
                         ids=["auto", "given"])
def test_name_spliced(lab, ask, options):
    """By the address that it has there, its answers go from socket to socket."""
    where = "127.0.0.53"
    lab.resolver(where)
    Zone(lab.host, where, far_test=FAR, evil_test=PEER)
    guest = lab.pasta("--config-net", *options, "--allow-out", "dns",
                      "--allow-out", "far.test")
    until(lambda: guest.run("ss", "-tlnH", "sport", "53") and
          guest.run("ss", "-ulnH", "sport", "53"), "both listeners")
    for name, address in ("evil.test", PEER), ("far.test", FAR):
        assert not allowed(guest, V4, address[V4])
        assert ask(guest, V4, where, name, A)
    assert allowed(guest, V4, FAR[V4])
    assert not allowed(guest, V4, PEER[V4])


COVERED = "/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket"
OTHERS = f"""
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/resolve /run/nscd
{PYTHON} -c 'import socket, sys
for path in sys.argv[1:]: socket.socket(socket.AF_UNIX).bind(path)' {" ".join(COVERED)}
kind="stat -c %F {" ".join(COVERED)}"
"$@" $kind 2>&1
$kind
"""


@pytest.mark.parametrize("options, seen", [
    ((), "socket"), (("--allow-out", "any"), "socket"),
    (("--allow-out", "dns", "--allow-out", "far.test"), "character special file")])
@pytest.mark.parametrize("user, more", [
    (USER, ()), (USER, ("--no-pidns",)),
    (ROOT_USER, ("--netns-only", "--runas", "0"))], ids=["user", "no-pidns", "root"])
def test_name_others(lab, options, seen, user, more):
    """Who asks other than by DNS is not heard: for names, nobody is to be asked so."""
    out = lab.host.run("unshare", "-m", "sh", "-c", OTHERS, "sh", *user, PASTA,
                       "--quiet", "--config-net", *more, *options, "--")
    # The sanitizers wonder at the stack of a clone before that
    assert out.splitlines()[-4:] == [seen] * 2 + ["socket"] * 2


def test_name_resolver_left(lab):
    """Who is no resolver any more is not heard, though the question was asked before."""
    etc = Etc(lab)
    etc.file(etc.conf, PEER[V4])
    made = zone_of(far_test=FAR)
    Zone(lab.far, FAR[V4], peer_test=PEER)
    server = lab.peer.bind(V4, DGRAM, 53, PEER[V4])
    guest = lab.pasta(*FORWARD, "--allow-out", "dns", "--allow-out",
                      f"*.test:{PORT}", user=etc.user)
    s = guest.connect(V4, DNS[V4], 53, DGRAM)
    s.send(query("far.test", A)[0])
    message, client = server.recvfrom(512)
    etc.replace(etc.conf, FAR[V4])
    until(lambda: asks(guest, DNS[V4], "peer.test"), "the other resolver")
    server.sendto(made.answer(message), client)
    assert s.recv(512)
    assert allowed(guest, V4, PEER[V4])
    assert not allowed(guest, V4, FAR[V4])


def test_name_taken_over(lab):
    """A successor knows what was heard."""
    zone(lab)
    pasta = Pasta(lab, "--allow-out", "dns", "--allow-out", "far.test")
    ask_udp(pasta.guest, V4, PEER[V4], "far.test", A)
    assert allowed(pasta.guest, V4, FAR[V4])
    pasta.replace()
    assert allowed(pasta.guest, V4, FAR[V4])
    denied(pasta.guest, V4, PEER[V4], PORT)


@pytest.mark.parametrize("spliced", [False, True], ids=["", "spliced"])
def test_name_half_taken_over(lab, spliced):
    """Half of an answer by TCP came before the successor did."""
    where = "127.0.0.53" if spliced else PEER[V4]
    lab.resolver(where)
    pasta = Pasta(lab, *(("-T", "53") if spliced else ()), "--allow-out", "dns",
                  "--allow-out", "far.test")
    data = messages_of(zone_of(far_test=FAR, other_test=PEER), "other.test",
                       "far.test")
    tcp_answer(lab.host if spliced else lab.peer, pasta.guest,
               [data[:1], data[1:-9], data[-9:]], where, pasta.replace)
    assert allowed(pasta.guest, V4, FAR[V4])
    denied(pasta.guest, V4, PEER[V4], PORT)


def test_silent_taken_over(lab):
    """A successor does not wait again for a resolver that says nothing."""
    first = Resolver(lab.peer, PEER[V4], 1, silent=True)
    Resolver(lab.far, FAR[V4], 2)
    lab.resolver(PEER[V4], FAR[V4])
    pasta = Pasta(lab, "--dns-forward", DNS[V4])
    assert until(lambda: who_soon(pasta.guest, V4), "an answer") == 2
    asked = first.asked
    pasta.replace()
    assert who(pasta.guest, V4) == 2 and first.asked == asked


def test_name_nobody_to_ask(lab):
    """Who forgets that questions are to be allowed is told."""
    lab.resolver(PEER[V4])
    for options, warned in (((), True), (("--allow-out", "dns"), False),
                            (("--allow-out", f"udp:{PEER[V4]}:53"), False)):
        done = lab.host.spawn(*USER, PASTA, "--config-net", "--allow-out",
                              "far.test", *options, "true")
        assert done.exit() == 0
        assert ("names stand for nothing" in done.output()) == warned


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
    (("--deny-out", "example.org"), "--deny-out: 'example.org': a name can't be "
     "denied, an address need not be asked for\n"),
    (("--allow-out", "privat"), "--allow-out: Invalid destination in "
     "'privat', expected [tcp:|udp:|icmp:]DESTINATION[:PORTS]\n"),
    (("--allow-out", "192.0.2.300"), "--allow-out: Invalid destination in "
     "'192.0.2.300', expected [tcp:|udp:|icmp:]DESTINATION[:PORTS]\n"),
    (("--allow-out", "any:0"), "--allow-out: Invalid ports in 'any:0', "
     "expected [tcp:|udp:|icmp:]DESTINATION[:PORTS]\n")])
def test_refused(lab, option, said):
    done = lab.host.spawn(*USER, PASTA, *option, "true")
    assert done.exit() == 1
    assert done.output() == said
