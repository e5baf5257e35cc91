# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine: Debian's kernel, busybox, a few more programs, and a shell.

The kernel comes from Debian's package, which is unpacked into build/guest and
not installed.  The initramfs is made from what is installed here.  The first
serial port, or the terminal TTY of the kernel's command line, is a shell for
programs: it takes a script in one line of base64 and answers with its output and
"@@STATUS"; the second one is the kernel's console, in console.log.
"""

import base64
import contextlib
import os
import pathlib
import re
import shutil
import subprocess

from clients import DHCLIENT, DHCPCD, SCRIPT
from lab import ROOT, until

CACHE = ROOT / "build" / "guest"
META = "linux-image-amd64"    # the one for clouds lacks emulated cards
MODULES = ["virtio", "virtio_ring", "virtio_pci_modern_dev",
           "virtio_pci_legacy_dev", "virtio_pci", "failover", "net_failover",
           "virtio_net"]
LATE = ["mii", "8139cp", "e1000"]       # when a test wants them, in that order
BUSYBOX = "/bin/busybox"
# Programs that busybox has no equal of; its ip tells no MTU of a route
EXTRA = [shutil.which(p, path="/usr/sbin:/sbin:/usr/bin")
         for p in ("dhclient" if DHCLIENT else "dhcpcd", "socat", "tracepath",
                   "ip")]
IP = EXTRA[-1]
# Runs /lease with what it has learnt
DHCPV6 = ("dhclient -6 -1 -cf /etc/dhclient.conf -lf /tmp/leases "
          "-pf /tmp/dhclient.pid -e LEASE=$LEASE -sf /lease eth0"
          if DHCLIENT else
          "mkdir -p /run /var/lib/dhcpcd; LEASE=/tmp/lease6; "
          "dhcpcd -6 -1 -d -B -f /etc/dhcpcd.conf eth0")
# Emulated, on a machine that has other things to do
BOOT_S, COMMAND_S = 180, 120

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin TTY=${TTY:-ttyS0}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# In whatever order they need each other
for round in 1 2 3 4; do
	for m in /modules/*; do insmod $m 2>/dev/null && rm $m; done
done
ip link set lo up
# Not process 1: that one hears of every orphan's end, in the middle of a line
sh /shell < /dev/$TTY > /dev/$TTY 2>&1
poweroff -f
"""
SHELL = """
stty raw -echo -F /dev/$TTY
echo "@@ready"
while read -r line; do
	echo "$line" | base64 -d > /command
	sh /command < /dev/null
	printf '\\n@@%d\\n' $?
done
"""


def output(*argv, **kw):
    return subprocess.run(argv, check=True, capture_output=True, **kw).stdout


def parts(meta):
    """The packages that a kernel is in: one, or several since Linux 7."""
    found, new = set(), {meta}
    while new:
        text = output("apt-cache", "--no-all-versions", "show", *new,
                      text=True)
        new = set(re.findall(
            r"linux-(?:image|binary|modules|base(?=-\d))-[\w.+-]+",
            " ".join(re.findall("^Depends:.*", text, re.M))))
        new -= found
        found |= new
    return found


def download(directory, meta):
    """Fetch the packages that @meta stands for."""
    output("apt-get", "-o", "APT::Sandbox::User=root", "download",
           *parts(meta), cwd=directory)


def kernel(meta=META):
    """Unpack the kernel once; return its file and where its modules are."""
    tree = CACHE / meta
    if not tree.exists():
        new = CACHE / f"new-{os.getpid()}"
        new.mkdir(parents=True)
        try:
            download(new, meta)
        except subprocess.CalledProcessError:
            output("apt-get", "-qq", "update")      # no list, or an old one
            download(new, meta)
        for deb in new.glob("*.deb"):
            output("dpkg", "-x", deb, new / "tree")
        with contextlib.suppress(OSError):      # another has been quicker
            (new / "tree").rename(tree)
        shutil.rmtree(new)
    image, = (f for d in ("boot", "usr/lib/modules/*")
              for f in tree.glob(f"{d}/vmlinuz*"))
    modules, = (f for d in ("lib", "usr/lib")
                for f in tree.glob(f"{d}/modules/*"))
    return image, modules


def copy_module(modules, name, target):
    """Newer packages have them packed, and some of them built in."""
    builtin = modules / "modules.builtin"
    if builtin.exists() and f"/{name}.ko\n" in builtin.read_text():
        return
    file, = modules.rglob(f"{name}.ko*")
    if file.suffix == ".ko":
        shutil.copy(file, target)
    else:
        (target / f"{name}.ko").write_bytes(output("xz", "-dc", file))


def libraries(program):
    """What the dynamic linker wants for @program."""
    return re.findall(r"(/\S+) \(0x", output("ldd", program, text=True))


def initramfs(tmp, modules, names=MODULES, late=(), tree=None):
    """Make the root file system of the guest, as a file; with what is in @tree."""
    root = tmp / "root"
    if tree:
        shutil.copytree(tree, root)
    for d in ("bin", "proc", "sys", "dev", "modules", "late", "tmp", "etc",
              "var"):
        (root / d).mkdir(parents=True)
    for some, where in (names, "modules"), (late, "late"):
        for module in some:
            copy_module(modules, module, root / where)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    for file in {f for p in EXTRA for f in (p, *libraries(p))}:
        target = root / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    (root / "etc" / "dhclient.conf").write_text(
        "request dhcp6.name-servers, dhcp6.domain-search;\n")
    (root / "etc" / "dhcpcd.conf").write_text(
        DHCPCD.format(script="/lease", lease="/tmp/lease6", dev="eth0"))
    for path, text in (("init", INIT), ("shell", SHELL), ("lease", SCRIPT)):
        (root / path).write_text(text)
        (root / path).chmod(0o755)
    names = "\n".join(str(p.relative_to(root)) for p in root.rglob("*"))
    archive = tmp / "initramfs"
    with open(archive, "wb") as f:
        subprocess.run([BUSYBOX, "cpio", "-o", "-H", "newc"], cwd=root,
                       input=names.encode(), stdout=f, check=True,
                       stderr=subprocess.DEVNULL)
    shutil.rmtree(root)
    return archive


class Machine:
    """A running guest; run() is a command in its shell."""

    def __init__(self, lab, socket):
        image, modules = kernel()
        # One emulated CPU; the other of two is for the daemon
        self.process = lab.host.spawn(
            "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "384",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", image, "-initrd", initramfs(lab.tmp, modules),
            "-append", "console=ttyS1 quiet panic=-1 random.trust_cpu=on "
            "mitigations=off",
            "-serial", "stdio", "-serial", f"file:{lab.path('console.log')}",
            "-netdev", "stream,id=s,server=off,addr.type=unix,"
            f"addr.path={socket}",
            "-device", "virtio-net-pci,netdev=s", stdin=subprocess.PIPE)
        self.console = lab.path("console.log")
        self.seen = 0
        self.await_line(r"@@(ready)", BOOT_S, "boot")

    def await_line(self, pattern, seconds, what):
        """Wait for a line of the shell; return what came before, and it."""
        def look():
            text = self.process.output()[self.seen:]
            match = re.search(rf"^{pattern}\r?$", text, re.M)
            if not match:
                assert self.process.popen.poll() is None, (
                    f"QEMU ended: {text}\n{tail(self.console)}")
            return match and (text, match)
        try:
            text, match = until(look, what, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.process.output()[self.seen:]}\n"
                                 f"{tail(self.console)}") from None
        self.seen += match.end()
        return text[:match.start()].replace("\r", ""), match[1]

    def send(self, script):
        self.process.popen.stdin.write(base64.b64encode(script.encode()) +
                                       b"\n")
        self.process.popen.stdin.flush()

    def run(self, script, seconds=COMMAND_S):
        """Run a shell script in the guest; return its output."""
        self.send(script)
        text, status = self.await_line(r"@@(\d+)", seconds, script)
        assert status == "0", f"{script!r} ended with {status}:\n{text}"
        return text.strip()

    def ok(self, script):
        self.send(script)
        return self.await_line(r"@@(\d+)", COMMAND_S, script)[1] == "0"

    def lease(self, client):
        """Run a DHCP client with /lease; return what it has learnt."""
        return self.run(f"export LEASE=/tmp/lease-$$; "
                        f"{client} > /tmp/log 2>&1 || "
                        "{ cat /tmp/log; exit 1; }; cat $LEASE")

    def power_off(self):
        self.send("poweroff -f")
        assert self.process.exit(COMMAND_S) == 0


def tail(path):
    path = pathlib.Path(path)
    return path.read_text(errors="replace")[-2000:] if path.exists() else ""
