# SPDX-License-Identifier: GPL-2.0-or-later
"""What pesto tells of live flows."""

import json
import re
import socket

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
