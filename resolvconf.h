/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * resolvconf - what a resolv.conf(5) says of resolvers and search domains
 */
#ifndef RESOLVCONF_H
#define RESOLVCONF_H

#include "lan.h"

enum {
	RESOLVCONF_LINE = 2048,	   /* as much of a line is looked at */
	RESOLVCONF_MAX = 4 << 20, /* and of a file: it is read in one go */
};

struct resolvconf {
	struct addr ns[2][LAN_DNS]; /* IPv4, IPv6; each one once, in order */
	unsigned n[2];
	char search[LAN_SEARCH][LAN_NAME];
	unsigned search_n;

	char line[RESOLVCONF_LINE]; /* the one that is being read */
	size_t len;
	bool cut; /* it is longer than that */
};

/* resolvconf_begin, resolvconf_add, resolvconf_end - read a text that comes in
 * pieces.  The last "search" or "domain" line counts, a domain is a list of one.
 * What is nonsense or too much is passed over. */
void resolvconf_begin(struct resolvconf *r);
void resolvconf_add(struct resolvconf *r, const char *text, size_t len);
void resolvconf_end(struct resolvconf *r);

/* resolvconf_read - all of the file @fd, wherever it is read; 0 or -errno */
int resolvconf_read(struct resolvconf *r, int fd);

#endif /* RESOLVCONF_H */
