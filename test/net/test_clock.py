# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody sets the host's clock while we run."""

import pathlib
import shutil
import struct
import time

import pytest

from lab import DGRAM, HERE, PEER, SANITIZED, USER, V4, run, until

HOUR = 3600
JUMPS = (3 * HOUR, -3 * HOUR, -50 * 365 * 24 * HOUR, 10 * 365 * 24 * HOUR, 0)


@pytest.mark.skipif(SANITIZED, reason="its runtime wants to be loaded first")
def test_set(lab):
    """Connections and flows go on, new ones begin, nothing waits or spins, and
    frames are captured with the time that it was."""
    if not shutil.which("cc"):
        pytest.skip("no compiler")
    clock, library, pcap = (lab.path(n) for n in ("clock", "clock.so", "pcap"))
    run("cc", "-shared", "-fPIC", "-o", library, HERE / "clock.c")
    clock.write_bytes(bytes(8))
    guest = lab.pasta("--config-net", "--pcap", pcap, user=(
        *USER, "env", f"LD_PRELOAD={library}", f"CLOCK_FILE={clock}"))
    listener = lab.peer.listen(V4)
    port = listener.getsockname()[1]
    client = guest.connect(V4, PEER[V4], port)
    server = lab.peer.accept(listener)
    peer = lab.peer.bind(V4, DGRAM)
    flow = guest.connect(V4, PEER[V4], peer.getsockname()[1], DGRAM)

    def exchange(n):
        """By what there was, and by a new connection."""
        word = struct.pack("!I", n)
        client.sendall(word)
        assert server.recv(4) == word
        flow.send(word)
        data, source = peer.recvfrom(4)
        peer.sendto(data, source)
        assert flow.recv(4) == word
        with guest.connect(V4, PEER[V4], port) as c, \
                lab.peer.accept(listener) as s:
            s.sendall(word)
            assert c.recv(4) == word

    def waits():
        """It sleeps, which what spins never does."""
        stat = pathlib.Path(f"/proc/{guest.daemon}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "S"

    def stamps():
        return {int(float(t)) // HOUR for t in run(
            "tshark", "-n", "-r", pcap, "-T", "fields", "-e",
            "frame.time_epoch", "udp").split()}
    exchange(0)
    for n, seconds in enumerate(JUMPS, 1):
        with open(clock, "r+b") as f:
            f.write(struct.pack("=q", seconds))
        hour = int(time.time() + seconds) // HOUR
        exchange(n)
        until(waits, "an end of what there was to do")
        assert {hour, hour + 1} & stamps()
