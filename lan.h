/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * lan - what the guest's link looks like: names, addresses, MTU
 *
 * struct lan changes in place when the host's network does, between turns of
 * the loop: see renew.h.  struct seen is what the guest's frames have taught
 * us.  Header only: data without behaviour.
 */
#ifndef LAN_H
#define LAN_H

#include "addr.h"
#include "addrset.h"

enum {
	LAN_DNS = 3,		/* resolvers per family: as many as DHCP clients
				   use */
	LAN_SEARCH = 6,		/* search domains: as many as resolv.conf(5)
				   allows */
	LAN_NAME = 254,		/* longest DNS name as text, with its NUL */
	LAN_BOOT = 16,		/* boot files, by kind of client */
	LAN_BOOT_IPXE = 0xfffe, /* pseudo-architecture for iPXE */
	MTU_MAX = 65535 - 14,	/* what fits a frame whose length has 16 bits */
	MTU_MIN4 = 68,		/* RFC 791 */
	MTU_MIN6 = 1280,	/* RFC 8200, 5 */
	MTU_DEFAULT = 65520,	/* a multiple of 16, as is the largest MSS */
	LAN_LEASE_S = 86400,	/* lease time: a client that does not renew
				   early keeps what it has for a day */
	LAN_RENEW_S = 120,
	LAN_REBIND_S = 192,
};

/* What a client is to boot: see boot.h */
struct lan_boot {
	uint16_t arch[3]; /* 0xffff: none */
	bool any;	  /* for clients that no other entry is for */
	struct addr server; /* the server; none: we are it */
	char file[256];	    /* or a URL */
};

struct lan {
	bool v4, v6; /* families that are on */
	struct mac mac; /* ours, towards the guest */
	uint16_t mtu;	/* 0: not advertised */
	/* MTU of the host's link by family: a smaller path MTU is worth
	 * telling; 0: unknown */
	unsigned host_mtu[2];
	/* Longest frame that the guest takes, in the transport's state, as that
	 * may learn that it is less; NULL: any */
	const size_t *frame_max;

	struct addr guest4, guest6; /* assigned to the guest; none: unset */
	unsigned prefix4;	    /* of @guest4 */
	struct addr gw4, gw6;	    /* its default gateways; none: unset */
	struct addr our4;	    /* our source address for DHCP, and where
				       there is no better one */
	struct addr our_ll6;	    /* likewise, a link-local address */
	bool fixed4, fixed6;	    /* -a was given: the guest's traffic does
				       not change the address */
	struct addrset copies; /* addresses of the host that the guest has as
				  well */

	bool tcp, udp, icmp;		/* protocols that are carried */
	bool dhcp, dhcpv6, ndp, ra;	/* servers that answer */
	bool leases; /* leases have an end, as what they give may change */

	/* Advertised; counts are 0 when advertising is off */
	unsigned dns4_n, dns6_n, search_n;
	struct addr dns4[LAN_DNS], dns6[LAN_DNS];
	char search[LAN_SEARCH][LAN_NAME];
	/* What we have advertised as a router and is to be forgotten: see
	 * ndp_changed() */
	struct lan_gone {
		struct addr prefix6; /* none: the prefix has not changed */
		unsigned dns6_n, search_n;
		struct addr dns6[LAN_DNS];
		char search[LAN_SEARCH][LAN_NAME];
	} gone;
	unsigned boot_n;
	struct lan_boot boot[LAN_BOOT];
	char hostname[LAN_NAME], fqdn[LAN_NAME]; /* empty: not given */

	uint32_t duid_time; /* seconds since 2000-01-01, for the DHCPv6 DUID */
};

/* The guest as its frames have shown it.  Zero address: not seen yet; they
 * start as the assigned addresses */
struct seen {
	struct mac mac; /* broadcast until the guest speaks */
	struct addr v4; /* source address of its last IPv4 packet */
	struct addr v6; /* of its last IPv6 packet of global scope */
	struct addr ll; /* of its last one that is link-local */
};

/* lan_exceeds - whether no packet of the host's link holds @len bytes behind
 * its IP header
 * A sender that sets DF on such a packet has the guest's link in mind, which
 * may hold more. */
static inline bool lan_exceeds(const struct lan *l, bool v4, size_t len)
{
	return len + (v4 ? 20 : 40) > l->host_mtu[!v4];
}

/* lan_mtu - the MTU of the guest's link */
static inline unsigned lan_mtu(const struct lan *l)
{
	return l->mtu ? l->mtu : MTU_MAX;
}

/* lan_mtu_told - the MTU to advertise to the guest, 0: none
 * It is not longer than the frames the guest takes. */
static inline unsigned lan_mtu_told(const struct lan *l)
{
	size_t most = l->frame_max ? *l->frame_max : MTU_MAX + 14;

	most = most > 14 ? most - 14 : 0;
	return most < l->mtu ? (unsigned)most : l->mtu;
}

/* lan_is_ours - whether @a is an address by which the guest reaches us or a
 * resolver: if it took that for itself, it would lose us */
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
