#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# wget2 1.99.1 and 2.2.0 leave the port out of the Host header
#
# For http://127.0.0.1:8081/ it connects to port 8081 and says "Host: 127.0.0.1"; wget
# 1.21.3 and curl say "Host: 127.0.0.1:8081".  RFC 9110, 7.2: the value must be identical
# to the authority of the target URI, less user and password, and that includes the port.
#
# A server that makes its redirections or its choice of site from Host, as it may, sends
# wget2 from a published port to port 80.  A relay between them is easily taken for the
# cause.  Seen on 2026-11-29 with Debian 12's 1.99.1-2.2, the same with unstable's
# 2.2.0+ds-3+b1.  Needs apt, unshare and /usr/bin/python3; run as root or as a user who
# may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
chmod 755 .
apt-get -q download wget2=1.99.1-2.2 libwget0=1.99.1-2.2 wget=1.21.3-1+deb12u1 \
	libgpgme11 libassuan0 libbrotli1 libgnutls30 libidn2-0 liblz1 libnghttp2-14 \
	libpcre2-8-0 libpsl5 libunistring2 libp11-kit0 libtasn1-6 libnettle8 \
	libhogweed6 libgmp10 libuuid1 >log 2>&1 || { cat log; exit 1; }
for p in *.deb; do dpkg -x "$p" root; done
cat >serve.py <<'EOF2'
import socket
s = socket.create_server(("127.0.0.1", 8081))
s.settimeout(20)
open("ready", "w").close()
for _ in range(2):
    c, _ = s.accept()
    c.settimeout(20)
    for line in iter(c.makefile().readline, "\n"):
        if line.lower().startswith("host:"):
            print(line.strip(), flush=True)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    c.close()
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
export LD_LIBRARY_PATH=$PWD/root/usr/lib:$PWD/root/usr/lib/x86_64-linux-gnu
/usr/bin/python3 serve.py &
until [ -e ready ]; do sleep 0.1; done
for program in wget wget2; do
	echo "$program"
	timeout 10 root/usr/bin/$program -q -O - --no-proxy http://127.0.0.1:8081/
done
wait
EOF2
unshare -rn timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
wget
Host: 127.0.0.1:8081
wget2
Host: 127.0.0.1
EOF2
echo "as described"
