# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that people have find each other across the guest's link: avahi, MiniDLNA,
gssdp-discover."""

import re
import shutil

import pytest

from lab import DEADLINE, HOST, PEER, UPLINK, V4


def needs(*programs):
    """They come with daemons that a machine of tests need not have: test/deps
    guests."""
    return pytest.mark.skipif(not all(map(shutil.which, programs)),
                              reason=f"needs {', '.join(programs)}")


AVAHI = needs("avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon")
DLNA_TOOLS = needs("minidlnad", "gssdp-discover")
LONG = 4 * DEADLINE     # several of these are programs with timers of seconds

# A daemon, a service, and somebody who looks for such, with nothing of the machine's.
# There may be no other user than root.
RESPONDER = f"""
mount -t tmpfs none /run && mkdir /run/avahi-daemon && cd /run
printf '%s:x:0:0::/:/bin/sh\\n' root avahi >passwd && mount --bind passwd /etc/passwd
printf '%s:x:0:\\n' root avahi >group && mount --bind group /etc/group
cat >avahi.conf <<END
[server]
host-name=$1
allow-interfaces={UPLINK}
use-ipv4=$2
use-ipv6=$3
[publish]
publish-hinfo=no
publish-workstation=no
[rlimits]
END
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus
dbus-daemon --session --address=$DBUS_SYSTEM_BUS_ADDRESS --fork --nopidfile
avahi-daemon -f avahi.conf --no-drop-root --no-chroot --no-rlimits \\
        --no-proc-title &
until [ -e avahi-daemon/pid ]; do sleep 0.05; done
avahi-publish -s "service of $1" _passt._tcp 4242 &
# It writes parts of lines, and others write as well
while ! avahi-browse -rp _passt._tcp; do sleep 0.05; done |
        while IFS= read -r line; do printf '%s\\n' "$line"; done
"""

DLNA = """
mount -t tmpfs none /run && cd /run && mkdir media db
cat >dlna.conf <<END
port=8200
media_dir=/run/media
db_dir=/run/db
log_dir=/run/db
friendly_name=$1
uuid=4d696e69-444c-164e-9d41-$2
network_interface=$3
notify_interval=30
inotify=no
END
exec minidlnad -d -f dlna.conf -P /run/pid
"""


def alone(ns, script, *args):
    """@script with mounts and processes of its own, which end with it."""
    return ns.spawn("unshare", "-m", "-p", "--fork", "--kill-child",
                    "sh", "-c", script, "-", *args)


def responder(ns, name, family):
    v4, v6 = ("yes", "no") if family == V4 else ("no", "yes")
    return alone(ns, RESPONDER, name, v4, v6)


def finds(browser, name):
    """Name and address of a service, by whom it was found."""
    return browser.says(rf"^=;.*;service.*of.*{name};.*;{name}[^;]*\.local;"
                        r"([^;]+);4242;", LONG)[1]


@AVAHI
def test_avahi(lab, family):
    """A service of the network is found in the guest, and the guest's there."""
    guest = (lab.pasta("--config-net") if family == V4
             else lab.bridged(1500))
    inner = responder(guest, "within", family)
    outer = responder(lab.peer, "outside", family)
    assert finds(inner, "outside")
    assert finds(outer, "within")


@AVAHI
def test_avahi_two_guests(lab):
    """Each finds the other's.  With one address both would claim its name."""
    first, second = (lab.pasta("--config-net", "-a", f"198.51.100.{n}",
                               "-a", f"2001:db8:1::{n}") for n in (21, 22))
    one = responder(first, "first", V4)
    two = responder(second, "second", V4)
    assert finds(one, "second") == "198.51.100.22"
    assert finds(two, "first") == "198.51.100.21"
    for name in "first", "second":      # nor does anybody hear himself
        assert f"{name}-2" not in one.output() + two.output()


@DLNA_TOOLS
@pytest.mark.parametrize("way", ("in", "out"))
def test_dlna(lab, way):
    """A media server is found, and answers where it says that it is."""
    guest = lab.pasta("--config-net", "-t", "8200")
    server, client = (guest, lab.peer) if way == "in" else (lab.peer, guest)
    alone(server, DLNA, way, "000000000001", UPLINK)
    search = client.spawn("gssdp-discover", "-i", UPLINK, "-r", "1",
                          "-t", "urn:schemas-upnp-org:device:MediaServer:1")
    where = search.says(r"Location:\s*(http\S+)", LONG)[1]
    address = HOST[V4] if way == "in" else PEER[V4]
    assert re.match(rf"http://{re.escape(address)}:8200/", where)
    assert f"<friendlyName>{way}" in client.run("curl", "-s", where)
