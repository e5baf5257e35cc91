# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways in which a virtual machine comes by its network.

A channel starts the daemon and lends QEMU its end of the connection: a socket
that it connects to, as often as it likes, or a descriptor that it inherits,
once.
"""

import shutil
import signal
import socket
import subprocess

from lab import MIB, PASST, USER, alive, signal_pid, until
from qemu import BOOT_S, LATE, Machine, initramfs, kernel


MEMORY_MIB = 256


def stream(where, card="virtio-net-pci"):
    """QEMU's arguments for a network by the stream that is @where."""
    return ["-netdev", f"stream,id={card},server=off,{where}",
            "-device", f"{card},netdev={card}"]


def vhost(path, card="virtio-net-pci", queues=2):
    """The same by vhost-user.  QEMU 7.2 crashes with MSI-X when it emulates
    the CPU, too, so there are no vectors.  Each CPU sends on queues of its own."""
    mq = "on" if queues > 1 else "off"
    return ["-object", f"memory-backend-memfd,id=m,size={MEMORY_MIB}M",
            "-machine", "pc,memory-backend=m",
            "-chardev", f"socket,id=c,path={path}",
            "-smp", str(queues), "-netdev",
            f"vhost-user,id=n,chardev=c,queues={queues}",
            "-device", f"{card},netdev=n,vectors=0,mq={mq}"]


class Guest(Machine):
    """A machine with the network that the arguments @net describe, by @qemu as
    it is found behind @before."""

    def __init__(self, lab, net, archive=None, before=(),
                 qemu=("qemu-system-x86_64",), console="console.log", **kw):
        image, modules = kernel()
        if before:
            image = shutil.copy(image, lab.path("vmlinuz"))
        self.console = lab.path(console)
        self.seen = 0
        self.process = lab.host.spawn(
            *before, *qemu, "-accel", "tcg", "-cpu", "max",
            "-m", f"{MEMORY_MIB}",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", image,
            "-initrd", archive or initramfs(lab.tmp, modules, late=LATE),
            "-append", "console=ttyS1 quiet panic=-1 random.trust_cpu=on "
            "no_timer_check mitigations=off",
            "-serial", "stdio", "-serial", f"file:{self.console}",
            *net, stdin=subprocess.PIPE, **kw)

    def boot(self):
        self.await_line(r"@@(ready)", BOOT_S, "boot")
        return self

    def unplug(self):
        """End it like a power cut: nothing is said or finished."""
        self.process.signal(signal.SIGKILL)
        self.process.exit()


class Path:
    """passt in the background, on a socket that guests come and go on."""

    download, upload = 16 * MIB, 10_000_000     # bytes, in not much time

    def __init__(self, lab, *options):
        self.lab = lab
        self.socket = lab.path(f"socket-{lab.serial}")
        self.pid = lab.daemon(PASST, "--socket", self.socket, *options)

    def guest(self, *more):
        return Guest(self.lab, [*self.net(), *more]).boot()

    def net(self, *card):
        return stream(f"addr.type=unix,addr.path={self.socket}", *card)

    def ended(self):
        """Is it gone with its guest?  It is not to be, so take it away."""
        if not alive(self.pid):
            return True
        signal_pid(self.pid, signal.SIGTERM)
        until(lambda: not alive(self.pid), "the daemon's end")
        return False


class Vhost(Path):
    """The same with rings in the guest's memory."""

    def __init__(self, lab, *options):
        super().__init__(lab, "--vhost-user", *options)

    def net(self):
        return vhost(self.socket)


class Descriptor:
    """passt and QEMU, each with one end of a pair of sockets."""

    download, upload = Path.download, Path.upload

    def __init__(self, lab, *options):
        self.lab = lab
        self.ours, theirs = socket.socketpair()
        lab.scope.callback(self.ours.close)
        with theirs:
            fd = theirs.fileno()
            self.passt = lab.host.spawn(*USER, PASST, "--foreground", "--fd",
                                        fd, *options, pass_fds=[fd])

    def guest(self, *more):
        with self.ours:
            fd = self.ours.fileno()
            net = stream(f"addr.type=fd,addr.str={fd}")
            guest = Guest(self.lab, [*net, *more], pass_fds=[fd])
        return guest.boot()

    def ended(self):
        """--fd is good for one guest: wait for the end."""
        assert self.passt.exit() == 0, self.passt.output()
        return True
