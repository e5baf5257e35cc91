# SPDX-License-Identifier: GPL-2.0-or-later
"""A host without a network: the guest has one all the same, a local one."""

import pytest

from lab import UPLINK, V4, V6, literal, script

TAP = "tap0"
PORT = 7001


@pytest.fixture
def offline(lab):
    """The lab with a host that has nothing but its loopback interface."""
    name = lab.netns()
    script(name, "link set lo up")
    lab.host = lab.named(name)
    return lab


def test_addresses(offline):
    guest = offline.pasta("--config-net")
    assert guest.addresses(V4, TAP) == ["169.254.2.1/16"]
    assert guest.default_route(V4) == ["169.254.2.2"]
    # IPv6 needs no more than the address that the kernel made
    own, = guest.addresses(V6, TAP, "link")
    assert own.startswith("fe80::")
    assert guest.addresses(V6, TAP) == []
    assert guest.default_route(V6) == ["fe80::1"]


def test_options_win(offline):
    guest = offline.pasta("--config-net", "-a", "10.9.8.7", "-n", "24",
                          "-g", "10.9.8.1", "-a", "2001:db8:9::7",
                          "-g", "fe80::9", "-I", UPLINK)
    assert guest.addresses(V4) == ["10.9.8.7/24"]
    assert guest.addresses(V6) == ["2001:db8:9::7/64"]
    assert guest.default_route(V4) == ["10.9.8.1"]
    assert guest.default_route(V6) == ["fe80::9"]


def test_loopback_as_template(offline):
    """Addresses of loopback are none for a guest; what else is there is one."""
    guest = offline.pasta("--config-net", "-i", "lo")
    assert guest.addresses(V4, TAP) == ["169.254.2.1/16"]
    assert guest.default_route(V4) == ["169.254.2.2"]
    offline.host.run("ip", "addr", "add", "10.9.8.7/32", "dev", "lo")
    guest = offline.pasta("--config-net", "-i", "lo")
    assert guest.addresses(V4, TAP) == ["10.9.8.7/32"]


def test_forwarded_port(offline):
    guest = offline.pasta("--config-net", "-t", PORT)
    greet(offline, guest, offline.host, "127.0.0.1", "::1")


def test_host_by_gateway(offline):
    guest = offline.pasta("--config-net")
    greet(offline, offline.host, guest, "169.254.2.2")


def greet(lab, server, client, *addresses):
    directory = lab.path("served")
    directory.mkdir()
    (directory / "word").write_text("hello")
    lab.serve(server, PORT, directory)
    for a in addresses:
        assert client.run("curl", "-sS", "--max-time", 10,
                          f"http://{literal(a)}:{PORT}/word") == "hello"
