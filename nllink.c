/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nllink - asks and tells the kernel about one link
 */
#include "nllink.h"
#include "nlmsg.h"

#include <linux/nexthop.h>
#include <linux/pkt_sched.h>

#include <errno.h>

int nllink_get(struct netlink *n, unsigned ifindex, const char *name,
	       struct nlmsg_link *l)
{
	struct ifinfomsg i = { .ifi_index = name ? 0 : (int)ifindex };
	struct nl_request r;
	int err;

	*l = (struct nlmsg_link){ 0 };
	nl_begin(&r, RTM_GETLINK, 0, &i, sizeof(i));
	if (name)
		nl_put(&r, IFLA_IFNAME, name, strnlen(name, IFNAMSIZ - 1) + 1);
	err = nl_talk(n, &r.h, nlmsg_read_link, l);
	if (!err && !l->ifindex)
		err = -ENODEV;
	return err;
}

unsigned nllink_index(struct netlink *n, const char *ifname)
{
	struct nlmsg_link l;

	return nllink_get(n, 0, ifname, &l) ? 0 : l.ifindex;
}

int nllink_mac(struct netlink *n, unsigned ifindex, struct mac *mac)
{
	struct nlmsg_link l;
	int err = nllink_get(n, ifindex, NULL, &l);

	if (err)
		return err;
	if (!l.has_mac)
		return -ENOENT;
	*mac = l.mac;
	return 0;
}

int nllink_hop(struct netlink *n, uint32_t id, struct nlmsg_hop *hop)
{
	struct nhmsg m = { 0 };
	struct nl_request r;
	int err;

	do {
		*hop = (struct nlmsg_hop){ 0 };
		nl_begin(&r, RTM_GETNEXTHOP, 0, &m, sizeof(m));
		nl_put_u32(&r, NHA_ID, id);
		err = nl_talk(n, &r.h, nlmsg_read_hop, hop);
		id = hop->first; /* which is no group */
	} while (!err && id);
	return err;
}

unsigned nllink_queue(struct netlink *n, unsigned ifindex)
{
	struct nlmsg_link l;

	return nllink_get(n, ifindex, NULL, &l) ? 0 : l.queue;
}

int nllink_set(struct netlink *n, unsigned ifindex, const struct mac *mac,
	       unsigned mtu, unsigned queue, bool up)
{
	struct ifinfomsg i = {
		.ifi_index = (int)ifindex,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = up ? IFF_UP : 0,
	};
	struct nl_request r;

	nl_begin(&r, RTM_NEWLINK, 0, &i, sizeof(i));
	if (mac)
		nl_put(&r, IFLA_ADDRESS, mac, sizeof(*mac));
	if (mtu)
		nl_put_u32(&r, IFLA_MTU, mtu);
	if (queue)
		nl_put_u32(&r, IFLA_TXQLEN, queue);
	return nl_tell(n, &r);
}

int nllink_big_tcp(struct netlink *n, unsigned ifindex)
{
	/* The kernel's GSO_LEGACY_MAX_SIZE; three segments of lo's, with all that the
	 * kernel leaves for headers.  Of more than 256 KiB captures have not all. */
	enum { BY_DEFAULT = 65536, BIG = 200000 };
	struct ifinfomsg i = { .ifi_index = (int)ifindex };
	struct nlmsg_link l;
	struct nl_request r;
	int err = nllink_get(n, ifindex, NULL, &l);

	if (err || l.gso_ipv4 != BY_DEFAULT)
		return err;
	nl_begin(&r, RTM_NEWLINK, 0, &i, sizeof(i));
	nl_put_u32(&r, NLMSG_GSO_IPV4_MAX_SIZE, BIG);
	return nl_tell(n, &r);
}

bool nllink_knows_big_tcp(struct netlink *n, unsigned ifindex)
{
	struct nlmsg_link l;

	return !nllink_get(n, ifindex, NULL, &l) && l.gso_ipv4;
}

int nllink_unqueue(struct netlink *n, unsigned ifindex)
{
	static const char kind[] = "noqueue";
	struct tcmsg m = { .tcm_ifindex = (int)ifindex,
			   .tcm_parent = TC_H_ROOT };
	struct nl_request r;

	nl_begin(&r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	nl_put(&r, TCA_KIND, kind, sizeof(kind));
	return nl_tell(n, &r);
}

int nllink_flags(struct netlink *n, unsigned ifindex, unsigned flags,
		 unsigned mask)
{
	struct ifinfomsg i = {
		.ifi_index = (int)ifindex,
		.ifi_flags = flags,
		.ifi_change = mask,
	};
	struct nl_request r;

	nl_begin(&r, RTM_NEWLINK, 0, &i, sizeof(i));
	return nl_tell(n, &r);
}
