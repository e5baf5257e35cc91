# SPDX-License-Identifier: GPL-2.0-or-later
"""Another Debian, for programs that this one has not, or has too old.

CALLERS_ROOT names a directory with the packages in PACKAGES, as debootstrap and
apt make it; without, one of CALLERS_SUITE (sid) is made once in /var/cache.  It
is not changed: what is written goes to an overlay that ends with the test.  Our
programs lie over its own, unless CALLERS_OWN=1 says to try those, or a test has
the root as it is, for packages.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

from lab import PASST, Namespace, children, until

SUITE = os.environ.get("CALLERS_SUITE", "sid")
MIRROR = os.environ.get("CALLERS_MIRROR", "http://deb.debian.org/debian")
PACKAGES = """
    passt podman buildah rootlesskit crun netavark nftables aardvark-dns uidmap
    fuse-overlayfs slirp4netns libvirt-daemon libvirt-daemon-driver-qemu
    libvirt-clients guestfish linux-image-amd64 qemu-system-x86 qemu-utils
    iputils-ping iproute2 curl busybox-static procps dbus bats jq dnsutils
    socat ncat python3 util-linux
    systemd-resolved libnss-resolve bubblewrap systemd-container firejail
    build-essential debhelper dh-apparmor libcmocka-dev lintian autopkgtest
""".split()
# Mounts, and process 1 of a PID namespace
INSIDE = """
set -e
d=$1
mount -t tmpfs -o mode=755 none $d
mkdir $d/upper $d/work $d/root
mount -t overlay overlay \
    -o lowerdir=$2,upperdir=$d/upper,workdir=$d/work $d/root
cd $d/root
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 none dev/shm 2>/dev/null || true
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mkdir -p .$3 old
mount --bind $3 .$3
for f in $4; do mount --bind $3/passt usr/bin/$f; done
mount --bind /etc/resolv.conf etc/resolv.conf
pivot_root . old
umount -l /old
mount --make-rshared /
echo ready
sleep infinity &
wait        # for whoever is left to us
"""
USER, UID = "user", "1000"
OURS = () if os.environ.get("CALLERS_OWN") == "1" else (
    "passt", "pasta", "pesto", "passt.avx2", "pasta.avx2", "passt-repair",
    "slirp4netns")


def make(root):
    """debootstrap, apt, and a user with numbers for containers."""
    new = root.with_suffix(".new")
    shutil.rmtree(new, True)
    new.mkdir(parents=True)
    script = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
debootstrap --variant=minbase {SUITE} {new} {MIRROR}
printf '#!/bin/sh\\nexit 101\\n' >{new}/usr/sbin/policy-rc.d
chmod 755 {new}/usr/sbin/policy-rc.d
mount -t proc proc {new}/proc
mount --rbind /dev {new}/dev
chroot {new} apt-get install -y --no-install-recommends {" ".join(PACKAGES)}
chroot {new} apt-get clean
# A link to where systemd-resolved has it
rm -f {new}/etc/resolv.conf
cat /etc/resolv.conf >{new}/etc/resolv.conf
chroot {new} sh -c 'cd /var/cache && exec apt-get download passt'
chroot {new} useradd -m -u {UID} -s /bin/sh {USER}
"""
    with open(root.with_suffix(".log"), "w") as log:
        subprocess.run(["unshare", "-m", "sh", "-c", script], check=True,
                       stdout=log, stderr=log)
    new.rename(root)


def directory():
    """The root to use, or a skip."""
    given = os.environ.get("CALLERS_ROOT")
    root = pathlib.Path(given or f"/var/cache/passt-callers/{SUITE}")
    if not given and not root.exists():
        try:
            make(root)
        except (OSError, subprocess.CalledProcessError) as e:
            pytest.skip(f"no root of {SUITE} can be made: {e}, see {root}.log")
    if not (root / "usr/bin").is_dir():
        pytest.skip(f"CALLERS_ROOT={root} is no root")
    return root


class Root(Namespace):
    """That system, in the host of the lab; commands run as its user."""

    def __init__(self, lab, programs=OURS):
        self.lab, self.dir = lab, directory()
        place = lab.path("root")
        place.mkdir()
        ours = [p for p in programs if (self.dir / "usr/bin" / p).exists()]
        self.process = lab.host.spawn(
            "unshare", "-m", "-p", "-i", "-u", "--propagation", "private",
            "--fork", "--kill-child", "sh", "-c", INSIDE, "sh", place,
            self.dir, pathlib.Path(PASST).parent, " ".join(ours))
        self.process.says("^ready$")
        self.init, = children(self.process.pid)
        self.inside = ("nsenter", "-t", str(self.init), "-m", "-p", "-n", "-i",
                       "-u")
        super().__init__([*self.inside, "setpriv", "--reuid", UID, "--regid",
                          UID, "--init-groups", "--reset-env"],
                         lab.host.netns, lab.tmp)
        self.admin = lab.keep(Namespace(self.inside, lab.host.netns, lab.tmp))

    def has(self, *programs):
        """Skip if one of them is not there."""
        for p in programs:
            if self.run("which", p, check=False).status:
                pytest.skip(f"{self.dir} has no {p}")

    def kernel(self):
        """Its file, by the name that it has in there, too, and its modules."""
        for image in self.dir.glob("boot/vmlinuz-*"):
            release = image.name.partition("-")[2]
            return (f"/boot/{image.name}", self.dir / "lib/modules" / release)
        pytest.skip(f"{self.dir} has no kernel")

    def processes(self):
        """What runs in there, as seen from here."""
        found, new = [], [self.init]
        while new:
            new = [c for p in new for c in children(p)]
            found += new
        return found

    def version(self, package):
        return self.run("dpkg-query", "-W", "-f", "${Version}", package)
