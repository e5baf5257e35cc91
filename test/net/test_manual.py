# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of the manuals' EXAMPLES, as they stand there: each does what is
said above it.  example.org is the far end; /tmp, /run/user/1000 and /srv are a directory
of the test, and process 4711 is one of its own."""

import os
import re
import shlex
import shutil
import signal
import socket

import pytest

from lab import (BRIDGE, FAR, GATEWAY, HOST, ROOT, TMP, UPLINK, USER, V4, V6,
                 alive, end, until)

TEXT = "found"


def examples(page):
    """What stands between .nf and .fi, as a shell wants it."""
    part = re.search(r'^\.SH EXAMPLES$(.*?)^\.SH ',
                     (ROOT / f"doc/{page}.1").read_text(), re.M | re.S)[1]
    blocks = re.findall(r"^\.nf\n\.RS 4\n(.*?)^\.RE\n\.fi$", part, re.M | re.S)
    return [re.sub(r"\\e\n\s*", "", b).replace("\\-", "-").strip()
            for b in blocks]


class Shell:
    """Where an example runs: the host, as an ordinary user."""

    def __init__(self, lab, command):
        self.lab, self.host, self.dir = lab, lab.host, lab.path("tmp")
        self.dir.mkdir(exist_ok=True)
        self.dir.chmod(0o777)
        (self.dir / "index.html").write_text(TEXT)
        self.pidfile = lab.path("pid")
        self.command = self.here(command)

    def here(self, command):
        for theirs, ours in (("/tmp/", f"{self.dir}/"),
                             ("/srv/tftp", str(self.dir)),
                             ("/run/user/1000/", f"{self.dir}/"),
                             ("http://example.org/", f"http://{FAR[V4]}/"),
                             ("example.org:80", f"{FAR[V4]}:80"),
                             ("192.0.2.1/", f"{HOST[V4]}/"),
                             ("%eth0/", f"%{UPLINK}/"),
                             ("-x86_64 ... ", "-x86_64 -accel tcg -nodefaults "
                              "-display none ")):
            command = command.replace(theirs, ours)
        return command

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

    def daemon(self, program, before=""):
        """One that goes to the background; return its PID."""
        self.run(f'{before}\n{program}() {{ command {program} '
                 f'--pid {self.pidfile} "$@"; }}\n')
        pid = int(self.pidfile.read_text())
        self.lab.scope.callback(end, pid)
        return pid

    def machine(self, before=""):
        """A guest in place of QEMU: only passt's line counts."""
        self.command = self.command.partition("\nqemu")[0]
        return self.lab.join(self.daemon("passt", before), 1500, BRIDGE,
                             self.dir / "vm.socket")

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
    shell.lab.serve(shell.lab.far, 80, shell.dir)
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


def boots_a_machine(shell):
    """QEMU's card is the one that passt has, which ends with it."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("no QEMU")

    def started():
        return shell.pidfile.exists() and shell.pidfile.read_text().strip()
    shell.command = shell.command.replace(
        "passt ", f"passt --pid {shell.pidfile} ", 1)
    machine = shell.host.spawn(*shell.argv(), cwd=shell.dir)
    pid = int(until(started, "passt"))
    shell.lab.scope.callback(end, pid)
    until(lambda: "ESTAB" in shell.host.run("ss", "-Hx", "src",
                                            shell.dir / "vm.socket"), "QEMU")
    for port in 2222, 8080:
        assert shell.host.run("ss", "-Hltn", "sport", f":{port}")
    machine.kill()
    until(lambda: not alive(pid), "passt to go with its machine")


def listens_on_all_but_two(shell):
    """Those that a user may bind; or one line says that descriptors are few."""
    done = shell.host.run(*shell.argv(
        f"passt() {{ command passt --pid {shell.pidfile} "
        f'-s {shell.dir}/s "$@"; }}\n'), check=False)
    if done.status:
        assert "descriptors" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        return
    pid = int(shell.pidfile.read_text())
    shell.lab.scope.callback(end, pid)
    for kind, at in ("-Hltn", HOST[V4]), ("-Hlun", f"0.0.0.0%{UPLINK}"):
        found = set(re.findall(f"{re.escape(at)}:([0-9]+) ",
                               shell.host.run("ss", "-4", kind)))
        assert {"1024", "8080", "65535"} <= found, kind
        assert kind == "-Hlun" or not {"22", "25"} & found


def serves_files(shell):
    guest = shell.machine()
    assert guest.run("curl", "-sS", f"tftp://{GATEWAY[V4]}/index.html") == TEXT


def joins_anothers(shell):
    guest = shell.lab.container()
    shell.lab.serve(guest, 80, shell.dir)
    shell.command = shell.command.replace(
        f"{shell.dir}/netns/web", f"/proc/{guest.pid}/ns/net").replace(
        "/4711/", f"/{guest.pid}/")
    shell.daemon("pasta")
    until(lambda: shell.reached(shell.lab.peer, HOST[V4]), "the server")


def takes_over(shell):
    """From the one that the first example has started."""
    old = Shell(shell.lab, examples("passt")[0])
    guest = old.machine()
    shell.daemon("passt", f"pidof() {{ cat {shell.pidfile}; }}")
    until(lambda: not alive(guest.daemon), "the end of the predecessor")
    shell.lab.serve(guest, 80, shell.dir)
    assert shell.reached(shell.lab.peer, HOST[V4])


def web(shell):
    """The namespace of the first example, with a control socket."""
    options = shlex.split(shell.here(examples("pesto")[0]))[1:]
    return shell.lab.pasta(*options)


def opens_and_closes(shell):
    guest = web(shell)
    shell.lab.serve(guest, 80, shell.dir)
    opens, closes = shell.command.splitlines()
    shell.command = opens
    shell.run()
    assert shell.reached(shell.lab.peer, HOST[V4])
    shell.command = closes
    shell.run()
    assert not shell.reached(shell.lab.peer, HOST[V4])


def reaches_behind_a_bridge(shell):
    guest = web(shell)
    shell.run()
    for family, address in (V4, "10.89.0.2"), (V6, "fd00::5"):
        guest.add_address(address)
        server = guest.socket(family, socket.SOCK_STREAM)
        server.bind((address, 80))
        server.listen()
        shell.lab.peer.connect(family, HOST[family], 8080)
        server.accept()[0].close()


CHECKS = {
    "pasta": {
        "pasta --config-net": has_the_network,
        "pasta --config-net ip -brief address": shows_the_address,
        "pasta --config-net -p ": fetches_and_captures,
        "pasta --config-net -t 8080:80 ": serves,
        "pasta --config-net -t 127.0.0.1/8080:80 ": serves_the_host,
        "pasta --config-net --no-map-gw ": fetches,
        "pasta --config-net --allow-out ": fetches,
        "pasta --splice-only ": fetches_from_loopback,
        "pasta -4 --config-net -a 10.0.2.100/24 ": fetches,
        "unshare ": shows_the_joined,
        "pasta --config-net -c ": serves,
        "podman ": is_for_podman,
    },
    "passt": {
        "passt --one-off -s /tmp/vm.socket -t 2222:22,8080:80\n":
            boots_a_machine,
        "pasta --config-net": has_the_network,
        "pasta --config-net --no-map-gw ": fetches,
        "pasta --config-net --allow-out ": fetches,
        "passt -t 192.0.2.1/~22,~25 ": listens_on_all_but_two,
        "passt --one-off -s /tmp/vm.socket --tftp ": serves_files,
        "pasta --config-net -t 8080:80 --netns ": joins_anothers,
        "passt --one-off -s /tmp/vm.socket -t 2222:22,8080:80 --takeover":
            takes_over,
    },
    "pesto": {
        "pasta --config-net -c ": has_the_network,
        "pesto -A -t 8080:80 ": opens_and_closes,
        "pesto -A -t 0.0.0.0/8080:": reaches_behind_a_bridge,
    },
}


@pytest.mark.parametrize("page,command", [
    (p, c) for p in CHECKS for c in examples(p)])
def test_example(lab, page, command):
    best = max((c for c in CHECKS[page] if command.startswith(c)), key=len)
    CHECKS[page][best](Shell(lab, command))
