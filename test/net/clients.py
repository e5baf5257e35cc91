# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that Debian has no ready-made program for, on sockets of the lab."""

import os
import shutil
import socket
import struct
import threading

from lab import DEADLINE, DGRAM, STREAM, V4, V6, until


# Streams

def read_all(s):
    """Everything until the other side has shut down."""
    chunks = []
    while chunk := s.recv(1 << 18):
        chunks.append(chunk)
    return b"".join(chunks)


def read_exactly(s, size):
    """That much, when no more is on its way."""
    with s.makefile("rb") as f:
        return f.read(size)


def reset(s):
    """Close with a RST instead of a FIN."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


class Background(threading.Thread):
    """f(*args) in a thread; result() waits and passes on its exception."""

    def __init__(self, f, *args):
        super().__init__(daemon=True)
        self.f, self.args = f, args
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.f(*self.args)
        except BaseException as e:      # handed to result()
            self.error = e

    def result(self):
        self.join(2 * DEADLINE)
        assert not self.is_alive(), f"{self.f.__name__} hangs"
        if self.error:
            raise self.error
        return self.value


# DNS, RFC 1035

A, TXT = 1, 16


def query(name, kind):
    """A DNS query, and its identifier."""
    qname = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    ident = os.urandom(2)
    return (ident + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + qname +
            b"\0" + struct.pack(">HH", kind, 1)), ident


def answers(message, ident):
    """The record data of the answers; None if the truncation bit is set."""
    assert message[:2] == ident
    flags, questions, count = struct.unpack(">HHH", message[2:8])
    assert flags & 0x8000 and not flags & 0xf, hex(flags)
    if flags & 0x0200:
        return None
    at = 12
    for _ in range(questions):
        at = skip_name(message, at) + 4
    found = []
    for _ in range(count):
        at = skip_name(message, at)
        length, = struct.unpack(">H", message[at + 8:at + 10])
        found.append(message[at + 10:at + 10 + length])
        at += 10 + length
    return found


def skip_name(message, at):
    while message[at]:
        if message[at] & 0xc0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def ask_udp(ns, family, server, name, kind):
    s = ns.connect(family, server, 53, DGRAM)
    message, ident = query(name, kind)
    s.send(message)
    return answers(s.recv(65535), ident)


def ask_tcp(ns, family, server, name, kind):
    s = ns.connect(family, server, 53, STREAM)
    message, ident = query(name, kind)
    s.sendall(struct.pack(">H", len(message)) + message)
    with s.makefile("rb") as f:
        length, = struct.unpack(">H", f.read(2))
        return answers(f.read(length), ident)


# Router advertisement, RFC 4861 and 8106

def router_socket(ns, dev):
    """A socket that gets router advertisements."""
    s = ns.socket(V6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with ns.inside():
        index = socket.if_nametoindex(dev)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
    return s


def solicit_router(ns, dev):
    """Ask for a router advertisement; return what it says."""
    s = router_socket(ns, dev)
    s.sendto(bytes([133, 0, 0, 0, 0, 0, 0, 0]), ("ff02::2", 0))
    return hear_router(s)


def hear_router(s):
    """What the next router advertisement says."""
    while True:
        message, control, _, source = s.recvmsg(65535, 256)
        if message[0] == 134:
            break
    hops = [struct.unpack("i", d)[0] for _, kind, d in control
            if kind == socket.IPV6_HOPLIMIT]
    assert hops == [255]
    ra = {"router": source[0].partition("%")[0], "hop limit": message[4],
          "managed": bool(message[5] & 0x80), "other": bool(message[5] & 0x40),
          "lifetime": struct.unpack(">H", message[6:8])[0]}
    at = 16
    while at < len(message):
        kind, units = message[at], message[at + 1]
        assert units, "an option of no length makes the advertisement invalid"
        option(ra, kind, message[at:at + 8 * units])
        at += 8 * units
    assert at == len(message)
    return ra


def option(ra, kind, data):
    if kind == 3:
        valid, = struct.unpack(">I", data[4:8])
        ra["prefix" if valid else "no prefix"] = (
            f"{socket.inet_ntop(V6, data[16:32])}/{data[2]}")
        ra["autonomous"] = bool(data[3] & 0x40)
    elif kind == 5:
        ra["mtu"], = struct.unpack(">I", data[4:8])
    elif kind in (25, 31):
        lifetime, = struct.unpack(">I", data[4:8])
        what = "resolvers" if kind == 25 else "search"
        assert lifetime < 1 << 31, "for ever"
        ra[what if lifetime else f"no {what}"] = names(data[8:]) \
            if kind == 31 else [socket.inet_ntop(V6, data[i:i + 16])
                                for i in range(8, len(data), 16)]


def names(data):
    """Domain names in wire form, zero padded; those of RFC 3397 point back."""
    found, at = [], 0
    while at < len(data) and data[at]:
        labels, end = [], 0
        while data[at]:
            if data[at] & 0xc0:
                end, at = end or at + 2, data[at + 1]
                continue
            labels.append(data[at + 1:at + 1 + data[at]].decode())
            at += 1 + data[at]
        at = end or at + 1
        found.append(".".join(labels))
    return found


# DHCP by hand, RFC 2131, and DHCPv6's Information-request, RFC 8415

DHCP_ACK, DHCP_NAK = 5, 6


def ask_dhcp(guest, dev, *, renew=None, reboot=None):
    """A REQUEST as in RENEWING or INIT-REBOOT; the answer's options, and yiaddr."""
    s = guest.bind(V4, DGRAM, 68)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
    xid = os.urandom(4)
    options = b"\x35\1\3"
    if reboot:
        options += b"\x32\4" + socket.inet_aton(reboot)
    s.sendto(struct.pack(">BBBB4sHH4s12x6s202xI", 1, 1, 6, 0, xid, 0, 0x8000,
                         socket.inet_aton(renew or "0.0.0.0"), b"\2\0\0\0\0\1",
                         0x63825363) + options + b"\xff",
             ("255.255.255.255", 67))
    while (message := s.recv(1500))[4:8] != xid:
        pass
    s.close()
    found, at = {"yiaddr": socket.inet_ntoa(message[16:20])}, 240
    while message[at] != 255:
        if message[at]:
            found[message[at]] = message[at + 2:at + 2 + message[at + 1]]
            at += 1 + message[at + 1]
        at += 1
    return {**found, "search": names(found.get(119, b""))}


def ask_dhcpv6(guest, dev):
    """Which resolvers and domains there are."""
    s = guest.bind(V6, DGRAM, 546)
    with guest.inside():
        index = socket.if_nametoindex(dev)
    xid = os.urandom(3)
    s.sendto(b"\x0b" + xid + bytes.fromhex("0006 0004 0017 0018"),
             ("ff02::1:2", 547, 0, index))
    while (message := s.recv(1500))[:4] != b"\7" + xid:
        pass
    s.close()
    found, at = {"resolvers": [], "search": []}, 4
    while at < len(message):
        code, length = struct.unpack(">HH", message[at:at + 4])
        data = message[at + 4:at + 4 + length]
        if code == 23:
            found["resolvers"] = [socket.inet_ntop(V6, data[i:i + 16])
                                  for i in range(0, length, 16)]
        if code == 24:
            found["search"] = names(data)
        at += 4 + length
    return found


# DHCP by real clients

SCRIPT = r"""#!/bin/sh
# Called by dhclient, dhcpcd and udhcpc: notes the lease, then applies it, if
# dhcpcd has not done that
if [ -n "$new_dhcp6_ia_na1_ia_addr1" ]; then
	new_ip6_address=$new_dhcp6_ia_na1_ia_addr1
	new_ip6_prefixlen=128
fi
case "$reason$1" in
PREINIT|deconfig)
	ip link set dev "$interface" up ;;
PREINIT6)
	ip link set dev "$interface" up ;;
BOUND|REBOOT|bound|BOUND6|REBOOT6)
	a=${ip:-$new_ip_address} m=${mtu:-$new_interface_mtu}
	r=${router:-$new_routers}
	[ -z "$m" ] || ip link set dev "$interface" mtu "$m"
	if [ -n "$a" ]; then
		len=$mask
		[ -n "$len" ] || len=$(busybox ipcalc -p "$a" \
			"$new_subnet_mask" | cut -d= -f2)
		ip addr add "$a/$len" dev "$interface" && [ -n "$r" ] &&
			ip route add default via "$r" dev "$interface"
	fi
	[ -z "$new_ip6_address" ] ||
		ip addr add "$new_ip6_address/$new_ip6_prefixlen" \
			dev "$interface"
	set > "$LEASE.new"
	mv "$LEASE.new" "$LEASE" ;;
esac
exit 0
"""
CONF = """
request subnet-mask, routers, interface-mtu, domain-name-servers,
	domain-search, host-name, dhcp6.name-servers, dhcp6.domain-search;
timeout 25;
"""
DHCPCD = """
script {script}
env LEASE={lease}
option routers, interface_mtu, domain_name_servers, domain_search, host_name
option dhcp6_name_servers, dhcp6_domain_search, dhcp6_reconfigure_accept
nohook resolv.conf
noarp
noipv6rs
persistent
interface {dev}
ia_na 1
"""
# Its files have the same names whatever the namespace
PRIVATE = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib/dhcpcd && "
# Unstable has no dhclient any more
DHCLIENT = bool(shutil.which("dhclient"))
CLIENTS = [*["dhclient"] * DHCLIENT, "dhcpcd", "udhcpc"]
CLIENTS6 = [*["dhclient -6"] * DHCLIENT, "dhcpcd -6"]


class Lease(dict):
    """The variables that a DHCP client hands to its script.  It goes on, .client,
    and what it gets later is in .path."""

    def __init__(self, text):
        for line in text.splitlines():
            name, equals, value = line.partition("=")
            if equals:
                self[name] = value.strip("'\"")

    def words(self, *names):
        """The words of the first of @names that the client has set."""
        for name in names:
            if self.get(name):
                return [w.rstrip(".") for w in self[name].split()]
        return []


def dhcpcd(conf, options, dev, script="/bin/true", lease="none"):
    """Its command; without -1 it stays, and keeps the addresses as they should be"""
    conf.write_text(DHCPCD.format(script=script, lease=lease, dev=dev))
    return ["unshare", "--mount", "sh", "-c",
            f"{PRIVATE}exec dhcpcd {options} -d -B -f {conf} {dev}"]


def dhcp(lab, guest, client, dev="eth0"):
    """Run one of CLIENTS or CLIENTS6 until it has a lease."""
    script, lease = lab.path("dhcp-script"), lab.path(f"lease-{guest.count}")
    conf = lab.path("client.conf")
    script.write_text(SCRIPT)
    script.chmod(0o755)
    conf.write_text(CONF)
    environment = dict(os.environ, LEASE=str(lease))
    if client.startswith("dhclient"):
        argv = [*client.split(), "-1", "-d", "-cf", conf, "-sf", script,
                "-lf", lab.path(f"leases-{guest.count}"), "-pf",
                lab.path(f"dhclient-{guest.count}.pid"),
                "-e", f"LEASE={lease}", dev]
    elif client.startswith("dhcpcd"):
        argv = dhcpcd(conf, f"{'-6' if '-6' in client else '-4'} -1", dev,
                      script, lease)
    else:
        argv = ["busybox", "udhcpc", "-f", "-n", "-i", dev, "-s", script,
                "-O", "mtu", "-O", "search"]
    process = guest.spawn(*argv, env=environment)

    def bound():
        assert lease.exists() or process.popen.poll() is None, \
            process.output()
        return lease.exists()
    until(bound, f"a lease for {client}")
    found = Lease(lease.read_text())
    found.path, found.client = lease, process
    return found
