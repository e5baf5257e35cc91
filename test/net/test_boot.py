# SPDX-License-Identifier: GPL-2.0-or-later
"""Booting from the network: files by TFTP, and which by DHCP."""

import hashlib
import os
import re
import struct

import pytest

from clients import dhcp
from lab import (DGRAM, GATEWAY, HOST, PASST, PASTA, PEER, USER, V4, literal)

RRQ, _, DATA, ACK, ERROR, OACK = range(1, 7)
BOOT = 300_000      # bytes


@pytest.fixture
def files(lab):
    """A directory to serve, and what must not be had from outside of it."""
    top = lab.path("tftp")
    (top / "sub").mkdir(parents=True)
    (top / "boot").write_bytes(os.urandom(BOOT))
    (top / "sub" / "whole").write_bytes(os.urandom(4 * 512))
    (top / "empty").touch()
    (top / "link").symlink_to("sub/whole")
    (top / "out").symlink_to("../secret")
    lab.path("secret").write_text("not for the guest")
    for path in (lab.tmp, top, top / "sub"):
        path.chmod(0o777)
    return top


@pytest.fixture(params=["pasta", "stream", "vhost"])
def guest(lab, files, request):
    if request.param == "pasta":
        return lab.pasta("--config-net", "--tftp", files)
    start = lab.bridged if request.param == "stream" else lab.fronted
    return start(1500, "--tftp", files)


def fetch(guest, family, path, *options):
    """What curl gets, or its exit status; it quotes the error code."""
    url = f"tftp://{literal(GATEWAY[family])}/{path}"
    target = guest.tmp / "got"
    target.unlink(missing_ok=True)
    out = guest.run("sh", "-c", 'curl -sS --path-as-is -m 20 "$@"; echo =$?',
                    "sh", "-o", target, *options, url)
    status = int(out.rsplit("=", 1)[1])
    return status or (target.read_bytes() if target.exists() else b"")


def windowed(guest, family, name, block, window, lose=()):
    """RFC 7440's client; block numbers in @lose do not arrive the first time.
    Returns the file and the options as acknowledged."""
    client = guest.socket(family, DGRAM)
    client.settimeout(10)
    words = [name, "octet", "blksize", block, "windowsize", window, "tsize", 0]
    client.sendto(struct.pack("!H", RRQ) +
                  b"".join(str(w).encode() + b"\0" for w in words),
                  (GATEWAY[family], 69))
    reply, server = client.recvfrom(65535)
    code, = struct.unpack_from("!H", reply)
    assert code == OACK, reply
    text = [w.decode() for w in reply[2:].split(b"\0")[:-1]]
    granted = {k: int(v) for k, v in zip(text[::2], text[1::2])}
    got, last, lose = b"", 0, set(lose)
    client.sendto(struct.pack("!HH", ACK, 0), server)
    behind = 0
    while True:
        data = client.recv(65535)
        code, number = struct.unpack_from("!HH", data)
        assert code == DATA, data
        behind += 1
        if number in lose:
            lose.remove(number)
        elif number == last + 1:
            got, last = got + data[4:], number
            end = len(data) - 4 < granted["blksize"]
            if end or behind == granted["windowsize"]:
                client.sendto(struct.pack("!HH", ACK, last), server)
                behind = 0
            if end:
                client.close()
                return got, granted
        elif behind >= granted["windowsize"]:
            client.sendto(struct.pack("!HH", ACK, last), server)
            behind = 0


def test_tftp(guest, family, files):
    """Real clients, all sizes of blocks, and nothing but what is below."""
    boot, whole = ((files / f).read_bytes() for f in ("boot", "sub/whole"))
    assert fetch(guest, family, "boot", "--tftp-blksize", 1400) == boot
    assert fetch(guest, family, "boot", "--tftp-blksize", 65464) == boot
    assert fetch(guest, family, "boot") == boot
    assert fetch(guest, family, "sub/whole", "--tftp-no-options") == whole
    assert fetch(guest, family, "/sub/whole") == whole
    assert fetch(guest, family, "link") == whole
    assert fetch(guest, family, "empty") == b""
    # RFC 1350's 1 and 2 as curl names them
    assert fetch(guest, family, "none") == 68
    for path in ("out", "../secret", "sub/../../secret", "sub", "."):
        assert fetch(guest, family, path) == 69, path
    new = guest.tmp / "new"
    new.write_text("x")
    assert fetch(guest, family, "new", "-T", new) == 69
    assert sorted(os.listdir(files)) == ["boot", "empty", "link", "out",
                                         "sub"]


def test_tftp_window(guest, family, files):
    boot = (files / "boot").read_bytes()
    got, granted = windowed(guest, family, "boot", 65464, 64)
    assert got == boot
    room = 1500 - (20 if ":" not in GATEWAY[family] else 40) - 8 - 4
    assert granted == {"blksize": room, "windowsize": 8, "tsize": len(boot)}
    got, granted = windowed(guest, family, "boot", 1024, 4, {1, 7, 8, 12, 293})
    assert granted["windowsize"] == 4 and got == boot


def test_tftp_busybox(lab, files, family):
    guest = lab.pasta("--config-net", "--tftp", files)
    for block in 512, 1000, 1468:
        target = lab.path(f"busybox-{block}")
        guest.run("busybox", "tftp", "-g", "-b", block, "-r", "boot", "-l",
                  target, GATEWAY[family])
        assert (hashlib.sha256(target.read_bytes()).digest() ==
                hashlib.sha256((files / "boot").read_bytes()).digest())


@pytest.mark.parametrize("path,why", [
    ("none", "No such file or directory"), ("file", "Not a directory"),
    ("closed", "Permission denied"), ("shut", "Permission denied")])
def test_tftp_directory(lab, path, why):
    """What cannot be served is said before anything runs."""
    lab.path("file").touch()
    (lab.path("closed") / "x").mkdir(parents=True)
    lab.path("shut").mkdir()
    for name in "closed", "shut":
        lab.path(name).chmod(0o700)
    path = lab.path(path)
    path = path / "x" if path.name == "closed" else path
    for program in ([PASTA, "--tftp", path, "--", "true"],
                    [PASST, "-f", "-s", lab.path("s"), "--tftp", path]):
        out = lab.host.run("sh", "-c", '"$@" 2>&1; echo =$?', "sh", *USER,
                           *program)
        assert out.rstrip().endswith("=1")
        assert f"Can't serve files of {path}: {why}" in out


def test_dhcp_boot(lab):
    """The fields and options for a client that is of no special kind."""
    guest = lab.pasta("--dhcp-boot", "efi64=other", "--dhcp-boot",
                      f"dir/file,{PEER[V4]}")
    lease = dhcp(lab, guest, "udhcpc")
    assert lease["siaddr"] == PEER[V4]
    assert lease["boot_file"] == "dir/file"
    assert "other" not in lease.values()


@pytest.mark.machine
def test_ipxe(lab, files):
    """QEMU's own boot ROM: its DHCP, a script and a file by TFTP."""
    (files / "script").write_text(
        "#!ipxe\nimgfetch boot && echo loaded ${net0/ip} || echo failed\n")
    socket = lab.path("socket")
    lab.daemon(PASST, "-1", "-s", socket, "--tftp", files, "--dhcp-boot",
               "none", "--dhcp-boot", "ipxe=script")
    machine = lab.host.spawn(
        "qemu-system-x86_64", "-accel", "tcg", "-m", "128", "-nodefaults",
        "-display", "none", "-machine", "graphics=off", "-serial", "stdio",
        "-netdev", "stream,id=s,server=off,addr.type=unix,"
        f"addr.path={socket}", "-device", "virtio-net-pci,netdev=s,bootindex=1")
    machine.says(f"loaded {re.escape(HOST[V4])}", 60)
    machine.kill()
