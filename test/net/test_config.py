# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is told about its network: address, route, resolver, MTU."""

import contextlib
import time

import pytest

from clients import (CLIENTS, CLIENTS6, dhcp, hear_router, router_socket,
                     solicit_router)
from lab import (BRIDGE, GATEWAY, HOST, PASST, PASTA, PEER, SEARCH,
                 STREAM, UPLINK, USER, V4, V6, alive, prefix_of, until)

WATCH_S = 1.2
TELL = ("--dhcp-dns", "--dhcp-search")


def test_config_net(lab, family):
    """All is there before the command runs, and no DAD is pending."""
    out = lab.host.run(
        *USER, PASTA, "--config-net", "--", "sh", "-c",
        "ip -o addr show scope global; ip route; ip -6 route; ip -o link")
    assert f" {HOST[family]}/{24 if family == V4 else 64} " in out
    assert f"default via {GATEWAY[family]} dev {UPLINK}" in out
    assert f"{UPLINK}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 65520" in out
    assert "tentative" not in out


def test_config_net_copies_the_host(lab, family):
    guest = lab.pasta("--config-net")
    assert guest.addresses(family) == lab.host.addresses(family)
    assert guest.default_route(family) == lab.host.default_route(family)
    assert guest.reachable(family)


def test_config_net_settles(lab):
    """The kernel does not begin anew with the link-local address, as it does
    within a second if that is there while the link gets its ARP."""
    guest = lab.pasta("--config-net")
    monitor = guest.spawn("ip", "monitor", "address", "dev", UPLINK)
    end = time.monotonic() + WATCH_S
    until(lambda: time.monotonic() >= end, "the end of the watch")
    assert alive(monitor.pid) and "fe80" not in monitor.output()


def behind(lab, address, default):
    """From now on the host is another one, whose network has no IPv4 router, but a
    neighbour, which is returned."""
    lab.host, name = lab.named(lab.netns()), lab.netns()
    neighbour = lab.named(name)
    lab.host.sh(f"""
        sysctl -qw net.ipv4.ping_group_range='0 2147483647'
        ip link set lo up
        ip link add {UPLINK} type veth peer eth9 netns {name}
        ip link set {UPLINK} up
        ip addr add {address} dev {UPLINK}
        ip -4 route add default {default} dev {UPLINK}""")
    neighbour.sh("""
        ip link set eth9 up
        ip addr add 10.66.0.1/24 dev eth9""")
    return neighbour


# RFC 9229, and the end of a line
@pytest.mark.parametrize("address, default, router", [
    ("10.66.0.9/24", "via inet6 fe80::1", "10.66.0.1"),
    ("10.66.0.9/32", "scope link", "169.254.2.2")], ids=["via", "line"])
def test_config_net_own_router(lab, address, default, router):
    behind(lab, address, default)
    guest = lab.pasta("--config-net", "-4")
    assert guest.addresses(V4) == [address]
    assert guest.default_route(V4) == [router]
    assert guest.reachable(V4, router)


def test_neighbour_at_own_router(lab):
    """What we have chosen for a router is somebody's address: that one is reached."""
    neighbour = behind(lab, "10.66.0.9/24", "via inet6 fe80::1")
    lab.host.listen(V4, 8000)
    server = neighbour.listen(V4, 8000)
    guest = lab.pasta("--config-net", "-4")
    assert guest.default_route(V4) == ["10.66.0.1"]
    guest.connect(V4, "10.66.0.1", 8000)
    assert server.accept()[1][0] == "10.66.0.9"


@pytest.mark.parametrize("way", ["by our router", "from ourselves"])
def test_line_without_default(lab, way):
    """A point-to-point link, as of a VPN, that is not the way to the world: the host
    is known by our router's address, and its own connections come from there."""
    behind(lab, "10.66.0.9/32", "scope link")
    lab.host.sh(f"""
        ip -4 route del default
        ip -4 route add 10.67.0.0/16 dev {UPLINK}""")
    guest = lab.pasta("--config-net", "-4", "-t", "7001", "-u", "none")
    assert guest.default_route(V4) == []
    if way == "by our router":
        server = lab.host.listen(V4, 8000)
        guest.connect(V4, "169.254.2.2", 8000)
        assert server.accept()[1][0] == "127.0.0.1"
    else:
        server = guest.listen(V4, 7001)
        lab.host.connect(V4, "10.66.0.9", 7001)
        assert server.accept()[1][0] == "169.254.2.2"


def test_unnumbered(lab):
    """The host's address is on lo.  If the guest is given one, it has the host's
    router."""
    lab.host, name = lab.named(lab.netns()), lab.netns()
    lab.host.sh(f"""
        ip link set lo up
        ip link add {UPLINK} type veth peer eth9 netns {name}
        ip link set {UPLINK} up
        ip addr add 10.66.0.9/32 dev lo
        ip -4 route add default via 10.66.0.1 dev {UPLINK} onlink src 10.66.0.9""")
    guest = lab.pasta("--config-net", "-4", "-a", "10.66.0.9")
    assert guest.addresses(V4) == ["10.66.0.9/8"]
    assert guest.default_route(V4) == ["10.66.0.1"]


def test_dhcp_own_router(lab):
    behind(lab, "10.66.0.9/24", "via inet6 fe80::1")
    guest = lab.pasta()
    lease = dhcp(lab, guest, "udhcpc")
    assert lease.words("ip") == ["10.66.0.9"]
    assert lease.words("router") == ["10.66.0.1"]
    assert guest.reachable(V4, "10.66.0.1")


@pytest.mark.parametrize("mtu", [1280, 1500, 9000, 65520])
def test_config_net_mtu(lab, mtu):
    assert lab.pasta("--config-net", "--mtu", mtu).mtu() == mtu


def test_config_net_without_ipv6(lab):
    """On a link with an MTU of less than 1280 the kernel has IPv4 alone."""
    guest = lab.pasta("--config-net", "--mtu", "1000")
    assert guest.mtu() == 1000
    assert guest.addresses(V4) == lab.host.addresses(V4)
    assert guest.addresses(V6) == []
    assert guest.reachable(V4)


def test_config_net_given_values(lab):
    """Options win over what the host has."""
    guest = lab.pasta("--config-net", "-a", "10.9.8.7", "-n", "24",
                      "-g", "10.9.8.1", "-a", "2001:db8:9::7",
                      "-g", "fe80::1", "-I", "net7",
                      "--ns-mac-addr", "02:00:00:00:00:07")
    assert guest.addresses(V4, "net7") == ["10.9.8.7/24"]
    assert guest.addresses(V6, "net7") == ["2001:db8:9::7/64"]
    assert guest.default_route(V4) == ["10.9.8.1"]
    assert guest.default_route(V6) == ["fe80::1"]
    link, = guest.ip("link show dev net7")
    assert link["address"] == "02:00:00:00:00:07"
    # One with several queues would have a list of frames for each of 256
    assert link["qdisc"] == "noqueue"
    assert guest.reachable(V4) and guest.reachable(V6)


@pytest.mark.parametrize("only", [V4, V6], ids=["-4", "-6"])
def test_config_net_one_family(lab, only):
    guest = lab.pasta("--config-net", "-4" if only == V4 else "-6")
    other = V6 if only == V4 else V4
    assert guest.addresses(only) == lab.host.addresses(only)
    assert guest.addresses(other) == []
    assert guest.reachable(only)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("config_net", [False, True],
                         ids=["bare", "config-net"])
def test_dhcp(lab, client, config_net):
    """A real client learns everything, with and without --config-net."""
    guest = lab.pasta(*["--config-net"] * config_net, *TELL)
    if config_net:
        guest.run("ip", "-4", "addr", "flush", "dev", UPLINK)
    lease = dhcp(lab, guest, client)
    assert lease.words("ip", "new_ip_address") == [HOST[V4]]
    assert lease.words("router", "new_routers") == [GATEWAY[V4]]
    assert lease.words("dns", "new_domain_name_servers") == [PEER[V4]]
    assert lease.words("mtu", "new_interface_mtu") == ["65520"]
    assert lease.words("search", "new_domain_search") == SEARCH
    assert lease.words("subnet", "new_subnet_mask") == ["255.255.255.0"]
    assert guest.addresses(V4) == [f"{HOST[V4]}/24"]
    assert guest.default_route(V4) == [GATEWAY[V4]]
    assert guest.mtu() == 65520
    assert guest.reachable(V4)


# The largest is what the link takes, not more
@pytest.mark.parametrize("mtu", [1280, 65521])
def test_dhcp_mtu(lab, mtu):
    guest = lab.pasta("--mtu", mtu)
    dhcp(lab, guest, "udhcpc")
    assert guest.mtu() == mtu


def test_dhcp_is_silent_about_dns_by_default(lab):
    """pasta passes resolvers and search list only when told to."""
    lease = dhcp(lab, lab.pasta(), "udhcpc")
    assert lease.words("dns") == [] and lease.words("search") == []


# Debian's 2023 release has no -H
def test_dhcp_hostname(lab):
    lease = dhcp(lab, lab.pasta("-H", "seven", *TELL), "udhcpc")
    assert lease.words("hostname") == ["seven"]
    assert lease.words("domain") == SEARCH[:1]


def test_dhcp_given_resolver(lab):
    lease = dhcp(lab, lab.pasta("-D", "192.0.2.7", *TELL), "udhcpc")
    assert lease.words("dns") == ["192.0.2.7"]


def test_slaac(lab):
    """The kernel makes itself an address from the advertised prefix."""
    guest = lab.pasta("--mtu", "1400")
    guest.run("ip", "link", "set", UPLINK, "up")
    address, = until(lambda: guest.addresses(V6), "an address by SLAAC")
    assert prefix_of(address) == prefix_of(f"{HOST[V6]}/64")
    gateway, = until(lambda: guest.default_route(V6), "a default route")
    assert gateway.startswith("fe80::")
    mtu = guest.run("cat", f"/proc/sys/net/ipv6/conf/{UPLINK}/mtu")
    assert mtu.strip() == "1400"
    assert guest.reachable(V6)


def up(guest):
    """Wait for the link-local address: a client of IPv6 speaks from it."""
    guest.run("ip", "link", "set", UPLINK, "up")
    until(lambda: guest.addresses(V6, scope="link"), "a link-local address")


def test_router_advertisement(lab):
    guest = lab.pasta("--mtu", "1400", *TELL)
    up(guest)
    ra = solicit_router(guest, UPLINK)
    assert prefix_of(ra["prefix"]) == prefix_of(f"{HOST[V6]}/64")
    assert ra["autonomous"] and ra["lifetime"] > 0
    assert ra["managed"] and ra["other"]
    assert ra["hop limit"] == 255 and ra["mtu"] == 1400
    assert ra["resolvers"] == [PEER[V6]]
    assert ra["search"] == SEARCH


def test_resolver_changes(lab):
    """The guest is told at once, and forgets the old one; and it is told three times, as
    one may be lost."""
    guest = lab.pasta(*TELL)
    up(guest)
    assert solicit_router(guest, UPLINK)["resolvers"] == [PEER[V6]]
    s = router_socket(guest, UPLINK)
    lab.wires.resolver("2001:db8:1::99", search=["new.example", SEARCH[1]])
    ra = hear_router(s)
    assert ra["resolvers"] == ["2001:db8:1::99"]
    assert ra["no resolvers"] == [PEER[V6]]
    assert ra["search"] == ["new.example", SEARCH[1]]
    assert ra["no search"] == SEARCH[:1]
    assert hear_router(s) == ra and hear_router(s) == ra


def test_probes(lab):
    """An address that is free is found free; what would be missed is not."""
    guest = lab.pasta("--config-net", "--dns-forward", "198.51.100.53")
    assert guest.reachable(V4)      # now peer is a neighbour of the host

    def free(address):
        return guest.ok("busybox", "arping", "-D", "-q", "-c", "1", "-w", "1",
                        "-I", UPLINK, address)
    assert free("198.51.100.77")
    for taken in GATEWAY[V4], PEER[V4], "198.51.100.53":
        assert not free(taken), taken


def test_neighbour_from_its_address(lab):
    """ndisc6 believes an advertisement from its target only, and GRUB notes
    the sender.  systemd-networkd forgets a router without the R flag."""
    guest = lab.pasta("--config-net")
    assert guest.run("ndisc6", "-1", "-q", GATEWAY[V6], UPLINK).strip()
    assert guest.reachable(V6, GATEWAY[V6])
    assert " router " in guest.run("ip", "-6", "neigh", "show", GATEWAY[V6])


# Debian's 2023 release spoils the search list of its second answer
@pytest.mark.parametrize("client", CLIENTS6)
def test_dhcpv6(lab, client):
    guest = lab.pasta(*TELL)
    up(guest)
    lease = dhcp(lab, guest, client)
    assert lease.words("new_ip6_address") == [HOST[V6]]
    assert lease.words("new_dhcp6_name_servers") == [PEER[V6]]
    assert lease.words("new_dhcp6_domain_search") == SEARCH
    address = f"{HOST[V6]}/{lease['new_ip6_prefixlen']}"
    until(lambda: address in guest.addresses(V6), "the end of DAD")
    until(lambda: guest.default_route(V6), "a default route by SLAAC")
    assert guest.reachable(V6)


@pytest.mark.parametrize("option", ["--no-dhcp", "--no-dhcpv6", "--no-ra"])
def test_switched_off(lab, option):
    """One service is off, the others still answer."""
    guest = lab.pasta(option, *TELL)
    up(guest)
    if option != "--no-ra":
        ra = solicit_router(guest, UPLINK)
        assert ra["mtu"] == 65520
        # Nobody is to wait for a server that is off
        assert ra["managed"] == ra["other"] == (option != "--no-dhcpv6")
    if option != "--no-dhcp":
        assert dhcp(lab, guest, "udhcpc")
    if option != "--no-dhcpv6":
        assert dhcp(lab, guest, CLIENTS6[0])
    if option == "--no-dhcp":
        # -n: udhcpc gives up after two tries
        assert not guest.ok("busybox", "udhcpc", "-n", "-q", "-f", "-t", "2",
                            "-T", "1", "-i", UPLINK, "-s", "/bin/true")
    if option == "--no-ra":
        assert guest.default_route(V6) == []


# The same by passt

GIVEN = {V4: "192.0.2.77", V6: "2001:db8:77::77"}
# Options, the resolvers and the search list that all of DHCP, DHCPv6 and router
# advertisements tell
TOLD = {"default": ((), PEER, SEARCH),
        "no resolvers": (("--no-dhcp-dns",), None, SEARCH),
        "no search list": (("--no-dhcp-search",), PEER, []),
        "nothing": (("--no-dhcp-dns", "--no-dhcp-search"), None, []),
        "none": (("-D", "none", "-S", "none"), None, []),
        "given": (("-D", GIVEN[V4], "-D", GIVEN[V6], "-S",
                   "a.example b.example", "-S", "c.example"), GIVEN,
                  ["a.example", "b.example", "c.example"])}


@pytest.mark.parametrize("case", TOLD)
def test_told_by_passt(lab, case):
    options, resolvers, search = TOLD[case]
    guest = lab.bridged(65520, *options)
    guest.run("ip", "addr", "flush", "dev", UPLINK, "scope", "global")
    lease = dhcp(lab, guest, "udhcpc")
    assert lease.words("dns") == ([resolvers[V4]] if resolvers else [])
    assert lease.words("search") == search
    lease = dhcp(lab, guest, CLIENTS6[0])
    assert lease.words("new_dhcp6_name_servers") == \
        ([resolvers[V6]] if resolvers else [])
    assert lease.words("new_dhcp6_domain_search") == search
    ra = solicit_router(guest, UPLINK)
    assert ra.get("resolvers") == ([resolvers[V6]] if resolvers else None)
    # There it means nothing without resolvers
    assert ra.get("search", []) == (search if resolvers else [])


def reached(lab, server):
    """A connection to the host's port is the guest's, sooner or later."""
    server.settimeout(0.5)

    def served():
        client = lab.peer.connect(V6, HOST[V6], 8080)
        client.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            return server.accept()
    until(served, "a connection that the guest has")


def test_guest_was_there(lab):
    """passt starts anew under a running guest that has another address than
    the host and waits for a client."""
    guest = lab.named(lab.netns())
    guest.sh(f"""
        sysctl -qw net.ipv6.conf.default.accept_dad=0 \
            net.ipv6.conf.default.accept_ra=0
        ip tuntap add {UPLINK} mode tap
        ip link set {UPLINK} up
        ip addr add 2001:db8:1::77/64 dev {UPLINK} nodad
        ip -6 route add default via {GATEWAY[V6]}""")
    server = guest.bind(V6, STREAM, 8080)
    server.listen()
    path = lab.path("stream")
    lab.daemon(PASST, "-s", path, "-t", "8080")
    guest.spawn(BRIDGE, path, UPLINK).says("^ready$")
    reached(lab, server)


def test_guest_configures_itself(lab):
    """The kernel's own address, by a router advertisement, of a server that has
    not said anything by IPv6 yet."""
    guest = lab.named(lab.netns())
    guest.sh(f"""
        sysctl -qw net.ipv6.conf.default.use_tempaddr=0 \
            net.ipv6.conf.default.accept_dad=1 \
            net.ipv6.conf.default.accept_ra=2
        ip tuntap add {UPLINK} mode tap""")
    server = guest.bind(V6, STREAM, 8080)
    server.listen()
    path = lab.path("stream")
    lab.daemon(PASST, "-s", path, "-t", "8080")
    guest.spawn(BRIDGE, path, UPLINK).says("^ready$")
    guest.run("ip", "link", "set", UPLINK, "up")
    reached(lab, server)
