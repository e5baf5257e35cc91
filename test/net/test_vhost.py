# SPDX-License-Identifier: GPL-2.0-or-later
"""passt as a vhost-user back-end: to any driver, and to a front-end that errs.

What a real guest does is in test_vm.py.  Here a program stands in for QEMU and
the driver (test/perf/front.c), with each set of features that changes how frames
lie in memory; and the test itself talks to the daemon's socket, not always well.
"""

import contextlib
import mmap
import os
import re
import select
import socket
import struct

import pytest

from lab import (ALL_FEATURES, DEADLINE, DGRAM, HOST, MIB, PASST, PEER,
                 SANITIZED, USER, V4, V6, alive, literal, until)
from test_transfer import download, patient, upload

PORT, MTUS = 8000, [65520, 1500]

# --- data ---------------------------------------------------------------------

# The driver leaves these out
CSUM, GUEST_CSUM, GUEST_TSO = 1 << 0, 1 << 1, 1 << 7 | 1 << 8
HOST_TSO, MERGE = 1 << 11 | 1 << 12, 1 << 15
INDIRECT, EVENT_IDX = 1 << 28, 1 << 29
WITHOUT = {
    "nothing": 0,
    "merging": MERGE,
    "merging and indirect": MERGE | INDIRECT,
    "event indices": EVENT_IDX,
    "indirect": INDIRECT,
    "sending unfinished": CSUM | HOST_TSO,
    "taking unfinished": GUEST_CSUM | GUEST_TSO,
    "taking runs": GUEST_TSO,
    "everything": int(ALL_FEATURES, 16),
}


@pytest.fixture(params=MTUS)
def mtu(request):
    return request.param


@pytest.fixture(params=WITHOUT)
def guest(lab, mtu, request):
    features = int(ALL_FEATURES, 16) & ~WITHOUT[request.param]
    guest = patient(lab.fronted(mtu, "-t", PORT + 1, "-u", PORT + 1,
                                features=f"{features:x}"))
    guest.features = features
    return guest


def test_transfer(lab, guest):
    """Nothing is lost, and nothing has to be sent twice."""
    path, digest = lab.payload((2 if SANITIZED else 8) * MIB)
    lab.serve(lab.peer, PORT, path.parent)
    lab.serve(guest, PORT + 1, path.parent)
    before = guest.retransmissions()
    for family in V4, V6:
        out = f"http://{literal(PEER[family])}:{PORT}/{path.name}"
        into = f"http://{literal(HOST[family])}:{PORT + 1}/{path.name}"
        assert download(guest, out, 4) == [digest] * 4
        assert upload(guest, out, path, 1) == [digest]
        assert download(lab.peer, into, 1) == [digest]
    assert guest.retransmissions() == before


def test_datagrams(lab, guest, mtu):
    if guest.features & (GUEST_TSO | MERGE) == 0:
        mtu = 1500      # its buffers are for an Ethernet
    ends = [(guest.bind(family, DGRAM, PORT + 1),
             lab.peer.connect(family, HOST[family], PORT + 1, DGRAM))
            for family in (V4, V6)]
    for server, client in ends:
        for size in 0, 1, 18, 600, 1400, mtu - 48:
            data = os.urandom(size)
            client.send(data)
            got, source = server.recvfrom(1 << 16)
            assert got == data
            server.sendto(data[::-1], source)
            assert client.recv(1 << 16) == data[::-1]
    for family in V4, V6:
        guest.run("ping", "-c", 1, "-W", DEADLINE, "-s", mtu - 48,
                  PEER[family])
    for server, client in ends:
        burst(server, client)


def burst(server, client):
    """More datagrams than the ring holds, while nobody reads: some may be
    lost, and those that are not come whole; then it goes on as before."""
    block, last = os.urandom(1000), -1
    for number in range(3000):
        client.send(number.to_bytes(4, "big") + block)
    until(lambda: not client.send(b"end") or select.select(
        [server], [], [], 0)[0], "a datagram")
    while len(data := server.recv(1 << 16)) > 3:
        number = int.from_bytes(data[:4], "big")
        assert number > last and data[4:] == block
        last = number
        if not select.select([server], [], [], 0)[0]:
            client.send(b"end")


# --- the dialogue -------------------------------------------------------------

(GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE) = 1, 2, 3, 5
(SET_NUM, SET_ADDR, SET_BASE, GET_BASE, SET_KICK, SET_CALL, SET_ERR,
 GET_PROTOCOL, SET_PROTOCOL, GET_QUEUES, ENABLE) = range(8, 19)
VERSION, REPLY, NEED_REPLY = 1, 4, 8
ACK = 1 << 3
SIZE = 1 << 20
GPA, UVA = 1 << 30, 1 << 40
RING = 256
PAIRS = 64


class FrontEnd:
    """The other end of the socket, in so many words."""

    def __init__(self, s):
        self.s = s
        self.s.settimeout(DEADLINE)

    def send(self, request, payload=b"", fds=(), flags=VERSION, size=None):
        size = len(payload) if size is None else size
        socket.send_fds(self.s, [struct.pack("<III", request, flags, size) +
                                 payload], fds)

    def receive(self):
        head = self.s.recv(12, socket.MSG_WAITALL)
        if not head:
            return None
        request, flags, size = struct.unpack("<III", head)
        assert flags == VERSION | REPLY
        return request, self.s.recv(size, socket.MSG_WAITALL)

    def ask(self, request, payload=b""):
        self.send(request, payload)
        answer, payload = self.receive()
        assert answer == request
        return payload

    def number(self, request):
        return struct.unpack("<Q", self.ask(request))[0]

    def is_gone(self):
        try:
            return self.receive() is None
        except ConnectionResetError:
            return True

    def refused(self, *args, **kw):
        """Told so, if it asks to be told."""
        self.send(*args, flags=VERSION | NEED_REPLY, **kw)
        return struct.unpack("<Q", self.receive()[1])[0] != 0


@pytest.fixture
def passt(lab):
    path, log = lab.path("vhost"), lab.path("log")
    pid = lab.daemon(PASST, "--vhost-user", "-s", path, "--log-file", log)

    def connect():
        s = lab.scope.enter_context(socket.socket(socket.AF_UNIX))
        s.connect(str(path))
        return FrontEnd(s)
    connect.pid, connect.log = pid, log
    return connect


@pytest.fixture
def front(passt):
    return passt()


@pytest.fixture
def memory():
    fd = os.memfd_create("guest")
    os.ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


def table(*regions):
    return struct.pack("<II", len(regions), 0) + b"".join(
        struct.pack("<QQQQ", *r) for r in regions)


REGION = (GPA, SIZE, UVA, 0)
MORE = (GPA + SIZE, SIZE, UVA + SIZE, 0)


def test_negotiation(front):
    features = front.number(GET_FEATURES)
    for bit in (0, 1, 7, 8, 11, 12, 15, 28, 29, 30, 32):
        assert features >> bit & 1, bit
    assert front.number(GET_PROTOCOL) & ACK
    assert front.number(GET_QUEUES) == PAIRS
    front.send(SET_PROTOCOL, struct.pack("<Q", ACK))
    assert not front.refused(SET_OWNER)
    assert not front.refused(SET_FEATURES, struct.pack("<Q", features))


U64 = struct.Struct("<Q").pack
STATE = struct.Struct("<II").pack
# All that is wrong with a message
BAD = {
    "version": lambda f, m: f.send(GET_FEATURES, flags=2),
    "request": lambda f, m: f.send(99),
    "no request": lambda f, m: f.send(0),
    "too long": lambda f, m: f.send(SET_FEATURES, size=1 << 20),
    "longest": lambda f, m: f.send(SET_FEATURES, size=(1 << 32) - 1),
    "too short": lambda f, m: f.send(SET_FEATURES, b"\1"),
    "unasked descriptor": lambda f, m: f.send(GET_FEATURES, fds=[m]),
    "many descriptors": lambda f, m: f.send(SET_MEM_TABLE, table(), [m] * 30),
    "unknown feature": lambda f, m: f.send(SET_FEATURES, U64(1 << 63)),
    "no memory": lambda f, m: f.send(SET_MEM_TABLE, table(REGION)),
    "more memory": lambda f, m: f.send(SET_MEM_TABLE, table(REGION)[:20], [m]),
    "nine regions": lambda f, m: f.send(
        SET_MEM_TABLE, STATE(9, 0) + table(*[REGION] * 8)[8:], [m] * 8),
    "beyond the file": lambda f, m: f.send(
        SET_MEM_TABLE, table((GPA, SIZE, UVA, 4096)), [m]),
    "wrapping": lambda f, m: f.send(
        SET_MEM_TABLE, table((GPA, (1 << 64) - 4096, UVA, 8192)), [m]),
    "no entries": lambda f, m: f.send(SET_NUM, STATE(0, 0)),
    "odd entries": lambda f, m: f.send(SET_NUM, STATE(0, 100)),
    "many entries": lambda f, m: f.send(SET_NUM, STATE(0, 1 << 20)),
    "ring too many": lambda f, m: f.send(SET_NUM, STATE(2 * PAIRS, 256)),
    "ring 2^32": lambda f, m: f.send(GET_BASE, STATE((1 << 32) - 1, 0)),
    "rings nowhere": lambda f, m: f.send(
        SET_ADDR, STATE(0, 0) + struct.pack("<QQQQ", 16, 32, 64, 0)),
    "base": lambda f, m: f.send(SET_BASE, STATE(0, 1 << 16)),
    "no kick": lambda f, m: f.send(SET_KICK, U64(0)),
    "kick by a file": lambda f, m: f.send(SET_KICK, U64(1), [m]),
    "kick by a socket": lambda f, m: f.send(SET_KICK, U64(1), [f.s.fileno()]),
    "call by a file": lambda f, m: f.send(SET_CALL, U64(1), [m]),
    "polling": lambda f, m: f.send(SET_KICK, U64(1 << 8)),
    "kick of ring 199": lambda f, m: f.send(SET_KICK, U64(199), [m]),
    "enabled twice": lambda f, m: f.send(ENABLE, STATE(0, 2)),
}


@pytest.mark.parametrize("wrong", BAD)
def test_error(passt, memory, wrong):
    """It costs the front-end its connection, and nobody else anything; the log
    has the reason."""
    front = passt()
    assert front.number(GET_QUEUES) == PAIRS
    descriptors = os.listdir(f"/proc/{passt.pid}/fd")
    BAD[wrong](front, memory)
    assert front.is_gone()
    again = passt()
    assert again.number(GET_QUEUES) == PAIRS
    assert len(os.listdir(f"/proc/{passt.pid}/fd")) == len(descriptors)
    assert re.search("Client connection closed: .+", passt.log.read_text())


def test_reconnects(passt):
    """Who comes back and back does not fill the log."""
    for _ in range(500):
        with passt().s:
            pass
    assert len(passt.log.read_text()) < 10000


@pytest.mark.parametrize("wrong", [w for w in BAD if w not in (
    "version", "too long", "longest", "many descriptors")])
def test_refusal(front, memory, wrong):
    """Who asks to be told is told."""
    front.send(SET_PROTOCOL, U64(ACK))
    send = front.send
    front.send = lambda *args, **kw: send(
        *args, **{"flags": VERSION | NEED_REPLY} | kw)
    BAD[wrong](front, memory)
    assert front.receive()[1] != U64(0)
    front.send = send
    assert front.number(GET_QUEUES) == PAIRS


def test_ends_in_a_message(passt):
    for length in range(1, 12):
        front = passt()
        front.s.send(struct.pack("<III", GET_FEATURES, 1, 0)[:length])
        front.s.close()
        front = passt()
        assert front.number(GET_QUEUES) == PAIRS
        front.s.close()


def test_in_pieces(front):
    for byte in struct.pack("<III", GET_QUEUES, VERSION, 0):
        front.s.send(bytes([byte]))
    assert front.receive() == (GET_QUEUES, U64(PAIRS))
    front.s.send(struct.pack("<III", GET_QUEUES, VERSION, 0) * 100)
    for _ in range(100):
        assert front.receive() == (GET_QUEUES, U64(PAIRS))


def test_one_at_a_time(passt, front):
    assert front.number(GET_QUEUES) == PAIRS
    assert passt().is_gone()
    assert front.number(GET_QUEUES) == PAIRS


def test_descriptor(lab):
    """With --fd it ends with its front-end, as QEMU's -netdev passt wants."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = theirs.fileno()
        process = lab.host.spawn(*USER, PASST, "--vhost-user", "--foreground",
                                 "--fd", fd, pass_fds=[fd])
        theirs.close()
        front = FrontEnd(ours)
        assert front.number(GET_QUEUES) == PAIRS
    assert process.exit() == 0, process.output()


def test_one_off(lab):
    path = lab.path("vhost")
    pid = lab.daemon(PASST, "--vhost-user", "--one-off", "-s", path)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        assert FrontEnd(s).number(GET_QUEUES) == PAIRS
    until(lambda: not alive(pid), "the daemon's end")


# --- rings --------------------------------------------------------------------

class Driver:
    """Both rings, a page each for their three parts, and eventfds."""

    def __init__(self, front, fd, more=None):
        self.front, self.memory = front, mmap.mmap(fd, SIZE)
        features = 1 << 32 | 1 << 30
        front.send(SET_PROTOCOL, U64(ACK))
        for request, payload, fds in (
                (SET_FEATURES, U64(features), []),
                (SET_MEM_TABLE, table(REGION, MORE) if more else table(REGION),
                 [fd, more] if more else [fd])):
            assert not front.refused(request, payload, fds=fds)
        self.kick, self.call, self.err = [], [], []
        for ring in 0, 1:
            self.set_up(ring)

    def part(self, ring, part):
        """Where it begins: descriptors, available or used ones."""
        return (ring * 3 + part) * 8192

    def set_up(self, ring):
        front, at = self.front, [UVA + self.part(ring, p) for p in range(3)]
        assert not front.refused(SET_NUM, STATE(ring, RING))
        assert not front.refused(SET_BASE, STATE(ring, 0))
        assert not front.refused(SET_ADDR, STATE(ring, 0) + struct.pack(
            "<QQQQ", at[0], at[2], at[1], 0))
        for request, fds in ((SET_KICK, self.kick), (SET_CALL, self.call),
                             (SET_ERR, self.err)):
            fds.append(os.eventfd(0, os.EFD_NONBLOCK))
            assert not front.refused(request, U64(ring), fds=[fds[ring]])
        assert not front.refused(ENABLE, STATE(ring, 1))
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.call[ring])    # one comes with SET_CALL

    def put(self, at, form, *values):
        struct.pack_into(form, self.memory, at, *values)

    def describe(self, ring, number, gpa, length, flags=0, next=0):
        self.put(self.part(ring, 0) + number * 16, "<QIHH", gpa, length, flags,
                 next)

    def offer(self, ring, *heads):
        """Make chains available that begin there, and kick."""
        at = self.part(ring, 1)
        index = struct.unpack_from("<H", self.memory, at + 2)[0]
        for head in heads:
            self.put(at + 4 + index % RING * 2, "<H", head)
            index = (index + 1) % (1 << 16)
        self.put(at + 2, "<H", index)
        os.eventfd_write(self.kick[ring], 1)

    def used(self, ring):
        return struct.unpack_from("<H", self.memory,
                                  self.part(ring, 2) + 2)[0]


def readable(fd):
    return bool(select.select([fd], [], [], DEADLINE)[0])


@pytest.fixture
def driver(front, memory):
    return Driver(front, memory)


BUFFER = GPA + (512 << 10)
NEXT, WRITE, INDIRECT_FLAG = 1, 2, 4


def ask_arp(driver, ring=1):
    """An ARP request for the gateway lies at BUFFER, in a chain of one."""
    mac = bytes.fromhex("02 00 00 00 00 01".replace(" ", ""))
    address = socket.inet_aton("198.51.100.1")
    frame = (b"\xff" * 6 + mac + b"\x08\x06" + bytes.fromhex("0001080006040001")
             + mac + socket.inet_aton(HOST[V4]) + bytes(6) + address)
    at = BUFFER - GPA
    driver.memory[at:at + 12 + len(frame)] = bytes(12) + frame
    driver.describe(ring, 0, BUFFER, 12 + len(frame))
    driver.offer(ring, 0)


def receive(driver):
    """Offer 16 buffers; a function that says where answers to ARP are: queries and
    advertisements come when they like."""
    buffers = [BUFFER + 4096 * (i + 1) for i in range(16)]
    for i, gpa in enumerate(buffers):
        driver.describe(0, i, gpa, 2048, WRITE)
    driver.offer(0, *range(len(buffers)))
    return lambda: [at for at in (gpa - GPA for gpa in buffers)
                    if driver.memory[at + 24:at + 26] == b"\x08\x06" and
                    driver.memory[at + 32:at + 34] == b"\0\2"]


def test_ring(driver):
    """A request for an address is answered, in one of the buffers."""
    answers = receive(driver)
    ask_arp(driver)
    assert readable(driver.call[1]) and readable(driver.call[0])
    assert driver.used(1) == 1
    until(answers, "an answer")
    at, = answers()
    assert driver.memory[at + 10:at + 12] == b"\1\0"    # num_buffers


def driver_again(passt, driver, memory):
    """One in the same memory, when another one has gone."""
    driver.front.s.close()
    os.pwrite(memory, bytes(SIZE), 0)
    return Driver(passt(), memory)


def udp4(sport, dport, payload, src="0.0.0.0", dst="255.255.255.255"):
    """The sum of UDP is left out."""
    length = 28 + len(payload)
    head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 17,
                                 0, socket.inet_aton(src), socket.inet_aton(dst)))
    words = sum(struct.unpack("!10H", head))
    words = (words & 0xffff) + (words >> 16)
    head[10:12] = struct.pack("!H", ~words & 0xffff)
    return (b"\xff" * 6 + b"\2\0\0\0\0\1\x08\0" + bytes(head) +
            struct.pack("!HHHH", sport, dport, length - 20, 0) + payload)


def test_mtu_of_buffers(driver):
    """Who takes no long frames is not told of a long MTU: by an advertisement
    as soon as it shows, then by DHCP."""
    for i in range(32):
        driver.describe(0, i, BUFFER + 4096 * (i + 1), 2048, WRITE)
    driver.offer(0, *range(32))
    ask_arp(driver)
    mtu = 2048 - 12 - 14
    found = struct.pack("!BBHI", 5, 1, 0, mtu)
    until(lambda: driver.memory.find(found) >= 0, "an advertisement")
    discover = (b"\1\1\6\0" + bytes(24) + b"\2\0\0\0\0\1" + bytes(202) +
                b"\x63\x82\x53\x63" + b"\x35\1\1\xff")
    frame = bytes(12) + udp4(68, 67, discover)
    at = BUFFER - GPA
    driver.memory[at:at + len(frame)] = frame
    driver.describe(1, 1, BUFFER, len(frame))
    driver.offer(1, 1)
    found = struct.pack("!BBH", 26, 2, mtu)
    until(lambda: driver.memory.find(found) >= 0, "an offer")


def loop(driver):
    driver.describe(1, 0, BUFFER, 100, NEXT, 1)
    driver.describe(1, 1, BUFFER, 100, NEXT, 0)
    driver.offer(1, 0)


def far(driver):
    driver.describe(1, 0, GPA + SIZE - 10, 100)
    driver.offer(1, 0)


def wrapping(driver):
    driver.describe(1, 0, (1 << 64) - 10, 100)
    driver.offer(1, 0)


def writable(driver):
    driver.describe(1, 0, BUFFER, 100, WRITE)
    driver.offer(1, 0)


def outside(driver):
    driver.offer(1, RING)


def not_negotiated(driver):
    driver.describe(1, 0, BUFFER, 64, INDIRECT_FLAG)
    driver.offer(1, 0)


def too_many(driver):
    driver.put(driver.part(1, 1) + 2, "<H", RING + 1)
    os.eventfd_write(driver.kick[1], 1)


@pytest.mark.parametrize("nonsense", [loop, far, wrapping, writable, outside,
                                      not_negotiated, too_many],
                         ids=lambda f: f.__name__)
def test_broken_ring(passt, driver, memory, nonsense):
    """The front-end hears of it; when it has set the ring up again, or another
    one has come, all is well."""
    nonsense(driver)
    assert readable(driver.err[1])
    assert driver.used(1) == 0
    until(lambda: re.search("ring 1 is broken: .+", passt.log.read_text()),
          "a line about it")
    test_ring(driver_again(passt, driver, memory))


def full_eventfd():
    fd = os.eventfd(0)
    os.eventfd_write(fd, (1 << 64) - 2)
    return fd, fd


def full_pipe():
    end, fd = os.pipe()
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, bytes(4096))
    os.set_blocking(fd, True)
    return end, fd


def full_socket():
    ours, theirs = socket.socketpair()
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(bytes(4096), socket.MSG_DONTWAIT)
    return theirs.detach(), ours.detach()


@pytest.mark.parametrize("full", [full_eventfd, full_pipe, full_socket],
                         ids=lambda f: f.__name__)
@pytest.mark.parametrize("request_", [SET_CALL, SET_ERR], ids=["call", "err"])
def test_full(passt, driver, full, request_):
    """Who does not read what he is told is not waited for."""
    end, fd = full()
    try:
        assert not driver.front.refused(request_, U64(1), fds=[fd])
        ask_arp(driver)
        until(lambda: driver.used(1), "the request to be taken")
        outside(driver)
        until(lambda: "is broken" in passt.log.read_text(), "its end")
        driver.front.s.close()
        assert passt().number(GET_QUEUES) == PAIRS
    finally:
        for one in {end, fd}:
            os.close(one)


def test_full_later(passt, driver):
    """Nor who makes it blocking when we have looked, and fills it: not by the next
    one."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    assert not driver.front.refused(SET_CALL, U64(1), fds=[fd])
    os.eventfd_read(fd)         # one comes with SET_CALL
    os.set_blocking(fd, True)
    os.eventfd_write(fd, (1 << 64) - 2)
    ask_arp(driver)
    until(lambda: driver.used(1), "the request to be taken")
    driver.front.s.close()
    assert passt().number(GET_QUEUES) == PAIRS
    assert not os.get_blocking(fd)
    os.close(fd)


def test_truncated(passt, driver, memory):
    """Memory that is taken away costs the front-end its connection."""
    ask_arp(driver)
    until(lambda: driver.used(1), "the request to be taken")
    os.ftruncate(memory, 0)
    os.eventfd_write(driver.kick[1], 1)
    assert driver.front.is_gone()
    assert "its memory has become shorter" in passt.log.read_text()
    os.ftruncate(memory, SIZE)
    test_ring(Driver(passt(), memory))


@pytest.fixture
def more():
    fd = os.memfd_create("more")
    os.ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


def test_truncated_payload(lab, passt, memory, more):
    """Where the headers are there is memory; it is the kernel that finds the
    hole behind them."""
    driver = Driver(passt(), memory, more)
    at = BUFFER + 4096 - GPA
    with lab.peer.bind(V4) as server:
        port = server.getsockname()[1]
        frame = bytes(12) + udp4(1000, port, bytes(1400), HOST[V4], PEER[V4])
        driver.memory[at:at + 300] = frame[:300]
        driver.describe(1, 0, GPA + at, 300, NEXT, 1)
        driver.describe(1, 1, GPA + SIZE, len(frame) - 300)
        driver.offer(1, 0)
        assert server.recv(2000) == bytes(1400)
        os.ftruncate(more, 0)
        driver.offer(1, 0)
        assert driver.front.is_gone()
    assert "its memory has become shorter" in passt.log.read_text()
    test_ring(driver_again(passt, driver, memory))


def test_truncated_buffers(passt, memory, more):
    """An answer that there is no memory for."""
    driver = Driver(passt(), memory, more)
    driver.describe(0, 0, GPA + SIZE, 2048, WRITE)
    os.ftruncate(more, 0)   # before an advertisement takes it
    driver.offer(0, 0)
    ask_arp(driver)
    assert driver.front.is_gone()
    assert "its memory has become shorter" in passt.log.read_text()
    test_ring(driver_again(passt, driver, memory))


def tcp4(dport, flags, seq, ack=0):
    """From port 1000 of the guest, without payload."""
    ends = socket.inet_aton(HOST[V4]) + socket.inet_aton(PEER[V4])
    head = bytearray(struct.pack("!BBHHHBBH8s", 0x45, 0, 40, 0, 0, 64, 6, 0, ends))
    tcp = bytearray(struct.pack("!HHIIBBHHH", 1000, dport, seq, ack, 0x50, flags,
                                65535, 0, 0))
    for data, part, at in ((head, head, 10),
                           (ends + struct.pack("!HH", 6, 20) + tcp, tcp, 16)):
        words = sum(struct.unpack(f"!{len(data) // 2}H", data))
        words = (words & 0xffff) + (words >> 16)
        struct.pack_into("!H", part, at, ~words & 0xffff)
    return bytes(12) + b"\xff" * 6 + b"\2\0\0\0\0\1\x08\0" + head + tcp


def test_truncated_stream(lab, passt, memory, more):
    """The same of bytes for the guest: they are not asked for for ever."""
    driver = Driver(passt(), memory, more)
    at = BUFFER - GPA
    buffers = [at + 4096 * (i + 1) for i in range(32)]
    for i, buffer in enumerate(buffers):    # a segment reaches into the second
        driver.describe(0, 2 * i, GPA + buffer, 466, NEXT | WRITE, 2 * i + 1)
        driver.describe(0, 2 * i + 1, GPA + SIZE, 2048, WRITE)
    driver.offer(0, *range(0, 64, 2))

    def send(number, *args):
        frame = tcp4(*args)
        driver.memory[at:at + len(frame)] = frame
        driver.describe(1, 0, BUFFER, len(frame))
        driver.offer(1, 0)
        until(lambda: driver.used(1) == number, "it to be taken")

    def number():
        return next((struct.unpack_from("!I", driver.memory, b + 12 + 38)[0]
                     for b in buffers if driver.memory[b + 12 + 47] == 0x12 and
                     driver.memory[b + 12 + 23] == 6), None)
    with lab.peer.listen(V4) as server:
        port = server.getsockname()[1]
        send(1, port, 0x02, 0)
        until(lambda: number() is not None, "an answer")
        send(2, port, 0x10, 1, number() + 1)
        client = server.accept()[0]
        os.ftruncate(more, 0)
        with client, pytest.raises(ConnectionResetError):
            client.sendall(bytes(1400))
            client.settimeout(DEADLINE)
            client.recv(1)
    assert driver.front.number(GET_QUEUES) == PAIRS
    test_ring(driver_again(passt, driver, memory))


def test_stopped_ring(driver):
    """It goes on where it was stopped, in the same memory."""
    test_ring(driver)
    base = [struct.unpack("<II", driver.front.ask(GET_BASE, STATE(r, 0)))[1]
            for r in (0, 1)]
    assert base == [driver.used(0), 1]
    ask_arp(driver)
    assert driver.used(1) == 1      # nobody looks
    for ring in 0, 1:
        at = [UVA + driver.part(ring, p) for p in range(3)]
        for request, payload, fds in (
                (SET_BASE, STATE(ring, base[ring]), []),
                (SET_ADDR, STATE(ring, 0) + struct.pack(
                    "<QQQQ", at[0], at[2], at[1], 0), []),
                (SET_KICK, U64(ring), [driver.kick[ring]]),
                (SET_CALL, U64(ring), [driver.call[ring]])):
            assert not driver.front.refused(request, payload, fds=fds)
    until(lambda: driver.used(1) == 2, "the second request to be taken")


def test_many_pieces(driver):
    """A frame in pieces of a byte."""
    answers = receive(driver)
    ask_arp(driver, ring=1)
    until(lambda: len(answers()) == 1, "the first")
    length = 12 + 42
    for i in range(length):
        driver.describe(1, i, BUFFER + i, 1, NEXT if i < length - 1 else 0,
                        i + 1)
    driver.offer(1, 0)
    until(lambda: driver.used(1) == 2, "the second")
    until(lambda: len(answers()) == 2, "an answer")
