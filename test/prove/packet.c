/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: addr --unwind 6 --slice-formula
 *
 * A frame of any bytes and length, as long as frag.c makes them, of IPv6 one of up to
 * 90, which is four extension headers: what is described lies in the frame, and headers
 * in the copy.  For any number of extension headers extension.c has one more of them,
 * from any state. */
#include "prove.h"

#include "../../packet.c"

enum { LONGEST6 = ETH_HEAD + IP6_HEAD + 2 * 8 + TCP_HEAD };

/* The copy is in place of the frame, which is read once */
size_t iov_read(const struct iovec *iov, unsigned cnt, size_t off, void *dst,
		size_t len)
{
	uint8_t any[PACKET_HDR];

	(void)iov, (void)cnt;
	SHOW(!off && len <= PACKET_HDR);
	ASSUME(ld_be16(any + 12) != ETH_P_IPV6 || len <= LONGEST6);
	memcpy(dst, any, PACKET_HDR);
	return len;
}

int main(void)
{
	struct frame f = { .len = any_size() };
	struct packet p;
	enum verdict v;

	ASSUME(f.len <= ETH_HEAD + IP6_HEAD + UINT16_MAX);
	f.note.gso_type = (uint8_t)any_unsigned();
	f.note.gso_size = (uint16_t)any_unsigned();
	v = packet_parse(&f, &p);
	if (v == DROP_EXTENSION)
		return 0;
	SHOW(p.hdr_len <= PACKET_HDR && p.hdr_len <= f.len);
	if (v != PASS && v != DROP_FRAGMENT)
		return 0;
	SHOW(p.payload_off + p.payload_len <= f.len);
	if (v == PASS)
		SHOW(p.l4_off <= p.hdr_len && p.l4_off <= p.payload_off);
	if (v == PASS && p.gso_size)
		SHOW(p.gso_size < p.payload_len);
	return 0;
}
