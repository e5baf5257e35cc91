#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw what bench.py measured: how many times better, path by path.

Usage: chart.py JSON SVG

A bar goes from 1 to the ratio on a logarithmic axis, to the right where ours is
better; times and memory are turned round, so that this holds for all.  Where only
one other was measured, its CPU time for a byte or a transaction has a bar, too.
gnuplot draws it.  The same JSON gives the same SVG.
"""

import fnmatch
import json
import pathlib
import re
import subprocess
import sys

GROUPS = (
    ("Namespace, bulk TCP", "tap-tcp-*"),
    ("Namespace, requests of one byte", "tap-*rr*"),
    ("Namespace, new connection", "tap-new-*"),
    ("Namespace, datagrams of 1400 bytes", "udp-*"),
    ("Namespace, loopback traffic", "splice-*"),
    ("Virtual machine, stream socket", "unix-*"),
    ("Virtual machine, vhost-user", "vhost-*"),
    ("User-mode Linux, vhost-user", "uml-*"),
    ("Requests beside 30 transfers", "load-*"),
    ("Start and idle", "start-*", "idle-*", "forward-all-*"),
    ("Long wires", "long-*"),
)
COLOURS = {"peer": "#2b6cb0", "slirp4netns": "#dd6b20", "qemu": "#2f855a",
           "cpu": "#90cdf4"}
TITLES = {"peer": "passt/pasta", "slirp4netns": "slirp4netns",
          "qemu": "QEMU -netdev user", "cpu": "its CPU time"}
OTHERS = "slirp4netns", "qemu"
FONT = "DejaVu Sans, Helvetica, Arial, sans-serif"
INK, FAINT = "#1a202c", "#718096"

# In pixels
WIDTH, COLUMN, NAMES, RIGHT, MARGIN = 980, 490, 165, 45, 16
TOP, BOTTOM = 62, 52
BAR, GAP, HEADING = 9, 5, 26
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LEAST, MOST = 0.25, 100     # beyond these a bar is cut off, its number is not


def ratio(row, name):
    less = row["down"] or name == "cpu"
    mine = row["ours"]["cpu" if name == "cpu" else "rate"]
    theirs = row[name]["rate"]
    if not mine or not theirs:
        return None
    return theirs / mine if less else mine / theirs


def bars(row):
    """(name, ratio) of each that took part in this row."""
    return [(name, ratio(row, name)) for name in COLOURS if name in row]


def add_times(rows):
    """CPU time as one more to compare with, where the peer is alone."""
    if any(name in r for r in rows for name in OTHERS):
        return
    for r in rows:
        if "peer" in r and r["ours"]["cpu"] and r["peer"]["cpu"]:
            r["cpu"] = {"rate": r["peer"]["cpu"]}


def grouped(rows):
    """(heading, rows) of the groups that have something to show."""
    found, taken = [], set()
    for heading, *patterns in GROUPS:
        members = [r for r in rows if r["path"] not in taken and "ours" in r
                   and r["ours"]["rate"] and
                   any(fnmatch.fnmatch(r["path"], p) for p in patterns)]
        taken |= {r["path"] for r in members}
        if members:
            found.append((heading, members))
    return found


def row_height(row):
    return BAR * len(bars(row)) + GAP


def height(groups):
    return sum(HEADING + sum(map(row_height, rows)) for _, rows in groups)


def columns(groups):
    """Two, of about the same height, in order."""
    cuts = range(1, len(groups)) if len(groups) > 1 else [1]
    cut = min(cuts, key=lambda n: max(height(groups[:n]), height(groups[n:])))
    return groups[:cut], groups[cut:]


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def label(text, x, y, how="left", colour=INK, size=10, system="first"):
    return (f"set label {quoted(text)} at {x},{y} {how} "
            f"font ',{size}' textcolor rgb '{colour}' front")


def times(value):
    digits = 0 if value >= 9.95 else 1 if value >= 1 else 2
    return f"{value:.{digits}f}×"


def draw_bar(name, value, y, script, data):
    if value is None:
        script.append(label("no result", "1.03", y, colour=COLOURS[name],
                            size=8))
        return
    end = min(max(value, LEAST), MOST)
    data.append((min(end, 1), max(end, 1), y - BAR / 2 + 0.5,
                 y + BAR / 2 - 0.5, int(COLOURS[name][1:], 16)))
    script.append(label(times(value), f"{end * (1.04 if end >= 1 else 0.96):.4g}",
                        y, "left" if end >= 1 else "right", size=8))


def draw_column(groups, left, tall, span):
    """A plot whose y axis counts pixels downwards."""
    script, data, y = [], [], 0
    low, high = span
    for heading, rows in groups:
        y += HEADING
        script.append(label(heading, f"screen {(left + MARGIN) / WIDTH:.5f}",
                            f"first {y - 9}", size=11))
        for row in rows:
            middle = y + (row_height(row) - GAP) / 2
            # Left of the axis by characters, as gnuplot has no pixels there
            script.append(label(row["path"], "graph -0.02", f"first {middle}",
                                "right", size=9))
            for name, value in bars(row):
                draw_bar(name, value, y + BAR / 2, script, data)
                y += BAR
            y += GAP
    total = tall + TOP + BOTTOM
    ticks = ", ".join(f"'{t:g}' {t:g}" for t in TICKS if low <= t <= high)
    return "\n".join([
        "unset label", "unset arrow", *script,
        f"set lmargin at screen {(left + NAMES) / WIDTH:.5f}",
        f"set rmargin at screen {(left + COLUMN - RIGHT) / WIDTH:.5f}",
        f"set tmargin at screen {1 - TOP / total:.5f}",
        f"set bmargin at screen {BOTTOM / total:.5f}",
        f"set xrange [{low:.4g}:{high:.4g}]", f"set yrange [{tall}:0]",
        f"set xtics ({ticks})",
        f"set arrow from 1,0 to 1,{tall} nohead lc rgb '{INK}' lw 1 back",
        "$data << EOD",
        *(f"{a:.4g} {b:.4g} {c:.1f} {d:.1f} {rgb}" for a, b, c, d, rgb in data),
        "EOD",
        "plot $data using 1:3:1:2:3:4:5 with boxxyerror lc rgb variable" if data
        else "plot NaN", ""])


def peer_title(report, name):
    """With the version of a package, where it was one."""
    known = {"peer": report["peer_package"], **report["others"]}.get(name)
    if name == "cpu":
        return TITLES[name]
    if not known:
        return report["peer"].split(": ")[0]
    version = re.sub(r"^.*\t(\d+:)?|[-+].*", "", known)
    return f"{TITLES[name]} {version}"


def legend(report, names):
    script, x = [label("How many times better than", f"screen {MARGIN / WIDTH:.5f}",
                       "screen HEAD", size=12)], 0.225
    for i, name in enumerate(names):
        text = peer_title(report, name)
        script.append(f"set object {i + 1} rectangle at screen {x:.4f},screen "
                      f"HEAD size screen 0.012,screen 0.012 fillstyle solid "
                      f"noborder fillcolor rgb '{COLOURS[name]}'")
        script.append(label(text, f"screen {x + 0.012:.4f}", "screen HEAD"))
        x += 0.03 + 0.0069 * len(text)
    return script


def script_for(report):
    add_times(report["rows"])
    groups = grouped(report["rows"])
    if not groups:
        sys.exit("nothing was measured that could be compared")
    values = [v for _, rows in groups for r in rows for _, v in bars(r) if v]
    low = max(min([*values, 0.8]), LEAST) * 0.55      # the number is left of it
    high = min(max([*values, 4]), MOST) * 1.05
    names = [n for n in COLOURS
             if any(n in r for _, rows in groups for r in rows)]
    parts = columns(groups)
    tall = max(map(height, parts)) + GAP
    total = tall + TOP + BOTTOM
    foot = (f"{report['machine']}; Linux {report['kernel']}; "
            f"{report['date'][:10]}; {report['commit']}; "
            f"{report['repeats']} x {report['seconds']} s, medians")
    script = [
        f"set terminal svg size {WIDTH},{total} fixed noenhanced "
        "font 'DejaVu Sans,10' background '#ffffff'",
        "set multiplot", "set style fill solid noborder", "unset key",
        "unset ytics", f"set border 1 lc rgb '{FAINT}'",
        "set logscale x", "set grid xtics lc rgb '#e2e8f0' lt 1 lw 1",
        f"set xtics nomirror font ',9' textcolor rgb '{INK}'",
    ]
    head = f"{1 - 26 / total:.5f}"
    text = draw_column(parts[0], 0, tall, (low, high)).splitlines()
    # What stands once is drawn with the first column
    once = [line.replace("HEAD", head) for line in legend(report, names)]
    once.append(label(foot, f"screen {MARGIN / WIDTH:.5f}", f"screen {14 / total:.5f}",
                      colour=FAINT, size=9))
    script += text[:2] + once + text[2:]
    script += [f"unset object {i + 1}" for i in range(len(names))]
    if parts[1]:
        script.append(draw_column(parts[1], COLUMN, tall, (low, high)))
    return "\n".join(script + ["unset multiplot", ""])


def tidy(svg):
    """What gnuplot wraps around each text is most of the file, and a font that
    the reader lacks must not become one with serifs."""
    svg = re.sub(r"<title>Gnuplot</title>",
                 "<title>How many times better, path by path</title>", svg)
    svg = re.sub(r"<defs>.*?</defs>\n", "", svg, flags=re.S)
    svg = re.sub(r'<g transform="translate\((.*?),(.*?)\)" stroke="none" '
                 r'(fill=".*?") font-family=".*?" font-size="(.*?)\.00"  '
                 r'(text-anchor=".*?")>\s*<text>(.*?)</text>\s*</g>',
                 r'<text x="\1" y="\2" stroke="none" \3 font-size="\4" \5>'
                 r'\6</text>', svg)
    svg = svg.replace(' text-anchor="start"', "")
    svg = re.sub(r"\s*<g [^>]*>\s*</g>", "", svg)
    svg = re.sub(r"\n\s+", "\n", svg)
    return svg.replace("<svg", f'<svg font-family="{FONT}"', 1)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    source, target = map(pathlib.Path, sys.argv[1:])
    script = script_for(json.loads(source.read_text()))
    done = subprocess.run(["gnuplot"], input=script, capture_output=True,
                          text=True, timeout=60, check=False)
    if done.returncode or not done.stdout.rstrip().endswith("</svg>"):
        sys.exit(f"gnuplot: {done.stderr.strip()}")
    target.write_text(tidy(done.stdout))


if __name__ == "__main__":
    main()
