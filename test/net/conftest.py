# SPDX-License-Identifier: GPL-2.0-or-later
import os
import re
import shutil
import signal

import pytest

import lab as laboratory

NEEDED = ("ip", "nsenter", "unshare", "setpriv", "ping", "curl",
          "traceroute", "tracepath", "dnsmasq", "dhcpcd", "busybox", "socat",
          "strace", "ndisc6", "tshark")


def pytest_sessionstart(session):
    """Say at once what is missing: a test that cannot run is no success."""
    # Clean up when told to go, too.  None ignored, as a shell has it for what
    # is in its background: the programs under test would inherit that.
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, signal.default_int_handler)
    for number in signal.SIGQUIT, signal.SIGHUP:
        signal.signal(number, signal.SIG_DFL)
    missing = [t for t in NEEDED if not shutil.which(t)]
    if not os.access(laboratory.BUILT, os.X_OK):
        missing.append(str(laboratory.BUILT))
    for program in (laboratory.BRIDGE, laboratory.FRONT, laboratory.REFUSE,
                    laboratory.HOSTILE_BUILT):
        if not os.access(program, os.X_OK):
            missing.append(str(program))
    if os.geteuid():
        missing.append("root's privileges")
    if missing:
        pytest.exit("test/net needs: " + ", ".join(missing), 1)


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: measures, so no other test runs "
                            "beside it")
    config.addinivalue_line("markers", "machine: in QEMU")
    # Newer xdist would begin with the groups of many tests, not with the slow
    config.option.loadscopereorder = False


# Virtual machines keep a CPU busy, other tests wait half of the time: three workers
# have the machines, one after the other, while others have the rest
CHAINS = {"test_boot": "1", "test_migrate_vm": "1", "test_qemu": "1",
          "test_vm vhost-user": "2", "test_vm uml": "2"}


@pytest.hookimpl(tryfirst=True)     # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """For several workers (make check-net): a virtual machine serves the tests
    of its group in their order, and long ones come first."""
    for item in items:
        if item.get_closest_marker("machine"):
            kind = re.search(r"socket|fd|vhost-user|uml|$", item.name)[0]
            group = f"{item.module.__name__} {kind}".strip()
            item.add_marker(pytest.mark.xdist_group(
                f"machines {CHAINS.get(group, '3')}"))
    items.sort(key=lambda item: not item.get_closest_marker("machine"))


@pytest.fixture(scope="session")
def wires():
    w = laboratory.Wires()
    yield w
    w.close()


@pytest.fixture
def lab(wires):
    one = laboratory.Lab(wires)
    yield one
    one.close()


@pytest.fixture(params=[laboratory.V4, laboratory.V6], ids=["IPv4", "IPv6"])
def family(request):
    return request.param
