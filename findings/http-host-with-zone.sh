#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian 13: one page at a link-local address, which half of the clients cannot load
#
# A link-local address needs a zone, the name of the client's own interface.  RFC 6874 had it
# in URLs as %25eth0, and left out of what is sent; it was obsoleted in 2025, and what programs
# do is all there is.  curl, links and busybox send "Host: [fe80::1]".  Python's urllib and
# httpx, PHP and lynx send "Host: [fe80::1%eth0]", and wget2 percent-encodes the address and
# leaves out brackets and port.  Apache answers all of these with 400, nginx 1.26 does not; 1.30
# in unstable refuses the former as well.  So "the server is fine, curl gets it" and "400 Bad
# Request" are both true.  The way to write it differs, too: curl, wget2 and urllib take
# %25eth0 and %eth0, lynx, links, PHP, busybox and httpx %eth0 only, and GNU wget neither.
#
# Seen on 2026-11-30 with the versions below.  Needs debootstrap, ip and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=curl,wget,wget2,lynx,links,busybox-static,\
python3-httpx,php-cli,nginx-light,apache2-bin,iproute2 trixie "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cat >"$tmp/root/run.sh" <<'EOF'
mkdir -p www && echo page >www/index.html
cat >nginx.conf <<'C'
pid /nginx.pid; error_log /nginx.err; events {}
http { log_format f '$status $http_host'; access_log /nginx.log f;
	server { listen [::]:8001; root /www; } }
C
cat >apache.conf <<'C'
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
Listen [::]:8002
User www-data
ServerName server
PidFile /apache.pid
ErrorLog /apache.err
LogFormat "%>s %{Host}i" f
CustomLog /apache.log f
DocumentRoot /www
DirectoryIndex index.html
C
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth0 up
ip link set eth1 up
for dev in eth0 eth1; do
	until a=$(ip -6 -br addr show dev $dev scope link -tentative | grep -o 'fe80[^/]*'); do
		sleep 0.2
	done
done
nginx -c /nginx.conf
apache2 -f /apache.conf
for port in 8001 8002; do
	until curl -so /dev/null "http://[::1]:$port/"; do sleep 0.2; done
done
try() {
	name=$1
	shift
	host=-
	printf '%-8s' "$name"
	for zone in %25eth0 %eth0; do
		url="http://[$a$zone]" said=
		for port in 8001 8002; do
			log=$([ "$port" = 8001 ] && echo nginx.log || echo apache.log)
			: >"$log"
			timeout 20 "$@" "$url:$port/" >/dev/null 2>&1 </dev/null || :
			said="$said$(cut -d ' ' -f 1 "$log" | tail -n 1) "
			[ -s "$log" ] && host=$(cut -d ' ' -f 2 "$log" | tail -n 1)
		done
		printf '%s: %-9s' "${zone%eth0}" "${said% }"
	done
	echo "$host" | sed "s/$(echo "$a" | sed 's/:/%3A/g')/ADDRESS/; s/$a/ADDRESS/"
}
try curl curl -g
try links links -dump
try busybox busybox wget -O-
try wget wget -t1 -O-
try wget2 wget2 --tries=1 -O-
try lynx lynx -dump
try php php -r 'file_get_contents($argv[1]);'
try urllib python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1])'
try httpx python3 -c 'import sys, httpx; httpx.get(sys.argv[1])'
kill "$(cat nginx.pid)" "$(cat apache.pid)"
EOF
chroot "$tmp/root" dpkg-query -W curl links busybox-static wget wget2 lynx php8.4-cli python3.13 \
	python3-httpx nginx apache2-bin >"$tmp/seen"
mount -t proc proc "$tmp/root/proc"
unshare -n chroot "$tmp/root" bash /run.sh >>"$tmp/seen"
cat "$tmp/seen"
diff "$tmp/seen" - <<'EOF'
apache2-bin	2.4.71-1~deb13u1
busybox-static	1:1.37.0-6+b9
curl	8.14.1-2+deb13u7
links	2.29-2+b3
lynx	2.9.2-1
nginx	1.26.3-3+deb13u10
php8.4-cli	8.4.27-1~deb13u1
python3-httpx	0.28.1-1
python3.13	3.13.5-2+deb13u5
wget	1.25.0-2
wget2	2.2.0+ds-1+deb13u1
curl    %25: 200 200  %: 200 200  [ADDRESS]:8002
links   %25:          %: 200 200  [ADDRESS]:8002
busybox %25:          %: 200 200  [ADDRESS]:8002
wget    %25:          %:          -
wget2   %25: 200 400  %: 200 400  ADDRESS%25eth0
lynx    %25:          %: 200 400  [ADDRESS%eth0]:8002
php     %25:          %: 200 400  [ADDRESS%eth0]:8002
urllib  %25: 200 400  %: 200 400  [ADDRESS%eth0]:8002
httpx   %25:          %: 200 400  [ADDRESS%eth0]:8002
EOF
echo "as described"
