/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * icmp - ICMP errors built from socket errors
 */
#ifndef ICMP_H
#define ICMP_H

#include "flow.h"
#include "fwd.h"
#include "tap.h"

/* So many errors of our own a second (RFC 1812 4.3.2.8, RFC 4443 2.4(f)) */
enum { ICMP_ERRORS_PER_S = 1000 };

struct icmp_limit {
	uint64_t since_ms;
	unsigned n;
};

/* icmp_error - the ICMP or ICMPv6 error that a router would have sent
 * @quoted is the tuple as the guest sent it: UDP, TCP or echo.  @e's payload is
 * what followed that layer-4 header and is cut to what RFC 1812 4.3.2.3 and RFC
 * 4443 2.4(c) allow.  @from is the offender as the guest may see it.  @seq is
 * quoted for TCP and echo.  False: @e is not about an ICMP error. */
bool icmp_error(const struct lan *lan, const struct seen *seen,
		const struct tuple *quoted, uint32_t seq,
		const struct sock_error *e, const struct addr *from,
		struct answer *out);

/* icmp_unknown - that nobody at @p's destination knows its protocol
 * @p is one of which packet_parse() has said DROP_PROTOCOL.  False: it is not for
 * one host, or from none. */
bool icmp_unknown(const struct lan *lan, const struct seen *seen,
		  const struct packet *p, struct answer *out);

/* icmp_refused - whether @p is the guest's answer that what we sent it finds nobody
 * @t: what that was, from the host's side to the guest's; TCP, UDP or echo. */
bool icmp_refused(const struct packet *p, struct tuple *t);

/* icmp_too_long - the same, that a link behind the guest takes no more than @mtu bytes
 * of a packet; @seq: where a segment of TCP began */
bool icmp_too_long(const struct packet *p, struct tuple *t, uint32_t *seq,
		   unsigned *mtu);

/* icmp_report - tell the guest what a socket said about a packet of its
 * @guest and @host are the sides of the flow; @e may be changed.  For UDP, TCP
 * and echo.  False: there was nothing to tell, or no room. */
bool icmp_report(struct tap *tap, const struct fwd *fwd,
		 const struct side *guest, const struct side *host,
		 uint8_t proto, uint32_t seq, struct sock_error *e);

/* icmp_unroutable - make @e the error of a router that gets @err, negative, for a
 * packet of IPv4 or IPv6; false: it would not say anything */
bool icmp_unroutable(bool v4, int err, struct sock_error *e);

/* icmp_allowed - whether one more may be sent now */
bool icmp_allowed(struct icmp_limit *l, uint64_t now_ms);

/* icmp_refuse - tell the guest that @err is what our own host says of a packet of
 * its; @e has what followed the layer-4 header.  False as above, or too many, or it
 * was for many (RFC 1122 3.2.2, RFC 4443 2.4(e)). */
bool icmp_refuse(struct icmp_limit *l, struct tap *tap, const struct fwd *fwd,
		 const struct side *guest, uint8_t proto, uint32_t seq, int err,
		 struct sock_error *e);

#endif /* ICMP_H */
