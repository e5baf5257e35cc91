/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostfwd - requests of slirp4netns' API socket: add, list and remove forwarded
 * ports
 *
 * Text in, text out.  The entries are kept here with the numbers by which
 * clients know them; the owner puts them into force.
 */
#ifndef HOSTFWD_H
#define HOSTFWD_H

#include "addr.h"
#include "util.h"

enum {
	HOSTFWD_MAX = 255,	/* as many as there can be rules */
	HOSTFWD_REQUEST = 4096, /* a request must be shorter, in bytes */
	HOSTFWD_ANSWER = 1 << 17, /* twice what all entries take */
	HOSTFWD_WHY = 256,
};

struct hostfwd_entry {
	unsigned id; /* 1 or more, never used twice */
	bool udp;
	struct addr host, guest;
	uint16_t host_port, guest_port;
};

/* Seam: put @e into force (@add) or out of it.  Returns false, with the reason
 * in @why, if that failed. */
typedef bool hostfwd_fn(void *owner, const struct hostfwd_entry *e, bool add,
			char why[HOSTFWD_WHY]);

struct hostfwd {
	hostfwd_fn *change;
	void *owner;
	struct addr guest; /* the guest's address if a request has none */
	unsigned n, last_id;
	struct hostfwd_entry entry[HOSTFWD_MAX];
};

/* hostfwd_request - carry out the request @text of @len bytes and write the
 * answer
 * Returns the answer's length. */
size_t hostfwd_request(struct hostfwd *h, const char *text, size_t len,
		       char answer[HOSTFWD_ANSWER]);

#endif /* HOSTFWD_H */
