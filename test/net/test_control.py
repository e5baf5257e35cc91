# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket (-c) and its client, pesto: rules change while we run."""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import threading

import pytest

from clients import read_all
from lab import (HOST, PASST, PESTO, STREAM, DGRAM, USER, V4, V6, alive, until)

NONE = ("-t", "none", "-u", "none", "-T", "none", "-U", "none")
ADDRESS = {V4: "0.0.0.0", V6: "[::]"}
RULE = struct.Struct("!16s16s16sHHHBB")


@pytest.fixture
def path(lab):
    return lab.path("control")


@pytest.fixture
def guest(lab, path):
    return lab.pasta("--config-net", "-c", path, *NONE)


def pesto(lab, path, *args, check=True):
    return lab.host.run(*USER, PESTO, *args, path, check=check)


def talks(lab, guest, family, port, to=None, address=None, kind=STREAM):
    """Does what is sent to @port of the host arrive at @to of the guest?"""
    server = guest.bind(family, kind, to or port)
    with server:
        if kind == STREAM:
            server.listen(5)
        client = lab.host.socket(family, kind)
        with client:
            try:
                client.connect((address or HOST[family], port))
                if kind == STREAM:
                    end, _ = server.accept()
                    end.close()
                    return True
                client.send(b"x")
                return server.recv(10) == b"x"
            except ConnectionRefusedError:
                return False


def raw(lab, path):
    """A client of our own making, greeted."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(str(path))
    assert s.recv(1000)[:8] == b"basil:s\0"
    return s


def update(*rules, splice=()):
    def table(number, rows):
        return struct.pack("!BI", number, len(rows)) + b"".join(rows)
    return table(1, rules) + table(3, splice) + b"\0"


def rule(first, last=None, to=None, listen=bytes(16), target=bytes(16),
         name=b"", proto=6, flags=1):
    return RULE.pack(listen, target, name, first, last or first, to or first,
                     proto, flags)


# --- what pesto does ----------------------------------------------------------

def test_add_and_delete(lab, guest, path, family):
    assert not talks(lab, guest, family, 8080)
    pesto(lab, path, "-A", "-t", "8080")
    assert talks(lab, guest, family, 8080)
    pesto(lab, path, "-A", "-t", "8081:81", "-u", "8082-8083:82-83")
    assert talks(lab, guest, family, 8081, 81)
    assert talks(lab, guest, family, 8083, 83, kind=DGRAM)
    assert talks(lab, guest, family, 8080)
    pesto(lab, path, "-D", "-t", "8080")
    assert not talks(lab, guest, family, 8080)
    assert talks(lab, guest, family, 8081, 81)


def test_again_is_no_error(lab, guest, path):
    pesto(lab, path, "-A", "-t", "8080")
    pesto(lab, path, "-A", "-t", "8080")
    assert talks(lab, guest, V4, 8080)
    pesto(lab, path, "-D", "-t", "8080")
    pesto(lab, path, "-D", "-t", "8080")
    assert not talks(lab, guest, V4, 8080)


def test_target_address(lab, guest, path, family):
    """As Podman has it for a container behind a bridge."""
    inner = {V4: "10.89.0.2", V6: "fd00::5"}[family]
    guest.add_address(inner)
    spec = f"{ADDRESS[family]}/8080:{inner}/80"
    pesto(lab, path, "--add", "-t", spec)
    server = guest.socket(family)
    server.bind((inner, 80))
    server.listen()
    lab.host.connect(family, HOST[family], 8080)
    end, _ = server.accept()
    end.close()
    pesto(lab, path, "--delete", "-t", spec)
    assert not talks(lab, guest, family, 8080)


def test_namespace_table(lab, guest, path):
    """-T leads to the host's loopback, and its table is its own."""
    pesto(lab, path, "-A", "-T", "7000")
    pesto(lab, path, "-t", "8080")
    server = lab.host.listen(V4, 7000)
    guest.connect(V4, "127.0.0.1", 7000)
    lab.host.accept(server)
    pesto(lab, path, "-C", "SPLICE")
    with pytest.raises(ConnectionRefusedError):
        guest.connect(V4, "127.0.0.1", 7000)
    assert talks(lab, guest, V4, 8080)


def test_auto(lab, guest, path):
    """A rule that follows the guest's servers, added while there is none."""
    server = guest.listen(V4, 7100)
    assert not lab.host.socket(V4).connect_ex(("127.0.0.1", 7100)) == 0
    pesto(lab, path, "-t", "auto")

    def follows():
        s = lab.host.socket(V4)
        return s.connect_ex(("127.0.0.1", 7100)) == 0
    until(follows, "the listener of the automatic rule")
    server.close()


def test_connections_live_on(lab, guest, path):
    pesto(lab, path, "-A", "-t", "8080")
    listener = guest.listen(V4, 8080)
    client = lab.host.connect(V4, HOST[V4], 8080)
    server = guest.accept(listener)
    pesto(lab, path, "-C", "HOST")
    client.sendall(b"still")
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"still"


def test_show(lab, guest, path):
    pesto(lab, path, "-A", "-t", "8080:80", "-T", "99")
    shown = pesto(lab, path, "-s")
    assert shown == (f"passt/pasta configuration ({path})\n"
                     "  HOST\n    TCP [*]:8080  =>  80 \n"
                     "  SPLICE\n    TCP [*]%lo:99  =>  99 \n")
    both = pesto(lab, path, "-s", "-D", "-t", "8080:80")
    assert both == (f"Previous configuration ({path})\n"
                    "  HOST\n    TCP [*]:8080  =>  80 \n"
                    "  SPLICE\n    TCP [*]%lo:99  =>  99 \n"
                    f"Updated configuration ({path})\n"
                    "  HOST\n  SPLICE\n    TCP [*]%lo:99  =>  99 \n")


def test_json(lab, guest, path):
    pesto(lab, path, "-A", "-u", f"{HOST[V4]}%eth0/5300:10.0.0.2/5353")
    shown = json.loads(pesto(lab, path, "--json"))
    assert shown == {"rules": {"HOST": [{
        "protocol": "udp", "address": HOST[V4], "interface": "eth0",
        "first": 5300, "last": 5300, "target": "10.0.0.2", "to_first": 5353,
        "to_last": 5353, "best_effort": False, "auto": False}],
        "SPLICE": []}}
    shown = json.loads(pesto(lab, path, "--json", "-C", "HOST"))
    assert len(shown["previous"]["HOST"]) == 1 and not shown["rules"]["HOST"]


def test_conflict(lab, guest, path):
    pesto(lab, path, "-A", "-t", "8000-8100")
    got = pesto(lab, path, "-A", "-t", "8080:80", check=False)
    assert got.status == 1
    assert "Forwarding configuration conflict: " in got.stderr
    got = pesto(lab, path, "-D", "-t", "8080", check=False)
    assert got.status == 1 and "can't delete" in got.stderr
    assert talks(lab, guest, V4, 8080)


def test_port_in_use(lab, guest, path):
    """What the server could not bind, its client tells."""
    lab.host.listen(V4, 8080)
    got = pesto(lab, path, "-A", "-t", "8079-8081", check=False)
    assert got.status == 1
    assert "Address already in use" in got.stderr
    assert talks(lab, guest, V4, 8079)


def test_port_in_use_again(lab, guest, path):
    """Who asks again for what could not be had gets it, or is told again."""
    server = lab.host.listen(V4, 8080)
    for _ in range(2):
        got = pesto(lab, path, "-A", "-t", "8080", check=False)
        assert got.status == 1 and "Address already in use" in got.stderr
    server.close()
    pesto(lab, path, "-A", "-t", "8080")
    assert talks(lab, guest, V4, 8080)


def test_port_in_use_of_others(lab, guest, path):
    """What another client could not have is not the failure of those who come later,
    unless they ask for it, too."""
    lab.host.listen(V4, 8080)
    for args in ("-A", "-t", "8080"), ("-A", "-t", "8079", "-t", "8080"):
        got = pesto(lab, path, *args, check=False)
        assert got.status == 1
        assert "Address already in use" in got.stderr and ":8080 " in got.stderr
        assert ":8079" not in got.stderr
    pesto(lab, path, "-A", "-t", "8081")
    assert talks(lab, guest, V4, 8081)
    pesto(lab, path, "-D", "-t", "8081")
    assert not talks(lab, guest, V4, 8081)
    pesto(lab, path, "-D", "-t", "8080")


@pytest.mark.parametrize("args, words", [
    (("-A", "-t", "foo"), "Invalid port specifier 'foo'"),
    (("-C", "NONE"), "Unsupported pif name NONE"),
    (("-x",), "invalid option"),
    (("-A", "-t", "5:::7"), "::7"),
    (("-A", "-T", "127.0.0.1/5"), "Listening address not allowed"),
    (("-A",), "-A needs a rule behind it"),
    (("-A", "-D", "-t", "80"), "-A needs a rule behind it"),
    (("-A", "-t", "80", "-D"), "-D needs a rule behind it"),
    (("--flows", "--top"), "Only one of --flows, --top, --events and --metrics"),
    (("--metrics", "--flows"), "Only one of --flows, --top, --events and --metrics"),
])
def test_bad_argument(lab, guest, path, args, words):
    got = pesto(lab, path, *args, check=False)
    assert got.status == 1 and words in got.stderr
    assert pesto(lab, path).count("\n") == 3


@pytest.mark.parametrize("to", ["/dev/full", "&-"])
@pytest.mark.parametrize("what", ["-s", "--flows", "--metrics", "--top"])
def test_output_lost(lab, guest, path, what, to):
    """That is an error, and what would have been printed goes nowhere else."""
    got = lab.host.run(*USER, "sh", "-c", f'exec "$@" >{to}', "sh", PESTO,
                       what, path, check=False)
    assert got.status == 1
    assert got.stderr == "Failed to write to standard output\n"
    got = lab.host.run(*USER, "sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh",
                       PESTO, "-A", "-t", "8080", path, check=False)
    assert got.status == 0
    assert ":8080" in pesto(lab, path)


def test_debug(lab, guest, path):
    """What the server says of itself, beside what is asked for."""
    pesto(lab, path, "-A", "-t", "8080")
    got = lab.host.run(*USER, PESTO, "-d", path, check=False)
    assert got.stdout == pesto(lab, path) and ":8080" in got.stdout
    lines = got.stderr.splitlines()
    assert "Connected to passt/pasta control socket" in lines[0]
    assert [re.sub("0x.*: .*", "", l) for l in lines[1:]] == [
        "PIF 1: HOST, 1 rules, capabilities ",
        "PIF 3: SPLICE, 0 rules, capabilities "]


def test_usage(lab):
    assert lab.host.run(PESTO, "--version").startswith("pesto ")
    assert "--delete" in lab.host.run(PESTO, "--help")
    got = lab.host.run(PESTO, check=False)
    assert got.status == 1 and "Usage: " in got.stderr
    got = lab.host.run(PESTO, "/nowhere/there", check=False)
    assert got.status == 1
    assert got.stderr == ("Failed to connect to /nowhere/there: "
                          "No such file or directory\n")


def test_passt(lab, path):
    """A virtual machine has but one table."""
    pid = lab.daemon(PASST, "-s", lab.path("vm"), "-c", path, *NONE[:4])
    pesto(lab, path, "-A", "-t", "8080")
    assert pesto(lab, path) == (f"passt/pasta configuration ({path})\n"
                                "  HOST\n    TCP [*]:8080  =>  8080 \n")
    got = pesto(lab, path, "-A", "-T", "1", check=False)
    assert got.status == 1 and "no outbound interface" in got.stderr
    lab.host.connect(V4, "127.0.0.1", 8080)
    assert pathlib.Path(f"/proc/{pid}").exists()


# --- clients that err -----------------------------------------------------------

def answers(s):
    """What the server says before it hangs up."""
    try:
        return read_all(s)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("data, words", [
    (b"\x02", b"no forwarding table 2"),
    (b"POST / HTTP/1.1\r\n\r\n", b"no forwarding table"),
    (struct.pack("!BI", 1, 256), b"Too many forwarding rules"),
    (struct.pack("!BI", 1, 0xffffffff), b"Too many forwarding rules"),
    (update(rule(0)), b"port 0"),
    (update(rule(9, 8)), b"bad range"),
    (update(rule(9, 10, 65535)), b"port 0"),
    (update(rule(9, flags=0x81)), b"Unknown flags"),
    (update(rule(9, proto=1)), b"Unsupported protocol"),
    (update(rule(9), rule(8, 10)), b"conflict"),
    (update(rule(9, name=b"x" * 16)), b"without end"),
    (update(rule(9, name=b"../x")), b"Invalid interface name"),
    (update(splice=[rule(9)]), b"must be bound to loopback"),
    (update(rule(9, flags=0, listen=b"\xff\x02" + bytes(13) + b"\1",
                 target=b"\xff" * 16)), b"not unicast"),
])
def test_refused(lab, guest, path, data, words):
    pesto(lab, path, "-A", "-t", "8080")
    s = raw(lab, path)
    s.sendall(data)
    assert words in answers(s)
    assert "8080" in pesto(lab, path)
    assert talks(lab, guest, V4, 8080)


def test_half_an_update(lab, guest, path):
    """It has a few seconds; the rules stay, and packets go on meanwhile."""
    pesto(lab, path, "-A", "-t", "8080")
    s = raw(lab, path)
    s.sendall(update(rule(9))[:30])
    assert talks(lab, guest, V4, 8080)
    assert answers(s) == b""
    assert "8080" in pesto(lab, path)


def test_hostile_crowd(lab, path):
    """Clients without end that ask nothing, or nonsense, cost a few lines of the
    log, and the rules stay."""
    log = lab.path("log")
    guest = lab.pasta("--config-net", "-c", path, "-l", log, *NONE)
    pesto(lab, path, "-A", "-t", "8080")
    bad = (b"", b"\x02", update(rule(0)), update(rule(9))[:30],
           b"basil:s\0" + bytes(60), b"\xff" + os.urandom(50000),
           update(*[rule(9)] * 255)[:-1] + b"\1" + bytes(50000))
    for _ in range(100):
        for data in bad:
            s = raw(lab, path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(data)
            s.close()
    assert "8080" in pesto(lab, path)
    assert talks(lab, guest, V4, 8080)
    text = log.read_text()
    for line in "refused: ", "Incomplete":
        assert 1 <= text.count(line) < 100


def test_more_than_asked_for(lab, guest, path):
    """What follows an update is nobody's."""
    s = raw(lab, path)
    s.sendall(update(rule(8080)) + update())
    assert answers(s) in (b"ok\n", b"")
    assert "8080" in pesto(lab, path)


def test_gone_in_the_middle(lab, guest, path):
    pesto(lab, path, "-A", "-t", "8080")
    for cut in (1, 5, 30, 61, 66):
        s = raw(lab, path)
        s.sendall(update(rule(9))[:cut])
        s.close()
    assert "8080" in pesto(lab, path)


def test_gone_after_the_update(lab, guest, path):
    """The reference's client does not wait: its update counts all the same."""
    s = raw(lab, path)
    s.sendall(update(rule(8080)))
    s.shutdown(socket.SHUT_RDWR)
    s.close()
    until(lambda: "8080" in pesto(lab, path), "the new rule")
    assert talks(lab, guest, V4, 8080)


def test_bytewise(lab, guest, path):
    s = raw(lab, path)
    for byte in update(rule(8080)):
        s.send(bytes([byte]))
    assert answers(s) == b"ok\n"
    assert talks(lab, guest, V4, 8080)


def test_clients_wait_in_line(lab, guest, path):
    first = raw(lab, path)
    second = socket.socket(socket.AF_UNIX)
    second.connect(str(path))
    second.setblocking(False)
    with pytest.raises(BlockingIOError):
        second.recv(1)
    first.close()
    second.settimeout(10)
    assert second.recv(8) == b"basil:s\0"


# --- without a gap ----------------------------------------------------------------

def test_no_connection_is_lost(lab, guest, path):
    """1000 changes while others connect to what does not change."""
    pesto(lab, path, "-A", "-t", "8080")
    listener = guest.listen(V4, 8080)
    done, failed = threading.Event(), []

    def connect():
        while not done.is_set():
            try:
                client = lab.host.connect(V4, HOST[V4], 8080)
                server = guest.accept(listener)
                client.sendall(b"x")
                assert server.recv(1) == b"x"
                client.close()
                server.close()
            except OSError as e:
                failed.append(e)
    thread = threading.Thread(target=connect)
    thread.start()
    try:
        for i in range(1000):
            s = raw(lab, path)
            extra = [rule(9000 + i % 7)] if i % 2 else []
            rules = extra + [rule(8080)] if i % 3 else [rule(8080)] + extra
            s.sendall(update(*rules))
            assert answers(s) == b"ok\n"
            s.close()
    finally:
        done.set()
        thread.join()
    assert not failed


@pytest.mark.parametrize("rules, to", [
    ([rule(9000), rule(8080)], 8080),           # another number
    ([rule(8080, to=80)], 80),                  # another port of the guest
    ([rule(8000, 8100)], 8080),                 # part of another rule
    ([rule(8080, flags=3), rule(8081)], 8080),  # another flag
])
def test_accept_queue_stays(lab, guest, path, rules, to):
    """Who waits to be accepted when the rules change is served by the new ones."""
    pesto(lab, path, "-A", "-t", "8080")
    server = guest.listen(V4, to)
    s = raw(lab, path)
    os.kill(guest.daemon, signal.SIGSTOP)
    s.sendall(update(*rules))           # what it finds first when it goes on
    clients = [lab.host.connect(V4, HOST[V4], 8080) for _ in range(20)]
    for client in clients:
        client.sendall(b"?")
    os.kill(guest.daemon, signal.SIGCONT)
    assert answers(s) == b"ok\n"
    for client in clients:
        end = guest.accept(server)
        assert end.recv(1) == b"?"
        end.close()


def test_network_disconnect_and_connect(lab, guest, path, family):
    """As Podman has it when a container changes networks, with others beside it:
    its rules are deleted and come back with another target."""
    inner = {V4: ("10.89.0.2", "10.90.0.2", "10.89.0.3"),
             V6: ("fd00::5", "fd01::5", "fd00::6")}[family]
    for address in inner:
        guest.add_address(address)

    def server(address, port):
        s = guest.bind(family, STREAM, port, address)
        s.listen()
        return s

    def is_served(s, port):
        with lab.host.connect(family, HOST[family], port) as client:
            client.sendall(b"?")
            end = guest.accept(s)
            assert end.recv(1) == b"?"

    def published(verb, *specs):
        args = [a for s in specs for a in ("-t", f"{ADDRESS[family]}/{s}")]
        assert pesto(lab, path, verb, *args) == ""
    published("--add", f"8080:{inner[0]}/80", f"9000-9001:{inner[0]}/90-91")
    published("--add", f"8081:{inner[2]}/80")
    before = server(inner[0], 80), server(inner[0], 91)
    other = server(inner[2], 80)
    is_served(before[0], 8080)
    is_served(before[1], 9001)
    client = lab.host.connect(family, HOST[family], 8081)
    end = guest.accept(other)

    published("--delete", f"8080:{inner[0]}/80", f"9000-9001:{inner[0]}/90-91")
    for port in 8080, 9000, 9001:
        with lab.host.socket(family) as s:
            assert s.connect_ex((HOST[family], port)) == errno.ECONNREFUSED
    published("--add", f"8080:{inner[1]}/80", f"9000-9001:{inner[1]}/90-91")
    is_served(server(inner[1], 80), 8080)
    is_served(server(inner[1], 91), 9001)
    is_served(other, 8081)
    client.sendall(b"still")
    client.shutdown(socket.SHUT_WR)
    assert read_all(end) == b"still"

    os.kill(guest.daemon, signal.SIGTERM)
    until(lambda: not alive(guest.daemon), "its end")
    with lab.host.socket(family) as s:
        assert s.connect_ex((HOST[family], 8081)) == errno.ECONNREFUSED


def test_others_are_served_meanwhile(lab, guest, path):
    """Some thousand ports are opened, moved and closed in many turns: questions
    and answers go on between them."""
    pesto(lab, path, "-A", "-t", "8080")
    listener = guest.listen(V4, 8080)
    client = lab.host.connect(V4, HOST[V4], 8080)
    server = guest.accept(listener)

    def during(*rules):
        s = raw(lab, path)
        s.sendall(update(*rules))
        s.setblocking(False)
        for n in range(1, 100000):
            client.sendall(b"?")
            assert server.recv(1) == b"?"
            server.sendall(b"!")
            assert client.recv(1) == b"!"
            with contextlib.suppress(BlockingIOError):
                assert s.recv(100) == b"ok\n"
                return n
    many = [rule(10000 + 1000 * i, 10999 + 1000 * i) for i in range(8)]
    # It was one when all of it was one turn
    assert during(rule(8080), *many) > 10
    during(*many, rule(8080))
    assert during(rule(8080)) > 10
    assert "10000" not in pesto(lab, path)


def test_who_comes_meanwhile_sees_what_is_in_force(lab, guest, path):
    """The reference's client leaves at once; the next one waits for it all."""
    many = [rule(10000 + 1000 * i, 10999 + 1000 * i) for i in range(8)]
    for rules in (many, [rule(8080)], many[4:], []):
        s = raw(lab, path)
        s.sendall(update(*rules))
        s.shutdown(socket.SHUT_RDWR)
        s.close()
        n = pesto(lab, path, "-s").count("TCP")
        assert n == len(rules)
        for r in rules:
            port = struct.unpack_from("!H", r, 50)[0]
            with lab.host.socket(V4) as client:
                err = client.connect_ex((HOST[V4], port))
                assert err in (0, errno.ECONNRESET)  # the guest refuses


def test_descriptors_come_back(lab, guest, path):
    def count():
        return len(os.listdir(f"/proc/{guest.daemon}/fd"))
    raw(lab, path).close()
    pesto(lab, path)
    before = count()
    for _ in range(50):
        pesto(lab, path, "-t", "8000-8010")
        pesto(lab, path, "-C", "HOST")
    # The first client may still have been there
    until(lambda: count() <= before, "no more descriptors than before")
