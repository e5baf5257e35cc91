/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_out - datagrams to the guest; internal to udp*.c
 */
#ifndef UDP_OUT_H
#define UDP_OUT_H

#include "udp_flow.h"

/* udp_out_serve - ready() of struct flow_type: pass what the socket has
 * received on to the guest */
enum run_verdict udp_out_serve(void *owner, struct flow *f);

/* udp_out_receive - receive up to UDP_BATCH datagrams of @fd into @u->rx, and
 * describe them with their addresses in @d
 * Returns how many; if none, *@err is the error of recvmmsg(), else 0. */
unsigned udp_out_receive(struct udp *u, int fd, struct sock_dgram *d, int *err);

/* udp_out_has_peer - whether @d comes from the peer of @host */
bool udp_out_has_peer(const struct side *host, const struct sock_dgram *d);

/* udp_out_dispatch - pass on datagram @d with payload @p, which arrived at our
 * @port of @pif, by its flow or a new one, or drop and count it
 * @r is the rule of the listener for that port, NULL if there is none.  Returns
 * false, and nothing was done, if there is neither a flow nor a listener. */
bool udp_out_dispatch(struct udp *u, enum pif pif, const struct rule *r,
		      uint16_t port, const struct sock_dgram *d, uint8_t *p);

/* udp_out_stray - count and capture datagram @d to our @port, which is dropped
 * because of @v; the capture shows it with the host's addresses */
void udp_out_stray(struct udp *u, enum verdict v, uint16_t port,
		   const struct sock_dgram *d, const void *p);

#endif /* UDP_OUT_H */
