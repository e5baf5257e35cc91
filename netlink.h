/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * netlink - requests to the kernel, dumps and notifications
 *
 * A struct netlink belongs to the namespace in which it was opened and can be
 * used from any other.  Dumps of any size are handled.  Functions that return
 * int give 0 or -errno.
 */
#ifndef NETLINK_H
#define NETLINK_H

#include "addr.h"

#include <linux/netlink.h>
#include <stddef.h>

struct netlink {
	int fd;
	uint32_t seq;
	bool torn; /* the table changed during the dump that is taken in
		      steps */
};

/* nl_open - open a netlink socket in the current namespace
 * nl_close - close it */
int nl_open(struct netlink *n);
void nl_close(struct netlink *n);

/* Room for every request except copied routes, which are sent as they were
 * received */
struct nl_request {
	struct nlmsghdr h;
	uint8_t body[256];
};

/* nl_begin - begin a request of @type with the fixed header @fixed of @size
 * bytes
 * nl_put, nl_put_u32, nl_put_addr - add an attribute to it
 * nl_append - add an attribute to any message, which has room behind it */
void nl_begin(struct nl_request *r, unsigned type, unsigned flags,
	      const void *fixed, size_t size);
void nl_append(void *message, unsigned type, const void *data, size_t len);
void nl_put(struct nl_request *r, unsigned type, const void *data, size_t len);
void nl_put_u32(struct nl_request *r, unsigned type, uint32_t v);
void nl_put_addr(struct nl_request *r, unsigned type, const struct addr *a);

typedef void nl_fn(void *arg, const struct nlmsghdr *h);

enum { NL_ANSWER = 64 << 10 }; /* bytes of a buffer for answers: the kernel
				  fills at most 32 KiB */

/* nl_talk - send request @h and call @fn with each message of the answer; waits
 * for it
 * Returns 0, the kernel's error, or -EAGAIN for a dump that was inconsistent
 * and has to be repeated. */
int nl_talk(struct netlink *n, struct nlmsghdr *h, nl_fn *fn, void *arg);

/* nl_tell - send a request that is only acknowledged */
int nl_tell(struct netlink *n, struct nl_request *r);

/* nl_ask - take a dump of one family, as nl_talk() does */
int nl_ask(struct netlink *n, unsigned type, bool v4, nl_fn *fn, void *arg);

/* nl_dump_begin - request a dump of @type for @family, or for all with
 * AF_UNSPEC
 * nl_dump_step - call @fn for the next messages of it, up to 32 KiB, without
 * waiting: returns -EINPROGRESS if there are more, 0, -EAGAIN as nl_talk(), or
 * -errno
 * No other request may be sent before the dump is complete. */
int nl_dump_begin(struct netlink *n, unsigned type, unsigned family);
int nl_dump_step(struct netlink *n, nl_fn *fn, void *arg);

/* A dump that was gathered in memory */
struct nl_store {
	uint8_t *base;
	size_t len, size;
	bool full; /* out of memory: the rest is missing */
};

/* nl_dump - gather a dump of @type for one family in @s, to be freed by
 * nl_drop() in any case
 * A dump that stays inconsistent after several attempts is taken as it is. */
int nl_dump(struct netlink *n, struct nl_store *s, unsigned type, bool v4);
void nl_drop(struct nl_store *s);

/* nl_next - the message at offset *@at, which then moves on; NULL behind the
 * last one */
struct nlmsghdr *nl_next(const struct nl_store *s, size_t *at);

/* nl_listen - make a non-blocking socket that reports changes of @groups
 * (RTMGRP_*)
 * Returns its descriptor or -errno. */
int nl_listen(unsigned groups);

/* nl_read - call @fn for every message that a socket of nl_listen() has
 * -ENOBUFS means that changes were lost. */
int nl_read(int fd, nl_fn *fn, void *arg);

#endif /* NETLINK_H */
