# SPDX-License-Identifier: GPL-2.0-or-later
"""Real callers, as Debian unstable has them: make check-callers; root.py says
where they come from.  doc/callers.md has what was run.
"""

import pytest

from lab import HOST, PEER, V4, V6, until
from root import Root

SETUP = """
set -e
cd
export XDG_RUNTIME_DIR=$HOME/run PODMAN_IGNORE_CGROUPSV1_WARNING=1
mkdir -p $XDG_RUNTIME_DIR .config/containers
chmod 700 $XDG_RUNTIME_DIR
printf '[storage]\\ndriver = "vfs"\\n' >.config/containers/storage.conf
printf '[containers]\\ncgroups = "disabled"\\n[engine]\\n\
cgroup_manager = "cgroupfs"\\nevents_logger = "file"\\n' \
>.config/containers/containers.conf
"""
IMAGE = """
mkdir -p image/bin image/www
cp /bin/busybox image/bin/
for l in sh ip wget httpd; do ln -sf busybox image/bin/$l; done
echo hello >image/www/index
tar -C image -c . | podman import -q - test
"""
HTTPD = "test /bin/busybox httpd -f -p 80 -h /www"


@pytest.fixture
def root(lab):
    return lab.keep(Root(lab))


def sh(root, script):
    return root.sh(SETUP + script, seconds=300)


def page(where, address, port):
    """A container is not there the moment that podman says so."""
    url = f"http://{address}:{port}/index"
    until(lambda: where.run("curl", "-sS", url, check=False).stdout ==
          "hello\n", url)


@pytest.mark.parametrize("to", [PEER[V4], PEER[V6]], ids=["IPv4", "IPv6"])
def test_ping(root, to):
    """iputils that look at the sums."""
    root.has("ping")
    sh(root, f"pasta --config-net -- ping -n -c1 -W5 {to}")


def test_podman(lab, root):
    root.has("podman")
    sh(root, IMAGE + f"podman run -d --name web --network pasta "
       f"-p 18080:80 {HTTPD}")
    assert f" {HOST[V4]}/24 " in sh(root, "podman exec web ip addr")
    for _ in range(6):
        page(root, "127.0.0.1", 18080)
        page(lab.peer, HOST[V4], 18080)
        sh(root, "podman restart -t 0 web")
    page(lab.peer, HOST[V4], 18080)
    sh(root, "podman rm -f -t 0 web")


def test_podman_bridge(lab, root):
    root.has("podman")
    sh(root, IMAGE + f"podman network create br && podman run -d --name web "
       f"--network br -p 18081:80 {HTTPD}")
    page(root, "127.0.0.1", 18081)
    page(lab.peer, HOST[V4], 18081)
    assert sh(root, "podman run --rm --network br test wget -q -O - "
              "http://web/index") == "hello\n"
    sh(root, "podman rm -f -t 0 web")
