/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ns - the other network namespace, for those who need sockets there
 *
 * A socket belongs to the namespace in which it was made and can be used from
 * anywhere: so little has to be done inside, and it is done by a function that
 * somebody who may enter runs for us.  It shares our memory and descriptors.
 * To enter costs as much as many sockets, so they are made in advance: a few at
 * first, and with each visit twice as many.
 */
#ifndef NS_H
#define NS_H

#include "sock.h"

enum { NS_POOL_MIN = 8, NS_POOL = 64 }; /* sockets made at one visit */
enum ns_kind { NS_TCP, NS_UDP, NS_KINDS };

struct ns {
	/* Run @fn inside: what it returned, or -errno if it did not run */
	int (*run)(void *owner, int (*fn)(void *arg), void *arg);
	void *owner;
	struct sock_env env; /* for sockets made there: no --outbound */
	struct ns_pool {
		int fd[NS_POOL];
		unsigned n, size; /* there are, there were after a visit */
	} pool[NS_KINDS][2]; /* IPv4, IPv6 */
};

/* ns_socket - a fresh socket of the namespace, or -errno */
int ns_socket(struct ns *n, enum ns_kind kind, bool v4);

/* ns_refill - visit if there are few left: better when nobody waits for it */
void ns_refill(struct ns *n, enum ns_kind kind, bool v4);

static inline int ns_run(const struct ns *n, int (*fn)(void *arg), void *arg)
{
	return n->run(n->owner, fn, arg);
}

#endif /* NS_H */
