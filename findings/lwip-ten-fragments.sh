#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lwIP 2.2.1 takes datagrams of ten fragments, and none of eleven
#
# A stack that reassembles is thought to take what IP allows, 64 KiB.  lwIP holds ten buffers
# with fragments at a time, of all datagrams together (IP_REASS_MAX_PBUFS in opt.h), and
# Debian's library has it so: an echo request in ten fragments is answered, one in eleven is
# not, by IPv4 and IPv6, and the next short one is.  With an MTU of 1500 that is 14,800 bytes.
#
# So a long datagram to a device with lwIP never arrives, however good the network, and as
# all of its fragments do, a relay in front of it is easily taken for who lost one.  Seen on
# 2026-11-30 with Debian unstable's liblwip0t64 2.2.1+dfsg1-9.  Needs curl and gcc.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in g/glibc/libc6_2.43-7 l/lwip/liblwip0t64_2.2.1+dfsg1-9 l/lwip/liblwip-dev_2.2.1+dfsg1-9 \
	v/vdeplug4/libvdeplug2t64_4.0.1-5.1+b2 libe/libexecs/libexecs1_1.4-2+b3; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >try.c <<'EOF2'
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/inet_chksum.h"
#include "lwip/netif.h"
#include "lwip/tcpip.h"
#include "netif/ethernet.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const unsigned char mac[] = { 2, 0, 0, 0, 0, 1 }, peer[] = { 2, 0, 0, 0, 0, 2 };
static const unsigned char addr6[2][16] = {
	{ 0x20, 1, 0xd, 0xb8, [15] = 2 }, { 0x20, 1, 0xd, 0xb8, [15] = 1 }
};
static unsigned answers;
static struct netif n;

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static void in(const unsigned char *frame, size_t len)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);

	pbuf_take(p, frame, (u16_t)len);
	if (n.input(p, &n) != ERR_OK)
		pbuf_free(p);
}

/* The sum of an ICMPv6 message with its pseudo header, which has the two addresses */
static void sum6(unsigned char *msg, size_t len, const unsigned char *addrs)
{
	unsigned long sum = len + 58;
	size_t i;

	for (i = 0; i < 32; i += 2)
		sum += (unsigned)addrs[i] << 8 | addrs[i + 1];
	for (i = 0; i < len; i += 2)
		sum += (unsigned)msg[i] << 8 | msg[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	put16(msg + 2, (unsigned)~sum & 0xffff);
}

/* A neighbour advertisement of the peer */
static void advertise(void)
{
	unsigned char f[14 + 40 + 32] = { 0 };

	memcpy(f, mac, 6);
	memcpy(f + 6, peer, 6);
	put16(f + 12, 0x86dd);
	f[14] = 0x60;
	f[19] = 32;
	f[20] = 58;
	f[21] = 255;
	memcpy(f + 22, addr6, 32);
	f[54] = 136;
	f[58] = 0x60;
	memcpy(f + 62, addr6, 16);
	f[78] = 2;
	f[79] = 1;
	memcpy(f + 80, peer, 6);
	sum6(f + 54, 32, f + 22);
	in(f, sizeof(f));
}

/* Fragments of the answer begin with these */
static err_t out(struct netif *nif, struct pbuf *p)
{
	unsigned char f[60] = { 0 };

	(void)nif;
	pbuf_copy_partial(p, f, sizeof(f), 0);
	if (f[12] == 8 && !f[13] && f[14 + 9] == 1)
		answers++;
	if (f[12] == 0x86 && f[14 + 6] == 58 && f[14 + 40] == 135)
		advertise();
	if (f[12] == 0x86 && (f[14 + 6] == 44 ? f[14 + 40] == 58 :
			      f[14 + 6] == 58 && f[14 + 40] == 129))
		answers++;
	return ERR_OK;
}

static err_t init(struct netif *nif)
{
	nif->output = etharp_output;
	nif->output_ip6 = ethip6_output;
	nif->linkoutput = out;
	nif->mtu = 1500;
	nif->hwaddr_len = 6;
	memcpy(nif->hwaddr, mac, 6);
	nif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		     NETIF_FLAG_LINK_UP;
	return ERR_OK;
}

/* An echo request in so many fragments, of 1440 bytes, and 8 in the last */
static void ping(bool v6, unsigned fragments)
{
	static unsigned char whole[65536], f[1600];
	size_t len = (fragments - 1) * 1440 + 8, head = v6 ? 48 : 20, at, part;
	unsigned more;

	memset(whole, 0, sizeof(whole));
	whole[0] = v6 ? 128 : 8;
	put16(whole + 6, fragments);
	if (v6) {
		sum6(whole, len, addr6[0]);
	} else {
		u16_t sum = inet_chksum(whole, (u16_t)len);

		memcpy(whole + 2, &sum, 2);
	}
	for (at = 0; at < len; at += part) {
		part = len - at > 1440 ? 1440 : len - at;
		more = at + part < len;
		memset(f, 0, sizeof(f));
		memcpy(f, mac, 6);
		memcpy(f + 6, peer, 6);
		put16(f + 12, v6 ? 0x86dd : 0x0800);
		if (v6) {
			f[14] = 0x60;
			put16(f + 18, (unsigned)part + 8);
			f[20] = 44;
			f[21] = 64;
			memcpy(f + 22, addr6, 32);
			f[54] = 58;
			put16(f + 56, (unsigned)at | more);
			f[61] = (unsigned char)fragments;
		} else {
			u16_t sum;

			f[14] = 0x45;
			put16(f + 16, (unsigned)part + 20);
			put16(f + 18, fragments);
			put16(f + 20, (unsigned)at / 8 | more << 13);
			f[22] = 64;
			f[23] = 1;
			memcpy(f + 26, "\300\0\2\2\300\0\2\1", 8);
			sum = inet_chksum(f + 14, 20);
			memcpy(f + 24, &sum, 2);
		}
		memcpy(f + 14 + head, whole + at, part);
		in(f, 14 + head + part);
	}
}

static void try(bool v6, unsigned fragments)
{
	answers = 0;
	ping(v6, fragments);
	/* Behind all that came before */
	usleep(200000);
	LOCK_TCPIP_CORE();
	printf("IPv%d, %u fragments: %s\n", v6 ? 6 : 4, fragments,
	       answers ? "answered" : "no answer");
	UNLOCK_TCPIP_CORE();
}

int main(void)
{
	static const unsigned char arp[42] = {
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2,
		2, 0, 0, 0, 0, 2, 192, 0, 2, 2, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1
	};
	ip4_addr_t a, mask, gw;
	ip6_addr_t a6;
	s8_t i = -1;

	tcpip_init(NULL, NULL);
	LOCK_TCPIP_CORE();
	IP4_ADDR(&a, 192, 0, 2, 1);
	IP4_ADDR(&mask, 255, 255, 255, 0);
	ip4_addr_set_zero(&gw);
	netif_add(&n, &a, &mask, &gw, NULL, init, tcpip_input);
	netif_set_default(&n);
	IP6_ADDR(&a6, PP_HTONL(0x20010db8), 0, 0, PP_HTONL(1));
	netif_add_ip6_address(&n, &a6, &i);
	netif_set_up(&n);
	netif_ip6_addr_set_state(&n, i, IP6_ADDR_PREFERRED);
	UNLOCK_TCPIP_CORE();
	in(arp, sizeof(arp));
	try(false, 2);
	try(false, 10);
	try(false, 11);
	try(false, 2);
	try(true, 2);
	try(true, 10);
	try(true, 11);
	try(true, 2);
	return 0;
}
EOF2
lib=root/usr/lib/x86_64-linux-gnu
gcc -D_GNU_SOURCE -isystem root/usr/include/lwip -o try try.c -pthread \
	"$lib/liblwip.so.2" -Wl,--allow-shlib-undefined
$lib/ld-linux-x86-64.so.2 --library-path $lib ./try >seen
cat seen
diff seen - <<'EOF2'
IPv4, 2 fragments: answered
IPv4, 10 fragments: answered
IPv4, 11 fragments: no answer
IPv4, 2 fragments: answered
IPv6, 2 fragments: answered
IPv6, 10 fragments: answered
IPv6, 11 fragments: no answer
IPv6, 2 fragments: answered
EOF2
echo "as described"
