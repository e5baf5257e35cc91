# SPDX-License-Identifier: GPL-2.0-or-later
"""doc/top.svg: what pesto --top shows of real traffic, for the README.

make picture
"""

import math
import pathlib
import threading
import time
from xml.sax.saxutils import escape

from lab import DGRAM, HOST, PEER, PESTO, USER, V4, V6
from test_top import Terminal

ROWS, COLS, SECONDS = 13, 104, 40
WIDTH, HEIGHT, MARGIN = 7.2, 17, 12
COLOR = {"default": "#d8dee9", "green": "#a3be8c", "cyan": "#88c0d0",
         "brown": "#ebcb8b"}
DIM, GROUND = "#6d7890", "#20242c"
SVG = pathlib.Path(__file__).parents[2] / "doc" / "top.svg"


def stream(sender, receiver, rate, done):
    """Move @rate(seconds) bytes a second until it is @done."""
    begin = time.monotonic()
    while not done.wait(0.05):
        left = size = int(rate(time.monotonic() - begin) / 20)
        sender.sendall(bytes(size))
        while left:
            left -= len(receiver.recv(left))


def traffic(lab, guest, done):
    def pair(family):
        listener = lab.peer.listen(family)
        client = guest.connect(family, PEER[family], listener.getsockname()[1])
        return client, lab.peer.accept(listener)

    def wave(most, period, shift=0):
        return lambda t: most * (1 + math.sin(t * 6.28 / period + shift)) / 2
    client, server = pair(V6)
    yield server, client, wave(3e6, 17)
    client, server = pair(V4)
    yield client, server, wave(9e5, 9, 2)
    listener = guest.listen(V4, 8080)
    for n in range(2):
        client = lab.peer.connect(V4, HOST[V4], 8080)
        yield guest.accept(listener), client, wave(3e5 / (n + 1), 6 + 7 * n)
    pair(V4)
    udp = lab.peer.bind(V4, DGRAM)
    client = guest.connect(V4, PEER[V4], udp.getsockname()[1], DGRAM)
    client.send(bytes(64))
    udp.sendto(bytes(512), udp.recvfrom(64)[1])
    guest.reachable(V4)


def runs(row):
    """(column, text, style) of what looks alike in a row"""
    out = []
    for x in range(COLS):
        c = row[x]
        if not c.reverse and c.data == " ":
            continue
        look = (COLOR.get(c.fg, COLOR["default"]), c.bold, c.reverse)
        if out and out[-1][2] == look and x - len(out[-1][1]) <= \
                out[-1][0] + 1:
            at, text, _ = out.pop()
            out.append((at, text.ljust(x - at) + c.data, look))
        else:
            out.append((x, c.data, look))
    return out


def draw(screen, dim):
    w, h = COLS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + 2 * MARGIN
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" '
           f'height="{h}" font-family="DejaVu Sans Mono,Menlo,Consolas,'
           f'monospace" font-size="12" xml:space="preserve">')
    yield f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>'
    for y in range(ROWS):
        for x, text, (color, bold, reverse) in runs(screen.buffer[y]):
            left, top = MARGIN + x * WIDTH, MARGIN + y * HEIGHT
            wide = len(text) * WIDTH
            if reverse:
                yield (f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" '
                       f'height="{HEIGHT}" fill="{color}"/>')
                color = GROUND
            elif dim(y):
                color = DIM
            weight = ' font-weight="bold"' if bold else ""
            yield (f'<text x="{left:.1f}" y="{top + 13}" fill="{color}" '
                   f'textLength="{wide:.1f}"{weight}>{escape(text)}</text>')
    yield "</svg>"


def test_picture(lab):
    path, done = lab.path("control"), threading.Event()
    guest = lab.pasta("--config-net", "-c", path, "--label", "web-1", "-t",
                      8080, "-u", "none", "-T", "none", "-U", "none")
    threads = [threading.Thread(target=stream, args=(*t, done))
               for t in traffic(lab, guest, done)]
    for t in threads:
        t.start()
    top = Terminal(lab.host, *USER, PESTO, "--top", path, rows=ROWS, cols=COLS)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        top.read()
    # The emulator does not keep what is faint: flows at rest, and the keys
    at_rest = [y for y, line in enumerate(top.screen.display)
               if y > 2 and not set(line) & set("▁▂▃▄▅▆▇█")]
    svg = "\n".join(draw(top.screen, lambda y: y in at_rest)) + "\n"
    done.set()
    for t in threads:
        t.join()
    SVG.write_text(svg)
