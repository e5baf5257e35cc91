/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostfwd - the requests of slirp4netns' API socket: add, list and remove ports
 *
 * Text in, text out.  What is forwarded is kept here, by the numbers that
 * clients know it by; who owns it puts it into force.
 */
#ifndef HOSTFWD_H
#define HOSTFWD_H

#include "addr.h"
#include "util.h"

enum {
	HOSTFWD_MAX = 255,	/* as many as there can be rules */
	HOSTFWD_REQUEST = 4096, /* bytes; one has to be shorter */
	HOSTFWD_ANSWER = 1 << 17, /* what all entries take, twice */
	HOSTFWD_WHY = 256,
};

struct hostfwd_entry {
	unsigned id; /* of 1 and above, never given twice */
	bool udp;
	struct addr host, guest;
	uint16_t host_port, guest_port;
};

/* Seam: put @e into force, or out of it.  False: it could not be, @why says so. */
typedef bool hostfwd_fn(void *owner, const struct hostfwd_entry *e, bool add,
			char why[HOSTFWD_WHY]);

struct hostfwd {
	hostfwd_fn *change;
	void *owner;
	struct addr guest; /* where requests do not say */
	unsigned n, last_id;
	struct hostfwd_entry entry[HOSTFWD_MAX];
};

/* hostfwd_request - the answer to the @len bytes @text
 * Returns its length. */
size_t hostfwd_request(struct hostfwd *h, const char *text, size_t len,
		       char answer[HOSTFWD_ANSWER]);

#endif /* HOSTFWD_H */
