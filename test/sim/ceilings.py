#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How many instructions our modules spend on a fixed amount of work.

    test/sim/ceilings.py build/default/sim

Runs the simulator under callgrind and adds up what was executed in functions of
the repository's own modules.  The toy kernel, the guest and libc do not count.
Each row is printed as it would stand in the table.

The table is that of gcc -O2.  Valgrind may need clang's -gdwarf-4.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Work: how often, and instructions for one of it: a request and its answer; the
# same on a new connection; a MiB, fast and at 0.8 Gbit/s; 16 datagrams of 1400
# bytes
CEILINGS = {
    "rr": (200, 3689),
    "crr": (100, 14656),
    "bulk-in": (4, 52698),
    "bulk-out": (4, 15032),
    "trickle-in": (4, 268514),
    "trickle-out": (4, 852288),
    "udp-in": (20, 2178),
    "udp-out": (20, 11291),
}
# Compilers differ
HEADROOM = 1.15
# What a request costs beside so many idle connections, compared with none
IDLE, IDLE_TIMES, IDLE_MOST = 9000, 200, 1.1


def cost(path):
    """Self cost by source file of the function, inlined code included."""
    files, total, where, skip = {}, {}, None, False

    def file(word):
        number, name = re.match(r"\((\d+)\)(?: (.*))?", word).groups()
        if name:
            files[number] = name
        return files[number]

    for line in path.read_text().splitlines():
        key, _, value = line.partition("=")
        if key in ("fl", "fi", "fe", "cfi", "cfl"):
            name = file(value)
            where = name if key == "fl" else where
        elif key == "calls":
            skip = True         # the next line is what the callee did
        elif re.match(r"[+\-*\d]", line):
            if not skip:
                total[where] = total.get(where, 0) + int(line.split()[1])
            skip = False
    return total


def is_ours(name):
    """By the last part: a cache of the compiler has objects of other trees.  What
    the toy kernel inlines is from "./"; newer tools say in which directory."""
    path = pathlib.PurePath(name)
    return ((ROOT / path.name).is_file() and path.parent.name != "sim"
            and not re.search(r"(^|/)\./", name))


def ours(sim, work, times, idle=0):
    """Instructions of our modules for one piece of @work."""
    with tempfile.TemporaryDirectory() as tmp:
        out = pathlib.Path(tmp, "out")
        subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", "--compress-pos=no",
             f"--callgrind-out-file={out}", "--toggle-collect=work_measured",
             sim, "--work", work, str(times), str(idle)], check=True)
        total = cost(out)
    return sum(n for name, n in total.items() if is_ours(name)) / times


def main(sim):
    bad = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        idle = pool.submit(ours, sim, "rr", IDLE_TIMES, IDLE)
        rows = {work: pool.submit(ours, sim, work, times)
                for work, (times, _) in CEILINGS.items()}
        for work, (times, most) in CEILINGS.items():
            got = rows[work].result()
            print(f'    "{work}": ({times}, {got:.0f}),')
            if got > most * HEADROOM:
                bad.append(f"{work}: {got:.0f} instructions, more than "
                           f"{HEADROOM} times {most}")
    ratio = idle.result() / rows["rr"].result()
    print(f"beside {IDLE} idle connections: {ratio:.3f} times as many")
    if ratio > IDLE_MOST:
        bad.append(f"a request costs {ratio:.2f} times as much beside {IDLE} "
                   "idle connections")
    return "\n".join(bad) or None


sys.exit(main(*sys.argv[1:]))
