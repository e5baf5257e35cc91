/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nslink - addresses and routes of the link in the namespace
 */
#ifndef NSLINK_H
#define NSLINK_H

#include "renew.h"

/* nslink_configure - addresses and routes of the guest's link (--config-net)
 * @host is asked for what is copied, @ns is told; the plan's lan learns what was
 * copied.  A family that the namespace's kernel does not have, or that is turned
 * off there, is planned without from now on, after a warning.  What else fails is
 * reported.  0 or -errno. */
int nslink_configure(struct netlink *host, struct netlink *ns, unsigned ifindex,
		     const struct conf *c, struct renew *r);

#endif /* NSLINK_H */
