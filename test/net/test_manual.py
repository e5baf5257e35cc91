# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of pasta(1), EXAMPLES, as they stand there: each does what is said
above it.  example.org is the peer, and /tmp a directory of the test."""

import os
import re
import signal

import pytest

from lab import HOST, PEER, ROOT, TMP, USER, V4, until

TEXT = "found"
PAGE = (ROOT / "doc/pasta.1").read_text()


def examples():
    """What stands between .nf and .fi, as a shell wants it."""
    part = re.search(r'^\.SH EXAMPLES$(.*?)^\.SH ', PAGE, re.M | re.S)[1]
    blocks = re.findall(r"^\.nf\n\.RS 4\n(.*?)^\.RE\n\.fi$", part, re.M | re.S)
    return [re.sub(r"\\e\n\s*", "", b).replace("\\-", "-").strip()
            for b in blocks]


class Shell:
    """Where an example runs: the host, as an ordinary user."""

    def __init__(self, lab, command):
        self.lab, self.host, self.dir = lab, lab.host, lab.path("tmp")
        self.dir.mkdir()
        self.dir.chmod(0o777)
        (self.dir / "index.html").write_text(TEXT)
        self.command = command.replace("/tmp/", f"{self.dir}/").replace(
            "http://example.org/", f"http://{PEER[V4]}/")

    def argv(self, before="", after=""):
        return [*USER, "env", f"PATH={TMP}:/usr/bin:/bin:/usr/sbin:/sbin",
                "SHELL=/bin/sh", "sh", "-c", before + self.command + after]

    def run(self, *around):
        return self.host.run(*self.argv(*around), cwd=self.dir)

    def spawn(self):
        """With what it leaves in the background it ends with the test."""
        process = self.host.spawn(*self.argv(), cwd=self.dir,
                                  start_new_session=True)
        self.lab.scope.callback(
            until, lambda: not self.host.run("ss", "-Hltn", "sport", ":8080"),
            "the end of the port")
        self.lab.scope.callback(os.killpg, process.pid, signal.SIGKILL)

    def reached(self, ns, address):
        return ns.run("curl", "-sS", f"http://{address}:8080/",
                      check=False).stdout == TEXT


def has_the_network(shell):
    assert HOST[V4] in shell.run("echo ip address | ")


def shows_the_address(shell):
    assert HOST[V4] in shell.run()


def shows_the_joined(shell):
    assert HOST[V4] in shell.run("", "\nkill $!")


def fetches(shell):
    shell.lab.serve(shell.lab.peer, 80, shell.dir)
    assert shell.run() == TEXT


def fetches_and_captures(shell):
    fetches(shell)
    assert TEXT.encode() in (shell.dir / "curl.pcap").read_bytes()


def fetches_from_loopback(shell):
    shell.lab.serve(shell.host, 8000, shell.dir)
    assert shell.run() == TEXT


def serves(shell):
    shell.spawn()
    until(lambda: shell.reached(shell.lab.peer, HOST[V4]), "the server")


def serves_the_host(shell):
    shell.spawn()
    until(lambda: shell.reached(shell.host, "127.0.0.1"), "the server")
    assert not shell.reached(shell.lab.peer, HOST[V4])


def is_for_podman(shell):
    pytest.skip("needs Podman, see doc/callers.md")


CHECKS = {
    "pasta --config-net": has_the_network,
    "pasta --config-net ip -brief address": shows_the_address,
    "pasta --config-net -p ": fetches_and_captures,
    "pasta --config-net -t 8080:80 ": serves,
    "pasta --config-net -t 127.0.0.1/8080:80 ": serves_the_host,
    "pasta --config-net --no-map-gw ": fetches,
    "pasta --splice-only ": fetches_from_loopback,
    "pasta -4 --config-net -a 10.0.2.100/24 ": fetches,
    "unshare ": shows_the_joined,
    "pasta --config-net -c ": serves,
    "podman ": is_for_podman,
}


@pytest.mark.parametrize("command", examples())
def test_example(lab, command):
    best = max((c for c in CHECKS if command.startswith(c)), key=len)
    CHECKS[best](Shell(lab, command))
