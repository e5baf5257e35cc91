/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * netlink - ask and tell the kernel about links, addresses, routes, neighbours
 *
 * A struct netlink belongs to the namespace in which it was opened and can be
 * used from any other.  Dumps of any size are handled.  0 or -errno.
 */
#ifndef NETLINK_H
#define NETLINK_H

#include "conf.h"
#include "neigh.h"

struct netlink {
	int fd;
	uint32_t seq;
};

int nl_open(struct netlink *n);
void nl_close(struct netlink *n);

/* nl_template - choose and describe the template interface of a family
 * @ifname, if not NULL or empty, is taken; else the first default route of the
 * main table, else any other route (spec: behaviour 1.6).  @t->ifindex is 0
 * when there is none or it has no usable address. */
int nl_template(struct netlink *n, bool v4, const char *ifname,
		struct template *t);

/* nl_link_index - of @ifname, 0 if there is none */
unsigned nl_link_index(struct netlink *n, const char *ifname);

/* nl_link_mac, nl_link_queue - read; nl_link_set - change what is given
 * @mac may be NULL, @mtu and @queue 0, @up false: left alone. */
int nl_link_mac(struct netlink *n, unsigned ifindex, struct mac *mac);
unsigned nl_link_queue(struct netlink *n, unsigned ifindex);
int nl_link_set(struct netlink *n, unsigned ifindex, const struct mac *mac,
		unsigned mtu, unsigned queue, bool up);

/* nl_link_unqueue - no queueing discipline; before the interface is up */
int nl_link_unqueue(struct netlink *n, unsigned ifindex);

/* nl_configure - addresses and routes of the guest's link (--config-net)
 * Sequence of spec: behaviour 2.14.  @host is asked for what is copied, @ns is
 * told; @lan learns what was copied.  A family that the namespace's kernel does not have, or that is turned
 * off there, is switched off in @lan with a warning.  What else fails is
 * reported. */
int nl_configure(struct netlink *host, struct netlink *ns, unsigned ifindex,
		 const struct conf *c, const struct template *t4,
		 const struct template *t6, struct lan *lan);

/* nl_neigh_open - a second socket that reports neighbour changes
 * Returns its descriptor, non-blocking, or -errno. */
int nl_neigh_open(void);

/* nl_neigh_dump - report all current neighbours of an interface */
typedef void nl_neigh_fn(void *owner, unsigned ifindex, const struct addr *a,
			 const struct mac *mac); /* @mac NULL: it is gone */
int nl_neigh_dump(struct netlink *n, bool v4, nl_neigh_fn *fn, void *owner);

/* nl_neigh_read - report what a socket of nl_neigh_open() has to say
 * -ENOBUFS: changes were lost, dump again. */
int nl_neigh_read(int fd, nl_neigh_fn *fn, void *owner);

#endif /* NETLINK_H */
