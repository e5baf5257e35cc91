# SPDX-License-Identifier: GPL-2.0-or-later
"""A real guest: another kernel, in QEMU, on the other end of the socket.

One boot serves all tests of this file, in order; the last one ends it.
"""

import hashlib
import re

import pytest

from clients import Lease, read_all
from lab import (DGRAM, FAR, GATEWAY, HOST, MIB, PASST, PEER, SEARCH, USER, V4,
                 V6, Lab, literal, prefix_of, until)
from qemu import DHCPV6, Machine

pytestmark = pytest.mark.machine

MTU = 65520
PORT, SIZE = 8000, 16 * MIB


class Setup:
    """A machine, the daemon behind it, and their namespaces."""

    def __init__(self, lab, *options):
        self.lab = lab
        socket = lab.path("socket")
        self.passt = lab.host.spawn(*USER, PASST, "--foreground", "--one-off",
                                    "--socket", socket, *options)
        until(lambda: f" {socket} " in lab.host.run("ss", "-xlH"),
              "passt's socket")
        self.machine = Machine(lab, socket)


@pytest.fixture(scope="module")
def setup(wires):
    lab = Lab(wires)
    try:
        path, _ = lab.payload(SIZE)
        lab.serve(lab.peer, PORT, path.parent)
        yield Setup(lab, "--mtu", MTU, "-t", "7001,7002:80", "-u", "7001")
    finally:
        lab.close()


@pytest.fixture(scope="module")
def vm(setup):
    return setup.machine


@pytest.fixture(scope="module")
def dhcp(vm):
    return Lease(vm.lease("udhcpc -i eth0 -n -q -f -s /lease "
                          "-O mtu -O search"))


@pytest.fixture(scope="module")
def dhcpv6(vm):
    wait_for(vm, "scope link")
    return Lease(vm.lease(DHCPV6))


def wait_for(vm, scope):
    """Until there is an IPv6 address of that scope, past its DAD."""
    vm.run("ip link set eth0 up")
    until(lambda: vm.ok(f"ip -6 addr show dev eth0 {scope} | "
                        "grep inet6 | grep -v tentative"), scope, 60)


def test_dhcp(vm, dhcp):
    assert dhcp.words("ip") == [HOST[V4]]
    assert dhcp.words("subnet") == ["255.255.255.0"]
    assert dhcp.words("router") == [GATEWAY[V4]]
    assert dhcp.words("dns") == [PEER[V4]]
    assert dhcp.words("search") == SEARCH
    assert dhcp.words("mtu") == [str(MTU)]
    assert f"mtu {MTU} " in vm.run("ip link show dev eth0")
    assert f"default via {GATEWAY[V4]}" in vm.run("ip route")


def test_slaac(vm, dhcp):
    wait_for(vm, "scope global")
    address = re.search(r"inet6 (\S+) scope global",
                        vm.run("ip -6 addr show dev eth0"))[1]
    assert prefix_of(address) == prefix_of(f"{HOST[V6]}/64")
    assert "default via fe80::" in vm.run("ip -6 route")
    assert vm.run("cat /proc/sys/net/ipv6/conf/eth0/mtu") == str(MTU)


# Debian's 2023 release spoils the search list of its second answer
def test_dhcpv6(vm, dhcp, dhcpv6):
    assert dhcpv6.words("new_ip6_address") == [HOST[V6]]
    assert dhcpv6.words("new_dhcp6_name_servers") == [PEER[V6]]
    assert dhcpv6.words("new_dhcp6_domain_search") == SEARCH
    assert f"inet6 {HOST[V6]}/" in vm.run("ip -6 addr show dev eth0")


def test_ping(vm, dhcp, dhcpv6, family):
    for host in PEER, FAR:
        vm.run(f"ping -c 1 -W 10 {host[family]}")


def test_download(setup, vm, dhcp, dhcpv6, family):
    path, digest = setup.lab.payload(SIZE)
    url = f"http://{literal(PEER[family])}:{PORT}/{path.name}"
    assert vm.run(f"wget -q -O - '{url}' | md5sum").split()[0] == digest


def test_upload(setup, vm, dhcp, dhcpv6, family):
    """10 MB, both ends counting."""
    lab = setup.lab
    listener = lab.peer.listen(family)
    vm.run("[ -e /tmp/data ] || head -c 10000000 /dev/urandom > /tmp/data")
    digest = vm.run("md5sum < /tmp/data").split()[0]
    kind = "TCP6" if family == V6 else "TCP4"
    port = listener.getsockname()[1]
    vm.send("socat -u -b 65536 OPEN:/tmp/data "     # nc has 1 KiB at a time
            f"{kind}:{literal(PEER[family])}:{port}")
    with lab.peer.accept(listener) as stream:
        received = read_all(stream)
    vm.await_line(r"@@(\d+)", 60, "socat")
    assert hashlib.md5(received).hexdigest() == digest


def test_forwarded_port(setup, vm, dhcp, dhcpv6, family):
    """An HTTP server in the guest, at another port than the host's."""
    lab = setup.lab
    vm.run("[ -e /www ] || { mkdir /www; head -c 5000000 /dev/urandom "
           "> /www/data; httpd -p 80 -h /www; }")
    digest = vm.run("md5sum < /www/data").split()[0]
    got = lab.peer.sh(f"curl -sS http://{literal(HOST[family])}:7002/data "
                      "| md5sum")
    assert got.split()[0] == digest


def test_forwarded_udp(setup, vm, dhcp, dhcpv6, family):
    lab = setup.lab
    vm.run(f"socat UDP{4 if family == V4 else 6}-LISTEN:7001 PIPE & "
           "echo $! > /tmp/socat; "
           "until netstat -uln | grep -q :7001; do usleep 20000; done")
    client = lab.peer.connect(family, HOST[family], 7001, DGRAM)
    for data in b"hello", b"x" * 1400:
        client.send(data)
        assert client.recv(2000) == data
    vm.run("kill $(cat /tmp/socat)")


def test_power_off(setup):
    """--one-off: passt ends with its guest, and with success."""
    setup.machine.power_off()
    assert setup.passt.exit() == 0
