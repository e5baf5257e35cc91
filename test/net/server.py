# SPDX-License-Identifier: GPL-2.0-or-later
"""A server of many connections: server.py echo|flood PORT...

echo sends back what it gets.  flood sends without end and reads nothing.
"""

import contextlib
import resource
import select
import socket
import sys

BACKLOG = 4096
BLOCK = bytes(1 << 16)


def main(kind, *ports):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    poll = select.epoll()
    listeners, clients = {}, {}
    for port in ports:
        s = socket.create_server(("::", int(port)), family=socket.AF_INET6,
                                 backlog=BACKLOG, dualstack_ipv6=True)
        s.setblocking(False)
        listeners[s.fileno()] = s
        poll.register(s, select.EPOLLIN)
    print("ready", flush=True)
    interest = select.EPOLLOUT if kind == "flood" else select.EPOLLIN
    while True:
        for fd, _ in poll.poll():
            if fd in listeners:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    while True:
                        s, _ = listeners[fd].accept()
                        s.setblocking(False)
                        clients[s.fileno()] = s
                        poll.register(s, interest)
                continue
            try:
                data = BLOCK if kind == "flood" else clients[fd].recv(4096)
                if data:
                    clients[fd].send(data)
                    continue
            except BlockingIOError:
                continue
            except ConnectionError:
                pass
            clients.pop(fd).close()


main(*sys.argv[1:])
