#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# curl 7.88.1 cannot load an empty file by TFTP
#
# A server that knows option tsize (RFC 2349) says 0 for a file without bytes.
# curl takes that for a failure: exit status 71 ("TFTP: Illegal operation") and,
# with -sS, no message of its own.  The same file with --tftp-no-options is fine
# (status 0, no output), and so is a file of three bytes with the option.
#
# A TFTP server's tests that load an empty file with curl fail for this, not for
# the server.  Seen on 2026-11-28 with Debian 12's curl and dnsmasq.  Needs apt,
# unshare and ip; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
chmod 755 .
apt-get -q download curl=7.88.1-10+deb12u15 libcurl4=7.88.1-10+deb12u15 \
	dnsmasq-base=2.90-4~deb12u2 >log 2>&1 || { cat log; exit 1; }
for p in *.deb; do dpkg -x "$p" root; done
mkdir tftp
: >tftp/empty
echo hi >tftp/full
cat >run.sh <<'EOF'
ip link set lo up
root/usr/sbin/dnsmasq --conf-file=/dev/null --port=0 --enable-tftp \
	--tftp-root="$PWD/tftp" --pid-file="$PWD/pid" \
	--listen-address=127.0.0.1 --bind-interfaces --no-daemon >&2 &
export LD_LIBRARY_PATH=$(dirname "$(find "$PWD/root" -name 'libcurl.so.4')")
try() { timeout 5 root/usr/bin/curl -sS "$@" 2>/dev/null; echo "$?"; }
for _ in $(seq 10); do
	[ "$(try tftp://127.0.0.1/full | tail -n 1)" = 0 ] && break
	sleep 0.1
done
echo "full: $(try tftp://127.0.0.1/full | tr '\n' ' ')"
echo "empty: $(try tftp://127.0.0.1/empty)"
echo "empty without options: $(try --tftp-no-options tftp://127.0.0.1/empty)"
kill $!
EOF
unshare -rn timeout 90 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF'
full: hi 0 
empty: 71
empty without options: 0
EOF
echo "as described"
