/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: packet addr iov checksum */
#include "segment.h"
#include "checksum.h"
#include "iov.h"

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { CWR = 0x80, ROOM = 20000, GSO_UDP_L4 = 5 };

/* A run: its head, its note, its payload */
struct run {
	bool v4, tcp;
	struct head h;
	struct tcp_head th;
	uint8_t head[HEAD_MAX];
	size_t head_len, total, mss;
	uint8_t payload[ROOM];
	struct note n;
};

static size_t put_head(const struct run *r, uint8_t *at,
		       const struct tcp_head *th, size_t len, struct note *n)
{
	return r->tcp ? packet_put_tcp(at, &r->h, th, len, n)
		      : packet_put_udp(at, &r->h, len, n);
}

static void make(struct run *r, bool v4, bool tcp, size_t total, size_t mss)
{
	size_t i;

	memset(r, 0, sizeof(*r));
	r->v4 = v4;
	r->tcp = tcp;
	r->total = total;
	r->mss = mss;
	r->h.t = (struct tuple){
		.src = v4 ? addr_v4(192, 0, 2, 7)
			  : addr_from6("0123456789abcde"),
		.dst = v4 ? addr_v4(10, 9, 8, 7)
			  : addr_from6("fedcba987654321"),
		.sport = 443,
		.dport = 65000,
		.proto = tcp ? IPPROTO_TCP : IPPROTO_UDP,
	};
	r->th = (struct tcp_head){
		.seq = 0xffffff00, /* wraps within the run */
		.ack = 77,
		.window = 500,
		.flags = TCP_ACK | TCP_PSH | TCP_FIN | CWR,
		.opt_len = 12,
		.opt = { 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8 },
	};
	for (i = 0; i < total; i++)
		r->payload[i] = (uint8_t)rand();
	r->head_len = put_head(r, r->head, &r->th, total, &r->n);
	if (total > mss) {
		r->n.gso_size = (uint16_t)mss;
		r->n.gso_type = !tcp ? GSO_UDP_L4
				: v4 ? VIRTIO_NET_HDR_GSO_TCPV4
				     : VIRTIO_NET_HDR_GSO_TCPV6;
	}
}

/* The plain twin of every sum: byte by byte, in network order */
static uint16_t plain_sum(const uint8_t *p, size_t len)
{
	uint64_t s = 0;
	size_t i;

	for (i = 0; i < len; i++)
		s += i & 1 ? p[i] : (uint64_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

/* The plain twin of segmentation: a segment made as a packet of its own */
static size_t plain_segment(const struct run *r, uint8_t *at, size_t off)
{
	size_t len = MIN(r->mss, r->total - off), head, l4, at_sum;
	struct tcp_head th = r->th;
	struct note n;
	uint16_t sum;

	th.seq += (uint32_t)off;
	if (off)
		th.flags &= (uint8_t)~CWR;
	if (off + len < r->total)
		th.flags &= (uint8_t) ~(TCP_PSH | TCP_FIN);
	head = put_head(r, at, &th, len, &n);
	memcpy(at + head, r->payload + off, len);
	l4 = n.csum_start;
	at_sum = l4 + n.csum_offset;
	sum = plain_sum(at + l4, head + len - l4);
	st_be16(at + at_sum, !sum && !r->tcp ? 0xffff : sum);
	return head + len;
}

static void test_layout(void **st)
{
	static uint8_t buf[1000];
	struct iovec v[8];
	size_t used;

	(void)st;
	/* 100 + 100 + 50 behind gaps of 10 */
	assert_int_equal(segment_layout(buf, 1000, 10, 250, 100, v, 8, &used),
			 3);
	assert_int_equal(used, 280);
	assert_ptr_equal(v[0].iov_base, buf + 10);
	assert_ptr_equal(v[1].iov_base, buf + 120);
	assert_ptr_equal(v[2].iov_base, buf + 230);
	assert_int_equal(v[1].iov_len, 100);
	assert_int_equal(v[2].iov_len, 50);
	/* exactly enough, and one less: never a short piece for that reason */
	assert_int_equal(segment_layout(buf, 280, 10, 250, 100, v, 8, &used),
			 3);
	assert_int_equal(segment_layout(buf, 279, 10, 250, 100, v, 8, &used),
			 2);
	assert_int_equal(used, 220);
	assert_int_equal(segment_layout(buf, 109, 10, 250, 100, v, 8, &used),
			 0);
	assert_int_equal(used, 0);
	assert_int_equal(segment_layout(buf, 9, 10, 250, 100, v, 8, &used), 0);
	assert_int_equal(segment_layout(buf, 0, 10, 250, 100, v, 8, &used), 0);
	assert_int_equal(segment_layout(buf, 1000, 10, 250, 100, v, 2, &used),
			 2);
	assert_int_equal(segment_layout(buf, 1000, 10, 250, 100, v, 0, &used),
			 0);
	assert_int_equal(segment_layout(buf, 1000, 10, 0, 100, v, 8, &used), 0);
	assert_int_equal(segment_layout(buf, 1000, 10, 200, 100, v, 8, &used),
			 2);
	/* no segment size: one stretch or nothing */
	assert_int_equal(segment_layout(buf, 1000, 10, 250, 0, v, 8, &used), 1);
	assert_int_equal(used, 260);
	assert_int_equal(segment_layout(buf, 259, 10, 250, 0, v, 8, &used), 0);
}

static struct run r;

/* Payload scattered to its final place, heads filled in, compared with plain
 * segments one after the other */
static void in_place(bool backwards)
{
	static uint8_t buf[ROOM * 3], want[ROOM];
	size_t gap = r.head_len + 4, used, off, len;
	struct iovec v[512];
	unsigned cnt, i;

	cnt = segment_layout(buf, sizeof(buf), gap, r.total, r.mss, v, 512,
			     &used);
	assert_int_equal(cnt, (r.total + r.mss - 1) / r.mss);
	assert_int_equal(used, r.total + cnt * gap);
	assert_int_equal(iov_write(v, cnt, 0, r.payload, r.total), r.total);

	for (i = 0; i < cnt; i++) {
		unsigned k = backwards ? cnt - 1 - i : i;
		uint8_t *at = (uint8_t *)v[k].iov_base - r.head_len;

		/* the last head that is made may be the template itself */
		if (backwards && k == 0)
			memcpy(at, r.head, r.head_len);
		segment_head(at, backwards && !k ? at : r.head, r.head_len,
			     &r.n, k * r.mss, v[k].iov_len, r.total);
	}
	for (off = i = 0; i < cnt; i++, off += r.mss) {
		len = plain_segment(&r, want, off);
		assert_int_equal(len, r.head_len + v[i].iov_len);
		assert_memory_equal((uint8_t *)v[i].iov_base - r.head_len, want,
				    len);
	}
}

static void split(void)
{
	static uint8_t frame[ROOM + HEAD_MAX], got[ROOM], want[ROOM];
	size_t len = r.head_len + r.total, off = 0, n;
	unsigned i;

	memcpy(frame, r.head, r.head_len);
	memcpy(frame + r.head_len, r.payload, r.total);
	for (i = 0; off < r.total; i++, off += r.mss) {
		n = plain_segment(&r, want, off);
		assert_int_equal(segment_split(got, frame, len, &r.n, i), n);
		assert_memory_equal(got, want, n);
	}
	assert_int_equal(segment_split(got, frame, len, &r.n, i), 0);
}

static void test_runs(void **st)
{
	static const size_t mss[] = { 1, 7, 100, 536, 1447, 1448, 9000 };
	static const size_t total[] = { 1,    2,    99,   100,   101,
					1448, 1449, 2896, 14480, 15001 };
	unsigned kind, i, k;

	(void)st;
	for (kind = 0; kind < 4; kind++) {
		for (i = 0; i < ARRAY_SIZE(mss); i++) {
			for (k = 0; k < ARRAY_SIZE(total); k++) {
				if (total[k] / mss[i] > 500)
					continue;
				make(&r, kind & 1, kind & 2, total[k], mss[i]);
				in_place(false);
				in_place(true);
				split();
			}
		}
	}
}

/* One frame, any odd length, in a row and in pieces */
static void test_finish(void **st)
{
	uint8_t frame[400], want[400];
	unsigned kind, total, cut;
	size_t len;

	(void)st;
	for (kind = 0; kind < 4; kind++) {
		for (total = 0; total < 200; total++) {
			make(&r, kind & 1, kind & 2, total, 1000);
			len = plain_segment(&r, want, 0);
			memcpy(frame, r.head, r.head_len);
			memcpy(frame + r.head_len, r.payload, total);
			segment_finish(frame, len, &r.n);
			assert_memory_equal(frame, want, len);

			for (cut = 1; cut < len; cut += 3) {
				struct iovec v[2] = { { frame, cut },
						      { frame + cut,
							len - cut } };

				memcpy(frame, r.head, r.head_len);
				segment_finish_iov(v, 2, len, &r.n);
				assert_memory_equal(frame, want, len);
			}
		}
	}
}

/* A UDP sum of zero means none: it is sent as all ones; TCP has no such case */
static void test_zero_sum(void **st)
{
	uint8_t frame[HEAD_MAX + 2];
	uint16_t sum, tcp;

	(void)st;
	for (tcp = 0; tcp < 2; tcp++) {
		make(&r, true, tcp, 2, 1000);
		memset(r.payload, 0, 2);
		memcpy(frame, r.head, r.head_len);
		memset(frame + r.head_len, 0, 2);
		sum = plain_sum(frame + 34, r.head_len + 2 - 34);
		st_be16(frame + r.head_len, sum); /* makes the total zero */
		segment_finish(frame, r.head_len + 2, &r.n);
		sum = ld_be16(frame + 34 + r.n.csum_offset);
		assert_int_equal(sum, tcp ? 0 : 0xffff);
	}
}

static void test_nothing_to_do(void **st)
{
	uint8_t frame[64], was[64];
	struct iovec v = { frame, 64 };
	struct note n = { .csum_start = 14, .csum_offset = 2 };

	(void)st;
	memset(frame, 0x11, 64);
	memcpy(was, frame, 64);
	segment_finish(frame, 64, &n);
	segment_finish_iov(&v, 1, 64, &n);
	segment_head(frame, frame, 14, &n, 0, 50, 50);
	assert_memory_equal(frame, was, 64);
	/* promises beyond the frame are not kept */
	n.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	n.csum_start = 61;
	segment_finish(frame, 64, &n);
	segment_finish_iov(&v, 1, 64, &n);
	n.csum_start = 65535;
	n.csum_offset = 65535;
	segment_finish(frame, 64, &n);
	segment_finish_iov(&v, 1, 64, &n);
	assert_memory_equal(frame, was, 64);
}

/* Notes that do not fit a run: nothing comes of it, nothing is touched */
static void test_split_bad(void **st)
{
	volatile size_t one = 1; /* not for the compiler to wonder about */
	uint8_t *frame, *got;
	unsigned i;

	(void)st;
	for (i = 0; i < 6; i++) {
		make(&r, true, true, 100, 10);
		frame = malloc(r.head_len + 100);
		got = malloc(one);
		memcpy(frame, r.head, r.head_len);
		memcpy(frame + r.head_len, r.payload, 100);
		if (i == 0)
			r.n.gso_size = 0;
		else if (i == 1)
			r.n.hdr_len = (uint16_t)(r.head_len + 100);
		else if (i == 2)
			r.n.hdr_len = 53;
		else if (i == 3)
			r.n.csum_start = 13;
		else if (i == 4)
			frame[14] = 0x4f;
		else
			r.n.csum_offset = 60000;
		assert_int_equal(
			segment_split(got, frame, r.head_len + 100, &r.n, 0),
			0);
		free(frame);
		free(got);
	}
}

static void test_note_ok(void **st)
{
	struct note n = { 0 };

	(void)st;
	assert_true(segment_note_ok(&n, 14));
	n.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	assert_false(segment_note_ok(&n, 100));
	n.csum_start = 34;
	n.csum_offset = 16;
	assert_true(segment_note_ok(&n, 52));
	assert_false(segment_note_ok(&n, 51));
	n.csum_offset = 65535;
	n.csum_start = 65535;
	assert_false(segment_note_ok(&n, 1000));
	n = (struct note){ .gso_type = 1 };
	assert_false(segment_note_ok(&n, 1000));
	n.gso_size = 1;
	assert_true(segment_note_ok(&n, 1000));
	n.gso_type = 1 | 0x80;
	assert_true(segment_note_ok(&n, 1000));
	n.gso_type = 4;
	assert_true(segment_note_ok(&n, 1000));
	n.gso_type = 5;
	assert_true(segment_note_ok(&n, 1000));
	n.gso_type = 3;
	assert_true(segment_note_ok(&n, 1000));
	n.gso_type = 0x80;
	assert_false(segment_note_ok(&n, 1000));
	n.gso_type = 5 | 0x80;
	assert_false(segment_note_ok(&n, 1000));
	n.gso_type = 2;
	assert_false(segment_note_ok(&n, 1000));
	n.gso_type = 6;
	assert_false(segment_note_ok(&n, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_zero_sum),
		cmocka_unit_test(test_nothing_to_do),
		cmocka_unit_test(test_split_bad),
		cmocka_unit_test(test_note_ok),
	};

	csum_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
