/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_freeze - connections as parts of a state; internal to tcp*.c but for the last
 * two
 */
#ifndef TCP_FREEZE_H
#define TCP_FREEZE_H

#include "state.h"
#include "tcp_conn.h"

/* tcp_freeze, tcp_thaw, tcp_forget - as struct flow_type has them */
void tcp_freeze(void *owner, struct flow *f, struct wr *w);
bool tcp_thaw(void *owner, struct flow *f, struct rd *r);
void tcp_forget(void *owner, struct flow *f);

/* tcp_save, tcp_load - what all connections share and what is known of past ones, as
 * the body of a section */
void tcp_save(struct tcp *t, struct wr *w);
void tcp_load(struct tcp *t, struct rd *r);

#endif /* TCP_FREEZE_H */
