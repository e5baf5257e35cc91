/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_loss - loss detection and recovery on the guest's link; internal to
 * tcp*.c
 *
 * Until something is lost, none of this limits a connection: what is in flight
 * is limited by the guest's window alone.  The first loss gives the connection
 * a congestion window (CONN_LOSSY).  It goes again when it has grown to
 * TCP_WINDOW_MAX, or when the link has lost nothing for a minute.
 */
#ifndef TCP_LOSS_H
#define TCP_LOSS_H

#include "tcp_conn.h"

/* loss_open - a connection is established: if the link lost something within
 * the last minute, start with the congestion window that was right then */
void loss_open(struct tcp *t, struct flow *f);

/* loss_rewind - have everything from snd_una on sent again, without taking that
 * for a loss: the guest has shut its window */
void loss_rewind(struct tcp *t, struct flow *f);

/* loss_room - how many bytes may be sent from snd_nxt on; UINT32_MAX: no limit
 * Moves snd_nxt past what need not be sent again. */
uint32_t loss_room(struct flow *f);

/* loss_flight - bytes sent that the guest is not known to have */
uint32_t loss_flight(const struct tcp_conn *c);

/* loss_behind - bytes sent that the guest is known to have, behind a hole */
uint32_t loss_behind(const struct tcp_conn *c);

/* loss_sack - take the SACK option of @p; true if it reported something new */
bool loss_sack(struct flow *f, const struct packet *p);

/* loss_seen - duplicate ACKs or SACKs show a loss: reduce the congestion window
 * and begin fast retransmission (RFC 5681 3.2, RFC 6675) */
void loss_seen(struct tcp *t, struct flow *f);

/* loss_time_out - the retransmission timer has expired: have everything sent
 * again that the guest is not known to have */
void loss_time_out(struct tcp *t, struct flow *f);

/* loss_acked - with CONN_LOSSY, after an ACK: adapt the congestion window, and
 * go on with recovery or end it
 * @had is what was in flight before; @newer says that snd_una has moved. */
void loss_acked(struct tcp *t, struct flow *f, uint32_t had, bool newer);

/* loss_past - snd_una has moved by @n bytes: drop the SACK ranges before it and
 * as many duplicate ACKs */
void loss_past(struct tcp_conn *c, uint32_t n);

#endif /* TCP_LOSS_H */
