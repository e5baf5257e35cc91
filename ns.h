/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ns - the other network namespace, for those who need sockets there
 *
 * A socket belongs to the namespace in which it was made and can be used from
 * anywhere: so little has to be done inside, and it is done by a function that
 * somebody who may enter runs for us.  It shares our memory and descriptors.
 */
#ifndef NS_H
#define NS_H

#include "sock.h"

struct ns {
	/* Run @fn inside: what it returned, or -errno if it did not run */
	int (*run)(void *owner, int (*fn)(void *arg), void *arg);
	void *owner;
	struct sock_env env; /* for sockets made there: no --outbound */
};

static inline int ns_run(const struct ns *n, int (*fn)(void *arg), void *arg)
{
	return n->run(n->owner, fn, arg);
}

#endif /* NS_H */
