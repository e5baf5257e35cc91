/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr iov checksum */
#include "packet.h"
#include "checksum.h"

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* A frame under construction, and what the parser says of it */
struct b {
	uint8_t d[2048];
	size_t len;
	struct frame f;
	struct packet p;
};

static struct b b;

static void put(const void *p, size_t n)
{
	memcpy(b.d + b.len, p, n);
	b.len += n;
}

static void fill(uint8_t v, size_t n)
{
	memset(b.d + b.len, v, n);
	b.len += n;
}

static void eth(uint16_t type)
{
	static const uint8_t m[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9 };
	uint8_t t[2];

	memset(&b, 0, sizeof(b));
	put(m, 12);
	st_be16(t, type);
	put(t, 2);
}

/* @len is the IP total length, options included */
static void ip4(uint8_t proto, size_t len, unsigned options)
{
	uint8_t h[60] = { 0 };

	eth(0x0800);
	h[0] = (uint8_t)(0x40 | (5 + options / 4));
	h[1] = 0x2c;
	st_be16(h + 2, (uint16_t)len);
	st_be16(h + 6, 0x4000);
	h[8] = 63;
	h[9] = proto;
	memcpy(h + 12, "\xc0\x00\x02\x01\xc6\x33\x64\x02", 8);
	memset(h + 20, 1, options);
	put(h, 20 + options);
}

static const uint8_t src6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };
static const uint8_t dst6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 2 };

static void ip6(uint8_t next, size_t payload)
{
	uint8_t h[40] = { 0 };

	eth(0x86dd);
	st_be32(h, 0x6ab12345);
	st_be16(h + 4, (uint16_t)payload);
	h[6] = next;
	h[7] = 62;
	memcpy(h + 8, src6, 16);
	memcpy(h + 24, dst6, 16);
	put(h, 40);
}

static void udp(uint16_t len)
{
	uint8_t h[8];

	st_be16(h, 1000);
	st_be16(h + 2, 53);
	st_be16(h + 4, len);
	st_be16(h + 6, 0);
	put(h, 8);
}

static void tcp(unsigned words)
{
	uint8_t h[20] = { 0x04, 0, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8 };

	h[12] = (uint8_t)(words << 4);
	h[13] = TCP_SYN | TCP_ACK;
	st_be16(h + 14, 4321);
	put(h, 20);
}

static enum verdict parse_len(size_t len)
{
	b.f.one = (struct iovec){ b.d, len };
	b.f.iov = &b.f.one;
	b.f.iov_cnt = 1;
	b.f.len = len;
	memset(&b.p, 0xa5, sizeof(b.p));
	return packet_parse(&b.f, &b.p);
}

static enum verdict parse(void)
{
	return parse_len(b.len);
}

static void test_udp4(void **st)
{
	uint8_t got[16];
	struct rd r;

	(void)st;
	ip4(IPPROTO_UDP, 20 + 8 + 5, 0);
	udp(13);
	put("hello", 5);
	fill(0xee, 60 - b.len); /* padding is cut off */
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.kind, PACKET_UDP);
	assert_int_equal(b.p.t.proto, IPPROTO_UDP);
	assert_int_equal(b.p.t.sport, 1000);
	assert_int_equal(b.p.t.dport, 53);
	assert_true(addr_is_v4(&b.p.t.src));
	assert_memory_equal(&b.p.t.src.b[12], "\xc0\x00\x02\x01", 4);
	assert_memory_equal(&b.p.t.dst.b[12], "\xc6\x33\x64\x02", 4);
	assert_int_equal(b.p.ttl, 63);
	assert_int_equal(b.p.tos, 0x2c);
	assert_int_equal(b.p.flow_label, 0);
	assert_int_equal(b.p.payload_len, 5);
	assert_int_equal(b.p.payload_off, 42);
	assert_int_equal(b.p.l4_off, 34);
	assert_int_equal(b.p.hdr_len, 47);
	assert_int_equal(b.p.smac.b[5], 9);
	assert_int_equal(b.p.dmac.b[5], 1);
	assert_ptr_equal(b.p.frame, &b.f);
	assert_null(b.p.next);
	assert_int_equal(packet_copy(&b.p, 0, got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(packet_copy(&b.p, 3, got, sizeof(got)), 2);
	assert_int_equal(packet_copy(&b.p, 5, got, sizeof(got)), 0);
	assert_int_equal(packet_copy(&b.p, 99, got, sizeof(got)), 0);
	r = packet_l4(&b.p);
	assert_int_equal(rd_be16(&r), 1000);
	assert_int_equal(rd_left(&r), 11);
}

static void test_udp_lengths(void **st)
{
	(void)st;
	/* shorter than the IP payload: trimmed */
	ip4(IPPROTO_UDP, 20 + 8 + 5, 0);
	udp(10);
	put("hello", 5);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.payload_len, 2);
	assert_int_equal(b.p.hdr_len, 44);
	/* zero length datagram */
	ip4(IPPROTO_UDP, 28, 0);
	udp(8);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.payload_len, 0);
	ip4(IPPROTO_UDP, 33, 0);
	udp(14);
	put("hello", 5);
	assert_int_equal(parse(), DROP_MALFORMED);
	ip4(IPPROTO_UDP, 33, 0);
	udp(7);
	put("hello", 5);
	assert_int_equal(parse(), DROP_MALFORMED);
	ip4(IPPROTO_UDP, 33, 0);
	udp(0);
	put("hello", 5);
	assert_int_equal(parse(), DROP_MALFORMED);
	ip4(IPPROTO_UDP, 27, 0);
	udp(8);
	assert_int_equal(parse(), DROP_SHORT);
}

static void test_gso(void **st)
{
	(void)st;
	ip4(IPPROTO_UDP, 28 + 300, 0);
	udp(308);
	fill(1, 300);
	b.f.note.gso_type = 5;
	b.f.note.gso_size = 100;
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.gso_size, 100);
	b.f.note.gso_size = 0;
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.gso_size, 0);
	b.f.note.gso_size = 300; /* a run of one */
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.gso_size, 0);
	b.f.note.gso_size = 65535;
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.gso_size, 0);
	b.f.note.gso_size = 100;
	b.f.note.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.gso_size, 0);

	ip4(IPPROTO_TCP, 40 + 300, 0);
	tcp(5);
	fill(1, 300);
	b.f.note.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	b.f.note.gso_size = 100;
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.gso_size, 0);
	assert_int_equal(b.p.payload_len, 300);
}

static void test_tcp(void **st)
{
	struct rd r;

	(void)st;
	ip4(IPPROTO_TCP, 20 + 4 + 28 + 3, 4); /* IPv4 options, TCP options */
	tcp(7);
	fill(1, 8);
	put("abc", 3);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.kind, PACKET_TCP);
	assert_int_equal(b.p.t.sport, 1024);
	assert_int_equal(b.p.t.dport, 80);
	assert_int_equal(b.p.seq, 0x01020304);
	assert_int_equal(b.p.ack, 0x05060708);
	assert_int_equal(b.p.window, 4321);
	assert_int_equal(b.p.tcp_flags, TCP_SYN | TCP_ACK);
	assert_int_equal(b.p.l4_off, 38);
	assert_int_equal(b.p.payload_off, 66);
	assert_int_equal(b.p.payload_len, 3);
	r = packet_l4(&b.p);
	rd_skip(&r, 20);
	assert_int_equal(rd_u8(&r), 1);

	b.d[38 + 12] = 4 << 4;
	assert_int_equal(parse(), DROP_MALFORMED);
	b.d[38 + 12] = 8 << 4; /* 32 of 31 bytes */
	assert_int_equal(parse(), DROP_MALFORMED);
	b.d[38 + 12] = 15 << 4;
	assert_int_equal(parse(), DROP_MALFORMED);
}

static void test_ip4_bad(void **st)
{
	(void)st;
	ip4(IPPROTO_UDP, 28, 0);
	udp(8);
	b.d[14] = 0x55;
	assert_int_equal(parse(), DROP_MALFORMED);
	b.d[14] = 0x44;
	assert_int_equal(parse(), DROP_MALFORMED);
	b.d[14] = 0x4f;
	assert_int_equal(parse(), DROP_MALFORMED); /* head above total */
	b.d[14] = 0x45;
	st_be16(b.d + 16, 0);
	assert_int_equal(parse(), DROP_MALFORMED);
	st_be16(b.d + 16, 19);
	assert_int_equal(parse(), DROP_MALFORMED);
	st_be16(b.d + 16, 29);
	assert_int_equal(parse(), DROP_SHORT);
	st_be16(b.d + 16, 28);
	assert_int_equal(parse(), PASS);
	assert_true(b.p.df);
	st_be16(b.d + 18, 0x4711);
	st_be16(b.d + 20, 0x2000);
	assert_int_equal(parse(), DROP_FRAGMENT);
	assert_int_equal(b.p.frag_id, 0x4711);
	assert_int_equal(b.p.frag_off, 0);
	assert_true(b.p.frag_more);
	assert_int_equal(b.p.t.proto, b.d[23]);
	st_be16(b.d + 20, 0x0001);
	assert_int_equal(parse(), DROP_FRAGMENT);
	assert_int_equal(b.p.frag_off, 8);
	assert_false(b.p.frag_more);
	assert_int_equal(b.p.payload_off, 34);
	assert_int_equal(b.p.payload_len, 8);
	assert_int_equal(b.p.frag_head, 20);
	st_be16(b.d + 20, 0x8000); /* reserved bit: not a fragment */
	assert_int_equal(parse(), PASS);
	b.d[23] = IPPROTO_ICMPV6;
	assert_int_equal(parse(), DROP_PROTOCOL);
	b.d[23] = 132;
	assert_int_equal(parse(), DROP_PROTOCOL);
}

static void test_loopback(void **st)
{
	(void)st;
	ip4(IPPROTO_UDP, 28, 0);
	udp(8);
	b.d[26] = 127;
	assert_int_equal(parse(), DROP_LOOPBACK);
	b.d[26] = 10;
	b.d[30] = 127;
	assert_int_equal(parse(), DROP_LOOPBACK);
	ip6(IPPROTO_UDP, 8);
	udp(8);
	memset(b.d + 22, 0, 15);
	assert_int_equal(parse(), DROP_LOOPBACK);
	ip6(IPPROTO_UDP, 8);
	udp(8);
	memset(b.d + 38, 0, 15);
	b.d[53] = 1;
	assert_int_equal(parse(), DROP_LOOPBACK);
	/* An IPv6 header with a v4-mapped address must not become IPv4 */
	memset(b.d + 38, 0, 16);
	memcpy(b.d + 48, "\xff\xff\x7f\x00\x00\x01", 6);
	assert_int_equal(parse(), DROP_ENDPOINT);
	memcpy(b.d + 22, b.d + 38, 16);
	assert_int_equal(parse(), DROP_ENDPOINT);
	memcpy(b.d + 38, dst6, 16);
	assert_int_equal(parse(), DROP_ENDPOINT);
}

static void test_ip6(void **st)
{
	(void)st;
	ip6(IPPROTO_UDP, 8 + 2);
	udp(10);
	put("ab", 2);
	fill(0, 3); /* trap 3.4 r: padding */
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.kind, PACKET_UDP);
	assert_int_equal(b.p.tos, 0xab);
	assert_int_equal(b.p.flow_label, 0x12345);
	assert_int_equal(b.p.ttl, 62);
	assert_memory_equal(b.p.t.src.b, src6, 16);
	assert_memory_equal(b.p.t.dst.b, dst6, 16);
	assert_int_equal(b.p.payload_len, 2);
	b.d[14] = 0x45;
	assert_int_equal(parse(), DROP_MALFORMED);
	b.d[14] = 0x60;
	st_be16(b.d + 18, 14);
	assert_int_equal(parse(), DROP_SHORT);
	st_be16(b.d + 18, 0);
	assert_int_equal(parse(), DROP_SHORT);
	ip6(59, 8);
	fill(0, 8);
	assert_int_equal(parse(), DROP_PROTOCOL);
	ip6(IPPROTO_ICMP, 8);
	fill(0, 8);
	assert_int_equal(parse(), DROP_PROTOCOL);
	ip6(IPPROTO_FRAGMENT, 16);
	put("\x3b", 1);
	fill(0, 15); /* RFC 6946: atomic, and nothing comes next */
	assert_int_equal(parse(), DROP_PROTOCOL);
	ip6(51, 16);
	fill(0, 16);
	assert_int_equal(parse(), DROP_EXTENSION);
	ip6(50, 16);
	fill(0, 16);
	assert_int_equal(parse(), DROP_PROTOCOL);
}

/* An extension header of @units * 8 bytes, @next after it */
static void ext(uint8_t next, uint8_t units)
{
	uint8_t h[2] = { next, (uint8_t)(units - 1) };

	put(h, 2);
	fill(0, units * 8U - 2);
}

static void test_extensions(void **st)
{
	(void)st;
	/* trap 3.4 a: the last one must be skipped too */
	ip6(IPPROTO_DSTOPTS, 8 + 8 + 2);
	ext(IPPROTO_UDP, 1);
	udp(10);
	put("xy", 2);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.t.dport, 53);
	assert_int_equal(b.p.l4_off, 62);
	assert_int_equal(b.p.payload_len, 2);

	ip6(IPPROTO_HOPOPTS, 8 + 24 + 16 + 20);
	ext(IPPROTO_ROUTING, 1);
	ext(IPPROTO_DSTOPTS, 3);
	ext(IPPROTO_TCP, 2);
	tcp(5);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.kind, PACKET_TCP);
	assert_int_equal(b.p.t.dport, 80);
	assert_int_equal(b.p.payload_len, 0);

	ip6(IPPROTO_HOPOPTS, 8 + 8);
	ext(IPPROTO_ICMPV6, 1);
	put("\x80\x00\x00\x00\x12\x34\x00\x01", 8);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.kind, PACKET_ICMP6);
	assert_int_equal(b.p.t.sport, 0x1234);

	ip6(IPPROTO_DSTOPTS, 16);
	ext(IPPROTO_FRAGMENT, 1);
	put("\x11\x00\x00\x08\xde\xad\xbe\xef", 8);
	assert_int_equal(parse(), DROP_FRAGMENT);
	/* beyond the packet */
	ip6(IPPROTO_DSTOPTS, 8);
	ext(IPPROTO_UDP, 1);
	b.d[55] = 1;
	assert_int_equal(parse(), DROP_SHORT);
	/* beyond the packet, but inside of its padding */
	fill(0, 64);
	assert_int_equal(parse(), DROP_SHORT);
	ip6(IPPROTO_DSTOPTS, 7);
	fill(0, 7);
	assert_int_equal(parse(), DROP_SHORT);
	/* hop-by-hop elsewhere */
	ip6(IPPROTO_DSTOPTS, 24);
	ext(IPPROTO_HOPOPTS, 1);
	ext(IPPROTO_UDP, 1);
	udp(8);
	assert_int_equal(parse(), DROP_EXTENSION);
	/* beyond the copy */
	ip6(IPPROTO_DSTOPTS, 400 + 8);
	ext(IPPROTO_UDP, 50);
	udp(8);
	assert_int_equal(parse(), DROP_EXTENSION);
	/* layer 4 half inside of the copy: 54 + 120 = 174, 194 > 192 */
	ip6(IPPROTO_DSTOPTS, 120 + 20);
	ext(IPPROTO_TCP, 15);
	tcp(5);
	assert_int_equal(parse(), DROP_EXTENSION);
	ip6(IPPROTO_DSTOPTS, 112 + 24);
	ext(IPPROTO_TCP, 14);
	tcp(6);
	fill(1, 4);
	assert_int_equal(parse(), PASS);
	ip6(IPPROTO_DSTOPTS, 112 + 60);
	ext(IPPROTO_TCP, 14);
	tcp(15);
	fill(1, 40);
	assert_int_equal(parse(), DROP_EXTENSION);
}

/* A fragment header, for what comes next and is of UDP */
static void frag6(uint8_t next, uint16_t word)
{
	uint8_t h[8] = { next };

	st_be16(h + 2, word);
	memcpy(h + 4, "\xde\xad\xbe\xef", 4);
	put(h, 8);
}

static void test_fragments(void **st)
{
	(void)st;
	ip6(IPPROTO_FRAGMENT, 8 + 8 + 2);
	frag6(IPPROTO_UDP, 0);
	udp(10);
	put("ab", 2);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.payload_len, 2);
	assert_true(b.p.df);

	ip6(IPPROTO_FRAGMENT, 8 + 8 + 8);
	frag6(IPPROTO_UDP, 1);
	udp(100);
	fill(3, 8);
	assert_int_equal(parse(), DROP_FRAGMENT);
	assert_int_equal(b.p.frag_id, 0xdeadbeef);
	assert_int_equal(b.p.frag_off, 0);
	assert_int_equal(b.p.frag_head, 0);
	assert_true(b.p.frag_more);
	assert_int_equal(b.p.t.proto, IPPROTO_UDP);
	assert_int_equal(b.p.payload_off, 62);
	assert_int_equal(b.p.payload_len, 16);
	st_be16(b.d + 56, 8);
	assert_int_equal(parse(), DROP_FRAGMENT);
	assert_int_equal(b.p.frag_off, 8);
	assert_false(b.p.frag_more);

	/* In the first one all headers are to be complete */
	ip6(IPPROTO_FRAGMENT, 8 + 7);
	frag6(IPPROTO_UDP, 1);
	fill(0, 7);
	assert_int_equal(parse(), DROP_SHORT);
	st_be16(b.d + 56, 8);
	assert_int_equal(parse(), DROP_FRAGMENT);
	ip6(IPPROTO_FRAGMENT, 8 + 16);
	frag6(IPPROTO_DSTOPTS, 1);
	ext(IPPROTO_UDP, 2);
	assert_int_equal(parse(), DROP_SHORT);
	ip4(IPPROTO_TCP, 20 + 16, 0);
	fill(0, 16);
	st_be16(b.d + 20, 0x2000);
	assert_int_equal(parse(), DROP_SHORT);

	/* Not one in another, and not without its own header */
	ip6(IPPROTO_FRAGMENT, 24);
	frag6(IPPROTO_FRAGMENT, 1);
	frag6(IPPROTO_UDP, 1);
	fill(0, 8);
	assert_int_equal(parse(), DROP_EXTENSION);
	ip6(IPPROTO_FRAGMENT, 7);
	fill(0, 7);
	assert_int_equal(parse(), DROP_SHORT);
	/* What stands before is of the 64 KiB */
	ip6(IPPROTO_DSTOPTS, 16 + 8 + 8);
	ext(IPPROTO_FRAGMENT, 2);
	frag6(IPPROTO_UDP, 16);
	fill(0, 8);
	assert_int_equal(parse(), DROP_FRAGMENT);
	assert_int_equal(b.p.frag_head, 16);
}

static void test_sums(void **st)
{
	size_t i;

	(void)st;
	ip4(IPPROTO_UDP, 20 + 8 + 5, 0);
	udp(13);
	put("hello", 5);
	assert_int_equal(parse(), PASS);
	assert_true(packet_sum_ok(&b.p)); /* none */
	packet_finish_udp(b.d + 34, b.d + 42, 5);
	assert_int_equal(parse(), PASS);
	assert_false(packet_sum_ok(&b.p)); /* without the pseudo-header */

	ip6(IPPROTO_UDP, 8 + 2);
	udp(10);
	put("ab", 2);
	assert_int_equal(parse(), PASS);
	assert_false(packet_sum_ok(&b.p)); /* there must be one */
	for (i = 0; i < 65536; i++) {
		st_be16(b.d + 60, (uint16_t)i);
		assert_int_equal(parse(), PASS);
		if (packet_sum_ok(&b.p))
			break;
	}
	/* 2001:db8::1 and ::2, 17, 10, ports, 10, "ab" */
	assert_int_equal(i, 0xffff - (2 * (0x2001 + 0xdb8) + 1 + 2 + 17 + 10 +
				      1000 + 53 + 10 + 0x6162) % 0xffff);
	b.d[63] ^= 1;
	assert_int_equal(parse(), PASS);
	assert_false(packet_sum_ok(&b.p));

	ip4(IPPROTO_ICMP, 28, 0);
	put("\x08\x00\xf7\xfe\x00\x00\x00\x01", 8);
	assert_int_equal(parse(), PASS);
	assert_true(packet_sum_ok(&b.p));
	b.d[36] ^= 1;
	assert_int_equal(parse(), PASS);
	assert_false(packet_sum_ok(&b.p));
}

static void test_icmp(void **st)
{
	uint8_t msg[12];

	(void)st;
	ip4(IPPROTO_ICMP, 20 + 12, 0);
	put("\x08\x00\xbb\xbb\xab\xcd\x00\x07ping", 12);
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.kind, PACKET_ICMP4);
	assert_int_equal(b.p.icmp_type, 8);
	assert_int_equal(b.p.t.sport, 0xabcd);
	assert_int_equal(b.p.t.dport, 0xabcd);
	assert_int_equal(b.p.payload_off, 34);
	assert_int_equal(b.p.payload_len, 12);
	/* What was copied stays as it was, whatever happens to the frame */
	b.d[34] = 99;
	assert_int_equal(packet_copy(&b.p, 0, msg, 12), 12);
	assert_memory_equal(msg, "\x08\x00\xbb\xbb\xab\xcd\x00\x07ping", 12);
	b.d[34] = 3;
	b.d[35] = 1;
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.icmp_type, 3);
	assert_int_equal(b.p.icmp_code, 1);
	assert_int_equal(b.p.t.sport, 0);
	ip4(IPPROTO_ICMP, 27, 0);
	put("\x08\x00\xbb\xbb\xab\xcd\x00", 7);
	assert_int_equal(parse(), DROP_SHORT);
}

static void test_arp_and_ethernet(void **st)
{
	size_t i;

	(void)st;
	eth(0x0806);
	fill(7, 28);
	for (i = 0; i < 14; i++)
		assert_int_equal(parse_len(i), DROP_SHORT);
	for (; i < 42; i++) {
		assert_int_equal(parse_len(i), DROP_SHORT);
		assert_int_equal(b.p.smac.b[5], 9);
	}
	assert_int_equal(parse(), PASS);
	assert_int_equal(b.p.kind, PACKET_ARP);
	assert_int_equal(b.p.payload_off, 14);
	assert_int_equal(b.p.payload_len, 28);
	eth(0x8100);
	fill(0, 46);
	assert_int_equal(parse(), DROP_ETHERTYPE);
	assert_int_equal(b.p.smac.b[5], 9);
}

/* Every prefix of a packet that has its full length in the IP header */
static void test_truncated(void **st)
{
	size_t i;

	(void)st;
	ip6(IPPROTO_HOPOPTS, 8 + 24);
	ext(IPPROTO_TCP, 1);
	tcp(6);
	fill(1, 4);
	for (i = 0; i < b.len; i++)
		assert_int_equal(parse_len(i), DROP_SHORT);
	assert_int_equal(parse(), PASS);
	ip4(IPPROTO_TCP, 24 + 24, 4);
	tcp(6);
	fill(1, 4);
	for (i = 0; i < b.len; i++)
		assert_int_equal(parse_len(i), DROP_SHORT);
	assert_int_equal(parse(), PASS);
}

/* A frame in pieces gives what the same frame in a row gives */
static void test_scattered(void **st)
{
	struct packet whole;
	struct iovec v[70], out[70];
	uint8_t got[400], *copy;
	size_t i, n, sum;
	unsigned cnt;

	(void)st;
	ip6(IPPROTO_UDP, 308);
	udp(308);
	for (i = 0; i < 300; i++)
		b.d[b.len++] = (uint8_t)(i * 7);
	assert_int_equal(parse(), PASS);
	whole = b.p;
	for (n = 1; n < 70; n++) {
		size_t at = 0;

		/* pieces of @n bytes in memory of their own */
		copy = malloc(b.len);
		memcpy(copy, b.d, b.len);
		for (i = 0; i < 69 && at < b.len; i++, at += v[i - 1].iov_len)
			v[i] = (struct iovec){ copy + at, n };
		v[i] = (struct iovec){ copy + at, b.len - MIN(at, b.len) };
		if (at > b.len)
			v[i - 1].iov_len -= at - b.len;
		b.f.iov = v;
		b.f.iov_cnt = (unsigned)i + 1;
		assert_int_equal(packet_parse(&b.f, &b.p), PASS);
		assert_memory_equal(&b.p.t, &whole.t, sizeof(whole.t));
		assert_int_equal(b.p.hdr_len, whole.hdr_len);
		assert_memory_equal(b.p.hdr, whole.hdr, whole.hdr_len);
		assert_int_equal(packet_copy(&b.p, 5, got, 400), 295);
		assert_memory_equal(got, b.d + 62 + 5, 295);
		cnt = packet_iov(&b.p, 5, 400, out, 70, &sum);
		assert_int_equal(sum, 295);
		for (sum = i = 0; i < cnt; sum += out[i++].iov_len)
			assert_memory_equal(out[i].iov_base, b.d + 67 + sum,
					    out[i].iov_len);
		assert_int_equal(sum, 295);
		assert_int_equal(packet_iov(&b.p, 300, 1, out, 70, &sum), 0);
		assert_int_equal(packet_iov(&b.p, 999, 1, out, 70, &sum), 0);
		free(copy);
	}
}

static void test_names(void **st)
{
	unsigned v, w;

	(void)st;
	for (v = 0; v < VERDICTS; v++) {
		assert_non_null(verdict_name(v));
		for (w = 0; w < v; w++)
			assert_string_not_equal(verdict_name(v),
						verdict_name(w));
	}
	assert_non_null(verdict_name(VERDICTS));
}

/* --- towards the guest -------------------------------------------------- */

/* The plain twin of all sums: big-endian words, one after the other */
static uint16_t plain_sum(uint32_t s, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static uint16_t plain_pseudo(const struct tuple *t, size_t len)
{
	bool v4 = addr_is_v4(&t->src);
	uint32_t s = t->proto + (uint32_t)len;

	s = plain_sum(s, t->src.b + (v4 ? 12 : 0), v4 ? 4 : 16);
	return plain_sum(s, t->dst.b + (v4 ? 12 : 0), v4 ? 4 : 16);
}

static struct head head_for(bool v4, uint8_t proto)
{
	struct head h = {
		.src = { { 2, 1, 1, 1, 1, 1 } },
		.dst = { { 2, 2, 2, 2, 2, 2 } },
		.t = { .sport = 53, .dport = 4444, .proto = proto },
		.flow_label = 0xf12345, /* four bits too many */
		.tos = 0x1c,
	};

	h.t.src = v4 ? addr_v4(192, 0, 2, 1) : addr_from6(src6);
	h.t.dst = v4 ? addr_v4(203, 0, 113, 255) : addr_from6(dst6);
	return h;
}

/* What was written is what is read */
static void check_back(const struct head *h, const uint8_t *head, size_t len,
		       size_t payload)
{
	memset(&b, 0, sizeof(b));
	put(head, len);
	fill(0x55, payload);
	assert_int_equal(parse(), PASS);
	assert_memory_equal(&b.p.t.src, &h->t.src, 16);
	assert_memory_equal(&b.p.t.dst, &h->t.dst, 16);
	assert_int_equal(b.p.t.proto, h->t.proto);
	assert_int_equal(b.p.ttl, h->ttl ? h->ttl : 255);
	assert_int_equal(b.p.tos, h->tos);
	assert_true(mac_equal(&b.p.smac, &h->src));
	assert_true(mac_equal(&b.p.dmac, &h->dst));
	if (addr_is_v4(&h->t.src)) {
		assert_int_equal(plain_sum(0, b.d + 14, 20), 0xffff);
		assert_int_equal(ld_be16(b.d + 18), 0);
		assert_int_equal(ld_be16(b.d + 20), 0x4000);
	} else {
		assert_int_equal(b.p.flow_label, h->flow_label & 0xfffff);
	}
}

static void check_note(const struct note *n, size_t head, size_t start,
		       size_t offset)
{
	assert_int_equal(n->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(n->gso_type, 0);
	assert_int_equal(n->gso_size, 0);
	assert_int_equal(n->hdr_len, head);
	assert_int_equal(n->csum_start, start);
	assert_int_equal(n->csum_offset, offset);
}

static void test_put_udp(void **st)
{
	uint8_t mem[HEAD_MAX + 1], *at = mem + 1; /* unaligned */
	struct note n;
	unsigned v4, ttl;

	(void)st;
	for (v4 = 0; v4 < 2; v4++) {
		for (ttl = 0; ttl < 2; ttl++) {
			struct head h = head_for(v4, IPPROTO_UDP);
			size_t ip = v4 ? 34 : 54;

			h.ttl = (uint8_t)(ttl * 7);
			assert_int_equal(head_len(&h.t), ip);
			assert_int_equal(packet_put_udp(at, &h, 33, &n),
					 ip + 8);
			check_note(&n, ip + 8, ip, 6);
			assert_int_equal(ld_be16(at + ip + 6),
					 plain_pseudo(&h.t, 41));
			check_back(&h, at, ip + 8, 33);
			assert_int_equal(b.p.t.sport, 53);
			assert_int_equal(b.p.t.dport, 4444);
			assert_int_equal(b.p.payload_len, 33);
		}
	}
}

static void test_put_tcp(void **st)
{
	uint8_t mem[HEAD_MAX + 1], *at = mem + 1;
	struct tcp_head th = {
		.seq = 0xfedcba98,
		.ack = 0x89abcdef,
		.window = 0x1234,
		.flags = TCP_ACK | TCP_PSH,
	};
	struct note n;
	unsigned v4, opt;

	(void)st;
	memset(th.opt, 1, 40);
	for (v4 = 0; v4 < 2; v4++) {
		for (opt = 0; opt <= 40; opt += 4) {
			struct head h = head_for(v4, IPPROTO_TCP);
			size_t ip = v4 ? 34 : 54, len = ip + 20 + opt;

			th.opt_len = (uint8_t)opt;
			assert_int_equal(packet_put_tcp(at, &h, &th, 500, &n),
					 len);
			check_note(&n, len, ip, 16);
			assert_int_equal(ld_be16(at + ip + 16),
					 plain_pseudo(&h.t, 520 + opt));
			assert_int_equal(ld_be16(at + ip + 18), 0);
			check_back(&h, at, len, 500);
			assert_int_equal(b.p.seq, th.seq);
			assert_int_equal(b.p.ack, th.ack);
			assert_int_equal(b.p.window, th.window);
			assert_int_equal(b.p.tcp_flags, th.flags);
			assert_int_equal(b.p.payload_len, 500);
		}
	}
}

/* The sum over all that it covers comes to nothing */
static void check_sum(const struct answer *a, const uint8_t *l4, size_t head)
{
	uint8_t all[128];
	uint32_t sum = 0;

	memcpy(all, l4, head);
	memcpy(all + head, a->body.buf, a->body.len);
	if (a->head.t.proto != IPPROTO_ICMP)
		sum = plain_pseudo(&a->head.t, head + a->body.len);
	assert_int_equal(plain_sum(sum, all, head + a->body.len), 0xffff);
}

/* Nothing is left for the guest's kernel to finish */
static void test_answers(void **st)
{
	uint8_t at[HEAD_MAX], body[64] = { 0 };
	struct answer a = { .head = head_for(false, IPPROTO_ICMPV6) };

	(void)st;
	a.body = wr_init(body, sizeof(body));
	wr_fill(&a.body, 0x11, 17);
	assert_int_equal(packet_answer_head(at, &a), 54);
	check_sum(&a, at + 54, 0);
	check_back(&a.head, at, 54, 17);

	a.head = head_for(true, IPPROTO_ICMP);
	assert_int_equal(packet_answer_head(at, &a), 34);
	check_sum(&a, at + 34, 0);
	check_back(&a.head, at, 34, 17);

	for (unsigned v4 = 0; v4 < 2; v4++) {
		size_t head = v4 ? 42 : 62;

		a.head = head_for(v4, IPPROTO_UDP);
		assert_int_equal(packet_answer_head(at, &a), head);
		check_sum(&a, at + head - 8, 8);
		check_back(&a.head, at, head, 17);
	}

	a.arp = true;
	assert_int_equal(packet_answer_head(at, &a), 14);
	assert_memory_equal(at + 12, "\x08\x06", 2);
}

/* A sum that comes to zero is sent as all ones */
static void test_finish_zero(void **st)
{
	struct head h = head_for(true, IPPROTO_UDP);
	uint8_t at[HEAD_MAX], word[2] = { 0 };
	struct note n;
	uint16_t sum;

	(void)st;
	packet_put_udp(at, &h, 2, &n);
	packet_finish_udp(at + 34, word, 2);
	memcpy(word, at + 40, 2); /* its own sum makes it zero */
	packet_put_udp(at, &h, 2, &n);
	packet_finish_udp(at + 34, word, 2);
	memcpy(&sum, at + 40, 2);
	assert_int_equal(sum, 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_udp4),
		cmocka_unit_test(test_udp_lengths),
		cmocka_unit_test(test_gso),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_ip4_bad),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_ip6),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_arp_and_ethernet),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_put_udp),
		cmocka_unit_test(test_put_tcp),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_finish_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
