# SPDX-License-Identifier: GPL-2.0-or-later
"""What pesto tells of live flows."""

import contextlib
import json
import os
import re
import socket
import threading

import pytest

from lab import DGRAM, HOST, PEER, PESTO, USER, V4, V6, until

NONE = ("-T", "none", "-U", "none")
PORT = 7001


@pytest.fixture
def path(lab):
    return lab.path("control")


@pytest.fixture
def guest(lab, path):
    return lab.pasta("--config-net", "-c", path, "--label", "web-1", "-t",
                     PORT, "-u", PORT, *NONE)


def pesto(lab, path, *args):
    return lab.host.run(*USER, PESTO, *args, path)


def flows(lab, path, *args):
    told = json.loads(pesto(lab, path, "--flows", "--json", *args))
    assert told["label"] == "web-1"
    return told["flows"]


def ends(side):
    return ((side["address"], side["port"]),
            (side["peer_address"], side["peer_port"]))


def one(lab, path, *args):
    flow, = flows(lab, path, *args)
    return flow


def connection(guest, lab, family):
    """A connection of the guest's; the peer's end comes second."""
    listener = lab.peer.listen(family)
    client = guest.connect(family, PEER[family], listener.getsockname()[1])
    return client, lab.peer.accept(listener)


def test_from_guest(lab, guest, path, family):
    """Ends as the guest's kernel and the host's have them, exact counts."""
    client, server = connection(guest, lab, family)
    client.sendall(b"x" * 100001)
    while len(server.recv(200000, socket.MSG_PEEK)) < 100001:
        pass
    server.sendall(b"y" * 77)
    assert len(client.recv(100)) == 77
    port = client.getpeername()[1]
    until(lambda: one(lab, path)["to_guest"] == {"bytes": 77, "queue": 0},
          "the acknowledgement")
    flow = one(lab, path)
    assert (flow["protocol"], flow["path"], flow["from"], flow["state"]) == \
        ("tcp", "guest", "guest", "established")
    assert ends(flow["guest"]) == (client.getsockname()[:2],
                                   (PEER[family], port))
    assert ends(flow["host"]) == (server.getpeername()[:2],
                                  (PEER[family], port))
    assert flow["to_host"]["bytes"] == 100001
    assert 0 <= flow["age_ms"] < 60000
    # What a host's tool sees of this process is the same connection
    ss = lab.host.run("ss", "-Htnp", f"dport = :{port}")
    assert f"pid={guest.daemon}," in ss
    assert f":{flow['host']['port']} " in ss
    server.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert one(lab, path)["state"] == "close-wait"


def test_queue(lab, guest, path):
    """Bytes that the guest does not read are seen to wait."""
    client, server = connection(guest, lab, V4)
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            server.send(bytes(65536))
    until(lambda: one(lab, path)["to_guest"]["bytes"] > 65536, "bytes")


def test_inbound_and_spliced(lab, guest, path):
    listener = guest.listen(V4, PORT)
    outside = lab.peer.connect(V4, HOST[V4], PORT)
    guest.accept(listener)
    inside = lab.host.connect(V4, "127.0.0.1", PORT)
    accepted = guest.accept(listener)
    inside.sendall(b"12345")
    assert accepted.recv(10) == b"12345"
    found = {f["path"]: f for f in flows(lab, path, "--port", PORT)}
    flow = found["guest"]
    assert flow["from"] == "host"
    assert ends(flow["host"]) == ((HOST[V4], PORT), outside.getsockname())
    assert ends(flow["guest"])[0] == (HOST[V4], PORT)
    flow = found["spliced"]
    assert flow["from"] == "host"
    assert ends(flow["host"]) == (("127.0.0.1", PORT), inside.getsockname())
    assert ends(flow["guest"]) == (accepted.getsockname(),
                                   accepted.getpeername())
    assert flow["to_guest"]["bytes"] == 5
    assert flow["to_host"]["bytes"] == 0


def test_datagrams(lab, guest, path, family):
    server = lab.peer.bind(family, DGRAM)
    client = guest.connect(family, PEER[family], server.getsockname()[1],
                           DGRAM)
    client.send(b"abc")
    data, source = server.recvfrom(10)
    flow = one(lab, path)
    assert (flow["protocol"], flow["state"]) == ("udp", "unreplied")
    for size in (10, 20):
        server.sendto(bytes(size), source)
        assert len(client.recv(100)) == size
    flow = one(lab, path)
    assert flow["state"] == "replied"
    assert (flow["to_host"]["bytes"], flow["to_guest"]["bytes"]) == (3, 30)
    assert flow["host"]["port"] == source[1]
    assert guest.reachable(family)
    echo, = [f for f in flows(lab, path) if f["protocol"] == "icmp"]
    assert echo["to_host"]["bytes"] == echo["to_guest"]["bytes"] > 8


def test_text(lab, guest, path):
    """One line for each flow, and filters."""
    client, server = connection(guest, lab, V4)
    client6, _ = connection(guest, lab, V6)
    for _ in range(48):
        server.sendall(bytes(65536))
        left = 65536
        while left:
            left -= len(client.recv(left))
    lines = pesto(lab, path, "--flows").splitlines()
    assert lines[0] == "web-1: 2 flows" and len(lines) == 4
    port, port6 = (c.getpeername()[1] for c in (client, client6))
    assert re.search(rf"^tcp +established +{HOST[V4]}:\d+ +-> +"
                     rf"{PEER[V4]}:{port} .* 3\.0M +0 +0 +\d+s$", lines[2])
    assert f"[{PEER[V6]}]:{port6}" in lines[3]
    for args in (["--port", port6], ["--address", PEER[V6]],
                 ["--address", PEER[V6], "--port", port6]):
        lines = pesto(lab, path, "--flows", *args).splitlines()
        assert lines[0] == "web-1: 1 flow" and f":{port6} " in lines[2]
    assert flows(lab, path, "--address", PEER[V6], "--port", port) == []
    for args in (["--flows", "--port", "0"], ["--flows", "--address", "x"],
                 ["--port", "1"], ["--flows", "-s"], ["--flows", "--metrics",
                                                      "--json"]):
        r = lab.host.run(*USER, PESTO, *args, path, check=False)
        assert r.status == 1 and len(r.stderr.splitlines()) == 1, r


def test_comes_and_goes(lab, path):
    """While the table changes under a slow reader, what stays is told once."""
    guest = lab.pasta("--config-net", "--metrics-socket", path, "--label",
                      "web-1", "-t", "none", "-u", "none", *NONE)
    staying, going = (guest.socket(V4, DGRAM) for _ in range(2))
    for n in range(400):
        staying.sendto(b"x", (PEER[V4], 10000 + n))
        going.sendto(b"x", (PEER[V4], 20000 + n))
    until(lambda: len(flows(lab, path)) == 800, "the flows")
    reader = socket.socket(socket.AF_UNIX)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(15)
    reader.connect(str(path))
    reader.sendall(b"GET /flows?format=tsv HTTP/1.0\r\n\r\n")
    text = reader.recv(4096)
    for n in range(300):
        going.sendto(b"x", (PEER[V4], 30000 + n))
    while data := reader.recv(4096):
        text += data
    lines = text.decode().partition("\r\n\r\n")[2].splitlines()
    assert lines[0] == "#flows 1 web-1"
    told = sorted(int(line.split("\t")[8]) for line in lines[1:])
    assert [p for p in told if p < 20000] == list(range(10000, 10400))
    assert len(set(told)) == len(told)


def test_hostile(lab, guest, path):
    """What makes no sense costs a line; the page is there afterwards."""
    for query in ("x=1", "port=65536", "port=", "address=1.2.3.4.5",
                  "format=xml", "%", "port=1&&", "address=" + "a" * 3000):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(15)
        s.connect(str(path))
        s.sendall(f"GET /flows?{query} HTTP/1.0\r\n\r\n".encode())
        got = b""
        while data := s.recv(65536):
            got += data
        assert b"400 Bad Request" in got, query
    assert flows(lab, path) == []


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ROW = ("7\ttcp\tguest\tguest\testablished\t192.0.2.15\t1000\t198.51.100.1\t80\t"
       "{host}\t2000\t198.51.100.1\t80\t{host_bytes}\t{guest_bytes}\t{queue}\t0\t"
       "{age}")
HEAD = "#flows 1 elsewhere\n"


def row(age=5, host="203.0.113.1", host_bytes="-", guest_bytes=9, queue=0):
    return ROW.format(age=age, host=host, host_bytes=host_bytes,
                      guest_bytes=guest_bytes, queue=queue)


def server(lab, path, said):
    """Says @said to each client, whatever that asks, and hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    os.chmod(path, 0o777)
    lab.scope.callback(listener.close)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.sendall(said)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(4096):
                        pass
    threading.Thread(target=serve, daemon=True).start()


def greeting(lab, path):
    """What a daemon of ours says to whoever connects."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(0.5)
        s.connect(str(path))
        got = b""
        with contextlib.suppress(TimeoutError):
            while True:
                got += s.recv(65536)
    return got


NO_SENSE = "no answer that makes sense"
NO_FLOWS = "no flows that make sense"


@pytest.mark.parametrize("said,complaint", [
    (b"", "hung up"),
    (OK, NO_SENSE),
    (b"HTTP/1.1 ok OK\r\n\r\n", NO_SENSE),
    (b"HTTP/1.1 404 Not Found\r\n\r\nno such page\nat all", "no such page"),
    (CHUNKED, "not complete"),
    (CHUNKED + b"5\r\nab", "not complete"),
    (CHUNKED + b"zz\r\nab\r\n0\r\n\r\n", "not complete"),
    (CHUNKED + b"2\r\nabcd\r\n0\r\n\r\n", "not complete"),
    (CHUNKED + b"-1\r\nabcd\r\n0\r\n\r\n", "not complete"),
    (CHUNKED + b"ffffffffffffffffff\r\nabcd\r\n0\r\n\r\n", "not complete"),
    (OK + b"\r\n<html>\n", NO_FLOWS),
    (OK + b"\r\n" + (HEAD + "tcp\t\tguest\n").encode(), NO_FLOWS),
    (b"SSH-2.0-OpenSSH_9.2\r\n", ""),
    (bytes(2000), ""),
], ids=lambda x: x[-24:].decode() if isinstance(x, bytes) else "")
@pytest.mark.parametrize("what", ["--flows", "--events"])
def test_other_servers(lab, said, complaint, what):
    """One that breaks off, or is something else: a word about it, no more."""
    path = lab.path("other")
    server(lab, path, said)
    done = lab.host.run(*USER, PESTO, what, path, check=False)
    # Events come for as long as there is somebody to tell them
    if what == "--events" and b"200 OK" in said and b"\r\n\r\n" in said:
        assert done.status == 0 and done.stdout in ("", "ab\n")
        return
    assert done.status == 1 and done.stderr.strip() and not done.stdout
    assert complaint in done.stderr


@pytest.mark.parametrize("part,complaint", [
    (3, "Unexpected end"), (20, "Unexpected end"), (-1, "Unexpected end"),
    (None, "is it an older one?")], ids=str)
def test_greeting_alone(lab, guest, path, part, complaint):
    """Of a daemon that knows no pages, or one that dies."""
    said = greeting(lab, path)
    other = lab.path("other")
    server(lab, other, said[:part])
    done = lab.host.run(*USER, PESTO, "--flows", other, check=False)
    assert done.status == 1 and complaint in done.stderr


def test_events_break_off(lab):
    """What was told until then is there."""
    path = lab.path("other")
    server(lab, path, CHUNKED + b"8\r\n1.5 one\n\r\n9\r\n2.5 tw")
    done = lab.host.run(*USER, PESTO, "--events", path, check=False)
    assert ".5 one\n" in done.stdout and "tw" not in done.stdout


@pytest.mark.parametrize("said,cells", [
    (row(), ["-", "0", "0s"]),
    (row(age=5000), ["5s"]),
    (row(age=90 * 60 * 1000), ["90m"]),
    (row(age=50 * 3600 * 1000), ["50h"]),
    (row(age=10 * 86400 * 1000), ["10d"]),
    (row(host_bytes=2047, guest_bytes=3 << 40), ["2.0K", "3.0T"]),
    (row(queue=1 << 63, guest_bytes="x"), ["8192P", "0"]),
    (row(host="2001:db8::1"), ["[2001:db8::1]:2000"]),
    (row(age=-1) + "\tof a newer server", ["0s"]),
], ids=str)
def test_columns(lab, said, cells):
    path = lab.path("other")
    server(lab, path, OK + b"\r\n" + (HEAD + said + "\n").encode())
    told = lab.host.run(*USER, PESTO, "--flows", path)
    assert told.startswith("elsewhere: 1 flow\n")
    for cell in cells:
        assert cell in told.splitlines()[-1].split()


def test_many_columns(lab):
    """More flows than there is room for at first."""
    path = lab.path("other")
    said = HEAD + "".join(row(age=1000 * n) + "\n" for n in range(600))
    server(lab, path, OK + b"\r\n" + said.encode())
    told = lab.host.run(*USER, PESTO, "--flows", path).splitlines()
    assert told[0] == "elsewhere: 600 flows" and len(told) == 602
