/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: addr --unwind 2 --slice-formula
 *
 * An extension header of IPv6, or a fragment's, from any state in which one can begin:
 * the next one begins behind it, in the copy and in the packet, so any number of them
 * does. */
#include "prove.h"

#include "../../packet.c"

size_t iov_read(const struct iovec *iov, unsigned cnt, size_t off, void *dst,
		size_t len)
{
	(void)iov, (void)cnt, (void)off, (void)dst, (void)len;
	return 0;
}

int main(void)
{
	struct packet p;
	struct parse s = { .p = &p, .end = any_size() };
	size_t from = any_size();

	ASSUME(s.end <= ETH_HEAD + IP6_HEAD + UINT16_MAX);
	ASSUME(p.hdr_len <= PACKET_HDR && p.hdr_len <= s.end);
	ASSUME(from >= ETH_HEAD + IP6_HEAD && from <= p.hdr_len);
	p.l3_off = ETH_HEAD;
	s.in = rd_init(p.hdr + from, p.hdr_len - from);
	if (any_bool()) {
		/* What is behind a fragment's header is packet.c's */
		s.fragment = any_bool();
		ASSUME(from + IP6_FRAG_HEAD > p.hdr_len ||
		       !(ld_be16(p.hdr + from + 2) & (IP6_MORE | IP6_OFFSET)));
		if (parse_frag6(&s) != PASS)
			return 0;
	} else {
		if (skip_extension(&s) != PASS)
			return 0;
		SHOW(p.proto_off == from - ETH_HEAD);
	}
	SHOW(rd_ok(&s.in) && at(&s) >= from + 8);
	SHOW(at(&s) <= p.hdr_len && at(&s) <= s.end);
	return 0;
}
