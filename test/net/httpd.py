#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""httpd.py PORT DIRECTORY: GET serves files, PUT answers with the checksum.

Listens on all addresses of both families, says "ready" when it does.
"""

import functools
import hashlib
import http.server
import os
import socket
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def copyfile(self, source, outputfile):
        outputfile.flush()
        self.connection.sendfile(source)

    def do_PUT(self):
        digest = hashlib.md5()
        left = int(self.headers["Content-Length"])
        buffer = bytearray(1 << 18)
        while left:
            n = self.rfile.readinto1(memoryview(buffer)[:left])
            if not n:
                break
            digest.update(memoryview(buffer)[:n])
            left -= n
        answer = digest.hexdigest().encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "test", self.server_address[1]


port, directory = int(sys.argv[1]), os.path.abspath(sys.argv[2])
server = Server(("::", port), functools.partial(Handler, directory=directory))
print("ready", flush=True)
server.serve_forever()
