/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr log util */
/* The stream of passt's version 2, byte for byte */
#include "migrate_stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static uint8_t buf[512];

static struct addr addr(const char *text)
{
	struct addr a;

	assert_true(addr_parse(text, &a));
	return a;
}

static void head(void **state)
{
	static const char want[] = "\xb1\xbb\x1d\x1b\x0b\xb1\xd1\xb0"
				   "\0\0\0\2\0\0\0\2";
	struct wr w = wr_init(buf, sizeof(buf));

	(void)state;
	stream_put_head(&w);
	assert_int_equal(w.len, STREAM_HEAD);
	assert_memory_equal(buf, want, STREAM_HEAD);
}

static int version(uint32_t v, uint32_t oldest)
{
	struct wr w = wr_init(buf, sizeof(buf));
	struct rd r = rd_init(buf, STREAM_HEAD);

	wr_be64(&w, 0xb1bb1d1b0bb1d1b0);
	wr_be32(&w, v);
	wr_be32(&w, oldest);
	return stream_get_head(&r);
}

static void versions(void **state)
{
	struct rd r = rd_init(buf, STREAM_HEAD - 1);

	(void)state;
	assert_int_equal(version(2, 2), 0);
	assert_int_equal(version(9, 2), 0);
	assert_int_equal(version(9, 1), 0);
	assert_int_equal(version(9, 3), -ENOTSUP);
	assert_int_equal(version(1, 1), -ENOTSUP);
	assert_int_equal(version(0, 0), -EPROTO);
	assert_int_equal(version(2, 0), -EPROTO);
	assert_int_equal(version(2, 3), -EPROTO);
	assert_int_equal(stream_get_head(&r), -EPROTO);
	buf[0]++;
	r = rd_init(buf, STREAM_HEAD);
	assert_int_equal(stream_get_head(&r), -EPROTO);
}

static void seen(void **state)
{
	static const char want[] = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x15"
				   "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x17"
				   "\x0a\0\2\x0f"
				   "\x52\x54\0\x12\x34\x56";
	struct seen s = { .v4 = addr("10.0.2.15"), .v6 = addr("2001:db8::15"),
			  .ll = addr("fe80::17"),
			  .mac = { { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } } }, t;
	struct wr w = wr_init(buf, sizeof(buf));
	struct rd r = rd_init(buf, STREAM_SEEN);

	(void)state;
	stream_put_seen(&w, &s);
	assert_int_equal(w.len, STREAM_SEEN);
	assert_memory_equal(buf, want, STREAM_SEEN);
	stream_get_seen(&r, &t);
	assert_true(rd_ok(&r));
	/* Not as structs: those have gaps */
	memset(buf, 0, STREAM_SEEN);
	w = wr_init(buf, sizeof(buf));
	stream_put_seen(&w, &t);
	assert_memory_equal(buf, want, STREAM_SEEN);
}

static struct tcp_image image(void)
{
	struct tcp_image i = {
		.side = {
			{ .ours = addr("192.0.2.1"), .theirs = addr("10.0.2.15"),
			  .our_port = 443, .their_port = 40000, .pif = PIF_TAP,
			  .fd = -1 },
			{ .ours = addr("198.51.100.7"),
			  .theirs = addr("192.0.2.1"), .our_port = 50123,
			  .their_port = 443, .pif = PIF_HOST, .fd = -1 },
		},
		.snd_una = 0x01020304, .snd_max = 0x01020314,
		.rcv_nxt = 0x0a0b0c0d, .rcv_acked = 0x0a0b0c0c,
		.rcv_taken = 0x0a0b0000, .snd_wnd = 0x1122, .rcv_wnd = 0x3344,
		.mss = 1461, .snd_shift = 7, .rcv_shift = 8, .retries = 3,
		.eof = true, .guest_fin = true,
	};

	return i;
}

static void flow(void **state)
{
	static const uint16_t ports[] = { 443, 40000, 50123, 443 };
	static const char want[] =
		"\2\1"
		"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"
		"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\2\x0f"
		"PPPP"
		"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\7"
		"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"
		"PPPP"
		"\3\7\x8" /* retries, scales */
		"\x2c" /* established, both FINs received */
		"\0\0\5\xb4" /* 1460 */
		"\0\0\2\0" /* a quarter KiB each */
		"\x98\x0c" /* ACKs are due, and where our send queue begins */
		"\x11\x22\x33\x44"
		"\1\2\3\x14\1\2\3\4\x0a\x0b\x0c\x0d\x0a\x0b\x0c\x0c"
		"\x0a\x0b\0\0";
	struct tcp_image i = image(), j;
	struct wr w = wr_init(buf, sizeof(buf));
	struct rd r = rd_init(buf, STREAM_FLOW);
	uint8_t bytes[STREAM_FLOW];

	(void)state;
	/* These are in the order of the machine */
	memcpy(bytes, want, sizeof(bytes));
	memcpy(bytes + 34, &ports[0], 4);
	memcpy(bytes + 70, &ports[2], 4);
	stream_put_flow(&w, &i);
	assert_int_equal(w.len, STREAM_FLOW);
	assert_memory_equal(buf, bytes, STREAM_FLOW);
	stream_get_flow(&r, &j);
	assert_true(rd_ok(&r));
	/* Not as structs: those have gaps */
	w = wr_init(buf, sizeof(buf));
	stream_put_flow(&w, &j);
	assert_memory_equal(buf, bytes, STREAM_FLOW);
	assert_int_equal(j.mss, 1460);
}

/* All of what may have ended */
static void endings(void **state)
{
	unsigned n;

	(void)state;
	for (n = 0; n < 32; n++) {
		struct tcp_image i = image(), j;
		struct wr w = wr_init(buf, sizeof(buf));
		struct rd r = rd_init(buf, STREAM_FLOW);
		uint8_t want = 4;

		i.eof = n & 1;
		i.shut = n & 2;
		i.guest_fin = n & 4;
		i.fin_sent = n & 8;
		if (n & 16)
			i.snd_una = i.snd_max;
		want |= (n & 1 ? 8 : 0) | (n & 2 ? 16 : 0) |
			(n & 4 ? 32 : 0) | (n & 8 ? 64 : 0) |
			((n & 24) == 24 ? 128 : 0);
		stream_put_flow(&w, &i);
		assert_int_equal(buf[77], want);
		stream_get_flow(&r, &j);
		assert_int_equal(i.eof, j.eof);
		assert_int_equal(i.shut, j.shut);
		assert_int_equal(i.guest_fin, j.guest_fin);
		assert_int_equal(i.fin_sent, j.fin_sent);
	}
}

static void sock(void **state)
{
	static const char want[] =
		"\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\1\0\0\0\5\0\0\5\xb4"
		"\0\0\0\7\0\0\0\x8\0\0\0\x9\0\0\0\xa\0\0\0\xb\0\0\0\xc"
		"\7\x8\1\7";
	struct sock_image s = { .snd_seq = 1, .rcv_seq = 2, .snd_len = 3,
				.unsent = 1, .rcv_len = 5, .mss = 1460,
				.stamp = 7, .snd_wl1 = 8, .snd_wnd = 9,
				.max_wnd = 10, .rcv_wnd = 11, .rcv_wup = 12,
				.snd_shift = 7, .rcv_shift = 8, .state = 1,
				.options = 7 }, t = { 0 };
	struct wr w = wr_init(buf, sizeof(buf));
	struct rd r = rd_init(buf, STREAM_SOCK);

	(void)state;
	stream_put_sock(&w, &s);
	assert_int_equal(w.len, STREAM_SOCK);
	assert_memory_equal(buf, want, STREAM_SOCK);
	assert_true(stream_get_sock(&r, &t));
	memset(buf, 0, STREAM_SOCK);
	w = wr_init(buf, sizeof(buf));
	stream_put_sock(&w, &t);
	assert_memory_equal(buf, want, STREAM_SOCK);
}

/* What passt writes: one too much, where a FIN was sent */
static void fin_passed(void **state)
{
	static const uint8_t states[] = { SOCK_ESTABLISHED, SOCK_FIN_WAIT1,
					  SOCK_FIN_WAIT2, SOCK_LAST_ACK };
	unsigned n;

	(void)state;
	for (n = 0; n < 2 * ARRAY_SIZE(states); n++) {
		struct tcp_image i = image(), j;
		struct wr w = wr_init(buf, sizeof(buf));
		struct rd r = rd_init(buf, STREAM_FLOW + STREAM_SOCK);

		i.sock.state = states[n / 2];
		i.sock.snd_seq = 1000;
		stream_put_flow(&w, &i);
		stream_put_sock(&w, &i.sock);
		if (n & 1)
			buf[86] &= 0x7f;
		stream_get_flow(&r, &j);
		assert_true(stream_get_sock(&r, &j.sock));
		assert_int_equal(j.sock.snd_seq,
				 (n & 1) && n > 1 ? 999 : 1000);
		assert_false(j.sock.fin_passed);
	}
}

static bool takes(struct sock_image s)
{
	struct wr w = wr_init(buf, sizeof(buf));
	struct rd r = rd_init(buf, STREAM_SOCK);

	stream_put_sock(&w, &s);
	return stream_get_sock(&r, &s);
}

static void limits(void **state)
{
	struct sock_image s = { .state = 1, .snd_len = SOCK_QUEUE_MAX,
				.unsent = SOCK_QUEUE_MAX,
				.rcv_len = SOCK_QUEUE_MAX };
	struct rd r = rd_init(buf, STREAM_SOCK - 1);

	(void)state;
	assert_true(takes(s));
	assert_false(stream_get_sock(&r, &s));
	s = (struct sock_image){ .state = 1, .snd_len = SOCK_QUEUE_MAX + 1 };
	assert_false(takes(s));
	s = (struct sock_image){ .state = 1, .rcv_len = SOCK_QUEUE_MAX + 1 };
	assert_false(takes(s));
	s = (struct sock_image){ .state = 1, .snd_len = 5, .unsent = 6 };
	assert_false(takes(s));
	/* What could not be read has no numbers */
	s = (struct sock_image){ .snd_len = UINT32_MAX, .unsent = 9 };
	assert_true(takes(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head),
		cmocka_unit_test(versions),
		cmocka_unit_test(seen),
		cmocka_unit_test(flow),
		cmocka_unit_test(endings),
		cmocka_unit_test(sock),
		cmocka_unit_test(fin_passed),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
