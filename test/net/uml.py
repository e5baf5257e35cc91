# SPDX-License-Identifier: GPL-2.0-or-later
"""User-mode Linux: the newest kernel as a guest of vhost-user, up in a second.

Its driver takes every offload that there is.  See test/uml.
"""

import pathlib
import subprocess

import pytest

from lab import MIB, PASST, ROOT, USER
from qemu import BOOT_S, Machine, initramfs
from vm import Vhost

MODULES = ["failover", "net_failover", "virtio_net"]
# In a mount namespace of its own, as root: unstable's libc for unstable's
# program, and its memory where it is fast
RUN = """
mount -t tmpfs tmpfs "$TMPDIR"
mount --bind "$LIBC/ld-linux-x86-64.so.2" /lib64/ld-linux-x86-64.so.2
export LD_LIBRARY_PATH="$LIBC"
exec "$@"
"""


def kernel():
    """Its tree, or skip where there is none."""
    done = subprocess.run([ROOT / "test/uml"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return pathlib.Path(done.stdout.strip())


class Guest(Machine):
    """A machine with its network on the socket @path."""

    def __init__(self, lab, path):
        tree, memory = kernel(), lab.path("memory")
        memory.mkdir(exist_ok=True)
        self.console = lab.path("console.log")
        self.seen = 0
        self.process = lab.host.spawn(
            "unshare", "--mount", "env", f"TMPDIR={memory}",
            f"LIBC={tree}/usr/lib/x86_64-linux-gnu",
            "sh", "-e", "-c", RUN, "sh", tree / "usr/bin/linux.uml",
            # Where the host's kernel can do that, no tracing of each system call
            "mem=256M", "seccomp=auto", "quiet", "TTY=tty0", "con=null",
            "con0=fd:0,fd:1", "ssl=null", f"virtio_uml.device={path}:1",
            f"initrd={initramfs(lab.tmp, tree, MODULES)}",
            stdin=subprocess.PIPE)

    def boot(self):
        self.await_line(r"@@(ready)", BOOT_S, "boot")
        return self

    def unplug(self):
        """End it like a power cut, with the processes that run its programs."""
        self.process.kill()


class Uml(Vhost):
    """passt in the foreground, which talks of all that it does."""

    download, upload = 50 * MIB, 50_000_000

    def __init__(self, lab, *options):
        self.lab = lab
        self.socket = lab.path("socket")
        self.passt = lab.host.spawn(*USER, PASST, "--foreground",
                                    "--vhost-user", "--debug",
                                    "--socket", self.socket, *options)
        self.passt.says("UNIX domain socket bound")

    def guest(self):
        return Guest(self.lab, self.socket).boot()

    def ended(self):
        assert self.passt.popen.poll() is None, self.passt.output()[-3000:]
        return False
