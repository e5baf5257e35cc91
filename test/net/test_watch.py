# SPDX-License-Identifier: GPL-2.0-or-later
"""What a running daemon tells of itself, and that nobody who asks disturbs it."""

import json
import re
import resource
import socket

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lab import DGRAM, DNS, PASST, PASTA, PEER, PESTO, ROOT, USER, V4, until

TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
NONE = ("-t", "none", "-u", "none", "-T", "none", "-U", "none")


@pytest.fixture
def path(lab):
    return lab.path("metrics")


@pytest.fixture
def guest(lab, path):
    return lab.pasta("--config-net", "--metrics-socket", path,
                     "-c", lab.path("control"), "--label", "web-1", *NONE)


def curl(lab, path, page, *args):
    return lab.host.run(*USER, "curl", "-s", "--max-time", "15",
                        "--unix-socket", path, *args, f"http://passt{page}")


def parse(text):
    """Name and labels of each sample -> value"""
    return {(s.name, *sorted(s.labels.items())): s.value
            for f in text_string_to_metric_families(text) for s in f.samples}


def metrics(lab, path):
    return parse(lab.host.run(*USER, PESTO, "--metrics", path))


def total(values, name, **labels):
    return sum(v for (of, *have), v in values.items()
               if of == name and labels.items() <= dict(have).items())


def client(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    s.settimeout(15)
    return s


def until_closed(s):
    got = b""
    try:
        while data := s.recv(65536):
            got += data
    except ConnectionResetError:
        pass
    return got


# --- what is told ---------------------------------------------------------------

def test_curl(lab, guest, path):
    head, text = curl(lab, path, "/metrics", "-i").split("\n\n", 1)
    assert head.startswith("HTTP/1.1 200 OK")
    assert f"Content-Type: {TYPE}" in head
    assert text.endswith("# EOF\n")
    values = parse(text)
    assert {dict(labels)["label"] for _, *labels in values} == {"web-1"}
    for request, status in (("/metrics", "200"), ("/x", "404"), ("/", "404"),
                            ("/metrics?x=1", "400")):
        assert curl(lab, path, request, "-o", "/dev/null",
                    "-w", "%{http_code}") == status
    assert "405 Method Not Allowed" in curl(lab, path, "/metrics", "-i", "-d", "")
    assert curl(lab, path, "/metrics", "-I").rstrip().endswith("chunked")


def test_scrape(lab, guest, path):
    """As Prometheus does it, by contrib/prometheus/README.md."""
    port = 9100
    lab.host.spawn("socat", f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr",
                   f"UNIX-CONNECT:{path}")
    asks = ("curl", "-sSf", "--max-time", "10", "-H",
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,"
            "text/plain;version=0.0.4;q=0.3", "-H",
            "X-Prometheus-Scrape-Timeout-Seconds: 10", "-A", "Prometheus/2.42.0",
            f"http://127.0.0.1:{port}/metrics")
    until(lambda: lab.host.ok(*asks), "socat to listen")
    assert parse(lab.host.run(*asks))


def test_label(lab, path):
    """In the background it is the first process of a namespace of its own."""
    pid = lab.daemon(PASST, "-s", lab.path("vm"), "--metrics-socket", path)
    values = metrics(lab, path)
    assert {dict(labels)["label"] for _, *labels in values} == {str(pid)}
    assert total(values, "passt_link_up") == 0
    assert total(values, "passt_resident_memory_bytes") > 0


def test_either_socket(lab, guest, path):
    one, two = metrics(lab, path), metrics(lab, lab.path("control"))
    assert one.keys() == two.keys()
    got = lab.host.run(*USER, PESTO, "--metrics", "-A", "-t", "80", path,
                       check=False)
    assert got.status == 1


def test_counts(lab, guest, path):
    """What went over the link is what the numbers have grown by."""
    before = metrics(lab, path)
    server = lab.peer.listen(V4)
    with guest.connect(V4, PEER[V4], server.getsockname()[1]) as s, \
            lab.peer.accept(server) as far:
        s.sendall(bytes(100000))
        left = 100000
        while left:
            left -= len(far.recv(left))
        after = metrics(lab, path)
    state = {"protocol": "tcp", "path": "link", "state": "established"}
    assert total(after, "passt_flows", **state) == 1
    assert total(before, "passt_flows") == 0
    grown = total(after, "passt_link_bytes_total", direction="from_guest") - \
        total(before, "passt_link_bytes_total", direction="from_guest")
    assert 100000 < grown < 200000


@pytest.mark.parametrize("who", ["guest", "host"])
def test_who_does_not_read(lab, guest, path, who):
    """The window of the connection shuts; that of the guest is probed with what
    it has had before."""
    server = lab.peer.listen(V4)
    with guest.connect(V4, PEER[V4], server.getsockname()[1]) as near, \
            lab.peer.accept(server) as far:
        sender = far if who == "guest" else near
        sender.setblocking(False)

        def shut():
            try:
                while sender.send(bytes(1 << 20)):
                    pass
            except BlockingIOError:
                pass
            now = metrics(lab, path)
            return total(now, "passt_tcp_window_shut_seconds_total",
                         by=who) > 0 and now
        now = until(shut, "the window to shut")
        other = "host" if who == "guest" else "guest"
        assert total(now, "passt_tcp_window_shut_seconds_total", by=other) == 0
        if who == "guest":
            until(lambda: total(metrics(lab, path),
                                "passt_tcp_retransmitted_bytes_total") > 0,
                  "a window probe")


def test_dns(lab, path):
    """Nobody answers at either of the host's resolvers."""
    lab.resolver("127.0.0.8", "127.0.0.9")
    guest = lab.pasta("--config-net", "--metrics-socket", path,
                      "--dns-forward", DNS[V4])
    with guest.socket(V4, DGRAM) as s:
        def failed():
            s.sendto(b"x" * 20, (DNS[V4], 53))
            now = metrics(lab, path)
            return total(now, "passt_dns_failures_total", reason="refused") \
                and now
        now = until(failed, "a question without an answer")
    assert total(now, "passt_dns_failovers_total") > 0


def leaves(tree, *at):
    """What is at the ends of nested objects, by the keys that lead there"""
    if not isinstance(tree, dict):
        return {at}
    return set().union(*(leaves(v, *at, k) for k, v in tree.items()))


def test_json(lab, path):
    """A line has what the page has, under the same names."""
    process = lab.host.spawn(*USER, PASTA, "-f", "--stats=json,0",
                             "--config-net", "--metrics-socket", path,
                             "--label", "x", *NONE, "--", "sleep", "1000")
    line = process.says(r'(?m)^\{"label".*\}$')[0]
    told = json.loads(line)
    assert (told["label"], told["mode"]) == ("x", "pasta")
    rest = {k: v for k, v in told.items() if k.startswith("passt_")}
    page = {(name, *(v for k, v in labels if k != "label"))
            for name, *labels in metrics(lab, path)
            if name != "passt_build_info"}
    assert {(at[0], *sorted(at[1:])) for at in leaves(rest)} == \
        {(at[0], *sorted(at[1:])) for at in page}


def test_manual(lab, guest, path):
    """Each name, and each value that a label can have, is in the manual."""
    text = (ROOT / "doc/passt.1").read_text(encoding="utf-8")
    text = text[text.index(".SH METRICS"):text.index(".SH NOTES")]
    text = re.sub(r"\\f.", "", text).replace("\\-", "-").replace('"', "")
    words = set(re.split(r"[\s,.;:()]+", text))
    for name, *labels in metrics(lab, path):
        assert name in words
        for key, value in labels:
            assert key in words
            if key not in ("label", "version", "mode"):
                assert value in words or f".BR {value}" in text \
                    or f" {value} " in text


# --- who asks and does not behave -------------------------------------------------

def test_on_the_control_socket(lab, guest):
    """A watcher that does not read keeps nobody from changing rules."""
    control = lab.path("control")
    watchers = []
    for _ in range(3):
        s = client(control)
        assert s.recv(1000)[:8] == b"basil:s\0"
        s.sendall(b"GET /metrics HTTP/1.1\r\n")
        watchers.append(s)
    lab.host.run(*USER, PESTO, "-A", "-t", "8080", control)
    for s in watchers:
        s.sendall(b"Host: x\r\n\r\n")
        assert until_closed(s).endswith(b"# EOF\n\r\n0\r\n\r\n")


def test_hostile(lab, guest, path):
    """Each costs itself its connection, and none a packet."""
    silent, half, deaf = client(path), client(path), client(path)
    half.sendall(GET[:20])
    deaf.sendall(GET)
    huge = client(path)
    with pytest.raises(OSError):
        for _ in range(1000):
            huge.sendall(b"GET /" + bytes([120]) * 1000)
    assert b" 431 " in until_closed(huge)
    assert guest.reachable(V4)
    assert until_closed(silent) == b""
    assert until_closed(half) == b""
    assert until_closed(deaf).endswith(b"0\r\n\r\n")


def test_a_thousand(lab, guest, path):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(
        resource.RLIMIT_NOFILE)[1]))
    many = [client(path) for _ in range(1000)]
    assert parse(curl(lab, path, "/metrics"))
    assert guest.reachable(V4)
    for s in many:
        s.close()
