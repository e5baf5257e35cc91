# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of passt without a virtual machine: a namespace whose tap device is
carried to passt's stream."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct

from clients import Background
from lab import GATEWAY, HOST, PASST, UPLINK, USER, V4, V6, until

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000


def relay(tap, stream):
    """Frames both ways, until the stream ends."""
    pending = b""
    while True:
        readable, _, _ = select.select([tap, stream], [], [])
        if stream in readable:
            data = stream.recv(65536)
            if not data:
                return
            pending += data
        if tap in readable:
            frame = os.read(tap, 65536)
            stream.sendall(struct.pack(">I", len(frame)) + frame)
        while len(pending) >= 4:
            end = 4 + struct.unpack(">I", pending[:4])[0]
            if len(pending) < end:
                break
            os.write(tap, pending[4:end])
            pending = pending[end:]


@contextlib.contextmanager
def passt(lab, *options):
    """A guest behind passt; its interface is up and has no address."""
    guest = lab.named(lab.netns())
    guest.run("sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0")
    ours, theirs = socket.socketpair()
    with guest.inside():
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", UPLINK.encode(),
                                                IFF_TAP | IFF_NO_PI))
    guest.run("ip", "link", "set", UPLINK, "up")
    with theirs:
        fd = theirs.fileno()
        daemon = lab.host.spawn(*USER, PASST, "-f", "--fd", fd, *options,
                                pass_fds=[fd])
    carrier = Background(relay, tap, ours)
    try:
        yield guest
    finally:
        daemon.signal(signal.SIGTERM)
        status = daemon.exit()
        with contextlib.suppress(ConnectionError):
            carrier.result()
        os.close(tap)
        ours.close()
    assert status == 0


def configured(guest):
    """As DHCP would have done it."""
    guest.run("ip", "link", "set", UPLINK, "mtu", "65520")
    for family, length in (V4, 24), (V6, 64):
        guest.run("ip", "addr", "add", f"{HOST[family]}/{length}", "dev",
                  UPLINK)
        guest.run("ip", "-6" if family == V6 else "-4", "route", "add",
                  "default", "via", GATEWAY[family])
    until(lambda: guest.addresses(V6), "the end of DAD")
