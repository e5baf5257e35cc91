# SPDX-License-Identifier: GPL-2.0-or-later
"""A TFTP server with blocks of any size: tftpd.py ADDRESS DIRECTORY

dnsmasq grants no block that would be fragments; this one grants what is asked for.
"""

import pathlib
import socket
import struct
import sys
import threading

RRQ, DATA, ACK, ERROR, OACK = 1, 3, 4, 5, 6
LONGEST = 65464


def deliver(s, message, number):
    """Until it is acknowledged"""
    for _ in range(10):
        s.send(message)
        try:
            while True:
                kind, acked = struct.unpack_from("!HH", s.recv(1500))
                if kind == ERROR:
                    sys.exit()
                if (kind, acked) == (ACK, number):
                    return
        except TimeoutError:
            pass
    sys.exit()


def serve(address, client, file, options):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 0))
    s.connect(client)
    s.settimeout(1)
    try:
        data = file.read_bytes()
    except OSError:
        s.send(struct.pack("!HH", ERROR, 1) + b"\0")
        return
    size, granted = 512, {}
    if b"blksize" in options:
        size = min(int(options[b"blksize"]), LONGEST)
        granted[b"blksize"] = size
    if b"tsize" in options:
        granted[b"tsize"] = len(data)
    print(file.name, size, flush=True)
    if granted:
        deliver(s, struct.pack("!H", OACK) + b"".join(
            b"%s\0%d\0" % o for o in granted.items()), 0)
    for i, at in enumerate(range(0, len(data) + 1, size), 1):
        deliver(s, struct.pack("!HH", DATA, i & 0xffff) + data[at:at + size],
                i & 0xffff)


def main(address, directory):
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, 69))
    print("ready", flush=True)
    while True:
        request, client = listener.recvfrom(1500)
        if request[:2] != struct.pack("!H", RRQ):
            continue
        name, _, *words = request[2:].split(b"\0")[:-1]
        options = dict(zip(map(bytes.lower, words[::2]), words[1::2]))
        file = pathlib.Path(directory, name.decode().lstrip("/"))
        threading.Thread(target=serve,
                         args=(address, client, file, options)).start()


main(*sys.argv[1:])
