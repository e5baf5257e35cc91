/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * icmp - ICMP errors for the guest, made from socket errors
 */
#ifndef ICMP_H
#define ICMP_H

#include "flow.h"
#include "fwd.h"
#include "tap.h"

/* Most errors on our own account a second (RFC 1812 4.3.2.8, RFC 4443
 * 2.4(f)) */
enum { ICMP_ERRORS_PER_S = 1000 };

struct icmp_limit {
	uint64_t since_ms;
	unsigned n;
};

/* icmp_error - make the ICMP or ICMPv6 error @e that a router has sent about a
 * packet of the guest
 * @quoted is the tuple as the guest sent it: UDP, TCP or echo.  @e's payload is
 * what followed the layer-4 header, and is cut to what RFC 1812 4.3.2.3 and RFC
 * 4443 2.4(c) allow.  @from is the router's address as the guest may see it.
 * @seq is quoted for TCP and echo.  Returns false if @e is not about an ICMP
 * error, or @from does not fit. */
bool icmp_error(const struct lan *lan, const struct seen *seen,
		const struct tuple *quoted, uint32_t seq,
		const struct sock_error *e, const struct addr *from,
		struct answer *out);

/* icmp_unknown - make the error that nobody at @p's destination knows its
 * protocol
 * @p is a packet for which packet_parse() has returned DROP_PROTOCOL.  Returns
 * false if source or destination is not a single host. */
bool icmp_unknown(const struct lan *lan, const struct seen *seen,
		  const struct packet *p, struct answer *out);

/* icmp_refused - whether @p is the guest's ICMP error that a packet of ours
 * could not be delivered
 * *@t becomes that packet's tuple, from the host's side to the guest's; TCP,
 * UDP or echo. */
bool icmp_refused(const struct packet *p, struct tuple *t);

/* icmp_too_long - whether @p is an ICMP error that a link behind the guest
 * takes packets of at most *@mtu bytes; *@t as above, *@seq is the sequence
 * number of the TCP segment */
bool icmp_too_long(const struct packet *p, struct tuple *t, uint32_t *seq,
		   unsigned *mtu);

/* icmp_report - send the guest the ICMP error that a socket has reported as @e
 * about a packet of the guest
 * @guest and @host are the sides of the flow, of UDP, TCP or echo; @e may be
 * changed.  Returns false if there was nothing to tell, or no room. */
bool icmp_report(struct tap *tap, const struct fwd *fwd,
		 const struct side *guest, const struct side *host,
		 uint8_t proto, uint32_t seq, struct sock_error *e);

/* icmp_unroutable - set @e to the error that a router would send which gets
 * @err (negative) for a packet of IPv4 or IPv6; false if it would send none */
bool icmp_unroutable(bool v4, int err, struct sock_error *e);

/* icmp_allowed - count an error of our own; false if there were too many in
 * this second */
bool icmp_allowed(struct icmp_limit *l, uint64_t now_ms);

/* icmp_refuse - send the guest the ICMP error for @err (negative), with which
 * our own host has refused a packet of it
 * @e has what followed the layer-4 header.  Returns false as icmp_report()
 * does; also if there were too many, or the packet was not for a single host
 * (RFC 1122 3.2.2, RFC 4443 2.4(e)). */
bool icmp_refuse(struct icmp_limit *l, struct tap *tap, const struct fwd *fwd,
		 const struct side *guest, uint8_t proto, uint32_t seq, int err,
		 struct sock_error *e);

#endif /* ICMP_H */
