/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dnsanswer - which addresses a DNS message says that a name has (RFC 1035)
 */
#ifndef DNSANSWER_H
#define DNSANSWER_H

#include "addr.h"

enum {
	DNSANSWER_NAME = 256,  /* a name as text, with its end */
	DNSANSWER_ADDRS = 64, /* more are not looked at */
};

struct dnsanswer {
	/* The name that was asked for: lower case, no dot at the end, nothing but
	 * letters, digits, hyphens and underscores between dots */
	char name[DNSANSWER_NAME];
	uint32_t ttl_s; /* the least of all that leads to an address */
	unsigned n;
	struct addr addr[DNSANSWER_ADDRS];
};

/* dnsanswer_read - what the answers of @p say of the name in its only question
 * Aliases (CNAME) are followed.  False if it is no such message, or if there is no
 * address. */
bool dnsanswer_read(struct dnsanswer *a, const void *p, size_t len);

#endif /* DNSANSWER_H */
