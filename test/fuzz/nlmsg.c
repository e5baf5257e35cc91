/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util */
#include "nlmsg.h"
#include "util.h"

#include <stdlib.h>

/* Each message by itself, so that what is read beyond its end is found */
static void read_one(const struct nlmsghdr *h)
{
	struct rtnexthop *hop, *at;
	struct nlmsg_neigh neigh;
	struct nlmsg_link link;
	struct nlmsg_hop object;
	struct addr a;
	size_t left;
	int i;

	nlmsg_read_link(&link, h);
	nlmsg_read_hop(&object, h);
	nlmsg_read_neigh(&neigh, h);
	for (i = 0; i < 2; i++) {
		if (nlmsg_is_route(h, i)) {
			(void)nlmsg_is_default(h);
			(void)nlmsg_ifindex(h);
			(void)nlmsg_object(h);
			(void)nlmsg_uses(h, 1);
			a = nlmsg_gateway(h, 1);
			for (hop = nlmsg_first_hop(h, &at, &left); hop;
			     hop = nlmsg_next_hop(&at, &left))
				(void)nlmsg_attr_in(RTNH_DATA(hop),
						    hop->rtnh_len - sizeof(*hop),
						    RTA_GATEWAY);
		}
		if (nlmsg_is_address(h, i, 1)) {
			(void)nlmsg_addr_flags(h);
			a = nlmsg_local(h);
		}
	}
	(void)a;
}

/* Types come first, one of those that we ask for: then flags and the rest as is */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t types[] = { RTM_NEWLINK,  RTM_DELLINK,  RTM_NEWADDR,
					  RTM_DELADDR,  RTM_NEWROUTE, RTM_DELROUTE,
					  RTM_NEWNEIGH, RTM_DELNEIGH };
	struct nlmsghdr *h;
	size_t len;

	while (size > 2) {
		len = MIN((size_t)data[1] * 2, size - 2);
		h = malloc(sizeof(*h) + len);
		*h = (struct nlmsghdr){ .nlmsg_len = (uint32_t)(sizeof(*h) + len),
					.nlmsg_type = types[data[0] & 7] };
		memcpy(h + 1, data + 2, len);
		read_one(h);
		free(h);
		data += 2 + len;
		size -= 2 + len;
	}
	return 0;
}
