/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_splice - datagram flows between two sockets without the guest
 *
 * udp.c sees first what comes to a listener, and to sockets that may have
 * caught what is not theirs; this module has the flows.
 */
#ifndef UDP_SPLICE_H
#define UDP_SPLICE_H

#include "flow.h"
#include "fwd.h"
#include "ns.h"

enum { UDP_BATCH = 32, UDP_RX = 65536 };

/* How long a silent flow lasts */
struct udp_patience {
	unsigned single_ms; /* one-way or single exchange */
	unsigned stream_ms; /* after several datagrams both ways */
};

/* udp_keep_alive - side @i of @f has sent @n more datagrams; what the guest began has
 * its host as side 1
 * @count is the flow's, how many each side has sent, up to 2. */
void udp_keep_alive(struct flows *flows, const struct udp_patience *p,
		    struct flow *f, uint8_t count[2], unsigned i, unsigned n);

struct udp_splice {
	struct flows *flows;
	const struct fwd *fwd;
	struct ns *ns; /* NULL: nothing is spliced */
	const struct udp_patience *patience;
	uint64_t *drops;
	uint8_t (*rx)[UDP_RX]; /* UDP_BATCH of them, to be used in passing */
};

/* udp_splice_open - a flow for what came from side @from to the listener of @r
 * It is in the hash with both sides.  NULL and *@v: why not. */
struct flow *udp_splice_open(struct udp_splice *s, const struct rule *r,
			     const struct side *from, enum verdict *v);

/* udp_splice_pass - one datagram that came from side @i goes to the other */
void udp_splice_pass(struct udp_splice *s, struct flow *f, unsigned i,
		     void *p, size_t len);

/* udp_splice_fresh - side @i may hold what was sent before it was connected:
 * to be received with its address.  udp_splice_settled - @n were. */
bool udp_splice_fresh(const struct flow *f, unsigned i);
void udp_splice_settled(struct flow *f, unsigned i, unsigned n);

/* udp_splice_forget - take the errors of side @i: nobody is to be told */
void udp_splice_forget(struct flow *f, unsigned i);

/* udp_splice_serve - move what side @i has received, unless it is fresh; false: the
 * flow is gone */
bool udp_splice_serve(struct udp_splice *s, struct flow *f, unsigned i);

/* udp_splice_state, udp_splice_count - of struct flow_type */
enum flow_state udp_splice_state(const struct flow *f);
void udp_splice_count(const struct flow *f, struct flow_count *n);

/* udp_splice_freeze, udp_splice_thaw - likewise */
void udp_splice_freeze(struct udp_splice *s, const struct flow *f,
		       struct wr *w);
bool udp_splice_thaw(struct udp_splice *s, struct flow *f, struct rd *r);

/* udp_splice_finish - close the sockets and free the flow */
void udp_splice_finish(struct udp_splice *s, struct flow *f);

#endif /* UDP_SPLICE_H */
