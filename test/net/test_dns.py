# SPDX-License-Identifier: GPL-2.0-or-later
"""Which resolver answers the guest, and what else of the host's loopback it can
reach: nothing.

The resolvers here answer every question with an address that says who they are.
"""

import contextlib
import errno
import os
import socket
import struct

import pytest

from clients import (A, Background, ask_tcp, ask_udp, dhcp, query,
                     solicit_router)
from lab import (DGRAM, DNS, FAR, GATEWAY, HOST, PASST, PEER, ROOT_USER, SEARCH,
                 STREAM, UPLINK, USER, V4, V6, until)

NAME = f"www.{SEARCH[0]}"
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
STUB = "127.0.0.53"
OTHER = {V4: V6, V6: V4}
FORWARD = ("--config-net", "--dns-forward", DNS[V4], "--dns-forward", DNS[V6],
           "-T", "none", "-U", "none")


# --- resolvers ---------------------------------------------------------------

def family_of(address):
    return V6 if ":" in address else V4


def answer(message, number):
    """@message is a question: the answer is 192.0.2.@number."""
    head = message[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4)
    return head + message[12:] + record + bytes([192, 0, 2, number])


class Resolver:
    """Answers over UDP and TCP at port 53 of @address; a silent one reads."""

    def __init__(self, ns, address, number, silent=False):
        self.number, self.silent = number, silent
        self.asked = 0
        family = family_of(address)
        self.udp = ns.bind(family, DGRAM, 53, address)
        self.tcp = ns.bind(family, STREAM, 53, address)
        self.tcp.listen()
        self.over = False
        for s in self.udp, self.tcp:
            s.settimeout(0.05)
        self.threads = [Background(self.loop, serve)
                        for serve in (self.datagrams, self.streams)]
        ns.scope.callback(self.close)

    def loop(self, serve):
        while not self.over:
            with contextlib.suppress(TimeoutError):
                serve()

    def answer(self, message):
        return answer(message, self.number)

    def datagrams(self):
        message, client = self.udp.recvfrom(65535)
        self.asked += 1
        if not self.silent:
            self.udp.sendto(self.answer(message), client)

    def streams(self):
        s, _ = self.tcp.accept()
        with s, s.makefile("rb") as f:
            s.settimeout(5)
            message = f.read(struct.unpack(">H", f.read(2))[0])
            self.asked += 1
            reply = self.answer(message)
            s.sendall(struct.pack(">H", len(reply)) + reply)

    def close(self):
        self.over = True
        for t in self.threads:
            t.result()


def who(guest, family, ask=ask_udp):
    """The number of the resolver that answers."""
    found, = ask(guest, family, DNS[family], NAME, A)
    assert found[:3] == bytes([192, 0, 2])
    return found[3]


def who_soon(guest, family, timeout=3):
    """The same as one try that may fail: None."""
    s = guest.connect(family, DNS[family], 53, DGRAM)
    s.settimeout(timeout)
    message, _ = query(NAME, A)
    with s, contextlib.suppress(TimeoutError, ConnectionRefusedError):
        s.send(message)
        return s.recv(65535)[-1]


# --- another family, another port --------------------------------------------

@pytest.mark.parametrize("where", ["peer", "loopback"])
def test_other_family(lab, family, where):
    """A resolver of one family answers what is asked by the other one."""
    ns, address = {"peer": (lab.peer, PEER[OTHER[family]]),
                   "loopback": (lab.host, LOOPBACK[OTHER[family]])}[where]
    Resolver(ns, address, 7)
    lab.resolver(address)
    guest = lab.pasta(*FORWARD)
    assert who(guest, family) == 7
    assert who(guest, family, ask_tcp) == 7


def test_stub(lab, family):
    """systemd-resolved's address, for whoever asks."""
    Resolver(lab.host, STUB, 53)
    lab.resolver(STUB)
    guest = lab.pasta(*FORWARD, "--no-map-gw")
    assert who(guest, family) == 53
    assert who(guest, family, ask_tcp) == 53


def test_link_local(lab, family):
    """A router that is also the resolver, as router advertisements tell it."""
    Resolver(lab.peer, "::", 7)
    address, = lab.peer.addresses(V6, "eth0", "link")
    lab.resolver(f"{address.partition('/')[0]}%{UPLINK}")
    guest = lab.pasta(*FORWARD)
    assert who(guest, family) == 7
    assert who(guest, family, ask_tcp) == 7


def test_other_family_refuses(lab, family):
    """ICMP errors and resets are translated as well."""
    lab.resolver(PEER[OTHER[family]])
    guest = lab.pasta(*FORWARD)
    s = guest.connect(family, DNS[family], 53, DGRAM)
    s.send(query(NAME, A)[0])
    with pytest.raises(ConnectionRefusedError):
        s.recv(1)
    with pytest.raises(ConnectionRefusedError):
        guest.connect(family, DNS[family], 53)
    lab.resolver({V4: "192.0.2.66", V6: "2001:db8:dead::66"}[OTHER[family]])
    guest = lab.pasta(*FORWARD)
    with pytest.raises(OSError) as error:
        guest.connect(family, DNS[family], 53)
    assert error.value.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)


@pytest.mark.parametrize("to", ["same family", "other family"])
def test_port_853(lab, family, to):
    """DNS over TLS and over QUIC."""
    there = family if to == "same family" else OTHER[family]
    lab.resolver(PEER[there])
    stream = lab.peer.listen(there, 853)
    dgram = lab.peer.bind(there, DGRAM, 853)
    guest = lab.pasta(*FORWARD)
    client = guest.connect(family, DNS[family], 853)
    server = lab.peer.accept(stream)
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"
    server.sendall(b"world")
    assert client.recv(100) == b"world"
    client = guest.connect(family, DNS[family], 853, DGRAM)
    client.send(b"hello")
    data, source = dgram.recvfrom(100)
    assert data == b"hello"
    dgram.sendto(b"world", source)
    assert client.recv(100) == b"world"


# --- the next one -------------------------------------------------------------

def test_silent(lab, family):
    """One that says nothing is passed over."""
    first = Resolver(lab.peer, PEER[family], 1, silent=True)
    Resolver(lab.far, FAR[family], 2)
    lab.resolver(PEER[family], FAR[family])
    guest = lab.pasta(*FORWARD)
    assert until(lambda: who_soon(guest, family), "an answer") == 2
    assert who(guest, family, ask_tcp) == 2
    before = first.asked
    assert who(guest, family) == 2 and first.asked == before


def test_silent_same_socket(lab, family):
    """A stub that asks again from where it has asked."""
    Resolver(lab.peer, PEER[family], 1, silent=True)
    Resolver(lab.far, FAR[family], 2)
    lab.resolver(PEER[family], FAR[family])
    guest = lab.pasta(*FORWARD)
    s = guest.connect(family, DNS[family], 53, DGRAM)
    s.settimeout(0.5)

    def again():
        with contextlib.suppress(TimeoutError):
            s.send(query(NAME, A)[0])
            return s.recv(65535)
    assert until(again, "an answer")[-1] == 2


@pytest.mark.parametrize("ask", [ask_udp, ask_tcp])
def test_refused(lab, family, ask):
    """Nobody is at the first address."""
    Resolver(lab.far, FAR[family], 2)
    lab.resolver(PEER[family], FAR[family])
    guest = lab.pasta(*FORWARD)
    with pytest.raises(ConnectionRefusedError):
        who(guest, family, ask)
    assert who(guest, family, ask) == 2
    assert who(guest, family) == 2


def test_next_of_other_family(lab, family):
    """One a family: the other one's is better than none."""
    Resolver(lab.peer, PEER[family], 1, silent=True)
    Resolver(lab.peer, PEER[OTHER[family]], 2)
    lab.resolver(*PEER.values())
    guest = lab.pasta(*FORWARD)
    assert who(guest, OTHER[family]) == 2
    assert until(lambda: who_soon(guest, family), "an answer") == 2


def test_dns_host_is_the_only_one(lab, family):
    """Who was given is asked, and nobody else."""
    given = Resolver(lab.peer, PEER[family], 1, silent=True)
    other = Resolver(lab.far, FAR[family], 2)
    lab.resolver(FAR[family])
    guest = lab.pasta(*FORWARD, "--dns-host", PEER[family])
    assert who_soon(guest, family) is None
    given.silent = False
    assert until(lambda: who_soon(guest, family), "an answer") == 1
    assert not other.asked


# --- a file that changes --------------------------------------------------------

NEEDED = ("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache")


class Etc:
    """An /etc and a /run of our own for one daemon, changed from outside."""

    def __init__(self, lab, user=USER):
        self.dir = lab.path("etc")
        self.run = lab.path("run")
        for d in self.dir, self.run:
            d.mkdir()
            d.chmod(0o755)
        for name in NEEDED:
            with contextlib.suppress(FileNotFoundError), \
                    open(f"/etc/{name}", "rb") as f:
                (self.dir / name).write_bytes(f.read())
        self.conf = self.dir / "resolv.conf"
        self.mount = (f"mount --bind {self.dir} /etc && "
                      f"mount --bind {self.run} /run && ")
        self.inner = user

    @property
    def user(self):
        """What to put before the daemon."""
        return ("unshare", "-m", "sh", "-c", self.mount + 'exec "$@"', "sh",
                *self.inner)

    def file(self, path, server, search=SEARCH):
        path.write_text(f"nameserver {server}\nsearch {' '.join(search)}\n")

    def replace(self, path, server, search=SEARCH):
        new = path.with_name("resolv.conf.new")
        self.file(new, server, search)
        new.rename(path)

    def link(self, target):
        new = self.conf.with_name("resolv.conf.new")
        new.symlink_to(target)
        new.rename(self.conf)


def renamed(etc, target):
    etc.file(etc.conf, PEER[V4])
    return lambda: etc.replace(etc.conf, target)


def rewritten(etc, target):
    etc.file(etc.conf, PEER[V4])
    return lambda: etc.file(etc.conf, target)


def removed(etc, target):
    """First nothing, then a new one."""
    etc.file(etc.conf, PEER[V4])

    def change():
        etc.conf.unlink()
        etc.file(etc.conf, target)
    return change


def behind_link(etc, target):
    """As systemd-resolved has it: a relative link to another mount."""
    (etc.run / "resolve").mkdir()
    (etc.run / "resolve").chmod(0o755)
    stub = etc.run / "resolve" / "stub"
    etc.file(stub, PEER[V4])
    etc.conf.symlink_to("../run/resolve/stub")
    return lambda: etc.replace(stub, target)


def other_link(etc, target):
    """The link leads elsewhere, in the same directory."""
    (etc.run / "resolve").mkdir()
    (etc.run / "resolve").chmod(0o755)
    etc.file(etc.run / "resolve" / "stub", PEER[V4])
    etc.file(etc.run / "resolve" / "real", target)
    etc.conf.symlink_to("../run/resolve/stub")
    return lambda: etc.link("/run/resolve/real")


def no_link(etc, target):
    """The link becomes a file, as a VPN's script does it."""
    etc.file(etc.run / "stub", PEER[V4])
    etc.conf.symlink_to("/run/stub")
    return lambda: etc.replace(etc.conf, target)


def mounted(etc, target):
    """A file mounted over it, as in a container."""
    etc.conf.write_text("# below\n")
    source = etc.run / "resolv.conf"
    etc.file(source, PEER[V4])
    etc.mount += "mount --bind /run/resolv.conf /etc/resolv.conf && "
    return lambda: etc.file(source, target)


WAYS = [renamed, rewritten, removed, behind_link, other_link, no_link, mounted]


@pytest.mark.parametrize("way", WAYS)
def test_change(lab, way):
    """New questions go where the host's own would go."""
    Resolver(lab.peer, PEER[V4], 1)
    Resolver(lab.far, FAR[V6], 2)
    etc = Etc(lab)
    change = way(etc, FAR[V6])
    guest = lab.pasta(*FORWARD, user=etc.user)
    assert who(guest, V4) == who(guest, V6) == 1
    change()
    until(lambda: who(guest, V4) == 2, "the new resolver")
    assert who(guest, V6) == 2 and who(guest, V4, ask_tcp) == 2


@pytest.mark.parametrize("there", ["nothing", "FIFO"])
def test_no_file(lab, there):
    """Nobody waits for who would write a FIFO, nor for ever without a file."""
    Resolver(lab.far, FAR[V6], 2)
    etc = Etc(lab)
    if there == "FIFO":
        os.mkfifo(etc.conf, 0o644)
    guest = lab.pasta(*FORWARD, user=etc.user)
    etc.replace(etc.conf, FAR[V6])
    until(lambda: who_soon(guest, V4) == 2, "the new resolver")


def test_change_same_socket(lab, family):
    """Who keeps a socket for all questions is not left with a resolver that
    has gone."""
    first = Resolver(lab.peer, PEER[family], 1)
    Resolver(lab.far, FAR[family], 2)
    etc = Etc(lab)
    etc.file(etc.conf, PEER[family])
    guest = lab.pasta(*FORWARD, user=etc.user)
    s = guest.connect(family, DNS[family], 53, DGRAM)
    s.settimeout(0.5)

    def again():
        with contextlib.suppress(TimeoutError):
            s.send(query(NAME, A)[0])
            return s.recv(65535)[-1]
    assert until(again, "an answer") == 1
    first.silent = True
    etc.replace(etc.conf, FAR[family])
    assert until(again, "an answer") == 2


# Landlock alone keeps files away where there can be no mount namespace
LANDLOCK = (*USER, "unshare", "-Ur", "sh", "-c",
            "echo 0 >/proc/sys/user/max_mnt_namespaces; exec \"$@\"", "sh")


@pytest.mark.parametrize("user", [USER, ROOT_USER, LANDLOCK],
                         ids=["user", "root", "landlock"])
@pytest.mark.parametrize("way", [renamed, behind_link, mounted])
def test_change_passt(lab, way, user):
    """passt's sandbox is another one, and its filter."""
    etc = Etc(lab, user)
    change = way(etc, FAR[V4])
    daemon = lab.host.spawn(*etc.user, PASST, "-f", "-s", lab.path("socket"))
    daemon.says("^    " + PEER[V4])
    change()
    daemon.says("Resolvers have changed")
    assert daemon.popen.poll() is None


def test_change_advertised(lab):
    """Who asks for an address later is told the new list."""
    etc = Etc(lab)
    etc.file(etc.conf, PEER[V6])
    guest = lab.pasta("--dhcp-dns", "--dhcp-search", user=etc.user)
    guest.run("ip", "link", "set", UPLINK, "up")
    until(lambda: guest.addresses(V6, scope="link"), "a link-local address")
    ra = solicit_router(guest, UPLINK)
    assert ra["resolvers"] == [PEER[V6]] and ra["search"] == SEARCH
    etc.replace(etc.conf, FAR[V6], ["other.example"])
    until(lambda: solicit_router(guest, UPLINK)["resolvers"] == [FAR[V6]],
          "the new resolver")
    assert solicit_router(guest, UPLINK)["search"] == ["other.example"]


@pytest.mark.parametrize("client, family", [("udhcpc", V4), ("dhcpcd -6", V6)])
def test_change_leased(lab, client, family):
    """So is who has DHCP: resolvers of a link that a VPN names, and its names."""
    etc = Etc(lab)
    etc.file(etc.conf, PEER[family])
    guest = lab.pasta("--dhcp-dns", "--dhcp-search", user=etc.user)
    guest.run("ip", "link", "set", UPLINK, "up")
    until(lambda: guest.addresses(V6, scope="link"), "a link-local address")

    def told():
        lease = dhcp(lab, guest, client)
        lease.client.kill()
        lease.path.unlink()
        guest.run("ip", "addr", "flush", "dev", UPLINK, "scope", "global")
        return (lease.words("dns", "new_dhcp6_name_servers"),
                lease.words("search", "new_dhcp6_domain_search"))
    assert told() == ([PEER[family]], SEARCH)
    etc.conf.with_name("resolv.conf.new").write_text(
        f"nameserver {FAR[family]}\nnameserver {PEER[family]}\n"
        "search vpn.example\n")
    etc.conf.with_name("resolv.conf.new").rename(etc.conf)
    both = [FAR[family], PEER[family]], ["vpn.example"]
    until(lambda: told() == both, "both resolvers")


def test_change_keeps_what_was_given(lab):
    etc = Etc(lab)
    etc.file(etc.conf, PEER[V6])
    Resolver(lab.peer, PEER[V4], 1)
    guest = lab.pasta("--dhcp-dns", "--dhcp-search", "-D", FAR[V6], "-S",
                      "a.example b.example", "-S", "c.example",
                      "--dns-forward", DNS[V4], "--dns-forward", DNS[V6],
                      "--dns-host", PEER[V4], user=etc.user)
    guest.run("ip", "link", "set", UPLINK, "up")
    until(lambda: guest.addresses(V6, scope="link"), "a link-local address")
    given = [FAR[V6]], ["a.example", "b.example", "c.example"]
    guest.run("ip", "addr", "add", f"{HOST[V4]}/24", "dev", UPLINK)
    guest.run("ip", "route", "add", "default", "via", GATEWAY[V4])
    ra = solicit_router(guest, UPLINK)
    assert (ra["resolvers"], ra["search"]) == given
    Resolver(lab.far, FAR[V6], 2)
    etc.replace(etc.conf, FAR[V6], ["other.example"])
    # Questions by IPv6 show when the change was seen; that RA made the route
    until(lambda: who_soon(guest, V6) == 2, "the new resolver")
    ra = solicit_router(guest, UPLINK)
    assert (ra["resolvers"], ra["search"]) == given
    assert who(guest, V4) == 1


# --- several names for the host --------------------------------------------------

NAMES = {V4: ["192.0.2.101", "192.0.2.102"],
         V6: ["2001:db8:5::101", "2001:db8:5::102"]}


def names(option, family):
    return [w for n in NAMES[family] for w in (option, n)]


def test_several_loopback_names(lab, family):
    """Each one leads to the host's loopback; the last is what is shown."""
    listener = lab.host.bind(family, STREAM, address=LOOPBACK[family])
    listener.listen()
    port = listener.getsockname()[1]
    options = [w for f in (V4, V6) for w in names("--map-host-loopback", f)]
    guest = lab.pasta("--config-net", "-t", "7001", "--no-splice", *options)
    for name in NAMES[family]:
        client = guest.connect(family, name, port)
        server = lab.host.accept(listener)
        client.sendall(b"x")
        assert server.recv(1) == b"x"
    inner = guest.listen(family, 7001)
    lab.host.connect(family, LOOPBACK[family], 7001)
    assert inner.accept()[1][0] == NAMES[family][-1]


def test_several_guest_names(lab, family):
    """The guest has the host's address; under these names it is the host's."""
    listener = lab.host.listen(family)
    options = [w for f in (V4, V6) for w in names("--map-guest-addr", f)]
    guest = lab.pasta("--config-net", *options)
    for name in NAMES[family]:
        client = guest.connect(family, name, listener.getsockname()[1])
        server = lab.host.accept(listener)
        assert server.getsockname()[0] == HOST[family]
        client.close()
    # The host itself is known by the last one
    inner = guest.listen(family, PORT)
    client = until(lambda: connected(lab.host, family, HOST[family], PORT),
                   "the port to be found")
    server = guest.accept(inner)
    assert server.getpeername()[:2] == (NAMES[family][-1],
                                        client.getsockname()[1])


def connected(ns, family, address, port):
    with contextlib.suppress(ConnectionRefusedError):
        return ns.connect(family, address, port)


# --- nothing else -------------------------------------------------------------------

PORT = 7700


class Secret:
    """Services on the host's loopback that nobody may reach."""

    def __init__(self, host, *ports):
        self.sockets = []
        for address in (*LOOPBACK.values(), "127.0.0.2", STUB):
            if address == STUB and not ports:
                continue
            for port in ports or (PORT,):
                for kind in STREAM, DGRAM:
                    s = host.bind(family_of(address), kind, port, address)
                    if kind == STREAM:
                        s.listen()
                    s.setblocking(False)
                    self.sockets.append((s, kind))

    def untouched(self):
        for s, kind in self.sockets:
            with pytest.raises(BlockingIOError):
                s.accept() if kind == STREAM else s.recv(1)


def knock(guest, family, address, port=PORT):
    """Try TCP and UDP; neither may be answered.  What was sent is followed by
    a refusal of TCP, so it has arrived if it ever will."""
    s = guest.socket(family, DGRAM)
    with contextlib.suppress(OSError):
        s.sendto(b"x", (address, port))
    with contextlib.suppress(OSError):
        s = guest.socket(family, STREAM)
        s.settimeout(1)
        s.connect((address, port))
        raise AssertionError(f"{address} {port} has accepted")


def test_no_gateway(lab, family):
    """--no-map-gw: the gateway's address is the gateway."""
    secret = Secret(lab.host)
    guest = lab.pasta("--config-net", "--no-map-gw", "-T", "none", "-U", "none")
    knock(guest, family, GATEWAY[family])
    knock(guest, family, HOST[family])
    knock(guest, family, LOOPBACK[family])
    secret.untouched()


def test_no_gateway_passt(lab, family):
    """The same for passt, which has no other way to close."""
    secret = Secret(lab.host)
    lab.resolver(STUB)
    guest = lab.bridged(65520, "--no-map-gw")
    for address in GATEWAY, HOST, DNS:
        knock(guest, family, address[family])
    knock(guest, family, GATEWAY[family], 53)
    secret.untouched()


def test_no_map_host_loopback(lab, family):
    secret = Secret(lab.host)
    guest = lab.pasta("--config-net", "--map-host-loopback", "none",
                      "--map-guest-addr", NAMES[family][0], "-T", "none", "-U",
                      "none")
    knock(guest, family, GATEWAY[family])
    knock(guest, family, NAMES[family][0])
    secret.untouched()


def test_only_the_ports_of_dns(lab, family):
    """The name of a loopback resolver leads to no other service there."""
    ports = 52, 54, 80, 852, 854, PORT
    secret = Secret(lab.host, *ports)
    Resolver(lab.host, STUB, 53)
    lab.resolver(STUB)
    guest = lab.pasta(*FORWARD, "--no-map-gw")
    assert who(guest, family) == 53
    for port in ports:
        knock(guest, family, DNS[family], port)
    assert guest.run("ping", "-6" if family == V6 else "-4", "-n", "-c1", "-W1",
                     DNS[family], check=False).status
    assert who(guest, family, ask_tcp) == 53
    secret.untouched()


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def udp(source, target, payload=b"xx"):
    """A UDP packet whose checksum is right."""
    family = family_of(target)
    src, dst = (socket.inet_pton(family, a) for a in (source, target))
    head = struct.pack(">HHHH", 40000, PORT, 8 + len(payload), 0)
    pseudo = src + dst + struct.pack(">HH", 17, 8 + len(payload))
    head = head[:6] + struct.pack(">H", checksum(pseudo + head + payload))
    return ip(family, src, dst, 17, head + payload)


def syn(source, target):
    family = family_of(target)
    src, dst = (socket.inet_pton(family, a) for a in (source, target))
    head = struct.pack(">HHIIBBHHH", 40000, PORT, 1, 0, 5 << 4, 2, 1000, 0, 0)
    pseudo = src + dst + struct.pack(">HH", 6, len(head))
    head = head[:16] + struct.pack(">HH", checksum(pseudo + head), 0)
    return ip(family, src, dst, 6, head)


def ip(family, src, dst, proto, body):
    if family == V6:
        return (0x86dd, struct.pack(">IHBB", 6 << 28, len(body), proto, 64) +
                src + dst + body)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, proto, 0)
    head += src + dst
    return 0x800, head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


@pytest.mark.parametrize("option", [(), ("--no-map-gw",),
                                    ("--dns-forward", DNS[V4])])
def test_tap(lab, option):
    """Frames with addresses that a kernel would not send."""
    secret = Secret(lab.host)
    lab.resolver(STUB)
    guest = lab.pasta("--config-net", "-T", "none", "-U", "none", *option)
    link = guest.ip(f"link show dev {UPLINK}")[0]["address"]
    with guest.inside():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((UPLINK, 0))
    sources = {V4: [HOST[V4], "127.0.0.1"], V6: [HOST[V6], "::1"]}
    targets = ["127.0.0.1", "127.0.0.2", STUB, "127.255.255.255", "0.0.0.0",
               "0.0.0.1", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1",
               "::ffff:0:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1",
               "2002:7f00:1::", "ff01::1", "ff02::1"]
    ours = bytes.fromhex("9a559a559a55")
    for target in targets:
        for source in sources[family_of(target)]:
            for make in udp, syn:
                kind, packet = make(source, target)
                raw.send(ours + bytes.fromhex(link.replace(":", "")) +
                         struct.pack(">H", kind) + packet)
    raw.close()
    # Frames are taken in order: when this one arrives, those before have
    last = lab.peer.bind(V4, DGRAM)
    guest.connect(V4, PEER[V4], last.getsockname()[1], DGRAM).send(b"last")
    assert last.recv(10) == b"last"
    secret.untouched()


def test_loopback_of_the_namespace(lab, family):
    """Without -T and -U the namespace's own loopback is its own."""
    secret = Secret(lab.host)
    guest = lab.pasta("--config-net", "-T", "none", "-U", "none")
    knock(guest, family, LOOPBACK[family])
    with pytest.raises(ConnectionRefusedError):
        guest.connect(family, LOOPBACK[family], PORT)
    secret.untouched()


def test_said_so(lab, family):
    """The opposite of all these: an option opens the way."""
    listener = lab.host.bind(family, STREAM, PORT, LOOPBACK[family])
    listener.listen()
    guest = lab.pasta("--config-net", "-T", PORT, "-U", "none")
    for address in GATEWAY[family], LOOPBACK[family]:
        client = guest.connect(family, address, PORT)
        server = lab.host.accept(listener)
        client.sendall(b"x")
        assert server.recv(1) == b"x"
