#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pesto 20261002: nothing can be added behind -D in one command
#
# "pesto -D -t 8081 -A -t 8082 SOCKET", which replaces one rule by another and
# conflicts with nothing, says "Unable to add rule TCP [*]:8082  =>  8082" and
# exits with 1; nothing is changed.  The two in a command each are fine, and so is
# -A in front of -D.
#
# Who changes the target of a published port has to do it in two steps, between
# which the port is closed.  Seen on 2026-11-28 with Debian unstable's passt.
# Needs curl and unshare; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
chmod 777 .
pool=http://deb.debian.org/debian/pool/main
curl -sSf -O "$pool/p/passt/passt_0.0~git20261002.cba3570-1_amd64.deb" \
	-O "$pool/g/glibc/libc6_2.43-7_amd64.deb"
for p in *.deb; do dpkg -x "$p" root; done
cat >run.sh <<'EOF'
ip link set lo up
lib=root/usr/lib/x86_64-linux-gnu
run() { $lib/ld-linux-x86-64.so.2 --argv0 "$1" --library-path $lib \
	"root/usr/bin/$1" "${@:2}"; }
pesto() { run pesto "$@" socket >/dev/null && s=0 || s=$?; echo "$*: $s"; }
# It gives up root's rights, also those to this directory
run passt -f -q -t none -u none -c "$PWD/socket" -s "$PWD/vm" 2>/dev/null &
for _ in $(seq 50); do [ -S socket ] && break; sleep 0.1; done
pesto -A -t 8081
pesto -D -t 8081 -A -t 8082
pesto -A -t 8082 -D -t 8081
pesto -D -t 8082
pesto -A -t 8081
kill $!
EOF
unshare -rn bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
grep -v AVX2 err >said || true
cat said
diff seen - <<'EOF'
-A -t 8081: 0
-D -t 8081 -A -t 8082: 1
-A -t 8082 -D -t 8081: 0
-D -t 8082: 0
-A -t 8081: 0
EOF
grep -qx 'Unable to add rule TCP \[\*\]:8082  =>  8082 ' said
echo "as described"
