#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tcpdump 4.99 takes -Q in for a file, and shows what went out
#
# A pcapng capture can say of each packet whether it came or went (epb_flags), and text2pcap,
# dumpcap and others write it.  tcpdump reads such files, and -Q is said to choose "send/receive
# direction"; with -r it is accepted, has no effect, and nothing says so.  The filter "inbound"
# is refused instead, and says why.  So who sorts a capture by direction with tcpdump
# gets all of it twice.  tshark -Y "frame.packet_flags_direction == 1" reads what is there.
#
# Seen on 2026-11-30 with Debian 12's tcpdump 4.99.3 (libpcap 1.10.3) and text2pcap 4.0.17, the
# same with unstable's 4.99.6 (libpcap 1.11.0).  Needs apt.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
chmod 755 .
v=4.0.17-0+deb12u3
apt-get -q download tcpdump=4.99.3-1 libpcap0.8=1.10.3-1 wireshark-common=$v tshark=$v \
	libwireshark16=$v libwiretap13=$v libwsutil14=$v libglib2.0-0 libpcre2-8-0 libdbus-1-3 \
	libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 libzstd1 liblzma5 libxml2 \
	libgnutls30 libicu72 libc-ares2 libbcg729-0 libbrotli1 libkrb5-3 liblua5.2-0 libmaxminddb0 \
	libnghttp2-14 libnl-3-200 libnl-genl-3-200 libnl-route-3-200 libopencore-amrnb0 \
	libopus0 libsbc1 libsmi2ldbl libsnappy1v5 libspandsp2 libspeexdsp1 libssh-gcrypt-4 \
	libtiff6 libjbig0 libjpeg62-turbo libdeflate0 libwebp7 liblerc4 libk5crypto3 \
	libkrb5support0 libkeyutils1 libgssapi-krb5-2 libnettle8 libhogweed6 libtasn1-6 \
	libp11-kit0 libidn2-0 libunistring2 libffi8 libgmp10 >log 2>&1 || { cat log; exit 1; }
for p in *.deb; do dpkg -x "$p" root; done
export PATH=$PWD/root/usr/bin:$PATH
export LD_LIBRARY_PATH=$PWD/root/usr/lib/x86_64-linux-gnu:$PWD/root/lib/x86_64-linux-gnu HOME=$PWD
arp() {
	echo "$1"
	echo "0000 ff ff ff ff ff ff 02 00 00 00 00 01 08 06 00 01"
	echo "0010 08 00 06 04 00 01 02 00 00 00 00 01 0a 00 00 01"
	echo "0020 00 00 00 00 00 00 0a 00 00 0$2"
}
{ arp I 2; arp O 3; } >text
root/usr/bin/text2pcap -qD text file.pcapng >log 2>&1
see() {
	echo "$*:"
	"$@" 2>&1 | grep -Ev '^(reading from|Running as)' | sed 's/^/  /'
}
{
	see tcpdump -tnr file.pcapng
	see tcpdump -tnr file.pcapng -Q in
	see tcpdump -tnr file.pcapng -Q out
	see tcpdump -tnr file.pcapng inbound
	see tshark -nr file.pcapng -Y "frame.packet_flags_direction == 1" \
		-T fields -e arp.dst.proto_ipv4
} >seen
cat seen
diff seen - <<'EOF'
tcpdump -tnr file.pcapng:
  ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28
  ARP, Request who-has 10.0.0.3 tell 10.0.0.1, length 28
tcpdump -tnr file.pcapng -Q in:
  ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28
  ARP, Request who-has 10.0.0.3 tell 10.0.0.1, length 28
tcpdump -tnr file.pcapng -Q out:
  ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28
  ARP, Request who-has 10.0.0.3 tell 10.0.0.1, length 28
tcpdump -tnr file.pcapng inbound:
  tcpdump: inbound/outbound not supported on Ethernet when reading savefiles
tshark -nr file.pcapng -Y frame.packet_flags_direction == 1 -T fields -e arp.dst.proto_ipv4:
  10.0.0.2
EOF
echo "as described"
