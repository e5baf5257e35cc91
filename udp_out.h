/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_out - datagrams to the guest; internal to udp*.c
 */
#ifndef UDP_OUT_H
#define UDP_OUT_H

#include "udp_flow.h"

/* udp_out_serve - ready() of struct flow_type */
enum run_verdict udp_out_serve(void *owner, struct flow *f);

/* udp_out_receive - a batch into @u->rx, with addresses; *@err: the socket's error
 * Returns how many. */
unsigned udp_out_receive(struct udp *u, int fd, struct sock_dgram *d, int *err);

/* udp_out_has_peer - whether @d comes from whom @host is for */
bool udp_out_has_peer(const struct side *host, const struct sock_dgram *d);

/* udp_out_dispatch - what came to @port of ours at @pif, for whatever flow
 * @r is the listener's rule; false: there is neither flow nor listener. */
bool udp_out_dispatch(struct udp *u, enum pif pif, const struct rule *r,
		      uint16_t port, const struct sock_dgram *d, uint8_t *p);

/* udp_out_stray - one that is for nobody was lost; seen as the host has it */
void udp_out_stray(struct udp *u, enum verdict v, uint16_t port,
		   const struct sock_dgram *d, const void *p);

#endif /* UDP_OUT_H */
