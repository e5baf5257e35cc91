/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * netlink - requests, dumps and notifications of the kernel
 *
 * A struct netlink belongs to the namespace in which it was opened and can be
 * used from any other.  Dumps of any size are handled.  0 or -errno.
 */
#ifndef NETLINK_H
#define NETLINK_H

#include "addr.h"

#include <linux/netlink.h>
#include <stddef.h>

struct netlink {
	int fd;
	uint32_t seq;
	bool torn; /* the dump that goes on in steps: a table changed meanwhile */
};

int nl_open(struct netlink *n);
void nl_close(struct netlink *n);

/* Room for every request but copied routes, which are sent as they came */
struct nl_request {
	struct nlmsghdr h;
	uint8_t body[256];
};

/* nl_begin - a request of @type with its @fixed header
 * nl_put - an attribute more; nl_append - to any message that has room behind it */
void nl_begin(struct nl_request *r, unsigned type, unsigned flags,
	      const void *fixed, size_t size);
void nl_append(void *message, unsigned type, const void *data, size_t len);
void nl_put(struct nl_request *r, unsigned type, const void *data, size_t len);
void nl_put_u32(struct nl_request *r, unsigned type, uint32_t v);
void nl_put_addr(struct nl_request *r, unsigned type, const struct addr *a);

typedef void nl_fn(void *arg, const struct nlmsghdr *h);

enum { NL_ANSWER = 64 << 10 }; /* the kernel fills at most 32 KiB at a time */

/* nl_talk - send @h, and give each message of the answer to @fn
 * -EAGAIN: a dump that was not consistent, to be repeated. */
int nl_talk(struct netlink *n, struct nlmsghdr *h, nl_fn *fn, void *arg);

/* nl_tell - a request that is only acknowledged */
int nl_tell(struct netlink *n, struct nl_request *r);

/* nl_ask - a dump of a family, with nl_talk() */
int nl_ask(struct netlink *n, unsigned type, bool v4, nl_fn *fn, void *arg);

/* nl_dump_begin - ask for all that @type has of @family, AF_UNSPEC: of each
 * nl_dump_step - give the next 32 KiB of it to @fn, without waiting
 * -EINPROGRESS: there is more; 0, or -EAGAIN as above.  No other request before
 * that. */
int nl_dump_begin(struct netlink *n, unsigned type, unsigned family);
int nl_dump_step(struct netlink *n, nl_fn *fn, void *arg);

/* A gathered dump */
struct nl_store {
	uint8_t *base;
	size_t len, size;
	bool full; /* no memory: what did not fit is missing */
};

/* nl_dump - gather all that @type has of a family, until nl_drop() */
int nl_dump(struct netlink *n, struct nl_store *s, unsigned type, bool v4);
void nl_drop(struct nl_store *s);

/* nl_next - the message at offset *@at, NULL behind the last one */
struct nlmsghdr *nl_next(const struct nl_store *s, size_t *at);

/* nl_listen - a socket that reports changes of @groups, RTMGRP_...
 * Returns its descriptor, non-blocking, or -errno. */
int nl_listen(unsigned groups);

/* nl_read - give what a socket of nl_listen() has to say to @fn
 * -ENOBUFS: changes were lost. */
int nl_read(int fd, nl_fn *fn, void *arg);

#endif /* NETLINK_H */
