/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_out - towards the guest; internal to tcp*.c
 */
#ifndef TCP_OUT_H
#define TCP_OUT_H

#include "tcp_loss.h"

/* tcp_out_serve - send what the socket has and the guest's window takes, then
 * our FIN.  May end the connection and free @f. */
enum run_verdict tcp_out_serve(struct tcp *t, struct flow *f);

/* tcp_out_syn - SYN or SYN-ACK, always with the same number; false: the guest has
 * no room, it stays owed */
bool tcp_out_syn(struct tcp *t, struct flow *f);

/* tcp_out_ack - an empty ACK; false: the guest has no room, it stays owed */
bool tcp_out_ack(struct tcp *t, struct flow *f);

/* tcp_out_probe - an empty segment with an old number, which demands an ACK */
void tcp_out_probe(struct tcp *t, struct flow *f);

/* tcp_out_reset - RST to the guest and to the socket
 * Frees @f, unless the guest has no room: false, it stays owed, see conn_reset(). */
bool tcp_out_reset(struct tcp *t, struct flow *f);

/* tcp_out_refuse - RST in answer to a segment (RFC 9293 3.10.7.1) */
void tcp_out_refuse(struct tcp *t, const struct packet *p);

/* tcp_out_stray - a segment without connection
 * False if it is a SYN that may begin one; everything else was answered: with
 * RST, unless its connection ended well a moment ago. */
bool tcp_out_stray(struct tcp *t, const struct packet *p);

#endif /* TCP_OUT_H */
