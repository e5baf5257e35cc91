/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ns - the other network namespace, for modules that need sockets there
 *
 * A socket belongs to the namespace where it was made and can be used from
 * anywhere.  So little has to be done inside, and it is done by a function that
 * somebody who may enter the namespace runs for us; that shares our memory and
 * descriptors.  Entering costs as much as making many sockets, so they are made
 * in advance: a few at first, and with each visit twice as many.
 */
#ifndef NS_H
#define NS_H

#include "sock.h"

enum { NS_POOL_MIN = 8, NS_POOL = 64 }; /* sockets made at one visit: at least,
					   at most */
enum ns_kind { NS_TCP, NS_UDP, NS_KINDS };

struct ns {
	/* Run @fn inside the namespace; returns its result, or -errno if it did
	 * not run */
	int (*run)(void *owner, int (*fn)(void *arg), void *arg);
	void *owner;
	struct sock_env env; /* for sockets made there, without --outbound */
	struct ns_pool {
		int fd[NS_POOL];
		unsigned n, size; /* sockets there now, and after the last
				     visit */
	} pool[NS_KINDS][2]; /* IPv4, IPv6 */
};

/* ns_socket - take a fresh socket of the namespace, visiting it if there is
 * none in store; the descriptor or -errno */
int ns_socket(struct ns *n, enum ns_kind kind, bool v4);

/* ns_refill - visit the namespace if few sockets are left in store: to be
 * called when nobody waits for the result */
void ns_refill(struct ns *n, enum ns_kind kind, bool v4);

/* ns_run - run @fn inside the namespace with @arg, see @run */
static inline int ns_run(const struct ns *n, int (*fn)(void *arg), void *arg)
{
	return n->run(n->owner, fn, arg);
}

#endif /* NS_H */
