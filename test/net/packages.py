# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package in place of passt, in a root of unstable: make check-packages

It is built there, by a user without a network, from what make dist has made.
Installed, it serves the programs of callers.py under the names of the old one;
gone, it leaves nothing, and the old one comes back.  root.py says where the root
comes from.
"""

import pathlib
import re
import shutil

import pytest

from callers import (files, test_buildah, test_libvirt, test_podman,
                     test_podman_bridge, test_podman_host, test_podman_pod,
                     test_qemu)
from lab import ROOT, TMP, Lab, run
from root import Root

# The build has the tests that packages run: a minute, many beside other work
BUILD_S = 1800
NAMES = "passt", "pasta", "pesto", "qrap", "passt-repair"
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y",
       "--no-install-recommends", "-o", "Dpkg::Use-Pty=0")


@pytest.fixture(scope="module")
def packages(wires):
    """A directory that roots can see, with the packages and what goes with
    them."""
    lab = Lab(wires)
    where = TMP / "packages"
    try:
        root = lab.keep(Root(lab, ()))
        root.has("dpkg-buildpackage", "dh", "dh_apparmor")
        where.mkdir()
        where.chmod(0o777)
        tarball = run("make", "-s", "-C", ROOT, "dist").split()[-1]
        shutil.copy(ROOT / tarball, where)
        root.sh(f"""
cd {where}
mkdir source
tar -C source --strip-components=1 -xf passt-*.tar.xz
cd source
make -s debian
dpkg-buildpackage -us -uc >../log 2>&1 || {{ tail -n 100 ../log; exit 1; }}
""", seconds=BUILD_S)
        yield where
    finally:
        lab.close()


@pytest.fixture
def bare(lab):
    """The root as it is, with passt."""
    return lab.keep(Root(lab, ()))


@pytest.fixture
def root(bare, packages):
    """The same with ours in its place, for the callers."""
    install(bare, packages, "passt2")
    return bare


def install(root, packages, *names):
    root.admin.run(*APT, "install",
                   *(f"{packages}/{n}_{version(packages)}_{arch(root)}.deb"
                     for n in names))


def version(packages):
    return (packages / "source/VERSION").read_text().strip()


def arch(root):
    return root.run("dpkg", "--print-architecture").strip()


def says(root, program):
    return root.run(program, "--version").split("\n")[0]


def old(root):
    """The package that the root has, as a file."""
    for deb in root.dir.glob("var/cache/passt_*.deb"):
        return f"/var/cache/{deb.name}"
    pytest.skip(f"{root.dir} has no package passt in /var/cache")


def status(root, package):
    return root.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package,
                    check=False).stdout.strip()


def is_sound(root):
    assert root.admin.run("dpkg", "--audit") == ""
    root.admin.run("apt-get", "-qq", "check")


def test_lintian(bare, packages):
    bare.has("lintian")
    done = bare.run("lintian", "--fail-on", "error,warning",
                    f"{packages}/passt2_{version(packages)}_{arch(bare)}"
                    ".changes", check=False, seconds=300)
    assert (done.status, done.stdout) == (0, ""), done.stderr


def test_in_place(bare, packages):
    """And back, by the package manager's own means: who needs passt stays, and
    each has its configuration."""
    before = says(bare, "pasta")
    profile = bare.run("cat", "/etc/apparmor.d/usr.bin.passt")
    deb = old(bare)
    install(bare, packages, "passt2")
    is_sound(bare)
    assert (status(bare, "passt"), status(bare, "passt2")) == ("rc", "ii")
    assert status(bare, "podman") == status(bare, "libvirt-daemon") == "ii"
    for name in NAMES:
        assert name == "qrap" or version(packages) in says(bare, name)
        # A profile is for a file, not for a link
        assert bare.run("readlink", "-f", f"/usr/bin/{name}") == (
            f"/usr/bin/{name}\n")
    assert bare.run("cat", "/etc/apparmor.d/usr.bin.passt") != profile
    assert bare.run("dpkg", "--verify", "passt2") == ""
    bare.admin.run(*APT, "install", deb)
    is_sound(bare)
    bare.admin.run("dpkg", "--purge", "passt2")
    assert (status(bare, "passt"), status(bare, "passt2")) == ("ii", "")
    assert says(bare, "pasta") == before
    assert bare.run("cat", "/etc/apparmor.d/usr.bin.passt") == profile
    assert bare.run("dpkg", "--verify", "passt") == ""


def test_removed(bare, packages):
    """What is purged leaves nothing, and the old one's name is free."""
    deb = old(bare)
    install(bare, packages, "passt2")
    mine = bare.run("dpkg", "-L", "passt2").split()
    bare.admin.run("dpkg", "--purge", "passt")
    assert bare.run("dpkg", "--verify", "passt2") == ""
    bare.admin.run("dpkg", "--force-depends", "--purge", "passt2")
    left = [f for f in mine if bare.ok("test", "-f", f)]
    assert left == []
    bare.admin.run(*APT, "install", deb)
    is_sound(bare)
    assert bare.run("dpkg", "--verify", "passt") == ""


def test_alongside(bare, packages):
    before = says(bare, "pasta")
    install(bare, packages, "passt2-alongside")
    is_sound(bare)
    for name in "passt2", "pasta2", "pesto2":
        assert version(packages) in says(bare, name)
        assert bare.ok("test", "-e", f"/usr/share/man/man1/{name}.1.gz")
    assert says(bare, "pasta") == before
    bare.run("pasta2", "--config-net", "--", "ip", "link", "show", "eth0")
    install(bare, packages, "passt2")
    is_sound(bare)
    assert says(bare, "pasta").split()[1] == says(bare, "pasta2").split()[1]
    bare.admin.run("dpkg", "--purge", "passt2-alongside")
    assert not bare.ok("which", "pasta2")
    assert version(packages) in says(bare, "pasta")


def test_autopkgtest(bare, packages):
    """debian/tests, on the system itself: it is ours."""
    bare.has("autopkgtest")
    install(bare, packages, "passt2", "passt2-alongside")
    done = bare.admin.run(
        "autopkgtest", "--no-built-binaries", "--ignore-restrictions",
        "isolation-machine,isolation-container", "--apt-pocket=", 
        f"{packages}/source", "--", "null", check=False, seconds=BUILD_S)
    results = dict(re.findall(r"^(\w+) +(PASS|FAIL|SKIP)", done.stdout, re.M))
    assert results == {"command": "PASS", "podman": "PASS"}, (
        done.stdout + done.stderr)
