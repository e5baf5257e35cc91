# SPDX-License-Identifier: GPL-2.0-or-later
"""What --pcap writes, as Wireshark reads it."""

import re
import signal
import socket
import struct

import pytest

from lab import DGRAM, HOST, PASTA, PEER, UPLINK, USER, V4, run, until

STRANGE = b"\x88\xb5"   # IEEE 802 local experimental ethertype
SIZE = 1 << 20
# A comment, if there is one, and the direction: 1 is from the guest
WHY = ("frame.comment", "frame.packet_flags_direction", "frame.protocols",
       "udp.dstport")


def frames(path, *fields):
    """Each frame that Wireshark finds, as the values of @fields."""
    flags = [f for field in fields for f in ("-e", field)]
    out = run("tshark", "-n", "-r", path, "-T", "fields", "-E",
              "separator=|", *flags)
    return [tuple(line.split("|")) for line in out.splitlines()]


def test_drops(lab):
    """Each dropped frame is there once, with its reason, in both directions;
    an answer stays behind its question."""
    path = lab.path("pcap")
    guest = lab.pasta("--config-net", "-u", "7001", "--pcap", path,
                      "--pcap-drops")
    port = 7001
    link = guest.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((UPLINK, 0))
    link.send(b"\xff" * 6 + b"\x02" * 6 + STRANGE + bytes(50))
    assert guest.reachable(V4, PEER[V4])
    # Refused by the host's routes, and not by the guest's
    nowhere = guest.socket(V4, DGRAM)
    lab.host.run("ip", "route", "add", "prohibit", "198.18.7.7/32")
    nowhere.connect(("198.18.7.7", 7002))
    nowhere.send(b"x")
    with pytest.raises(OSError):
        nowhere.recv(1)     # what it was told
    guest.run("ip", "link", "set", UPLINK, "down")
    to_guest = lab.peer.socket(V4, DGRAM)
    to_guest.sendto(b"x", (HOST[V4], port))
    # By then it has gone to the link as well
    def lost():
        rows = frames(path, *WHY, "eth.type", "frame.interface_name", "ip.proto")
        return any(r[0] and r[3] == str(port) for r in rows) and rows
    found = until(lost, "what the link lost")
    names = [(f[0], f[1]) for f in found]
    assert names.count(("dropped: ethertype", "0x00000001")) == 1
    assert ("dropped: not connected", "0x00000002") in names
    refused = [f for f in found if f[0] and f[3] == "7002"]
    assert [f[0] for f in refused] == ["dropped: socket"]
    assert sum(f[4] == "0x88b5" for f in found) == 1
    assert {f[5] for f in found} == {"guest"}
    about = [(f[6], f[3]) for f in found if "7002" in f[3]]
    assert about[0] == ("17", "7002") and len(about) == 2  # and ICMP quotes it
    info = run("capinfos", path)
    assert re.search(r"Capture application: +pasta ", info)
    assert "nanoseconds (9)" in info and "nterface #0" in info


@pytest.mark.parametrize("transport", ["pasta", "bridged", "fronted"])
def test_drops_transports(lab, transport):
    """A transfer with nothing dropped has no comments, and all its frames."""
    path = lab.path("pcap")
    options = ("--pcap", path, "--pcap-drops")
    if transport == "pasta":
        guest = lab.pasta("--config-net", *options)
    else:
        guest = getattr(lab, transport)(1500, *options)
    listener = lab.peer.listen(V4)
    client = guest.connect(V4, PEER[V4], listener.getsockname()[1])
    server = lab.peer.accept(listener)
    client.sendall(b"x" * 100000)
    client.shutdown(socket.SHUT_WR)
    got = b"".join(iter(lambda: server.recv(65536), b""))
    assert len(got) == 100000
    server.close()
    assert client.recv(1) == b""

    def whole():
        rows = frames(path, *WHY, "tcp.len", "tcp.dstport")
        return rows if sum(int(f[4]) for f in rows if f[4] and f[5] == str(
            listener.getsockname()[1])) == 100000 else None
    found = until(whole, "all data in the capture")
    assert [f for f in found if f[0] and "tcp" in f[2]] == []


@pytest.mark.parametrize("drops", [False, True], ids=["pcap", "pcapng"])
def test_size(lab, drops):
    """Files follow each other, none is larger than allowed, each can be read
    by itself, and what came last is there."""
    paths = [lab.path("pcap"), lab.path("pcap.1"), lab.path("pcap.2")]
    guest = lab.pasta("--config-net", "--pcap", paths[0], "--pcap-size", SIZE,
                      "--pcap-files", 3, *(["--pcap-drops"] if drops else []))
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in paths)
    sink = lab.peer.bind(V4, DGRAM)     # fills up, no matter
    port = sink.getsockname()[1]
    client = guest.connect(V4, PEER[V4], port, DGRAM)
    count = 5 * SIZE // 1400
    for n in range(count):
        client.send(struct.pack("!I", n) + bytes(1396))
    client.send(b"that was all")

    def numbers():
        out = []
        for p in paths:
            found = frames(p, "udp.payload", "udp.dstport")
            out += [int(f[0][:8], 16) for f in found
                    if f[1] == str(port) and len(f[0]) == 2800]
        return sorted(out)
    until(lambda: any(b"that was all" in p.read_bytes() for p in paths),
          "the last datagram")
    assert all(0 < p.stat().st_size <= SIZE for p in paths)
    # In a row, and at least two files of them
    kept = numbers()
    assert kept == list(range(kept[0], count))
    assert len(kept) > 2 * SIZE // 1460
    assert guest.process.output().count("capture") == 0


@pytest.fixture
def small(lab):
    """A disk of 1.5 MiB."""
    path = lab.path("small")
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1536k,mode=777", "small", path)
    yield path
    run("umount", "-l", path)


@pytest.mark.parametrize("options", [(), ("--pcap-drops",), (
    "--pcap-size", SIZE, "--pcap-files", 3)], ids=["pcap", "pcapng", "ring"])
def test_full_disk(lab, small, options):
    """A full disk takes no part of a frame, and when there is room again the
    capture goes on."""
    paths = [small / name for name in ("pcap", "pcap.1", "pcap.2")]
    paths = paths[:3 if "--pcap-size" in options else 1]
    log = lab.path("log")
    guest = lab.pasta("--config-net", "--pcap", paths[0], "--log-file", log,
                      *options)
    assert guest.reachable(V4, PEER[V4])    # what waits for ARP loses its order
    sink = lab.peer.bind(V4, DGRAM)
    port = sink.getsockname()[1]
    client = guest.connect(V4, PEER[V4], port, DGRAM)

    def numbers():
        found = []
        for p in paths:
            if p.stat().st_size:    # it has been begun
                assert "cut short" not in run("capinfos", p)
                found += frames(p, "udp.payload", "udp.dstport")
        return [int(f[0][:8], 16) for f in found
                if f[1] == str(port) and len(f[0]) > 2000]

    def send(n):
        # Of any length, so that one ends in the middle of the last page
        client.send(struct.pack("!I", n) + bytes(1000 + n % 400))
    filler = small / "filler"
    filler.write_bytes(bytes(SIZE // 2))
    sent = 2 * SIZE // 1000
    for n in range(sent):
        send(n)
    full = "No space left on device: frames are missing"
    until(lambda: full in log.read_text(), "the warning")
    kept = numbers()
    assert kept == list(range(len(kept))) and 500 < len(kept) < sent
    filler.unlink()

    def goes_on():
        send(sent)
        return sent in numbers()
    until(goes_on, "a frame after the disk was full")
    assert numbers()[:len(kept)] == kept
    assert log.read_text().count(full) == 1
    guest.process.signal(signal.SIGTERM)
    guest.process.exit()
    assert "frames are missing in the packet capture" in log.read_text()


def test_no_ports(lab):
    """-p has ports elsewhere: a file of that name is one, and is said."""
    place = lab.path("capture")
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    for name in "8080:80", "127.0.0.1:8080:80", "web:1.pcap":
        said = lab.host.run(*USER, PASTA, "--config-net", "-p", name, "--", "true",
                            cwd=place, check=False)
        assert said.status == 0
        assert (place / name).exists()
        assert (f"the file {name}: ports are" in said.stderr) == ("web" not in name)
