/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dnsanswer - reads from a DNS message which addresses a name has (RFC 1035)
 */
#ifndef DNSANSWER_H
#define DNSANSWER_H

#include "addr.h"

enum {
	DNSANSWER_NAME = 256,  /* longest name as text, with its NUL */
	DNSANSWER_ADDRS = 64, /* most addresses; others are ignored */
};

struct dnsanswer {
	/* The name in the question: lower case, without a dot at its end, of
	 * nothing but letters, digits, hyphens and underscores between dots */
	char name[DNSANSWER_NAME];
	uint32_t ttl_s; /* lowest TTL of all records that lead to an address */
	unsigned n;
	struct addr addr[DNSANSWER_ADDRS];
};

/* dnsanswer_read - read message @p of @len bytes: what its answers say of the
 * name in its only question
 * Aliases (CNAME) are followed.  Returns false if it is no such message or has
 * no address. */
bool dnsanswer_read(struct dnsanswer *a, const void *p, size_t len);

#endif /* DNSANSWER_H */
