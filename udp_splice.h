/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_splice - datagram flows between two sockets, past the guest's link
 *
 * udp.c looks first at what comes to a listener, and to sockets that may have
 * caught datagrams of others; this module has the flows.
 */
#ifndef UDP_SPLICE_H
#define UDP_SPLICE_H

#include "flow.h"
#include "fwd.h"
#include "ns.h"

enum { UDP_BATCH = 32, UDP_RX = 65536 };

/* How long a silent flow lasts, in ms */
struct udp_patience {
	unsigned single_ms; /* one direction only, or a single exchange */
	unsigned stream_ms; /* after more than that */
};

/* udp_keep_alive - note that side @i of @f has sent @n more datagrams: restart
 * the timer, and end the flow's being lone once it was answered
 * @count is the flow's array of how many datagrams each side has sent, up to 2.
 * Of flows that the guest began, side 1 is the host's. */
void udp_keep_alive(struct flows *flows, const struct udp_patience *p,
		    struct flow *f, uint8_t count[2], unsigned i, unsigned n);

struct udp_splice {
	struct flows *flows;
	const struct fwd *fwd;
	struct ns *ns; /* where sockets in the namespace come from; NULL:
			  nothing is spliced */
	const struct udp_patience *patience;
	uint64_t *drops;
	uint8_t (*rx)[UDP_RX]; /* at least UDP_BATCH buffers, for use within a
				  call */
};

/* udp_splice_open - open a flow for a datagram that arrived at the listener of
 * @r from side @from
 * Both of its sides are entered in the hash.  Returns NULL and the reason in
 * *@v if the datagram is to be dropped. */
struct flow *udp_splice_open(struct udp_splice *s, const struct rule *r,
			     const struct side *from, enum verdict *v);

/* udp_splice_pass - send the @len bytes at @p, a datagram from side @i, to the
 * other side */
void udp_splice_pass(struct udp_splice *s, struct flow *f, unsigned i,
		     void *p, size_t len);

/* udp_splice_fresh - whether the socket of side @i may hold datagrams that
 * arrived before it was connected, from others: receive with addresses
 * udp_splice_settled - @n were received that way */
bool udp_splice_fresh(const struct flow *f, unsigned i);
void udp_splice_settled(struct flow *f, unsigned i, unsigned n);

/* udp_splice_forget - clear the errors of side @i's socket: nobody is told */
void udp_splice_forget(struct flow *f, unsigned i);

/* udp_splice_serve - send what side @i has received to the other one, unless it
 * is fresh
 * Returns false if the flow was ended. */
bool udp_splice_serve(struct udp_splice *s, struct flow *f, unsigned i);

/* udp_splice_state, udp_splice_count - state() and count() of struct
 * flow_type */
enum flow_state udp_splice_state(const struct flow *f);
void udp_splice_count(const struct flow *f, struct flow_count *n);

/* udp_splice_freeze, udp_splice_thaw - write the flow's state, and read it, for
 * freeze() and thaw() of struct flow_type */
void udp_splice_freeze(struct udp_splice *s, const struct flow *f,
		       struct wr *w);
bool udp_splice_thaw(struct udp_splice *s, struct flow *f, struct rd *r);

/* udp_splice_finish - close both sockets and free the flow */
void udp_splice_finish(struct udp_splice *s, struct flow *f);

#endif /* UDP_SPLICE_H */
