#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# OpenSSH 10.6: half a forwarding is enough for ExitOnForwardFailure=yes
#
# "ssh -L 8000:..." is to listen on 127.0.0.1 and on ::1.  Where another program has port 8000
# of 127.0.0.1 already, ssh says "bind [127.0.0.1]:8000: Address already in use" and goes on
# with [::1]:8000 alone, also with ExitOnForwardFailure=yes, which ssh_config(5) has for ending
# when it "cannot set up all requested" forwardings, "e.g. if either end is unable to bind and
# listen on a specified port".  -D is the same, and with -R there is not even a word of it, as
# the message is the server's.  Only if neither address is to be had it ends, with 255.
#
# So a script takes the tunnel for made, and who then asks 127.0.0.1:8000 talks to the other
# program, be that a published port of a container or the tunnel of somebody else.  Seen on
# 2026-11-30 with the versions below.  Needs debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=openssh-server,openssh-client,iproute2,python3-minimal \
	sid "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cat >"$tmp/root/run.sh" <<'EOF2'
ip link set lo up
printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
mkdir -p -m 755 /run/sshd
ssh-keygen -qt ed25519 -N '' -f /host
ssh-keygen -qt ed25519 -N '' -f /user
printf '%s\n' 'HostKey /host' 'AuthorizedKeysFile /user.pub' 'StrictModes no' 'UsePAM no' \
	'PermitRootLogin yes' >/conf
listen() {
	python3 -c 'import socket, sys, time
s = [socket.create_server((a, 8000), family=socket.AF_INET6 if ":" in a else socket.AF_INET)
     for a in sys.argv[1:]]
open("/ready", "w")
time.sleep(1000)' "$@" &
	until [ -e /ready ]; do sleep 0.1; done
	rm /ready
}
try() {
	echo "$*"
	# No server at a port, but one for this connection
	s=0
	ssh -F none -i /user -o ProxyCommand='/usr/sbin/sshd -i -f /conf 2>/dev/null' \
		-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
		-o ExitOnForwardFailure=yes "$@" host \
		"ss -Hltnp sport = 8000 | sed -n 's/.* \([^ ]*:8000\) .*(\"\(ssh\|python\).*/\2 \1/p' | sort" \
		>out 2>&1 </dev/null || s=$?
	sed 's/\r$//; s/^/  /' out
	echo "  status $s"
}
listen 127.0.0.1
try -L 8000:127.0.0.1:7
try -D 8000
try -R 8000:127.0.0.1:7
kill $!
wait
listen 127.0.0.1 ::1
try -L 8000:127.0.0.1:7
try -R 8000:127.0.0.1:7
kill $!
EOF2
chroot "$tmp/root" dpkg-query -W openssh-client openssh-server >"$tmp/seen"
mount -t proc proc "$tmp/root/proc"
unshare -n --fork --kill-child timeout 100 chroot "$tmp/root" bash /run.sh >>"$tmp/seen" \
	2>"$tmp/err" || {
	cat "$tmp/err"
	exit 1
}
cat "$tmp/seen"
diff "$tmp/seen" - <<'EOF2'
openssh-client	1:10.6p1-1
openssh-server	1:10.6p1-1
-L 8000:127.0.0.1:7
  bind [127.0.0.1]:8000: Address already in use
  python 127.0.0.1:8000
  ssh [::1]:8000
  status 0
-D 8000
  bind [127.0.0.1]:8000: Address already in use
  python 127.0.0.1:8000
  ssh [::1]:8000
  status 0
-R 8000:127.0.0.1:7
  python 127.0.0.1:8000
  ssh [::1]:8000
  status 0
-L 8000:127.0.0.1:7
  bind [127.0.0.1]:8000: Address already in use
  channel_setup_fwd_listener_tcpip: cannot listen to port: 8000
  Could not request local forwarding.
  status 255
-R 8000:127.0.0.1:7
  Error: remote port forwarding failed for listen port 8000
  status 255
EOF2
echo "as described"
