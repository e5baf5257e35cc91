# SPDX-License-Identifier: GPL-2.0-or-later
"""What the first lines of the README promise, from a fresh copy of the
repository: make run builds, and runs a command that has the network."""

import os
import subprocess

import pytest

from lab import HOST, PEER, ROOT, ROOT_USER, TMP, USER, V4, V6

BUILD_S = 300
# Words that make, two shells and quotes could take apart
COMMAND = ('echo "$HOME and `echo more`" \'$HOME\' $((6 * 7)); '
           'ip -o addr show scope global; '
           f'ping -c1 -W5 {PEER[V4]} && ping -c1 -W5 {PEER[V6]}')

# One build is enough, by one worker
pytestmark = [pytest.mark.skipif("PASST_DIR" in os.environ,
                                 reason="it is about the default build"),
              pytest.mark.xdist_group("clone")]


@pytest.fixture(scope="module")
def clone():
    """What is under version control, or else all that is no product."""
    target = TMP / "clone"
    target.mkdir()
    listed = subprocess.run(["sh", "-c", "git ls-files -z"], cwd=ROOT,
                            capture_output=True)
    if not listed.returncode:
        copy = ["tar", "-c", "--null", "-T", "-"]
    else:
        copy = ["tar", "-c", "--exclude=./build", "--exclude=./passt",
                "--exclude=./pasta", "."]
    tar = subprocess.run(copy, cwd=ROOT, input=listed.stdout, check=True,
                         capture_output=True).stdout
    subprocess.run(["tar", "-x", "--no-same-owner"], cwd=target, input=tar,
                   check=True)
    subprocess.run(["chown", "-R", "1000:1000", target], check=True)
    return target


@pytest.mark.parametrize("user", [USER, ROOT_USER], ids=["user", "root"])
def test_make_run(lab, clone, user):
    # A cache of the compiler's would be made in that home, and be root's then
    out = lab.host.run(*user, "env", "HOME=/home/me", "CCACHE_DISABLE=1",
                       "CFLAGS=-O0", "make", "run", f"CMD={COMMAND}", cwd=clone,
                       seconds=BUILD_S)
    assert "\n/home/me and more $HOME 42\n" in out
    for family in V4, V6:
        assert f" {HOST[family]}/" in out
    assert out.count("1 packets transmitted, 1 received") == 2
