/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_out - segments to the guest; internal to tcp*.c
 */
#ifndef TCP_OUT_H
#define TCP_OUT_H

#include "tcp_loss.h"

/* tcp_out_serve - send what the socket has and the guest's window takes, then
 * our FIN
 * Returns what the run queue is to do.  May end the connection and free @f. */
enum run_verdict tcp_out_serve(struct tcp *t, struct flow *f);

/* tcp_out_syn - send SYN or SYN-ACK, always with the same sequence number
 * Returns false if the guest has no room; it is then owed at the end of the
 * turn. */
bool tcp_out_syn(struct tcp *t, struct flow *f);

/* tcp_out_ack - send an ACK without data, with SACK blocks if there are any
 * Returns false if the guest has no room; if it was owed before, it still
 * is. */
bool tcp_out_ack(struct tcp *t, struct flow *f);

/* tcp_out_probe - send a keep-alive probe: an empty segment with the number
 * before snd_una, which demands an ACK */
void tcp_out_probe(struct tcp *t, struct flow *f);

/* tcp_out_reset - send RST to the guest and reset the host's connection
 * Frees @f and returns true, unless the guest has no room: then the RST is
 * still owed, and false is returned, see conn_reset(). */
bool tcp_out_reset(struct tcp *t, struct flow *f);

/* tcp_out_refuse - answer segment @p with RST (RFC 9293 3.10.7.1), if it is
 * none itself */
void tcp_out_refuse(struct tcp *t, const struct packet *p);

/* tcp_out_stray - handle segment @p, which belongs to no connection
 * Returns false if it is a SYN that may begin one.  Everything else was
 * handled: by an ACK, or silently, if its connection ended well a moment ago
 * (TIME-WAIT), else with RST. */
bool tcp_out_stray(struct tcp *t, const struct packet *p);

#endif /* TCP_OUT_H */
