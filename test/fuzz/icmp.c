/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: icmp emit flow egress fwd dnsanswer rules sock neigh tap pcap loop timer segment packet checksum iov addrset addr util log */
/* A frame of the guest: what it says of a packet of ours, and what we say of a
 * protocol that is not carried. */
#include "answer.h"
#include "icmp.h"

#include <assert.h>

static bool is_flow(const struct packet *p, const struct tuple *t)
{
	bool v4 = p->kind == PACKET_ICMP4;

	return t->proto == IPPROTO_TCP || t->proto == IPPROTO_UDP ||
	       (t->proto == (v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) &&
		t->sport == t->dport);
}

static void refused(const struct packet *p)
{
	struct tuple t;

	if (!icmp_refused(p, &t))
		return;
	assert(is_flow(p, &t));
	assert(addr_is_v4(&t.src) == (p->kind == PACKET_ICMP4) ||
	       p->kind == PACKET_ICMP6);
}

static void too_long(const struct packet *p)
{
	struct tuple t;
	uint32_t seq;
	unsigned mtu;

	if (!icmp_too_long(p, &t, &seq, &mtu))
		return;
	assert(is_flow(p, &t) && mtu >= 68);
	assert(t.proto == IPPROTO_TCP || !seq);
	assert(!icmp_refused(p, &t));
}

static void unknown(const struct packet *p)
{
	const struct lan lan = { .v4 = true };
	const struct seen seen = { .v4 = p->t.src };
	struct answer a;
	uint8_t *out = malloc(ANSWER_MAX);

	a.body = wr_init(out, ANSWER_MAX);
	if (icmp_unknown(&lan, &seen, p, &a)) {
		assert(wr_ok(&a.body) && a.body.len >= 8 + IP4_HEAD);
		assert(addr_is_unicast(&a.head.t.dst));
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct packet p;
	struct frame f = { .iov = &f.one, .iov_cnt = 1, .len = size };
	uint8_t *copy = malloc(size ? size : 1);
	enum verdict v;

	memcpy(copy, data, size);
	f.one = (struct iovec){ copy, size };
	v = packet_parse(&f, &p);
	if (v == PASS) {
		refused(&p);
		too_long(&p);
	} else if (v == DROP_PROTOCOL) {
		unknown(&p);
	}
	free(copy);
	return 0;
}
