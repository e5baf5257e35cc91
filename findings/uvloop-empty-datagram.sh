#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# uvloop 0.23.0, "drop-in replacement" of asyncio's event loop, sends no empty datagram
#
# Since Python 3.13 sendto(b"") of a datagram transport sends one of no bytes, as its manual
# says; before it did nothing.  With uvloop it still does nothing, without a word: of "a", ""
# and "bc" two arrive.  A protocol in which an empty datagram means something (the end of a
# transfer, a keep-alive) works or not by the loop that runs it, and a relay on the way is
# easily taken for who lost it.
#
# Seen on 2026-11-30 with Debian unstable's python3-uvloop 0.23.0+ds1-1 and Python 3.14.10.
# Needs curl and unshare; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
v=3.14.10-1
for p in u/uvloop/python3-uvloop_0.23.0+ds1-1 p/python3.14/python3.14-minimal_$v \
	p/python3.14/libpython3.14-minimal_$v p/python3.14/libpython3.14-stdlib_$v \
	e/expat/libexpat1_2.9.0-1 libu/libuv1/libuv1t64_1.53.0-1 g/glibc/libc6_2.43-7 \
	o/openssl/libssl3t64_3.6.5-1 libf/libffi/libffi8_3.5.2-4 \
	z/zlib/zlib1g_1.3.dfsg+really1.3.2-4 libz/libzstd/libzstd1_1.5.7+dfsg-4; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >try.py <<'EOF2'
import asyncio, socket, sys
if sys.argv[1] == "uvloop":
    import uvloop
    run = uvloop.run
else:
    run = asyncio.run
async def main():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 7000))
    s.setblocking(False)
    loop = asyncio.get_running_loop()
    t, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol,
                                               remote_addr=s.getsockname())
    for data in b"a", b"", b"bc", b"end":
        t.sendto(data)
    sizes = []
    while (data := await asyncio.wait_for(loop.sock_recv(s, 100), 5)) != b"end":
        sizes.append(str(len(data)))
    print(f"{sys.argv[1]}: {' '.join(sizes)}")
run(main())
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
lib=root/usr/lib/x86_64-linux-gnu
export PYTHONHOME=$PWD/root/usr PYTHONPATH=$PWD/root/usr/lib/python3/dist-packages
for loop in asyncio uvloop; do
	$lib/ld-linux-x86-64.so.2 --library-path $lib root/usr/bin/python3.14 try.py $loop
done
EOF2
unshare -rn timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
asyncio: 1 0 2
uvloop: 1 2
EOF2
echo "as described"
