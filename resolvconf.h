/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * resolvconf - reads resolvers and search domains from a resolv.conf(5)
 */
#ifndef RESOLVCONF_H
#define RESOLVCONF_H

#include "lan.h"

enum {
	RESOLVCONF_LINE = 2048,	   /* longest line; the rest of it is ignored */
	RESOLVCONF_MAX = 4 << 20, /* most bytes of a file, which is read in one
				     go */
};

struct resolvconf {
	struct addr ns[2][LAN_DNS]; /* IPv4, IPv6; in order, without
				       duplicates */
	unsigned n[2];
	char search[LAN_SEARCH][LAN_NAME];
	unsigned search_n;

	char line[RESOLVCONF_LINE]; /* the line being read */
	size_t len;
	bool cut; /* the line is longer than @line */
};

/* resolvconf_begin, resolvconf_add, resolvconf_end - parse a text that comes in
 * pieces
 * The last "search" or "domain" line counts, and a domain is a list of one.
 * What is invalid or too much is ignored. */
void resolvconf_begin(struct resolvconf *r);
void resolvconf_add(struct resolvconf *r, const char *text, size_t len);
void resolvconf_end(struct resolvconf *r);

/* resolvconf_read - parse the file @fd from its start, whatever its position; 0
 * or -errno */
int resolvconf_read(struct resolvconf *r, int fd);

#endif /* RESOLVCONF_H */
