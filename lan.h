/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * lan - what the guest's link looks like: names, addresses, MTU
 *
 * struct lan changes in its place when the host's network does, between turns of
 * the loop: see renew.h; struct seen is what the guest's frames taught us.
 * Header only: data without behaviour.
 */
#ifndef LAN_H
#define LAN_H

#include "addr.h"
#include "addrset.h"

enum {
	LAN_DNS = 3,		/* resolvers per family, as DHCP clients use */
	LAN_SEARCH = 6,		/* domains, as resolv.conf(5) allows */
	LAN_NAME = 254,		/* longest DNS name as text and NUL */
	LAN_BOOT = 16,		/* boot files, by kind of client */
	LAN_BOOT_IPXE = 0xfffe, /* a kind of its own among the architectures */
	MTU_MAX = 65535 - 14,	/* what fits a frame of 16-bit length */
	MTU_MIN4 = 68,		/* RFC 791 */
	MTU_MIN6 = 1280,	/* RFC 8200, 5 */
	MTU_DEFAULT = 65520,	/* a multiple of 16, so is the largest MSS */
	LAN_LEASE_S = 86400,	/* who renews it early learns what is new, who does
				   not has it for a day */
	LAN_RENEW_S = 120,
	LAN_REBIND_S = 192,
};

/* What a client is to boot: see boot.h */
struct lan_boot {
	uint16_t arch[3]; /* 0xffff: none */
	bool any;	  /* for who gets nothing else */
	struct addr server; /* none: we are */
	char file[256];	    /* or a URL */
};

struct lan {
	bool v4, v6; /* families that are on */
	struct mac mac; /* ours, towards the guest */
	uint16_t mtu;	/* 0: not advertised */
	/* What the host's link holds, by family: a path that holds less is worth
	 * telling; 0: unknown */
	unsigned host_mtu[2];
	/* Longest frame that the guest takes, of the transport, which may learn
	 * that it is less; NULL: any */
	const size_t *frame_max;

	struct addr guest4, guest6; /* assigned to the guest; none: unset */
	unsigned prefix4;	    /* of @guest4 */
	struct addr gw4, gw6;	    /* its default gateways; none: unset */
	struct addr our4;	    /* our source for DHCP and for what has no
				       better one */
	struct addr our_ll6;	    /* the same, link-local */
	bool fixed4, fixed6;	    /* -a: traffic does not move the address */
	struct addrset copies; /* what it was given of the host's own */

	bool tcp, udp, icmp;		/* protocols that are carried */
	bool dhcp, dhcpv6, ndp, ra;	/* servers that answer */
	bool leases; /* what they give may change: it is not given for ever */

	/* Advertised; counts are 0 when advertising is off */
	unsigned dns4_n, dns6_n, search_n;
	struct addr dns4[LAN_DNS], dns6[LAN_DNS];
	char search[LAN_SEARCH][LAN_NAME];
	/* Once advertised by us as router, to be forgotten: see ndp_changed() */
	struct lan_gone {
		struct addr prefix6; /* none: the prefix is what it was */
		unsigned dns6_n, search_n;
		struct addr dns6[LAN_DNS];
		char search[LAN_SEARCH][LAN_NAME];
	} gone;
	unsigned boot_n;
	struct lan_boot boot[LAN_BOOT];
	char hostname[LAN_NAME], fqdn[LAN_NAME]; /* empty: not given */

	uint32_t duid_time; /* seconds since 2000-01-01, for the DHCPv6 DUID */
};

/* Zero address: not seen yet.  Starts as the assigned addresses. */
struct seen {
	struct mac mac; /* broadcast until the guest speaks */
	struct addr v4; /* source of its last IPv4 packet */
	struct addr v6; /* the same, global scope */
	struct addr ll; /* link-local */
};

/* lan_exceeds - no packet of the host's link holds @len bytes behind its IP header
 * Who sends that with DF means what the guest's link holds, which may be more. */
static inline bool lan_exceeds(const struct lan *l, bool v4, size_t len)
{
	return len + (v4 ? 20 : 40) > l->host_mtu[!v4];
}

/* lan_mtu - what a frame to the guest may carry above Ethernet */
static inline unsigned lan_mtu(const struct lan *l)
{
	return l->mtu ? l->mtu : MTU_MAX;
}

/* lan_mtu_told - the MTU to advertise to the guest, 0: none
 * Longer packets it would only lose. */
static inline unsigned lan_mtu_told(const struct lan *l)
{
	size_t most = l->frame_max ? *l->frame_max : MTU_MAX + 14;

	most = most > 14 ? most - 14 : 0;
	return most < l->mtu ? (unsigned)most : l->mtu;
}

/* lan_is_ours - whether @a is an address by which the guest is told to reach us
 * or a resolver: a guest that took it would lose us */
static inline bool lan_is_ours(const struct lan *l, const struct addr *a)
{
	const struct addr *dns = addr_is_v4(a) ? l->dns4 : l->dns6;
	unsigned n = addr_is_v4(a) ? l->dns4_n : l->dns6_n, i;

	for (i = 0; i < n; i++)
		if (addr_equal(a, &dns[i]))
			return true;
	return addr_equal(a, &l->gw4) || addr_equal(a, &l->our4) ||
	       addr_equal(a, &l->gw6) || addr_equal(a, &l->our_ll6);
}

#endif /* LAN_H */
