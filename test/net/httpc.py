#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""httpc.py COUNT get|put URL [PATH]: clients of httpd.py, all at once.

Prints the checksum of what each has got, or of what the server says it has got
from each.
"""

import hashlib
import os
import socket
import sys
import threading
import urllib.parse


def connect(url):
    s = socket.create_connection((url.hostname, url.port))
    return s, s.makefile("rb")


def body(file):
    """Piece by piece, after the head"""
    assert file.readline().split()[1] == b"200"
    while (line := file.readline()) != b"\r\n":
        name, value = line.split(b":", 1)
        if name.lower() == b"content-length":
            left = int(value)
    while left and (piece := file.read1(min(left, 1 << 16))):
        yield piece
        left -= len(piece)


def get(url):
    s, file = connect(url)
    with s, file:
        s.sendall(f"GET {url.path} HTTP/1.0\r\n\r\n".encode())
        digest = hashlib.md5()
        for piece in body(file):
            digest.update(piece)
    return digest.hexdigest()


def put(url, path):
    s, file = connect(url)
    with s, file, open(path, "rb") as data:
        s.sendall(f"PUT {url.path} HTTP/1.0\r\nContent-Length: "
                  f"{os.path.getsize(path)}\r\n\r\n".encode())
        s.sendfile(data)
        return b"".join(body(file)).decode().strip()


count, client, url = int(sys.argv[1]), globals()[sys.argv[2]], sys.argv[3]
arguments = [urllib.parse.urlsplit(url), *filter(None, sys.argv[4:])]
seen = []
threads = [threading.Thread(target=lambda: seen.append(client(*arguments)))
           for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*seen)
