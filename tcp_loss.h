/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_loss - when the guest's link loses what we send; internal to tcp*.c
 *
 * Until something is lost nothing of this is in the way: what is in flight is
 * limited by the guest's window alone.  The first loss gives the connection a
 * congestion window (CONN_LOSSY), which goes when it has grown out of sight, or
 * when the link has lost nothing for long.
 */
#ifndef TCP_LOSS_H
#define TCP_LOSS_H

#include "tcp_conn.h"

/* loss_open - data may flow: with what the guest's link lost lately in mind */
void loss_open(struct tcp *t, struct flow *f);

/* loss_rewind - everything from snd_una on is to be sent again */
void loss_rewind(struct tcp *t, struct flow *f);

/* loss_room - bytes that may be sent from snd_nxt on, UINT32_MAX: any number
 * Moves snd_nxt past what need not be repeated. */
uint32_t loss_room(struct flow *f);

/* loss_flight - bytes sent that the guest is not known to have */
uint32_t loss_flight(const struct tcp_conn *c);

/* loss_behind - bytes sent that it is known to have, behind a hole */
uint32_t loss_behind(const struct tcp_conn *c);

/* loss_sack - take what the segment acknowledges selectively; true: it is new */
bool loss_sack(struct flow *f, const struct packet *p);

/* loss_seen - duplicate ACKs or selective ones prove a loss: repeat */
void loss_seen(struct tcp *t, struct flow *f);

/* loss_time_out - the retransmission timer expired: repeat everything */
void loss_time_out(struct tcp *t, struct flow *f);

/* loss_acked - an ACK was taken; before that @had was in flight; @newer: snd_una
 * moved.  With CONN_LOSSY. */
void loss_acked(struct tcp *t, struct flow *f, uint32_t had, bool newer);

/* loss_past - snd_una moved by @n: so does what duplicate ACKs have told */
void loss_past(struct tcp_conn *c, uint32_t n);

#endif /* TCP_LOSS_H */
