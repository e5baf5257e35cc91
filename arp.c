/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest finds the whole world on its link: whatever address it asks for, we
 * answer, with the MAC address that the host's neighbour table has for it, or
 * its gateway's, or our own.  Only its own address is left to the guest, or it
 * would see a conflict.  It would also see one for an address that it is about
 * to take: so a probe, which has no sender address, is answered only if
 * somebody has the address.
 */
#include "arp.h"

#include <linux/if_arp.h>
#include <linux/if_ether.h>

enum { IP4_LEN = 4 };

static const struct mac broadcast = { { 255, 255, 255, 255, 255, 255 } };
static const struct mac nobody;

/* Make an ARP packet, @op with sender (@sha, @spa) and target (@tha, @tpa) */
static bool put(struct answer *out, uint16_t op, const struct mac *sha,
		const struct addr *spa, const struct mac *tha,
		const struct addr *tpa)
{
	struct wr *w = &out->body;

	out->arp = true;
	wr_be16(w, ARPHRD_ETHER);
	wr_be16(w, ETH_P_IP);
	wr_u8(w, sizeof(sha->b));
	wr_u8(w, IP4_LEN);
	wr_be16(w, op);
	wr_bytes(w, sha->b, sizeof(sha->b));
	wr_bytes(w, &spa->b[12], IP4_LEN);
	wr_bytes(w, tha->b, sizeof(tha->b));
	wr_bytes(w, &tpa->b[12], IP4_LEN);
	return wr_ok(w);
}

/* Whether a request is answered: that of a host that wants to reach the
 * address, or of one that wants to take it.  Two zero addresses are neither,
 * but the way in which qrap finds out whether we are alive. */
static bool is_answered(const struct lan *lan, const struct neigh *neigh,
			const struct addr *spa, const struct addr *tpa)
{
	if (addr_is_unspecified(tpa))
		return addr_is_unspecified(spa);
	if (addr_equal(spa, tpa) || addr_equal(tpa, &lan->guest4))
		return false;
	return !addr_is_unspecified(spa) || lan_is_ours(lan, tpa) ||
	       neigh_has(neigh, tpa);
}

bool arp_answer(const struct lan *lan, const struct neigh *neigh,
		const struct packet *p, struct rd in, struct answer *out)
{
	uint16_t hrd = rd_be16(&in), pro = rd_be16(&in);
	uint8_t hln = rd_u8(&in), pln = rd_u8(&in);
	uint16_t op = rd_be16(&in);
	struct addr spa, tpa;
	struct mac sha;
	uint8_t b[IP4_LEN];

	rd_copy(&in, sha.b, sizeof(sha.b));
	rd_copy(&in, b, sizeof(b));
	spa = addr_from4(b);
	rd_skip(&in, sizeof(sha.b));
	rd_copy(&in, b, sizeof(b));
	tpa = addr_from4(b);

	if (!rd_ok(&in) || !lan->v4 || hrd != ARPHRD_ETHER || pro != ETH_P_IP ||
	    hln != sizeof(sha.b) || pln != IP4_LEN || op != ARPOP_REQUEST)
		return false;
	if (!is_answered(lan, neigh, &spa, &tpa))
		return false;

	out->head = (struct head){ .src = lan->mac, .dst = p->smac };
	return put(out, ARPOP_REPLY,
		   neigh_mac(neigh, &tpa, &lan->gw4, &lan->mac), &tpa, &sha,
		   &spa);
}

bool arp_ask(const struct lan *lan, const struct seen *seen, struct answer *out)
{
	const struct addr *who = &seen->v4;

	if (addr_is_none(who))
		who = &lan->guest4;
	if (!lan->v4 || addr_is_none(who))
		return false;

	/* Without an address of our own the sender is 0.0.0.0, as in a probe */
	out->head = (struct head){ .src = lan->mac, .dst = broadcast };
	return put(out, ARPOP_REQUEST, &lan->mac, &lan->our4, &broadcast, who);
}

bool arp_announce(const struct addr *addr, const struct mac *mac,
		  struct answer *out)
{
	if (!addr_is_v4(addr))
		return false;

	out->head = (struct head){ .src = *mac, .dst = broadcast };
	return put(out, ARPOP_REQUEST, mac, addr, &nobody, addr);
}
