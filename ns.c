/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ns - the other network namespace, for those who need sockets there
 *
 * Nothing is made before the first socket is asked for.
 */
#include "ns.h"

#include "util.h"

#include <errno.h>

struct fill {
	struct ns *ns;
	enum ns_kind kind;
	bool v4;
};

static struct ns_pool *pool_of(struct ns *n, enum ns_kind kind, bool v4)
{
	return &n->pool[kind][!v4];
}

/* Inside */
static int fill(void *arg)
{
	const struct fill *a = arg;
	struct ns_pool *p = pool_of(a->ns, a->kind, a->v4);
	struct addr any = addr_any(a->v4);
	int fd;

	p->size = MIN(MAX(p->size * 2, (unsigned)NS_POOL_MIN),
		      (unsigned)NS_POOL);
	while (p->n < p->size) {
		fd = a->kind == NS_TCP ? sock_tcp(&a->ns->env, &any) :
					 sock_udp_fresh(a->v4);
		if (fd < 0)
			return fd;
		p->fd[p->n++] = fd;
	}
	return 0;
}

static int refill(struct ns *n, enum ns_kind kind, bool v4)
{
	struct fill a = { n, kind, v4 };

	return ns_run(n, fill, &a);
}

int ns_socket(struct ns *n, enum ns_kind kind, bool v4)
{
	struct ns_pool *p = pool_of(n, kind, v4);
	int err = p->n ? 0 : refill(n, kind, v4);

	/* What a visit that failed has made is good */
	return p->n ? p->fd[--p->n] : err;
}

void ns_refill(struct ns *n, enum ns_kind kind, bool v4)
{
	const struct ns_pool *p = pool_of(n, kind, v4);

	if (p->n <= p->size / 16)
		(void)refill(n, kind, v4);
}
