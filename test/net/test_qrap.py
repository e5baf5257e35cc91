# SPDX-License-Identifier: GPL-2.0-or-later
"""qrap, which connects to passt and then becomes QEMU."""

import json
import shutil

import pytest

from lab import PASST, QRAP

# Stands in for QEMU: its arguments, and whether the descriptor is connected to
# somebody who answers an ARP request
QEMU = """#!/usr/bin/python3
import json, socket, sys
fd = int(sys.argv[1]) if sys.argv[1].isdigit() else 5
s = socket.socket(fileno=fd)
s.settimeout(10)
s.sendall(bytes.fromhex("0000002a ffffffffffff 020000000001 0806 0001 0800 06"
    "04 0001 020000000001 c6336402 000000000000 c6336401"))
got = b""
while b"\\x02\\0\\0\\0\\0\\x01" not in got:
    got += s.recv(1000)
print(json.dumps(sys.argv))
"""


@pytest.fixture
def place(lab):
    """A /tmp of our own, with a passt at its default path."""
    tmp, bin = lab.path("tmp"), lab.path("bin")
    tmp.mkdir()
    bin.mkdir()
    for name in "kvm", "other":
        (bin / name).write_text(QEMU)
        (bin / name).chmod(0o755)
    for program in PASST, QRAP:
        shutil.copy(program, bin)

    def run(script, **kw):
        return lab.host.run(
            "unshare", "-m", "sh", "-c",
            f"mount --bind {bin} /mnt && mount --bind {tmp} /tmp && "
            f"PATH=/mnt:$PATH && {script}", **kw)
    yield run
    run("pkill -F /tmp/pid || true")


START = "passt --runas 0 --pid /tmp/pid && "


def argv(text):
    return json.loads(text)[1:]


def test_with_a_number(place):
    out = place(START + "qrap 7 other 7 -netdev socket,fd=7,id=n --x 'a b'")
    assert argv(out) == ["7", "-netdev", "socket,fd=7,id=n", "--x", "a b"]


@pytest.mark.parametrize("given, wanted", [
    ("-m 1G", ["-m", "1G", "-netdev", "socket,fd=5,id=hostnet0"]),
    ("-machine pc-q35-7.0,accel=kvm -netdev tap,id=a "
     "-device virtio-net-pci,netdev=a -device foo,bus=pci.3,addr=0x0",
     ["-machine", "pc-q35-7.0,accel=kvm", "-device", "foo,bus=pci.3,addr=0x0",
      "-device", "virtio-net-pci,bus=pci.4,addr=0x0,netdev=hostnet0,"
      "x-txburst=4096", "-netdev", "socket,fd=5,id=hostnet0"]),
    ("-M pc -device e1000,netdev=a --netdev user,id=a "
     "-device foo,bus=pci.0,addr=0x2 -device bar,addr=0x3",
     ["-M", "pc", "-device", "foo,bus=pci.0,addr=0x2",
      "-device", "bar,addr=0x3",
      "-device", "virtio-net-pci,bus=pci.0,addr=0x4,netdev=hostnet0,"
      "x-txburst=4096", "-netdev", "socket,fd=5,id=hostnet0"]),
    ("-machine type=s390-ccw-virtio -device virtio-blk-ccw,devno=fe.0.0001",
     ["-machine", "type=s390-ccw-virtio",
      "-device", "virtio-blk-ccw,devno=fe.0.0001",
      "-device", "virtio-net-ccw,devno=fe.0.0002,netdev=hostnet0,"
      "x-txburst=4096", "-netdev", "socket,fd=5,id=hostnet0"]),
])
def test_arguments(place, given, wanted):
    assert argv(place(START + f"qrap {given}")) == wanted


def test_json(place):
    """libvirt writes devices as JSON."""
    device = json.dumps({"driver": "foo", "bus": "pci.3", "addr": "0x0"})
    old = json.dumps({"driver": "virtio-net-pci", "netdev": "a"})
    out = argv(place(START + f"qrap -device '{old}' -device '{device}'"))
    assert out[:3] == ["-device", device, "-device"]
    assert json.loads(out[3]) == {
        "driver": "virtio-net-pci", "bus": "pci.4", "addr": "0x0",
        "netdev": "hostnet0", "x-txburst": 4096}
    assert json.loads(out[5]) == {"type": "socket", "fd": "5",
                                  "id": "hostnet0"}


def test_nobody(place):
    got = place("qrap -m 1G", check=False)
    assert got.status == 1 and "No passt answers" in got.stderr


# Two sockets whose guest is there: who connects besides is reset
BUSY = """#!/usr/bin/python3
import socket, struct
busy = [socket.socket(socket.AF_UNIX) for _ in range(2)]
for i, s in enumerate(busy):
    s.bind(f"/tmp/passt_{i + 1}.socket")
    s.listen()
print("ready", flush=True)
import select
while True:
    for s in select.select(busy, [], [])[0]:
        c = s.accept()[0]
        c.recv(1)
        c.close()
"""


def test_others(lab, place):
    """Where others are served a guest goes on to the next socket."""
    script = lab.path("bin") / "busy"
    script.write_text(BUSY)
    script.chmod(0o755)
    out = place("(busy & echo $! >/tmp/busy) | read ready && "
                "passt --runas 0 --pid /tmp/pid -s /tmp/passt_3.socket && "
                "timeout 20 qrap -m 1G; status=$?; "
                "kill $(cat /tmp/busy); exit $status")
    assert argv(out) == ["-m", "1G", "-netdev", "socket,fd=5,id=hostnet0"]


def test_usage(place):
    got = place("qrap", check=False)
    assert got.status == 1 and "Usage: " in got.stderr
    got = place(START + "qrap 2 other", check=False)
    assert got.status == 1 and "Descriptor 2 is taken" in got.stderr
    got = place("qrap 7 /nowhere/there", check=False)
    assert got.status == 1 and "Can't start /nowhere/there" in got.stderr
