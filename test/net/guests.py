# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of all kinds: other network cards, and firmware that loads a system.

    make check-guests           some minutes; what was run is in doc/guests.md

Each gets an address, resolves a name, and loads files over HTTP and TFTP from
the peer.  Firmware shows that they are whole by starting what it has loaded: a
Linux kernel, whose initramfs says so, and a file beside it with its checksum.
"""

import os
import pathlib
import re
import shutil
import subprocess
import time
import zlib

import pytest

from clients import Lease
from lab import (FAR, GATEWAY, HERE, HOST, MIB, PEER, PYTHON, SEARCH, V4, V6,
                 literal, run, until)
from qemu import BUSYBOX, DHCPV6, MODULES, Machine, initramfs, kernel
from vm import Guest, Path, Vhost

PORT, SIZE = 8000, 4 * MIB
BLOCK = 8192    # bytes of TFTP, in fragments
NAME = f"www.{SEARCH[0]}"
CARDS = {"virtio-net-pci": [], "e1000": ["e1000"], "e1000e": ["e1000e"],
         "rtl8139": ["mii", "8139cp"], "vmxnet3": ["vmxnet3"],
         "pcnet": ["mii", "pcnet32"], "ne2k_pci": ["8390", "ne2k-pci"],
         "i82559c": ["mii", "e100"]}
CONSOLE = "console=ttyS0 quiet panic=-1"


@pytest.fixture
def servers(lab):
    """HTTP, TFTP and DNS at the peer, all of the same directory."""
    directory = lab.path("served")
    directory.mkdir()
    payload, _ = lab.payload(SIZE)
    shutil.copy(payload, directory / "payload")
    lab.serve(lab.peer, PORT, directory)
    lab.peer.spawn(
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
        "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root",
        "--pid-file=", "--log-facility=-", "--enable-tftp",
        f"--tftp-root={directory}", f"--listen-address={PEER[V4]}",
        f"--listen-address={PEER[V6]}", f"--address=/{NAME}/{PEER[V4]}",
        f"--address=/{NAME}/{PEER[V6]}").says("started, version")
    return directory


@pytest.fixture
def path(lab, servers):
    return Path(lab)


def long_blocks(lab, directory):
    """TFTP at the far end; see tftpd.py."""
    server = lab.far.spawn(PYTHON, HERE / "tftpd.py", FAR[V4], directory)
    server.says("^ready$")
    return server


def digest(lab):
    return lab.payload(SIZE)[1]


# Cards, with Linux' drivers

@pytest.mark.parametrize("card", CARDS)
def test_card(lab, servers, path, card):
    archive = initramfs(lab.tmp, kernel()[1], MODULES + CARDS[card])
    net = [a.replace("virtio-net-pci", card) for a in path.net()]
    vm = Guest(lab, net, archive).boot()
    lease = Lease(vm.lease("udhcpc -i eth0 -n -q -f -s /lease"))
    assert lease.words("ip") == [HOST[V4]]
    until(lambda: vm.ok("ip -6 addr show dev eth0 scope global | "
                        "grep inet6 | grep -v tentative"), "SLAAC", 60)
    lease = Lease(vm.lease(DHCPV6))
    assert lease.words("new_ip6_address") == [HOST[V6]]
    for family in V4, V6:
        assert PEER[family] in vm.run(f"nslookup {NAME} {PEER[family]}")
        url = f"http://{literal(PEER[family])}:{PORT}/payload"
        start = time.monotonic()
        got = vm.run(f"wget -q -O - '{url}' | md5sum", 300)
        print(f"{card}: {SIZE / 1e6 / (time.monotonic() - start):.1f} MB/s")
        assert got.split()[0] == digest(lab)
    sources = [(PEER[V4], 1400)]
    if card == "virtio-net-pci":
        server = long_blocks(lab, servers)
        sources.append((FAR[V4], BLOCK))
    for where, block in sources:
        got = vm.run(f"tftp -g -b {block} -l /tmp/got -r payload {where} && "
                     "md5sum < /tmp/got", 300)
        assert got.split()[0] == digest(lab)
    if card == "virtio-net-pci":
        server.says(f"^payload {BLOCK}$")


# Programs of Debian unstable, from the root directory GUEST_ROOT

UNSTABLE = pathlib.Path(os.environ.get("GUEST_ROOT", "/nonexistent"))
LOADER = "ld-linux-x86-64.so.2"
# QEMU finds its firmware, and the lab's files; nothing of it stays
ENTER = """
for d in proc dev sys tmp; do mount --rbind /$d "$1/$d"; done
exec chroot "$@"
"""


@pytest.fixture
def unstable():
    if not (UNSTABLE / "usr/bin/qemu-system-x86_64").exists():
        pytest.skip("no root of Debian unstable: GUEST_ROOT")
    return UNSTABLE


def ping_of(root, tmp):
    """iputils' ping, as a tree to be put on top of a guest's: its command."""
    where = tmp / "tree" / "unstable"
    where.mkdir(parents=True)
    files = subprocess.run(["chroot", root, "ldd", "/usr/bin/ping"], check=True,
                           capture_output=True, text=True).stdout
    for file in "/usr/bin/ping", *re.findall(r"(/\S+) \(0x", files):
        shutil.copy(root / file.lstrip("/"), where)
    return tmp / "tree", (f"/unstable/{LOADER} --library-path /unstable "
                          "/unstable/ping")


def answered(text):
    print(text.splitlines()[-2])
    return " 3 received" in text and "BAD CHECKSUM" not in text


@pytest.mark.parametrize("channel", [Path, Vhost],
                         ids=["stream", "vhost-user"])
def test_newest_qemu(lab, servers, unstable, channel):
    """With two pairs of queues and MSI-X where that is vhost-user; ping has a
    raw socket in there, and looks at the sums."""
    tree, ping = ping_of(unstable, lab.tmp)
    archive = initramfs(lab.tmp, kernel()[1], tree=tree)
    net = [a.replace(",vectors=0", "") for a in channel(lab).net()]
    vm = Guest(lab, net, archive,
               ["unshare", "--mount", "sh", "-e", "-c", ENTER, "sh",
                unstable]).boot()
    assert Lease(vm.lease("udhcpc -i eth0 -n -q -f -s /lease")).words(
        "ip") == [HOST[V4]]
    until(lambda: vm.ok("ip -6 addr show dev eth0 scope global | "
                        "grep inet6 | grep -v tentative"), "SLAAC", 60)
    for family in V4, V6:
        url = f"http://{literal(PEER[family])}:{PORT}/payload"
        got = vm.run(f"wget -q -O - '{url}' | md5sum", 300)
        assert got.split()[0] == digest(lab)
        assert answered(vm.run(f"{ping} -n -c 3 -i 0.2 {PEER[family]}"))


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("kind", ["ping", "raw"])
def test_newest_ping(lab, unstable, family, kind):
    """In a namespace, by a ping socket and, where that is not allowed, a raw one."""
    guest = lab.pasta("--config-net")
    if kind == "raw":
        # No group: not one of a namespace that has one alone
        run("nsenter", f"--net={guest.netns}", "sysctl", "-q", "-w",
            "net.ipv4.ping_group_range=1 0")
    libraries = unstable / "usr/lib/x86_64-linux-gnu"
    assert answered(guest.run(libraries / LOADER, "--library-path", libraries,
                              unstable / "usr/bin/ping", "-n", "-c", 3, "-i",
                              "0.2", PEER[family]))


# Firmware

class Firmware(Machine):
    """A machine whose first serial port is the firmware's console, and then
    the shell of what it has loaded."""

    def __init__(self, lab, *argv, program="qemu-system-x86_64"):
        self.console = lab.path("console.log")
        self.seen = 0
        self.process = lab.host.spawn(
            program, "-accel", "tcg", "-m", "512", "-nodefaults", "-display",
            "none", "-no-reboot", "-serial", "stdio",
            "-serial", f"file:{self.console}", *argv, stdin=subprocess.PIPE)

    def type(self, line):
        self.process.popen.stdin.write(line.encode() + b"\r")
        self.process.popen.stdin.flush()


def system(lab, directory):
    """A kernel, and an initramfs that has the payload in it."""
    image, modules = kernel()
    shutil.copy(image, directory / "vmlinuz")
    archive = initramfs(lab.tmp, modules)
    shutil.copy(archive, directory / "initramfs")
    extra = subprocess.run([BUSYBOX, "cpio", "-o", "-H", "newc"],
                           cwd=directory, input=b"payload", check=True,
                           capture_output=True).stdout
    (directory / "extra").write_bytes(extra)


def loaded(lab, vm, seconds=240):
    """It has come up, and has the payload."""
    vm.await_line(r".*@@(ready)", seconds, "the loaded system")
    assert vm.run("md5sum < /payload").split()[0] == digest(lab)


@pytest.mark.parametrize("card", ["virtio-net-pci", "e1000", "rtl8139"])
def test_ipxe(lab, servers, path, card):
    system(lab, servers)
    script = lab.path("boot.ipxe")
    script.write_text(f"""#!ipxe
dhcp || goto failed
show net0/ip
show net0.dhcp/dns
kernel http://{NAME}:{PORT}/vmlinuz {CONSOLE} || goto failed
initrd tftp://{PEER[V4]}/initramfs || goto failed
initrd http://{PEER[V4]}:{PORT}/extra || goto failed
boot
:failed
echo It has failed
poweroff
""")
    net = [a.replace("virtio-net-pci", card) for a in path.net()]
    vm = Firmware(lab, "-machine", "graphics=off", "-kernel",
                  "/usr/lib/ipxe/ipxe.lkrn", "-initrd", script, *net)
    loaded(lab, vm)


GRUB_MODULES = ("normal net efinet http tftp linux serial terminal echo "
                "test sleep halt").split()
GRUB = {V4: f"""
net_bootp
net_nslookup {NAME} {PEER[V4]}
""", V6: f"""
net_bootp6
net_nslookup {NAME} {PEER[V6]}
"""}


def efi_disk(lab, program):
    """A disk with @program where firmware looks for it; for QEMU."""
    boot = lab.path("esp") / "EFI" / "BOOT"
    boot.mkdir(parents=True)
    shutil.copy(program, boot / "BOOTX64.EFI")
    return ["-drive", f"format=raw,file=fat:rw:{lab.path('esp')},if=virtio"]


def ovmf(lab):
    variables = lab.path("vars.fd")
    shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", variables)
    return ["-machine", "q35",
            "-drive", "if=pflash,format=raw,readonly=on,"
            "file=/usr/share/OVMF/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,format=raw,file={variables}"]


def without_rom(net):
    """The firmware has a driver of its own for it, and a stack."""
    return [re.sub("^virtio-net-pci", "virtio-net-pci,romfile=", a)
            for a in net]


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_grub(lab, servers, path, family):
    system(lab, servers)
    script, program = lab.path("grub.cfg"), lab.path("grub.efi")
    peer = literal(PEER[family])
    # A port in GRUB's names comes after a comma
    script.write_text(f"""
serial --unit=0
terminal_output serial
{GRUB[family]}
net_ls_addr
linux (http,{peer}:{PORT})/vmlinuz {CONSOLE}
initrd (tftp,{peer})/initramfs (http,{peer}:{PORT})/extra
boot
echo It has failed
sleep 5
halt
""")
    subprocess.run(["grub-mkimage", "-O", "x86_64-efi", "-p", "/", "-c",
                    script, "-o", program, *GRUB_MODULES], check=True)
    vm = Firmware(lab, *ovmf(lab), *efi_disk(lab, program),
                  *without_rom(path.net()))
    loaded(lab, vm)


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("how", ["PXE", "HTTP"])
def test_ovmf(lab, servers, how, family):
    """The firmware's own clients; there is nothing to start but what --dhcp-boot
    names, from our TFTP or the peer's HTTP: a GRUB that reads a file from our TFTP."""
    script, program = lab.path("grub.cfg"), servers / "boot.efi"
    (servers / "words").write_text("This came from the network.\n")
    script.write_text(f"""
serial --unit=0
terminal_output serial
{GRUB[family].split()[0]}
cat (tftp,{literal(GATEWAY[family])})/words
sleep 5
halt
""")
    subprocess.run(["grub-mkimage", "-O", "x86_64-efi", "-p", "/", "-c",
                    script, "-o", program, *GRUB_MODULES, "cat"], check=True)
    named = program.name if how == "PXE" else (
        f"http://{literal(PEER[family])}:{PORT}/{program.name}")
    path = Path(lab, "-4" if family == V4 else "-6", "--tftp", servers,
                "--dhcp-boot", f"efi64={named}")
    # Clients that are asked earlier would wait for minutes
    without = [v for v in (V4, V6) if how != "PXE" or v != family]
    vm = Firmware(lab, *ovmf(lab), *without_rom(path.net()), *(
        word for v in without for word in
        ("-fw_cfg", f"name=opt/org.tianocore/IPv{4 if v == V4 else 6}"
         "PXESupport,string=n")))
    vm.process.says("This came from the network", 480)


# One that was built with CONFIG_IP_DEFRAG, see doc/guests.md
UBOOT = os.environ.get("GUEST_UBOOT")
UBOOT_ADDRESS = "0x42000000"


def uboot(lab, path, binary="/usr/lib/u-boot/qemu_arm64/u-boot.bin"):
    """With an address"""
    vm = Firmware(lab, "-machine", "virt", "-cpu", "cortex-a57", "-bios",
                  binary, *path.net(), program="qemu-system-aarch64")
    vm.process.says("Hit any key", 120)
    vm.type("")
    vm.process.says("=> ")
    vm.type("setenv autoload no; dhcp && echo has an address")
    vm.process.says(f"DHCP client bound to address {HOST[V4]}", 60)
    return vm


def tftpboot(lab, vm, server):
    vm.type(f"setenv serverip {server}; tftpboot {UBOOT_ADDRESS} payload; "
            f"crc32 {UBOOT_ADDRESS} $filesize")
    want = zlib.crc32(lab.payload(SIZE)[0].read_bytes())
    vm.process.says(f"==> {want:08x}", 180)


def test_uboot(lab, servers, path):
    tftpboot(lab, uboot(lab, path), PEER[V4])


def test_uboot_boot(lab, servers):
    """What --dhcp-boot names for it, from our TFTP."""
    vm = uboot(lab, Path(lab, "--tftp", servers, "--dhcp-boot", "none",
                         "--dhcp-boot", "ubootarm64=payload"))
    vm.type(f"setenv autoload yes; dhcp {UBOOT_ADDRESS} && "
            f"crc32 {UBOOT_ADDRESS} $filesize")
    want = zlib.crc32(lab.payload(SIZE)[0].read_bytes())
    vm.process.says(f"==> {want:08x}", 180)


@pytest.mark.skipif(not UBOOT, reason="Debian's puts no fragments together: "
                    "GUEST_UBOOT")
def test_uboot_fragments(lab, servers):
    """It takes the frames of Ethernet only, whatever MTU DHCP tells."""
    server = long_blocks(lab, servers)
    vm = uboot(lab, Path(lab, "--mtu", 1500), UBOOT)
    vm.type(f"setenv tftpblocksize {BLOCK}")
    tftpboot(lab, vm, FAR[V4])
    server.says(f"^payload {BLOCK}$")
