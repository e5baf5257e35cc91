# SPDX-License-Identifier: GPL-2.0-or-later
"""What clients are told after a change of the host's, by frames: states of RFC 2131
in which programs are only for a moment, and all servers beside each other."""

import socket

import pytest

from clients import (DHCP_ACK, DHCP_NAK, ask_dhcp, ask_dhcpv6, solicit_router)
from lab import FAR, HOST, PEER, SEARCH, UPLINK, V4, V6, until
from test_dns import Etc
from test_follow import NEW, WLAN, machine, roamer


@pytest.mark.parametrize("kind", ["pasta", "passt"])
def test_resolvers(lab, kind):
    """resolv.conf is another one: DHCP, DHCPv6 and router advertisements tell the
    new resolvers and domains."""
    etc = Etc(lab)
    etc.conf.write_text(f"nameserver {PEER[V4]}\nnameserver {PEER[V6]}\n"
                        f"search {' '.join(SEARCH)}\n")
    if kind == "pasta":
        guest = lab.pasta("--dhcp-dns", "--dhcp-search", user=etc.user)
        guest.run("ip", "link", "set", UPLINK, "up")
    else:
        guest = lab.bridged(1500, user=etc.user)
    until(lambda: guest.addresses(V6, scope="link"), "a link-local address")

    def told(resolvers, search):
        lease = ask_dhcp(guest, UPLINK, reboot=HOST[V4])
        assert lease[53][0] == DHCP_ACK
        ra, v6 = solicit_router(guest, UPLINK), ask_dhcpv6(guest, UPLINK)
        return (lease[6] == socket.inet_aton(resolvers[V4]) and
                ra["resolvers"] == v6["resolvers"] == [resolvers[V6]] and
                lease["search"] == v6["search"] == ra["search"] == search)
    assert told(PEER, SEARCH)
    new = etc.conf.with_name("resolv.conf.new")
    new.write_text(f"nameserver {FAR[V4]}\nnameserver {FAR[V6]}\n"
                   "search other.example vpn.example\n")
    new.rename(etc.conf)
    until(lambda: told(FAR, ["other.example", "vpn.example"]), "the new lists")


@pytest.mark.parametrize("kind", ["bridged", "tapped"])
def test_lease_renewed(lab, roamer, kind):
    """Leases end that are not for ever; who renews his own after a change is told
    what is new, or that he has to ask for another."""
    roamer.plug(WLAN)
    roamer.join(WLAN, [V4])
    guest = machine(lab, kind)

    def renew(link):
        return ask_dhcp(guest, UPLINK, renew=link.host[V4])

    def seconds(lease):
        return [int.from_bytes(lease[code], "big") for code in (51, 58, 59)]
    lease = ask_dhcp(guest, UPLINK, reboot=WLAN.host[V4])
    assert lease[53][0] == DHCP_ACK and lease["yiaddr"] == WLAN.host[V4]
    assert seconds(lease) == [86400, 120, 192]
    assert renew(WLAN)[53][0] == DHCP_ACK
    # Another router, the same address
    roamer.ip("route", "replace", "default", "via", "198.51.100.9", "dev",
              "wlan0", "metric", 1024)
    until(lambda: renew(WLAN)[3] == socket.inet_aton("198.51.100.9"),
          "the new router")
    roamer.leave(WLAN, [V4])
    roamer.join(NEW, [V4])
    until(lambda: renew(WLAN)[53][0] == DHCP_NAK, "the end of the old address")
    assert ask_dhcp(guest, UPLINK, reboot=WLAN.host[V4])[53][0] == DHCP_NAK
    lease = ask_dhcp(guest, UPLINK)
    assert lease[53][0] == DHCP_ACK and lease["yiaddr"] == NEW.host[V4]
    assert renew(NEW)["yiaddr"] == NEW.host[V4]
